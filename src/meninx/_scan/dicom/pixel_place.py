"""Find uncompressed pixels in a DICOM file while its header is read, and read them later.

pydicom needs a millisecond to parse a header again and to check its pixels, as long as the network
needs for a fifth of a slice. Whatever is not plain is left to it.
"""

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import Dataset

from meninx._errors import UnreadableFile
from meninx._scan.dicom.attributes import GRAY
from meninx._scan.dicom.values import number, text, whole_number
from meninx._scan.frame import PixelPlace

# Uncompressed, in the order of bytes that this reads.
_EXPLICIT = pydicom.uid.ExplicitVRLittleEndian
_PLAIN = (pydicom.uid.ImplicitVRLittleEndian, _EXPLICIT)
_PIXEL_TAG = b"\xe0\x7f\x10\x00"
_BYTES = {8: 1, 16: 2}
# Share of neighbors from which unused bits belong to the image: measured 0.25 to 1.0 where they do,
# below 0.001 with overlays, 0.02 where all bits are random.
_CARRIES = 0.1
# Fewer of them, as a share of the pixels, are single hot ones.
_FEWEST_CARRIES = 0.001


def pixel_place(
    dataset: Dataset, data: bytes, end: int, shape: tuple[int, int]
) -> PixelPlace | None:
    """Return the place of a file's pixels; None unless they are one plain gray frame.

    Args:
        dataset: Header of the file.
        data: Bytes of the file.
        end: Offset of the end of the header, bytes.
        shape: Rows and columns.

    Returns:
        The place. pydicom decodes compressed, colored, damaged, and several frames, and those whose
        header lacks a sign.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    bits = whole_number(dataset, "BitsAllocated")
    signed = whole_number(dataset, "PixelRepresentation")
    if syntax not in _PLAIN or bits not in _BYTES or signed not in (0, 1):
        return None
    stored = whole_number(dataset, "BitsStored") or 0
    stored = bits if stored < 1 else stored
    kind = text(dataset, "PhotometricInterpretation") or GRAY[1]
    samples = whole_number(dataset, "SamplesPerPixel")
    if stored > bits or kind not in GRAY or samples not in (None, 0, 1):
        return None
    start = end + (12 if syntax == _EXPLICIT else 8)
    element = data[end:start]
    expected = shape[0] * shape[1] * _BYTES[bits]
    found = int.from_bytes(element[-4:], "little")
    promised = (expected, expected + expected % 2)
    if element[:4] != _PIXEL_TAG or found not in promised or len(data) < start + found:
        return None
    return PixelPlace(
        start=start,
        header_bytes=end,
        element=element,
        dtype=f"<{'ui'[signed]}{_BYTES[bits]}",
        bits=stored,
        inverted=kind == GRAY[0],
        padding=padding_values(dataset),
    )


def padding_values(dataset: Dataset) -> tuple[float, float] | None:
    """Return the lowest and highest value that marks padded pixels; None without padding."""
    value = _stored_number(dataset, "PixelPaddingValue")
    if value is None:
        return None
    limit = _stored_number(dataset, "PixelPaddingRangeLimit")
    low, high = sorted((value, value if limit is None else limit))
    return low, high


def _stored_number(dataset: Dataset, name: str) -> float | None:
    """Return a number with the sign that stored values have: some write it by the other VR.

    References:
        DICOM PS3.5 6.2: US or SS, by PixelRepresentation.
    """
    value = number(dataset, name)
    bits = whole_number(dataset, "BitsAllocated") or 16
    if value is None or not -(2**15) <= value < 2**16:
        return value
    if whole_number(dataset, "PixelRepresentation"):
        return value - 2**bits if value >= 2 ** (bits - 1) else value
    return value + 2**bits if value < 0 else value


def stored_values(
    place: PixelPlace, data: bytes, shape: tuple[int, int]
) -> NDArray[np.integer] | None:
    """Return the stored values of a file, shape (1, rows, columns).

    Args:
        place: Place of the pixels.
        data: Bytes of the file.
        shape: Rows and columns.

    Returns:
        The values, with unused bits corrected; None if the file was changed.

    Raises:
        UnreadableFile: If the image needs the unused bits.

    References:
        DICOM PS3.5 8.1.1: unused bits may hold anything.
    """
    if data[place.header_bytes : place.start] != place.element:
        return None
    kind = np.dtype(place.dtype)
    count = shape[0] * shape[1]
    if len(data) < place.start + count * kind.itemsize:
        return None
    values = np.frombuffer(data, kind, count, place.start)
    return with_bits_stored(values.reshape(1, *shape), place.bits)


def with_bits_stored(values: NDArray[np.integer], bits: int) -> NDArray[np.integer]:
    """Return stored values without what their unused bits hold, such as an overlay.

    Args:
        values: Values as allocated, shape (frames, rows, columns[, colors]).
        bits: BitsStored.

    Returns:
        Values of the lowest bits, with their sign.

    Raises:
        UnreadableFile: If the bits above BitsStored belong to the image.
    """
    unused = 8 * values.itemsize - bits
    if not unused:
        return values
    stored: NDArray[np.integer] = np.right_shift(np.left_shift(values, unused), unused)
    if not np.array_equal(stored, values) and _share_of_carries(values, stored, bits) > _CARRIES:
        raise UnreadableFile(
            f"BitsStored {bits}, but the stored values need more bits (they go up to "
            f"{values.max()}): a part of their brightness would be lost; export the series again"
        )
    return stored


def _share_of_carries(values: NDArray[np.integer], stored: NDArray[np.integer], bits: int) -> float:
    """Return in how many neighbors of other unused bits these continue the stored ones.

    Where brightness rises beyond BitsStored, the stored bits begin again at 0 and the next one is
    set: the values themselves differ little. At the edge of an overlay they differ by a power of 2.
    """
    whole = values.astype(np.int64)
    unused = whole - stored
    carries = changes = 0
    for axis in (1, 2):
        is_change = np.diff(unused, axis=axis) != 0
        is_near = np.abs(np.diff(whole, axis=axis)) < 2 ** (bits - 1)
        changes += int(is_change.sum())
        carries += int((is_change & is_near).sum())
    return carries / changes if carries > _FEWEST_CARRIES * whole.size else 0.0
