"""Separate air and padding from the head.

Air is dark in magnitude images. In signed images, such as phase-sensitive inversion recovery, it is
gray and CSF is darker. Some tools write NaN for unmeasured voxels.
"""

from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from meninx._errors import UnreadableFile
from meninx._scan.intensity import (
    FOREGROUND_LEVEL,
    Float32Array,
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
MIN_VALUES, SAMPLED_SIDE, _FEW_SIDE = 16, 64, 16
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


def is_mask(voxels: Float32Array) -> bool:
    """Return whether a volume has as few distinct values as a mask."""
    # A few voxels show that most volumes are none.
    return all(
        count_distinct(voxels[tuple(slice(None, None, max(1, s // side)) for s in voxels.shape)])
        < MIN_VALUES
        for side in (_FEW_SIDE, SAMPLED_SIDE)
    )


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
