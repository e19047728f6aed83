"""Detect projections, such as MIP and MinIP over a sliding slab, by their pixels."""

import numpy as np
from numpy.typing import NDArray

from meninx._detect.label_maps import MAX_SMALL_STEPS, SMALL_STEP
from meninx._scan.intensity import foreground

# A volume is a projection if this share of the head has exactly the value of the next slice:
# neighboring slabs share slices, and so most maxima. 101 real volumes have at most 0.12, 0.34 after
# fourfold interpolation in 8 bits; MIPs over 12 mm have 0.49 to 0.79 (docs/results.md).
MIN_SHARED = 0.40
# Pairs that are equal nearly everywhere are a repeated slice.
_REPEATED = 0.99
PAIRS, MIN_PAIRS = 12, 4
# Slices between these shares of the volume are compared: they show the head.
FIRST, LAST = 0.2, 0.8


def shared_with_next(volume: NDArray[np.float32]) -> float:
    """Return the share of each slice that has exactly the value of the next one.

    Args:
        volume: Slices along the first axis, shape (n, h, w), any unit.

    Returns:
        Lower quartile over pairs of slices, in the head, 0..1, if the volume is a projection; 0 if
        it is below MIN_SHARED, the other voxels change by single levels, or there are too few
        pairs.
    """
    last = len(volume) - 2
    if last < MIN_PAIRS:
        return 0.0
    places = np.unique(np.linspace(FIRST * last, LAST * last, PAIRS).astype(int))
    images = volume[places]
    equal = images == volume[places + 1]
    # Including background gives an upper limit of the share, without finding the head.
    if float(np.percentile(equal.mean(axis=(1, 2)), 75)) < MIN_SHARED:
        return 0.0
    head = foreground(images)
    shared = _lower_quartile(equal, head)
    if shared >= MIN_SHARED:
        # Air may be brighter than a padding below 0; its constant value is excluded too.
        values, counts = np.unique(images[head & equal], return_counts=True)
        head &= ~(equal & (images == values[counts.argmax()]))
        shared = _lower_quartile(equal, head)
    if shared < MIN_SHARED or _is_smooth(images[head], volume[places + 1][head]):
        return 0.0
    return shared


def _lower_quartile(equal: NDArray[np.bool_], head: NDArray[np.bool_]) -> float:
    """Return the lower quartile, over slices, of the share of the head that is equal.

    Args:
        equal: Voxels that have the value of the next slice, shape (n, h, w), boolean.
        head: Voxels that count, shape (n, h, w), boolean.

    Returns:
        Share, 0..1; 0 if fewer than MIN_PAIRS slices count.
    """
    pairs = zip(equal, head, strict=True)
    shares = [float(same[shown].mean()) for same, shown in pairs if shown.any()]
    distinct = [share for share in shares if share < _REPEATED]
    return float(np.percentile(distinct, 25)) if len(distinct) >= MIN_PAIRS else 0.0


def _is_smooth(values: NDArray[np.float32], following: NDArray[np.float32]) -> bool:
    """Return whether most changes are by one or two gray levels, as in smooth or thin slices.

    Args:
        values: Intensities of voxels, shape (n,).
        following: Intensities of the next slice at the same places, shape (n,).

    Returns:
        True also if there is no change.
    """
    levels = np.unique(np.concatenate([values, following]))
    step = np.abs(np.searchsorted(levels, values) - np.searchsorted(levels, following))
    changes = step[step > 0]
    return bool((changes <= SMALL_STEP).mean() > MAX_SMALL_STEPS) if changes.size else True
