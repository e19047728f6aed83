"""Slices whose pixels were lost are counted; ordinary blank ones are not."""

from dataclasses import replace

import nibabel
import numpy as np
import pytest

from meninx._scan.completeness import Incomplete
from meninx._scan.lost_slices import with_lost_slices_counted
from meninx._scan.reading import read_scans
from meninx._scan.scan import Scan
from tests.scan.dicom_making import save_all, slices_of


@pytest.mark.parametrize("lost", [[4], [2, 3, 5]])
@pytest.mark.parametrize("value", [0.0, np.nan])
def test_blank_slices_amid_a_head_are_missing_ones(healthy, tmp_path, lost, value):
    voxels = healthy.scan.voxels.astype(np.float32).copy()
    voxels[:, :, lost] = value
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-1.9, -1.8, 11, 1])), tmp_path / "t2.nii")
    (scan,) = read_scans(tmp_path / "t2.nii")
    (count,) = scan.incomplete
    assert (count.expected, count.received) == (9, 9 - len(lost))


@pytest.mark.parametrize("lost", [slice(5, None), slice(0, 6)])
def test_blank_slices_beside_a_full_one_are_missing(healthy, lost):
    voxels = healthy.scan.voxels.copy()
    voxels[:, :, lost] = 0
    scan = with_lost_slices_counted(replace(healthy.scan, voxels=voxels))
    whole = voxels.shape[2]
    left = whole - len(range(whole)[lost])
    assert scan.incomplete == (Incomplete("slices (others are blank)", whole, left),)


def test_a_slice_that_is_repeated_takes_the_place_of_others(healthy):
    voxels = healthy.scan.voxels.copy()
    voxels[:, :, 5:] = voxels[:, :, 4:5]
    scan = with_lost_slices_counted(replace(healthy.scan, voxels=voxels))
    whole = voxels.shape[2]
    assert scan.incomplete == (Incomplete("slices (others repeat one)", whole, 5),)


def test_a_volume_enlarged_by_its_nearest_slices_is_complete(healthy):
    scan = replace(healthy.scan, voxels=np.repeat(healthy.scan.voxels, 5, axis=2))
    assert with_lost_slices_counted(scan) is scan


def test_blank_slices_beyond_a_head_are_background(healthy):
    around = np.pad(healthy.scan.voxels, ((0, 0), (0, 0), (2, 3)))
    around[5, 5, 0] = 1  # dust
    scan = Scan("padded", around.astype(np.float32), healthy.scan.affine)
    assert with_lost_slices_counted(scan) is scan


@pytest.mark.parametrize("lost", [[4], [2, 4, 6], range(3, 7)])
@pytest.mark.parametrize("part", [np.s_[:, 60:], np.s_[:, 50:62], np.s_[55:, :], np.s_[:, :45]])
def test_slices_that_are_blank_in_part_are_missing(healthy, lost, part):
    voxels = healthy.scan.voxels.copy()
    voxels[*part, list(lost)] = 7
    scan = with_lost_slices_counted(replace(healthy.scan, voxels=voxels))
    whole = voxels.shape[2]
    count = Incomplete("slices (others are blank in part)", whole, whole - len(lost))
    assert scan.incomplete == (count,)


def test_a_file_whose_second_half_is_zero_leaves_its_series_incomplete(healthy, tmp_path):
    series = slices_of(healthy.scan)
    for index in (3, 5):
        half = len(series[index].PixelData) // 2
        series[index].PixelData = series[index].PixelData[:half].ljust(2 * half, b"\0")
    (scan,) = read_scans(save_all(series, tmp_path))
    assert scan.incomplete == (Incomplete("slices (others are blank in part)", 9, 7),)


def test_a_head_without_its_face_or_before_black_is_complete(healthy):
    voxels = healthy.scan.voxels.copy()
    voxels[voxels < 0.1 * voxels.max()] = 0  # masked air
    scan = replace(healthy.scan, voxels=voxels)
    assert with_lost_slices_counted(scan) is scan
    voxels = voxels.copy()
    for index in range(5):
        voxels[:, : 30 - 5 * index, index] = 0  # removed by a plane
    defaced = replace(healthy.scan, voxels=voxels)
    assert with_lost_slices_counted(defaced) is defaced
    narrow = voxels.copy()
    narrow[:35] = narrow[:, -35:] = 0  # the field is smaller than the matrix
    narrow = replace(healthy.scan, voxels=narrow)
    assert with_lost_slices_counted(narrow) is narrow
