"""Air is found: gray in signed images, NaN or padding in unmeasured voxels."""

import nibabel
import numpy as np
import pytest
from PIL import Image

from meninx._scan.background import reached_from_frame, with_dark_air
from meninx._scan.reading import read_scans
from meninx._scan.scan import Scan
from tests.scan.dicom_making import save_all, slices_of

AIR = 0.05


def signed(voxels, share=0.4, noise=6.0, seed=3):
    """Return a phase-sensitive image: CSF below zero, air as noise around zero."""
    tissue = voxels > AIR * voxels.max()
    zero = np.quantile(voxels[tissue], share)
    air = np.random.default_rng(seed).normal(0, noise, voxels.shape)
    return np.where(tissue, voxels - zero, air).astype(np.float32), tissue


def level(voxels, tissue):
    """Return the level of air within the range of the head, 0 for its darkest value."""
    low, high = np.percentile(voxels[tissue], [0.5, 99.5])
    return (np.median(voxels[~tissue]) - low) / (high - low)


def read(path, errors=None):
    return list(read_scans(path, None if errors is None else errors.append))


@pytest.mark.parametrize("share", [0.2, 0.55])
@pytest.mark.parametrize("kind", ["nifti", "dicom", "offset dicom", "picture"])
def test_gray_air_is_set_dark(healthy, tmp_path, share, kind):
    voxels, tissue = signed(healthy.scan.voxels, share)
    if kind == "picture":
        voxels, tissue = voxels[:, :, 4:5], tissue[:, :, 4:5]
        shown = 255 * (voxels - voxels.min()) / np.ptp(voxels)
        path = tmp_path / "slice.png"
        Image.fromarray(shown[:, :, 0].T.astype(np.uint8)).save(path)
    elif kind == "nifti":
        path = tmp_path / "t1.nii.gz"
        nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-1.9, -1.8, 11, 1])), path)
    else:
        offset = float(-voxels.min()) if kind == "offset dicom" else 0.0
        path = save_all(series_of(healthy.scan, voxels, offset), tmp_path / "series")
    (scan,) = read(path)
    assert [warning.code for warning in scan.warnings] == ["gray_air"]
    assert level(scan.voxels, tissue) < 0.02
    # Tissue keeps its values, except some at its edge.
    kept = np.corrcoef(scan.voxels[tissue], voxels[tissue])[0, 1]
    assert kept > 0.97


def series_of(scan, voxels, offset):
    series = slices_of(scan)
    for index, dataset in enumerate(series):
        dataset.PixelRepresentation = int(not offset)
        dataset.BitsStored, dataset.HighBit = 16, 15
        stored = np.rint(voxels[:, :, index].T + offset)
        dataset.PixelData = stored.astype(np.int16 if not offset else np.uint16).tobytes()
    return series


def test_the_magnitude_image_is_scored(healthy, tmp_path):
    from meninx._detect.loading import load_detector

    detector = load_detector()
    voxels, _ = signed(healthy.scan.voxels, 0.3)
    affine = healthy.scan.affine
    expected = detector.score(healthy.scan)
    raw = detector.score(Scan("signed", voxels, affine, "T2"))
    found = detector.score(with_dark_air(Scan("signed", voxels, affine, "T2")))
    assert (expected.status, found.status) == ("scored", "scored")
    assert raw.status == "refused"
    assert found.logit == pytest.approx(expected.logit, abs=1.5)


@pytest.mark.parametrize("name", ["magnitude", "noisy", "white paper", "cropped", "ramp"])
def test_other_images_keep_every_value(healthy, name):
    voxels = np.array(healthy.scan.voxels)
    rng = np.random.default_rng(5)
    if name == "noisy":
        sigma = 0.02 * voxels.max()
        voxels = np.hypot(
            voxels + rng.normal(0, sigma, voxels.shape), rng.normal(0, sigma, voxels.shape)
        )
    if name == "white paper":
        voxels[voxels <= AIR * voxels.max()] = voxels.max()
    if name == "cropped":
        voxels = voxels[35:70, 40:80, 3:6]
    if name == "ramp":
        voxels = np.arange(60 * 50 * 3).reshape(60, 50, 3)
    scan = Scan(name, voxels.astype(np.float32))
    assert with_dark_air(scan) is scan


def test_tissue_of_the_same_gray_is_no_air():
    picture = np.full((80, 90), 100.0, dtype=np.float32)
    picture[20:60, 20:70] = 300
    picture[30:50, 30:60] = 100  # as gray as air, inside
    picture[35:45, 40:50] = 10
    scan = with_dark_air(Scan("drawn", picture[:, :, None]))
    assert scan.voxels[0, 0, 0] == pytest.approx(10, abs=5)
    assert (scan.voxels[31:34, 31:59] == 100).all()


def with_nan(path, voxels, places):
    holed = voxels.astype(np.float32).copy()
    holed[places] = np.nan
    nibabel.save(nibabel.Nifti1Image(holed, np.diag([-1.9, -1.8, 11, 1])), path)
    return path


def test_nan_outside_of_the_head_is_background(healthy, tmp_path):
    voxels = healthy.scan.voxels
    dark = np.moveaxis(voxels <= AIR * voxels.max(), 2, 0)
    air = np.moveaxis(reached_from_frame(dark), 0, 2)
    (scan,) = read(with_nan(tmp_path / "t2.nii", voxels, air))
    assert np.isfinite(scan.voxels).all()
    np.testing.assert_array_equal(scan.voxels[~air], voxels[~air].astype(np.float32))
    assert scan.voxels[air].max() < AIR * voxels.max()
    assert not scan.warnings


def test_nan_inside_the_head_is_refused(healthy, tmp_path, errors):
    voxels = healthy.scan.voxels
    hole = np.zeros(voxels.shape, dtype=bool)
    hole[48:53, 55:60, 3:6] = True
    assert (voxels[hole] > AIR * voxels.max()).all()
    assert not read(with_nan(tmp_path / "t2.nii", voxels, hole), errors)
    (error,) = errors
    assert error.reason == "not_finite"
    assert "75 inside the head" in str(error)


@pytest.mark.parametrize(
    ("value", "limit"), [(-2000, None), (-2000, -1500), (-1500, -2000), (30000, None)]
)
def test_padding_is_background(healthy, tmp_path, value, limit):
    voxels = healthy.scan.voxels
    padded = padded_corners(voxels)
    series = padded_series(healthy.scan, voxels, padded, value, limit)
    (scan,) = read(save_all(series, tmp_path))
    np.testing.assert_array_equal(scan.voxels[~padded], np.rint(voxels[~padded]))
    assert scan.voxels[padded].max() < AIR * voxels.max()
    assert not scan.warnings


@pytest.mark.parametrize("limit", [None, -1500])
def test_padding_written_by_the_other_representation_is_found(healthy, tmp_path, limit):
    voxels = healthy.scan.voxels
    padded = padded_corners(voxels)
    series = padded_series(healthy.scan, voxels, padded, -2000, limit)
    for dataset in series:
        dataset.add_new("PixelPaddingValue", "US", 2**16 - 2000)
        if limit is not None:
            dataset.add_new("PixelPaddingRangeLimit", "US", 2**16 + limit)
    (scan,) = read(save_all(series, tmp_path))
    assert scan.voxels[padded].max() < AIR * voxels.max()


def test_padding_inside_the_head_is_refused(healthy, tmp_path, errors):
    voxels = healthy.scan.voxels
    padded = padded_corners(voxels)
    padded[50:53, 56:60] = True
    series = padded_series(healthy.scan, voxels, padded, -2000, None)
    assert not read(save_all(series, tmp_path), errors)
    assert [error.reason for error in errors] == ["not_finite"]


def test_a_padding_value_shared_with_air_and_vessels_is_ignored(healthy, tmp_path):
    voxels = np.rint(healthy.scan.voxels)
    voxels[50:53, 56:60] = 0
    series = padded_series(healthy.scan, voxels, voxels == 0, 0, None)
    (scan,) = read(save_all(series, tmp_path))
    np.testing.assert_array_equal(scan.voxels, voxels)


def padded_corners(voxels):
    """Return the corners that a rotated field of view leaves empty."""
    i, j = np.ogrid[: voxels.shape[0], : voxels.shape[1]]
    return np.broadcast_to((i + j < 20)[:, :, None], voxels.shape).copy()


def padded_series(scan, voxels, padded, value, limit):
    stored = np.where(padded, value, np.rint(voxels)).astype(np.int16)
    if limit is not None:
        stored[padded] = np.random.default_rng(1).integers(
            min(value, limit), max(value, limit), int(padded.sum()), endpoint=True
        )
    series = slices_of(scan)
    for index, dataset in enumerate(series):
        dataset.PixelRepresentation = 1
        dataset.BitsStored, dataset.HighBit = 16, 15
        dataset.PixelData = np.ascontiguousarray(stored[:, :, index].T).tobytes()
        dataset.add_new("PixelPaddingValue", "SS", value)
        if limit is not None:
            dataset.add_new("PixelPaddingRangeLimit", "SS", limit)
    return series


def test_connected_pixels_are_reached_around_corners():
    maze = np.ones((1, 7, 9), dtype=bool)
    maze[0, 1, 1:8] = maze[0, 5, 1:8] = maze[0, 1:6, 1] = maze[0, 2:6, 7] = False
    maze[0, 1, 5] = True  # the way in
    maze[0, 3, 2:6] = False
    closed = maze.copy()
    closed[0, 1, 5] = False
    assert reached_from_frame(maze)[0, 4, 3]
    assert not reached_from_frame(closed)[0, 4, 3]
    np.testing.assert_array_equal(reached_from_frame(maze) & ~maze, False)
