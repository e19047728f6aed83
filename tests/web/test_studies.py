import io
import json
import sqlite3
import zipfile
from contextlib import closing
from datetime import timedelta

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from sqlalchemy.exc import DatabaseError
from typer.testing import CliRunner

from meninx._cli import app
from meninx._scoring.worker import MAX_ATTEMPTS, Worker
from meninx._synthesis.phantom import grid_of
from meninx._synthesis.phantom_studies import make_study
from meninx._web.store.database import (
    DONE,
    RECEIVED,
    SCORING,
    AuditEntry,
    Opinion,
    Study,
    migrate,
    now,
    open_database,
)
from meninx._web.store.settings import Settings
from meninx._web.store.stored_results import StudyResult
from meninx._web.studies import scoring
from meninx._web.studies.deleting import delete_expired_studies
from meninx._web.studies.jobs import Jobs, release_leases
from meninx._web.studies.opinions import Verification, signature_of, verify_opinions
from meninx._web.studies.results import WAITING
from meninx._web.studies.slice_files import read_slices
from meninx._web.studies.uploads import uploaded_path
from tests.web.conftest import Server


def study_in(server, study_id):
    with server.web.sessions() as session:
        return session.get(Study, study_id)


def test_a_series_is_scored_and_shown_with_its_heat_map(scored, sick):
    study = study_in(scored, scored.study_id)
    assert (study.state, study.decision) == (DONE, "tumor")
    browser = scored.browser()
    page = browser.client.get(f"/studies/{study.id}").text
    assert "phantom with a tumor" in page
    assert "not for diagnosis" in page
    assert f"{study.probability:.3f}" in page
    (finding,) = browser.client.get(f"/api/v1/studies/{study.id}/finding").json()
    assert finding["probability"] == study.probability
    assert set(finding["identity"]) == {
        "study_instance_uid",
        "series_instance_uid",
        "patient",
    }
    folder = scored.settings.studies / study.id / "shown"
    heat = nibabel.load(folder / "0-heat.nii.gz")
    assert heat.shape == sick.scan.voxels.shape
    volume = read_slices(folder / "0.slices", heat.shape, sick.scan.view.slice_axis)
    assert (volume == np.rint(sick.scan.voxels)).all()
    hottest = max(finding["slices"], key=lambda slice_: slice_["probability"])
    values = np.asarray(heat.dataobj)
    assert values[tuple(hottest["peak"])] > 0.8 * values[..., hottest["index"]].max()
    picture = browser.client.get(f"/api/v1/studies/{study.id}/heatmap")
    assert picture.headers["content-type"] == "image/png"
    for name in ("../meninx.sqlite", "..%2F..%2Fmeninx.sqlite", "result.json", "x"):
        assert browser.client.get(f"/studies/{study.id}/files/{name}").status_code == 404


def test_dicom_objects_are_exported(scored):
    browser = scored.browser()
    page = browser.client.get(f"/studies/{scored.study_id}").text
    address = f"/studies/{scored.study_id}/objects"
    assert f"{address}.zip" in page
    packed = browser.client.get(f"{address}.zip")
    with zipfile.ZipFile(io.BytesIO(packed.content)) as archive:
        made = [pydicom.dcmread(io.BytesIO(archive.read(name))) for name in archive.namelist()]
    # Others may have measured in it: those are reports of their readers.
    assert {dataset.Modality for dataset in made} == {"KO", "OT", "SEG", "SR"}
    assert browser.client.get(f"/api/v1{address}").content[:4] == b"PK\x03\x04"
    assert scored.client().get(f"{address}.zip", follow_redirects=False).status_code != 200


def test_exports_state_their_use(scored):
    browser = scored.browser()
    response = browser.client.get(f"/studies/{scored.study_id}/finding.json").json()
    assert response["use"] == "research only, not for diagnosis"
    report = browser.client.get(f"/studies/{scored.study_id}/report.pdf")
    assert report.content.startswith(b"%PDF")
    assert len(report.content) > 20_000  # it holds the picture
    with scored.web.sessions() as session:
        actions = [entry.action for entry in session.query(AuditEntry)]
    assert {"exported PDF", "exported JSON", "uploaded", "scored", "signed in"} <= set(actions)


def test_a_photograph_is_refused_in_words(server, tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (200, 300, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    browser = server.browser()
    study = browser.upload({"a.png": (tmp_path / "a.png").read_bytes()}).json()
    server.work(study["id"])
    page = browser.client.get(f"/studies/{study['id']}").text
    assert "of the picture is colored, expected at most" in page
    assert browser.client.get(f"/api/v1/studies/{study['id']}/heatmap").status_code == 404


def test_uploads_continue_after_a_lost_connection(server):
    browser = server.browser()
    begun = browser.client.post("/api/v1/uploads", json={"title": "t"}, headers=browser.headers)
    address = f"/api/v1/uploads/{begun.json()['id']}/parts"

    def send(data, offset):
        return browser.client.put(
            address, params={"name": "x", "offset": offset}, content=data, headers=browser.headers
        )

    assert send(b"abcdef", 0).json() == {"offset": 6}
    assert send(b"", 6).json() == {"offset": 6}  # how far has it come?
    assert send(b"efgh", 4).json() == {"offset": 8}  # a part that came in part before
    assert send(b"abc", 0).json() == {"offset": 8}
    assert send(b"zz", 11).status_code == 400
    path = uploaded_path(server.settings, begun.json()["id"], "x")
    assert path.read_bytes() == b"abcdefgh"
    other = server.browser("ada")
    answer = other.client.put(address, params={"name": "x"}, content=b"q", headers=other.headers)
    assert answer.status_code == 400
    assert browser.client.post(f"{address[:-6]}/finish", headers=browser.headers).status_code == 201


def test_an_upload_that_is_too_large_is_refused(tmp_path):
    server = Server(Settings(data=tmp_path, upload_bytes=10))
    browser = server.browser()
    begun = browser.client.post("/api/v1/uploads", json={}, headers=browser.headers).json()
    answer = browser.client.put(
        f"/api/v1/uploads/{begun['id']}/parts",
        params={"name": "x"},
        content=b"12345678901",
        headers=browser.headers,
    )
    assert answer.status_code == 413
    empty = browser.client.post(f"/api/v1/uploads/{begun['id']}/finish", headers=browser.headers)
    assert empty.status_code == 400


@pytest.mark.parametrize("name", ["../../x.dcm", "/etc/passwd", "a\\..\\b.nii.gz", "x" * 900, "\n"])
def test_names_never_lead_out_of_the_upload(server, name):
    path = uploaded_path(server.settings, "0" * 24, name)
    assert path.parent == server.settings.uploads / ("0" * 24)
    assert len(path.name) < 50


def test_the_same_content_is_one_study(server, series):
    browser = server.browser()
    first = browser.upload(series, "first")
    again = server.browser("ada").upload({f"other/{k}": v for k, v in series.items()}, "again")
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["id"] == first.json()["id"]
    assert (first.json()["created"], again.json()["created"]) == (True, False)
    assert len(list(server.settings.studies.iterdir())) == 1
    assert not list(server.settings.uploads.iterdir())


def test_deidentify_drops_the_title_and_nothing_logs_names(tmp_path, series, caplog):
    server = Server(Settings(data=tmp_path, deidentify=True))
    study = server.browser().upload(series, "MUSTERMANN^ERIKA").json()
    server.work(study["id"])
    assert study["title"] == "anonymous study"
    everything = (tmp_path / "meninx.sqlite").read_bytes() + caplog.text.encode()
    assert b"MUSTERMANN" not in everything
    with sqlite3.connect(tmp_path / "meninx.sqlite") as database:
        (findings,) = database.execute("select findings from studies").fetchone()
    assert json.loads(findings)[0]["identity"] == {}


def test_opinions_are_stored_and_signed(scored):
    browser = scored.browser()
    address = f"/studies/{scored.study_id}/opinions"
    browser.post(address, verdict="no_tumor", note="<b>a vein</b>")
    browser.post(address, verdict="tumor", box="1,2,3,4,5,6")
    assert browser.post(address, verdict="tumor", box="1,2").status_code == 400
    assert browser.post(address, verdict="nonsense").status_code == 422
    page = browser.client.get(f"/studies/{scored.study_id}").text
    assert "&lt;b&gt;a vein&lt;/b&gt;" in page
    response = browser.client.get(f"/api/v1/studies/{scored.study_id}/opinions").json()
    assert [opinion["verdict"] for opinion in response] == ["tumor", "no_tumor"]
    assert response[0]["box"] == {"from": [1, 2, 3], "to": [4, 5, 6]}
    with scored.web.sessions() as session:
        for opinion in session.query(Opinion):
            assert opinion.signature == signature_of(opinion, scored.web.key)
            opinion.note += "!"
            assert opinion.signature != signature_of(opinion, scored.web.key)
        session.rollback()


def test_the_worklist_searches_filters_and_sorts(server):
    decisions = ["no_tumor", "tumor", "refer", "refused"]
    priorities = {"refer": 0, "tumor": 1, "refused": 3, "no_tumor": 4}
    with server.web.sessions.begin() as session:
        for n, decision in enumerate(decisions):
            session.add(
                Study(
                    title=f"case {n}_%",
                    content_hash=str(n),
                    state=DONE,
                    decision=decision,
                    probability=n / 10,
                    priority=priorities[decision],
                    received=now() - timedelta(hours=n),
                )
            )
        session.add(Study(title="late", content_hash="x", state=RECEIVED, priority=WAITING))
    client = server.browser().client

    def titles(**query):
        return [
            study["title"]
            for study in client.get("/api/v1/studies", params=query).json()["studies"]
        ]

    assert titles() == ["case 2_%", "case 1_%", "case 3_%", "case 0_%", "late"]
    assert titles(search="1_%") == ["case 1_%"]
    assert titles(search="%") == titles(search="_%") != titles()
    assert titles(state="waiting") == ["late"]
    assert titles(decision="tumor") == ["case 1_%"]
    assert titles(sort="received", state="done") == [f"case {n}_%" for n in range(4)]
    assert titles(page=2) == []
    table = client.get("/", params={"decision": "refer"}, headers={"hx-request": "true"}).text
    assert "case 2_%" in table
    assert "<html" not in table
    assert "No study matches" in client.get("/", params={"search": "zzz"}).text


def test_a_study_is_scored_once_by_several_workers(server, series, monkeypatch):
    study = server.browser().upload(series).json()
    calls = []

    def score(*_):
        calls.append(1)
        # While one worker has it, another one gets nothing.
        server.jobs.score(study["id"])
        return StudyResult()

    monkeypatch.setattr("meninx._web.studies.jobs.score_study", score)
    server.work(study["id"])
    server.work(study["id"])
    assert len(calls) == 1
    assert study_in(server, study["id"]).state == DONE


def test_a_killed_worker_s_study_is_scored_again(server, series, monkeypatch):
    study = server.browser().upload(series).json()

    class KilledError(BaseException):
        pass

    def killed(*_):
        raise KilledError

    monkeypatch.setattr("meninx._web.studies.jobs.score_study", killed)
    with pytest.raises(KilledError):
        server.work(study["id"])
    assert study_in(server, study["id"]).state == SCORING
    done = []
    monkeypatch.setattr(
        "meninx._web.studies.jobs.score_study",
        lambda *_: done.append(1) or StudyResult(),
    )
    jobs = Jobs(server.settings)
    assert not jobs.score_next()  # another worker may still score it
    assert not done
    release_leases(server.settings)
    assert jobs.score_next()
    assert not jobs.score_next()
    assert done == [1]
    jobs.close()


def test_a_study_is_scored_again_once_its_lease_has_run_out(server, series, monkeypatch):
    study_id = server.browser().upload(series).json()["id"]
    monkeypatch.setattr("meninx._web.studies.jobs.score_study", lambda *_: StudyResult())
    with server.web.sessions.begin() as session:
        study = session.get(Study, study_id)
        study.state, study.lease = SCORING, now() + timedelta(seconds=30)
    assert not server.jobs.score_next()
    monkeypatch.setattr("meninx._web.studies.queue.now", lambda: now() + timedelta(seconds=31))
    assert server.jobs.score_next()
    assert study_in(server, study_id).state == DONE


def test_the_study_that_has_waited_longest_is_scored_first(server, series, monkeypatch):
    browser, scored = server.browser(), []
    files = list(series.items())
    uploaded = [browser.upload({name: data}).json()["id"] for name, data in files[:1]]
    uploaded += [browser.upload({"a.txt": b"words"}).json()["id"]]
    monkeypatch.setattr(
        "meninx._web.studies.jobs.score_study",
        lambda folder, *_: scored.append(folder.parent.name) or StudyResult(),
    )
    while server.jobs.score_next():
        pass
    assert scored == uploaded


def test_files_that_end_the_process_several_times_are_given_up(server, series):
    response = server.browser().upload(series).json()
    with server.web.sessions.begin() as session:
        session.get(Study, response["id"]).attempts = MAX_ATTEMPTS
    server.work(response["id"])
    study = study_in(server, response["id"])
    assert (study.state, study.decision) == (DONE, "failed")
    assert (
        "ended the scoring process"
        in server.browser().client.get(f"/studies/{response['id']}").text
    )


@pytest.mark.parametrize(
    ("limits", "reason"),
    [({"worker_bytes": 100 * 1024**2}, "unreadable"), ({"worker_seconds": 0}, "limit_exceeded")],
)
def test_decoding_has_limits(tmp_path, series, limits, reason):
    files = tmp_path / "files"
    files.mkdir()
    for number, data in enumerate(series.values()):
        (files / str(number)).write_bytes(data)
    settings = Settings(data=tmp_path, **limits)
    apart = Worker(settings.worker_bytes, settings.worker_seconds)
    result = scoring.score_study(files, tmp_path / "out", settings, apart)
    apart.close()
    assert [series.findings.reason for series in result.series] == [reason]


def test_deleting_removes_the_pixels_and_is_logged(server, series):
    browser = server.browser("ada")
    study = browser.upload(series).json()
    assert server.browser("rene").post(f"/studies/{study['id']}/delete").status_code == 403
    answer = browser.client.delete(f"/api/v1/studies/{study['id']}", headers=browser.headers)
    assert answer.status_code == 204
    assert not list(server.settings.studies.iterdir())
    assert browser.client.get(f"/studies/{study['id']}").status_code == 404
    assert study["id"] in browser.client.get("/audit", params={"study": study["id"]}).text


@pytest.fixture
def with_opinions(server, series):
    """A study with two readers' opinions; its id."""
    browser = server.browser()
    study = browser.upload(series, "with_opinions").json()
    browser.post(f"/studies/{study['id']}/opinions", verdict="tumor", note="a lesion")
    server.browser("ada").post(f"/studies/{study['id']}/opinions", verdict="no_tumor")
    return study["id"]


def test_a_study_with_opinions_is_withdrawn_by_its_uploader_and_stays(
    server, series, with_opinions
):
    browser = server.browser()
    browser.post(f"/studies/{with_opinions}/delete", reason="mine")
    assert (
        study_in(server, with_opinions).withdrawn is None
    )  # a reason is an administrator's to give
    assert browser.post(f"/studies/{with_opinions}/delete").status_code == 303

    def listed(**query):
        return browser.client.get("/api/v1/studies", params=query).json()["count"]

    assert (listed(), listed(state="withdrawn")) == (0, 1)
    assert (server.settings.studies / with_opinions / "files").is_dir()
    assert len(browser.client.get(f"/api/v1/studies/{with_opinions}/opinions").json()) == 2
    assert browser.upload(series).json()["id"] == with_opinions
    assert (listed(), listed(state="withdrawn")) == (1, 0)


def test_an_administrator_erases_pixels_and_identity_and_the_opinions_stay(
    server, series, with_opinions
):
    server.work(with_opinions)
    browser = server.browser("ada")
    answer = browser.client.delete(
        f"/api/v1/studies/{with_opinions}",
        params={"reason": "consent withdrawn"},
        headers=browser.headers,
    )
    assert answer.status_code == 204
    assert not list(server.settings.studies.iterdir())
    response = browser.client.get(f"/api/v1/studies/{with_opinions}/opinions").json()
    assert [(opinion["verdict"], opinion["user"]) for opinion in response] == [
        ("no_tumor", "ada"),
        ("tumor", "rene"),
    ]
    assert browser.client.get(f"/studies/{with_opinions}").status_code == 410
    assert browser.client.get(f"/api/v1/studies/{with_opinions}/finding").status_code == 410
    study = study_in(server, with_opinions)
    assert (study.patient_name, study.study_uid, study.title) == ("", "", "erased")
    assert (study.findings, study.series, study.decision) == ([], [], "tumor")
    assert "consent withdrawn" in browser.client.get("/audit").text
    assert browser.upload(series).json()["id"] != with_opinions
    with server.web.sessions() as session:
        assert verify_opinions(session, server.web.key) == Verification(2, ())


def test_the_retention_time_erases_studies_and_keeps_opinions(server, with_opinions):
    server.settings.retention_days = 30
    with server.web.sessions.begin() as session:
        session.get(Study, with_opinions).received = now() - timedelta(days=31)
    server.jobs.clean_up()
    assert study_in(server, with_opinions).erased
    assert not list(server.settings.studies.iterdir())
    with server.web.sessions.begin() as session:
        assert delete_expired_studies(session, server.settings) == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE opinions SET note = 'a lesiom' WHERE id = 1", "opinion 1 on study"),
        ("UPDATE opinions SET user_name = 'eve' WHERE id = 2", "opinion 2 on study"),
        ("UPDATE opinions SET signature = 'x' || substr(signature, 2) WHERE id = 1", "opinion 1"),
        ("DELETE FROM opinions WHERE id = 2", "1 opinion of the audit log missing"),
    ],
)
def test_a_changed_byte_of_an_opinion_is_found(server, with_opinions, change, words):
    command = ["verify-opinions", "--data", str(server.settings.data)]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert (result.exit_code, result.output) == (
        0,
        "2 opinions as stored, 0 faults\n",
    )
    with sqlite3.connect(server.settings.data / "meninx.sqlite") as database:
        database.execute(change)
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 1
    assert words in result.output
    assert "1 opinion as stored, 1 fault" in result.output


def test_old_studies_are_deleted(tmp_path, series):
    server = Server(Settings(data=tmp_path, retention_days=30))
    study = server.browser().upload(series).json()
    with server.web.sessions.begin() as session:
        assert delete_expired_studies(session, server.settings) == 0
        session.get(Study, study["id"]).received = now() - timedelta(days=31)
    server.jobs.clean_up()
    assert study_in(server, study["id"]) is None
    assert not list(server.settings.studies.iterdir())


def test_the_audit_log_is_append_only(server):
    server.browser()
    engine = open_database(server.settings.address)
    for line in ("UPDATE audit SET user_name = 'x'", "DELETE FROM audit"):
        with pytest.raises(DatabaseError, match="append-only"), engine.begin() as connection:
            connection.exec_driver_sql(line)
    engine.dispose()


def test_migrations_go_up_down_and_up_again(tmp_path):
    address = f"sqlite:///{tmp_path / 'm.sqlite'}"
    engine = open_database(address)
    from sqlalchemy import inspect

    migrate(address)
    tables = set(inspect(engine).get_table_names())
    assert {"users", "studies", "opinions", "audit", "uploads"} <= tables
    migrate(address, "base")
    assert set(inspect(engine).get_table_names()) == {"alembic_version"}
    migrate(address)
    assert set(inspect(engine).get_table_names()) == tables
    engine.dispose()


def test_a_database_of_the_first_schema_keeps_what_readers_said(tmp_path):
    settings = Settings(data=tmp_path / "data")
    settings.data.mkdir()
    migrate(settings.address, "0001")
    columns = {
        "title": "case",
        "content_hash": "h",
        "birth_date": "1970-01-02",
        "search_text": "case",
        "state": DONE,
        **dict.fromkeys(("received",), "2026-01-01 10:00:00"),
        **dict.fromkeys(("series", "findings"), "[]"),
        **dict.fromkeys(("priority", "chosen", "bytes", "attempts"), 0),
        **dict.fromkeys(("patient_name", "patient_id", "accession", "study_date"), ""),
        **dict.fromkeys(("study_time", "description", "study_uid", "patient_key", "spacing"), ""),
    } | {"id": "a" * 24, "file_names": "{}", "project_id": 1}
    said = {"study_id": "a" * 24, "scan": 0, "user_name": "rene", "verdict": "agree", "note": ""}
    box = {"from": [1, 2, 3], "to": [4, 5, 6]}
    said |= {"region": json.dumps(box), "made": "2026-01-01 11:00:00", "signature": "s"}
    with closing(sqlite3.connect(settings.data / "meninx.sqlite")) as database, database:
        for table, values in (("studies", columns), ("opinions", said)):
            marks = ", ".join("?" * len(values))
            database.execute(
                f"insert into {table} ({', '.join(values)}) values ({marks})", [*values.values()]
            )
    server = Server(settings)
    browser = server.browser()
    (opinion,) = browser.client.get(f"/api/v1/studies/{'a' * 24}/opinions").json()
    assert (opinion["box"], opinion["about"], opinion["words"]) == (box, "series", "agree")
    assert (opinion["answer"], opinion["agrees"]) == (None, None)
    assert "agree" in browser.client.get(f"/studies/{'a' * 24}").text
    assert browser.client.get("/api/v1/studies?search=02.01.1970").json()["count"] == 1


def test_the_tables_are_those_of_the_code(tmp_path):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from meninx._web.store.database import Base

    address = f"sqlite:///{tmp_path / 'm.sqlite'}"
    migrate(address)
    engine = open_database(address)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


def test_an_upload_says_the_voxel_size_that_its_file_lost(server, tmp_path):
    head = make_study("head", 41, None, "T1", "axial", grid_of("axial")).scan
    image = nibabel.Nifti1Image(head.voxels.astype(np.int16), np.diag([-1.0, -1.0, 1.0, 1.0]))
    nibabel.save(image, tmp_path / "t1.nii.gz")
    files = {"t1.nii.gz": (tmp_path / "t1.nii.gz").read_bytes()}
    browser, warned = server.browser(), []
    for spacing in ("", " 1.3, 1.25,6.0 "):
        study = browser.upload(files, spacing=spacing).json()
        assert study["created"]  # the same file with a size of its own is another study
        server.work(study["id"])
        (finding,) = browser.client.get(f"/api/v1/studies/{study['id']}/finding").json()
        warned.append([warning["code"] for warning in finding["warnings"]])
    assert warned == [["geometry_doubtful"], ["orientation_doubtful", "spacing_given"]]
    refused = browser.client.post(
        "/api/v1/uploads", json={"title": "t", "spacing": "1,1"}, headers=browser.headers
    )
    assert refused.status_code in (400, 422)
    assert "expected the size of a voxel" in refused.text
