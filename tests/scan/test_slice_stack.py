import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meninx._errors import GeometryError
from meninx._scan.geometry import plane_normal
from meninx._scan.slice_stack import slice_order, stack_spacing

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


def test_missing_slices_are_counted_and_located():
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
def test_what_scanners_write_is_accepted_with_a_warning(heights, code, text):
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


def test_shear_below_the_rounding_of_each_step_is_named_too():
    heights = np.arange(40) * 3.0
    sheared = stack(AXIAL, heights) + np.outer(np.arange(40) * 0.15, (0, 1, 0))
    with pytest.raises(GeometryError, match="sheared stack"):
        stack_spacing(sheared, AXIAL)
    alternating = stack(AXIAL, heights) + np.outer(np.arange(40) % 2 * 0.15, (0, 1, 0))
    assert stack_spacing(alternating, AXIAL).spacing_mm == pytest.approx(3.0)


def test_rounded_positions_are_no_fault():
    heights = np.round(np.arange(40) * 0.9000003, 2)
    found = stack_spacing(stack(AXIAL, heights), AXIAL)
    assert found.spacing_mm == pytest.approx(0.9, abs=0.01)
