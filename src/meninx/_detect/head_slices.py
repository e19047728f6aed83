"""Choose the slices of a scan that show enough of the head to be scored."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from meninx._detect.preprocessing import sampled
from meninx._detect.recognition import is_oriented
from meninx._scan.intensity import Float32Array, air_level, intensity_range
from meninx._scan.scan import Scan, Slice
from meninx._scan.warning import ScanWarning

# Slices with less foreground than this share of the maximum show the crown or the neck.
_MIN_HEAD_SHARE = 0.25
# Slices that cover less than this are not a whole head, mm. Without crown and neck, the smallest of
# 65 whole tumor-free heads covers 94 mm, slabs up to 58 mm.
_MIN_COVERED_MM = 80.0
# Sides of the patient towards smaller and larger LPS coordinates; the third axis has none.
_SIDES = (("on the right", "on the left"), ("in front", "behind"))
_FEET_TO_HEAD = 2
# A volume ends within the head if its outermost section shows this share of the largest one. Within
# slices, 331 real heads show at most 0.17. Thick slices often begin within the head; of a sagittal
# series that lacks a part of the right half, the last one shows 0.84.
_CUT_IN_PLANE, _CUT_ACROSS = 0.3, 0.6
_PART_OF_HEAD = "part_of_head"
# Noise fills the corners of a section; a head does not fill all four. Side of a corner, as a share.
_NOISE_SHARE, _CORNER = 0.2, 8
# Step between rows and columns of the compared sections.
_THINNED = 2


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
    """Return a warning if a scan shows a part of the head only.

    Args:
        scan: A volume or a picture.
        slices: Its scored slices, in the reader's order.

    Returns:
        The warning, unless the scan has it already, if the slices cover little of the head, as a
        single one does, or if the volume ends within the head on the left or right, in front or
        behind.
    """
    depths, codes = scan.depths_mm, {warning.code for warning in scan.warnings}
    if depths is None or scan.slice_gap_mm is None or _PART_OF_HEAD in codes:
        return ()
    covered = abs(depths[slices[-1].index] - depths[slices[0].index]) + scan.slice_gap_mm
    if covered < _MIN_COVERED_MM:
        much = "a part" if scan.geometry_estimated else f"{covered:.0f} mm"
        text = f"the slices cover {much} of the head; what lies beyond them was not looked at"
        return (ScanWarning(_PART_OF_HEAD, text),)
    cut = cut_sides(scan)
    if not cut:
        return ()
    text = (
        f"the head reaches beyond the scan {' and '.join(cut)}; what lies there was not looked at"
    )
    return (ScanWarning(_PART_OF_HEAD, text),)


def cut_sides(scan: Scan) -> list[str]:
    """Return at which sides a volume ends within the head, crown and neck excepted.

    Axial slices often begin below the brain and end before the crown. Blank slices at an end are no
    part of the scan: some tools enlarge volumes by them.

    Args:
        scan: Volume with geometry.

    Returns:
        The sides in words. Without a known orientation, one side may be the neck, and none has a
        name.
    """
    level = air_level(*intensity_range(scan.voxels))
    shares = [_end_shares(np.moveaxis(scan.voxels, axis, 0), level) for axis in range(3)]
    if not is_oriented(scan):
        ending = [max(ends) >= _CUT_ACROSS for ends in shares]
        return ["at a side"] * (sum(ending) > 1)
    affine = np.asarray(scan.affine)
    found = []
    for axis, ends in enumerate(shares):
        towards = int(np.argmax(np.abs(affine[:3, axis])))
        if towards == _FEET_TO_HEAD:
            continue
        limit = _CUT_ACROSS if axis == scan.view.slice_axis else _CUT_IN_PLANE
        names = _SIDES[towards][:: 1 if affine[towards, axis] > 0 else -1]
        found += [name for name, share in zip(names, ends, strict=True) if share >= limit]
    return found


def _end_shares(sections: Float32Array, level: float) -> tuple[float, float]:
    """Return the head area in the first and last section that is not blank.

    Args:
        sections: Intensities, shape (n, h, w).
        level: Intensity up to which pixels are air.

    Returns:
        Both areas as shares of the largest; 0 for noise.
    """
    sections = sections[:, ::_THINNED, ::_THINNED]
    bright = sections > level
    areas = np.count_nonzero(bright, axis=(1, 2))
    if not areas.any():
        return 0.0, 0.0
    shares = []
    for places in (range(len(sections)), reversed(range(len(sections)))):
        end = next(place for place in places if np.ptp(sections[place]))
        shares.append(0.0 if _is_noise(bright[end]) else float(areas[end] / areas.max()))
    return shares[0], shares[1]


def _is_noise(bright: NDArray[np.bool_]) -> bool:
    """Return whether the bright pixels of a section, shape (h, w), fill all four corners too."""
    high, wide = (max(1, side // _CORNER) for side in bright.shape)
    corners = (
        bright[rows, columns].mean()
        for rows in (slice(high), slice(-high, None))
        for columns in (slice(wide), slice(-wide, None))
    )
    return bool(min(corners) >= _NOISE_SHARE)
