"""Read MetaImage volumes, the format of ITK.

ITK itself takes 260 MB; the format is a few lines of text before the voxels.
"""

import re
import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from meninx._errors import GeometryError, UnreadableFile, UnsupportedScan
from meninx._scan.geometry import Float64Array, Spacing
from meninx._scan.kinds import data_file_of
from meninx._scan.limits import DEFAULT_LIMITS, MIB, Limits
from meninx._scan.scan import Scan
from meninx._scan.source import Source, reading
from meninx._scan.volume import (
    check_size,
    named_data_file,
    unpacked_exactly,
    volume_scan,
    volume_shape,
)

LONGEST_HEADER = MIB // 16
TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
# The last line of a header; the voxels may follow.
_LAST = re.compile(rb"^ElementDataFile[ \t]*=[ \t]*[^\r\n]*\r?\n?", re.MULTILINE)
_YES = ("true", "1", "yes")


def read_metaimage(
    source: Source, limits: Limits = DEFAULT_LIMITS, spacing_mm: Spacing | None = None
) -> Scan:
    """Read a MetaImage file.

    Args:
        source: `.mha` file, or `.mhd` in the folder of its data file.
        limits: Checked on the header, before the voxels are unpacked.
        spacing_mm: Voxel size that replaces the file's; None for the file's.

    Returns:
        Voxels in the axis order of the file; the affine, LPS as in the format.

    Raises:
        UnreadableFile: If it is damaged or truncated.
        UnsupportedScan: If it holds several volumes or colors, or is not MR.
        GeometryError: If its axes are singular or sheared.
        LimitExceeded: If it is too large.

    References:
        https://itk.org/Wiki/ITK/MetaIO/Documentation, and SimpleITK, which tests compare with.
    """
    with reading(source.name, "the MetaImage file"):
        head = source.head(LONGEST_HEADER, limits)
        last = _LAST.search(head)
        if last is None:
            raise UnreadableFile(
                "no ElementDataFile, which ends a MetaImage header; export it again"
            )
        header = _fields(head[: last.end()])
        shape = volume_shape(tuple(int(side) for side in header.get("DimSize", "").split()))
        limits.check_shape(shape)
        kind = _kind(header)
        data_file = data_file_of(head[: last.end()], source.name)
        if data_file is None:
            data = source.read(limits)[last.end() :]
        else:
            data = named_data_file(source, data_file, "MetaImage", ".mha").read(limits)
        voxels = _voxels(data, header, kind, shape)
        affine = _affine(header, spacing_mm)
        return volume_scan(source, voxels.reshape(shape, order="F"), affine, spacing_mm=spacing_mm)


def _fields(text: bytes) -> dict[str, str]:
    lines = (line.partition("=") for line in text.decode("utf-8", "replace").splitlines())
    return {key.strip(): value.strip() for key, equals, value in lines if equals}


def _kind(header: Mapping[str, str]) -> np.dtype[np.generic]:
    """Return the data type of a voxel."""
    if int(header.get("ElementNumberOfChannels", "1")) != 1:
        # Colors are integers; other values are vectors, such as those of a displacement field.
        is_color = header.get("ElementType") not in ("MET_FLOAT", "MET_DOUBLE")
        raise UnsupportedScan(
            "several values per voxel; expected gray MR", reason="color" if is_color else "derived"
        )
    modality = header.get("Modality", "")
    if modality not in ("", "MET_MOD_MR", "MET_MOD_UNKNOWN", "MET_MOD_OTHER"):
        raise UnsupportedScan(f"{modality}; expected MR", reason="not_mr")
    name = header.get("ElementType", "")
    if name not in TYPES:
        raise UnsupportedScan(
            f"ElementType {name!r}; expected plain numbers such as MET_SHORT", reason="not_gray"
        )
    order = header.get("BinaryDataByteOrderMSB", header.get("ElementByteOrderMSB", "False"))
    return np.dtype((">" if order.lower() in _YES else "<") + TYPES[name])


def _voxels(
    data: bytes, header: Mapping[str, str], kind: np.dtype[np.generic], shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Return the voxels as a flat array, the first axis fastest."""
    count = int(np.prod(shape))
    expected, spare = count * kind.itemsize, shape[0] * shape[1] * kind.itemsize - 1
    if header.get("BinaryData", "True").lower() not in _YES:
        values = data.decode("ascii").split()
        check_size(len(values) * kind.itemsize, expected, spare)
        return np.array(values[:count], dtype=np.float32)
    if header.get("CompressedData", "False").lower() in _YES:
        data = unpacked_exactly(zlib.decompressobj(32 + zlib.MAX_WBITS), data, expected, spare)
    else:
        skip = int(header.get("HeaderSize", "0"))
        # A size below 0 means that the voxels are the last bytes of the file.
        data = data[max(len(data) - expected, 0) :] if skip < 0 else data[skip:]
    check_size(len(data), expected, spare)
    return np.frombuffer(data[:expected], kind).astype(np.float32)


def _affine(header: Mapping[str, str], spacing_mm: Spacing | None) -> Float64Array:
    """Return the affine; each row of TransformMatrix is the direction of one axis, LPS."""
    count = len(header["DimSize"].split())
    spacing = _numbers(header, ("ElementSpacing", "ElementSize"), count)
    if spacing is None and spacing_mm is not None:
        spacing = np.ones(count)
    if spacing is None:
        raise GeometryError("no ElementSpacing: the voxel size is missing; export the volume again")
    origin = _numbers(header, ("Offset", "Position", "Origin"), count)
    matrix = _numbers(header, ("TransformMatrix", "Rotation", "Orientation"), count * count)
    axes = np.eye(count) if matrix is None else matrix.reshape(count, count)
    dimensions = min(count, 3)
    affine = np.eye(4)
    affine[:dimensions, :dimensions] = axes[:dimensions, :dimensions].T * spacing[:dimensions]
    if origin is not None:
        affine[:dimensions, 3] = origin[:dimensions]
    return affine


def _numbers(header: Mapping[str, str], names: tuple[str, ...], count: int) -> Float64Array | None:
    """Return the numbers of the first key in the header; None if it has none of them."""
    name = next((name for name in names if name in header), None)
    if name is None:
        return None
    numbers = np.array(header[name].split(), dtype=np.float64)
    if numbers.shape != (count,):
        raise UnreadableFile(
            f"{name} has {numbers.size} numbers, expected {count}: export it again"
        )
    return numbers
