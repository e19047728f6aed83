"""Read NRRD volumes, the format of 3D Slicer and teem."""

import bz2
import io
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import nrrd
import numpy as np
from numpy.typing import ArrayLike, NDArray

from meninx._errors import GeometryError, UnreadableFile, UnsupportedScan
from meninx._scan.geometry import Float64Array, Spacing
from meninx._scan.kinds import data_file_of
from meninx._scan.limits import DEFAULT_LIMITS, MIB, Limits
from meninx._scan.scan import Scan
from meninx._scan.source import Source, reading
from meninx._scan.volume import (
    Unpacker,
    check_size,
    named_data_file,
    unpacked_exactly,
    volume_scan,
    volume_shape,
)
from meninx._scan.warning import ScanWarning

# Headers have some hundred bytes; the gradients of DWI take some ten thousand.
LONGEST_HEADER = MIB
# Signs by which a space's axes become LPS (nrrd format definition, section 5.2).
_SPACES = {
    "left-posterior-superior": (1, 1, 1),
    "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
    "las": (1, -1, 1),
}
# Length of a unit, mm (nrrd format definition, section 5: `units`, free text).
_MILLIMETERS = {"m": 1000.0, "meter": 1000.0, "cm": 10.0, "um": 0.001, "micron": 0.001}
_MILLIMETERS |= dict.fromkeys(("µm", "μm"), 0.001)
GZIP, BZIP2 = ("gzip", "gz"), ("bzip2", "bz2")
# Kinds of axes that count positions; others, such as "RGB-color" and "vector", count values.
_POSITION_KINDS = ("domain", "space", "none", "???")
# Kinds of axes that count the values of one position; also used for diffusion images.
_VALUE_KINDS = ("vector", "matrix", "normal", "gradient", "quaternion", "complex")


def read_nrrd(
    source: Source, limits: Limits = DEFAULT_LIMITS, spacing_mm: Spacing | None = None
) -> Scan:
    """Read an NRRD file.

    Args:
        source: `.nrrd` file, or `.nhdr` in the folder of its data file.
        limits: Checked on the header, before the voxels are unpacked.
        spacing_mm: Voxel size that replaces the file's; None for the file's.

    Returns:
        Voxels in the axis order of the file, the affine in LPS; with a warning if the file does not
        define its orientation.

    Raises:
        UnreadableFile: If it is damaged or truncated.
        UnsupportedScan: If it holds several volumes or colors.
        GeometryError: If its axes are singular or sheared.
        LimitExceeded: If it is too large.

    References:
        https://teem.sourceforge.net/nrrd/format.html
    """
    with reading(source.name, "the NRRD file"):
        head = source.head(LONGEST_HEADER, limits)
        opened = io.BytesIO(head)
        header = nrrd.read_header(opened)
        shape, axes = _volume_axes(header)
        limits.check_shape(shape)
        try:
            kind = nrrd.reader._determine_datatype(header)
        except KeyError as error:
            raise UnsupportedScan(
                f"voxels of type {header.get('type')}; expected plain numbers", reason="not_gray"
            ) from error
        expected = int(np.prod(shape)) * kind.itemsize
        spare = shape[0] * shape[1] * kind.itemsize - 1
        data_file = data_file_of(head, source.name)
        if data_file is None:
            data = _unpacked(source.read(limits)[opened.tell() :], header, expected, spare)
        else:
            data = named_data_file(source, data_file, "NRRD", ".nrrd").read(limits)
            if header["encoding"] in BZIP2:
                data = _unpacked(data, header, expected, spare)
        voxels = _voxels(header, data, expected, spare).reshape(shape, order="F")
        affine, warnings = _affine(header, axes, spacing_mm)
        return volume_scan(
            source, voxels, affine, warnings, _segmentation(header), spacing_mm=spacing_mm
        )


def _segmentation(header: Mapping[str, Any]) -> UnsupportedScan | None:
    """Return why a segmentation of 3D Slicer (.seg.nrrd) is excluded; None for other volumes."""
    if not any(key.startswith("Segment0_") for key in header):
        return None
    return UnsupportedScan(
        "a segmentation of 3D Slicer, by its header; choose the scan itself", reason="derived"
    )


def _volume_axes(header: Mapping[str, Any]) -> tuple[tuple[int, int, int], list[int]]:
    """Return the shape of the only volume, and the indices of its axes in the file."""
    sizes = _checked_sizes(header)
    kinds = [str(kind).lower() for kind in header.get("kinds", ["none"] * len(sizes))]
    axes = [
        axis
        for axis, (side, kind) in enumerate(zip(sizes, kinds, strict=True))
        if side > 1 or kind in _POSITION_KINDS
    ]
    # Axes of one entry beyond three, as of a single time point, are dropped as in NIfTI.
    while len(axes) > 3 and (single := [axis for axis in axes if sizes[axis] == 1]):
        axes.remove(single[-1])
    counted = [kinds[axis] for axis in axes if kinds[axis] not in _POSITION_KINDS]
    _check_one_value_per_position(counted, str(header.get("modality", "")))
    if counted or len(axes) > 3:
        raise UnsupportedScan(
            f"{'x'.join(map(str, sizes))}: several volumes in one file, expected one; save each "
            "volume as its own file",
            reason="several_volumes",
        )
    return volume_shape(tuple(sizes[axis] for axis in axes)), axes


def _checked_sizes(header: Mapping[str, Any]) -> list[int]:
    """Return the length of each axis in the file; raise unless there is one per dimension."""
    sizes = [int(side) for side in header.get("sizes", ())]
    if not sizes or len(sizes) != header.get("dimension"):
        raise UnreadableFile(
            f"dimension {header.get('dimension')}, but the sizes {sizes}; expected one size per "
            "dimension: export the volume again"
        )
    return sizes


def _check_one_value_per_position(counted: list[str], modality: str) -> None:
    """Raise if axes of these kinds, which count values, hold colors, vectors or matrices."""
    if any("color" in kind for kind in counted):
        raise UnsupportedScan("colored voxels; expected gray MR", reason="color")
    if "DWMRI" not in modality and any(word in kind for kind in counted for word in _VALUE_KINDS):
        raise UnsupportedScan(
            f"an axis of kind {counted[0]!r}: vectors or matrices computed from images, not an "
            "image; choose the scan itself",
            reason="derived",
        )


def _unpacked(data: bytes, header: Mapping[str, Any], expected: int, spare: int) -> bytes:
    """Unpack at most the bytes that the header promises, so that a bomb stops there."""
    promised = expected + max(_byte_skip(header), 0)
    if header["encoding"] in GZIP:
        unpacker: Unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    elif header["encoding"] in BZIP2:
        unpacker = bz2.BZ2Decompressor()
    else:
        return data
    return unpacked_exactly(unpacker, data, promised, spare)


def _byte_skip(header: Mapping[str, Any]) -> int:
    return int(header.get("byteskip", header.get("byte skip", 0)))


def _voxels(
    header: Mapping[str, Any], data: bytes, expected: int, spare: int
) -> NDArray[np.float32]:
    """Return the voxels as a flat array, the first axis fastest."""
    names = (*GZIP, *BZIP2, "raw")
    plain = {key: value for key, value in header.items() if key not in ("datafile", "data file")}
    if header["encoding"] in names:
        # A skip below 0 means that the voxels are the last bytes of the data.
        longer = len(data) if _byte_skip(header) < 0 else spare
        check_size(len(data) - max(_byte_skip(header), 0), expected, longer)
        plain["encoding"] = "raw"
    found = nrrd.read_data(plain, io.BytesIO(data)).ravel(order="F")
    return np.asarray(found, dtype=np.float32)


def _affine(
    header: Mapping[str, Any], axes: list[int], spacing_mm: Spacing | None
) -> tuple[Float64Array, tuple[ScanWarning, ...]]:
    """Return the affine in LPS, and a warning if the orientation is not defined."""
    # A space with time has a fourth coordinate.
    space = str(header.get("space", "")).lower()
    signs = _SPACES.get(space) or _SPACES.get(space.removesuffix("-time").removesuffix("t"))
    directions = header.get("space directions")
    if signs is not None and directions is not None:
        affine = _affine_in_space(
            [directions[axis][:3] for axis in axes], header.get("space origin", np.zeros(3))[:3]
        )
        scales = _millimeters(header, "space units", 3)
        affine[:3] *= (np.array(signs) * scales)[:, None]
        return affine, ()
    spacings = header.get("spacings")
    if spacings is not None:
        spacings = np.asarray(spacings) * _millimeters(header, "units", len(spacings))
    if directions is not None:
        rows = np.asarray(directions, dtype=np.float64)
        scales = _millimeters(header, "space units", rows.shape[1])
        spacings = np.linalg.norm(rows * scales, axis=1)
    if spacings is None and spacing_mm is not None:
        spacings = np.ones(len(header["sizes"]))
    if spacings is None:
        raise GeometryError(
            "neither space directions nor spacings: the voxel size is missing; export the volume "
            "again"
        )
    affine = np.eye(4)
    for place, axis in enumerate(axes):
        affine[place, place] = spacings[axis]
    text = (
        "the file does not define the orientation of its volume (no anatomical space); it was read "
        "as stored from right to left, front to back, bottom to top"
    )
    return affine, (ScanWarning("orientation_doubtful", text),)


def _millimeters(header: Mapping[str, Any], key: str, count: int) -> Float64Array:
    """Return the millimeters of the units of so many axes, as `key` names them; 1 if unknown."""
    units = [str(unit).strip('"').lower() for unit in header.get(key, ())]
    known = [_MILLIMETERS.get(unit, 1.0) for unit in units]
    return np.array([*known, *[1.0] * count][:count])


def _affine_in_space(directions: Sequence[ArrayLike], origin: ArrayLike) -> Float64Array:
    """Return the affine in the file's space, from the directions of two or three axes."""
    rows = np.array(directions, dtype=np.float64)
    if rows.shape[1:] != (3,) or not np.isfinite(rows).all():
        raise GeometryError(
            "space directions that are not vectors of three numbers; export the volume again"
        )
    affine = np.eye(4)
    affine[:3, : len(rows)] = rows.T
    if len(rows) == 2:
        across = np.cross(rows[0], rows[1])
        affine[:3, 2] = across / np.linalg.norm(across)
    affine[:3, 3] = origin
    return affine
