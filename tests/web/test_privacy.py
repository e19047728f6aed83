"""Names planted in every text of a header reach no log of server, worker or node."""

import io
import logging
import warnings
import zipfile

import httpx2
import pydicom
import pytest
from pydicom.datadict import DicomDictionary, keyword_for_tag
from sqlalchemy.exc import IntegrityError

from meninx._clinic.peers import peer_of
from meninx._quiet import record_without_message
from meninx._synthesis.writing import dicom_slice
from meninx._web.store.database import DONE, Study
from tests.clinic.conftest import receiving, wait_for
from tests.scan.dicom_making import save
from tests.web.conftest import served

# Of one part, without carets: libraries warn of such names, with the name.
NAME = "ZWOLFTER JOHN"
TEXTS = ("PN", "LO", "SH", "LT", "ST", "UT", "UC")


def plant(dataset):
    """Put the name into every attribute of the standard that holds text, and into private ones."""
    for tag, (kind, *_) in DicomDictionary.items():
        if kind in TEXTS and tag >> 16 >= 8 and (keyword := keyword_for_tag(tag)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                setattr(dataset, keyword, NAME)
    block = dataset.private_block(0x0029, "MENINX TEST", create=True)
    for number, kind in enumerate(TEXTS, 1):
        block.add_new(number, kind, NAME)
    dataset.PatientBirthDate = "born of JOHN ZWOLFTER"[:8]
    return dataset


@pytest.fixture(scope="module")
def planted(tmp_path_factory, sick):
    """A series in which everything is called so, the pixels of its last slice cut off."""
    folder = tmp_path_factory.mktemp("planted")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(len(sick.scan)):
            dataset = plant(dicom_slice(sick.scan, number, 7))
            save(dataset, folder / f"{number:03}.dcm")
    return sorted(folder.iterdir())


def zipped(paths):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path in paths:
            archive.writestr(f"{NAME}/{path.name}", path.read_bytes())
        archive.writestr(f"{NAME}/cut.dcm", paths[0].read_bytes()[:-5000])
    return out.getvalue()


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.filterwarnings("ignore")
def test_planted_names_reach_no_log(tmp_path, planted, node_account, monkeypatch):
    monkeypatch.setenv("PYTHONWARNINGS", "default")
    settings, sessions, key = node_account
    headers = {"authorization": f"Bearer {key}"}
    with (tmp_path / "web.log").open("wb") as log, served(settings.data, log=log) as address:
        options = ("--quiet", "0.5", "--worklist", address)
        with (
            (tmp_path / "node.log").open("wb") as own,
            receiving(tmp_path / "node", *options, log=own, MENINX_WORKLIST_KEY=key) as port,
        ):
            peer_of(f"MENINX@127.0.0.1:{port}").send(planted)
            with httpx2.Client(base_url=f"{address}/api/v1/", headers=headers) as client:
                begun = client.post("uploads", json={"title": NAME}).json()["id"]
                files = {"files": (f"{NAME}.zip", zipped(planted))}
                client.post(f"uploads/{begun}/files", files=files).raise_for_status()
                client.post(f"uploads/{begun}/finish").raise_for_status()

                def done():
                    with sessions() as session:
                        found = session.query(Study).all()
                        handed = (tmp_path / "node.log").read_bytes().count(b"scored")
                        return handed and found and all(study.state == DONE for study in found)

                wait_for(done, 200)
                response = client.get("studies", params={"search": NAME}).json()
                assert response["count"] >= 1
                assert response["studies"][0]["patient_name"] == NAME
                for study in response["studies"]:
                    client.get(f"studies/{study['id']}/finding").raise_for_status()
                    client.get(f"studies/{study['id']}/objects")
                assert client.get("studies", params={"page": NAME}).status_code == 422
    logs = {path.name: path.read_text() for path in tmp_path.glob("*.log")}
    assert "scored" in logs["node.log"]
    assert "http://127.0.0.1" in logs["web.log"]
    for name, text in logs.items():
        for part in NAME.split():
            assert part not in text, name


def test_messages_of_exceptions_are_not_logged():
    factory = logging.getLogRecordFactory()
    logging.setLogRecordFactory(record_without_message)
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    log = logging.getLogger("a.library")
    log.addHandler(handler)
    try:
        raise ValueError(NAME)
    except ValueError:
        log.exception("it failed")
    finally:
        logging.setLogRecordFactory(factory)
        log.removeHandler(handler)
    assert "ValueError" in out.getvalue()
    assert "test_privacy" in out.getvalue()
    assert "ZWOLFTER" not in out.getvalue()


def test_errors_of_the_database_quote_no_values(server):
    study = {"title": NAME, "content_hash": "x", "patient_name": NAME}
    with pytest.raises(IntegrityError) as caught, server.web.sessions.begin() as session:
        session.add(Study(**study))
        session.flush()
        session.add(Study(**study))
    assert "UNIQUE" in str(caught.value)
    assert "ZWOLFTER" not in str(caught.value)


def test_reading_headings_writes_nothing(tmp_path, planted, capfd):
    from meninx._scan.dicom.heading import read_heading

    heading = read_heading(planted[0])
    assert heading.patient_name == NAME == pydicom.dcmread(planted[0]).PatientName
    assert "ZWOLFTER" not in "".join(capfd.readouterr())
