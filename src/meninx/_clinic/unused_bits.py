"""Clear the bits of DICOM pixels that no value uses, and the bytes after the last pixel."""

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import Dataset

from meninx._errors import UnsupportedScan
from meninx._scan.dicom.values import whole_number

# Groups of overlays (DICOM PS3.3 C.9.2).
OVERLAYS = range(0x6000, 0x6100)
CLEARED, CUT_OFF = "unused bits cleared", "bytes after the pixels removed"
_BIT_POSITION = 0x0102


def clear_unused(dataset: Dataset) -> list[str]:
    """Clear what viewers may show beside the values of pixels, such as an overlay with a name.

    Args:
        dataset: MR image, changed in place; run-length encoded pixels with unused bits, and
            compressed ones with an overlay in them, are decompressed.

    Returns:
        `CLEARED` and `CUT_OFF`, each if anything changed.

    Raises:
        UnsupportedScan: If they lie below the values of compressed pixels.

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
        packed = syntax != pydicom.uid.RLELossless and not _has_overlay_in_pixels(dataset)
        if packed or not has_unused:
            return []
        if high != stored - 1:
            raise UnsupportedScan(
                "compressed pixels with unused bits below their values, which may hold a name; "
                "leave the file out",
                reason="burned_in",
            )
        # The decoder clears unused bits above the values.
        dataset.decompress(generate_instance_uid=False)
    data = dataset.PixelData
    length = _expected_length(dataset, allocated)
    kept = data[:length]
    done = [CUT_OFF] if data[length:].strip(b"\0") else []
    if has_unused and allocated in (8, 16, 32) and len(kept) == length:
        cleared = _cleared(dataset, kept, allocated, stored, high)
        done += [CLEARED] if syntax.is_encapsulated or cleared != kept else []
        kept = cleared
    dataset.PixelData = kept + b"\0" * (len(kept) % 2)
    return done


def _has_overlay_in_pixels(dataset: Dataset) -> bool:
    tags = (tag for tag in dataset.keys() if tag.group in OVERLAYS)  # noqa: SIM118
    return any(tag.element == _BIT_POSITION and dataset[tag].value for tag in tags)


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
