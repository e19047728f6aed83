"""Which places of a tumor can be seen in T1 and T1c, by their contrast against the mirrored side.

Masks of low-grade gliomas were drawn in FLAIR. In T1 much of such a place looks like the healthy
tissue of the other side, and teaches nothing but its position. Legend: n slices, s side of the
canvas.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from meninx._learn.input.dataset import MASKED, SliceDataset

# Sequences in which what FLAIR shows may not be seen.
SEQUENCES = ("T1", "T1c")
# Coverage, 0..255, of places of a tumor that can't be seen: more than a tumor-free cell has and
# less than a tumor cell, so that such cells do not count (`losses.cell_targets`).
UNSEEN = 64
# Rotations of the midline against the canvas that are tried, degrees, and its largest shift, as a
# share of the canvas.
_TILTS = (-9.0, -6.0, -3.0, 0.0, 3.0, 6.0, 9.0)
_LARGEST_SHIFT = 0.12
# Standard deviation of the smoothing before sides are compared, as a share of the canvas: about
# half a cell.
_SMOOTHING = 0.02
# Spread of a normal distribution by its median absolute deviation.
_SPREAD_OF_DEVIATION = 1.4826


def with_visible_masks(slices: SliceDataset, smallest_contrast: float) -> SliceDataset:
    """Return slices whose masks in T1 and T1c count where the tumor can be seen.

    Args:
        slices: Training slices.
        smallest_contrast: Smallest difference from the mirrored side that can be seen, in standard
            deviations of this difference in the rest of the head; 0 to leave all masks as they are.

    Returns:
        The slices. Places of a mask that can't be seen have the coverage `UNSEEN`; a slice without
        any that can does not count as a whole picture either.
    """
    if not smallest_contrast:
        return slices
    mask, facts = slices.mask.clone(), list(slices.facts)
    for index, fact in enumerate(facts):
        if fact.kind != MASKED or fact.sequence not in SEQUENCES:
            continue
        own = mask[index].numpy()
        contrast = mirrored_contrast(slices.image[index].numpy(), own, slices.depth[index].numpy())
        own[(own > UNSEEN) & (contrast < smallest_contrast)] = UNSEEN
        if own.max() <= UNSEEN:
            facts[index] = replace(fact, fair=False)
    return SliceDataset.of_planes(slices.image, mask, slices.depth, facts)


def mirrored_contrast(
    image: NDArray[np.uint8], mask: NDArray[np.uint8], depth: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """Return how much each place differs from the mirrored one.

    Args:
        image: Intensities 0..255, shape (s, s), of a head whose midline is nearly vertical.
        mask: Tumor coverage 0..255, shape (s, s).
        depth: Depth in the head 0..255, shape (s, s).

    Returns:
        Absolute difference from the place on the other side of the midline, in robust standard
        deviations of the differences in the rest of the brain, shape (s, s). Where the mirrored
        place is tumor too, or outside the head, nothing is known: there it is infinite.
    """
    side = image.shape[0]
    # At half the resolution, which takes a quarter of the time.
    smooth = ndimage.gaussian_filter(image[::2, ::2].astype(np.float64), _SMOOTHING * side / 2)
    tumor, depth = mask[::2, ::2] > UNSEEN, depth[::2, ::2]
    head = depth > 0
    # By the hull of the head: a tumor may be brighter than all else.
    tilt, shift = _midline(head[::2, ::2].astype(np.float64))
    difference = smooth - _mirrored(smooth, tilt, 2 * shift)
    unknown = _mirrored(tumor.astype(np.float64), tilt, 2 * shift) > 0.25
    unknown |= _mirrored(head.astype(np.float64), tilt, 2 * shift) < 0.5
    # Deep in the head: the two sides of skull and scalp differ by more.
    inside = depth > np.median(depth[head]) if head.any() else head
    rest = difference[inside & ~tumor & ~unknown]
    if rest.size < side:
        return np.full(image.shape, np.inf)
    middle = float(np.median(rest))
    spread = _SPREAD_OF_DEVIATION * float(np.median(np.abs(rest - middle)))
    contrast = np.where(unknown, np.inf, np.abs(difference - middle) / max(spread, 1.0))
    return contrast.repeat(2, axis=0).repeat(2, axis=1)[:side, :side]


def _midline(head: NDArray[np.float64]) -> tuple[float, float]:
    """Return tilt, degrees, and shift, pixels, of the line about which a head is most symmetric."""
    reach = round(_LARGEST_SHIFT * len(head))
    best = (-np.inf, 0.0, 0.0)
    for tilt in _TILTS:
        upright = ndimage.rotate(head, tilt, reshape=False, order=1)
        flipped = upright[:, ::-1]
        for shift in range(-reach, reach + 1):
            overlap = float((upright * np.roll(flipped, shift, axis=1)).sum())
            best = max(best, (overlap, tilt, float(shift)))
    return best[1], best[2]


def _mirrored(plane: NDArray[np.float64], tilt: float, shift: float) -> NDArray[np.float64]:
    """Return a plane mirrored about a midline, by its tilt and the shift of its mirror image."""
    upright = ndimage.rotate(plane, tilt, reshape=False, order=1)
    flipped = np.roll(upright[:, ::-1], round(shift), axis=1)
    return np.asarray(ndimage.rotate(flipped, -tilt, reshape=False, order=1))
