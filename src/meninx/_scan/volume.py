"""Check the headers of volumes, and make the scan: the same for all their formats."""

from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from meninx._errors import GeometryError, UnreadableFile, UnsupportedScan
from meninx._scan.background import noting_blank_slices, with_dark_air, without_padding
from meninx._scan.geometry import (
    Float64Array,
    Spacing,
    check_affine,
    field_of_view_fault,
    respaced,
    spacing_of,
)
from meninx._scan.limits import Limits
from meninx._scan.map_names import map_by_bids_name, map_warning
from meninx._scan.plausibility import believed, is_unset, spacing_fault
from meninx._scan.scan import Scan
from meninx._scan.sequence import sequence_from_text
from meninx._scan.source import Source
from meninx._scan.view import view_of
from meninx._scan.warning import ScanWarning

UNSET_DIRECTIONS = (
    "the file's axes are those of a bare array: nothing says how it lies in the head: it may be "
    "upside down, and sides exchanged"
)


class Unpacker(Protocol):
    """A decompressor of zlib or bz2."""

    @property
    def eof(self) -> bool:
        """Whether the end of the packed bytes was reached, and their checksum is right."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Return at most `max_length` unpacked bytes."""


def volume_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the three sides of the one volume that a file must hold.

    Args:
        shape: Shape in the header, any number of sides.

    Returns:
        Number of voxels along i, j and k.

    Raises:
        UnreadableFile: If a side is not above 0.
        UnsupportedScan: If there are several volumes.
    """
    if not shape or any(side < 1 for side in shape):
        raise UnreadableFile(f"shape {shape}, expected sides above 0; export the volume again")
    if len(shape) > 3 and max(shape[3:]) > 1:
        raise UnsupportedScan(
            f"{'x'.join(map(str, shape))}: {int(np.prod(shape[3:]))} volumes in one file, expected "
            "one; save each volume as its own file",
            reason="several_volumes",
        )
    i, j, k = (*shape, 1, 1)[:3]
    return i, j, k


def check_numbers(kind: np.dtype[np.generic]) -> None:
    """Check that voxels are plain numbers.

    Args:
        kind: Type of one voxel.

    Raises:
        UnsupportedScan: If they are colors, complex numbers or anything else.
    """
    if kind.kind not in "iuf":
        raise UnsupportedScan(f"voxels of type {kind}; expected plain numbers", reason="not_gray")


def promised_bytes(source: Source, expected: int, spare: int, limits: Limits) -> bytes:
    """Return the bytes that a header promises, read to their end.

    Args:
        source: File of the voxels.
        expected: Number of bytes that the header promises, unpacked.
        spare: Number of further bytes that are no fault: less than a slice pads the file.
        limits: Largest file that is read.

    Returns:
        The promised bytes and those that follow.

    Raises:
        UnreadableFile: If there are fewer or more, or a checksum at the end is wrong.
    """
    data = source.head(expected + spare + 1, limits)
    check_size(len(data), expected, spare)
    return data


def check_size(found: int, expected: int, spare: int) -> None:
    """Check that a file holds what its header promises.

    Args:
        found: Number of bytes found, unpacked.
        expected: Number of bytes that the header promises.
        spare: Number of further bytes that are no fault.

    Raises:
        UnreadableFile: If the file holds fewer, or so many more that slices are left over.
    """
    if found < expected:
        raise UnreadableFile(
            f"truncated: {found:,} bytes unpacked, the header promises {expected:,}; copy the file "
            "again"
        )
    if found > expected + spare:
        raise UnreadableFile(
            f"the header promises {expected:,} bytes, but a slice or more follows them; it was "
            "changed, or is another file's: export the volume again"
        )


def unpacked_exactly(unpacker: Unpacker, data: bytes, expected: int, spare: int) -> bytes:
    """Return packed bytes unpacked; their end and checksum are reached.

    Args:
        unpacker: Decompressor of zlib or bz2, new.
        data: Packed bytes.
        expected: Number of bytes that the header promises, unpacked; a bomb stops there.
        spare: Number of further bytes that are no fault.

    Returns:
        The bytes.

    Raises:
        UnreadableFile: If there are fewer or more, or the packed bytes are cut off.
    """
    unpacked = unpacker.decompress(data, expected + spare + 1)
    check_size(len(unpacked), expected, spare)
    if not unpacker.eof:
        raise UnreadableFile("cut off: the packed voxels have no end; copy the file again")
    return unpacked


def data_file_beside(source: Source, name: str) -> Source:
    """Return the file that holds the voxels of a header.

    Args:
        source: Header.
        name: Name of the file in the header; the file may be packed, with `.gz` behind its name.

    Returns:
        File of the same folder.

    Raises:
        UnreadableFile: If the file is missing or in another folder.
    """
    names = (name, f"{name}.gz", name.replace(".img", ".IMG"))
    found = next((one for one in map(source.beside, names) if one is not None), None)
    if found is None:
        raise UnreadableFile(
            f"its voxels are in {name!r}, which is not beside it; put both into one folder or zip"
        )
    return found


def volume_scan(
    source: Source,
    voxels: NDArray[np.float32],
    affine: Float64Array,
    warnings: tuple[ScanWarning, ...] = (),
    exclusion: UnsupportedScan | None = None,
    spacing_mm: Spacing | None = None,
) -> Scan:
    """Return the scan of a volume.

    Args:
        source: File of the volume; its name may tell the sequence, or that it is a map.
        voxels: Intensities, axes [i, j, k] as the file has them.
        affine: Voxel index to LPS mm, shape (4, 4).
        warnings: Oddities that do not prevent a judgment.
        exclusion: Why the header says that the volume is no image to judge.
        spacing_mm: Distance between neighboring voxels along i, j and k, mm, where the user says
            it; None for that of the affine, if it can be believed.

    Returns:
        The scan; the slices of a flat volume lie along its flat side.

    Raises:
        InputError: If the voxels or the affine are no scan's.
    """
    file_name = source.name.rsplit("/", 1)[-1]
    exclusion = exclusion or map_by_bids_name(file_name)
    doubt = map_warning(file_name) if exclusion is None else None
    if exclusion is not None:
        exclusion = UnsupportedScan(str(exclusion), place=source.name, reason=exclusion.reason)
    single = [axis for axis, side in enumerate(voxels.shape) if side == 1]
    slice_axis = single[-1] if single else None
    check_affine(affine)
    if spacing_mm is not None and is_unset(affine):
        warnings = (*warnings, ScanWarning("orientation_doubtful", UNSET_DIRECTIONS))
    if spacing_mm is not None:
        warnings = (*warnings, _spacing_given(spacing_of(affine), spacing_mm))
        affine = respaced(affine, spacing_mm)
    along = view_of(affine, slice_axis, voxels.shape).slice_axis
    scan = Scan(
        name=source.name,
        voxels=without_padding(voxels, along),
        affine=affine,
        sequence=sequence_from_text(file_name),
        slice_axis=slice_axis,
        warnings=warnings if doubt is None else (*warnings, doubt),
        incomplete=source.incomplete,
        exclusion=exclusion,
    )
    scan = with_dark_air(noting_blank_slices(scan))
    return believed(scan) if spacing_mm is None else _as_said(scan, spacing_mm)


def _as_said(scan: Scan, spacing_mm: Spacing) -> Scan:
    """Return a scan with the voxel size that a user said, held against its slices."""
    sides = np.array(scan.voxels.shape) * spacing_mm
    fault = field_of_view_fault(float(np.delete(sides, scan.view.slice_axis).max()))
    if fault is not None:
        shape = " x ".join(map(str, scan.voxels.shape))
        raise GeometryError(
            f"the voxel size that was said does not fit the file's axes of {shape} voxels: "
            f"{fault.partition(':')[0]}; give the numbers in the order of these axes"
        )
    fault = spacing_fault(scan)
    if fault is None:
        return scan
    return replace(scan, warnings=(*scan.warnings, ScanWarning("geometry_doubtful", fault)))


def _spacing_given(stored: Spacing, given: Spacing) -> ScanWarning:
    """Return that a user's voxel size was taken, beside that of the file."""
    said, found = (" x ".join(f"{side:.4g}" for side in sides) for sides in (given, stored))
    return ScanWarning(
        "spacing_given", f"voxels of {said} mm, as the user said; the file says {found} mm"
    )
