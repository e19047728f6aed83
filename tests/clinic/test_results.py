"""Result objects of phantoms in every plane, classic and enhanced, checked by dicom3tools."""

import subprocess
from dataclasses import replace

import highdicom as hd
import numpy as np
import pydicom
import pytest

from meninx._clinic.result_context import context_of
from meninx._clinic.results import RESULT_CLASSES, write_dicom_results
from meninx._clinic.structured_report import structured_report
from meninx._detect.answer_words import borders_in_words
from meninx._detect.loading import load_detector
from meninx._labels import TYPE_NAMES
from meninx._render.heatmap import heat_volume
from meninx._render.heatmap_check import HeatmapCheck
from meninx._render.region import region_of, regions_of, suspected_regions
from meninx._scan.completeness import Incomplete
from meninx._scan.incomplete_note import IncompleteNote
from meninx._scan.scan import Scan
from meninx._scoring.loop import score_path
from meninx._synthesis.phantom import Grid, Phantom, grid_of
from meninx._synthesis.writing import dicom_slice, write_dicom
from tests.conftest import OBLIQUE
from tests.scan.dicom_making import enhanced, save

SHAPES = {
    "axial": ((104, 120, 9), (1.9, 1.8, 11.0)),
    "coronal": ((104, 110, 11), (1.9, 1.8, 12.0)),
    "sagittal": ((120, 110, 9), (1.8, 1.9, 11.0)),
    # Cut axially, across the slices of its source.
    "sagittal in 3-D": ((100, 92, 76), (2.2, 2.4, 2.3)),
}
SEED = 7


def rendered(plane):
    """A head with a tumor; an oblique plane is an axial one, turned about all three axes."""
    if plane != "oblique":
        return Phantom(SEED, "glioma").render("T1c", grid_of(plane.split()[0], *SHAPES[plane]))
    straight = grid_of("axial", *SHAPES["axial"])
    affine = np.array(straight.affine)
    middle = (np.array(straight.shape) - 1) / 2
    center = affine[:3, :3] @ middle + affine[:3, 3]
    affine[:3, :3] = OBLIQUE @ affine[:3, :3]
    affine[:3, 3] = center - affine[:3, :3] @ middle
    return Phantom(SEED, "glioma").render("T1c", Grid(straight.shape, affine))


def feet_first(scan):
    """The same patient lying the other way: nothing in patient coordinates changes."""
    datasets = [dicom_slice(scan, index, SEED) for index in range(len(scan))]
    for dataset in datasets:
        dataset.PatientPosition = "FFS"
    return datasets


@pytest.fixture(scope="module")
def detector():
    return load_detector(threads=1)


def results_of(detector, folder, out):
    """Score a folder; return its objects by kind, and the scan."""
    (result,) = score_path(detector, folder)
    result.check = HeatmapCheck(contrast=0.9, drop=5.0)  # what is tested here is where things lie
    paths = write_dicom_results(result, out)
    return {path.name.split("-")[0]: path for path in paths}, result.scan, result.findings


def without_errors(dciodvfy, path):
    checked = subprocess.run([dciodvfy, path], capture_output=True, text=True, check=False)
    faults = [line for line in (checked.stdout + checked.stderr).splitlines() if "Error" in line]
    assert not faults, path.name


def region_in(path, scan):
    """The segmentation on the scan's own voxels, by patient coordinates alone."""
    dataset = hd.seg.segread(path)
    volume = dataset.get_volume(combine_segments=True)
    found = np.argwhere(np.asarray(volume.array) > 0)
    points = volume.map_indices_to_reference(found)
    inverse = np.linalg.inv(scan.affine)
    voxels = np.rint(points @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)
    region = np.zeros(scan.voxels.shape, dtype=bool)
    region[tuple(voxels.T)] = True
    return region


def images_of(item):
    """The instances that a group of a report refers to as images."""
    found = {
        str(reference.ReferencedSOPInstanceUID)
        for reference in item.get("ReferencedSOPSequence", ())
        if item.ValueType == "IMAGE"
    }
    return found.union(*map(images_of, item.get("ContentSequence", ())))


@pytest.mark.dicom3tools
@pytest.mark.parametrize("plane", [*SHAPES, "oblique"])
@pytest.mark.parametrize("form", ["classic", "feet first", "enhanced"])
def test_objects_are_valid_and_lie_on_the_lesion(detector, tmp_path, dciodvfy, plane, form):
    scan, mask = rendered(plane)
    if form == "enhanced":
        order = list(np.random.default_rng(0).permutation(len(scan)))
        save(enhanced(scan, order), tmp_path / "in" / "enhanced.dcm")
    elif form == "classic":
        write_dicom(scan, tmp_path / "in", SEED)
    else:
        for number, dataset in enumerate(feet_first(scan)):
            save(dataset, tmp_path / "in" / f"{number:03}.dcm")
    made, read, findings = results_of(detector, tmp_path / "in", tmp_path / "out")
    assert findings.decision in ("tumor", "refer")
    assert read.view.plane == ("axial" if plane in ("sagittal in 3-D", "oblique") else plane)
    assert set(made) == {"SR", "SC", "SEG", "KO"}
    for kind, path in made.items():
        without_errors(dciodvfy, path)
        assert pydicom.dcmread(path).SOPClassUID == RESULT_CLASSES[kind]
    region, lesion = region_in(made["SEG"], read), mask > 0
    assert np.allclose(read.affine, scan.affine, atol=1e-3)
    # Parts whose slices lie below the border of *no tumor* are left out.
    assert region.any() and not (region & ~region_of(heat_volume(read, findings))).any()
    # A map of coarse cells is no contour: much of it lies on the lesion, and on little else.
    assert (region & lesion).sum() / region.sum() > 5 * lesion.mean()
    assert region.mean() < 0.15
    report = hd.sr.srread(made["SR"])
    # Each region is a segment and a group, tracked as one thing.
    tracked = {
        str(group.tracking_identifier): str(group.tracking_uid)
        for group in report.content.get_image_measurement_groups()
    }
    segments = pydicom.dcmread(made["SEG"]).SegmentSequence
    suspected = suspected_regions(findings, regions_of(read, heat_volume(read, findings)))
    for segment, number in zip(segments, suspected, strict=True):
        assert tracked[f"region {number} of the heat map"] == segment.TrackingUID
    assert report.VerificationFlag == "UNVERIFIED"
    groups = report.content.get_planar_roi_measurement_groups()
    assert groups
    by_uid = {
        dataset.SOPInstanceUID: dataset
        for dataset in map(pydicom.dcmread, (tmp_path / "in").iterdir())
    }
    for group in groups:
        point = group.roi.value[0]
        found = np.linalg.inv(read.affine) @ [*point, 1]
        peak = tuple(round(float(coordinate)) for coordinate in found[:3])
        assert peak in {found.peak for found in findings.slices}
        if (
            form != "enhanced" and findings.decision == "tumor"
        ):  # the image that it is said to be in lies there
            (image,) = (by_uid[uid] for uid in images_of(group[0]))
            normal = np.cross(*np.reshape(image.ImageOrientationPatient, (2, 3)))
            away = (np.array(point) - image.ImagePositionPatient) @ normal
            assert abs(away) < 0.01
    evidence = report.CurrentRequestedProcedureEvidenceSequence
    referred = {
        reference.ReferencedSOPInstanceUID
        for study in evidence
        for series in study.ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    }
    assert referred == set(by_uid)
    selected = set().union(*map(images_of, pydicom.dcmread(made["KO"]).ContentSequence))
    assert selected and selected <= set(by_uid)
    if form != "enhanced" and findings.decision == "tumor":
        assert selected == {uid for group in groups for uid in images_of(group[0])}


def test_objects_belong_to_the_patient_and_a_rerun_replaces_them(detector, tmp_path):
    scan, _ = rendered("axial")
    write_dicom(scan, tmp_path / "in", SEED)
    first, _, _ = results_of(detector, tmp_path / "in", tmp_path / "out")
    again, _, _ = results_of(detector, tmp_path / "in", tmp_path / "out")
    assert first == again
    assert len(list((tmp_path / "out").iterdir())) == 4
    source = pydicom.dcmread(next((tmp_path / "in").iterdir()))
    objects = [pydicom.dcmread(path) for path in again.values()]
    for name in ("StudyInstanceUID", "PatientID", "PatientName", "PatientBirthDate", "StudyDate"):
        assert {dataset[name].value for dataset in objects} == {source[name].value}
    series = {dataset.SeriesInstanceUID for dataset in objects}
    assert len(series) == 4 and source.SeriesInstanceUID not in series
    assert all("not for diagnosis" in dataset.SeriesDescription for dataset in objects)
    capture = pydicom.dcmread(again["SC"])
    assert capture.BurnedInAnnotation == "YES"
    assert np.ptp(capture.pixel_array, axis=2).max() > 100  # colors of the heat map


@pytest.mark.dicom3tools
def test_a_refusal_is_a_report_too(detector, tmp_path, dciodvfy):
    scan, _ = rendered("axial")
    for index in range(len(scan)):
        dataset = dicom_slice(scan, index, SEED)
        dataset.BodyPartExamined = "KNEE"
        save(dataset, tmp_path / "in" / f"{index}.dcm")
    made, _, findings = results_of(detector, tmp_path / "in", tmp_path / "out")
    assert findings.reason == "not_brain"
    assert set(made) == {"SR"}
    without_errors(dciodvfy, made["SR"])
    text = str(pydicom.dcmread(made["SR"]))
    assert "Not Attempted" in text and "not_brain" in text and "KNEE" in text


def test_what_is_no_dicom_gets_no_objects(detector, tmp_path, tiny_scan):
    from meninx._scan.nifti import write_nifti

    scan = Scan("x", np.repeat(np.repeat(tiny_scan.voxels, 16, 0), 16, 1), tiny_scan.affine)
    write_nifti(scan.voxels, scan, tmp_path / "in" / "x.nii")
    made, _, _ = results_of(detector, tmp_path / "in", tmp_path / "out")
    assert not made


@pytest.mark.parametrize(
    ("sequence", "decision", "types"),
    [("T1c", "tumor", 3), ("T1c", "refer", 0), ("unknown", "tumor", 0)],
)
def test_the_report_names_types_only_where_they_were_measured(
    detector, tmp_path, sequence, decision, types
):
    scan, _ = rendered("axial")
    write_dicom(scan, tmp_path / "in", SEED)
    (result,) = score_path(detector, tmp_path / "in")
    findings = replace(result.findings, sequence=sequence, decision=decision)
    result = result.with_findings(findings)
    result.check = HeatmapCheck(contrast=0.9, drop=5.0)
    report = structured_report(context_of(result), result)
    texts = [element.value for element in report.iterall() if element.keyword == "TextValue"]
    named = [
        f"type {name}, if there is a tumor; no others are known" in texts for name in TYPE_NAMES
    ]
    assert sum(named) == types


@pytest.mark.dicom3tools
@pytest.mark.parametrize(
    ("decision", "probability", "certainty"),
    [("tumor", 0.8924, 89.24), ("no_tumor", 0.02, 98.0), ("refer", 0.411, None)],
)
def test_certainty_is_the_probability_that_the_answer_is_right(
    detector, tmp_path, dciodvfy, decision, probability, certainty
):
    scan, _ = rendered("axial")
    write_dicom(scan, tmp_path / "in", SEED)
    (result,) = score_path(detector, tmp_path / "in")
    findings = replace(result.findings, decision=decision, probability=probability, types={})
    result = result.with_findings(findings)
    result.check = HeatmapCheck(contrast=0.0, drop=0.0)
    report = structured_report(context_of(result), result)
    report.save_as(tmp_path / "SR.dcm")
    without_errors(dciodvfy, tmp_path / "SR.dcm")
    text = str(pydicom.dcmread(tmp_path / "SR.dcm"))
    assert borders_in_words(findings) in text
    assert ("scores like" in text) == (decision == "refer")
    (whole,) = hd.sr.srread(tmp_path / "SR.dcm").content.get_image_measurement_groups()
    found = [float(measurement.value) for measurement in whole.get_measurements()]
    assert found == ([] if certainty is None else [pytest.approx(certainty)])


@pytest.mark.dicom3tools
def test_a_series_that_was_never_calibrated_is_reported_with_that_reason(
    detector, tmp_path, dciodvfy
):
    scan, _ = rendered("sagittal")
    write_dicom(scan, tmp_path / "in", SEED)
    made, _, findings = results_of(detector, tmp_path / "in", tmp_path / "out")
    assert (findings.decision, findings.reason) == ("refer", "not_calibrated")
    without_errors(dciodvfy, made["SR"])
    text = str(pydicom.dcmread(made["SR"]))
    assert "Indeterminate" in text and "not_calibrated" in text


@pytest.mark.dicom3tools
def test_a_scan_that_came_incomplete_is_reported_so(detector, tmp_path, dciodvfy):
    scan, _ = rendered("axial")
    write_dicom(scan, tmp_path / "in", SEED)
    study = str(pydicom.dcmread(next((tmp_path / "in").iterdir())).StudyInstanceUID)
    missing = (Incomplete("instances of the study", 31, 0),)
    IncompleteNote(study, missing).write(tmp_path / "in")
    made, _, findings = results_of(detector, tmp_path / "in", tmp_path / "out")
    assert (findings.decision, findings.reason) == ("refer", "incomplete")
    for kind, path in made.items():
        without_errors(dciodvfy, path)
        assert pydicom.dcmread(path).SOPClassUID == RESULT_CLASSES[kind]
    report = hd.sr.srread(made["SR"])
    assert report.CompletionFlag == "PARTIAL"
    said = [
        (item.ConceptNameCodeSequence[0].CodeMeaning, item.ConceptCodeSequence[0])
        for sequence in report.iterall()
        if sequence.keyword == "ContentSequence"
        for item in sequence.value
        if item.ValueType == "CODE"
    ]
    assert ("Presence", "Indeterminate") in [(name, code.CodeMeaning) for name, code in said]
    (warned,) = (code for name, code in said if name == "Warning about the images")
    assert (warned.CodeValue, warned.CodingSchemeDesignator) == ("incomplete", "99MENINX")
    assert warned.CodeMeaning == "9 of 31 instances of the study"
