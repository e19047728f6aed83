"""Side and size of a heat map's region, from blobs in a head at a known position."""

import numpy as np
import pytest

from meninx._render.region import islands_of, region_of, regions_of
from meninx._scan.scan import Scan
from tests.conftest import OBLIQUE

SPACING = np.array([2.0, 2.5, 3.0])
SHAPE = (90, 80, 50)


def head(turn=None, sign=1):
    """An ellipsoid of 150 mm across, in the middle of its grid; `sign` -1 stores i to the right."""
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    away = (grid - (np.array(SHAPE) - 1) / 2) * SPACING
    inside = (away / [75, 90, 70]) ** 2
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if turn is None else turn) @ np.diag(SPACING * [sign, 1, 1])
    affine[:3, 3] = (31.0, -7.0, 4.0)  # the grid's origin is nowhere near the head
    voxels = np.where(inside.sum(axis=-1) < 1, 100.0, 0.0).astype(np.float32)
    return Scan("head", voxels, affine)


def blob(first, last, value=90):
    heat = np.zeros(SHAPE, dtype=np.uint8)
    heat[tuple(slice(a, b) for a, b in zip(first, last, strict=True))] = value
    return heat


@pytest.mark.parametrize(
    ("sign", "first", "last", "side"),
    [
        (1, (60, 30, 20), (72, 46, 25), "left"),
        (1, (15, 30, 20), (27, 46, 25), "right"),
        (-1, (60, 30, 20), (72, 46, 25), "right"),
        (1, (38, 30, 20), (50, 46, 25), "midline"),
    ],
)
def test_side_and_size_are_those_of_the_patient(sign, first, last, side):
    scan = head(sign=sign)
    (region,) = regions_of(scan, blob(first, last))
    assert region.side == side
    assert region.extent_mm == (24, 40, 15)
    assert region.slices == (20, 24)
    assert region.box == (first, tuple(index - 1 for index in last))
    assert region.score == 0.9
    assert region.point_mm == tuple(scan.point_of(region.peak).round(1))


def test_each_place_is_measured_the_hottest_first():
    heat = np.maximum(blob((60, 30, 20), (72, 46, 25)), blob((10, 10, 5), (40, 70, 12), 60))
    heat[20, 30, 7] = 61
    found = regions_of(head(), heat)
    assert [(region.side, region.extent_mm, region.score) for region in found] == [
        ("left", (24, 40, 15), 0.9),
        ("right", (60, 150, 21), 0.61),
    ]
    assert found[1].peak == (20, 30, 7)
    masks = np.zeros(SHAPE, dtype=int)
    for number, island in enumerate(islands_of(heat), 1):
        masks[tuple(island.voxels.T)] += number
    assert (masks == np.where(heat >= 90, 1, np.where(heat >= 60, 2, 0))).all()
    # Blobs below half of the peak are no regions.
    faint = np.maximum(blob((60, 30, 20), (72, 46, 25)), blob((10, 10, 5), (40, 70, 12), 40))
    assert len(regions_of(head(), faint)) == 1
    assert region_of(faint).sum() == 12 * 16 * 5


def test_an_oblique_scan_is_measured_in_the_patient():
    (region,) = regions_of(head(turn=OBLIQUE), blob((60, 30, 20), (72, 46, 25)))
    assert region.side == "left"
    # Rotated by about ten degrees, a box of 24 x 40 x 15 mm has larger extents.
    assert all(24 <= a <= 36 for a in region.extent_mm[:1])
    assert 40 <= region.extent_mm[1] <= 50


def test_without_a_head_s_width_no_side_is_told():
    scan = head()
    slab = Scan("slab", scan.voxels[30:50].copy(), scan.affine)
    (region,) = regions_of(
        slab, blob((60, 30, 20), (72, 46, 25))[30:50] + blob((34, 30, 20), (40, 46, 25))[30:50]
    )
    assert region.side is None


def test_a_region_of_a_picture_has_no_side_and_no_size():
    (region,) = regions_of(Scan("picture", head().voxels), blob((1, 1, 1), (3, 3, 3)))
    assert (region.side, region.extent_mm, region.point_mm) == (None, None, None)
    assert region.box == ((1, 1, 1), (2, 2, 2))
    assert regions_of(head(), np.zeros(SHAPE, dtype=np.uint8)) == ()
