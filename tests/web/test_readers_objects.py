"""What readers measured and marked leaves the web application as DICOM structured reports."""

import io
import zipfile

import highdicom as hd
import pydicom
import pytest

from meninx._web.store.database import Opinion
from meninx._web.store.settings import Settings
from tests.web.conftest import Server


@pytest.fixture(scope="module")
def measured(tmp_path_factory, series):
    """A server whose one study two readers measured; one marked a box in it too."""
    server = Server(Settings(data=tmp_path_factory.mktemp("measured")))
    browser, other = server.browser(), server.browser("ada")
    server.study_id = browser.upload(series).json()["id"]
    server.work(server.study_id)
    address = f"/api/v1/studies/{server.study_id}"
    for who, start, end in ((browser, [10, 20, 3], [13, 24, 3]), (other, [40, 50, 5], [46, 58, 5])):
        response = who.client.post(
            f"{address}/measurements", json={"from": start, "to": end}, headers=who.headers
        )
        assert response.status_code == 201
    box = {"from": [5, 6, 4], "to": [24, 15, 4]}
    said = {"verdict": "no_tumor", "note": "a vein of Mrs. Doe", "box": box}
    assert browser.client.post(f"{address}/opinions", json=said, headers=browser.headers).is_success
    return server


def reports(server, client, path="/api/v1/studies/{}/objects"):
    """Return the reports of readers by their account's name."""
    packed = client.get(path.format(server.study_id))
    with zipfile.ZipFile(io.BytesIO(packed.content)) as archive:
        names = [name for name in archive.namelist() if name.startswith("SR-")]
        read = [hd.sr.srread(io.BytesIO(archive.read(name))) for name in names]
    found = {}
    for report in read:
        (context,) = report.content.get_observer_contexts()
        observer = context.observer_identifying_attributes
        found[getattr(observer, "login_name", None)] = report
    return found


def test_each_reader_has_a_structured_report(measured, series):
    found = reports(measured, measured.browser().client)
    assert set(found) == {None, "rene", "ada"}
    (group,) = found["ada"].content.get_image_measurement_groups()
    (length,) = group.get_measurements()
    assert (length.name.meaning, length.unit.value) == ("Length", "mm")
    shown = measured.browser().client.get(f"/api/v1/studies/{measured.study_id}/measurements")
    assert [length["words"] for length in shown.json()][1] == f"{length.value:.1f} mm"
    files = {pydicom.dcmread(io.BytesIO(data)).SOPInstanceUID for data in series.values()}
    (image,) = group.source_images
    assert image.referenced_sop_instance_uid in files
    own = found["rene"].content.get_image_measurement_groups()
    assert [group.tracking_identifier for group in own] == ["measurement 1", "opinion 1"]
    assert [value.name.meaning for value in own[1].get_measurements()] == ["Width", "Height"]
    source = pydicom.dcmread(io.BytesIO(next(iter(series.values()))))
    for report in found.values():
        assert report.StudyInstanceUID == source.StudyInstanceUID
        assert report.PatientID == source.PatientID
        # Notes are in the JSON and the PDF only.
        assert "vein" not in str(report)


def test_the_page_sends_the_same_objects_to_readers_of_the_project_only(measured):
    browser = measured.browser()
    assert set(reports(measured, browser.client, "/studies/{}/objects.zip")) == {
        None,
        "rene",
        "ada",
    }
    address = f"/api/v1/studies/{measured.study_id}/objects"
    assert measured.client().get(address).status_code == 401
    client = measured.client()
    client.headers["authorization"] = f"Bearer {browser.key('upload')}"
    assert client.get(address).status_code == 403


def test_a_judged_region_is_in_its_reader_s_report(measured):
    ada = measured.browser("ada")
    address = f"/api/v1/studies/{measured.study_id}"
    region, *_ = ada.client.get(f"{address}/regions").json()
    said = {"verdict": "no_tumor", "about": "region", "region": 1}
    number = ada.client.post(f"{address}/opinions", json=said, headers=ada.headers).json()["id"]
    groups = reports(measured, ada.client)["ada"].content.get_image_measurement_groups()
    (group,) = [group for group in groups if str(group.tracking_identifier).startswith("opinion")]
    assert str(group.tracking_identifier) == f"opinion {number} on region 1"
    (answer,) = group.get_qualitative_evaluations()
    assert answer.value.value == "no_tumor"
    first, last = region["box"]["from"], region["box"]["to"]
    assert len(group.source_images) == last[2] - first[2] + 1
    with measured.web.sessions.begin() as session:
        session.delete(session.get(Opinion, number))


def test_deleted_measurements_are_in_no_report(measured):
    ada = measured.browser("ada")
    address = f"/api/v1/studies/{measured.study_id}/measurements"
    response = ada.client.post(
        address, json={"from": [1, 2, 3], "to": [4, 5, 3]}, headers=ada.headers
    ).json()
    assert len(reports(measured, ada.client)["ada"].content.get_image_measurement_groups()) == 2
    assert ada.client.delete(f"{address}/{response['id']}", headers=ada.headers).status_code == 204
    assert len(reports(measured, ada.client)["ada"].content.get_image_measurement_groups()) == 1
