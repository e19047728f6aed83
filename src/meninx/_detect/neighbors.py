"""The slices above and below: what a reader scrolls through to tell a lesion from a vessel.

The network sees a slice and two of its neighbors as three channels. They are chosen by their
distance in mm, not by their index: slices of 1 mm and of 5 mm then look alike.
"""

import numpy as np
from numpy.typing import NDArray

# Slice below, slice, slice above.
CHANNELS = 3
OWN_CHANNEL = 1
# Distance of the neighbors that are shown, mm: that of the clinical slices that the network learned
# from.
NEIGHBOR_MM = 5.0
# Neighbors farther away show another place: the slice stands in for them.
MAX_NEIGHBOR_MM = 12.0


def neighbor_step(gap_mm: float | None) -> int:
    """Return how many slices away the neighbors lie.

    Args:
        gap_mm: Distance between slices; None where it is not known, as of pictures.

    Returns:
        Number of slices, at least 1; 0 where a slice stands in for its neighbors.
    """
    if gap_mm is None or not 0 < gap_mm <= MAX_NEIGHBOR_MM:
        return 0
    return max(1, round(NEIGHBOR_MM / gap_mm))


def neighbor_indices(count: int, gap_mm: float | None) -> NDArray[np.intp]:
    """Return the slice below, the slice itself and the slice above, for each slice of a scan.

    Args:
        count: Number of slices, which lie side by side in order.
        gap_mm: Distance between slices, mm; None where it is not known.

    Returns:
        Indices, shape (count, 3). At the ends a slice stands in for the neighbor that is missing.
    """
    own = np.arange(count)
    step = neighbor_step(gap_mm)
    below, above = own - step, own + step
    return np.stack(
        [np.where(below >= 0, below, own), own, np.where(above < count, above, own)], axis=1
    )


def neighbor_indices_at(depths_mm: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the slice below, the slice itself and the slice above, where gaps are unequal.

    Args:
        depths_mm: Position of each slice along the normal, mm, ascending, shape (n,).

    Returns:
        Indices, shape (n, 3). Below and above, the slice whose distance is nearest to 5 mm; the
        slice itself where none lies within `MAX_NEIGHBOR_MM`.
    """
    own = np.arange(len(depths_mm))
    away = depths_mm[None, :] - depths_mm[:, None]  # [n, n]: of slice j from slice i
    columns = [own]
    for side, place in ((-1, 0), (1, 2)):
        cost = np.abs(side * away - NEIGHBOR_MM)
        cost[(side * away <= 0) | (side * away > MAX_NEIGHBOR_MM)] = np.inf
        nearest = cost.argmin(axis=1)
        columns.insert(place, np.where(np.isfinite(cost.min(axis=1)), nearest, own))
    return np.stack(columns, axis=1)
