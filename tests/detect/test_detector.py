import copy
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import onnx
import pytest
from PIL import Image

from meninx._detect.answer_words import what_would_change_it
from meninx._detect.findings import Findings, StudyFindings
from meninx._detect.head_slices import brain_slices
from meninx._detect.loading import load_detector, shipped_detector
from meninx._errors import ModelError, OptionError, UnreadableFile
from meninx._render.heatmap import slice_heatmap
from meninx._render.hottest_slice import hottest_slice_picture
from meninx._scan.axial import cut_axially
from meninx._scan.completeness import Incomplete
from meninx._scan.nifti import write_nifti
from meninx._scan.scan import Scan
from meninx._scoring.loop import score_path
from meninx._synthesis.phantom import Phantom, grid_of
from meninx._synthesis.writing import write_dicom
from tests.conftest import stored_otherwise

KEYS = [
    "scan",
    "identity",
    "sequence",
    "recognized",
    "status",
    "reason",
    "message",
    "decision",
    "probability",
    "borders",
    "prevalence",
    "p_values",
    "coverage",
    "reference",
    "types",
    "slices",
    "warnings",
    "incomplete",
    "model",
    "milliseconds",
]


@pytest.fixture(scope="module")
def detector():
    return load_detector()


def test_a_detector_is_copied_and_pickled_with_its_changes(sick, tmp_path):
    path = tmp_path / "detector.onnx"
    path.write_bytes(shipped_detector().read_bytes())
    detector = load_detector(path, threads=1, operating_point="sensitive", prevalence=0.1)
    detector.coverage = None
    found = detector.score(sick.scan).as_json()
    for other in (pickle.loads(pickle.dumps(detector)), copy.deepcopy(detector)):
        again = other.score(sick.scan).as_json()
        assert again | {"milliseconds": 0} == found | {"milliseconds": 0}
        assert (other.operating_point, other.coverage, other.prevalence) == ("sensitive", None, 0.1)
    kept = pickle.dumps(detector)
    path.write_bytes(shipped_detector("onnxruntime-int8").read_bytes())
    with pytest.raises(ModelError, match="another file than when the detector was pickled"):
        pickle.loads(kept)


def test_findings_have_the_public_keys_in_order(detector, sick):
    found = detector.score(sick.scan)
    text = json.dumps(found.as_json(), allow_nan=False)
    values = json.loads(text)
    assert list(values) == KEYS
    assert values["status"] == "scored"
    assert values["decision"] in ("tumor", "no_tumor", "refer")
    assert 0 <= values["probability"] <= 1
    assert values["sequence"] == sick.scan.sequence
    calibrator = detector.card.calibration.of(volume=True, sequence=found.sequence)
    assert calibrator.probability(found.logit) == found.probability
    assert list(values["slices"][0]) == ["index", "probability", "peak"]
    assert [found["index"] for found in values["slices"]] == sorted(
        found["index"] for found in values["slices"]
    )
    assert len(values["model"]["sha256"]) == 64
    assert set(values["milliseconds"]) == {"preprocess", "infer"}


def test_slices_are_on_the_scan_s_scale_and_none_exceeds_it(detector, sick, healthy):
    for scan in (sick.scan, healthy.scan, replace(sick.scan, sequence="FLAIR")):
        found = detector.score(scan)
        assert found.hottest.probability == found.probability
        assert found.borders.decision(found.probability) == found.decision
        alone = detector.score(replace(scan, voxels=scan.voxels[:, :, 4:9]))
        assert max(finding.probability for finding in alone.slices) == alone.probability


@pytest.mark.parametrize(("rows", "plane"), [([2, 0, 1, 3], "sagittal"), ([0, 2, 1, 3], "coronal")])
def test_a_series_in_another_plane_is_referred_with_that_reason(detector, sick, rows, plane):
    scan = replace(sick.scan, affine=sick.scan.affine[rows])
    assert scan.view.plane == plane
    found = detector.score(scan)
    assert (found.status, found.decision, found.reason) == ("scored", "refer", "not_calibrated")
    assert plane in found.message
    assert (found.borders, found.p_values, found.shown_types) == (None, {}, {})
    assert found.as_json()["borders"] is None
    study = detector.score_study([found], "s")
    assert (study.decision, study.reason) == ("refer", "not_calibrated")
    missing = detector.score(replace(scan, incomplete=(Incomplete("slices", 9, 3),)))
    assert (missing.reason, missing.calibrated) == ("incomplete", False)
    assert plane in missing.warnings[-1].text
    assert what_would_change_it(missing) == what_would_change_it(found)
    assert Findings.from_json(missing.as_json()).calibrated is False
    study = detector.score_study([missing], "s")
    assert (study.reason, study.warnings[-1].code) == ("incomplete", "not_calibrated")


def test_a_series_of_another_contrast_is_referred_and_does_not_count_in_its_study(detector, sick):
    diffusion = replace(sick.scan, name="dwi", sequence="unknown", other_contrast=True)
    found, own = detector.score(diffusion), detector.score(sick.scan)
    assert (found.decision, found.reason) == ("refer", "not_calibrated")
    assert "contrast" in found.message
    assert detector.score_study([found, own], "s").series == (own.scan,)
    lacking = replace(diffusion, incomplete=(Incomplete("slices of the series", 40, 24),))
    study = detector.score_study([detector.score(lacking), own], "s")
    assert (study.series, study.probability) == ((own.scan,), own.probability)
    assert (study.decision, study.incomplete) == (own.decision, ())
    (warning,) = study.warnings
    assert warning.code == "not_counted"
    assert warning.text.startswith("not counted in this study: 1 series of another contrast")
    assert "(1 incomplete)" in warning.text
    assert StudyFindings.from_json(study.as_json()).warnings == study.warnings
    # What is missing of the study may have counted; and alone it is missing of what counts.
    of_study = replace(diffusion, incomplete=(Incomplete("instances of the study", 77, 20),))
    assert detector.score_study([detector.score(of_study), own], "s").reason == "incomplete"
    assert detector.score_study([detector.score(lacking)], "s").reason == "incomplete"
    picture = replace(diffusion, voxels=diffusion.voxels[:, :, 8:9], affine=None)
    assert detector.score(picture).reason != "not_calibrated"


def test_a_scan_of_doubtful_geometry_keeps_the_scale_of_its_sequence(detector, sick):
    scan = replace(sick.scan, geometry_estimated=True)
    found = detector.score(scan)
    assert scan.view.plane is None
    assert found.reason is None
    assert found.reference == detector.card.calibration.reference(volume=True, sequence="T1c")


@pytest.mark.parametrize("sequence", ["T1", "T1c", "T2", "FLAIR", "unknown"])
def test_types_are_shown_of_a_tumor_in_t1_with_contrast_alone(detector, sick, sequence):
    found = detector.score(replace(sick.scan, sequence=sequence))
    for decision in ("tumor", "refer", "no_tumor"):
        shown = replace(found, decision=decision).as_json()["types"]
        assert bool(shown) == (sequence == "T1c" and decision == "tumor")


def test_a_prevalence_moves_probability_and_borders_and_no_answer(detector, sick, healthy):
    rare = load_detector(prevalence=0.01)
    for scan in (sick.scan, healthy.scan):
        usual, other = detector.score(scan), rare.score(scan)
        assert other.probability < usual.probability
        assert other.borders.tumor_from < usual.borders.tumor_from
        assert other.decision == usual.decision
        assert other.as_json()["prevalence"] == 0.01
    with pytest.raises(OptionError, match="prevalence 1: expected a share"):
        load_detector(prevalence=1)


def test_the_hottest_voxel_lies_in_the_tumor_of_a_phantom(detector, sick):
    found = detector.score(sick.scan)
    assert found.decision == "tumor"
    assert sick.mask[found.hottest.peak]
    assert found.hottest.peak[2] == found.hottest.index
    assert sum(found.types.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("order", "flips"),
    [((2, 1, 0), (False,) * 3), ((1, 2, 0), (True, False, True)), ((0, 1, 2), (True,) * 3)],
)
def test_a_head_scanned_in_3d_has_one_answer_in_every_storage_order(detector, order, flips):
    scan, mask = Phantom(7, "glioma").render(
        "T1c", grid_of("axial", (92, 100, 76), (2.4, 2.2, 2.3))
    )
    axial = detector.score(scan)
    assert mask[axial.hottest.peak]
    other = cut_axially(stored_otherwise(scan, order, flips))
    findings = detector.score(other)
    assert findings.logit == pytest.approx(axial.logit, abs=1e-4)
    assert findings.decision == axial.decision
    np.testing.assert_allclose(
        other.point_of(findings.hottest.peak), scan.point_of(axial.hottest.peak), atol=1e-6
    )
    assert [found.index for found in findings.slices] == sorted(
        found.index for found in findings.slices
    )


def test_a_tumor_free_phantom_scores_below_one_with_a_tumor(detector, sick, healthy):
    assert detector.score(healthy.scan).probability < detector.score(sick.scan).probability
    plain = load_detector(coverage=None).score(healthy.scan)
    assert plain.decision == "no_tumor"
    assert plain.as_json()["types"] == {}


def test_storage_order_changes_nothing_but_the_peak_s_name(detector, sick):
    """The same volume stored with reversed and swapped axes: same answer, same place in space."""
    scan = sick.scan
    moved = scan.affine.copy()
    moved[:3, 3] += moved[:3, 0] * (scan.voxels.shape[0] - 1)
    moved[:3, 0] *= -1
    moved = moved[:, [1, 0, 2, 3]]
    other = Scan("other", np.flip(scan.voxels, 0).transpose(1, 0, 2), moved, scan.sequence)
    first, second = detector.score(scan), detector.score(other)
    assert first.probability == pytest.approx(second.probability, abs=1e-6)
    for finding, same in zip(first.slices, second.slices, strict=True):
        place = scan.affine @ [*finding.peak, 1]
        np.testing.assert_allclose(other.affine @ [*same.peak, 1], place, atol=1e-3)


def test_a_mirrored_patient_gives_a_mirrored_heat_map(detector, sick):
    """Stride and padding are not symmetric: the maps agree in their hot regions."""
    scan = sick.scan
    mirrored = Scan("mirrored", np.flip(scan.voxels, 0), scan.affine)
    first, second = detector.score(scan), detector.score(mirrored)
    column, row, _ = first.hottest.peak
    other_column, other_row, _ = second.hottest.peak
    assert abs((scan.voxels.shape[0] - 1 - column) - other_column) <= 8
    assert abs(row - other_row) <= 8


def test_folder_zip_and_nifti_give_the_same_probability(detector, sick, tmp_path):
    write_dicom(sick.scan, tmp_path / "series", 7)
    write_nifti(sick.scan.voxels.astype(np.int16), sick.scan, tmp_path / "t1c.nii.gz")
    series, volume = (
        next(score_path(detector, tmp_path / name)).findings for name in ("series", "t1c.nii.gz")
    )
    assert series.probability == pytest.approx(volume.probability, abs=1e-6)
    assert "read" in series.milliseconds


def test_threads_may_share_a_detector(detector, sick, healthy):
    scans = [sick.scan, healthy.scan] * 4
    alone = [detector.score(scan).probability for scan in scans]
    with ThreadPoolExecutor(4) as pool:
        together = [found.probability for found in pool.map(detector.score, scans)]
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_slices_of_noise_alone_are_not_scored(sick):
    noise = np.random.default_rng(0).uniform(0, 20, (*sick.scan.voxels.shape[:2], 3))
    voxels = np.concatenate([noise.astype(np.float32), sick.scan.voxels, noise], axis=2)
    voxels = voxels.astype(np.float32)
    kept = [
        scan_slice.index
        for scan_slice in brain_slices(Scan("x", voxels, sick.scan.affine, slice_axis=2))
    ]
    assert kept[0] >= 3
    assert kept[-1] <= 2 + len(sick.scan)
    assert len(kept) >= 6


@pytest.mark.parametrize(
    ("voxels", "colorfulness", "reason"),
    [
        (np.random.default_rng(0).normal(size=(40, 50, 1)), 0.0, "too_small"),
        (np.random.default_rng(0).normal(size=(140, 150, 1)), 0.5, "color"),
        (np.random.default_rng(0).integers(0, 3, (140, 150, 1)), 0.0, "few_levels"),
        (
            np.pad(np.random.default_rng(0).uniform(9, 99, (5, 5, 1)), [(90,), (90,), (0,)]),
            0.0,
            "empty",
        ),
    ],
)
def test_rules_refuse_what_is_no_brain_mri(detector, voxels, colorfulness, reason):
    found = detector.score(Scan("odd", voxels.astype(np.float32), colorfulness=colorfulness))
    assert (found.status, found.reason) == ("refused", reason)
    assert found.decision is None
    assert found.probability is None
    assert found.message


def test_unreadable_files_become_findings_and_others_are_scored(detector, sick, tmp_path):
    write_nifti(sick.scan.voxels.astype(np.int16), sick.scan, tmp_path / "t1c.nii.gz")
    (tmp_path / "a.dcm").write_bytes(b"no image")
    Image.new("RGB", (200, 200), "orange").save(tmp_path / "b.png")
    results = [result.findings for result in score_path(detector, tmp_path)]
    found = {findings.scan.rsplit("/")[-1]: findings for findings in results}
    assert {name: study.status for name, study in found.items()} == {
        "a.dcm": "failed",
        "b.png": "refused",
        "t1c.nii.gz": "scored",
    }


def test_files_that_are_no_detector_are_model_errors(tmp_path):
    with pytest.raises(ModelError, match="can't be read"):
        load_detector(tmp_path / "missing.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelError, match="no readable ONNX"):
        load_detector(tmp_path / "bad.onnx")
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "g", [value], [out]),
        opset_imports=[onnx.helper.make_opsetid("", 18)],
        ir_version=10,
    )
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(ModelError, match="no meninx detector"):
        load_detector(tmp_path / "other.onnx")


def test_the_heat_map_covers_the_slice_and_peaks_at_the_peak(detector, sick):
    found = detector.score(sick.scan)
    scan_slice = sick.scan.slice(found.hottest.index)
    heatmap = slice_heatmap(found.hottest, scan_slice)
    assert heatmap.shape == scan_slice.image.shape
    assert heatmap.min() >= 0
    assert heatmap.max() <= 1
    row, column = scan_slice.position_of(found.hottest.peak)
    assert heatmap[row, column] > 0.6 * heatmap.max()


def test_the_picture_of_a_finding(detector, sick):
    found = detector.score(sick.scan)
    picture = hottest_slice_picture(sick.scan, found, None)
    assert picture.mode == "RGB"
    assert picture.width > 2 * 280
    with pytest.raises(ValueError, match="nothing was scored"):
        hottest_slice_picture(sick.scan, replace(found, slices=()), None)


@pytest.mark.parametrize("sequence", ["T1", "T2", "FLAIR"])
def test_types_are_reported_for_t1_with_contrast_alone(detector, sick, sequence):
    assert set(detector.score(sick.scan).types) == {"glioma", "meningioma", "pituitary"}
    assert detector.score(replace(sick.scan, sequence=sequence)).types == {}


def test_a_slab_causes_a_warning(detector, sick):
    kept = sick.scan.voxels[:, :, 3:7]
    found = detector.score(replace(sick.scan, voxels=kept))
    assert [warning.code for warning in found.warnings] == ["part_of_head"]
    assert "44 mm of the head" in found.warnings[0].text
    single = detector.score(replace(sick.scan, voxels=sick.scan.voxels[:, :, 4:5]))
    assert "11 mm of the head" in single.warnings[0].text
    whole = detector.score(sick.scan)
    assert "part_of_head" not in {warning.code for warning in whole.warnings}


def test_a_series_that_cannot_be_read_leaves_its_study_incomplete(detector, sick):
    scored = detector.score(sick.scan)
    lost = Findings.of_error(UnreadableFile("cut off", place="b"), detector.model)
    study = detector.score_study([scored, lost], "study")
    assert (study.decision, study.reason) == ("refer", "incomplete")
    assert study.incomplete == (Incomplete("series of the study", 2, 1),)
