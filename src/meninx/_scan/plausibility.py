"""Check whether the voxel spacing of a scan is plausible, and estimate it if not.

Many volumes are saved from bare arrays: the file says 1 x 1 x 1 mm, but the head has 24 slices. So
the spacing is compared with the slices. The measure is the shift within a slice, in mm, that
changes it as much as the next slice differs from it. In a head it is 0.4 to 1.3 times the distance
between slices (table in docs/reading.md).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from meninx._errors import GeometryError
from meninx._scan.background import is_mask
from meninx._scan.geometry import Float64Array, Spacing, respaced, spacing_of
from meninx._scan.intensity import FOREGROUND_LEVEL, Float32Array, air_level, intensity_range
from meninx._scan.scan import Scan
from meninx._scan.warning import ScanWarning

# Plausible range of that shift, as a share of the distance. All of 1,551 stacks with gaps of 1 to 9
# mm, cut from 65 volumes of known geometry along all axes, lie inside; with a gap wrong by a factor
# of five, 99.7 % lie outside (docs/reading.md).
MIN_SHIFT, MAX_SHIFT = 0.28, 1.3
# Ratio of gap and shift of direct neighbors: the inverse of the median over these stacks.
_GAP_BESIDE_SHIFT = 1.3
# Plausible extents of a head, mm. With an identity affine, they are the only information about the
# size of a pixel. A sagittal slice also shows the neck, so only the longer side may be so long.
MIN_HEAD_MM, MAX_HEAD_MM = 100.0, 300.0
# Longest plausible shorter side of a head in a slice, mm: 123 to 212 in the 100 volumes of known
# geometry, so that twice their voxel size is found in all of them.
MAX_BREADTH_MM = 240.0
# Smallest plausible longer side of a head whose size the file gives, mm: a preterm child's.
SMALLEST_HEAD_MM = 70.0
# A row or column shows the head if this share of its pixels more than of a corner's is not air.
_SHOWN_SHARE = 0.05
_MOST_NOISE = 0.5
# Assumed gap of a bare array with too few slices to measure, mm: that of clinical scans.
_USUAL_GAP_MM = 5.0
# Smallest estimated gap, mm: nearly equal slices give no estimate.
_SMALLEST_GAP_MM = 0.3
# Assumed longer side of a head if the size of a pixel is lost, mm: between that of a whole head and
# that of a brain without skull.
_USUAL_HEAD_MM = 180.0
# Voxel size of an affine that was never set, mm.
UNSET_MM, UNSET_TOLERANCE = 1.0, 1e-3
# Pixels may be this much longer than wide: twice in real scans. Those of a reordered volume are
# nearly square.
_MAX_PIXEL_RATIO, _SQUARE_RATIO = 3.0, 1.5
# Number of compared pairs of slices, and their smallest share of the largest head area.
PAIRS, FULL_SLICE = 12, 0.6
# Distance of compared slices, mm: neighbors in volumes interpolated to 1 mm are too similar.
COMPARED_MM = 4.0
# Smallest slices and stacks that are measured.
MIN_SIDE, MIN_SLICES = 48, 3
# Slices with less than this share of the largest head area lie outside the head.
_BEYOND_HEAD = 0.1
# Slices are averaged to about this many pixels per side, to reduce noise.
_MEASURED_SIDE = 128
# Shifts to try, averaged pixels; the largest is a share of the side.
_SHIFTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
_LARGEST_SHIFT = 1 / 3
# Smallest significant shift, averaged pixels: noise changes a slice as much as a shift by one.
_NOISE_SHIFT = 1.25


@dataclass(frozen=True)
class Measurements:
    """Measurements of slices, mm according to the spacing in the file.

    Args:
        shift: Shift within a slice that changes it as much as the compared slice differs, mm.
        pixel: Size of the averaged pixels, mm.
        width: Longer side of all that is brighter than air in a slice, mm.
        length: Longer side of the head, mm, which noise and spots around it do not enlarge.
        breadth: Its shorter side, mm.
        is_cut: Whether the head reaches the edges of the slice on two opposite sides.
        depth: Extent of the head across the slices, mm.
        lag: Index distance of the compared slices.
    """

    shift: float
    pixel: float
    width: float
    length: float
    breadth: float
    is_cut: bool
    depth: float
    lag: int = 1

    def contradict(self, gap: float) -> bool:
        """Return whether a distance between slices is implausible, mm."""
        distance = self.lag * gap
        too_small = self.shift > MAX_SHIFT * distance and self.shift > _NOISE_SHIFT * self.pixel
        return too_small or self.shift < MIN_SHIFT * distance

    def contradict_stack(self, gap: float, *, unset: bool) -> bool:
        """Return whether a distance between slices, mm, or the head's depth is implausible.

        In a volume whose affine was never set, a head may also be too flat.
        """
        too_flat = unset and self.depth < MIN_HEAD_MM
        return self.contradict(gap) or self.depth > MAX_HEAD_MM or too_flat

    def scaled(self, scale: float) -> "Measurements":
        """Return the measurements for pixels larger by this factor."""
        return replace(self, shift=self.shift * scale, pixel=self.pixel * scale)

    def fit_head(self, *, unset: bool) -> bool:
        """Return whether its sides are plausible for a head.

        A small field shows a part of it only, as of the inner ear; if the affine was never set, its
        size is not known.
        """
        if unset:
            return MIN_HEAD_MM <= self.width <= MAX_HEAD_MM and self.breadth <= MAX_BREADTH_MM
        too_small = self.length < SMALLEST_HEAD_MM and not self.is_cut
        return not too_small and self.length <= MAX_HEAD_MM and self.breadth <= MAX_BREADTH_MM

    def oddness(self, gap: float) -> float:
        """Return how far the shift is from the usual for a distance between slices, mm."""
        return abs(float(np.log(max(self.shift, 1e-6) * _GAP_BESIDE_SHIFT / (self.lag * gap))))


def with_plausible_geometry(scan: Scan) -> Scan:
    """Return a scan with its own geometry if plausible, else with an estimated one.

    Args:
        scan: Volume with the geometry of its file; pictures and masks are not checked.

    Returns:
        The same scan if its geometry is plausible. Else a scan with the spacing, and for an
        identity affine the slice axis, estimated from its slices, with the warning
        `geometry_doubtful`. Sizes that fit in another order of the axes are used so.

    Raises:
        GeometryError: If pixels are several times longer than wide.
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
    if estimated != claimed and (reordered := _reordered(scan, claimed)):
        estimated, axis = reordered
    across = [side for place, side in enumerate(estimated) if place != axis]
    if max(across) > _MAX_PIXEL_RATIO * min(across):
        raise GeometryError(
            f"pixels of {across[0]:.2f} x {across[1]:.2f} mm, as no head is scanned; the voxel "
            "sizes may belong to other axes: give them in the order of the file's axes "
            "(--spacing X,Y,Z)"
        )
    if estimated == claimed:
        return scan
    warning = ScanWarning("geometry_doubtful", _estimate_message(scan, claimed, estimated, axis))
    return replace(
        scan,
        affine=respaced(scan.affine, estimated),
        positions_mm=None,
        slice_axis=axis,
        geometry_estimated=True,
        warnings=(*scan.warnings, warning),
    )


def _reordered(scan: Scan, claimed: Spacing) -> tuple[Spacing, int] | None:
    """Return the only other order of the voxel sizes that gives a plausible head, and slice axis.

    Arrays in the order z, y, x, as SimpleITK has them, are often saved with sizes in the order
    x, y, z. A format that defines the slice axis also says which sizes are those of pixels.
    """
    if scan.affine is None or scan.slice_axis is not None:
        return None
    found: dict[Spacing, int] = {}
    i, j, k = _rounded(claimed)
    orders = {(i, j, k), (i, k, j), (j, i, k), (j, k, i), (k, i, j), (k, j, i)}
    for sizes in orders - {(i, j, k)}:
        trial = replace(scan, affine=respaced(scan.affine, sizes))
        axis = trial.view.slice_axis
        across = [side for place, side in enumerate(sizes) if place != axis]
        measured = _compared(trial, axis, sizes)
        is_square = max(across) <= _SQUARE_RATIO * min(across)
        if measured is None or not is_square or not measured.fit_head(unset=False):
            continue
        if not measured.contradict_stack(sizes[axis], unset=False):
            found[sizes] = axis
    return next(iter(found.items())) if len(found) == 1 else None


def _rounded(sizes: Spacing) -> Spacing:
    return round(sizes[0], 4), round(sizes[1], 4), round(sizes[2], 4)


def spacing_fault(scan: Scan) -> str | None:
    """Return why the spacing given by a user is implausible; None if it is plausible.

    Args:
        scan: Volume with the spacing of the user.

    Returns:
        One sentence.
    """
    if with_plausible_geometry(scan) is scan:
        return None
    width = _implausible_width(scan)
    if width is not None:
        return (
            f"the voxel size given by the user makes the head {width:.0f} mm long, which is "
            "implausible; check the order of the axes and the numbers"
        )
    gap = scan.slice_gap_mm or 0.0
    estimated = estimated_gap_mm(
        scan.voxels, scan.view.slice_axis, scan.spacing_mm or (1.0, 1.0, 1.0)
    )
    estimate = "" if estimated is None else f": {estimated:.1f} mm are estimated from the slices"
    return (
        f"slices {gap:.2f} mm apart, as given by the user, are implausible for a head that changes "
        f"this much from slice to slice{estimate}; check the order of the axes and the numbers"
    )


def _compared(scan: Scan, axis: int, claimed: Spacing) -> Measurements | None:
    """Compare slices some millimeters apart, according to the spacing in the file."""
    lag = max(1, min(round(COMPARED_MM / claimed[axis]), len(scan) // 2))
    measured = measured_along(scan.voxels, axis, claimed, lag)
    return None if measured is None else replace(measured, lag=lag)


def _estimated(
    scan: Scan, axis: int, claimed: Spacing, measured: Measurements | None, *, unset: bool
) -> Spacing:
    """Return the spacing estimated from the slices; the claimed one if it is plausible."""
    if measured is None:
        return _assumed(scan, axis, claimed) if unset else claimed
    gap = claimed[axis]
    gap_implausible = measured.contradict_stack(gap, unset=unset)
    if not gap_implausible and measured.fit_head(unset=unset):
        return claimed
    scale = _pixel_scale(measured, unset=unset)
    spacing = [side * scale for side in claimed]
    if not unset:
        # Either all sizes are wrong by one factor, or those of pixels alone.
        scaled = measured.scaled(scale)
        spacing[axis] = min((gap, gap * scale), key=scaled.oddness)
        scaled = replace(scaled, depth=measured.depth * spacing[axis] / gap)
        gap_implausible = scaled.contradict_stack(spacing[axis], unset=unset)
    if gap_implausible and (estimate := estimated_gap_mm(scan.voxels, axis, claimed)):
        spacing[axis] = max(estimate * scale, _SMALLEST_GAP_MM)
    return spacing[0], spacing[1], spacing[2]


def _assumed(scan: Scan, axis: int, claimed: Spacing) -> Spacing:
    """Return the spacing of a bare array with too few slices to measure: a usual gap."""
    spacing = list(claimed)
    is_large = min(np.delete(scan.voxels.shape, axis)) >= MIN_SIDE
    if is_large and claimed[axis] * len(scan) < MIN_HEAD_MM:
        spacing[axis] = _USUAL_GAP_MM
    return spacing[0], spacing[1], spacing[2]


def _pixel_scale(measured: Measurements, *, unset: bool) -> float:
    """Return the factor of the pixel size: 1 if it was set and gives the head a plausible width."""
    if not unset and measured.fit_head(unset=False):
        return 1.0
    across = measured.width if unset else measured.length
    return _USUAL_HEAD_MM / across if across else 1.0


def estimated_gap_mm(voxels: Float32Array, axis: int, spacing_mm: Spacing) -> float | None:
    """Estimate the distance between slices from their differences.

    Args:
        voxels: Intensities, axes [i, j, k].
        axis: Voxel axis along which slices follow each other.
        spacing_mm: Distance between neighboring voxels, mm; that along the axis is not used.

    Returns:
        Distance, mm; None if there are too few slices or pixels.
    """
    measured = measured_along(voxels, axis, spacing_mm)
    return None if measured is None else _GAP_BESIDE_SHIFT * measured.shift


def is_unset(affine: Float64Array) -> bool:
    """Return whether an affine was never set: cubes of 1 mm along the patient's axes."""
    directions = np.abs(affine[:3, :3])
    along_axes = np.isclose(directions, 0, atol=UNSET_TOLERANCE) | np.isclose(
        directions, UNSET_MM, atol=UNSET_TOLERANCE
    )
    return bool(along_axes.all())


def measured_along(
    voxels: Float32Array, axis: int, spacing_mm: Spacing, lag: int = 1
) -> Measurements | None:
    """Measure how much slices differ, as a shift within a slice.

    The mean absolute difference of pairs of slices, over pixels in which either shows head, is
    compared with that of a slice and itself, shifted along rows and along columns.

    Args:
        voxels: Intensities, axes [i, j, k].
        axis: Voxel axis along which slices follow each other.
        spacing_mm: Distance between neighboring voxels along i, j and k, mm.
        lag: Index distance of the compared slices.

    Returns:
        The measurements; None if there are too few slices or pixels.
    """
    slices = np.moveaxis(voxels, axis, 0)
    if len(slices) < MIN_SLICES + lag or min(slices.shape[1:]) < MIN_SIDE:
        return None
    step = max(1, round(max(slices.shape[1:]) / _MEASURED_SIDE))
    low, high = intensity_range(slices[:: max(1, len(slices) // PAIRS)])
    if not high > low:
        return None
    level = air_level(low, high)
    areas = np.count_nonzero(slices[:, ::step, ::step] > level, axis=(1, 2))
    full = np.flatnonzero(np.minimum(areas[:-lag], areas[lag:]) >= FULL_SLICE * areas.max())
    if not full.size:
        return None
    chosen = full[np.unique(np.linspace(0, len(full) - 1, PAIRS).round().astype(int))]
    own, following = (
        averaged(scaled_to_one(slices[indices], low, high), step, step)
        for indices in (chosen, chosen + lag)
    )
    pixels = [mm * step for side, mm in enumerate(spacing_mm) if side != axis]
    difference = _difference(own, following)
    shifts = [
        _equal_shift(np.moveaxis(own, side + 1, 1), difference) * pixels[side] for side in (0, 1)
    ]
    shown = np.flatnonzero(areas > _BEYOND_HEAD * areas.max())
    depth = (shown[-1] - shown[0] + 1) * spacing_mm[axis]
    bright = np.asarray(own > FOREGROUND_LEVEL)
    places = np.argwhere(bright.any(axis=0))
    width = ((np.ptp(places, axis=0) + 1) * pixels).max() if len(places) else 0.0
    sides, is_cut = _extent(bright.mean(axis=0), pixels)
    return Measurements(
        shift=float(np.mean(shifts)),
        pixel=max(pixels),
        width=float(width),
        length=max(sides),
        breadth=min(sides),
        is_cut=is_cut,
        depth=float(depth),
    )


def scaled_to_one(image: Float32Array, low: float, high: float) -> Float32Array:
    """Return intensities with `low` and below as 0, `high` and above as 1, of the same shape."""
    scaled = image - np.float32(low)
    # In place: fresh memory takes longer than the arithmetic.
    scaled /= np.float32(high - low)
    return np.clip(scaled, 0, 1, out=scaled)


def averaged(slices: Float32Array, rows: int, columns: int) -> Float32Array:
    """Return slices averaged over rectangles of pixels.

    Args:
        slices: Intensities, shape (n, h, w).
        rows: Height of a rectangle, pixels.
        columns: Its width, pixels.

    Returns:
        Means, shape (n, h // rows, w // columns).
    """
    _, height, width = slices.shape
    cut = slices[:, : height // rows * rows, : width // columns * columns]
    # Sums of whole arrays take a quarter of the time of `mean` over small axes.
    by_row = _sum(cut[:, row::rows] for row in range(rows))
    by_column = _sum(by_row[:, :, column::columns] for column in range(columns))
    return by_column / np.float32(rows * columns)


def _sum(arrays: Iterable[Float32Array]) -> Float32Array:
    return reduce(np.add, arrays)


def _difference(first: Float32Array, second: Float32Array) -> float:
    """Return the mean absolute difference over pixels in which either image shows head."""
    head = (first > FOREGROUND_LEVEL) | (second > FOREGROUND_LEVEL)
    return float(np.abs(first - second)[head].mean()) if head.any() else 0.0


def _equal_shift(slices: Float32Array, difference: float) -> float:
    """Return the shift along the second axis that changes slices by this difference."""
    last, reached = 0, 0.0
    for shift in _SHIFTS:
        if shift > _LARGEST_SHIFT * slices.shape[1]:
            break
        # At large shifts, structures overlap similar ones: keep the curve monotone.
        found = max(reached, _difference(slices[:, shift:], slices[:, :-shift]))
        if found >= difference:
            return last + (shift - last) * (difference - reached) / max(found - reached, 1e-9)
        last, reached = shift, found
    return float(last)


def _extent(shown: Float64Array, pixels: list[float]) -> tuple[tuple[float, float], bool]:
    """Return both sides of the head, mm, and whether two opposite edges cut it.

    Args:
        shown: Share of slices in which a pixel is brighter than air, shape (h, w).
        pixels: Size of a pixel, mm.

    Returns:
        The spans of rows and columns that show more than the corners, where only noise is.
    """
    corner = [max(1, side // 8) for side in shown.shape]
    rows, columns = np.ix_(*(np.r_[:width, -width:0] for width in corner))
    noise = float(np.median(shown[rows, columns].mean(axis=1)))
    if noise > _MOST_NOISE:
        noise = 0.0  # a part of the head fills the field
    sides, is_cut = [], False
    for axis, pixel in enumerate(pixels):
        profile = shown.mean(axis=1 - axis)
        places = np.flatnonzero(profile > noise + _SHOWN_SHARE)
        sides.append(float((np.ptp(places) + 1) * pixel) if len(places) else 0.0)
        is_cut |= len(places) > 0 and places[0] == 0 and places[-1] == len(profile) - 1
    return (sides[0], sides[1]), bool(is_cut)


def _coarsest_axis(voxels: Float32Array, axis: int) -> int:
    """Return the axis along which neighbors differ most if any gap is implausible, else `axis`."""
    along = {side: measured_along(voxels, side, (1.0, 1.0, 1.0)) for side in (0, 1, 2)}
    shifts = {side: found.shift for side, found in along.items() if found and found.contradict(1.0)}
    # The other two planes are compressed, so the axis of the original slices has the largest shift.
    return max(shifts, key=lambda side: shifts[side]) if shifts else axis


def _implausible_width(scan: Scan) -> float | None:
    """Return the longer side of the head, mm, if the spacing was set and makes it implausible."""
    if scan.affine is None or is_unset(scan.affine):
        return None
    measured = _compared(scan, scan.view.slice_axis, spacing_of(scan.affine))
    return None if measured is None or measured.fit_head(unset=False) else measured.length


def _estimate_message(scan: Scan, claimed: Spacing, estimated: Spacing, axis: int) -> str:
    """Return the message about the claimed and the estimated geometry, with advice."""
    voxel = " x ".join(f"{mm:.2f}" for mm in estimated)
    orientation = " The orientation is also unknown: the head may be upside down." * is_unset(
        np.asarray(scan.affine)
    )
    advice = "If you know the voxel size, give it: --spacing X,Y,Z"
    if scan.identity.series_uid:
        advice = "Export the series again"
    gap = (
        f"the file says that slices lie {claimed[axis]:.2f} mm apart, which is implausible for a "
        f"head of this size that changes this much from slice to slice: {estimated[axis]:.1f} mm "
        "is estimated from the slices"
    )
    width = _implausible_width(scan)
    if sorted(estimated) == sorted(_rounded(claimed)):
        stored = " x ".join(f"{mm:.2f}" for mm in claimed)
        gap = (
            f"voxels of {stored} mm, as the file says, are implausible for a head; the same sizes "
            "fit its axes in another order"
        )
    elif width is not None and estimated[axis] != claimed[axis]:
        stored = " x ".join(f"{mm:.2f}" for mm in claimed)
        gap = (
            f"the file says that voxels measure {stored} mm, so that the head would be {width:.0f} "
            "mm long, which is implausible"
        )
    elif estimated[axis] == claimed[axis]:
        pixel = " x ".join(f"{mm:.2f}" for side, mm in enumerate(claimed) if side != axis)
        gap = f"the file says that pixels measure {pixel} mm, which is implausible for a head"
    return (
        f"{gap}, and voxels of {voxel} mm are used; no size in mm and no side is given."
        f"{orientation} {advice}"
    )
