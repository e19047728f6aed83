"""Detect label maps, such as parcellations and atlases, by their pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meninx._scan.intensity import foreground

# An image is a label map from this share of equal neighboring pixels on: atlases of 1 and 2 mm have
# 0.53 to 0.90, scans at most 0.23 (docs/results.md).
_MIN_EQUAL = 0.5
# An image is a label map up to this share of changes by one or two levels: dark, smooth or coarsely
# quantized slices change by single levels.
MAX_SMALL_STEPS = 0.45
SMALL_STEP = 2


@dataclass(frozen=True)
class Neighbors:
    """Comparison of neighboring pixels, at least one of each pair brighter than air.

    Args:
        equal: Share of equal pairs, the smaller of both directions, 0..1.
        small_steps: Share of the other pairs that differ by one or two levels, 0..1.
    """

    equal: float
    small_steps: float

    @property
    def is_label_map(self) -> bool:
        """Whether values are constant over areas and jump between them."""
        return self.equal >= _MIN_EQUAL and self.small_steps <= MAX_SMALL_STEPS


def is_label_map(images: NDArray[np.float32]) -> bool:
    """Return whether images are a label map.

    Args:
        images: Slices of one scan, shape (n, h, w), any unit.

    Returns:
        True if at least half of all neighbors are equal and the others jump.
    """
    # Including background gives an upper limit of the share, without sorting all values.
    equal = images[:, 1:] == images[:, :-1]
    if np.count_nonzero(equal) < _MIN_EQUAL * equal.size:
        return False
    return compared_neighbors(images).is_label_map


def compared_neighbors(images: NDArray[np.float32]) -> Neighbors:
    """Compare neighboring pixels.

    Air and the most frequent value, that of a constant background, are ignored. Rows and columns
    that repeat their neighbors, as after enlarging without interpolation, count once.

    Args:
        images: Slices of one scan, shape (n, h, w), any unit.

    Returns:
        The comparison.
    """
    images = _without_repeats(_without_repeats(images, 1), 2)
    _, ranks, counts = np.unique(images, return_inverse=True, return_counts=True)
    ranks = ranks.reshape(images.shape)
    head = foreground(images) & (ranks != counts.argmax())
    equal, steps = [], []
    for axis in (1, 2):
        along, shown = np.moveaxis(ranks, axis, 0), np.moveaxis(head, axis, 0)
        step = np.abs(np.diff(along, axis=0))[shown[1:] | shown[:-1]]
        equal.append(float((step == 0).mean()) if step.size else 0.0)
        steps.append(step[step > 0])
    changes = np.concatenate(steps)
    small = float((changes <= SMALL_STEP).mean()) if changes.size else 1.0
    return Neighbors(min(equal), small)


def _without_repeats(images: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Return images without the rows (axis 1) or columns (axis 2) that repeat the one before."""
    along = np.moveaxis(images, axis, 0)
    is_new = (along[1:] != along[:-1]).any(axis=(1, 2))
    return np.moveaxis(along[np.concatenate([[True], is_new])], 0, axis)
