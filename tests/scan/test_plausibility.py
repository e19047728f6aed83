"""Implausible geometry is replaced by an estimate; plausible geometry is kept."""

from functools import cache

import nibabel
import numpy as np
import pytest

from meninx._errors import GeometryError
from meninx._render.region import midline_of, regions_of
from meninx._scan.plausibility import MAX_SHIFT, MIN_SHIFT, measured_along, with_plausible_geometry
from meninx._scan.reading import read_scans
from meninx._scan.scan import Scan
from meninx._synthesis.phantom import grid_of
from meninx._synthesis.phantom_studies import make_study
from tests.commands import meninx
from tests.scan.dicom_making import save_all, slices_of

SPACING = (1.3, 1.25, 6.0)
CODE = "geometry_doubtful"
RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@cache
def head(seed=31, plane="axial", sequence="T1", shape=(160, 192, 24), spacing=SPACING) -> Scan:
    return make_study("head", seed, None, sequence, plane, grid_of(plane, shape, spacing)).scan


def saved(voxels, affine, path) -> Scan:
    nibabel.save(nibabel.Nifti1Image(voxels.astype(np.int16), affine), path)
    (scan,) = read_scans(path)
    return scan


def codes(scan):
    return [warning.code for warning in scan.warnings]


@pytest.mark.parametrize("seed", [31, 32])
@pytest.mark.parametrize("affine", [np.eye(4), RAS, np.diag([1.0, -1.0, -1.0, 1.0])])
def test_the_gap_of_a_bare_array_is_estimated_from_its_slices(tmp_path, seed, affine):
    scan = saved(head(seed).voxels, affine, tmp_path / "t1.nii.gz")
    assert codes(scan) == [CODE]
    assert 0.6 * SPACING[2] < scan.slice_gap_mm < 1.5 * SPACING[2]
    (warning,) = scan.warnings
    assert "1.00 mm apart" in warning.text
    assert f"{scan.slice_gap_mm:.1f} mm is estimated" in warning.text
    np.testing.assert_array_equal(scan.voxels, head(seed).voxels)


@pytest.mark.parametrize("axes", [(2, 1, 0), (0, 2, 1)])
def test_slices_of_a_bare_array_are_found_along_any_axis(tmp_path, axes):
    scan = saved(head().voxels.transpose(axes), np.eye(4), tmp_path / "t1.nii.gz")
    assert scan.view.slice_axis == axes.index(2)
    assert len(scan) == 24
    assert codes(scan) == [CODE]


def test_a_pixel_that_is_lost_too_is_estimated_by_the_width_of_the_head(tmp_path):
    fine = head(33, shape=(416, 480, 20), spacing=(0.5, 0.5, 6.5))
    scan = saved(fine.voxels, np.eye(4), tmp_path / "flair.nii")
    i, j, k = scan.spacing_mm
    assert i == j
    assert 0.4 < i < 0.65
    assert 3.9 < k < 10


@pytest.mark.parametrize("factor", [1 / 6, 1 / 5, 5, 6])
def test_a_gap_wrong_by_a_factor_of_five_is_replaced(tmp_path, factor):
    affine = np.diag([*SPACING[:2], SPACING[2] * factor, 1.0])
    scan = saved(head(34).voxels, affine, tmp_path / "t2.nii.gz")
    assert codes(scan) == [CODE]
    assert scan.spacing_mm[:2] == pytest.approx(SPACING[:2])
    assert 0.5 * SPACING[2] < scan.slice_gap_mm < 1.6 * SPACING[2]


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((160, 192, 24), SPACING),
        ((120, 128, 40), (1.7, 1.8, 4.0)),
        ((96, 112, 70), (2.1, 2.0, 2.4)),
    ],
)
def test_plausible_geometry_is_kept(tmp_path, plane, shape, spacing):
    scan = head(35, plane, "T2", shape, spacing)
    assert with_plausible_geometry(scan) is scan


def test_dicom_with_implausible_positions_is_estimated(tmp_path, errors):
    series = slices_of(head())
    for number, dataset in enumerate(series):
        x, y, _ = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y, float(number)]
    (scan,) = read_scans(save_all(series, tmp_path), errors.append)
    # They also contradict SpacingBetweenSlices.
    assert codes(scan) == ["headers_contradict", CODE]
    assert scan.positions_mm is None
    assert scan.slice_gap_mm > 3.5


def test_no_size_in_mm_and_no_side_is_reported_for_an_estimate(tmp_path):
    scan = saved(head().voxels, RAS, tmp_path / "t1.nii.gz")
    assert scan.view.plane is None
    assert midline_of(scan) is None
    heat = np.zeros(scan.voxels.shape, dtype=np.uint8)
    heat[100:110, 80:95, 8:11] = 90
    (region,) = regions_of(scan, heat)
    assert (region.side, region.extent_mm, region.slices) == (None, None, (8, 10))
    assert region.point_mm is None
    assert region.as_json()["extent_mm"] is None


@pytest.mark.parametrize("header", ["identity", "no pixdim", "analyze"])
def test_a_user_gives_the_voxel_size_that_a_file_lacks(tmp_path, header):
    path = tmp_path / ("t1.img" if header == "analyze" else "t1.nii")
    kind = nibabel.AnalyzeImage if header == "analyze" else nibabel.Nifti1Image
    image = kind(head().voxels.astype(np.int16), RAS)
    nibabel.save(image, path)
    if header != "identity":
        stored = path.with_suffix(".hdr") if header == "analyze" else path
        data = bytearray(stored.read_bytes())
        data[80:92] = bytes(12)  # pixdim 1 to 3
        data[252:256] = bytes(4)  # neither qform nor sform
        stored.write_bytes(data)
    (scan,) = read_scans(path, spacing_mm=SPACING)
    assert scan.spacing_mm == pytest.approx(SPACING)
    assert not scan.geometry_estimated
    assert codes(scan) == ["orientation_doubtful", "spacing_given"]


def test_the_command_line_takes_the_voxel_size(tmp_path):
    nibabel.save(nibabel.Nifti1Image(head().voxels.astype(np.int16), RAS), tmp_path / "t1.nii")
    lost, said = (
        meninx("predict", tmp_path / "t1.nii", *options)
        for options in ((), ("--spacing", "1.3,1.25,6"))
    )
    assert "is estimated from the slices" in lost.stdout
    assert "is estimated" not in said.stdout
    for wrong in ("1,2", "1,2,0", "a,b,c", "1,1,6000"):
        refused = meninx("predict", tmp_path / "t1.nii", "--spacing", wrong)
        assert refused.returncode == 2
        assert "expected the size of a voxel" in refused.stderr


def test_an_implausible_given_voxel_size_is_used_with_a_warning(tmp_path):
    path = tmp_path / "t1.nii.gz"
    nibabel.save(nibabel.Nifti1Image(head().voxels.astype(np.int16), np.diag([*SPACING, 1])), path)
    (scan,) = read_scans(path, spacing_mm=(1.3, 1.25, 0.5))
    assert scan.spacing_mm == pytest.approx((1.3, 1.25, 0.5))
    assert codes(scan) == ["spacing_given", CODE]
    with pytest.raises(GeometryError, match=r"does not fit the file's axes of 160 x 192 x 24"):
        list(read_scans(path, spacing_mm=(6, 6, 1.3)))


def test_a_pixel_that_cannot_be_is_not_blamed_on_the_gap(tmp_path):
    scan = saved(head(37).voxels, np.diag([-0.4, -0.4, 6.0, 1.0]), tmp_path / "t1.nii.gz")
    assert codes(scan) == [CODE]
    assert scan.slice_gap_mm == pytest.approx(6)
    assert 0.8 < scan.spacing_mm[0] < 1.6
    assert "pixels measure 0.40 x 0.40 mm, which is implausible for a head" in scan.warnings[0].text


def test_a_head_of_half_a_meter_is_implausible(tmp_path):
    affine = np.diag([*SPACING[:2], 3 * SPACING[2], 1.0])
    scan = saved(head(38).voxels, affine, tmp_path / "t1.nii.gz")
    assert codes(scan) == [CODE]
    assert scan.slice_gap_mm < 10


@pytest.mark.parametrize(
    ("plane", "factor"),
    [("axial", 0.33), ("axial", 1.5), ("axial", 1.8), ("axial", 2.0), ("sagittal", 2.0)],
)
def test_voxels_that_make_a_head_too_large_or_too_small_are_replaced(tmp_path, plane, factor):
    original = head(38, plane)
    scaled = original.affine @ np.diag([factor, factor, factor, 1.0])
    scan = saved(original.voxels, scaled, tmp_path / "t1.nii.gz")
    assert codes(scan) == [CODE]
    assert "so that the head would be" in scan.warnings[0].text
    ratio = np.array(scan.spacing_mm) / original.spacing_mm
    assert ratio == pytest.approx([ratio[0]] * 3)
    assert 0.6 < ratio[0] < 1.4


@pytest.mark.parametrize("noise", [0.0, 0.03, 0.05])
def test_noise_and_bright_corners_make_no_head_larger(tmp_path, noise):
    original = head(38)
    voxels = np.pad(original.voxels, ((40, 40), (30, 30), (0, 0))).astype(np.float64)
    draw = np.random.default_rng(1)
    level = noise * np.percentile(voxels, 99.5)
    real, imaginary = (draw.normal(0, level, voxels.shape) for _ in range(2))
    voxels = np.hypot(voxels + real, imaginary)
    voxels[:2, :2] = voxels[-2:, -2:] = voxels.max()
    scan = saved(voxels.astype(np.float32), original.affine, tmp_path / "t1.nii.gz")
    assert CODE not in codes(scan)


def test_a_preterm_head_keeps_its_size(tmp_path):
    original = head(38)
    scan = saved(original.voxels, original.affine @ np.diag([0.5, 0.5, 0.5, 1]), tmp_path / "a.nii")
    assert 70 < measured_along(original.voxels, 2, scan.spacing_mm).length < 100
    assert CODE not in codes(scan)


def test_a_small_field_shows_a_part_of_a_head():
    field = head(38).voxels[50:120, 60:132]
    measured = measured_along(field, 2, SPACING)
    assert measured.width < 100
    assert measured.fit_head(unset=False)
    assert not measured.fit_head(unset=True)


def test_a_given_voxel_size_that_makes_a_head_too_large_is_warned_of(tmp_path):
    path = tmp_path / "t1.nii.gz"
    nibabel.save(nibabel.Nifti1Image(head().voxels.astype(np.int16), np.diag([*SPACING, 1])), path)
    (scan,) = read_scans(path, spacing_mm=(2.6, 2.5, 12))
    assert codes(scan) == ["spacing_given", CODE]
    assert "makes the head 4" in scan.warnings[1].text


def test_two_slices_of_a_bare_array_are_implausible_too(tmp_path):
    scan = saved(head().voxels[:, :, 10:12], np.eye(4), tmp_path / "t1.nii.gz")
    assert codes(scan) == [CODE]
    assert scan.slice_gap_mm == pytest.approx(5)


def test_flat_images_and_short_stacks_are_left_as_they_are():
    noise = np.random.default_rng(0).normal(100, 5, (60, 70, 2)).astype(np.float32)
    for voxels in (noise, noise[:20, :20], np.repeat(noise, 3, axis=2)[:, :, :3]):
        scan = Scan("noise", voxels, np.diag([1.1, 1.3, 2.7, 1]))
        assert with_plausible_geometry(scan) is scan


@pytest.mark.slow
def test_real_headers_are_plausible_and_those_without_their_gap_are_not(real_data):
    volumes = sorted((real_data / "tumor-free").glob("*.nii.gz"))
    doubted = {
        path.name for path in volumes if any(scan.geometry_estimated for scan in read_scans(path))
    }
    assert doubted == {path.name for path in volumes if path.name.startswith("slab-")}


@pytest.mark.slow
def test_shifts_of_real_heads_lie_within_the_limits(real_data):
    paths = sorted((real_data / "tumor-free").glob("m*.nii.gz"))
    for path in paths[::3]:
        (scan,) = read_scans(path)
        axis, gap = scan.view.slice_axis, scan.slice_gap_mm
        lag = max(1, round(4 / gap))
        measured = measured_along(scan.voxels, axis, scan.spacing_mm, lag)
        assert MIN_SHIFT < measured.shift / (lag * gap) < MAX_SHIFT


@pytest.mark.parametrize("axes", [(2, 1, 0), (1, 2, 0), (2, 0, 1)])
def test_sizes_in_the_order_of_other_axes_are_put_in_order(tmp_path, axes):
    sizes = (1.25, 1.25, 6.0)
    volume = head(35, spacing=sizes).voxels.transpose(axes)
    scan = saved(volume, np.diag([*sizes, 1.0]), tmp_path / "flair.nii.gz")
    assert scan.spacing_mm == pytest.approx([sizes[axis] for axis in axes])
    assert scan.view.slice_axis == axes.index(2)
    (warning,) = scan.warnings
    assert warning.code == CODE
    assert "the same sizes fit its axes in another order" in warning.text
    assert scan.view.plane is None


def test_pixels_that_are_several_times_longer_than_wide_are_refused():
    volume = np.repeat(head(36, shape=(160, 192, 24)).voxels, 4, axis=0)
    stretched = Scan("head", volume, np.diag([0.3, 1.25, 6.0, 1.0]), slice_axis=2)
    with pytest.raises(GeometryError, match=r"pixels of 0\.30 x 1\.25 mm"):
        with_plausible_geometry(stretched)


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 1, 0)])
@pytest.mark.parametrize("origin", [0.0, -80.0])
def test_a_bare_array_of_cubes_has_no_orientation(tmp_path, axes, origin):
    volume = head(37, shape=(108, 128, 104), spacing=(1.6, 1.6, 1.6)).voxels.transpose(axes)
    affine = np.eye(4)
    affine[:3, 3] = origin
    scan = saved(volume, affine, tmp_path / "t1.nii.gz")
    assert codes(scan) == ([] if origin else ["orientation_doubtful"])
    assert scan.spacing_mm == (1.0, 1.0, 1.0)
