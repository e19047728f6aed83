"""Names planted in every text of a header reach no output, log or file but the results' own."""

import os
import subprocess
import sys

import pydicom
import pytest
from pydicom.datadict import dictionary_VR

from meninx.synthesis.writing import dicom_slice
from tests.scan.dicom_making import save

NAME = "ZWOLFTER JOHN"
# Of one part, without carets: libraries warn of such names.
PLANTED = ("PatientName", "ReferringPhysicianName", "OperatorsName", "PerformingPhysicianName",
           "InstitutionName", "StationName", "PatientComments", "ImageComments", "OtherPatientIDs",
           "RequestingPhysician", "NameOfPhysiciansReadingStudy")  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_planted_names_are_told_to_nobody(healthy, tmp_path):
    for number in range(len(healthy.scan)):
        dataset = dicom_slice(healthy.scan, number, 8)
        for keyword in PLANTED:
            assert dictionary_VR(keyword) in ("PN", "LO", "SH", "LT", "ST")
            setattr(dataset, keyword, NAME)
        block = dataset.private_block(0x0029, "MENINX TEST", create=True)
        block.add_new(0x01, "LO", NAME)
        dataset.PatientBirthDate = ""
        save(dataset, tmp_path / "in" / f"{number:03}.dcm")
    told = subprocess.run(
        [sys.executable, "-W", "default", "-m", "meninx", "predict", str(tmp_path / "in"), "--json",
         "--output", str(tmp_path / "out"), "--dicom-out", str(tmp_path / "dicom")],
        capture_output=True, text=True, check=False, env=os.environ,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert "ZWOLFTER" not in told.stdout + told.stderr
    for path in (tmp_path / "out").rglob("*"):
        assert b"ZWOLFTER" not in path.read_bytes(), path.name
    # Results are the patient's own: they alone name them.
    report = pydicom.dcmread(next((tmp_path / "dicom").rglob("SR-*.dcm")))
    assert report.PatientName == NAME
