"""Tell label maps, such as parcellations and atlases, from scans: by their pixels, not by names."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meninx._scan.background import foreground

# Share of neighboring pixels with the same value from which an image is a label map: of atlases of
# 1 and 2 mm 0.53 to 0.90, of volumes of scans 0.23 at most (docs/results.md).
MIN_EQUAL = 0.5
# Share of changes between neighbors that are a step of one or two levels, up to which an image is a
# label map: dark, smooth or coarsely quantized slices change by single steps.
MAX_SMALL_STEPS = 0.45
SMALL_STEP = 2


@dataclass(frozen=True)
class Neighbors:
    """Comparison of neighboring pixels, of which at least one is brighter than air.

    Args:
        equal: Share of pairs with the same value, the smaller of both directions, 0..1.
        small_steps: Share of the other pairs that differ by one or two of the image's levels, 0..1.
    """

    equal: float
    small_steps: float

    @property
    def is_label_map(self) -> bool:
        """Whether values stay the same over areas, and jump between them."""
        return self.equal >= MIN_EQUAL and self.small_steps <= MAX_SMALL_STEPS


def is_label_map(images: NDArray[np.float32]) -> bool:
    """Return whether images are a label map.

    Args:
        images: Slices of one scan, shape (n, h, w), any unit.

    Returns:
        True where at least half of all neighbors are equal and the others jump.
    """
    # Background alone makes more pairs equal; where few are, a sort of all values is spared.
    if float((images[:, 1:] == images[:, :-1]).mean()) < MIN_EQUAL:
        return False
    return compared_neighbors(images).is_label_map


def compared_neighbors(images: NDArray[np.float32]) -> Neighbors:
    """Compare neighboring pixels.

    Air and the commonest value, that of a constant background, do not count. Rows and columns that
    repeat their neighbors, as enlarging without interpolation makes them, count once.

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
