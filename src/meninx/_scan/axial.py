"""Cut heads scanned in 3-D into axial slices, in whatever order their voxels are stored."""

from dataclasses import replace

import numpy as np

from meninx._scan.geometry import Float64Array, spacing_of
from meninx._scan.scan import Scan

# Voxels are as long as wide up to this ratio of their sides,
_MAX_ANISOTROPY = 1.5
# or shorter than this along all sides, mm: the network's pixels are about as large.
_FINE_VOXEL_MM = 1.25
# A scanned box that is shorter than this along a side is a slab, mm.
_MIN_HEAD_SIDE_MM = 100.0


def is_3d(affine: Float64Array, shape: tuple[int, ...]) -> bool:
    """Return whether a volume is a head scanned in 3-D: a whole head in nearly cubic voxels.

    Such a volume has no slice direction of its own; its storage order depends on the scanner's
    protocol and on the converter.

    Args:
        affine: Voxel index to LPS mm, shape (4, 4).
        shape: Shape of the volume, voxels.

    Returns:
        False for thick slices and for slabs.
    """
    spacing = np.array(spacing_of(affine))
    even = spacing.max() <= max(_MAX_ANISOTROPY * spacing.min(), _FINE_VOXEL_MM)
    return bool(even and (spacing * shape).min() >= _MIN_HEAD_SIDE_MM)


def cut_axially(scan: Scan) -> Scan:
    """Return a head scanned in 3-D with axial slices; any other scan as it is.

    Args:
        scan: Volume or picture as its file describes it.

    Returns:
        The same voxels and affine. A volume with uneven gaps keeps its slices, because only these
        are in place, and so does one whose geometry was estimated.
    """
    uneven = scan.positions_mm is not None
    if scan.affine is None or uneven or scan.geometry_estimated:
        return scan
    if not is_3d(scan.affine, scan.voxels.shape):
        return scan
    axis = int(np.argmax(np.abs(scan.affine[2, :3]) / spacing_of(scan.affine)))
    return scan if axis == scan.view.slice_axis else replace(scan, slice_axis=axis)
