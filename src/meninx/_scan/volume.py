"""Check headers and voxels of volume files, and create the Scan, for all volume formats."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from meninx._errors import GeometryError, UnreadableFile, UnsupportedScan
from meninx._scan.axial import cut_axially
from meninx._scan.background import with_dark_air, without_padding
from meninx._scan.geometry import (
    Float64Array,
    Spacing,
    check_affine,
    field_of_view_fault,
    respaced,
    spacing_of,
)
from meninx._scan.limits import Limits
from meninx._scan.lost_slices import with_lost_slices_counted
from meninx._scan.map_names import name_warnings, refusal_by_bids_name
from meninx._scan.plausibility import (
    UNSET_TOLERANCE,
    is_unset,
    spacing_fault,
    with_plausible_geometry,
)
from meninx._scan.scan import Scan
from meninx._scan.sequence import sequence_from_text
from meninx._scan.slice_order import with_slice_order_checked
from meninx._scan.source import Source
from meninx._scan.view import view_of
from meninx._scan.warning import ScanWarning

_UNSET_DIRECTIONS = (
    "the file's axes are those of a bare array, without orientation: it may be upside down, cut in "
    "another plane than assumed, and its sides exchanged"
)


class Unpacker(Protocol):
    """A decompressor of zlib or bz2."""

    @property
    def eof(self) -> bool:
        """Whether the end of the packed bytes was reached with a correct checksum."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Return at most `max_length` unpacked bytes."""


def volume_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the shape of the only volume of a file.

    Args:
        shape: Shape in the header, of any length.

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
    """Read the bytes that a header promises, up to the end of the file.

    Args:
        source: File of the voxels.
        expected: Number of bytes that the header promises, unpacked.
        spare: Number of further bytes that are accepted as padding: less than a slice.
        limits: Largest file that is read.

    Returns:
        The promised bytes and the padding.

    Raises:
        UnreadableFile: If there are fewer or more bytes, or a checksum is wrong.
    """
    data = source.head(expected + spare + 1, limits)
    check_size(len(data), expected, spare)
    return data


def check_size(found: int, expected: int, spare: int) -> None:
    """Check that a file has the size that its header promises.

    Args:
        found: Number of bytes found, unpacked.
        expected: Number of bytes that the header promises.
        spare: Number of further bytes that are accepted as padding.

    Raises:
        UnreadableFile: If there are fewer bytes, or a slice or more beyond those promised.
    """
    if found < expected:
        raise UnreadableFile(
            f"truncated: {found:,} bytes unpacked, the header promises {expected:,}; copy the file "
            "again"
        )
    if found > expected + spare:
        raise UnreadableFile(
            f"the header promises {expected:,} bytes, but a slice or more follows them; it was "
            "changed or belongs to another file: export the volume again"
        )


def unpacked_exactly(unpacker: Unpacker, data: bytes, expected: int, spare: int) -> bytes:
    """Unpack bytes up to their end and checksum.

    Args:
        unpacker: New decompressor of zlib or bz2.
        data: Packed bytes.
        expected: Number of bytes that the header promises, unpacked; a bomb stops there.
        spare: Number of further bytes that are accepted as padding.

    Returns:
        The unpacked bytes.

    Raises:
        UnreadableFile: If there are fewer or more bytes, or the packed bytes are truncated.
    """
    unpacked = unpacker.decompress(data, expected + spare + 1)
    check_size(len(unpacked), expected, spare)
    if not unpacker.eof:
        raise UnreadableFile("truncated: the packed voxels have no end; copy the file again")
    return unpacked


def data_file_beside(source: Source, name: str) -> Source:
    """Return the data file of a header.

    Args:
        source: Header.
        name: Name of the data file in the header; the file may have `.gz` after it.

    Returns:
        File of the same folder.

    Raises:
        UnreadableFile: If the file is missing or in another folder.
    """
    names = (name, f"{name}.gz", name.replace(".img", ".IMG"))
    found = next((file for file in map(source.beside, names) if file is not None), None)
    if found is None:
        raise UnreadableFile(
            f"its voxels are in {name!r}, which is not beside it; put both into one folder or zip"
        )
    return found


def named_data_file(source: Source, name: str, kind: str, suffix: str) -> Source:
    """Return the data file of an NRRD or MetaImage header, which may name several.

    Args:
        source: Header.
        name: Name of the data file in the header.
        kind: Name of the format, for the message.
        suffix: Suffix of the format's single files, for the message.

    Returns:
        File of the same folder.

    Raises:
        UnreadableFile: If the file is missing or in another folder.
        UnsupportedScan: If the header names several files.
    """
    if name.upper().startswith("LIST") or "%" in name:
        raise UnsupportedScan(
            f"a header of {kind} with several data files; save the volume as one {suffix}, as with "
            "3D Slicer",
            reason="other_format",
        )
    return data_file_beside(source, name)


def volume_scan(
    source: Source,
    voxels: NDArray[np.float32],
    affine: Float64Array,
    warnings: tuple[ScanWarning, ...] = (),
    exclusion: UnsupportedScan | None = None,
    spacing_mm: Spacing | None = None,
) -> Scan:
    """Create the scan of a volume file.

    Args:
        source: File of the volume; its name may contain the sequence, or that it is a map.
        voxels: Intensities, axes [i, j, k] in the order of the file.
        affine: Voxel index to LPS mm, shape (4, 4).
        warnings: Irregularities that do not prevent scoring.
        exclusion: Why the header excludes the volume; None if it does not.
        spacing_mm: Distance between neighboring voxels along i, j and k, mm, given by the user;
            None for that of the affine, if it is plausible.

    Returns:
        The scan; a single slice lies along the axis of length 1.

    Raises:
        InputError: If the voxels or the affine are invalid.
    """
    file_name = source.name.rsplit("/", 1)[-1]
    exclusion = exclusion or refusal_by_bids_name(file_name)
    doubts = name_warnings(file_name) if exclusion is None else ()
    if exclusion is not None:
        exclusion = UnsupportedScan(str(exclusion), place=source.name, reason=exclusion.reason)
    single = [axis for axis, side in enumerate(voxels.shape) if side == 1]
    slice_axis = single[-1] if single else None
    check_affine(affine)
    if spacing_mm is not None:
        is_doubted = any(warning.code == "orientation_doubtful" for warning in warnings)
        warnings = (*warnings, *_spacing_warnings(affine, spacing_mm, is_doubted=is_doubted))
        affine = respaced(affine, spacing_mm)
    cut_axis = view_of(affine, slice_axis, voxels.shape).slice_axis
    scan = Scan(
        name=source.name,
        voxels=_labels_of(voxels) if source.labels else without_padding(voxels, cut_axis),
        affine=affine,
        sequence=sequence_from_text(file_name),
        other_contrast=any(doubt.code == "other_contrast" for doubt in doubts),
        slice_axis=slice_axis,
        warnings=(*warnings, *doubts),
        incomplete=source.incomplete,
        exclusion=exclusion,
    )
    if source.labels:
        return scan
    scan = with_slice_order_checked(with_dark_air(with_lost_slices_counted(scan)))
    if spacing_mm is not None:
        return cut_axially(_with_given_spacing(scan, spacing_mm))
    return cut_axially(_with_orientation_doubted(with_plausible_geometry(scan)))


def _with_orientation_doubted(scan: Scan) -> Scan:
    """Return a scan with a warning if its affine is that of a bare array, and says nothing.

    No scanner has its origin in the first voxel.
    """
    known = {warning.code for warning in scan.warnings}
    affine = np.asarray(scan.affine)
    if not is_unset(affine) or np.abs(affine[:3, 3]).max() > UNSET_TOLERANCE:
        return scan
    if known & {"orientation_doubtful", "geometry_doubtful"} or not scan.is_volume:
        return scan
    warning = ScanWarning("orientation_doubtful", _UNSET_DIRECTIONS)
    return replace(scan, warnings=(*scan.warnings, warning))


def _labels_of(voxels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the labels of a mask; voxels that are not a number are outside, label 0."""
    missing = np.isnan(voxels)
    labels = np.where(missing, np.float32(0), voxels) if missing.any() else voxels
    low, high = float(labels.min()), float(labels.max())
    if low == high != 0:
        raise UnsupportedScan(
            f"a mask without the value 0: all its voxels are {low:g}, so it does not say what is "
            "outside of the tumor; write 0 there"
        )
    sides = (np.moveaxis(missing, axis, 0)[[0, -1]] for axis in range(missing.ndim))
    is_inside = missing.any() and not any(side.any() for side in sides)
    if missing.all() or (low == high and is_inside):
        raise UnsupportedScan(
            "a mask without a label above 0, whose NaN does not say where the tumor is; write 1 in "
            "the tumor and 0 elsewhere"
        )
    return labels


def _with_given_spacing(scan: Scan, spacing_mm: Spacing) -> Scan:
    """Check a voxel size given by the user against the slices; return the scan, with a warning."""
    sides = np.array(scan.voxels.shape) * spacing_mm
    fault = field_of_view_fault(float(np.delete(sides, scan.view.slice_axis).max()))
    if fault is not None:
        shape = " x ".join(map(str, scan.voxels.shape))
        raise GeometryError(
            f"the given voxel size does not fit the file's axes of {shape} voxels: "
            f"{fault.partition(':')[0]}; give the numbers in the order of these axes"
        )
    fault = spacing_fault(scan)
    if fault is None:
        return scan
    return replace(scan, warnings=(*scan.warnings, ScanWarning("geometry_doubtful", fault)))


def _spacing_warnings(
    affine: Float64Array, given: Spacing, *, is_doubted: bool
) -> Iterator[ScanWarning]:
    """Yield the warnings on the use of a voxel size that replaces that of the file."""
    if is_unset(affine) and not is_doubted:
        yield ScanWarning("orientation_doubtful", _UNSET_DIRECTIONS)
    sizes = (given, spacing_of(affine))
    used, replaced = (" x ".join(f"{side:.4g}" for side in sides) for sides in sizes)
    yield ScanWarning(
        "spacing_given", f"voxels of {used} mm, as given by the user; the file says {replaced} mm"
    )
