"""Make scans of arrays and of other libraries' images."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meninx._errors import OptionError
from meninx._scan.background import with_dark_air, without_padding
from meninx._scan.geometry import RAS_TO_LPS, Float64Array, Spacing
from meninx._scan.scan import Scan, Sequence
from meninx._scan.source import Source
from meninx._scan.view import PICTURE_VIEW
from meninx._scan.volume import check_numbers, volume_scan, volume_shape


def scan_of(
    image: Any,
    *,
    affine: ArrayLike | None = None,
    spacing_mm: Spacing | None = None,
    sequence: Sequence | None = None,
    name: str = "array",
) -> Scan:
    """Return an image in memory as a scan; for the arguments see `Scan.of`."""
    values, found = _parts_of(image)
    check_numbers(values.dtype)
    values = values.astype(np.float32)
    own = found if affine is None else RAS_TO_LPS @ np.asarray(affine, dtype=np.float64)
    if values.ndim == 2 and affine is None and spacing_mm is None:
        columns_first = without_padding(values.T[:, :, None], PICTURE_VIEW.slice_axis)
        scan = with_dark_air(Scan(name, columns_first))
    else:
        scan = _volume(values, own, spacing_mm, name)
    return scan if sequence is None else replace(scan, sequence=sequence)


def _volume(
    values: NDArray[np.float32],
    affine: Float64Array | None,
    spacing_mm: Spacing | None,
    name: str,
) -> Scan:
    """Return the scan of a volume, with one channel or volume more or less."""
    if values.ndim == 4 and len(values) == 1:
        values = values[0]
    if values.ndim < 3:
        raise OptionError(f"{name}: shape {values.shape}, expected a picture or a volume")
    if affine is None and spacing_mm is None:
        raise OptionError(
            f"{name}: a volume of {'x'.join(map(str, values.shape))} without geometry: give affine "
            "(voxel index to RAS mm, as nibabel and MONAI have it) or spacing_mm"
        )
    if affine is None:
        affine = RAS_TO_LPS @ np.eye(4)
    source = Source(name, Path(name), 0)
    return volume_scan(
        source, values.reshape(volume_shape(values.shape)), affine, spacing_mm=spacing_mm
    )


def _parts_of(image: Any) -> tuple[NDArray[Any], Float64Array | None]:
    """Return the values of an image, axes [i, j, k] or [row, column], and its affine in LPS."""
    if hasattr(image, "GetDirection"):
        return _of_itk(image)
    affine = getattr(image, "affine", None)
    if hasattr(image, "dataobj"):  # nibabel
        image = image.dataobj
    if hasattr(image, "detach"):  # PyTorch, MONAI
        image = image.detach().cpu().numpy()
    values = np.asarray(image)
    if affine is None or values.ndim == 2:
        return values, None
    return values, RAS_TO_LPS @ np.asarray(affine, dtype=np.float64)


def _of_itk(image: Any) -> tuple[NDArray[Any], Float64Array | None]:
    """Return the values of a SimpleITK image and its affine in LPS, as ITK has it."""
    import SimpleITK

    values = np.asarray(SimpleITK.GetArrayFromImage(image))
    if image.GetDimension() == 2:
        return values, None
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise OptionError(f"an ITK image of shape {values.shape}, expected one gray volume")
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return values.transpose(2, 1, 0), affine
