"""Affines and voxel spacing in patient coordinates.

Patient coordinates follow DICOM: LPS (x to the patient's left, y to the back, z to the head), mm.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meninx._errors import GeometryError, OptionError

Float64Array = NDArray[np.float64]
Plane = Literal["axial", "coronal", "sagittal"]
# Distance between neighboring voxels along i, j and k, mm.
Spacing = tuple[float, float, float]
# NIfTI is RAS: x to the right, y to the front. DICOM and meninx use LPS. Its own inverse.
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
# Direction cosines of one series agree to this, including scanners' rounding.
COSINE_TOLERANCE = 1e-3
# A newborn's brain, cut close, is 90 mm long; scanners' bores are 600 to 700 mm wide.
SMALLEST_FIELD_MM, LARGEST_FIELD_MM = 70, 700
# Voxels of MR images of a head, mm: from microscopy of specimens to slices with wide gaps.
SMALLEST_VOXEL_MM, LARGEST_VOXEL_MM = 0.05, 50.0
# Sideways shift between neighboring slices, as a share of the spacing, and cosine between axes.
SHEAR_TOLERANCE = 0.02


def plane_normal(orientation: ArrayLike) -> Float64Array:
    """Return the normal of an image plane.

    Args:
        orientation: ImageOrientationPatient, shape (6,), direction cosines.

    Returns:
        Unit vector, shape (3,), row cosines x column cosines.

    Raises:
        GeometryError: If the cosines are not two perpendicular unit vectors.

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
    """Return the error message for an implausible width of a slice of a head.

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
    """Return an affine with another voxel spacing.

    Args:
        affine: Voxel index to LPS mm, shape (4, 4).
        spacing_mm: Distance between neighboring voxels along i, j and k, mm.

    Returns:
        The affine; the directions of its axes and the position of its first voxel are unchanged.
    """
    changed = np.array(affine, dtype=np.float64)
    changed[:3, :3] *= np.array(spacing_mm) / spacing_of(affine)
    return changed


def spacing_from_text(text: str) -> Spacing:
    """Parse a voxel spacing.

    Args:
        text: Three numbers separated by commas, such as `0.9,0.9,6.5`.

    Returns:
        Distance between neighboring voxels along i, j and k, mm.

    Raises:
        OptionError: If it is anything else, or not a plausible voxel size.
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
    """Check that an affine describes a rectangular grid.

    Args:
        affine: Voxel index to LPS mm.

    Raises:
        GeometryError: If it is not finite, is singular, or its axes are not perpendicular.
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
