"""Separate air and padding from the head.

Air is dark in magnitude images. In signed images, such as phase-sensitive inversion recovery, it is
gray and CSF is darker. Some tools write NaN for unmeasured voxels.
"""

from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from meninx._errors import UnreadableFile
from meninx._scan.completeness import Incomplete
from meninx._scan.intensity import (
    FOREGROUND_LEVEL,
    Float32Array,
    air_level,
    foreground,
    intensity_range,
)
from meninx._scan.order_statistics import count_distinct, median
from meninx._scan.scan import Scan
from meninx._scan.warning import ScanWarning

Value = TypeVar("Value", bound=np.generic)
Mask = NDArray[np.bool_]

# Width of the frame of a slice in which air is searched, pixels.
FRAME = 2
# Air is gray between these shares of the robust intensity range. Above are inverted pictures and
# white paper, which are not changed.
_GRAY_AIR = (FOREGROUND_LEVEL, 0.75)
# Largest median absolute deviation of air, as a share of the range. Tissue in the frame of a
# cropped slice varies more.
_EVEN_AIR = 0.04
# Tolerance around the level of air: standard deviations of noise, and a share of the range, for
# compression artifacts.
AIR_DEVIATIONS, AIR_TOLERANCE = 4.0, 0.02
# Ratio of standard deviation and median absolute deviation of a normal distribution.
_SIGMA_OF_MAD = 1.4826
# Number of slices in which air is searched.
_ENOUGH_SLICES = 16
# Masks have fewer distinct values, counted on at most this many voxels along each axis.
MIN_VALUES, SAMPLED_SIDE = 16, 64
# Step between rows and columns in the first test for blank slices.
_THINNED = 8
# Slices with this share of the largest head area lie inside the head.
_FULL_SHARE = 0.25
# A head does not end at a slice with this share of the largest area: 0.17 at most beside the blank
# slices of 53 real volumes, along any axis.
_ABRUPT_SHARE = 0.6
# A head is cut off between a slice of at least the second share and one of less than the first.
_EMPTY_SHARE, _CUT_SHARE = 0.05, 0.4
# Number of equal slices in a row from which all but one were lost.
_REPEATED = 4
# Share of the frame that must be measured to estimate the level of air.
_ENOUGH_MEASURED = 0.2
# Percentile of the head's values to which gray air is set.
_DARKEST_PERCENTILE = 0.5


def without_padding(voxels: Float32Array, slice_axis: int) -> Float32Array:
    """Set unmeasured voxels to the level of air.

    Args:
        voxels: Intensities, axes [i, j, k]; NaN or infinite if unmeasured.
        slice_axis: Voxel axis along which slices follow each other.

    Returns:
        The same array if all voxels are finite; else a copy with only finite values.

    Raises:
        UnreadableFile: If voxels inside the head are not finite.
    """
    # Extremes of NaN are NaN: they need no mask of all voxels.
    if not voxels.size or (np.isfinite(voxels.min()) and np.isfinite(voxels.max())):
        return voxels
    missing = ~np.isfinite(voxels)
    if missing.all():
        raise UnreadableFile("no voxel is a finite number; export it again", reason="not_finite")
    slices = np.moveaxis(voxels, slice_axis, 0)
    at_frame = np.concatenate([side.ravel() for side in _frame(slices)])
    measured = at_frame[np.isfinite(at_frame)]
    enough = measured.size >= _ENOUGH_MEASURED * at_frame.size
    level = median(measured) if enough else voxels[~missing].min()
    filled = np.where(missing, np.float32(level), voxels)
    unmeasured = np.moveaxis(missing, slice_axis, 0)
    outside = reached_from_frame(unmeasured | ~np.moveaxis(foreground(filled), slice_axis, 0))
    inside = int(np.count_nonzero(unmeasured & ~outside))
    if inside:
        raise UnreadableFile(
            f"{inside} inside the head: voxels that are not finite numbers (NaN, infinity or "
            "padding), expected none: their values are lost; export it again",
            reason="not_finite",
        )
    return filled


def with_blank_slices_counted(scan: Scan) -> Scan:
    """Mark a volume as incomplete if slices were lost: blank in the head, or copies of another.

    Args:
        scan: A volume; blank slices before and after the head are background, unless a full slice
            is beside them at one end.

    Returns:
        The same scan if no slice was lost; else an incomplete one.
    """
    return _with_blank_counted(_with_repeated_counted(scan))


def _with_repeated_counted(scan: Scan) -> Scan:
    """Count the slices that repeat the one before them, unless the whole volume was so enlarged."""
    slices = np.moveaxis(scan.voxels, scan.view.slice_axis, 0)
    thinned = slices[:, ::_THINNED, ::_THINNED]
    same = (thinned[1:] == thinned[:-1]).all(axis=(1, 2)) & (np.ptp(thinned, axis=(1, 2))[1:] > 0)
    same[same] = [
        np.array_equal(slices[index], slices[index + 1]) for index in np.flatnonzero(same)
    ]
    runs = np.diff(np.flatnonzero(np.concatenate(([True], ~same, [True]))))
    lost = runs[(runs >= _REPEATED) & (runs > 2 * np.median(runs))] - 1
    if not lost.size or is_mask(scan.voxels):
        return scan
    count = Incomplete("slices (others repeat one)", len(slices), len(slices) - int(lost.sum()))
    return replace(scan, incomplete=(*scan.incomplete, count))


def _with_blank_counted(scan: Scan) -> Scan:
    """Count the blank slices inside the head or beside a full slice."""
    slices = np.moveaxis(scan.voxels, scan.view.slice_axis, 0)
    thinned = slices[:, ::_THINNED, ::_THINNED]
    blank = thinned.max(axis=(1, 2)) == thinned.min(axis=(1, 2))
    blank[blank] = [np.ptp(image) == 0 for image in slices[blank]]
    # Masks are blank between two lesions.
    if not blank.any() or is_mask(scan.voxels):
        return scan
    low, high = intensity_range(slices)
    areas = np.count_nonzero(slices > air_level(low, high), axis=(1, 2))
    head = np.flatnonzero(areas >= _FULL_SHARE * areas.max())
    lost = int(blank[head[0] : head[-1]].sum())
    lost += _blank_at_one_end(blank, areas / areas.max(), int(head[0]), int(head[-1]))
    if not lost:
        return scan
    count = Incomplete("slices (others are blank)", len(slices), len(slices) - lost)
    return replace(scan, incomplete=(*scan.incomplete, count))


def _blank_at_one_end(blank: Mask, shares: NDArray[np.float64], first: int, last: int) -> int:
    """Return the number of blank slices beyond the only end at which the head is cut off.

    Args:
        blank: Whether each slice is blank, shape (n,).
        shares: Head area of each slice as a share of the largest, shape (n,).
        first: First slice inside the head.
        last: Last slice inside the head.

    Returns:
        Their number; 0 if no end is cut off, or both: a tool then enlarged the volume of a slab.
    """
    before, after = slice(first - 1, None, -1) if first else slice(0), slice(last + 1, None)
    ends = ((before, first), (after, last))
    cut = [
        beyond
        for beyond, end in ends
        if (shares[beyond][:1] < _EMPTY_SHARE).any() and shares[end] >= _CUT_SHARE
    ]
    if len(cut) != 1 or not blank[cut[0]][:1].any():
        return 0
    end = first if cut[0] == before else last
    return int(blank[cut[0]].sum()) if shares[end] >= _ABRUPT_SHARE else 0


def is_mask(voxels: Float32Array) -> bool:
    """Return whether a volume has as few distinct values as a mask."""
    steps = tuple(slice(None, None, max(1, side // SAMPLED_SIDE)) for side in voxels.shape)
    return count_distinct(voxels[steps]) < MIN_VALUES


def with_dark_air(scan: Scan) -> Scan:
    """Set gray air to the level of the darkest tissue, with a warning.

    The level of air is measured in the frame of the slices. Only voxels connected to the frame are
    air, so tissue of the same gray is unchanged.

    Args:
        scan: A volume or a picture.

    Returns:
        The same scan if its air is dark, white, or not in the frame.
    """
    axis = scan.view.slice_axis
    slices = np.moveaxis(scan.voxels, axis, 0)
    sample = slices[:: max(1, len(slices) // _ENOUGH_SLICES)]
    low, high = intensity_range(sample) if scan.is_volume else scan.slice(0).intensity_range
    at_frame = np.concatenate([side.ravel() for side in _frame(sample)])
    air = median(at_frame)
    span = high - low
    darkest, brightest = low + _GRAY_AIR[0] * span, low + _GRAY_AIR[1] * span
    if not darkest < air < brightest:
        return scan
    deviation = median(np.abs(at_frame - air))
    if deviation > _EVEN_AIR * span:
        return scan
    # A constant background has no noise: all other values are the head.
    tolerance = deviation and max(AIR_DEVIATIONS * _SIGMA_OF_MAD * deviation, AIR_TOLERANCE * span)
    outside = reached_from_frame(np.abs(slices - np.float32(air)) <= tolerance)
    head = slices[~outside]
    if not head.size:
        return scan
    voxels = scan.voxels.copy()
    np.moveaxis(voxels, axis, 0)[outside] = np.percentile(head, _DARKEST_PERCENTILE)
    text = (
        "air is gray, as in signed or phase-sensitive inversion recovery; it was set to the level "
        "of the darkest tissue, as in a magnitude image"
    )
    return replace(scan, voxels=voxels, warnings=(*scan.warnings, ScanWarning("gray_air", text)))


def reached_from_frame(passable: Mask) -> Mask:
    """Return the pixels that are connected to the edge of their slice.

    Args:
        passable: Mask of pixels that may be connected, shape (n, h, w).

    Returns:
        Mask of the pixels among them that are connected over sides, of the same shape.
    """
    reached = np.zeros_like(passable)
    for side, edge in zip(_frame(reached, 1), _frame(passable, 1), strict=True):
        np.logical_or(side, edge, out=side)
    count = 0
    while count != (count := int(np.count_nonzero(reached))):
        for axis in (1, 2):
            for step in (1, -1):
                _sweep(reached, passable, axis, step)
    return reached


def _sweep(reached: Mask, passable: Mask, axis: int, step: int) -> None:
    """Extend the reached pixels along one axis in one direction through passable ones."""
    along = np.moveaxis(passable, axis, -1)[..., ::step]
    seeds = np.moveaxis(reached, axis, -1)[..., ::step]
    place = np.arange(along.shape[-1], dtype=np.int32)
    last_seed = np.maximum.accumulate(np.where(seeds, place, -1), axis=-1)
    last_wall = np.maximum.accumulate(np.where(along, -1, place), axis=-1)
    seeds |= along & (last_seed > last_wall)


def _frame(slices: NDArray[Value], width: int = FRAME) -> tuple[NDArray[Value], ...]:
    """Return views of the four sides of all slices, shape (n, h, w)."""
    return slices[:, :width], slices[:, -width:], slices[:, :, :width], slices[:, :, -width:]
