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
from meninx._scan.scan import Scan
from meninx._scan.warning import ScanWarning

Value = TypeVar("Value", bound=np.generic)
Float32Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

# Pixels below this share of the robust intensity range are air. Skull and fat are far above it, the
# noise of modern magnitude images far below.
FOREGROUND_LEVEL = 0.08
# Robust ends of the intensity range, not determined by single vessels or dead pixels.
LOW_PERCENTILE, HIGH_PERCENTILE = 0.5, 99.5
# Percentiles of this many evenly spread values deviate by less than 0.001 of the range.
_ENOUGH_VALUES = 2**16
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
# Share of the frame that must be measured to estimate the level of air.
_ENOUGH_MEASURED = 0.2
# Percentile of the head's values to which gray air is set.
_DARKEST_PERCENTILE = 0.5


def intensity_range(image: Float32Array) -> tuple[float, float]:
    """Return the robust intensity range of an image or a volume.

    The lower end is a percentile of all values (air, or the constant background after brain
    extraction). The upper end is a percentile of the values above air, so that the range does not
    depend on the field of view.

    Args:
        image: Intensities, any shape and unit.

    Returns:
        Low and high; equal if the image is constant.
    """
    values = _thinned(image).flatten()
    low_place, high_place = (
        percent / 100 * (len(values) - 1) for percent in (LOW_PERCENTILE, HIGH_PERCENTILE)
    )
    # Partial sorting at these positions takes a third of the time of sorting.
    places = (int(low_place), int(low_place) + 1, int(high_place), int(high_place) + 1)
    values.partition(sorted({min(place, len(values) - 1) for place in places}))
    low, high = _between(values, low_place), _between(values, high_place)
    above_air = int(np.count_nonzero(values > low + FOREGROUND_LEVEL * (high - low)))
    if above_air:
        # This percentile of the values above air is at least that of all values.
        place = len(values) - above_air + HIGH_PERCENTILE / 100 * (above_air - 1)
        first = int(high_place)
        high = _between(np.sort(values[first:]), place - first)
    return low, high


def _between(values: Float32Array, place: float) -> float:
    """Return the interpolated value at a fractional index, as `numpy.percentile` does."""
    below = int(place)
    low, high = values[below], values[min(below + 1, len(values) - 1)]
    return float(low) + (float(high) - float(low)) * (place - below)


def _thinned(image: Float32Array) -> Float32Array:
    """Return evenly spread rows and columns of a large image or volume, for percentiles."""
    step = max(1, int((image.size / _ENOUGH_VALUES) ** 0.5))
    return image[..., ::step, ::step] if image.ndim >= 2 else image


def foreground(image: Float32Array) -> NDArray[np.bool_]:
    """Return which pixels or voxels are not air.

    Args:
        image: Intensities, any shape and unit.

    Returns:
        The image's shape; all false if it is constant.
    """
    low, high = intensity_range(image)
    if not high > low:
        return np.zeros(image.shape, dtype=bool)
    return image > low + FOREGROUND_LEVEL * (high - low)


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
    missing = ~np.isfinite(voxels)
    if not missing.any():
        return voxels
    if missing.all():
        raise UnreadableFile("no voxel is a finite number; export it again", reason="not_finite")
    slices = np.moveaxis(voxels, slice_axis, 0)
    at_frame = np.concatenate([side.ravel() for side in _frame(slices)])
    measured = at_frame[np.isfinite(at_frame)]
    enough = measured.size >= _ENOUGH_MEASURED * at_frame.size
    level = np.median(measured) if enough else voxels[~missing].min()
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
    """Mark a volume as incomplete if slices inside the head are blank, because they were lost.

    Args:
        scan: A volume; blank slices before and after the head are background.

    Returns:
        The same scan if no slice is blank; else an incomplete one.
    """
    slices = np.moveaxis(scan.voxels, scan.view.slice_axis, 0)
    thinned = slices[:, ::_THINNED, ::_THINNED]
    blank = thinned.max(axis=(1, 2)) == thinned.min(axis=(1, 2))
    blank[blank] = [np.ptp(image) == 0 for image in slices[blank]]
    # Masks are blank between two lesions.
    if not blank.any() or is_mask(scan.voxels):
        return scan
    low, high = intensity_range(slices)
    areas = np.count_nonzero(slices > low + FOREGROUND_LEVEL * (high - low), axis=(1, 2))
    head = np.flatnonzero(areas >= _FULL_SHARE * areas.max())
    lost = int(blank[head[0] : head[-1]].sum())
    if not lost:
        return scan
    count = Incomplete("slices (others are blank)", len(slices), len(slices) - lost)
    return replace(scan, incomplete=(*scan.incomplete, count))


def is_mask(voxels: Float32Array) -> bool:
    """Return whether a volume has as few distinct values as a mask."""
    steps = tuple(slice(None, None, max(1, side // SAMPLED_SIDE)) for side in voxels.shape)
    return len(np.unique(voxels[steps])) < MIN_VALUES


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
    low, high = intensity_range(sample)
    at_frame = np.concatenate([side.ravel() for side in _frame(sample)])
    air = float(np.median(at_frame))
    deviation = float(np.median(np.abs(at_frame - air)))
    span = high - low
    darkest, brightest = low + _GRAY_AIR[0] * span, low + _GRAY_AIR[1] * span
    if not darkest < air < brightest or deviation > _EVEN_AIR * span:
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
