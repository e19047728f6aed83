"""Results of scans whose headers round, lie or name people: written, or said why not."""

import pytest
from pydicom import dcmread
from typer.testing import CliRunner

from meninx._cli import app
from meninx._clinic import results
from meninx._synthesis.writing import dicom_slice
from tests.scan.dicom.test_values import put, spliced
from tests.scan.dicom_making import save

RUN = CliRunner()


def written(healthy, folder, change):
    """Write a healthy phantom, each slice changed; return what predict says and what it wrote."""
    for number in range(len(healthy.scan)):
        dataset = dicom_slice(healthy.scan, number, 8)
        change(dataset, number)
        save(dataset, folder / "in" / f"{number:03}.dcm")
    told = RUN.invoke(app, ["predict", str(folder / "in"), "--dicom-out", str(folder / "out")])
    return told, sorted(path.name.split("-")[0] for path in (folder / "out").rglob("*.dcm"))


def rounded_cosines(dataset, number):
    dataset.ImageOrientationPatient = [1, 0.001 * (number % 2), 0, 0, 1, 0]
    dataset.PatientBirthDate = "19500102"


def bad_dates(dataset, number):
    del number
    dataset.PatientSex = "female"
    for keyword, value in (("PatientBirthDate", "19500000"), ("StudyTime", "anon")):
        dataset[keyword]._value = value


@pytest.mark.filterwarnings("ignore:Invalid value")
@pytest.mark.parametrize("change", [rounded_cosines, bad_dates])
def test_results_are_written_all_the_same(healthy, tmp_path, change):
    told, kinds = written(healthy, tmp_path, change)
    assert told.exit_code == 0, told.output
    assert {"SC", "SR"} <= set(kinds)
    report = dcmread(next((tmp_path / "out").rglob("SR-*.dcm")))
    assert report.PatientBirthDate == ("" if change is bad_dates else "19500102")


def test_what_can_not_be_made_is_said_and_the_rest_written(healthy, tmp_path, monkeypatch):
    def refuse(*_):
        raise ValueError("of MUSTERMANN^ERIKA")

    monkeypatch.setattr(results, "secondary_capture", refuse)
    told, kinds = written(healthy, tmp_path, lambda dataset, number: None)
    assert told.exit_code == 1
    assert "SR" in kinds
    assert "SC" not in kinds
    assert "no SC: its headers do not allow it (ValueError)" in told.output
    assert "MUSTERMANN" not in told.output


def test_an_empty_uid_is_said(healthy, tmp_path):
    def empty(dataset, number):
        del number
        dataset.StudyInstanceUID = ""

    told, kinds = written(healthy, tmp_path, empty)
    assert told.exit_code == 1
    assert not kinds
    assert "a UID in its headers is empty" in told.output


NONE_OF_THEM = {
    "StudyDate": "DA",
    "SliceThickness": "DS",
    "EchoTime": "DS",
    "SpacingBetweenSlices": "DS",
    "PatientWeight": "DS",
    "SeriesNumber": "IS",
    "AcquisitionNumber": "IS",
    "InstanceNumber": "IS",
}


@pytest.mark.parametrize("value", [b"withheld", b"nan\\inf ", b"9e99999 "])
def test_results_of_headers_with_values_that_are_none(sick, tmp_path, value):
    for number in range(len(sick.scan)):
        path = save(dicom_slice(sick.scan, number, 8), tmp_path / "in" / f"{number:03}.dcm")
        for name, kind in NONE_OF_THEM.items():
            path.write_bytes(spliced(path.read_bytes(), name, kind, value))
    told = RUN.invoke(app, ["predict", str(tmp_path / "in"), "--dicom-out", str(tmp_path / "out")])
    assert told.exit_code == 0, told.output
    kinds = sorted(path.name.split("-")[0] for path in (tmp_path / "out").rglob("*.dcm"))
    assert kinds == ["SC", "SEG", "SR"]


def as_greek(dataset, number):
    del number
    dataset.SpecificCharacterSet = "ISO_IR 6"
    put(dataset, "SpecificCharacterSet", "CS", b"none")
    put(dataset, "PatientName", "PN", "Ωμέγα^Ήρα  ".encode())


def as_nothing(dataset, number):
    del number
    put(dataset, "SpecificCharacterSet", "CS", b"ISO_IR 192")
    put(dataset, "PatientName", "PN", b"M\xfcller^A ")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_results_name_the_patient_as_the_file_does_or_are_not_written(healthy, tmp_path):
    told, kinds = written(healthy, tmp_path / "greek", as_greek)
    assert told.exit_code == 0, told.output
    for path in (tmp_path / "greek/out").rglob("*.dcm"):
        written_object = dcmread(path)
        assert str(written_object.PatientName) == "Ωμέγα^Ήρα"
        assert written_object.SpecificCharacterSet == "ISO_IR 192"
    told, kinds = written(healthy, tmp_path / "nothing", as_nothing)
    assert (told.exit_code, kinds) == (1, [])
    assert told.output.count("SpecificCharacterSet") == 1
    assert "PatientName" in told.output
    assert "ller" not in told.output
