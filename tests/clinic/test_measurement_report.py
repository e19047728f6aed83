"""What readers measured, as a structured report: at the right instances, lengths and places."""

import io
from datetime import UTC, datetime

import highdicom as hd
import numpy as np
import pydicom
import pytest

from meninx._clinic.measurement_report import Measured, measurement_report
from meninx._clinic.source_series import SourceSeries, source_series
from meninx._detect.findings import Findings
from meninx._errors import UnreadableFile
from meninx._render.result import Result
from meninx._scan.reading import read_scans
from meninx._synthesis.phantom import Phantom, grid_of
from meninx._synthesis.writing import write_dicom
from tests.clinic.test_results import without_errors
from tests.scan.dicom_making import enhanced, save

MADE = datetime(2026, 1, 31, 23, 59, 58, tzinfo=UTC)
ENDS = ([10, 20, 3], [13, 24, 3])


@pytest.fixture(scope="module")
def scan():
    return Phantom(7, "glioma").render("T1c", grid_of("axial", (104, 120, 9), (1.9, 1.8, 11.0)))[0]


def kept(folder):
    """Return the source series of the only scan in a folder, read back from its text."""
    (found,) = read_scans(folder)
    findings = Findings.of_error(UnreadableFile("x"), {}, found.identity.as_json())
    series = source_series(Result(found, findings, None))
    return SourceSeries.from_json(series.as_json()), found


def report_on(series, *more, reader="rené", ends=ENDS, kind="ruler", opinion=""):
    """Return a report as others read it."""
    first = Measured("measurement 1", kind, series, ends, MADE, opinion)
    out = io.BytesIO()
    measurement_report(reader, [first, *more], "0.1").save_as(out, enforce_file_format=True)
    out.seek(0)
    return hd.sr.srread(out)


@pytest.mark.parametrize("form", ["classic", "enhanced"])
def test_each_slice_is_known_by_its_instance_whatever_the_order(tmp_path, scan, form):
    if form == "enhanced":
        save(enhanced(scan, [4, 0, 8, 3, 1, 7, 2, 6, 5]), tmp_path / "enhanced.dcm")
    else:
        write_dicom(scan, tmp_path, 7)
    series, found = kept(tmp_path)
    assert len(series.by_slice) == 9
    assert len(set(series.by_slice)) == 9
    files = {
        str(dataset.SOPInstanceUID): dataset for dataset in map(pydicom.dcmread, tmp_path.iterdir())
    }
    for index, (kind, uid, frame) in enumerate(series.by_slice):
        assert kind == files[uid].SOPClassUID
        pixels = files[uid].pixel_array if frame is None else files[uid].pixel_array[frame - 1]
        slope = np.ptp(found.voxels[..., index]) / np.ptp(pixels.astype(float))
        assert np.allclose(pixels.T * slope, found.voxels[..., index], atol=1)


def test_a_length_has_value_unit_place_and_source(tmp_path, scan):
    write_dicom(scan, tmp_path, 7)
    series, found = kept(tmp_path)
    read = report_on(series)
    (group,) = read.content.get_image_measurement_groups()
    (length,) = group.get_measurements()
    assert length.name == pydicom.sr.coding.Code("410668003", "SCT", "Length")
    assert length.unit == pydicom.sr.codedict.codes.UCUM.Millimeter
    assert length.value == pytest.approx(np.hypot(3 * 1.9, 4 * 1.8), abs=0.005)
    (line,) = length.referenced_coordinates
    assert np.allclose(line.value, [found.point_of(end) for end in ENDS], atol=1e-3)
    assert line.frame_of_reference_uid == found_header(tmp_path).FrameOfReferenceUID
    (image,) = group.source_images
    assert image.referenced_sop_instance_uid == series.by_slice[3][1]
    assert group.tracking_identifier == "measurement 1"
    assert read.SeriesInstanceUID != found.identity.series_uid
    (evidence,) = read.CurrentRequestedProcedureEvidenceSequence
    assert evidence.StudyInstanceUID == found.identity.study_uid
    (source,) = evidence.ReferencedSeriesSequence
    assert source.SeriesInstanceUID == found.identity.series_uid
    assert [reference.ReferencedSOPInstanceUID for reference in source.ReferencedSOPSequence] == [
        series.by_slice[3][1]
    ]


def found_header(folder):
    return next(pydicom.dcmread(path) for path in folder.iterdir() if path.suffix == ".dcm")


def test_a_box_has_its_sides_and_what_was_said_of_it(tmp_path, scan):
    write_dicom(scan, tmp_path, 7)
    series, _ = kept(tmp_path)
    report = report_on(series, kind="box", ends=([10, 20, 3], [19, 39, 4]), opinion="no_tumor")
    (group,) = report.content.get_image_measurement_groups()
    sides = {length.name.meaning: length.value for length in group.get_measurements()}
    assert sides == pytest.approx({"Width": 10 * 1.9, "Height": 20 * 1.8, "Depth": 22.0}, abs=0.01)
    (said,) = group.get_qualitative_evaluations()
    assert said.value.value == "no_tumor"
    assert len(group.source_images) == 2
    flat = report_on(series, kind="box", ends=([10, 20, 3], [19, 39, 3]))
    (group,) = flat.content.get_image_measurement_groups()
    assert [length.name.meaning for length in group.get_measurements()] == ["Width", "Height"]


def test_without_geometry_lengths_are_in_pixels_and_lie_nowhere_in_the_patient(tmp_path, scan):
    write_dicom(scan, tmp_path, 7)
    series, _ = kept(tmp_path)
    report = report_on(SourceSeries(series.header, series.by_slice, None))
    (group,) = report.content.get_image_measurement_groups()
    (length,) = group.get_measurements()
    assert (length.value, length.unit.value, length.unit.scheme_designator) == (
        5.0,
        "{pixels}",
        "UCUM",
    )
    assert not length.referenced_coordinates


def test_the_reader_is_its_observer_and_the_same_again_is_the_same_instance(tmp_path, scan):
    write_dicom(scan, tmp_path, 7)
    series, _ = kept(tmp_path)
    first, again = report_on(series), report_on(series)
    assert first.to_json() == again.to_json()
    assert (first.ContentDate, first.ContentTime) == ("20260131", "235958")
    assert report_on(series, ends=([1, 2, 3], [4, 5, 3])).SOPInstanceUID != first.SOPInstanceUID
    awkward = report_on(series, reader="a^b=c\\d" + "x" * 90)
    (context,) = awkward.content.get_observer_contexts()
    names = context.observer_identifying_attributes
    assert names.name == "a b c d" + "x" * 56 + "^"
    assert names.login_name == "a^b=c\\d" + "x" * 90
    assert (first.VerificationFlag, first.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")


@pytest.mark.dicom3tools
@pytest.mark.parametrize("form", ["classic", "enhanced"])
def test_dicom3tools_finds_nothing_wrong(tmp_path, scan, form, dciodvfy):
    folder = tmp_path / "in"
    folder.mkdir()
    if form == "enhanced":
        save(enhanced(scan), folder / "enhanced.dcm")
    else:
        write_dicom(scan, folder, 7)
    series, _ = kept(folder)
    box = Measured("opinion 2", "box", series, ([1, 2, 3], [4, 5, 6]), MADE, "tumor")
    report_on(series, box).save_as(tmp_path / "sr", enforce_file_format=True)
    without_errors(dciodvfy, tmp_path / "sr")
