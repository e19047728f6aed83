"""Names planted in every text of a header reach no output, log or file but the results' own."""

import os
import subprocess
import sys

import pydicom
import pytest
from pydicom.datadict import dictionary_VR

from meninx._clinic.peers import peer_of
from meninx._synthesis.writing import dicom_slice
from tests.clinic.conftest import free_port, receiving, wait_for
from tests.scan.dicom_making import save

NAME = "ZWOLFTER JOHN"
# Of one part, without carets: libraries warn of such names.
PLANTED = (
    "PatientName",
    "ReferringPhysicianName",
    "OperatorsName",
    "PerformingPhysicianName",
    "InstitutionName",
    "StationName",
    "PatientComments",
    "ImageComments",
    "OtherPatientIDs",
    "RequestingPhysician",
    "NameOfPhysiciansReadingStudy",
)


@pytest.fixture
def planted(healthy, tmp_path):
    """A series that names somebody wherever a header can."""
    for number in range(len(healthy.scan)):
        dataset = dicom_slice(healthy.scan, number, 8)
        for keyword in PLANTED:
            assert dictionary_VR(keyword) in ("PN", "LO", "SH", "LT", "ST")
            setattr(dataset, keyword, NAME)
        block = dataset.private_block(0x0029, "MENINX TEST", create=True)
        block.add_new(0x01, "LO", NAME)
        dataset.PatientBirthDate = ""
        save(dataset, tmp_path / "in" / f"{number:03}.dcm")
    return tmp_path / "in"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_planted_names_reach_no_output_but_the_patients_results(planted, tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "default",
            "-m",
            "meninx",
            "predict",
            str(planted),
            "--json",
            "--output",
            str(tmp_path / "out"),
            "--dicom-out",
            str(tmp_path / "dicom"),
        ],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    assert "ZWOLFTER" not in done.stdout + done.stderr
    for path in (tmp_path / "out").rglob("*"):
        assert b"ZWOLFTER" not in path.read_bytes(), path.name
    # Results are the patient's own: they alone name them.
    report = pydicom.dcmread(next((tmp_path / "dicom").rglob("SR-*.dcm")))
    assert report.PatientName == NAME


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_planted_names_reach_no_log_of_the_node(planted, tmp_path):
    """Neither while it receives, judges and sends, nor where it can't deliver."""
    broken = pydicom.dcmread(planted / "003.dcm")
    broken.SeriesInstanceUID, broken.SOPInstanceUID = "1.2.826.0.1", "1.2.826.0.1.1"
    broken.file_meta.MediaStorageSOPInstanceUID = broken.SOPInstanceUID
    broken.PixelData = broken.PixelData[:-9000]
    save(broken, planted / "broken.dcm")
    data, log = tmp_path / "node", tmp_path / "node.log"
    away = f"PACS@127.0.0.1:{free_port()}"
    with log.open("w") as file:
        options = ("--quiet", "1", "--to", away)
        with receiving(data, *options, log=file, PYTHONWARNINGS="default") as port:
            peer_of(f"MENINX@127.0.0.1:{port}").send(sorted(planted.iterdir()))
            wait_for(lambda: "instances scored" in log.read_text())
            wait_for(lambda: f"{away}: no association" in log.read_text())
    assert "ZWOLFTER" not in log.read_text()
    # What is the patient's own, instances and results, are the only files that hold the name.
    others = [path for path in data.rglob("*") if path.is_file() and path.suffix != ".dcm"]
    assert others
    assert not [path.name for path in others if b"ZWOLFTER" in path.read_bytes()]
