"""Measure the robust intensity range of images, which separates air from tissue."""

import numpy as np
from numpy.typing import NDArray

from meninx._scan.order_statistics import Ordered, ordered

Float32Array = NDArray[np.float32]

# Pixels below this share of the robust intensity range are air. Skull and fat are far above it, the
# noise of modern magnitude images far below.
FOREGROUND_LEVEL = 0.08
# Robust ends of the intensity range, not determined by single vessels or dead pixels.
LOW_PERCENTILE, HIGH_PERCENTILE = 0.5, 99.5
# Percentiles of this many evenly spread values deviate by less than 0.001 of the range.
_ENOUGH_VALUES = 2**16


def intensity_range(image: Float32Array) -> tuple[float, float]:
    """Return the robust intensity range of an image or a volume.

    The lower end is a percentile of all values (air, or the constant background after brain
    extraction). The upper end is a percentile of the values above air, so that the range does not
    depend on the field of view.

    Args:
        image: Intensities, any shape and unit.

    Returns:
        Low and high; equal if the image is constant.
    """
    values = _thinned(image).ravel()
    last = len(values) - 1
    low_place, high_place = LOW_PERCENTILE / 100 * last, HIGH_PERCENTILE / 100 * last
    ranks = {min(int(place) + step, last) for place in (low_place, high_place) for step in (0, 1)}
    in_order = ordered(values, sorted(ranks))
    low, high = _between(in_order, low_place, last), _between(in_order, high_place, last)
    above_air = in_order.count_above(air_level(low, high))
    if above_air:
        # This percentile of the values above air is at least that of all values.
        place = len(values) - above_air + HIGH_PERCENTILE / 100 * (above_air - 1)
        high = _between(in_order, place, last)
    return low, high


def _between(in_order: Ordered, place: float, last: int) -> float:
    """Return the interpolated value at a fractional rank, as `numpy.percentile` does."""
    below = int(place)
    low, high = in_order.at(below), in_order.at(min(below + 1, last))
    return low + (high - low) * (place - below)


def _thinned(image: Float32Array) -> Float32Array:
    """Return evenly spread rows and columns of a large image or volume, for percentiles."""
    step = max(1, int((image.size / _ENOUGH_VALUES) ** 0.5))
    return image[..., ::step, ::step] if image.ndim >= 2 else image


def air_level(low: float, high: float) -> float:
    """Return the intensity up to which pixels are air, from the robust intensity range."""
    return low + FOREGROUND_LEVEL * (high - low)


def foreground(
    image: Float32Array, known_range: tuple[float, float] | None = None
) -> NDArray[np.bool_]:
    """Return which pixels or voxels are not air.

    Args:
        image: Intensities, any shape and unit.
        known_range: Robust intensity range of the image; None to compute it.

    Returns:
        The image's shape; all false if it is constant.
    """
    low, high = known_range or intensity_range(image)
    if not high > low:
        return np.zeros(image.shape, dtype=bool)
    return image > air_level(low, high)
