"""Hold the reader and the shipped detector to real scans. Needs MENINX_DATA."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from meninx._assess.cases import score_cases, unseen
from meninx._assess.data_audit import audit
from meninx._assess.evaluation import evaluate_cases
from meninx._assess.volumes import measure_findings, peak_share, pooled_auroc
from meninx._data.descriptors import (
    are_copies,
    descriptor_of,
    descriptors_in,
    descriptors_of_scan,
)
from meninx._data.duplicates import find_duplicates
from meninx._data.facts import measure_picture
from meninx._data.manifest import read_manifest
from meninx._data.prepare import load_data
from meninx._detect.head_slices import brain_slices
from meninx._detect.loading import load_detector
from meninx._errors import DataError
from meninx._scan.dicom.pixels import decode
from meninx._scan.limits import DEFAULT_LIMITS
from meninx._scan.reading import read_one, read_scans
from meninx._scan.source import Source
from meninx._scoring.loop import score_path
from tests.commands import meninx

pytestmark = pytest.mark.real_data


def test_a_sagittal_mprage(real_data):
    (scan,) = read_scans(real_data / "dicom" / "healthy-child-t1")
    assert scan.voxels.shape == (256, 256, 192)
    # It was scanned in 3-D, so it is cut axially.
    assert (scan.view.plane, scan.sequence) == ("axial", "T1")
    assert scan.spacing_mm == pytest.approx((0.859375, 0.859375, 0.9), abs=1e-3)


def test_a_patient_on_the_left_side(real_data):
    (scan,) = read_scans(real_data / "dicom" / "healthy-adult-sagittal-t1")
    assert scan.voxels.shape == (256, 256, 35)
    assert (scan.view.plane, scan.sequence) == ("sagittal", "T1")
    assert scan.slice_gap_mm == pytest.approx(4.8)


@pytest.mark.parametrize(
    ("name", "air"),
    [("healthy-child-t1", set(range(20))), ("healthy-adult-sagittal-t1", set(range(10)))],
)
def test_slices_of_air_are_not_scored(real_data, name, air):
    (scan,) = read_scans(real_data / "dicom" / name)
    kept = sorted(slice_.index for slice_ in brain_slices(scan))
    assert not air & set(kept)
    assert kept == list(range(kept[0], kept[-1] + 1))
    assert len(kept) > len(scan) / 2


def test_enhanced_files_of_test_objects_are_read_and_refused(real_data):
    detector = load_detector()
    for name in ("siemens", "philips"):
        folder = real_data / "dicom" / f"enhanced-{name}-not-a-brain"
        results = list(score_path(detector, folder))
        assert results
        for result in results:
            assert result.findings.status == "refused"
            # One file of Philips holds a field map beside its magnitude.
            assert result.findings.reason in ("too_small", "derived")


def test_mosaics_are_set_aside_and_their_twelve_bits_are_clean(real_data):
    folder = real_data / "dicom" / "twelve-bit-mosaic"
    errors = []
    assert list(read_scans(folder, errors.append)) == []
    assert {error.reason for error in errors} == {"mosaic"}
    for path in folder.glob("*.dcm"):
        _, pixels = decode(Source(str(path), path, path.stat().st_size), DEFAULT_LIMITS)
        signed = "Unsigned" not in path.name
        assert pixels.min() >= (-2048 if signed else 0)
        assert pixels.max() <= (2047 if signed else 4095)
        assert len(np.unique(pixels)) > 500


def test_nifti_axes_are_told_by_the_affine(real_data):
    (colin,) = read_scans(real_data / "templates" / "colin27-t1.nii.gz")
    assert colin.view.plane == "axial"
    # Stored from right to left and from back to front: turned for the reader.
    assert colin.view.flip_columns
    assert colin.view.flip_rows


@pytest.mark.slow
def test_a_shuffled_renamed_zip_scores_as_the_folder_does(real_data, tmp_path):
    folder = real_data / "dicom" / "healthy-child-t1"
    files = sorted(folder.glob("*.dcm"))
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_STORED) as archive:
        for number, index in enumerate(np.random.default_rng(0).permutation(len(files))):
            archive.write(files[index], f"f{number}")
    result = meninx("predict", "--json", folder, tmp_path / "x.zip")
    first, second = map(json.loads, result.stdout.splitlines())
    assert first["probability"] == pytest.approx(second["probability"], abs=1e-6)
    assert first["slices"] == second["slices"]


def test_a_kaggle_picture_is_scored(real_data):
    path = min((real_data / "folders" / "navoneel" / "yes").iterdir())
    (result,) = score_path(load_detector(), path)
    assert result.findings.status == "scored"


@pytest.mark.slow
def test_the_shipped_detector_holds_on_flair_of_another_hospital(real_data):
    """A floor; docs/evidence/volumes.json has what was measured when it was shipped."""
    detector, results = load_detector(), []
    for patient in sorted((real_data / "volumes" / "brats18").iterdir()):
        (scan,) = read_scans(patient / "flair.nii.gz")
        (mask,) = read_scans(patient / "tumor-mask.nii.gz")
        results.append(measure_findings(detector.score(scan), scan, mask.voxels > 0))
    assert pooled_auroc(results) >= 0.80
    assert peak_share(results) >= 0.60


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_training_on_real_pictures_runs(real_data, tmp_path, short_epochs):
    # Every thirtieth picture: reading and comparing all of them takes minutes.
    data = tmp_path / "curated"
    data.mkdir()
    for part in (real_data / "curated").iterdir():
        if part.is_dir():
            (data / part.name).symlink_to(part)
    heading, *rows = (real_data / "curated" / "manifest.csv").read_text().splitlines()
    (data / "manifest.csv").write_text("\n".join([heading, *rows[::30]]) + "\n")
    trained = meninx(
        "train",
        data,
        "--recipe",
        "smoke",
        "--allow-leaks",
        "--epochs",
        1,
        "--output",
        tmp_path / "run",
    )
    assert trained.returncode == 0, trained.stderr
    assert (tmp_path / "run" / "detector.onnx").is_file()
    picture = min(Path(real_data / "curated" / "pictures").iterdir())
    (result,) = score_path(load_detector(tmp_path / "run" / "detector.onnx"), picture)
    assert result.findings.status == "scored"


def test_copies_in_a_public_collection(real_data):
    result = audit(real_data / "folders" / "navoneel")
    assert result.redundant["exact"] == 25
    pairs = [
        ("yes/Y113.JPG", "yes/Y59.JPG"),
        ("yes/Y36.JPG", "yes/Y65.JPG"),
        ("yes/Y155.JPG", "yes/Y74.jpg"),
        ("yes/Y195.JPG", "yes/Y26.jpg"),
        ("yes/Y107.jpg", "yes/Y49.JPG"),
        ("yes/Y112.JPG", "yes/Y146.JPG"),
    ]
    groups = [set(result.files(group)) for group in result.survey.duplicates.groups]
    for pair in pairs:
        assert any(set(pair) <= group for group in groups), pair
    both = result.probes[-1]
    assert 0.75 < both.auroc.value < 0.9


def test_neighboring_slices_are_no_copies(real_data):
    folder = real_data / "curated" / "pictures"
    facts = [measure_picture(path) for path in sorted(folder.glob("cheng-1*.jpg"))[:200]]
    found = find_duplicates([fact.sha256 for fact in facts], [fact.signature for fact in facts])
    assert found.groups == ()


def test_volumes_are_evaluated_against_their_masks(real_data, tmp_path):
    case = tmp_path / "brats" / "case-1"
    case.mkdir(parents=True)
    for name in ("flair.nii.gz", "tumor-mask.nii.gz"):
        (case / name).symlink_to(real_data / "volumes/brats18/case-1" / name)
    manifest = load_data(tmp_path / "brats", tmp_path / "out")
    detector = load_detector()
    result = evaluate_cases(score_cases(detector, manifest.pictures), [detector.model])
    assert set(result.segmentation) >= {
        "Dice of voxels with a heat of 0.5 and more",
        "Dice, upper bound of whole cells",
        "slices of volumes, AUROC pooled",
        "slices of volumes, AUROC within patient",
        "slices of volumes, hottest voxel in the tumor",
        "slices of volumes, AUROC of position and brightness alone",
        "tumor volume under the heat map",
    }
    assert result.segmentation["slices of volumes, AUROC pooled"].value > 0.6
    assert result.froc[-1].sensitivity["all lesions"].value > 0


def test_the_shipped_detector_is_not_evaluated_on_what_it_was_fitted_on(real_data):
    """It learned from four folds, and the fifth fitted its operating points: all is seen."""
    with pytest.raises(DataError, match="learned from all 3843 pictures"):
        unseen(load_detector().card, read_manifest(real_data / "curated"))


def test_the_shipped_detector_knows_copies_of_what_it_learned_from(real_data):
    """Resized and saved anew 95 % are found; of patients outside the training data at most 1 %."""
    known = descriptors_in(load_detector().card.seen_slices)
    made = []
    for path in sorted((real_data / "curated/pictures").iterdir())[7::96]:
        with Image.open(path) as opened:
            small = opened.convert("L").resize((190, 205))
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=55)
        with Image.open(buffer) as again:
            made.append(descriptor_of(np.asarray(again, dtype=np.float32)))
    own = np.stack([bits for bits in made if bits is not None])
    assert len(own) >= 38
    assert are_copies(own, known).mean() >= 0.95
    others = [
        descriptors_of_scan(read_one(path))
        for path in sorted((real_data / "volumes/brats13").glob("*/t1c.nii.gz"))
    ]
    assert are_copies(np.concatenate(others), known).mean() <= 0.01
