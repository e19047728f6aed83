"""Read the pictures of a stack as one scan, with the mask of its tumor."""

import logging
from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from meninx._data.manifest import Picture
from meninx._data.mask_pictures import read_covered
from meninx._data.mask_values import check_extent
from meninx._data.progress import Report
from meninx._errors import DataError, UnsupportedScan
from meninx._scan.intensity import foreground
from meninx._scan.plausibility import estimated_gap_mm
from meninx._scan.raster import read_gray
from meninx._scan.scan import Scan
from meninx._scan.scan import Sequence as MrSequence

log = logging.getLogger(__name__)

CONTRADICTION = "labeled tumor-free, but its mask {mask} is not empty; correct one of them"
# What a stack of axial slices covers, from the foramen magnum to above the crown.
_STACK_EXTENT_MM = 160.0
# Field of view of a picture that shows a whole head: its longer side.
HEAD_MM = 230.0


def _stack_gap_mm(volume: NDArray[np.float32], pixel_mm: float) -> float:
    """Estimate the distance between the pictures of a stack, which have no geometry.

    Args:
        volume: Pictures of the stack, shape (n, h, w).
        pixel_mm: Size of a pixel, mm.

    Returns:
        Distance, mm; where too few pictures show a head, that of a stack that covers one.
    """
    estimated = estimated_gap_mm(volume, 0, (1.0, pixel_mm, pixel_mm))
    return _STACK_EXTENT_MM / len(volume) if estimated is None else estimated


def read_stack(members: Sequence[Picture]) -> tuple[Scan, NDArray[np.bool_]]:
    """Read the pictures of a stack as one scan.

    Args:
        members: Rows of one stack, in any order.

    Returns:
        The scan, slices along k by position, with the gap of the rows or else an estimated one; and
        the mask of its tumor, in the same shape, false where rows name no mask.

    Raises:
        DataError: If a mask is empty, or pictures differ in size.
        InputError: If a picture can't be read, or all are blank.
    """
    ordered = sorted(members, key=lambda picture: picture.position or 0)
    images = [_image_of(picture) for picture in ordered]
    shape = _common_shape(images, ordered[0])
    blank = np.zeros(shape, dtype=np.float32)
    volume = np.stack([blank if image is None else image for image in images])
    masks = np.stack(
        [read_picture_mask(picture, image) for picture, image in zip(ordered, volume, strict=True)]
    )
    pixel = HEAD_MM / max(shape)
    gap = ordered[0].gap_mm or _stack_gap_mm(volume, pixel)
    affine = np.diag([pixel, pixel, gap, 1.0])
    sequence = cast("MrSequence", ordered[0].sequence or "unknown")
    # Rows of a picture go down, from front to back; its columns from the patient's right to left.
    scan = Scan(ordered[0].stack, volume.transpose(2, 1, 0), affine, sequence, slice_axis=2)
    return scan, masks.transpose(2, 1, 0)


def _common_shape(
    images: Sequence[NDArray[np.float32] | None], picture: Picture
) -> tuple[int, ...]:
    """Return the shape of a stack's pictures; `picture` is its first row, for messages."""
    shapes = {image.shape for image in images if image is not None}
    if len(shapes) > 1:
        raise DataError(
            f"{picture.picture}: pictures of the stack {picture.stack} have different sizes, "
            f"{' and '.join(f'{w} x {h}' for h, w in sorted(shapes))}; a stack is one scan"
        )
    if not shapes:
        raise UnsupportedScan("all its pictures are blank", place=picture.stack, reason="blank")
    return shapes.pop()


def _image_of(picture: Picture) -> NDArray[np.float32] | None:
    """Return a picture's pixels; None for a blank one, such as a slice beyond the head."""
    try:
        return read_gray(picture.picture)
    except UnsupportedScan as error:
        if error.reason == "blank" and not picture.tumor:
            return None
        raise


def read_picture_mask(
    picture: Picture, image: NDArray[np.float32], report: Report = log.debug
) -> NDArray[np.bool_]:
    """Return a picture's mask; any value may stand for tumor in its file.

    Args:
        picture: Row of a manifest.
        image: The picture's pixels, shape (h, w).
        report: Called with a sentence where a threshold decides.

    Returns:
        Mask of that shape; all false where the row names no mask.

    Raises:
        DataError: If the mask is empty, can't be read, has another size, has values that no mask
            has, covers most of the head, or belongs to a picture without tumor.
    """
    if picture.mask is None:
        return np.zeros(image.shape, dtype=np.bool_)
    covered = read_covered(picture.mask, report)
    if not picture.tumor and covered.any():
        raise DataError(f"{picture.id}: {CONTRADICTION.format(mask=picture.mask)}")
    if picture.tumor and not covered.any():
        raise DataError(f"{picture.mask}: the mask of a tumor is empty; correct the manifest")
    if covered.shape != image.shape:
        raise DataError(
            f"{picture.mask}: the mask has {covered.shape[1]} x {covered.shape[0]} pixels, its "
            f"picture {image.shape[1]} x {image.shape[0]}"
        )
    if covered.any():
        check_extent(covered, foreground(image), str(picture.mask))
    return covered
