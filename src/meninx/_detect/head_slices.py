"""Choose the slices of a scan that show enough of the head to be scored."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from meninx._detect.preprocessing import sampled
from meninx._scan.intensity import air_level, intensity_range
from meninx._scan.scan import Scan, Slice
from meninx._scan.warning import ScanWarning

# Slices with less foreground than this share of the maximum show the crown or the neck.
_MIN_HEAD_SHARE = 0.25
# Slices that cover less than this are not a whole head, mm. Without crown and neck, the smallest of
# 65 whole tumor-free heads covers 94 mm, slabs up to 58 mm.
_MIN_COVERED_MM = 80.0


def brain_slices(scan: Scan) -> list[Slice]:
    """Return the slices of a scan that show enough of the head to be scored.

    Args:
        scan: A volume or a picture.

    Returns:
        Neighboring slices, at least one, in the reader's order: axial ones from the feet to the
        head, in any storage order.
    """
    if len(scan) == 1:
        return [scan.slice(0)]
    shown = _brain_range(scan.view.stack(scan.voxels))
    indices = range(len(scan))[::-1] if scan.view.descending else range(len(scan))
    return [scan.slice(index) for index in indices[shown]]


def _brain_range(volume: NDArray[np.float32]) -> slice:
    """Return the range of slices that show enough of the head to be scored.

    Args:
        volume: Slices along the first axis, shape (n, ...).

    Returns:
        Neighboring slices, at least one.
    """
    areas = _head_areas(volume)
    shown = np.flatnonzero(areas >= _MIN_HEAD_SHARE * areas.max())
    return slice(int(shown[0]), int(shown[-1]) + 1)


def brain_areas(scan: Scan) -> NDArray[np.intp]:
    """Return how many pixels of each slice are brighter than air.

    The level of air is computed from the whole scan: relative to its own intensities, a slice of
    noise alone would be bright nearly everywhere.

    Args:
        scan: A volume or a picture.

    Returns:
        Number of pixels of each slice, by index, shape (n,).
    """
    areas = _head_areas(scan.view.stack(scan.voxels))
    return areas[::-1] if scan.view.descending else areas


def _head_areas(volume: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return how many pixels of each slice are brighter than air; slices have shape (n, ...)."""
    low, high = intensity_range(sampled(volume))
    level = air_level(low, high)
    return np.array([np.count_nonzero(image > level) for image in volume])


def part_of_head(scan: Scan, slices: Sequence[Slice]) -> tuple[ScanWarning, ...]:
    """Return a warning if the scored slices cover only a part of the head, as a single one does."""
    depths = scan.depths_mm
    if depths is None or scan.slice_gap_mm is None:
        return ()
    covered = abs(depths[slices[-1].index] - depths[slices[0].index]) + scan.slice_gap_mm
    if covered >= _MIN_COVERED_MM:
        return ()
    much = "a part" if scan.geometry_estimated else f"{covered:.0f} mm"
    text = f"the slices cover {much} of the head; what lies beyond them was not looked at"
    return (ScanWarning("part_of_head", text),)
