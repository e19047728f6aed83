"""An upload becomes studies of one patient each, with the identity of the files' headers."""

import gzip
import io
import json
import os
import tarfile
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image

from meninx._scan.completeness import Incomplete
from meninx._scan.dicom.content import content_of
from meninx._scan.dicom.heading import name_for_readers, read_heading
from meninx._scan.incomplete_note import NOTE
from meninx._scan.reading import read_scans
from meninx._web.api.upload_api import LARGEST_BATCH
from meninx._web.store.database import Study, Upload, now
from meninx._web.store.settings import Settings
from meninx._web.store.stored_results import StudyResult
from meninx._web.studies import receiving
from meninx._web.studies.file_names import harmless
from tests.medium import write_dicomdir
from tests.web.conftest import Server

PATIENTS = {
    "P1": {"PatientName": "Doe^Jane^M", "PatientBirthDate": "19700102"},
    "P2": {"PatientName": "Roe^Richard"},
}


def study_in(server, study_id):
    with server.web.sessions() as session:
        return session.get(Study, study_id)


def changed(data, **values):
    """Return a DICOM file with some attributes set."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    for name, value in values.items():
        setattr(dataset, name, value)
    out = io.BytesIO()
    dataset.save_as(out)
    return out.getvalue()


def exam(series, patient, study_uid, **values):
    """Return the first slices of a series as those of a patient's exam, all in one folder."""
    attributes = PATIENTS[patient] | values
    return {
        f"disk/{patient}-{study_uid[-1]}-{number}.dcm": changed(
            data,
            PatientID=patient,
            StudyInstanceUID=study_uid,
            SeriesInstanceUID=f"{study_uid}.1",
            SOPInstanceUID=f"{study_uid}.1.{number}",
            **attributes,
        )
        for number, data in enumerate(list(series.values())[:2], 1)
    }


@pytest.fixture(scope="session")
def mixed(series):
    """A folder of two patients with three exams, beside a DICOMDIR-like text file."""
    return {
        **exam(
            series,
            "P1",
            "1.2.1",
            StudyDate="20260102",
            StudyTime="101112.5",
            AccessionNumber="A1",
            StudyDescription="head",
            SeriesDescription="T1 axial",
            SeriesNumber="4",
        ),
        **exam(series, "P1", "1.2.2", StudyDate="20260203"),
        **exam(series, "P2", "1.2.3", StudyDate="20260304"),
        "disk/README.txt": b"read me",
    }


def picture(seed):
    out = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 255, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(out, "PNG")
    return out.getvalue()


def volume(seed):
    voxels = np.random.default_rng(seed).integers(0, 900, (7, 8, 9)).astype(np.int16)
    return nibabel.Nifti1Image(voxels, np.eye(4)).to_bytes()


def test_a_folder_of_two_patients_and_three_exams_is_three_studies(server, mixed):
    answer = server.browser().upload(mixed, "disk").json()
    studies = [
        (study["patient_id"], study["patient_name"], study["study_uid"], study["study_date"])
        for study in answer["studies"]
    ]
    assert studies == [
        ("P1", "Doe, Jane M", "1.2.1", "2026-01-02"),
        ("P1", "Doe, Jane M", "1.2.2", "2026-02-03"),
        ("P2", "Roe, Richard", "1.2.3", "2026-03-04"),
    ]
    first = answer["studies"][0]
    assert (first["birth_date"], first["study_time"], first["accession"]) == (
        "1970-01-02",
        "10:11:12",
        "A1",
    )
    assert (first["title"], first["description"]) == ("head", "head")
    assert first["series"] == [
        {"uid": "1.2.1.1", "number": 4, "description": "T1 axial", "files": 2}
    ]
    assert answer["id"] == first["id"]
    for study in answer["studies"]:
        files = (server.settings.studies / study["id"] / "files").iterdir()
        assert {pydicom.dcmread(file).StudyInstanceUID for file in files} == {study["study_uid"]}
    assert not list(server.settings.uploads.iterdir())
    with server.web.sessions() as session:
        keys = [study.patient_key for study in session.query(Study).order_by(Study.study_uid)]
    assert keys[0] == keys[1] != keys[2]


def tar_of(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def test_a_tar_is_sorted_as_the_folder_is(server, mixed):
    browser = server.browser()
    folder = browser.upload(mixed, "disk").json()["studies"]
    tar = browser.upload({"disk.tar.gz": tar_of(mixed)}, "disk").json()["studies"]
    assert [study["id"] for study in tar] == [study["id"] for study in folder]
    hostile = browser.upload({"x.tar.gz": tar_of({"../../evil.dcm": b"0"})})
    assert hostile.status_code == 400
    assert "leaves the archive's own folder" in hostile.json()["detail"]


def test_packed_files_of_two_patients_are_two_studies(server, mixed):
    packed = {f"{name}.gz": gzip.compress(data) for name, data in mixed.items()}
    studies = server.browser().upload(packed).json()["studies"]
    assert [(study["patient_id"], study["study_uid"]) for study in studies] == [
        ("P1", "1.2.1"),
        ("P1", "1.2.2"),
        ("P2", "1.2.3"),
    ]


def volumes_of_other_formats(voxels):
    """The same volume as headers with voxels in another file, and as one that holds its own."""
    pair = nibabel.Nifti1Pair(voxels, np.eye(4))
    files = {kind: io.BytesIO() for kind in ("header", "image")}
    pair.to_file_map({k: nibabel.fileholders.FileHolder(fileobj=v) for k, v in files.items()})
    raw = voxels.tobytes(order="F")
    sides = " ".join(map(str, voxels.shape))
    nhdr = (
        f"NRRD0004\ntype: short\ndimension: 3\nsizes: {sides}\nspace: LPS\nencoding: raw\n"
        "endian: little\nspace directions: (1,0,0) (0,1,0) (0,0,1)\ndata file: My head.raw\n"
    )
    mhd = f"NDims = 3\nDimSize = {sides}\nElementType = MET_SHORT\nElementSpacing = 1 1 1\n"
    return {
        "a/my head.hdr": files["header"].getvalue(),
        "a/my head.img": files["image"].getvalue(),
        "b/x.nhdr": nhdr.encode(),
        "b/My head.raw": raw,
        "c/x.mhd": f"{mhd}ElementDataFile = x.raw\n".encode(),
        "c/x.raw.gz": gzip.compress(raw),
        "d/x.mha": f"{mhd}ElementDataFile = LOCAL\n".encode() + raw,
    }


def check_volumes(server, studies, voxels, *, together):
    """Each of the four volumes is read whole: in one study, or in one each."""
    assert len(studies) == (1 if together else 4)
    for study in studies:
        server.work(study["id"])
        scans = list(read_scans(server.settings.studies / study["id"] / "files"))
        assert len(scans) == (4 if together else 1)
        for scan in scans:
            np.testing.assert_array_equal(scan.voxels, voxels)


@pytest.mark.parametrize("together", [False, True])
def test_volumes_come_with_the_files_of_their_voxels(server, together):
    voxels = np.random.default_rng(1).integers(0, 900, (7, 8, 9)).astype(np.int16)
    browser = server.browser()
    files = volumes_of_other_formats(voxels)
    studies = browser.upload(files, together=together).json()["studies"]
    check_volumes(server, studies, voxels, together=together)


@pytest.mark.parametrize("together", [False, True])
def test_volumes_in_two_files_stay_whole_where_names_are_dropped(tmp_path, together):
    voxels = np.random.default_rng(1).integers(0, 900, (7, 8, 9)).astype(np.int16)
    server = Server(Settings(data=tmp_path / "data", deidentify=True))
    files = {
        f"Featherstone/{name.replace('x.', 'Georgiana_T1.')}": data.replace(
            b"x.raw", b"Georgiana_T1.raw"
        )
        for name, data in volumes_of_other_formats(voxels).items()
    }
    browser = server.browser()
    studies = browser.upload(files, "Featherstone", together=together).json()["studies"]
    check_volumes(server, studies, voxels, together=together)
    # Names are gone, of files and in the headers that named them. Short ones would turn up in
    # random keys.
    kept = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert len([path for path in kept if path.parent.name == "files"]) >= 4
    for path in kept:
        content = (str(path.relative_to(tmp_path)).encode() + path.read_bytes()).lower()
        assert not [
            word for word in (b"georgiana", b"featherstone", b"my head") if word in content
        ], path.name
    again = browser.upload(files, "Featherstone", together=together).json()["studies"]
    assert [study["id"] for study in again] == [study["id"] for study in studies]
    assert not list(server.settings.uploads.iterdir())


def test_an_upload_can_be_finished_again_after_a_crash_in_deidentification(tmp_path, monkeypatch):
    voxels = np.random.default_rng(1).integers(0, 900, (7, 8, 9)).astype(np.int16)
    server = Server(Settings(data=tmp_path, deidentify=True))
    made = volumes_of_other_formats(voxels)
    files = {name: made[name] for name in ("b/x.nhdr", "b/My head.raw")}
    browser = server.browser()
    begun = browser.client.post("/api/v1/uploads", json={}, headers=browser.headers).json()
    address = f"/api/v1/uploads/{begun['id']}"
    browser.client.post(f"{address}/files", files=as_form(files), headers=browser.headers)
    with monkeypatch.context() as broken:
        broken.setattr("meninx._web.studies.receiving._link_files", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            browser.client.post(f"{address}/finish", headers=browser.headers)
    response = browser.client.post(f"{address}/finish", headers=browser.headers).json()
    (scan,) = read_scans(server.settings.studies / response["id"] / "files")
    np.testing.assert_array_equal(scan.voxels, voxels)


def test_a_header_that_names_a_file_in_another_folder_gets_none(server):
    header = b"NDims = 3\nDimSize = 7 8 9\nElementType = MET_SHORT\nElementSpacing = 1 1 1\n"
    for name in (b"../secret.raw", b"/etc/passwd", b".hidden"):
        files = {"a/x.mhd": header + b"ElementDataFile = " + name + b"\n", "secret.raw": b"0"}
        (study,) = server.browser().upload(files, name.decode()).json()["studies"]
        folder = server.settings.studies / study["id"] / "files"
        assert [file.name for file in folder.iterdir()] == ["x.mhd"]


def test_one_exam_of_two_patients_with_one_uid_is_two_studies(server, series):
    files = exam(series, "P1", "1.2.1") | exam(series, "P2", "1.2.1")
    studies = server.browser().upload(files).json()["studies"]
    assert [study["patient_id"] for study in studies] == ["P1", "P2"]


def test_one_patient_id_for_several_names_joins_no_patients(server, series):
    for study, name in (("1.2.1", "Doe^Jane"), ("1.2.2", "Roe^Richard")):
        files = exam(series, "P1", study, PatientName=name)
        server.browser().upload(files)
    with server.web.sessions() as session:
        keys = {study.patient_key for study in session.query(Study)}
    assert len(keys) == 2


def test_volumes_and_pictures_are_a_study_each_unless_they_are_of_one_person(server):
    files = {
        "a/x_T1.nii": volume(1),
        "a/x_FLAIR.nii": volume(2),
        "b/p.png": picture(1),
        "b/notes.txt": b"-",
    }
    browser = server.browser()
    studies = browser.upload(files, "a folder").json()["studies"]
    assert [study["title"] for study in studies] == ["x_FLAIR.nii", "x_T1.nii", "p.png"]
    apart = {study["id"] for study in studies}
    again = browser.upload(files, "a folder").json()["studies"]
    assert {study["id"] for study in again} == apart
    together = browser.upload(files, "one person", together=True).json()["studies"]
    assert [study["title"] for study in together] == ["one person"]
    folder = server.settings.studies / together[0]["id"] / "files"
    assert sorted(file.name for file in folder.iterdir()) == ["p.png", "x_FLAIR.nii", "x_T1.nii"]
    server.work(together[0]["id"])
    series = browser.client.get(f"/api/v1/studies/{together[0]['id']}").json()["series"]
    assert [(entry["file"], entry["sequence"], entry["slices"]) for entry in series[:2]] == [
        ("p.png", "unknown", 1),
        ("x_FLAIR.nii", "FLAIR", 9),
    ]


def test_files_that_are_no_scan_are_reported_if_there_is_nothing_else(server, series):
    browser = server.browser()
    (study,) = browser.upload({"a.txt": b"words", "b.txt": b"more"}).json()["studies"]
    server.work(study["id"])
    assert browser.client.get(f"/api/v1/studies/{study['id']}").json()["decision"] == "failed"
    beside = exam(series, "P1", "1.2.1") | {"disk/broken.dcm": b"no dicom"}
    (study,) = browser.upload(beside).json()["studies"]
    assert len(list((server.settings.studies / study["id"] / "files").iterdir())) == 3


def test_a_series_keeps_its_name_and_the_study_has_one_answer(scored, series):
    header = pydicom.dcmread(io.BytesIO(next(iter(series.values()))))
    response = scored.browser().client.get(f"/api/v1/studies/{scored.study_id}").json()
    (entry,) = response["series"]
    assert (entry["sequence"], entry["plane"], entry["slices"]) == ("T1c", "axial", 9)
    assert (entry["status"], entry["number"]) == ("scored", header.SeriesNumber)
    assert entry["description"] == header.SeriesDescription != ""
    assert response["answer"]["series"] == ["series 1"]
    assert response["answer"]["decision"] == response["decision"] == "tumor"
    assert response["answer"]["probability"] == response["probability"]


def test_deidentify_stores_no_identity(tmp_path, mixed):
    server = Server(Settings(data=tmp_path, deidentify=True))
    files = mixed | {"disk/Doe_Jane_T2.nii": volume(1)}
    studies = server.browser().upload(files, "Doe").json()["studies"]
    assert len(studies) == 4
    for study in studies:
        server.work(study["id"])
    (volume_of,) = (server.settings.studies / studies[0]["id"] / "files").iterdir()
    assert volume_of.name == "T2.nii"
    everything = (tmp_path / "meninx.sqlite").read_bytes().lower()
    everything += (tmp_path / "meninx.sqlite-wal").read_bytes().lower()
    for word in (b"jane", b"richard", b"1.2.1", b"20260102", b"2026-01-02", b"t1 axial"):
        assert word not in everything


def as_form(files):
    return [("files", (name, data, "application/octet-stream")) for name, data in files.items()]


def test_many_files_are_sent_in_one_request(server, mixed):
    browser = server.browser()
    begun = browser.client.post("/api/v1/uploads", json={}, headers=browser.headers).json()
    address = f"/api/v1/uploads/{begun['id']}"
    for _ in range(2):  # once more after a lost connection
        sent = browser.client.post(
            f"{address}/files", files=as_form(mixed), headers=browser.headers
        )
        assert sent.json() == {"files": len(mixed)}
    studies = browser.client.post(f"{address}/finish", headers=browser.headers).json()["studies"]
    again = browser.upload(mixed).json()["studies"]
    assert [study["id"] for study in again] == [study["id"] for study in studies]
    assert len(studies) == 3


def test_a_batch_has_limits_and_is_read_after_authentication_only(server):
    browser, nobody = server.browser(), server.client()
    begun = browser.client.post("/api/v1/uploads", json={}, headers=browser.headers).json()
    address = f"/api/v1/uploads/{begun['id']}/files"
    form = as_form({"a": b"x"})
    assert nobody.post(address, files=form).status_code == 401
    assert browser.client.post(address, files=form).status_code == 403  # no word along
    stranger = server.browser("ada")
    answer = stranger.client.post(address, files=form, headers=stranger.headers)
    assert answer.status_code == 400
    kind = {"content-type": "multipart/form-data; boundary=x"}
    endless = browser.client.post(
        address, content=iter([b"--x\r\n"]), headers=browser.headers | kind
    )
    assert endless.status_code == 411
    claim = browser.headers | kind | {"content-length": str(LARGEST_BATCH + 1)}
    assert browser.client.post(address, content=b"-", headers=claim).status_code == 413


def test_a_canceled_upload_is_deleted_at_once(server):
    browser = server.browser()
    begun = browser.client.post("/api/v1/uploads", json={}, headers=browser.headers).json()
    address = f"/api/v1/uploads/{begun['id']}"
    browser.client.post(f"{address}/files", files=as_form({"a": b"x"}), headers=browser.headers)
    stranger = server.browser("ada")
    assert stranger.client.delete(address, headers=stranger.headers).status_code == 400
    assert list(server.settings.uploads.iterdir())
    assert browser.client.delete(address, headers=browser.headers).status_code == 204
    assert not list(server.settings.uploads.iterdir())
    assert browser.client.delete(address, headers=browser.headers).status_code == 400


def test_abandoned_uploads_are_deleted_after_a_day_and_active_ones_stay(server, series):
    browser = server.browser()
    kept = browser.upload(series).json()["id"]
    ids = []
    for _ in range(3):
        begun = browser.client.post("/api/v1/uploads", json={}, headers=browser.headers).json()
        address = f"/api/v1/uploads/{begun['id']}/files"
        browser.client.post(address, files=as_form({"a": b"x"}), headers=browser.headers)
        ids.append(begun["id"])
    old, still_written, young = ids
    long_ago = (now() - timedelta(hours=25)).timestamp()
    orphan = server.settings.studies / ("f" * 24)
    orphan.mkdir()
    for folder in (
        server.settings.uploads / old,
        server.settings.uploads / still_written,
        orphan,
        server.settings.studies / kept,
    ):
        for path in (*folder.iterdir(), folder):
            os.utime(path, (long_ago, long_ago))
    (server.settings.uploads / still_written / "b").write_bytes(b"more")
    with server.web.sessions.begin() as session:
        for upload in (old, still_written):
            session.get(Upload, upload).created = now() - timedelta(hours=25)
    server.jobs.clean_up()
    assert {path.name for path in server.settings.uploads.iterdir()} == {still_written, young}
    assert [path.name for path in server.settings.studies.iterdir()] == [kept]
    with server.web.sessions() as session:
        assert {upload.id for upload in session.query(Upload)} == {still_written, young}


def begun_upload(browser, files):
    """Begin an upload and send files; return its id."""
    begun = browser.client.post("/api/v1/uploads", json={}, headers=browser.headers).json()["id"]
    address = f"/api/v1/uploads/{begun}/files"
    browser.client.post(address, files=as_form(files), headers=browser.headers)
    return begun


@pytest.mark.parametrize(("hours", "left"), [(0.9, 3), (2, 2), (23, 2), (25, 1)])
def test_orphans_are_deleted_after_an_hour_and_abandoned_uploads_after_a_day(
    server, series, monkeypatch, hours, left
):
    browser = server.browser()
    kept = browser.upload(dict(list(series.items())[:1])).json()["id"]
    upload = begun_upload(browser, {"a.dcm": b"pixels"})
    # Whatever was killed right after a study was made leaves the files that it was made of.
    orphan = server.settings.uploads / ("e" * 24)
    orphan.mkdir()
    (orphan / "b.dcm").write_bytes(b"pixels")
    monkeypatch.setattr("meninx._web.studies.uploads.now", lambda: now() + timedelta(hours=hours))
    server.jobs.clean_up()
    names = [kept, upload, orphan.name][:left]
    there = {
        path.name
        for path in (*server.settings.uploads.iterdir(), *server.settings.studies.iterdir())
    }
    assert there == set(names)
    monkeypatch.undo()
    more = browser.client.post(f"/api/v1/uploads/{upload}/finish", headers=browser.headers)
    assert more.status_code == (201 if upload in names else 400)


def test_deleting_a_study_during_scoring_leaves_no_files(server, series, monkeypatch):
    browser = server.browser()
    study = browser.upload(dict(list(series.items())[:1])).json()["id"]

    def score(_, out, *__):
        browser.client.delete(f"/api/v1/studies/{study}", headers=browser.headers)
        out.mkdir(parents=True)
        (out / "0.nii.gz").write_bytes(b"pixels")
        return StudyResult()

    monkeypatch.setattr("meninx._web.studies.jobs.score_study", score)
    server.work(study)
    assert not list(server.settings.studies.iterdir())
    assert not list(server.settings.uploads.iterdir())


def test_the_rest_of_an_exam_joins_its_study_which_is_scored_again(server, series):
    browser = server.browser()
    files = list(exam(series, "P1", "1.2.1", SeriesDescription="T1").items())
    other = exam(series, "P1", "1.2.1", SeriesDescription="T2")
    rest = {
        name: changed(data, SeriesInstanceUID="1.2.1.2", SOPInstanceUID=f"1.2.1.2.{number}")
        for number, (name, data) in enumerate(other.items())
    }
    first = browser.upload(dict(files)).json()
    server.work(first["id"])
    joined = browser.upload(rest).json()
    assert (joined["id"], joined["state"], joined["created"]) == (first["id"], "received", True)
    assert [
        (series["description"], series["files"]) for series in study_in(server, first["id"]).series
    ] == [
        ("T1", 2),
        ("T2", 2),
    ]
    server.work(first["id"])
    assert study_in(server, first["id"]).attempts == 1
    response = browser.client.get(f"/api/v1/studies/{first['id']}").json()
    assert [series["description"] for series in response["series"]] == ["T1", "T2"]
    for again in (dict(files), rest, dict(files) | {f"2/{name}": d for name, d in rest.items()}):
        answer = browser.upload(again)
        assert (answer.status_code, answer.json()["id"]) == (200, first["id"])
    assert len(list(server.settings.studies.iterdir())) == 1


def finish_halves_at_once(server, series, monkeypatch):
    """Upload the two files of an exam by two readers, who look for its study at one instant.

    Returns the study's id to each, and what each found.
    """
    browsers = [server.browser(), server.browser()]
    looked, both = [], threading.Event()
    find = receiving._study_to_extend

    def looking(session, study):
        found = find(session, study)
        looked.append(found)
        if len(looked) == 2:
            both.set()
        # Whoever looks first goes on when the other one has looked too, or can not.
        both.wait(1)
        return found

    monkeypatch.setattr("meninx._web.studies.receiving._study_to_extend", looking)
    files = exam(series, "P1", "1.2.1").items()
    with ThreadPoolExecutor(2) as pool:
        sent = [
            pool.submit(browser.upload, {name: data})
            for browser, (name, data) in zip(browsers, files, strict=True)
        ]
        response = [upload.result().json()["id"] for upload in sent]
    monkeypatch.undo()
    return response, [found is not None for found in looked]


def test_two_halves_of_an_exam_at_the_same_instant_become_one_study(server, series, monkeypatch):
    (first, second), joined = finish_halves_at_once(server, series, monkeypatch)
    assert first == second
    assert joined == [False, True]
    folder = server.settings.studies / first / "files"
    assert len(list(folder.iterdir())) == 2
    assert len(list(server.settings.studies.iterdir())) == 1
    assert study_in(server, first).series[0]["files"] == 2


def test_a_study_with_opinions_gets_no_more_files(server, series):
    browser = server.browser()
    files = list(exam(series, "P1", "1.2.1").items())
    first = browser.upload(dict(files[:1])).json()["id"]
    browser.post(f"/studies/{first}/opinions", verdict="tumor")
    second = browser.upload(dict(files)).json()["id"]
    assert second != first
    assert len(list((server.settings.studies / first / "files").iterdir())) == 1


def test_files_that_arrive_during_scoring_are_scored_too(server, series, monkeypatch):
    browser = server.browser()
    files = list(exam(series, "P1", "1.2.1").items())
    first = browser.upload(dict(files[:1])).json()["id"]
    seen = []

    def score(folder, *_):
        seen.append(len(list(folder.iterdir())))
        if len(seen) == 1:
            browser.upload(dict(files[1:]))
        return StudyResult()

    monkeypatch.setattr("meninx._web.studies.jobs.score_study", score)
    server.work(first)
    assert study_in(server, first).state == "received"
    server.work(first)
    assert (seen, study_in(server, first).state) == ([1, 2], "done")


def packed(files, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def test_a_zip_becomes_the_same_studies_as_its_folder(server, mixed):
    browser = server.browser()
    studies = browser.upload({"disk.zip": packed(mixed)}, "disk.zip").json()["studies"]
    assert [study["patient_id"] for study in studies] == ["P1", "P1", "P2"]
    again = browser.upload(mixed, "disk").json()["studies"]
    assert [study["id"] for study in again] == [study["id"] for study in studies]
    assert {study["created"] for study in again} == {False}


def test_a_zip_of_a_series_is_scored(server, series, scored):
    (study,) = server.browser().upload({"case.zip": packed(series)}).json()["studies"]
    server.work(study["id"])
    found = server.browser().client.get(f"/api/v1/studies/{study['id']}").json()
    same = scored.browser().client.get(f"/api/v1/studies/{scored.study_id}").json()
    assert (found["decision"], found["probability"]) == (same["decision"], same["probability"])


def encrypted(data):
    """Return a zip whose only entry says that it is encrypted."""
    mark = data.index(b"PK\x01\x02") + 8
    return data[:6] + b"\x01" + data[7:mark] + b"\x01" + data[mark + 1 :]


@pytest.mark.parametrize(
    ("made", "status", "words"),
    [
        (lambda: packed({"../../evil.dcm": b"x"}), 400, "leaves the archive's own folder"),
        (lambda: packed({"a/b.dcm": b"x", r"c:\evil.dcm": b"x"}), 400, "own folder"),
        (lambda: packed({"bomb.dcm": bytes(4 * 1024**2)}), 413, "times its size"),
        (lambda: packed({f"{n}": bytes(10**6) for n in range(12)}), 413, "bytes unpacked"),
        (lambda: encrypted(packed({"a.dcm": b"x"})), 400, "encrypted"),
        (lambda: packed({"a.dcm": b"x" * 100})[:60], 400, "truncated or damaged"),
    ],
)
def test_a_hostile_zip_is_refused_in_words_and_leaves_nothing(tmp_path, made, status, words):
    server = Server(Settings(data=tmp_path / "data", upload_bytes=10 * 1024**2))
    answer = server.browser().upload({"disk.zip": made()})
    assert answer.status_code == status
    assert words in answer.json()["detail"]
    assert str(tmp_path) not in answer.json()["detail"]
    assert not list(server.settings.uploads.iterdir())
    assert not list(server.settings.studies.iterdir())
    assert not [path for path in tmp_path.rglob("*") if "evil" in path.name]


def test_a_zip_inside_a_zip_is_refused_as_on_the_command_line(server):
    inside = {"inner.zip": packed({"a.png": picture(1)}), "b.png": picture(2)}
    studies = server.browser().upload({"outer.zip": packed(inside)}).json()["studies"]
    server.work(studies[0]["id"])
    found = server.browser().client.get(f"/api/v1/studies/{studies[0]['id']}/finding").json()
    assert {finding["reason"] for finding in found} == {"too_small", "nested_zip"}


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        (r"a\..\sub-01_T1w.nii.gz", "sub-01_T1w.nii.gz"),
        (".hidden", "hidden"),
        ("ü ber.nii", "__ber.nii"),
        ("..", "3"),
    ],
)
def test_stored_names_lead_out_of_no_folder(name, kept):
    assert harmless(name, 3) == kept


def test_names_are_written_as_readers_do():
    assert name_for_readers("Doe^Jane^^Dr.") == "Doe, Jane Dr."
    assert name_for_readers("=山田^太郎") == "山田, 太郎"
    assert name_for_readers("^^") == ""
    three = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    assert name_for_readers(three) == "Yamada, Tarou = 山田, 太郎 = やまだ, たろう"


def test_a_name_in_three_scripts_is_shown_and_found_as_a_whole(server, series):
    values = {
        "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう",
        "SpecificCharacterSet": "ISO_IR 192",
    }
    files = exam(series, "P1", "1.2.1", StudyDate="20261128", **values)
    browser = server.browser()
    study = browser.upload(files, "disk").json()
    shown = "Yamada, Tarou = 山田, 太郎 = やまだ, たろう"
    assert (study["name"], study["patient_name"]) == (shown, shown)
    page = browser.client.get(f"/studies/{study['id']}").text
    assert f"<h1>{shown}</h1>" in page
    assert f"<title>{shown}, meninx</title>" in page
    words = ("山田", "Yamada^Tarou=山田^太郎", "たろう", "28.11.2026", "19700102", "02.01.1970")
    for search in words:
        found = browser.client.get("/api/v1/studies", params={"search": search}).json()
        assert found["count"] == 1, search
    # A system that sends the alphabetic name alone means the same patient.
    other = exam(series, "P1", "1.2.2", PatientName="YAMADA^TAROU")
    second = browser.upload(other).json()
    assert study_in(server, second["id"]).patient_key == study_in(server, study["id"]).patient_key


def as_sent_by(data, *, implicit, private=""):
    """Return a DICOM file as another system writes it: same elements and pixels, other bytes."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.preamble = b"II*\0" + bytes(124)
    dataset.file_meta.ImplementationVersionName = "ANOTHER"
    if private:
        dataset.private_block(0x0021, "ANOTHER", create=True).add_new(1, "LO", private)
    dataset.RetrieveAETitle = "PACS"
    syntax = pydicom.uid.ImplicitVRLittleEndian if implicit else dataset.file_meta.TransferSyntaxUID
    dataset.file_meta.TransferSyntaxUID = syntax
    out = io.BytesIO()
    dataset.save_as(out, implicit_vr=implicit, little_endian=True)
    return out.getvalue()


def compressed(data):
    """Return a DICOM file with its pixels compressed without loss."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.compress(pydicom.uid.JPEGLSLossless, generate_instance_uid=False)
    dataset.LossyImageCompression = "00"
    out = io.BytesIO()
    dataset.save_as(out)
    return out.getvalue()


def test_an_exam_that_comes_by_page_and_by_node_is_stored_and_scored_once(server, series):
    page, node = server.browser(), server.browser("ada")
    files = exam(series, "P1", "1.2.1")
    study = page.upload(files).json()
    server.jobs.score = lambda _: None
    sent = {
        f"{number}.dcm": as_sent_by(data, implicit=number > 0, private="x")
        for number, data in enumerate(files.values())
    }
    assert set(sent.values()).isdisjoint(files.values())
    for again in (sent, dict(list(sent.items())[:1])):
        answer = node.upload(again)
        assert (answer.status_code, answer.json()["id"]) == (200, study["id"])
    assert len(list((server.settings.studies / study["id"] / "files").iterdir())) == len(files)
    packed = {name: compressed(data) for name, data in files.items()}
    assert node.upload(packed).status_code == 200
    # A database of the first version named files by their bytes.
    folder = server.settings.studies / study["id"] / "files"
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"{number:064x}.dcm")
    assert node.upload(sent).status_code == 200
    # A reader has said something: still the same exam, which is not scored again.
    page.post(f"/studies/{study['id']}/opinions", verdict="tumor")
    assert node.upload(dict(list(sent.items())[1:])).json()["id"] == study["id"]
    with server.web.sessions() as session:
        assert session.query(Study).count() == 1


@pytest.mark.parametrize(
    "values",
    [{"PatientName": "Roe"}, {"Rows": 7}, {"PixelData": b"\1\0"}, {"SOPInstanceUID": "1.2.3"}],
)
def test_another_element_or_pixel_is_another_content(tmp_path, series, values):
    data = next(iter(series.values()))
    (tmp_path / "a.dcm").write_bytes(data)
    (tmp_path / "b.dcm").write_bytes(as_sent_by(data, implicit=True))
    (tmp_path / "c.dcm").write_bytes(changed(as_sent_by(data, implicit=True), **values))
    first, same, other = (content_of(tmp_path / f"{name}.dcm") for name in "abc")
    assert first == same != other
    assert not first.same(other)


def test_the_other_files_of_a_cd_are_named(server, mixed):
    cd = mixed | {"disk/AUTORUN.INF": b"[autorun]", "disk/viewer.exe": b"MZ" + bytes(99)}
    answer = server.browser().upload(cd).json()
    assert len(answer["studies"]) == 3
    assert answer["left_out"] == [
        {"name": name, "why": "no scan"}
        for name in ("disk/AUTORUN.INF", "disk/README.txt", "disk/viewer.exe")
    ]


def lacking(server, study_id):
    """Return what the scans of a study lack, as its folder is read."""
    scans = read_scans(server.settings.studies / study_id / "files", lambda _: None)
    return {count.text for scan in scans for count in scan.incomplete}


@pytest.mark.parametrize("deidentify", [False, True])
def test_images_that_only_the_dicomdir_of_a_cd_has_are_missing(tmp_path, series, deidentify):
    server = Server(Settings(data=tmp_path / "data", deidentify=deidentify))
    exams = [exam(series, "P1", "1.2.1"), exam(series, "P1", "1.2.2"), exam(series, "P2", "1.2.3")]
    folder = tmp_path / "cd"
    (folder / "disk").mkdir(parents=True)
    for name, data in [item for files in exams for item in files.items()]:
        (folder / name).write_bytes(data)
    write_dicomdir(folder)
    listing = {"DICOMDIR": (folder / "DICOMDIR").read_bytes()}
    first = dict(list(exams[0].items())[:1])
    browser = server.browser()
    answer = browser.upload({**first, **exams[1], **listing}).json()
    ids = [study["id"] for study in answer["studies"]]
    assert [lacking(server, study_id) for study_id in ids] == [
        {"1 of 2 instances of the study"},
        set(),
    ]
    (left_out,) = answer["left_out"]
    assert left_out["why"] == (
        "a DICOMDIR, which lists other files; it lists 2 images of 1 series that are not here; "
        "copy the whole medium"
    )
    if not deidentify:  # then no upload adds to a study
        rest = browser.upload(dict(list(exams[0].items())[1:])).json()["studies"]
        assert [study["id"] for study in rest] == ids[:1]
        assert lacking(server, ids[0]) == set()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("3.dcm", b""),
        ("3.dcm", bytes(100)),
        ("3.dcm", b"\0" * 128 + b"DICM" + bytes(20)),
        ("P1-1-3.dcm", b"<html>503</html>" * 20),
        ("3", b"<html>503</html>" * 20),
        ("3", b""),
    ],
)
@pytest.mark.parametrize("alone", [True, False])
def test_a_slice_that_can_t_be_read_is_missing_from_its_study(server, series, name, data, alone):
    files = exam(series, "P1", "1.2.1")
    if name == "3":
        files = {f"disk/{number}": file for number, file in enumerate(files.values(), 1)}
    files |= {f"disk/{name}": data, f"disk/{name.replace('3', '4')}": data, "disk/README": b""}
    others = {f"other/{place}": other for place, other in exam(series, "P2", "1.2.3").items()}
    answer = server.browser().upload(files if alone else files | others).json()
    first, *rest = answer["studies"]
    assert lacking(server, first["id"]) == {"2 of 4 files of the series"}
    assert [lacking(server, study["id"]) for study in rest] == [set()] * (not alone)
    assert [left["name"] for left in answer["left_out"]] == ["disk/README"]


@pytest.mark.parametrize("alone", [True, False])
def test_hidden_files_of_a_mac_are_no_slices(server, series, alone):
    files = exam(series, "P1", "1.2.1")
    double = bytes.fromhex("00051607 00020000") + b"Mac OS X        " + bytes(72)
    names = [f"disk/._{name.removeprefix('disk/')}" for name in files]
    names += ["__MACOSX/disk/1.dcm", "disk/.Trashes/3.dcm", "disk\\._4.dcm"]
    others = {f"other/{place}": other for place, other in exam(series, "P2", "1.2.3").items()}
    uploaded = (files if alone else files | others) | dict.fromkeys(names, double)
    answer = server.browser().upload(uploaded).json()
    assert [lacking(server, study["id"]) for study in answer["studies"]] == [set()] * (2 - alone)
    assert {left["name"]: left["why"] for left in answer["left_out"]} == dict.fromkeys(
        names, "no scan"
    )


@pytest.mark.parametrize("cut", [200, 400, 600, 700])
def test_a_slice_cut_off_in_its_header_is_missing_from_its_study(server, series, cut):
    files = exam(series, "P1", "1.2.1")
    last = list(files)[-1]
    answer = server.browser().upload(files | {"disk/P1-1-3.dcm": files[last][:cut]}).json()
    found = [lacking(server, study["id"]) for study in answer["studies"]]
    assert {"2 of 3 files of the series"} in found


def test_the_newest_note_of_a_study_counts(server, series):
    files = exam(series, "P1", "1.2.1")

    def note(*missing):
        counts = [Incomplete(what, 1, 0).as_json() for what in missing]
        return {NOTE: json.dumps({"study": "1.2.1", "incomplete": counts}).encode()}

    browser = server.browser()
    first = browser.upload(files | note("complete transfers")).json()
    assert lacking(server, first["id"]) == {"0 of 1 complete transfers"}
    again = browser.upload(files | note()).json()
    assert again["id"] == first["id"]
    assert lacking(server, first["id"]) == set()


def test_an_unfinished_upload_is_listed_and_goes_on(server, series):
    browser, other = server.browser(), server.browser("ada")
    begin = {"title": "case", "spacing": "0.9,0.9,6.5"}
    begun = browser.client.post("/api/v1/uploads", json=begin, headers=browser.headers).json()
    address = f"/api/v1/uploads/{begun['id']}"
    name, data = next(iter(series.items()))
    browser.client.put(
        f"{address}/parts", params={"name": name}, content=data[:100], headers=browser.headers
    )
    (found,) = browser.client.get("/api/v1/uploads").json()
    assert found["files"] == [{"name": name, "bytes": 100}]
    assert [found[key] for key in ("id", "title", "project", "spacing", "bytes")] == [
        begun["id"],
        "case",
        "general",
        "0.9,0.9,6.5",
        100,
    ]
    assert other.client.get("/api/v1/uploads").json() == []
    browser.client.put(
        f"{address}/parts",
        params={"name": name, "offset": 100},
        content=data[100:],
        headers=browser.headers,
    )
    done = browser.client.post(f"{address}/finish", headers=browser.headers).json()
    assert done["studies"][0]["queue"] == {"place": 1, "waiting": 1}
    assert browser.client.get("/api/v1/uploads").json() == []


@pytest.mark.filterwarnings("ignore:Invalid value")
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2"])
def test_headings_are_read_whatever_the_encoding(tmp_path, series, syntax):
    dataset = pydicom.dcmread(io.BytesIO(next(iter(series.values()))))
    dataset.PatientName, dataset.SpecificCharacterSet = "Dürer^Agnes", "ISO_IR 100"
    dataset.PatientBirthDate = "about 1475"
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(tmp_path / "a.dcm", implicit_vr=syntax.endswith(".1.2"), little_endian=True)
    heading = read_heading(tmp_path / "a.dcm")
    assert (heading.patient_name, heading.birth_date) == ("Dürer, Agnes", "")
    assert heading.study_uid == dataset.StudyInstanceUID


def test_a_study_is_incomplete_until_the_rest_of_a_fetch_arrives(server, series):
    files = exam(series, "P1", "1.2.7") | exam(series, "P2", "1.2.8")
    missing = {"what": "instances of the study", "expected": 3, "received": 2}
    files["disk/incomplete.json"] = json.dumps({"study": "1.2.7", "incomplete": [missing]}).encode()
    browser = server.browser()
    first, second = browser.upload(files).json()["studies"]

    def lacking(study):
        folder = server.settings.studies / study["id"] / "files"
        return [entry.as_json() for scan in read_scans(folder) for entry in scan.incomplete]

    assert lacking(first) == [missing] and lacking(second) == []
    uids = {"StudyInstanceUID": "1.2.7", "SeriesInstanceUID": "1.2.7.1"}
    rest = changed(
        list(series.values())[2], PatientID="P1", SOPInstanceUID="1.2.7.9", **uids, **PATIENTS["P1"]
    )
    assert browser.upload({"more.dcm": rest}).json()["id"] == first["id"]
    assert lacking(first) == []
