"""Read masks that are volumes, resampled onto the grid of their scan by the affines."""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meninx._data.mask_values import check_extent, tumor_of
from meninx._data.progress import Report
from meninx._errors import DataError, UnsupportedScan
from meninx._scan.geometry import Float64Array
from meninx._scan.intensity import foreground
from meninx._scan.reading import read_labels
from meninx._scan.scan import Scan

log = logging.getLogger(__name__)

# Share of a scan that its mask's field of view must cover, and share of the tumor that must lie in
# the scan: edges differ by half a voxel, and by what resampling cuts off.
_MIN_COVERED = 0.95
_MIN_TUMOR_INSIDE = 0.99
# Number of voxels that a point of the grid may lie outside of its outermost centers.
_HALF_VOXEL = 0.5 + 1e-3
_BY_INDEX = (
    "mask or volume does not say where it lies (an identity or no affine), so voxels of the same "
    "index were taken to belong together"
)
# Warnings of scans whose affine is a guess.
_GUESSED = ("orientation_doubtful", "geometry_doubtful")


def read_mask(path: Path, scan: Scan, report: Report = log.debug) -> NDArray[np.bool_]:
    """Read a volume's mask onto the volume's grid.

    Both affines say where each voxel lies; a voxel of the scan takes the value of the nearest voxel
    of the mask. Where one of them says nothing (an identity, a guess or none), voxels of the same
    index belong together.

    Args:
        path: File of the mask, see `mask_values.tumor_of`; may be empty.
        scan: Volume that the mask belongs to.
        report: Called with a sentence where voxels were matched by index, without an affine, or a
            threshold decides.

    Returns:
        Mask in the shape of the scan's voxels.

    Raises:
        DataError: If the mask lies elsewhere, covers another field or most of the head, has values
            that no mask has, or has no affine and another shape.
        InputError: If the mask can't be read.
    """
    try:
        mask = read_labels(path)
    except UnsupportedScan as error:
        if error.reason == "blank":
            return np.zeros(scan.voxels.shape, dtype=bool)
        raise
    tumor = _on_scan(tumor_of(mask.voxels, mask.name, report), mask, scan, report)
    if tumor.any():
        check_extent(tumor, foreground(scan.voxels), mask.name)
    return tumor


def _on_scan(tumor: NDArray[np.bool_], mask: Scan, scan: Scan, report: Report) -> NDArray[np.bool_]:
    """Return a mask on the grid of a scan: by the affines, or by the index if one is unknown."""
    if _says_where(mask) and _says_where(scan):
        return tumor if _is_same_grid(mask, scan) else _on_grid(tumor, mask, scan)
    if scan.voxels.shape != tumor.shape:
        raise DataError(
            f"{mask.name}: the mask has {tumor.shape} voxels, its volume {scan.voxels.shape}, and "
            "not both say where they lie; draw it on the volume's grid"
        )
    report(f"{mask.name}: {_BY_INDEX}")
    return tumor


def tumor_area(scan: Scan, mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return how many pixels of each slice of a volume are tumor.

    Args:
        scan: Volume.
        mask: Mask of its tumor, as `read_mask` returns it.

    Returns:
        One number a slice, shape (n,).
    """
    axis = scan.view.slice_axis
    return np.asarray(mask.sum(axis=tuple({0, 1, 2} - {axis})))


def _says_where(scan: Scan) -> bool:
    """Return whether a volume's affine is known: neither an identity nor a reader's guess."""
    if any(warning.code in _GUESSED for warning in scan.warnings):
        return False
    # Signs differ between the conventions of formats.
    return scan.affine is not None and not np.array_equal(np.abs(scan.affine), np.eye(4))


def _is_same_grid(mask: Scan, scan: Scan) -> bool:
    """Return whether voxels of the same index lie in the same place, to a tenth of a voxel."""
    if mask.voxels.shape != scan.voxels.shape or scan.positions_mm != mask.positions_mm:
        return False
    between = _voxels_between(mask, scan)
    corners = np.array(np.meshgrid(*((0, side - 1) for side in scan.voxels.shape))).reshape(3, -1)
    moved = between[:3, :3] @ corners + between[:3, 3:]
    return bool(np.abs(moved - corners).max() < 0.1)


def _voxels_between(mask: Scan, scan: Scan) -> Float64Array:
    """Return the matrix from voxel indices of a scan to those of its mask, shape (4, 4)."""
    return np.asarray(np.linalg.solve(np.asarray(mask.affine), np.asarray(scan.affine)))


def _on_grid(tumor: NDArray[np.bool_], mask: Scan, scan: Scan) -> NDArray[np.bool_]:
    """Return a mask on the grid of a scan, each voxel that of the nearest one of the mask."""
    between = _voxels_between(mask, scan)
    axes = [np.arange(side, dtype=np.float64) for side in scan.voxels.shape]
    if scan.positions_mm is not None and scan.slice_gap_mm:
        axes[scan.view.slice_axis] = np.array(scan.positions_mm) / scan.slice_gap_mm
    i, j, k = axes
    found = np.zeros(scan.voxels.shape, dtype=bool)
    covered = 0
    # By planes: coordinates of all voxels would take ten times the memory of the volume.
    for place, first in enumerate(i):
        grid = np.stack(np.broadcast_arrays(first, j[:, None], k[None, :]))
        at = np.einsum("ab,bjk->ajk", between[:3, :3], grid) + between[:3, 3, None, None]
        nearest, inside = _nearest(at, tumor.shape)
        covered += int(inside.sum())
        found[place][inside] = tumor[tuple(nearest[:, inside])]
    _check_fields(mask, scan, covered / found.size, tumor)
    return found


def _nearest(
    at: Float64Array, shape: tuple[int, ...]
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return the nearest indices of points, and which points lie in a grid of that shape."""
    last = np.array(shape).reshape(3, *([1] * (at.ndim - 1))) - 1
    inside = np.asarray(((at >= -_HALF_VOXEL) & (at <= last + _HALF_VOXEL)).all(axis=0))
    # Halves are rounded up, so that a grid of half the spacing takes every second voxel.
    nearest = np.clip(np.floor(at + 0.5), 0, last).astype(np.intp)
    return nearest, inside


def _check_fields(mask: Scan, scan: Scan, covered: float, tumor: NDArray[np.bool_]) -> None:
    """Raise a DataError if a mask and its scan do not show the same place."""
    if covered < _MIN_COVERED:
        raise DataError(
            f"{mask.name}: by the affines the mask covers {covered:.0%} of its volume, expected at "
            f"least {_MIN_COVERED:.0%}; is it another scan's, or was it cut? Draw it on the whole "
            "volume, or resample it there"
        )
    places = np.argwhere(tumor).T.astype(np.float64)
    if not places.size:
        return
    back = np.linalg.inv(_voxels_between(mask, scan))
    _, inside = _nearest(back[:3, :3] @ places + back[:3, 3:], scan.voxels.shape)
    share = float(inside.mean())
    if share < _MIN_TUMOR_INSIDE:
        raise DataError(
            f"{mask.name}: by the affines {1 - share:.0%} of the mask's tumor lies outside of its "
            "volume; is it another scan's?"
        )
