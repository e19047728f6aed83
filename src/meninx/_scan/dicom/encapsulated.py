"""Check the number and the size of the compressed frames of a DICOM file.

Decoders take the frames that the header promises and drop the others, and give the pixels of a
stream the shape of the header if only their number is right.
"""

import io
import re
from collections.abc import Iterator

from pydicom import Dataset
from pydicom.encaps import generate_fragments, generate_frames, parse_basic_offsets
from pydicom.uid import JPEG2000TransferSyntaxes, RLELossless

from meninx._errors import UnreadableFile
from meninx._scan.dicom.jpeg_stream import segments

# First bytes of a frame: of JPEG and JPEG-LS (start of image, next marker), of JPEG 2000 (start of
# codestream, size) with or without the boxes of a file, of RLE (number of segments, first offset).
_JPEG_START = rb"\xff\xd8\xff"
_CODESTREAM = b"\xff\x4f\xff\x51"
_JPEG_2000_START = rb"(?:\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51)"
_RLE_START = rb"[\x01-\x0f]\x00\x00\x00\x40\x00\x00\x00"
# The JPEG kinds end with the same marker; a zero pads them to an even length.
_JPEG_END = rb"\xff\xd9\x00*"
# Headers of JPEG frames of all processes (T.81, table B.1) and of JPEG-LS (T.87, C.2.2).
_SIZE_MARKERS = frozenset((*range(0xC0, 0xD0), 0xF7)) - {0xC4, 0xC8, 0xCC}


def check_frames(dataset: Dataset) -> None:
    """Check that the pixels of a compressed file are those that its header describes.

    Args:
        dataset: Dataset with pixels in an encapsulated transfer syntax.

    Raises:
        UnreadableFile: If there are more frames than NumberOfFrames, or a stream has another number
            of rows or columns than the header. Missing frames are left to the decoder.

    References:
        DICOM PS3.5 A.4: a frame begins a fragment; it may have several, of RLE one.
    """
    promised = int(dataset.NumberOfFrames)
    found = _count_of_frames(dataset)
    if found > promised:
        raise UnreadableFile(
            f"{found} compressed frames, the header promises {promised}; whole frames would be "
            "left out: export the file again"
        )
    described = (int(dataset.Rows), int(dataset.Columns))
    for stream in streams_of(dataset):
        size = _size_of(stream)
        if size is not None and size != described:
            raise UnreadableFile(
                f"the compressed stream has {size[0]} rows and {size[1]} columns, the header says "
                f"{described[0]} and {described[1]}; export the file again"
            )


def streams_of(dataset: Dataset) -> Iterator[bytes]:
    """Yield the compressed frames of a file.

    Args:
        dataset: Dataset with pixels in an encapsulated transfer syntax.

    Yields:
        The bytes of each frame, its fragments joined.
    """
    extended = None
    if "ExtendedOffsetTable" in dataset:
        extended = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    yield from generate_frames(
        dataset.PixelData,
        number_of_frames=int(dataset.NumberOfFrames),
        extended_offsets=extended,
    )


def _count_of_frames(dataset: Dataset) -> int:
    """Return the number of starts of frames: at a fragment, or in one behind another frame."""
    syntax = dataset.file_meta.TransferSyntaxUID
    start, end = _JPEG_START, _JPEG_END
    if syntax == RLELossless:
        start, end = _RLE_START, b""
    elif syntax in JPEG2000TransferSyntaxes:
        start = _JPEG_2000_START
    buffer = io.BytesIO(dataset.PixelData)
    parse_basic_offsets(buffer)
    count = 0
    for fragment in generate_fragments(buffer):
        count += re.match(start, fragment) is not None
        # Nothing marks the end of an RLE frame.
        count += len(re.findall(end + start, fragment)) if end else 0
    return count


def _size_of(stream: bytes) -> tuple[int, int] | None:
    """Return rows and columns that a compressed stream states; None if it states none.

    References:
        ITU-T T.81, B.2.2 (rows may be 0: counted behind the data); T.800, A.5.1.
    """
    start = stream.find(_CODESTREAM)
    if start == 0 or stream[4:8] == b"jP  ":
        content = stream[start + 8 : start + 24] if start >= 0 else b""
        right, bottom, left, top = (int.from_bytes(content[at : at + 4]) for at in (0, 4, 8, 12))
        return (bottom - top, right - left) if len(content) == 16 else None
    for marker, content, _ in segments(stream):
        if marker in _SIZE_MARKERS and len(content) > 4:
            rows, columns = int.from_bytes(content[1:3]), int.from_bytes(content[3:5])
            return (rows, columns) if rows and columns else None
    return None
