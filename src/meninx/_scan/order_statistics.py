"""Look up values of an array by rank: by counting for whole numbers, else by partial sorting."""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

# Whole numbers that span more are sorted: pictures and scanners store up to 16 bits.
_MAX_COUNTED = 2**16
# Larger whole numbers are not exact in 32 bits.
_LARGEST_EXACT = 2**24


class Ordered(Protocol):
    """The n values of an array in ascending order."""

    def at(self, rank: int) -> float:
        """Return the value of a rank, 0..n-1."""

    def count_above(self, level: float) -> int:
        """Return how many values are above a level."""


def ordered(values: NDArray[np.float32], ranks: Sequence[int]) -> Ordered:
    """Return the values of an array in order.

    Args:
        values: Finite values, shape (n,), n > 0.
        ranks: Ranks, 0..n-1, ascending, that will be asked for first; the last of them and all
            above may be asked for.

    Returns:
        The ordered values. Counting takes a fifth of the time of partial sorting.
    """
    lowest, highest = float(values.min()), float(values.max())
    exact = abs(lowest) < _LARGEST_EXACT and lowest.is_integer()
    if exact and highest - lowest < _MAX_COUNTED:
        steps = values - np.float32(lowest)
        whole = steps.astype(np.uint16)
        if np.array_equal(whole, steps):
            return _Counted(whole, lowest)
    return _Partitioned(values, ranks)


def median(values: NDArray[np.floating]) -> float:
    """Return the median, as `numpy.median` does, which imports masked arrays for it in 15 ms.

    Args:
        values: Numbers, shape (n,), n > 0.

    Returns:
        Mean of the middle one or two; NaN if a value is NaN.
    """
    middle = len(values) // 2
    first = middle if len(values) % 2 else middle - 1
    in_order = np.partition(values, sorted({first, middle, len(values) - 1}))
    if np.isnan(in_order[-1]):
        return math.nan
    return float(in_order[first : middle + 1].mean())


def count_distinct(values: NDArray[np.floating]) -> int:
    """Return the number of distinct values; `numpy.unique` imports masked arrays, as `median`.

    Args:
        values: Finite numbers, any shape, at least one.

    Returns:
        Number of distinct values, at least 1.
    """
    in_order = np.sort(values, axis=None)
    return 1 + int(np.count_nonzero(in_order[1:] != in_order[:-1]))


class _Counted:
    """Whole numbers in order.

    Args:
        steps: Distance of each value above the lowest, shape (n,).
        lowest: The lowest value.
    """

    def __init__(self, steps: NDArray[np.uint16], lowest: float) -> None:
        self._lowest = lowest
        self._up_to = np.cumsum(np.bincount(steps))

    def at(self, rank: int) -> float:
        return self._lowest + int(np.searchsorted(self._up_to, rank, side="right"))

    def count_above(self, level: float) -> int:
        levels = np.arange(len(self._up_to), dtype=np.float32) + np.float32(self._lowest)
        below = int(np.count_nonzero(levels <= level))
        return int(self._up_to[-1] - (self._up_to[below - 1] if below else 0))


class _Partitioned:
    """Any values, ordered at some ranks only."""

    def __init__(self, values: NDArray[np.float32], ranks: Sequence[int]) -> None:
        self._values = np.partition(values, ranks)
        self._first_sorted = ranks[-1]
        self._sorted: NDArray[np.float32] | None = None

    def at(self, rank: int) -> float:
        if rank <= self._first_sorted:
            return float(self._values[rank])
        if self._sorted is None:
            self._sorted = np.sort(self._values[self._first_sorted :])
        return float(self._sorted[rank - self._first_sorted])

    def count_above(self, level: float) -> int:
        return int(np.count_nonzero(self._values > level))
