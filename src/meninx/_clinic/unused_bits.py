"""Clear the bits of DICOM pixels that no value uses, and the bytes after the last pixel."""

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import get_j2k_parameters

from meninx._errors import UnsupportedScan
from meninx._scan.dicom.pixels import DECODERS
from meninx._scan.dicom.values import whole_number

# Groups of overlays (DICOM PS3.3 C.9.2).
OVERLAYS = range(0x6000, 0x6100)
CLEARED, CUT_OFF = "unused bits cleared", "bytes after the pixels removed"
# Markers of a JPEG frame's header, in all modes and in JPEG-LS.
_FRAME_HEADERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}


def clear_unused(dataset: Dataset) -> list[str]:
    """Clear what viewers may show beside the values of pixels, such as an overlay with a name.

    Args:
        dataset: MR image, changed in place; compressed pixels whose samples have more bits than
            the values are decompressed.

    Returns:
        `CLEARED` and `CUT_OFF`, each if anything changed.

    Raises:
        UnsupportedScan: If they lie below the values of compressed pixels, or these can't be
            decompressed.

    References:
        DICOM PS3.5 8.1.1 (unused bits may hold anything), C.9.2.1 (OverlayBitPosition).
    """
    if "PixelData" not in dataset:
        return []
    allocated = whole_number(dataset, "BitsAllocated") or 0
    stored = whole_number(dataset, "BitsStored") or allocated
    high_bit = whole_number(dataset, "HighBit")
    high = stored - 1 if high_bit is None else high_bit
    has_unused = stored < allocated
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        if not has_unused:
            return []
        if high != stored - 1:
            raise UnsupportedScan(
                "compressed pixels with unused bits below their values, which may hold a name; "
                "leave the file out",
                reason="burned_in",
            )
        if not _may_have_more_bits(dataset, stored):
            return []
        _decompress(dataset)
    data = dataset.PixelData
    length = _expected_length(dataset, allocated)
    kept = data[:length]
    done = [CUT_OFF] if data[length:].strip(b"\0") else []
    if has_unused and allocated in (8, 16, 32):
        # Some files lack pixels at the end; what is left of a divided one is no value.
        kept = kept[: len(kept) // (allocated // 8) * (allocated // 8)]
        cleared = _cleared(dataset, kept, allocated, stored, high)
        done += [CLEARED] if syntax.is_encapsulated or cleared != kept else []
        kept = cleared
    dataset.PixelData = kept + b"\0" * (len(kept) % 2)
    return done


def _may_have_more_bits(dataset: Dataset, stored: int) -> bool:
    """Return whether samples of compressed pixels have more bits than their values, or may have."""
    if dataset.file_meta.TransferSyntaxUID == pydicom.uid.RLELossless:
        return True
    number = whole_number(dataset, "NumberOfFrames") or 1
    try:
        precisions = list(
            map(_precision, generate_frames(dataset.PixelData, number_of_frames=number))
        )
    except Exception:  # noqa: BLE001 - pydicom documents no list of what bytes make it raise
        return True
    return any(precision is None or precision > stored for precision in precisions)


def _precision(frame: bytes) -> int | None:
    """Return the number of bits of a compressed frame's samples; None if its header is not found.

    References:
        ITU-T T.800 A.5.1 (JPEG 2000, SIZ), T.81 B.2.2 (JPEG) and T.87 C.2.2 (JPEG-LS).
    """
    if found := get_j2k_parameters(frame):
        return int(found["precision"])
    place = 2
    while frame[place : place + 1] == b"\xff" and len(frame) > place + 4:
        if frame[place + 1] in _FRAME_HEADERS:
            return frame[place + 4]
        place += 2 + int.from_bytes(frame[place + 2 : place + 4], "big")
    return None


def _decompress(dataset: Dataset) -> None:
    plugin = DECODERS.get(dataset.file_meta.TransferSyntaxUID, "")
    try:
        dataset.decompress(generate_instance_uid=False, decoding_plugin=plugin)
    except Exception as error:
        raise UnsupportedScan(
            "compressed pixels with unused bits, which may hold a name, can't be decompressed; "
            "leave the file out",
            reason="burned_in",
        ) from error


def _expected_length(dataset: Dataset, allocated: int) -> int:
    """Return the number of bytes of all pixels."""
    names = ("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames")
    counts = [whole_number(dataset, name) or 1 for name in names]
    return int(np.prod(counts)) * allocated // 8


def _cleared(dataset: Dataset, data: bytes, allocated: int, stored: int, high: int) -> bytes:
    """Return pixels whose unused bits are zero, or repeat the sign above a signed value."""
    signed = whole_number(dataset, "PixelRepresentation") == 1
    order = "<" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">"
    values: NDArray[np.integer] = np.frombuffer(data, f"{order}{'ui'[signed]}{allocated // 8}")
    above, below = allocated - 1 - high, high + 1 - stored
    shifted = np.right_shift(np.left_shift(values, above), above + below)
    return bytes(np.left_shift(shifted, below).astype(values.dtype).tobytes())
