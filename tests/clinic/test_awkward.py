"""Results of scans whose headers are rounded, invalid or undecodable: written, or explained."""

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
    """Write a healthy phantom, each slice changed; return the result and the objects of predict."""
    for number in range(len(healthy.scan)):
        dataset = dicom_slice(healthy.scan, number, 8)
        change(dataset, number)
        save(dataset, folder / "in" / f"{number:03}.dcm")
    result = RUN.invoke(app, ["predict", str(folder / "in"), "--dicom-out", str(folder / "out")])
    return result, sorted(path.name.split("-")[0] for path in (folder / "out").rglob("*.dcm"))


def rounded_cosines(dataset, number):
    dataset.ImageOrientationPatient = [1, 0.001 * (number % 2), 0, 0, 1, 0]
    dataset.PatientBirthDate = "19500102"


def bad_dates(dataset, number):
    del number
    dataset.PatientSex = "female"
    for keyword, value in (("PatientBirthDate", "19500000"), ("StudyTime", "anon")):
        dataset[keyword]._value = value


@pytest.mark.filterwarnings("ignore:Invalid value")
@pytest.mark.parametrize("moment", ["256199", "126100", "120061", "noon", "9", "12:30", "1234567"])
def test_a_time_that_cannot_be_is_left_empty(healthy, tmp_path, moment):
    def change(dataset, number):
        del number
        dataset["StudyTime"]._value = moment

    result, kinds = written(healthy, tmp_path, change)
    assert result.exit_code == 0, result.output
    assert {"SC", "SR"} <= set(kinds)
    assert dcmread(next((tmp_path / "out").rglob("SR-*.dcm"))).StudyTime == ""


@pytest.mark.parametrize(
    "keyword", ["PatientName", "StudyID", "AccessionNumber", "ReferringPhysicianName"]
)
def test_several_values_of_an_attribute_that_has_one_are_left_empty(healthy, tmp_path, keyword):
    def change(dataset, number):
        del number
        setattr(dataset, keyword, ["Doe", "Jane"])

    result, kinds = written(healthy, tmp_path, change)
    assert result.exit_code == 0, result.output
    assert {"SC", "SR"} <= set(kinds)
    assert dcmread(next((tmp_path / "out").rglob("SR-*.dcm")))[keyword].is_empty


@pytest.mark.filterwarnings("ignore:Invalid value")
@pytest.mark.parametrize("change", [rounded_cosines, bad_dates])
def test_results_are_written_despite_bad_headers(healthy, tmp_path, change):
    result, kinds = written(healthy, tmp_path, change)
    assert result.exit_code == 0, result.output
    assert {"SC", "SR"} <= set(kinds)
    report = dcmread(next((tmp_path / "out").rglob("SR-*.dcm")))
    assert report.PatientBirthDate == ("" if change is bad_dates else "19500102")


def test_a_failed_object_is_reported_and_the_others_are_written(healthy, tmp_path, monkeypatch):
    def refuse(*_):
        raise ValueError("of MUSTERMANN^ERIKA")

    monkeypatch.setattr(results, "secondary_capture", refuse)
    result, kinds = written(healthy, tmp_path, lambda dataset, number: None)
    assert result.exit_code == 1
    assert "SR" in kinds
    assert "SC" not in kinds
    assert "no SC: its headers do not allow it (ValueError)" in result.output
    assert "MUSTERMANN" not in result.output


def test_an_empty_uid_is_reported(healthy, tmp_path):
    def empty(dataset, number):
        del number
        dataset.StudyInstanceUID = ""

    result, kinds = written(healthy, tmp_path, empty)
    assert result.exit_code == 1
    assert not kinds
    assert "a UID in its headers is empty" in result.output


INVALID = {
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
def test_results_of_headers_with_invalid_values(sick, tmp_path, value):
    for number in range(len(sick.scan)):
        path = save(dicom_slice(sick.scan, number, 8), tmp_path / "in" / f"{number:03}.dcm")
        for name, kind in INVALID.items():
            path.write_bytes(spliced(path.read_bytes(), name, kind, value))
    result = RUN.invoke(
        app, ["predict", str(tmp_path / "in"), "--dicom-out", str(tmp_path / "out")]
    )
    assert result.exit_code == 0, result.output
    kinds = sorted(path.name.split("-")[0] for path in (tmp_path / "out").rglob("*.dcm"))
    assert kinds == ["KO", "SC", "SEG", "SR"]


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
def test_results_repeat_the_patient_s_name_or_are_not_written(healthy, tmp_path):
    result, kinds = written(healthy, tmp_path / "greek", as_greek)
    assert result.exit_code == 0, result.output
    for path in (tmp_path / "greek/out").rglob("*.dcm"):
        written_object = dcmread(path)
        assert str(written_object.PatientName) == "Ωμέγα^Ήρα"
        assert written_object.SpecificCharacterSet == "ISO_IR 192"
    result, kinds = written(healthy, tmp_path / "nothing", as_nothing)
    assert (result.exit_code, kinds) == (1, [])
    assert result.output.count("SpecificCharacterSet") == 1
    assert "PatientName" in result.output
    assert "ller" not in result.output
