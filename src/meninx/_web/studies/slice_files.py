"""Files of volumes that are sent slice by slice: the first one is drawn while the others come.

A file has a table of parts, then the parts: a NIfTI header, and the slices from the one that is
shown first outward. A part is raw deflate that ends with a full flush (RFC 1951), so that parts in
any order, with `END` behind them, are one stream of a browser's `DecompressionStream`.
A slice has its index, then the first bytes of all its voxels, then their second bytes, and so on:
that is a sixth shorter than voxel by voxel.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meninx._scan.nifti import NIFTI_1_BYTES, nifti_header
from meninx._scan.scan import Scan

# Suffix of these files.
SLICES = ".slices"
# An empty last block of deflate.
END = b"\x03\x00"
_LEVEL = 6
_NUMBER = np.dtype("<u4")
# Voxel types by their size, bytes.
_TYPES = {1: "u1", 2: "<i2", 4: "<f4"}


def slice_order(first: int, count: int) -> list[int]:
    """Return the indices of all slices, by their distance from the first one."""
    return sorted(range(count), key=lambda index: (abs(index - first), -index))


def write_slices(voxels: NDArray[np.generic], scan: Scan, path: Path, first: int) -> None:
    """Write a volume.

    Args:
        voxels: Values in the shape of the scan: 8-bit or 16-bit integers or 32-bit floats.
        scan: Scan with an affine.
        path: File to write.
        first: Index of the slice that is shown first.
    """
    axis = scan.view.slice_axis
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    order = slice_order(first, voxels.shape[axis])
    contents = [nifti_header(voxels, scan)]
    contents += [_number(index) + _bytes_of(np.take(voxels, index, axis)) for index in order]
    parts = [packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH) for data in contents]
    lengths = [len(part) for part in parts]
    table = np.array([len(order), lengths[0], *order, *lengths[1:]], dtype=_NUMBER)
    path.write_bytes(b"".join([table.tobytes(), *parts]))


def _number(value: int) -> bytes:
    return np.array(value, dtype=_NUMBER).tobytes()


def _bytes_of(plane: NDArray[np.generic]) -> bytes:
    """Return the bytes of a slice [a, b], the first ones of all voxels first, a fastest."""
    values = np.ascontiguousarray(plane.T.astype(_TYPES[plane.itemsize])).view(np.uint8)
    return values.reshape(-1, plane.itemsize).T.tobytes()


@dataclass(frozen=True)
class _Parts:
    """Table of a file: length of the header's part, order of the slices, place of each part."""

    header: int
    order: list[int]
    starts: list[int]


def _parts_of(path: Path) -> _Parts:
    with path.open("rb") as file:
        count, header = map(int, np.frombuffer(file.read(8), dtype=_NUMBER))
        order, lengths = np.frombuffer(file.read(8 * count), dtype=_NUMBER).reshape(2, count)
        starts = file.tell() + np.cumsum([0, header, *lengths])
    return _Parts(header, order.tolist(), starts.tolist())


def sent_length(path: Path, wanted: Sequence[int] | None = None) -> int:
    """Return the number of bytes that `sent_parts` yields."""
    parts = _parts_of(path)
    chosen = _chosen(parts, wanted)
    return sum(parts.starts[n + 1] - parts.starts[n] for n in chosen) + len(END)


def sent_parts(path: Path, wanted: Sequence[int] | None = None) -> Iterator[bytes]:
    """Yield the parts of a stream: the header, slices, the end.

    Args:
        path: File of a volume.
        wanted: Indices of the slices to send; None for all, in the order of the file.

    Yields:
        Raw deflate.
    """
    parts = _parts_of(path)
    with path.open("rb") as file:
        for number in _chosen(parts, wanted):
            file.seek(parts.starts[number])
            yield file.read(parts.starts[number + 1] - parts.starts[number])
    yield END


def _chosen(parts: _Parts, wanted: Sequence[int] | None) -> list[int]:
    """Return the numbers of the parts to send; the header is number 0."""
    places = {index: number for number, index in enumerate(parts.order, 1)}
    return [0, *(places[index] for index in (parts.order if wanted is None else wanted))]


def near_slices(path: Path, index: int, most: int) -> list[int]:
    """Return the indices of the slices nearest to one, at most so many."""
    count = len(_parts_of(path).order)
    return slice_order(min(index, count - 1), count)[:most]


def read_slices(path: Path, shape: tuple[int, int, int], axis: int) -> NDArray[np.generic]:
    """Return the voxels of a file that `write_slices` wrote.

    Args:
        path: File of a volume.
        shape: Its shape.
        axis: Axis along which its slices follow each other.

    Returns:
        Voxels, in the type that they were written in.
    """
    content = zlib.decompress(b"".join(sent_parts(path)), -zlib.MAX_WBITS)
    count, sides = shape[axis], [side for n, side in enumerate(shape) if n != axis]
    slices = np.frombuffer(content[NIFTI_1_BYTES:], np.uint8).reshape(count, -1)
    size = (slices.shape[1] - _NUMBER.itemsize) // (sides[0] * sides[1])
    voxels = np.empty(shape, dtype=_TYPES[size])
    for data in slices:
        index = int(data[: _NUMBER.itemsize].view(_NUMBER)[0])
        planes = data[_NUMBER.itemsize :].reshape(size, -1)
        plane = np.ascontiguousarray(planes.T).view(voxels.dtype).reshape(sides[::-1])
        np.moveaxis(voxels, axis, 0)[index] = plane.T
    return voxels
