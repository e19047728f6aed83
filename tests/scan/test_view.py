import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meninx._scan.geometry import affine_of_stack
from meninx._scan.view import view_of

AXIAL = (1, 0, 0, 0, 1, 0)
SAGITTAL = (0, 1, 0, 0, 0, -1)
CORONAL = (1, 0, 0, 0, 0, -1)


@pytest.mark.parametrize(
    ("orientation", "plane"), [(AXIAL, "axial"), (SAGITTAL, "sagittal"), (CORONAL, "coronal")]
)
def test_scanner_slices_are_shown_as_stored(orientation, plane):
    view = view_of(affine_of_stack((0, 0, 0), orientation, (1.3, 1.1), 2.7))
    assert (view.slice_axis, view.row_axis, view.column_axis) == (2, 1, 0)
    assert not view.flip_rows
    assert not view.flip_columns
    assert view.plane == plane


@given(st.permutations(range(3)), st.tuples(*[st.booleans()] * 3))
def test_any_storage_order_shows_the_same_picture(order, flips):
    """Axes permuted and reversed, the affine along with them: the reader sees the same slices."""
    voxels = np.random.default_rng(1).normal(size=(7, 8, 9)).astype(np.float32)
    affine = affine_of_stack((0, 0, 0), AXIAL, (1.3, 1.1), 2.7)
    view = view_of(affine)
    expected = {view.cut(voxels, k).tobytes() for k in range(9)}
    stored, moved = voxels.transpose(order), affine[:, [*order, 3]]
    for axis, flipped in enumerate(flips):
        if flipped:
            stored = np.flip(stored, axis)
            moved = moved.copy()
            moved[:3, 3] += moved[:3, axis] * (stored.shape[axis] - 1)
            moved[:3, axis] *= -1
    other = view_of(moved)
    found = {other.cut(stored, k).tobytes() for k in range(stored.shape[other.slice_axis])}
    assert found == expected


def test_slices_of_a_slab_lie_along_its_thin_axis():
    """As some tools store it: every voxel a cube, the axes in another order."""
    affine = np.array([[0, 0, -1.0, 86], [1.0, 0, 0, -117], [0, 1.0, 0, 4], [0, 0, 0, 1]])
    view = view_of(affine, shape=(214, 14, 174))
    assert (view.slice_axis, view.plane) == (1, "axial")
    # A whole head, and a given slice axis, are not changed.
    assert view_of(affine, shape=(214, 150, 174)).slice_axis == 2
    assert view_of(affine, 2, (214, 14, 174)).slice_axis == 2
