import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meninx.detect.calibration import (
    CONTEXT_MM,
    Calibration,
    Scale,
    averaged_over_depth,
    slice_logits,
)


def test_a_slice_is_as_suspicious_as_its_three_hottest_cells():
    cells = np.zeros((2, 4, 5), np.float32)
    cells[1, 0, 0], cells[1, 2, 3], cells[1, 3, 4] = 3, 6, 9
    np.testing.assert_allclose(slice_logits(cells), [0, 6])


def test_a_lesion_needs_depth_not_one_slice():
    lonely, deep = np.zeros((20, 2, 2), np.float32), np.zeros((20, 2, 2), np.float32)
    lonely[7] = 8
    deep[5:10] = 8
    assert 2 < averaged_over_depth(lonely, 5.0).max() < 4
    assert averaged_over_depth(deep, 5.0).max() > 7
    assert averaged_over_depth(lonely, None).max() == 8


@given(st.lists(st.floats(-20, 20), min_size=2, max_size=30), st.floats(0.5, 20))
def test_means_lie_within_their_slices_and_ignore_their_direction(logits, spacing):
    values = np.array(logits, np.float32)[:, None, None]
    found = averaged_over_depth(values, spacing)
    assert (found >= values.min() - 1e-4).all()
    assert (found <= values.max() + 1e-4).all()
    np.testing.assert_allclose(averaged_over_depth(values[::-1], spacing)[::-1], found, atol=1e-4)


def test_temperature_and_operating_points():
    scale = Scale(2.0, balanced=0.6, sensitive=0.3, specific=0.8)
    assert scale.probability(0) == 0.5
    assert scale.probability(2) == pytest.approx(1 / (1 + np.exp(-1)))
    assert scale.probability(-1e9) >= 0
    assert scale.decide(0.5, "sensitive") == "tumor"
    assert scale.decide(0.5, "balanced") == "no_tumor"
    assert scale.decide(0.7, "balanced") == "tumor"
    assert scale.decide(0.7, "specific") == "no_tumor"


def test_pictures_and_volumes_have_scales_of_their_own():
    calibration = Calibration(picture=Scale(2.0), study=Scale(3.0))
    assert calibration.of(study=False).temperature == 2.0
    assert calibration.of(study=True).temperature == 3.0


def test_depth_is_measured_in_millimeters():
    """A slab of heat weighs the same, however thick the slices are that show it."""
    middles = []
    for spacing in (1.0, 2.0, 4.0):
        place = np.arange(-40, 40 + spacing, spacing)
        cells = np.zeros((len(place), 2, 3), np.float32)
        cells[np.abs(place) < CONTEXT_MM, 1, 2] = 10
        averaged = averaged_over_depth(cells, spacing)
        middles.append(averaged[len(place) // 2, 1, 2])
        assert not averaged[:, 0].any()
    # The bell curve holds 68 % within one standard deviation.
    np.testing.assert_allclose(middles, 6.8, atol=0.9)


def test_thick_slices_and_pictures_stay_what_they_are():
    cells = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32)
    np.testing.assert_array_equal(averaged_over_depth(cells, None), cells)
    np.testing.assert_array_equal(averaged_over_depth(cells[:1], 1.0), cells[:1])
    np.testing.assert_allclose(averaged_over_depth(cells, 30.0), cells, atol=1e-4)
