"""How a volume is cut into slices, and how these are turned for a reader."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from meninx._scan.geometry import Float64Array, Plane, spacing_of

Value = TypeVar("Value", bound=np.generic)
_PLANES: tuple[Plane, ...] = ("sagittal", "coronal", "axial")
# For each plane the LPS direction of image columns (to the right) and rows (down).
_DIRECTIONS = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
}
# Slices follow each other along an axis that is this much coarser than k.
_COARSE_AXIS = 1.5
# A whole head has similar extents along all axes: an extent below this share of both others is that
# of a slab, whose slices follow each other along this axis.
_THIN_SLAB = 0.25


@dataclass(frozen=True)
class View:
    """Orientation of slices in a volume and on the screen.

    Radiological convention: the patient's right on the viewer's left, front or head upwards, and
    in sagittal slices the face to the left.

    Args:
        slice_axis: Voxel axis that counts slices (0, 1, 2 for i, j, k).
        row_axis: Voxel axis that runs down the image.
        column_axis: Voxel axis that runs to the right.
        flip_rows: Whether the row axis runs upwards instead.
        flip_columns: Whether the column axis runs to the left instead.
        plane: Anatomic plane of the slices; None without geometry.
        descending: Whether indices run against columns x rows: in axial slices, from the head to
            the feet.
    """

    slice_axis: int
    row_axis: int
    column_axis: int
    flip_rows: bool
    flip_columns: bool
    plane: Plane | None
    descending: bool = False

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
        # The remaining axes keep their order; rows come first in an image.
        image = plane if self.row_axis < self.column_axis else plane.T
        turned = image[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]
        return np.ascontiguousarray(turned)

    def stack(self, voxels: NDArray[Value]) -> NDArray[Value]:
        """Return all slices of a volume, turned for a reader, in the reader's order.

        Args:
            voxels: Intensities or a mask, axes [i, j, k].

        Returns:
            A view of the voxels, shape (n, h, w), the last index first if `descending`: the same
            for all storage orders of one volume.
        """
        turned = voxels.transpose(self.slice_axis, self.row_axis, self.column_axis)
        steps = (-1 if flip else 1 for flip in (self.descending, self.flip_rows, self.flip_columns))
        return turned[tuple(slice(None, None, step) for step in steps)]

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


# A picture is shown as stored: i to the right, j down.
PICTURE_VIEW = View(2, 1, 0, flip_rows=False, flip_columns=False, plane=None)


def _plane_along(affine: Float64Array, axis: int) -> Plane:
    """Return the anatomic plane of slices that follow each other along a voxel axis."""
    return _PLANES[int(np.argmax(np.abs(affine[:3, axis])))]


def view_of(
    affine: Float64Array,
    slice_axis: int | None = None,
    shape: tuple[int, ...] | None = None,
) -> View:
    """Return the slice orientation of a volume, in radiological convention.

    Slices follow each other along k, as scanners store them, unless another axis is much coarser or
    the volume is a slab that is thin along another axis: then a tool has reordered the axes.

    Args:
        affine: Voxel index to LPS mm, shape (4, 4).
        slice_axis: Voxel axis along which slices follow each other; None if unknown.
        shape: Shape of the volume, voxels; None to find the axis from the spacing alone.

    Returns:
        The view.
    """
    spacing = spacing_of(affine)
    if slice_axis is None:
        coarsest = int(np.argmax(spacing))
        slice_axis = coarsest if spacing[coarsest] > _COARSE_AXIS * spacing[2] else 2
        extent = np.array(spacing) * (shape or (1, 1, 1))
        thinnest = int(np.argmin(extent))
        if extent[thinnest] < _THIN_SLAB * np.delete(extent, thinnest).min():
            slice_axis = thinnest
    plane = _plane_along(affine, slice_axis)
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
        descending=bool(axes[:, slice_axis] @ np.cross(right, down) < 0),
    )
