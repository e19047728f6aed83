import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meninx._errors import GeometryError
from meninx._scan.geometry import (
    affine_of_stack,
    check_affine,
    plane_normal,
    slice_order,
    spacing_of,
    stack_spacing,
    view_of,
)

AXIAL = (1, 0, 0, 0, 1, 0)
SAGITTAL = (0, 1, 0, 0, 0, -1)
CORONAL = (1, 0, 0, 0, 0, -1)


def stack(orientation, heights):
    return np.outer(heights, plane_normal(orientation)) + np.array([3.0, -4.0, 5.0])


@given(st.permutations(range(9)), st.sampled_from([AXIAL, SAGITTAL, CORONAL]))
def test_order_follows_the_normal_whatever_the_order_of_files(order, orientation):
    positions = stack(orientation, np.arange(9) * 2.7)
    shuffled = positions[list(order)]
    found = shuffled[slice_order(shuffled, orientation)]
    np.testing.assert_allclose(found, positions)


def test_spacing_of_a_sagittal_series_that_has_the_same_z_everywhere():
    found = stack_spacing(stack(SAGITTAL, [0, 4.8, 9.6]), SAGITTAL)
    assert found.spacing_mm == pytest.approx(4.8)


def test_missing_slices_are_counted_and_placed():
    heights = [0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 65, 70]
    with pytest.raises(GeometryError, match=r"2 slices missing after slice 11 \(gap 15.0 mm, spac"):
        stack_spacing(stack(AXIAL, heights), AXIAL)


@pytest.mark.parametrize(
    ("heights", "message"),
    [
        ([0, 5, 5, 10, 15], "2 slices share a position, the first at slice 2 of 5"),
        (
            [0, 5, 10, 12, 17, 22],
            "unequal spacing: the gap after slice 3 is 2.00 mm, expected 5.00",
        ),
        ([0, 5, 10, 25, 30, *range(35, 100, 5)], "2 slices missing after slice 3"),
        (
            [0, 5, 15, 20, 25, 30, 40, *range(45, 70, 5)],
            "1 slice missing after slice 2 .* 2 in all",
        ),
    ],
)
def test_bad_stacks_are_named(heights, message):
    with pytest.raises(GeometryError, match=message):
        stack_spacing(stack(AXIAL, heights), AXIAL)


@pytest.mark.parametrize(
    ("heights", "code", "text"),
    [
        # Gaps of a GE series, and positions rounded to a tenth.
        (np.cumsum([0, *[6.97, 7.07] * 8]), "uneven_spacing", "6.97 to 7.07 mm apart"),
        (np.round(np.arange(20) * 3.3125, 1), "uneven_spacing", "3.30 to 3.40 mm apart"),
        (
            [*range(0, 60, 5), *range(65, 100, 5)],
            "missing_slices",
            "1 slice is missing, after",
        ),
    ],
)
def test_what_scanners_write_is_taken_with_a_warning(heights, code, text):
    found = stack_spacing(stack(AXIAL, heights), AXIAL)
    (warning,) = found.warnings
    assert warning.code == code
    assert text in warning.text
    np.testing.assert_allclose(found.positions_mm, np.asarray(heights) - heights[0], atol=1e-9)


def test_equal_gaps_need_no_positions():
    found = stack_spacing(stack(AXIAL, np.arange(9) * 4.0), AXIAL)
    assert (found.spacing_mm, found.positions_mm, found.warnings) == (4.0, None, ())


def test_a_sheared_stack_is_named():
    positions = stack(AXIAL, np.arange(5) * 3.0) + np.outer(np.arange(5) * 0.5, (0, 1, 0))
    with pytest.raises(GeometryError, match=r"shifted 0\.50 mm sideways"):
        stack_spacing(positions, AXIAL)


def test_a_stack_that_leans_by_less_than_rounding_in_each_step_is_sheared_too():
    heights = np.arange(40) * 3.0
    leaning = stack(AXIAL, heights) + np.outer(np.arange(40) * 0.15, (0, 1, 0))
    with pytest.raises(GeometryError, match="sheared stack"):
        stack_spacing(leaning, AXIAL)
    to_and_fro = stack(AXIAL, heights) + np.outer(np.arange(40) % 2 * 0.15, (0, 1, 0))
    assert stack_spacing(to_and_fro, AXIAL).spacing_mm == pytest.approx(3.0)


def test_rounded_positions_are_no_fault():
    heights = np.round(np.arange(40) * 0.9000003, 2)
    found = stack_spacing(stack(AXIAL, heights), AXIAL)
    assert found.spacing_mm == pytest.approx(0.9, abs=0.01)


def test_cosines_that_are_no_plane_are_refused():
    with pytest.raises(GeometryError, match="perpendicular"):
        plane_normal((1, 0, 0, 1, 0, 0))


def test_affine_puts_column_row_and_slice_on_i_j_and_k():
    affine = affine_of_stack((1, 2, 3), SAGITTAL, (1.3, 1.1), 2.7)
    assert spacing_of(affine) == pytest.approx((1.1, 1.3, 2.7))
    np.testing.assert_allclose(affine @ (1, 0, 0, 1), (1, 3.1, 3, 1))  # along a row: to the back
    np.testing.assert_allclose(affine @ (0, 1, 0, 1), (1, 2, 1.7, 1))  # down a column: to the feet
    np.testing.assert_allclose(affine @ (0, 0, 1, 1), (-1.7, 2, 3, 1))  # the normal


@pytest.mark.parametrize(
    ("change", "message"),
    [((0, 1, 0.5), "sheared"), ((0, 0, np.nan), "finite"), ((2, 2, 0.0), "mm; expected")],
)
def test_bad_affines_are_refused(change, message):
    affine = np.eye(4)
    row, column, value = change
    affine[row, column] = value
    with pytest.raises(GeometryError, match=message):
        check_affine(affine)


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
    # A whole head, and what says where its slices lie, stay as they were.
    assert view_of(affine, shape=(214, 150, 174)).slice_axis == 2
    assert view_of(affine, 2, (214, 14, 174)).slice_axis == 2
