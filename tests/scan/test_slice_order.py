"""Slices in another order than in the head are refused or doubted; ordinary ones are not."""

from dataclasses import replace

import numpy as np
import pytest

from meninx._errors import GeometryError
from meninx._scan.geometry import affine_of_stack
from meninx._scan.scan import Scan
from meninx._scan.slice_order import order_excess, with_slice_order_checked
from meninx._synthesis.phantom import grid_of
from meninx._synthesis.phantom_studies import make_study

COUNT = 24


@pytest.fixture(scope="module")
def head():
    grid = grid_of("axial", (96, 112, COUNT), (2.1, 2.1, 6.0))
    return make_study("head", 31, None, "T1", "axial", grid).scan


def reordered(scan, order):
    return replace(scan, voxels=scan.voxels[:, :, list(order)])


def by_name(first):
    return [int(name) - first for name in sorted(map(str, range(first, COUNT + first)))]


ACQUIRED = [*range(0, COUNT, 2), *range(1, COUNT, 2)]


@pytest.mark.parametrize(
    "order",
    [ACQUIRED, ACQUIRED[::-1], [*range(1, COUNT, 2), *range(0, COUNT, 2)], by_name(1), by_name(0)],
)
def test_another_order_is_refused_or_doubted(head, order):
    try:
        found = with_slice_order_checked(reordered(head, order))
    except GeometryError as error:
        assert "do not follow each other" in str(error)
    else:
        assert [warning.code for warning in found.warnings] == ["order_doubtful"]


def test_the_order_of_acquisition_is_refused(head):
    with pytest.raises(GeometryError, match="sort them by their position"):
        with_slice_order_checked(reordered(head, ACQUIRED))


def test_slices_with_positions_are_doubted_at_most(head):
    found = with_slice_order_checked(reordered(head, ACQUIRED), has_positions=True)
    assert [warning.code for warning in found.warnings] == ["order_doubtful"]


@pytest.mark.parametrize("order", [range(COUNT), range(COUNT)[::-1], range(0, COUNT, 2)])
def test_the_order_of_the_head_is_kept(head, order):
    scan = reordered(head, order)
    assert with_slice_order_checked(scan) is scan


@pytest.mark.parametrize("axis", [0, 1])
def test_slices_along_other_axes_are_in_order(head, axis):
    repeated = np.repeat(head.voxels, 3, axis=2)
    assert order_excess(np.moveaxis(repeated, axis, 0)) < 1.05


def test_dark_slices_at_both_ends_are_in_order(head):
    voxels = head.voxels.copy()
    voxels[:, :, [4, -5]] *= 0.2
    assert order_excess(np.moveaxis(voxels[:, :, 4:-4], 2, 0)) < 1.05


def test_few_slices_pictures_and_masks_are_not_checked(head):
    affine = affine_of_stack([0, 0, 0], [1, 0, 0, 0, 1, 0], (2.1, 2.1), 6.0)
    for voxels in (head.voxels[:, :, :4], head.voxels[:, :, :1], head.voxels > 100):
        scan = Scan("head", voxels.astype(np.float32), affine, slice_axis=2)
        assert with_slice_order_checked(scan) is scan
