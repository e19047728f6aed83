"""Place slices in the patient: order, spacing, affine, and the way that a reader looks at them.

Patient coordinates are DICOM's: LPS (x to the patient's left, y to the back, z to the head), mm.
"""

from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meninx._errors import GeometryError, OptionError
from meninx._scan.warning import ScanWarning

Float64Array = NDArray[np.float64]
Value = TypeVar("Value", bound=np.generic)
Plane = Literal["axial", "coronal", "sagittal"]
# Distance between neighboring voxels along i, j and k, mm.
Spacing = tuple[float, float, float]

# NIfTI is RAS: x to the right, y to the front. DICOM and meninx use LPS. Its own inverse.
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
# Headers hold positions as decimal strings, often rounded to a hundredth of a millimeter: slices
# nearer than this lie in one place.
POSITION_TOLERANCE_MM = 0.02
# Gaps that differ by more than this share of the spacing are unequal.
GAP_TOLERANCE = 0.01
# Some exports round each coordinate to a tenth of a millimeter; two ends together are off by less
# than this. dcm2niix converts such series without a warning.
ROUNDED_MM = 0.2
# From this multiple of the spacing on, slices are missing in a gap; below its inverse the slices
# belong to two series.
MISSING_FROM = 1.5
# Missing slices leave the rest worth judging as long as they are single and no more than this share
# of all. dcm2niix warns of them and converts.
MAX_MISSING_SHARE = 0.1
# Direction cosines of one series agree to this, scanners' rounding included.
COSINE_TOLERANCE = 1e-3
# A newborn's brain, cut close, is 90 mm long; scanners' bores are 600 to 700 mm wide.
SMALLEST_FIELD_MM, LARGEST_FIELD_MM = 70, 700
# Voxels of MR images of a head, mm: from microscopy of specimens to slices with wide gaps.
SMALLEST_VOXEL_MM, LARGEST_VOXEL_MM = 0.05, 50.0
# A slice may lie off the straight line through its neighbors by this share of the spacing.
SHEAR_TOLERANCE = 0.02


def plane_normal(orientation: ArrayLike) -> Float64Array:
    """Return the normal of an image plane.

    Args:
        orientation: ImageOrientationPatient, shape (6,), direction cosines.

    Returns:
        Unit vector, shape (3,), row cosines x column cosines.

    Raises:
        GeometryError: If the cosines are no two perpendicular unit vectors.

    References:
        DICOM PS3.3 C.7.6.2.1.1.
    """
    cosines = np.asarray(orientation, dtype=np.float64)
    row, column = cosines[:3], cosines[3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if not np.allclose(lengths, 1, atol=1e-2) or abs(row @ column) > COSINE_TOLERANCE * 10:
        raise GeometryError(
            f"ImageOrientationPatient {cosines.tolist()}, expected two perpendicular unit vectors; "
            "the header was changed: export the series again"
        )
    normal = np.cross(row, column)
    return np.asarray(normal / np.linalg.norm(normal))


def slice_order(positions: ArrayLike, orientation: ArrayLike) -> NDArray[np.intp]:
    """Return the order of slices along the normal of their plane.

    z alone fails, because a sagittal series has the same z in every slice.

    Args:
        positions: ImagePositionPatient, shape (n, 3), mm, LPS.
        orientation: ImageOrientationPatient, shape (6,), direction cosines.

    Returns:
        Indices that sort the slices upwards along row cosines x column cosines, shape (n,).
    """
    heights = np.asarray(positions, dtype=np.float64) @ plane_normal(orientation)
    return np.argsort(heights, kind="stable")


@dataclass(frozen=True)
class StackSpacing:
    """How far apart the slices of a stack lie.

    Args:
        spacing_mm: Median distance between neighbors, above 0.
        positions_mm: Position of each slice along the normal, mm from the first, shape (n,); None
            where all gaps are alike.
        warnings: Oddities that do not prevent a judgment.
    """

    spacing_mm: float
    positions_mm: tuple[float, ...] | None = None
    warnings: tuple[ScanWarning, ...] = ()


def stack_spacing(positions: ArrayLike, orientation: ArrayLike) -> StackSpacing:
    """Return the distances between slices, having checked that they form a stack.

    Args:
        positions: ImagePositionPatient in slice order, shape (n, 3), n >= 2, mm, LPS.
        orientation: ImageOrientationPatient, shape (6,), direction cosines.

    Returns:
        Spacing, true positions where it is unequal, and warnings.

    Raises:
        GeometryError: If slices coincide, too many are missing, or they are shifted sideways.

    References:
        DICOM PS3.3 C.7.6.2.1.1. What is tolerated is what dcm2niix converts.
    """
    points = np.asarray(positions, dtype=np.float64)
    normal = plane_normal(orientation)
    heights = points @ normal
    gaps = np.diff(heights)
    spacing = float(np.median(gaps))
    _check_twins(gaps, len(points))
    _check_sideways(points, normal, spacing)
    if np.ptp(gaps) <= max(2 * POSITION_TOLERANCE_MM, GAP_TOLERANCE * spacing):
        return StackSpacing(spacing)
    warnings = [*_missing_slices(gaps, spacing)]
    if not warnings:
        warnings = [_uneven_gaps(gaps, spacing)]
    return StackSpacing(spacing, tuple((heights - heights[0]).tolist()), tuple(warnings))


def _check_twins(gaps: Float64Array, count: int) -> None:
    twins = np.flatnonzero(gaps <= POSITION_TOLERANCE_MM)
    if twins.size:
        raise GeometryError(
            f"{twins.size + 1 if twins.size == 1 else twins.size} slices share a position, the "
            f"first at slice {twins[0] + 1} of {count}, and their pixels differ; expected one "
            "slice a position: the series may hold several echoes or time points that its headers "
            "do not tell apart"
        )


def _check_sideways(points: Float64Array, normal: Float64Array, spacing: float) -> None:
    steps = np.diff(points, axis=0)
    sideways = np.linalg.norm(steps - np.outer(steps @ normal, normal), axis=1)
    shifted = np.flatnonzero(sideways > max(ROUNDED_MM, SHEAR_TOLERANCE * spacing))
    # Rounding goes to and fro; what is sheared goes on in one direction.
    drift = points[-1] - points[0]
    drift = float(np.linalg.norm(drift - (drift @ normal) * normal))
    leaning = drift > max(ROUNDED_MM, SHEAR_TOLERANCE * float(np.abs(np.sum(steps @ normal))))
    if shifted.size or leaning:
        place = int(shifted[0]) if shifted.size else 0
        raise GeometryError(
            f"slice {place + 2} is shifted {sideways[place]:.2f} mm sideways against slice "
            f"{place + 1} (spacing {spacing:.2f} mm): a sheared stack, as from a tilted gantry; "
            "resample it to a rectangular grid first"
        )


def _missing_slices(gaps: Float64Array, spacing: float) -> list[ScanWarning]:
    """Return a warning if slices are missing; raise if too many are, or they form no stack."""
    ratios = gaps / spacing
    if (ratios < 1 / MISSING_FROM).any():
        place = int(np.argmin(ratios))
        raise GeometryError(
            f"unequal spacing: the gap after slice {place + 1} is {gaps[place]:.2f} mm, expected "
            f"{spacing:.2f} mm as between the others; export one series of one spacing"
        )
    missing = np.where(ratios >= MISSING_FROM, np.rint(ratios) - 1, 0).astype(int)
    if not missing.any():
        return []
    place, count = int(np.argmax(missing)), int(missing.sum())
    share = count / (len(gaps) + 1 + count)
    if missing.max() > 1 or share > MAX_MISSING_SHARE:
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
        "each is taken where its header puts it",
    )


def affine_of_stack(
    first_position: ArrayLike,
    orientation: ArrayLike,
    pixel_spacing: tuple[float, float],
    slice_gap: float,
) -> Float64Array:
    """Return the affine of a stack of slices.

    Args:
        first_position: ImagePositionPatient of the first slice, shape (3,), mm, LPS.
        orientation: ImageOrientationPatient, shape (6,).
        pixel_spacing: PixelSpacing: distance between rows, then between columns, mm.
        slice_gap: Distance between slices, mm.

    Returns:
        Shape (4, 4): from voxel index (column i, row j, slice k) to LPS mm.

    References:
        DICOM PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1.
    """
    cosines = np.asarray(orientation, dtype=np.float64)
    affine = np.eye(4)
    affine[:3, 0] = cosines[:3] * pixel_spacing[1]
    affine[:3, 1] = cosines[3:] * pixel_spacing[0]
    affine[:3, 2] = plane_normal(orientation) * slice_gap
    affine[:3, 3] = np.asarray(first_position, dtype=np.float64)
    return affine


def field_of_view_fault(across_mm: float) -> str | None:
    """Return the message for an implausible width of a slice that shows a head.

    Args:
        across_mm: Longer side of the slice, mm.

    Returns:
        The message; None for a plausible width.
    """
    if SMALLEST_FIELD_MM <= across_mm <= LARGEST_FIELD_MM:
        return None
    return (
        f"slices {across_mm:.3g} mm across; expected {SMALLEST_FIELD_MM} to {LARGEST_FIELD_MM} mm, "
        "as of heads: the pixel spacing or its unit is wrong; export the scan again"
    )


def spacing_of(affine: Float64Array) -> tuple[float, float, float]:
    """Return the distance between neighboring voxels along i, j and k, mm."""
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0)
    return float(x), float(y), float(z)


def respaced(affine: Float64Array, spacing_mm: Spacing) -> Float64Array:
    """Return an affine with other distances between voxels.

    Args:
        affine: Voxel index to LPS mm, shape (4, 4).
        spacing_mm: Distance between neighboring voxels along i, j and k, mm.

    Returns:
        The affine; its axes keep their directions, its first voxel its place.
    """
    changed = np.array(affine, dtype=np.float64)
    changed[:3, :3] *= np.array(spacing_mm) / spacing_of(affine)
    return changed


def spacing_from_text(text: str) -> Spacing:
    """Return the spacing that a user wrote.

    Args:
        text: Three numbers with commas between them, such as `0.9,0.9,6.5`.

    Returns:
        Distance between neighboring voxels along i, j and k, mm.

    Raises:
        OptionError: If it is anything else, or no size of a voxel.
    """
    try:
        i, j, k = (float(part) for part in text.split(","))
    except ValueError:
        i = j = k = 0.0
    if not all(SMALLEST_VOXEL_MM <= side <= LARGEST_VOXEL_MM for side in (i, j, k)):
        raise OptionError(
            f"spacing {text!r}: expected the size of a voxel along the file's three axes, in mm "
            f"({SMALLEST_VOXEL_MM:g} to {LARGEST_VOXEL_MM:g}), such as 0.9,0.9,6.5"
        )
    return i, j, k


def check_affine(affine: Float64Array) -> None:
    """Check that an affine is a rectangular grid.

    Args:
        affine: Voxel index to LPS mm.

    Raises:
        GeometryError: If it is not finite, singular, or its axes are not perpendicular.
    """
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise GeometryError(
            "the affine is not a 4x4 matrix of finite numbers; export the volume again"
        )
    spacing = np.array(spacing_of(affine))
    if (spacing < 1e-3).any() or (spacing > 1e3).any():
        raise GeometryError(
            f"voxels of {' x '.join(f'{s:.4g}' for s in spacing)} mm; expected 0.001 to 1000 mm: "
            "export the volume again"
        )
    axes = affine[:3, :3] / spacing
    skew = np.abs(axes.T @ axes - np.eye(3)).max()
    if skew > SHEAR_TOLERANCE:
        raise GeometryError(
            f"the axes are sheared (cosine {skew:.3f} between two of them, expected 0); resample "
            "the volume to a rectangular grid first"
        )


@dataclass(frozen=True)
class View:
    """How a volume is cut into slices and how these are turned for a reader.

    Radiological convention: the patient's right on the viewer's left, front or head upwards, and
    in sagittal slices the face to the left.

    Args:
        slice_axis: Voxel axis that counts slices (0, 1, 2 for i, j, k).
        row_axis: Voxel axis that runs down the image.
        column_axis: Voxel axis that runs to the right.
        flip_rows: Whether the row axis runs upwards instead.
        flip_columns: Whether the column axis runs to the left instead.
        plane: How the slices lie in the patient; None without geometry.
    """

    slice_axis: int
    row_axis: int
    column_axis: int
    flip_rows: bool
    flip_columns: bool
    plane: Plane | None

    def cut(self, voxels: NDArray[Value], index: int) -> NDArray[Value]:
        """Return one slice of a volume, turned for a reader.

        Args:
            voxels: Intensities or a mask, axes [i, j, k].
            index: Index along the slice axis, from 0.

        Returns:
            Image, shape (h, w), [row, column].
        """
        # A view: taking along an axis would first copy the whole volume into another order.
        plane = np.moveaxis(voxels, self.slice_axis, 0)[index]
        # What is left keeps the order of the voxel axes; rows come first in an image.
        image = plane if self.row_axis < self.column_axis else plane.T
        turned = image[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]
        return np.ascontiguousarray(turned)

    def put(self, image: NDArray[Value], voxels: NDArray[Value], index: int) -> None:
        """Put a slice back into a volume: the inverse of `cut`.

        Args:
            image: Slice as `cut` returns it, shape (h, w).
            voxels: Volume, axes [i, j, k]; changed in place.
            index: Index along the slice axis, from 0.
        """
        turned = image[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]
        plane = turned if self.row_axis < self.column_axis else turned.T
        np.moveaxis(voxels, self.slice_axis, 0)[index] = plane


# A picture is shown as it is stored: i to the right, j down.
PICTURE_VIEW = View(2, 1, 0, flip_rows=False, flip_columns=False, plane=None)

_PLANES: tuple[Plane, ...] = ("sagittal", "coronal", "axial")
# For each plane the LPS direction of image columns (to the right) and rows (down).
_DIRECTIONS = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
}


def plane_along(affine: Float64Array, axis: int) -> Plane:
    """Return the plane of slices that follow each other along a voxel axis."""
    return _PLANES[int(np.argmax(np.abs(affine[:3, axis])))]


# An axis this much coarser than the others is the one that the scanner stepped along.
COARSE_AXIS = 1.5
# A whole head measures much the same along all axes: an axis this much shorter than both others is
# that of a slab, whose slices lie side by side along it.
THIN_SLAB = 0.25


def view_of(
    affine: Float64Array,
    slice_axis: int | None = None,
    shape: tuple[int, ...] | None = None,
) -> View:
    """Return how a volume was cut by the scanner, turned for a reader.

    Slices follow each other along k, as scanners store them, unless another axis is markedly
    coarser, or the volume is a slab that is thin along another: then a tool has reordered the axes
    since.

    Args:
        affine: Voxel index to LPS mm, shape (4, 4).
        slice_axis: Voxel axis along which slices follow each other; None where not known.
        shape: Shape of the volume, voxels; None to find the axis by the spacing alone.

    Returns:
        The view in radiological convention.
    """
    spacing = spacing_of(affine)
    if slice_axis is None:
        coarsest = int(np.argmax(spacing))
        slice_axis = coarsest if spacing[coarsest] > COARSE_AXIS * spacing[2] else 2
        extent = np.array(spacing) * (shape or (1, 1, 1))
        thinnest = int(np.argmin(extent))
        if extent[thinnest] < THIN_SLAB * np.delete(extent, thinnest).min():
            slice_axis = thinnest
    plane = plane_along(affine, slice_axis)
    right, down = (np.array(direction) for direction in _DIRECTIONS[plane])
    first, second = (axis for axis in range(3) if axis != slice_axis)
    axes = affine[:3, :3] / spacing
    along = [abs(axes[:, first] @ right), abs(axes[:, second] @ right)]
    column_axis, row_axis = (first, second) if along[0] >= along[1] else (second, first)
    return View(
        slice_axis,
        row_axis,
        column_axis,
        flip_rows=bool(axes[:, row_axis] @ down < 0),
        flip_columns=bool(axes[:, column_axis] @ right < 0),
        plane=plane,
    )
