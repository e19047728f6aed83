"""Identity of pictures and NIfTI, which readers correct."""

import pytest

from meninx._web.store.database import AuditEntry, Study
from meninx._web.store.settings import Settings
from tests.web.conftest import Server
from tests.web.test_arrival import exam, volume


def correct(browser, study, **values):
    """Correct a study's identity by the API; return the answer."""
    return browser.client.put(
        f"/api/v1/studies/{study}/identity", json=values, headers=browser.headers
    )


@pytest.fixture
def nifti(server):
    """A study of one NIfTI volume; its id."""
    return server.browser().upload({"head.nii": volume(1)}, "folder 7").json()["id"]


def test_a_volume_is_given_to_its_patient(server, series, nifti):
    browser = server.browser()
    dicom = browser.upload(exam(series, "P1", "1.2.1", StudyDate="20260101")).json()
    values = {"patient_name": "Doe^Jane^M", "patient_id": "P1", "birth_date": "1970-01-02"}
    study = correct(browser, nifti, **values, study_date="2026-03-04").json()
    assert (study["name"], study["study_date"]) == ("Doe, Jane M", "2026-03-04")
    assert correct(browser, nifti, accession="A7").json()["patient_id"] == "P1"
    with server.web.sessions() as session:
        keys = {session.get(Study, name).patient_key for name in (nifti, dicom["id"])}
        (first, second) = session.query(AuditEntry).filter_by(action="identity corrected")
    assert len(keys) == 1 and "" not in keys  # the DICOM exam is now another visit of the patient
    assert first.detail == "patient_name, patient_id, birth_date, study_date"
    assert "Doe" not in first.detail + second.detail
    assert browser.client.get("/api/v1/studies?search=02.01.1970+a7").json()["count"] == 1


@pytest.mark.parametrize(
    ("values", "status", "words"),
    [
        ({"birth_date": "1.2.1970"}, 400, "expected a date such as 2026-01-31"),
        ({"study_date": "2026-02-30"}, 400, "expected a date"),
        ({"study_time": "noon"}, 400, "expected a time"),
        ({"study_uid": "1.2.3"}, 400, "unknown field"),
    ],
)
def test_a_wrong_value_changes_nothing(server, nifti, values, status, words):
    answer = correct(server.browser(), nifti, **{"patient_id": "P1"} | values)
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True)
    assert server.browser().client.get(f"/api/v1/studies/{nifti}").json()["patient_id"] == ""


def test_only_uploader_and_administrator_correct_and_dicom_is_corrected_at_its_source(
    server, series, nifti
):
    dicom = server.browser().upload(exam(series, "P1", "1.2.1")).json()["id"]
    answer = correct(server.browser(), dicom, patient_id="P2")
    assert answer.status_code == 400
    assert "DICOM files" in answer.json()["detail"]
    with server.web.sessions.begin() as session:
        session.get(Study, nifti).uploader_id = None
    assert correct(server.browser(), nifti, patient_id="P2").status_code == 403
    form = {"patient_name": "Roe", "birth_date": "", "patient_id": "P2"}
    assert server.browser("ada").post(f"/studies/{nifti}/identity", **form).status_code == 303
    study = server.browser().client.get(f"/api/v1/studies/{nifti}").json()
    assert (study["patient_name"], study["patient_id"]) == ("Roe", "P2")


def test_a_server_without_identity_takes_none(tmp_path):
    server = Server(Settings(data=tmp_path / "data", deidentify=True))
    study = server.browser().upload({"head.nii": volume(1)}).json()["id"]
    answer = correct(server.browser(), study, patient_id="P1")
    assert "stores no identity" in answer.json()["detail"]
