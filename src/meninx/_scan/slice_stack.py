"""Order the slices of a stack along their normal, and check their spacing."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meninx._errors import GeometryError
from meninx._scan.geometry import SHEAR_TOLERANCE, Float64Array, plane_normal
from meninx._scan.warning import ScanWarning

# Headers hold positions as decimal strings, often rounded to a hundredth of a millimeter: slices
# nearer than this share a position.
POSITION_TOLERANCE_MM = 0.02
# Gaps that differ by more than this share of the spacing are unequal.
_GAP_TOLERANCE = 0.01
# Some exports round each coordinate to a tenth of a millimeter; the difference of two positions is
# off by less than this. dcm2niix converts such series without a warning.
_ROUNDED_MM = 0.2
# Slices are missing in gaps of at least this multiple of the spacing; below its inverse the slices
# belong to two series.
_MISSING_FROM = 1.5
# A stack is scored if its missing slices are isolated and at most this share of all. dcm2niix
# converts such stacks with a warning.
_MAX_MISSING_SHARE = 0.1


# Fewer slices are even by chance.
_MIN_EVEN = 4


@dataclass(frozen=True)
class StackSpacing:
    """The distances between the slices of a stack.

    Args:
        spacing_mm: Median distance between neighbors, above 0.
        positions_mm: Position of each slice along the normal, mm from the first, shape (n,); None
            if all gaps are equal.
        warnings: Irregularities that do not prevent scoring.
    """

    spacing_mm: float
    positions_mm: tuple[float, ...] | None = None
    warnings: tuple[ScanWarning, ...] = ()


def slice_order(positions: ArrayLike, orientation: ArrayLike) -> NDArray[np.intp]:
    """Return the order of slices along the normal of their plane.

    Sorting by z fails, because a sagittal series has the same z in every slice.

    Args:
        positions: ImagePositionPatient, shape (n, 3), mm, LPS.
        orientation: ImageOrientationPatient, shape (6,), direction cosines.

    Returns:
        Indices that sort the slices upwards along row cosines x column cosines, shape (n,).
    """
    heights = np.asarray(positions, dtype=np.float64) @ plane_normal(orientation)
    return np.argsort(heights, kind="stable")


def is_even(heights: Float64Array) -> bool:
    """Return whether slices have gaps as between those of one stack.

    Args:
        heights: Four or more positions along the normal, in increasing order, mm, shape (n,).

    Returns:
        Whether they could be scored as one stack: none shares a position, and at most isolated
        slices are missing.
    """
    if len(heights) < _MIN_EVEN:
        return False
    gaps = np.diff(heights)
    ratios = gaps / max(float(np.median(gaps)), POSITION_TOLERANCE_MM)
    missing = np.where(ratios >= _MISSING_FROM, np.rint(ratios) - 1, 0)
    share = missing.sum() / (len(heights) + missing.sum())
    is_whole = missing.max() <= 1 and share <= _MAX_MISSING_SHARE
    return bool(is_whole and (ratios >= 1 / _MISSING_FROM).all())


def stack_spacing(positions: ArrayLike, orientation: ArrayLike) -> StackSpacing:
    """Check that slices form a stack, and return the distances between them.

    Args:
        positions: ImagePositionPatient in slice order, shape (n, 3), n >= 2, mm, LPS.
        orientation: ImageOrientationPatient, shape (6,), direction cosines.

    Returns:
        Spacing, individual positions if gaps are unequal, and warnings.

    Raises:
        GeometryError: If slices coincide, too many are missing, or they are shifted sideways.

    References:
        DICOM PS3.3 C.7.6.2.1.1. The tolerances accept what dcm2niix converts.
    """
    points = np.asarray(positions, dtype=np.float64)
    normal = plane_normal(orientation)
    heights = points @ normal
    gaps = np.diff(heights)
    spacing = float(np.median(gaps))
    _check_distinct(gaps, len(points))
    _check_sideways(points, normal, spacing)
    if np.ptp(gaps) <= max(2 * POSITION_TOLERANCE_MM, _GAP_TOLERANCE * spacing):
        return StackSpacing(spacing)
    warnings = [*_missing_slices(gaps, spacing)]
    if not warnings:
        warnings = [_uneven_gaps(gaps, spacing)]
    return StackSpacing(spacing, tuple((heights - heights[0]).tolist()), tuple(warnings))


def _check_distinct(gaps: Float64Array, count: int) -> None:
    repeated = np.flatnonzero(gaps <= POSITION_TOLERANCE_MM)
    if repeated.size:
        number = repeated.size + 1 if repeated.size == 1 else repeated.size
        raise GeometryError(
            f"{number} slices share a position, the first at slice {repeated[0] + 1} of {count}, "
            "and their pixels differ; expected one slice per position: the series may hold several "
            "echoes or time points that its headers do not distinguish"
        )


def _check_sideways(points: Float64Array, normal: Float64Array, spacing: float) -> None:
    steps = np.diff(points, axis=0)
    sideways = np.linalg.norm(steps - np.outer(steps @ normal, normal), axis=1)
    shifted = np.flatnonzero(sideways > max(_ROUNDED_MM, SHEAR_TOLERANCE * spacing))
    # Rounding errors cancel out along the stack; shear accumulates in one direction.
    drift = points[-1] - points[0]
    drift = float(np.linalg.norm(drift - (drift @ normal) * normal))
    leaning = drift > max(_ROUNDED_MM, SHEAR_TOLERANCE * float(np.abs(np.sum(steps @ normal))))
    if shifted.size or leaning:
        place = int(shifted[0]) if shifted.size else 0
        raise GeometryError(
            f"slice {place + 2} is shifted {sideways[place]:.2f} mm sideways against slice "
            f"{place + 1} (spacing {spacing:.2f} mm): a sheared stack, as from a tilted gantry; "
            "resample it to a rectangular grid first"
        )


def _missing_slices(gaps: Float64Array, spacing: float) -> list[ScanWarning]:
    """Return a warning if slices are missing; raise if too many are, or gaps are irregular."""
    ratios = gaps / spacing
    if (ratios < 1 / _MISSING_FROM).any():
        place = int(np.argmin(ratios))
        raise GeometryError(
            f"unequal spacing: the gap after slice {place + 1} is {gaps[place]:.2f} mm, expected "
            f"{spacing:.2f} mm as between the others; export one series of one spacing"
        )
    missing = np.where(ratios >= _MISSING_FROM, np.rint(ratios) - 1, 0).astype(int)
    if not missing.any():
        return []
    place, count = int(np.argmax(missing)), int(missing.sum())
    share = count / (len(gaps) + 1 + count)
    if missing.max() > 1 or share > _MAX_MISSING_SHARE:
        worst = int(missing[place])
        noun = "slice" if worst == 1 else "slices"
        more = f", {count} in all" if count > worst else ""
        raise GeometryError(
            f"{worst} {noun} missing after slice {place + 1} (gap {gaps[place]:.1f} mm, spacing "
            f"{spacing:.1f} mm){more}; export the whole series"
        )
    after = ", ".join(str(index + 1) for index in np.flatnonzero(missing))
    noun = "slice is" if count == 1 else "slices are"
    text = f"{count} {noun} missing, after slice {after} (spacing {spacing:.1f} mm)"
    return [ScanWarning("missing_slices", text)]


def _uneven_gaps(gaps: Float64Array, spacing: float) -> ScanWarning:
    return ScanWarning(
        "uneven_spacing",
        f"slices lie {gaps.min():.2f} to {gaps.max():.2f} mm apart (median {spacing:.2f} mm); "
        "the positions in the headers are used",
    )
