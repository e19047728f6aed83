import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meninx.detect.calibration import Calibration, slice_logits, study_logit


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
    calibration = Calibration(2.0, operating_point=0.3, study_operating_point=0.9)
    assert calibration.probability(0) == 0.5
    assert calibration.probability(2) == pytest.approx(1 / (1 + np.exp(-1)))
    assert calibration.probability(-1e9) >= 0
    assert calibration.decide(0.5, study=False) == "tumor"
    assert calibration.decide(0.5, study=True) == "no_tumor"
