"""Decide whether the geometry of a scan can be believed, and estimate what was lost.

Many volumes are saved from bare arrays: the file says 1 x 1 x 1 mm, the head has 24 slices. What
the file says is held against the slices themselves. The measure is a shift within a slice, in mm:
the one that changes a slice as much as the next slice differs from it. In a head it is 0.4 to 1.3
times the distance of the slices (docs/results.md has the table).
"""

from dataclasses import dataclass, replace

import numpy as np

from meninx._scan.background import FOREGROUND_LEVEL, Float32Array, intensity_range, is_mask
from meninx._scan.geometry import Float64Array, Spacing, respaced, spacing_of
from meninx._scan.scan import Scan
from meninx._scan.warning import ScanWarning

# Limits of that shift as a share of the distance, beyond which the distance is doubted. None of
# 1,551 stacks with gaps of 1 to 9 mm, cut from 65 volumes of known geometry along all axes, lies
# outside; of the same with a gap that is wrong by five, 99.7 % do (docs/results.md).
MIN_SHIFT, MAX_SHIFT = 0.28, 1.3
# Estimated gap beside the shift of direct neighbors: the inverse of the median over those stacks.
GAP_BESIDE_SHIFT = 1.3
# A head is no smaller and no larger than this between its sides, mm: where an affine is no more
# than an identity, that is all that tells the size of a pixel.
MIN_HEAD_MM, MAX_HEAD_MM = 100.0, 300.0
# Gap of a bare array with too few slices to measure, mm: that of clinical scans.
USUAL_GAP_MM = 5.0
# An estimate is no smaller, mm: slices that are all but equal say nothing.
SMALLEST_GAP_MM = 0.3
# Longer side of a head in a slice where the size of a pixel is lost, mm: between a whole head's
# and a stripped brain's.
USUAL_HEAD_MM = 180.0
# Voxels of exactly this size along each axis are those of an affine that nobody set.
UNSET_MM, UNSET_TOLERANCE = 1.0, 1e-3
# Pairs of neighboring slices that are compared, among those that show at least this share of the
# head's largest area.
PAIRS, FULL_SLICE = 12, 0.6
# Slices about this far apart are compared, mm: neighbors of volumes that were interpolated or
# repeated to 1 mm say little.
COMPARED_MM = 4.0
# Smaller slices, and shorter stacks, are too few values to measure anything.
MIN_SIDE, MIN_SLICES = 48, 3
# Slices that show less than this share of the head's largest area are beyond the head.
BEYOND_HEAD = 0.1
# Slices are averaged down to about this many pixels: noise would pass for structure.
MEASURED_SIDE = 128
# Shifts that are tried, averaged pixels; a share of the side is the largest.
SHIFTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
LARGEST_SHIFT = 1 / 3
# Noise alone changes a slice as much as a shift by one pixel: below this many, it proves nothing.
NOISE_SHIFT = 1.25


@dataclass(frozen=True)
class Measured:
    """What slices say of their own geometry, in units of the file.

    Args:
        shift: Shift within a slice that changes it as much as the next slice does, mm by the
            file's pixel size.
        pixel: Size of the averaged pixels in which it was found, mm by the file's pixel size.
        width: Longer side of the head in a slice, mm by the file's pixel size.
        depth: Extent of the head across the slices, mm by the file's gap.
        lag: Number of slices from one of a compared pair to the other.
    """

    shift: float
    pixel: float
    width: float
    depth: float
    lag: int = 1

    def doubts(self, gap: float) -> bool:
        """Return whether slices can't lie this far apart, mm."""
        distance = self.lag * gap
        too_small = self.shift > MAX_SHIFT * distance and self.shift > NOISE_SHIFT * self.pixel
        return too_small or self.shift < MIN_SHIFT * distance


def believed(scan: Scan) -> Scan:
    """Return a scan whose geometry can be believed, or one with an estimated geometry.

    Args:
        scan: Volume as its file describes it; a picture is returned as it is.

    Returns:
        The scan itself where nothing speaks against its geometry. Else the same voxels with the
        spacing, and where the affine was an identity the slice axis, that its slices speak for;
        marked as estimated, and with the warning `geometry_doubtful`, which names both.
    """
    if scan.affine is None or not scan.is_volume or is_mask(scan.voxels):
        return scan
    claimed = spacing_of(scan.affine)
    unset = is_unset(scan.affine)
    axis = scan.view.slice_axis
    if unset and scan.slice_axis is None:
        axis = _coarsest_axis(scan.voxels, axis)
    measured = _compared(scan, axis, claimed)
    estimated = _estimated(scan, axis, claimed, measured, unset=unset)
    if estimated == claimed:
        return scan
    warning = ScanWarning("geometry_doubtful", _words(scan, claimed, estimated, axis))
    return replace(
        scan,
        affine=respaced(scan.affine, estimated),
        positions_mm=None,
        slice_axis=axis,
        geometry_estimated=True,
        warnings=(*scan.warnings, warning),
    )


def spacing_fault(scan: Scan) -> str | None:
    """Return why slices can't lie as far apart as a user said; None where nothing speaks against.

    Args:
        scan: Volume with the user's spacing.

    Returns:
        The sentence.
    """
    if believed(scan) is scan:
        return None
    gap = scan.slice_gap_mm or 0.0
    seen = estimated_gap_mm(scan.voxels, scan.view.slice_axis, scan.spacing_mm or (1.0, 1.0, 1.0))
    beside = "" if seen is None else f": from the slices {seen:.1f} mm are estimated"
    return (
        f"slices {gap:.2f} mm apart, as the user said, can't be those of a head that changes this "
        f"much from slice to slice{beside}; check the order of the axes and the numbers"
    )


def _compared(scan: Scan, axis: int, claimed: Spacing) -> Measured | None:
    """Measure a scan's slices some millimeters apart, as far as its file is right."""
    lag = max(1, min(round(COMPARED_MM / claimed[axis]), len(scan) // 2))
    measured = measured_along(scan.voxels, axis, claimed, lag)
    return None if measured is None else replace(measured, lag=lag)


def _estimated(
    scan: Scan, axis: int, claimed: Spacing, measured: Measured | None, *, unset: bool
) -> Spacing:
    """Return the spacing that the slices speak for; the claimed one if nothing is against it."""
    spacing = list(claimed)
    if measured is None:
        # Too few slices to measure: only what an unset affine says of them can't be.
        is_large = min(np.delete(scan.voxels.shape, axis)) >= MIN_SIDE
        if unset and is_large and claimed[axis] * len(scan) < MIN_HEAD_MM:
            spacing[axis] = USUAL_GAP_MM
        return spacing[0], spacing[1], spacing[2]
    gap = claimed[axis]
    too_deep = measured.depth > MAX_HEAD_MM or (unset and measured.depth < MIN_HEAD_MM)
    gap_doubted = measured.doubts(gap) or too_deep
    fits = MIN_HEAD_MM <= measured.width <= MAX_HEAD_MM
    if not gap_doubted and (fits or not unset):
        return claimed
    # A pixel is doubted where nobody set it, and where it is the pixel that makes no head.
    scale = USUAL_HEAD_MM / measured.width if measured.width and (unset or not fits) else 1.0
    spacing = [side * scale for side in claimed]
    if not unset:
        spacing[axis] = gap
        gap_doubted = too_deep or replace(measured, shift=measured.shift * scale).doubts(gap)
    if gap_doubted and (seen := estimated_gap_mm(scan.voxels, axis, claimed)):
        spacing[axis] = max(seen * scale, SMALLEST_GAP_MM)
    return spacing[0], spacing[1], spacing[2]


def estimated_gap_mm(voxels: Float32Array, axis: int, spacing_mm: Spacing) -> float | None:
    """Return the distance between slices that they speak for themselves.

    Args:
        voxels: Intensities, axes [i, j, k].
        axis: Voxel axis along which slices follow each other.
        spacing_mm: Distance between neighboring voxels, mm; that along the axis does not count.

    Returns:
        Distance, mm; None where there are too few slices or pixels.
    """
    measured = measured_along(voxels, axis, spacing_mm)
    return None if measured is None else GAP_BESIDE_SHIFT * measured.shift


def is_unset(affine: Float64Array) -> bool:
    """Return whether an affine says no more than an identity: cubes of 1 mm along the axes."""
    directions = np.abs(affine[:3, :3])
    along_axes = np.isclose(directions, 0, atol=UNSET_TOLERANCE) | np.isclose(
        directions, UNSET_MM, atol=UNSET_TOLERANCE
    )
    return bool(along_axes.all())


def measured_along(
    voxels: Float32Array, axis: int, spacing_mm: Spacing, lag: int = 1
) -> Measured | None:
    """Measure how much slices change from one to another, as a shift within the slice.

    Mean absolute differences over the pixels where either shows head, of pairs of full slices,
    beside those of a slice and itself shifted along its rows and along its columns.

    Args:
        voxels: Intensities, axes [i, j, k].
        axis: Voxel axis along which slices follow each other.
        spacing_mm: Distance between neighboring voxels along i, j and k, mm.
        lag: Number of slices from one of a pair to the other.

    Returns:
        The measure; None where there are too few slices or pixels.
    """
    slices = np.moveaxis(voxels, axis, 0)
    if len(slices) < MIN_SLICES + lag or min(slices.shape[1:]) < MIN_SIDE:
        return None
    step = max(1, round(max(slices.shape[1:]) / MEASURED_SIDE))
    low, high = intensity_range(slices[:: max(1, len(slices) // PAIRS)])
    if not high > low:
        return None
    level = low + FOREGROUND_LEVEL * (high - low)
    areas = np.count_nonzero(slices[:, ::step, ::step] > level, axis=(1, 2))
    full = np.flatnonzero(np.minimum(areas[:-lag], areas[lag:]) >= FULL_SLICE * areas.max())
    if not full.size:
        return None
    chosen = full[np.unique(np.linspace(0, len(full) - 1, PAIRS).round().astype(int))]
    own, following = (
        _averaged(np.clip((slices[indices] - low) / (high - low), 0, 1), step)
        for indices in (chosen, chosen + lag)
    )
    pixels = [mm * step for side, mm in enumerate(spacing_mm) if side != axis]
    difference = _difference(own, following)
    shifts = [
        _equal_shift(np.moveaxis(own, side + 1, 1), difference) * pixels[side] for side in (0, 1)
    ]
    shown = np.flatnonzero(areas > BEYOND_HEAD * areas.max())
    depth = (shown[-1] - shown[0] + 1) * spacing_mm[axis]
    return Measured(float(np.mean(shifts)), max(pixels), _longer_side(own, pixels), float(depth))


def _averaged(slices: Float32Array, step: int) -> Float32Array:
    """Return slices averaged over squares of pixels, shape (n, h // step, w // step)."""
    count, height, width = slices.shape
    height, width = height // step, width // step
    cut = slices[:, : height * step, : width * step]
    return np.asarray(cut.reshape(count, height, step, width, step).mean(axis=(2, 4)))


def _difference(first: Float32Array, second: Float32Array) -> float:
    """Return the mean absolute difference where either shows head."""
    head = (first > FOREGROUND_LEVEL) | (second > FOREGROUND_LEVEL)
    return float(np.abs(first - second)[head].mean()) if head.any() else 0.0


def _equal_shift(slices: Float32Array, difference: float) -> float:
    """Return the shift along the second axis at which slices differ that much from themselves."""
    last, reached = 0, 0.0
    for shift in SHIFTS:
        if shift > LARGEST_SHIFT * slices.shape[1]:
            break
        # Far apart, structures meet others of their kind again: a larger shift changes no less.
        found = max(reached, _difference(slices[:, shift:], slices[:, :-shift]))
        if found >= difference:
            return last + (shift - last) * (difference - reached) / max(found - reached, 1e-9)
        last, reached = shift, found
    return float(last)


def _longer_side(slices: Float32Array, pixels: list[float]) -> float:
    """Return the longer side of the head in slices that show it whole, mm."""
    head = np.asarray(slices > FOREGROUND_LEVEL).any(axis=0)
    places = np.argwhere(head)
    if not len(places):
        return 0.0
    return float(((np.ptp(places, axis=0) + 1) * pixels).max())


def _coarsest_axis(voxels: Float32Array, axis: int) -> int:
    """Return the axis along which neighbors differ as slices do that lie far apart, if any."""
    along = {side: measured_along(voxels, side, (1.0, 1.0, 1.0)) for side in (0, 1, 2)}
    far = {side: found.shift for side, found in along.items() if found and found.doubts(1.0)}
    # In the other two planes slices are squeezed, so the axis of true slices stands out.
    return max(far, key=lambda side: far[side]) if far else axis


def _words(scan: Scan, claimed: Spacing, estimated: Spacing, axis: int) -> str:
    """Return both geometries in words, and what to do."""
    voxel = " x ".join(f"{mm:.2f}" for mm in estimated)
    lies = " Nor does the file say how the head lies: it may be upside down." * is_unset(
        np.asarray(scan.affine)
    )
    advice = "If you know the voxel size, say it: --spacing X,Y,Z"
    if scan.identity.series_uid:
        advice = "Export the series again"
    gap = (
        f"the file says that slices lie {claimed[axis]:.2f} mm apart, which a head that changes "
        f"this much from slice to slice, and is this large, can't be: {estimated[axis]:.1f} mm is "
        "estimated from the slices"
    )
    if estimated[axis] == claimed[axis]:
        pixel = " x ".join(f"{mm:.2f}" for side, mm in enumerate(claimed) if side != axis)
        gap = f"the file says that pixels measure {pixel} mm, which makes no head"
    return (
        f"{gap}, and voxels of {voxel} mm are taken; no size in mm and no side is given.{lies} "
        f"{advice}"
    )
