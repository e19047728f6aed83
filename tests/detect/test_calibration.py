import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meninx.detect.calibration import (
    Calibration,
    Scale,
    averaged_over_depth,
    slice_logits,
    study_logit,
)


def test_a_slice_is_as_suspicious_as_its_three_hottest_cells():
    cells = np.zeros((2, 4, 5), np.float32)
    cells[1, 0, 0], cells[1, 2, 3], cells[1, 3, 4] = 3, 6, 9
    np.testing.assert_allclose(slice_logits(cells), [0, 6])


def test_a_study_needs_depth_not_one_slice():
    lonely, deep = np.zeros(20, np.float32), np.zeros(20, np.float32)
    lonely[7] = 8
    deep[7:9] = 8
    assert study_logit(deep, 5.0) == pytest.approx(8)
    assert study_logit(lonely, 5.0) == pytest.approx(4)
    assert study_logit(lonely, None) == pytest.approx(8)


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=30), st.floats(0.5, 20))
def test_a_study_lies_within_its_slices_and_ignores_their_direction(logits, spacing):
    values = np.array(logits, np.float32)
    found = study_logit(values, spacing)
    assert values.min() - 1e-4 <= found <= values.max() + 1e-4
    assert study_logit(values[::-1], spacing) == pytest.approx(found, abs=1e-4)


def test_temperature_and_operating_points():
    scale = Scale(2.0, balanced=0.6, sensitive=0.3)
    assert scale.probability(0) == 0.5
    assert scale.probability(2) == pytest.approx(1 / (1 + np.exp(-1)))
    assert scale.probability(-1e9) >= 0
    assert scale.decide(0.5, "sensitive") == "tumor"
    assert scale.decide(0.5, "balanced") == "no_tumor"


def test_pictures_and_volumes_have_scales_of_their_own():
    calibration = Calibration(picture=Scale(2.0), study=Scale(3.0))
    assert calibration.of(study=False).temperature == 2.0
    assert calibration.of(study=True).temperature == 3.0


def test_cells_are_averaged_over_five_millimeters():
    cells = np.zeros((9, 2, 2), np.float32)
    cells[4, 0, 1] = 10
    thin = averaged_over_depth(cells, 1.0)
    np.testing.assert_allclose(thin[:, 0, 1], [0, 0, 2, 2, 2, 2, 2, 0, 0], atol=1e-6)
    assert not thin[:, 1].any()
    cells[0, 1, 1] = 6  # at the end there are three to average
    np.testing.assert_allclose(averaged_over_depth(cells, 1.0)[:4, 1, 1], [2, 1.5, 1.2, 0])


def test_thick_slices_and_pictures_stay_what_they_are():
    cells = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32)
    for spacing in (None, 5.0, 2.6):
        np.testing.assert_array_equal(averaged_over_depth(cells, spacing), cells)
    np.testing.assert_array_equal(averaged_over_depth(cells[:1], 1.0), cells[:1])
