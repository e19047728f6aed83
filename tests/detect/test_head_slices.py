"""A volume that ends within the head is said to show a part of it."""

from dataclasses import replace

import numpy as np
import pytest

from meninx._detect.head_slices import brain_slices, cut_sides, part_of_head
from meninx._scan.scan import Scan
from meninx._scan.warning import ScanWarning
from meninx._synthesis.phantom import grid_of
from meninx._synthesis.phantom_studies import make_study

# The head reaches below the grid, as a neck does.
PARTS = {
    "on the left": np.s_[:40],
    "on the right": np.s_[32:],
    "in front": np.s_[:, 50:],
    "behind": np.s_[:, :60],
}


@pytest.fixture(scope="module")
def head():
    grid = grid_of("axial", (72, 90, 84), (2.6, 2.6, 2.3))
    scan = make_study("head", 31, None, "T1", "axial", grid).scan
    return replace(scan, voxels=scan.voxels[:, :, 24:], slice_axis=2)


def test_a_whole_head_is_not_cut(head):
    assert cut_sides(head) == []
    assert part_of_head(head, brain_slices(head)) == ()


@pytest.mark.parametrize("side", PARTS)
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("padding", [0, 3])
def test_the_side_at_which_a_head_is_cut_is_named(head, side, order, padding):
    voxels = np.pad(head.voxels[PARTS[side]], padding).transpose(order)
    affine = np.array(head.affine)
    affine[:3, :3] = affine[:3, :3][:, list(order)]
    scan = Scan("part", voxels, affine)
    assert cut_sides(scan) == [side]
    (warning,) = part_of_head(scan, brain_slices(scan))
    assert warning.code == "part_of_head"
    assert f"beyond the scan {side}" in warning.text


def test_without_an_orientation_one_side_may_be_the_neck(head):
    doubt = (ScanWarning("orientation_doubtful", "not given"),)
    turned = Scan("bare", head.voxels.transpose(2, 1, 0), head.affine, warnings=doubt)
    assert cut_sides(turned) == []
    assert cut_sides(replace(turned, voxels=turned.voxels[:, :, :36])) == ["at a side"]


def test_thick_slices_may_begin_within_the_head(head):
    voxels = head.voxels[:, 8:-12:3]
    affine = np.array(head.affine)
    affine[:3, 1] *= 3
    coronal = Scan("thick", voxels, affine, slice_axis=1)
    assert cut_sides(coronal) == []
    assert cut_sides(replace(coronal, voxels=voxels[:, 8:])) == ["in front"]


def test_usual_sagittal_series_end_beside_the_brain(head):
    areas = np.count_nonzero(head.voxels > 100, axis=(1, 2))
    first, last = np.flatnonzero(areas > 0.45 * areas.max())[[0, -1]]
    inner = Scan("inner", head.voxels[first : last + 1], head.affine, slice_axis=0)
    assert cut_sides(inner) == []
    assert cut_sides(replace(inner, slice_axis=2)) == ["on the right", "on the left"]


def test_noise_up_to_the_corners_is_no_head(head):
    noise = np.random.default_rng(1).normal(0, 150, head.voxels.shape).astype(np.float32)
    assert cut_sides(replace(head, voxels=np.abs(head.voxels + noise))) == []
