"""Tell air and padding from the head.

Air is dark in magnitude images. It is gray in signed ones, such as phase-sensitive inversion
recovery, where CSF is darker; and some tools write NaN where nothing was measured.
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

# Below this share of the robust intensity range a pixel is air. Skulls and fat are far above,
# the noise of a modern magnitude image far below.
FOREGROUND_LEVEL = 0.08
# Robust ends of the intensity range: one bright vessel or one dead pixel must not set it.
LOW_PERCENTILE, HIGH_PERCENTILE = 0.5, 99.5
# Percentiles of as many values, evenly spread, are those of all to a thousandth of the range.
ENOUGH_VALUES = 2**16
# Width of the frame of a slice in which air is looked for, pixels.
FRAME = 2
# Air is gray between these shares of the robust intensity range: where it would pass for head, but
# below inverted pictures and white paper, which stay what they are.
GRAY_AIR = (FOREGROUND_LEVEL, 0.75)
# Air varies by noise alone: by less than this share of the range, as the median deviation from the
# median. Tissue at the frame of a cropped slice varies by more.
EVEN_AIR = 0.04
# Deviations that still are air: standard deviations of noise, and a share of the range, for
# compression.
AIR_DEVIATIONS, AIR_TOLERANCE = 4.0, 0.02
# Standard deviation of a normal distribution beside its median deviation.
SIGMA_OF_MAD = 1.4826
# Slices in which air is looked for.
ENOUGH_SLICES = 16
# Masks have fewer values, counted on as many voxels along each axis.
MIN_VALUES, SAMPLED_SIDE = 16, 64
# Rows and columns between those by which a slice is first found blank.
THINNED = 8
# Slices with this share of the largest area of head are amid it.
FULL_SHARE = 0.25
# Air next to what was not measured is known where this share of the frame was.
ENOUGH_MEASURED = 0.2
# Below this percentile of the head's values lies what air is set to.
DARKEST_PERCENTILE = 0.5


def intensity_range(image: Float32Array) -> tuple[float, float]:
    """Return the robust lowest and highest intensity of an image or a volume.

    The lower end is a percentile of all values (air, or the constant background of a stripped
    brain), the upper end one of the values above air, so that a small head in a large field of view
    gets the same range as one that fills it.

    Args:
        image: Intensities, any shape and unit.

    Returns:
        Low and high; equal if the image is constant.
    """
    values = _thinned(image).flatten()
    low_place, high_place = (
        percent / 100 * (len(values) - 1) for percent in (LOW_PERCENTILE, HIGH_PERCENTILE)
    )
    # A partial sort that is right at these places takes a third of the time of a full one.
    places = (int(low_place), int(low_place) + 1, int(high_place), int(high_place) + 1)
    values.partition(sorted({min(place, len(values) - 1) for place in places}))
    low, high = _between(values, low_place), _between(values, high_place)
    above_air = int(np.count_nonzero(values > low + FOREGROUND_LEVEL * (high - low)))
    if above_air:
        # This percentile of the values above air is no lower than that of all values.
        place = len(values) - above_air + HIGH_PERCENTILE / 100 * (above_air - 1)
        first = int(high_place)
        high = _between(np.sort(values[first:]), place - first)
    return low, high


def _between(values: Float32Array, place: float) -> float:
    """Return the value at a fractional place of ordered values, as `numpy.percentile` does."""
    below = int(place)
    low, high = values[below], values[min(below + 1, len(values) - 1)]
    return float(low) + (float(high) - float(low)) * (place - below)


def _thinned(image: Float32Array) -> Float32Array:
    """Return every so many rows and columns of a large image or volume: enough for percentiles."""
    step = max(1, int((image.size / ENOUGH_VALUES) ** 0.5))
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
    """Return voxels with the level of air where nothing was measured.

    Args:
        voxels: Intensities, axes [i, j, k]; NaN or infinite where nothing was measured.
        slice_axis: Voxel axis along which slices follow each other.

    Returns:
        The voxels themselves if all are finite; else a copy that is finite everywhere.

    Raises:
        UnreadableFile: If voxels inside the head are not finite: what was there is not known.
    """
    lost = ~np.isfinite(voxels)
    if not lost.any():
        return voxels
    if lost.all():
        raise UnreadableFile("no voxel is a finite number; export it again", reason="not_finite")
    slices = np.moveaxis(voxels, slice_axis, 0)
    at_frame = np.concatenate([side.ravel() for side in _frame(slices)])
    measured = at_frame[np.isfinite(at_frame)]
    is_air = measured.size >= ENOUGH_MEASURED * at_frame.size
    level = np.median(measured) if is_air else voxels[~lost].min()
    filled = np.where(lost, np.float32(level), voxels)
    unmeasured = np.moveaxis(lost, slice_axis, 0)
    outside = reached_from_frame(unmeasured | ~np.moveaxis(foreground(filled), slice_axis, 0))
    inside = int(np.count_nonzero(unmeasured & ~outside))
    if inside:
        raise UnreadableFile(
            f"{inside} inside the head: voxels that are no finite numbers (NaN, infinity or "
            "padding), expected none: what was there is not known; export it again",
            reason="not_finite",
        )
    return filled


def noting_blank_slices(scan: Scan) -> Scan:
    """Return a scan that says which slices amid it are blank: they were lost, not scanned.

    Args:
        scan: A volume; blank slices before and after all others are background.

    Returns:
        The scan itself where none is; else it is incomplete.
    """
    slices = np.moveaxis(scan.voxels, scan.view.slice_axis, 0)
    some = slices[:, ::THINNED, ::THINNED]
    blank = some.max(axis=(1, 2)) == some.min(axis=(1, 2))
    blank[blank] = [np.ptp(each) == 0 for each in slices[blank]]
    # Masks are blank between two lesions.
    if not blank.any() or is_mask(scan.voxels):
        return scan
    low, high = intensity_range(slices)
    areas = np.count_nonzero(slices > low + FOREGROUND_LEVEL * (high - low), axis=(1, 2))
    head = np.flatnonzero(areas >= FULL_SHARE * areas.max())
    lost = int(blank[head[0] : head[-1]].sum())
    if not lost:
        return scan
    count = Incomplete("slices (others are blank)", len(slices), len(slices) - lost)
    return replace(scan, incomplete=(*scan.incomplete, count))


def is_mask(voxels: Float32Array) -> bool:
    """Return whether a volume has as few values as masks have."""
    steps = tuple(slice(None, None, max(1, side // SAMPLED_SIDE)) for side in voxels.shape)
    return len(np.unique(voxels[steps])) < MIN_VALUES


def with_dark_air(scan: Scan) -> Scan:
    """Return a scan whose air is as dark as its darkest tissue, with a warning if it was gray.

    The level of air is found at the frame of the slices. Air is what is reached from there, so
    tissue of the same gray keeps its value.

    Args:
        scan: A volume or a picture.

    Returns:
        The scan itself where its air is dark, white, or not at the frame.
    """
    axis = scan.view.slice_axis
    slices = np.moveaxis(scan.voxels, axis, 0)
    sample = slices[:: max(1, len(slices) // ENOUGH_SLICES)]
    low, high = intensity_range(sample)
    at_frame = np.concatenate([side.ravel() for side in _frame(sample)])
    air = float(np.median(at_frame))
    deviation = float(np.median(np.abs(at_frame - air)))
    span = high - low
    darkest, brightest = low + GRAY_AIR[0] * span, low + GRAY_AIR[1] * span
    if not darkest < air < brightest or deviation > EVEN_AIR * span:
        return scan
    # A constant background has no noise: what differs from it at all is the head.
    tolerance = deviation and max(AIR_DEVIATIONS * SIGMA_OF_MAD * deviation, AIR_TOLERANCE * span)
    outside = reached_from_frame(np.abs(slices - np.float32(air)) <= tolerance)
    head = slices[~outside]
    if not head.size:
        return scan
    voxels = scan.voxels.copy()
    np.moveaxis(voxels, axis, 0)[outside] = np.percentile(head, DARKEST_PERCENTILE)
    text = (
        "air is gray, as in signed or phase-sensitive inversion recovery; it was set to the level "
        "of the darkest tissue, as in a magnitude image"
    )
    return replace(scan, voxels=voxels, warnings=(*scan.warnings, ScanWarning("gray_air", text)))


def reached_from_frame(passable: Mask) -> Mask:
    """Return which pixels are connected to the edge of their slice.

    Args:
        passable: Pixels that a connection may run through, shape (n, h, w).

    Returns:
        Connected ones among them, over the faces of pixels, of the same shape.
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
    """Extend what is reached along one axis in one direction, up to what can't be passed."""
    along = np.moveaxis(passable, axis, -1)[..., ::step]
    seeds = np.moveaxis(reached, axis, -1)[..., ::step]
    place = np.arange(along.shape[-1], dtype=np.int32)
    last_seed = np.maximum.accumulate(np.where(seeds, place, -1), axis=-1)
    last_wall = np.maximum.accumulate(np.where(along, -1, place), axis=-1)
    seeds |= along & (last_seed > last_wall)


def _frame(slices: NDArray[Value], width: int = FRAME) -> tuple[NDArray[Value], ...]:
    """Return views of the four sides of all slices, shape (n, h, w)."""
    return slices[:, :width], slices[:, -width:], slices[:, :, :width], slices[:, :, -width:]
