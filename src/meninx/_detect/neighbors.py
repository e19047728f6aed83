"""Choose the slices above and below a slice, which the network sees as channels.

They distinguish a lesion from a vessel. Neighbors are chosen by distance in mm, not by index, so
that the input is comparable between slice gaps of 1 mm and 5 mm.
"""

import numpy as np
from numpy.typing import NDArray

# Slice below, slice, slice above.
CHANNELS = 3
OWN_CHANNEL = 1
# Distance of the neighbors, mm: the usual gap of the clinical training data.
_NEIGHBOR_MM = 5.0
# Neighbors farther away show another place and are replaced by the slice itself.
_MAX_NEIGHBOR_MM = 12.0


def neighbor_step(gap_mm: float | None) -> int:
    """Return the index distance of the neighbors.

    Args:
        gap_mm: Distance between slices, mm; None if unknown, as for pictures.

    Returns:
        Number of slices, at least 1; 0 if the neighbors are replaced by the slice itself.
    """
    if gap_mm is None or not 0 < gap_mm <= _MAX_NEIGHBOR_MM:
        return 0
    return max(1, round(_NEIGHBOR_MM / gap_mm))


def neighbor_indices(count: int, gap_mm: float | None) -> NDArray[np.intp]:
    """Return the slice below, the slice itself and the slice above, for each slice of a scan.

    Args:
        count: Number of consecutive slices.
        gap_mm: Distance between slices, mm; None if unknown.

    Returns:
        Indices, shape (count, 3). Missing neighbors are replaced by the slice itself.
    """
    own = np.arange(count)
    step = neighbor_step(gap_mm)
    below, above = own - step, own + step
    return np.stack(
        [np.where(below >= 0, below, own), own, np.where(above < count, above, own)], axis=1
    )


def neighbor_indices_at(depths_mm: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the slice below, the slice itself and the slice above, for unequal gaps.

    Args:
        depths_mm: Position of each slice along the normal, mm, ascending, shape (n,).

    Returns:
        Indices, shape (n, 3). Neighbors are the slices whose distance is nearest to 5 mm; the slice
        itself if none lies within `_MAX_NEIGHBOR_MM`.
    """
    own = np.arange(len(depths_mm))
    distances = depths_mm[None, :] - depths_mm[:, None]  # [n, n]: of slice j from slice i
    columns = [own]
    for side, place in ((-1, 0), (1, 2)):
        cost = np.abs(side * distances - _NEIGHBOR_MM)
        cost[(side * distances <= 0) | (side * distances > _MAX_NEIGHBOR_MM)] = np.inf
        nearest = cost.argmin(axis=1)
        columns.insert(place, np.where(np.isfinite(cost.min(axis=1)), nearest, own))
    return np.stack(columns, axis=1)
