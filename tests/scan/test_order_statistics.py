import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meninx._scan.intensity import intensity_range
from meninx._scan.order_statistics import (
    _Counted,
    _Partitioned,
    count_distinct,
    median,
    ordered,
)


@given(st.lists(st.integers(-40, 400), min_size=1, max_size=60), st.floats(-50, 450))
def test_counting_and_partial_sorting_agree(whole, level):
    values = np.array(whole, np.float32)
    counted = ordered(values, [0])
    partitioned = _Partitioned(values, [0])
    assert isinstance(counted, _Counted)
    assert [counted.at(rank) for rank in range(len(whole))] == sorted(whole)
    assert [partitioned.at(rank) for rank in range(len(whole))] == sorted(whole)
    assert counted.count_above(level) == partitioned.count_above(level)


@pytest.mark.parametrize(
    "values",
    [
        (0.5, 1.5, 3.0),
        (1.0, 2.0, 2.5),
        (0.0, 70_000.0),
        (2.0**25, 2.0**25 + 4),
        (-(2.0**99), 2.0**99),
    ],
)
def test_values_that_are_not_whole_or_span_too_much_are_sorted(values):
    found = ordered(np.array(values, np.float32), [1])
    assert isinstance(found, _Partitioned)
    assert found.at(1) == values[1]


def test_the_range_of_stored_values_is_that_of_any_other_unit():
    stored = np.random.default_rng(3).integers(0, 4096, (150, 170)).astype(np.float32)
    low, high = intensity_range(stored)
    # Values that are not whole are sorted instead of counted.
    assert intensity_range(stored / 4) == pytest.approx((low / 4, high / 4), rel=1e-6)


@given(st.lists(st.floats(-(2.0**40), 2.0**40, width=32), min_size=1, max_size=40))
def test_median_and_number_of_values_are_those_of_numpy(numbers):
    values = np.array(numbers, np.float32)
    assert median(values) == float(np.median(values))
    assert count_distinct(values) == len(np.unique(values))


def test_the_median_with_a_value_that_is_no_number_is_none():
    assert np.isnan(median(np.array([1.0, np.nan, 2.0, 3.0], np.float32)))
