"""Heads scanned in 3-D are cut axially, in any storage order; other volumes are not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meninx._scan.axial import cut_axially, is_3d
from meninx._scan.geometry import affine_of_stack
from meninx._scan.scan import Scan
from tests.conftest import stored_otherwise

PLANES = {
    "axial": (1, 0, 0, 0, 1, 0),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "coronal": (1, 0, 0, 0, 0, -1),
}


def volume(plane, spacing, shape, **fields):
    """Return a volume of noise as a scanner stores it, in the given plane."""
    voxels = np.random.default_rng(3).uniform(0, 9, shape).astype(np.float32)
    affine = affine_of_stack((-40, 12, 7), PLANES[plane], spacing[:2], spacing[2])
    return Scan("head", voxels, affine, "T1", slice_axis=2, **fields)


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("spacing", [(5.0, 4.8, 5.2), (4.0, 4.2, 6.0)])
def test_a_head_scanned_in_3d_is_cut_axially(plane, spacing):
    found = cut_axially(volume(plane, spacing, (30, 28, 26)))
    assert found.view.plane == "axial"
    # From the feet to the head, whatever the order of the indices.
    heights = [found.point_of(np.eye(3, dtype=int)[found.view.slice_axis] * n)[2] for n in (0, 9)]
    assert (heights[1] < heights[0]) == found.view.descending


def test_fine_voxels_count_as_cubes_even_if_they_are_longer_than_wide():
    assert is_3d(np.diag([0.5, 0.5, 1.2, 1]), (400, 400, 160))
    assert not is_3d(np.diag([0.5, 0.5, 1.3, 1]), (400, 400, 160))


@pytest.mark.parametrize(
    ("scan", "why"),
    [
        (volume("sagittal", (1.0, 1.0, 5.0), (200, 210, 30)), "thick slices"),
        (volume("coronal", (4.0, 4.0, 4.0), (50, 60, 20)), "a slab"),
        (
            volume("sagittal", (4.0, 4.0, 4.0), (50, 60, 40), geometry_estimated=True),
            "an estimated geometry",
        ),
        (
            volume(
                "sagittal",
                (4.0, 4.0, 4.0),
                (50, 60, 40),
                positions_mm=tuple(4.0 * (n + (n > 9)) for n in range(40)),
            ),
            "a missing slice",
        ),
        (Scan("picture", np.arange(12.0, dtype=np.float32).reshape(3, 4, 1)), "a picture"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_scans_keep_their_slices(scan, why):
    assert cut_axially(scan) is scan, why


@given(st.permutations(range(3)), st.tuples(*[st.booleans()] * 3))
def test_all_storage_orders_give_the_same_slices(order, flips):
    head = cut_axially(volume("sagittal", (3.0, 3.2, 3.4), (40, 44, 36)))
    other = cut_axially(stored_otherwise(head, order, flips))
    np.testing.assert_array_equal(other.view.stack(other.voxels), head.view.stack(head.voxels))
    index = 11 if not head.view.descending else len(head) - 12
    same = 11 if not other.view.descending else len(other) - 12
    np.testing.assert_array_equal(other.slice(same).image, head.slice(index).image)
