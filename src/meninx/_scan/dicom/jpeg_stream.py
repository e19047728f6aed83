"""Check that a JPEG stream holds all the pixels that it promises.

gdcm, the only installed decoder of JPEG Lossless and of JPEG Extended with 12 bits, fills what is
missing with invented pixels and says so on standard error only. So the Huffman codes are counted:
the last one of the last pixel has to be followed by the end of the data.

References:
    ITU-T T.81: B.1.1 (markers and stuffed bytes), C.2 (Huffman codes), F.2.2 and H.2 (what follows
    a code, of DCT blocks and of lossless samples).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from meninx._errors import UnreadableFile

# Frames of baseline, extended and lossless JPEG with Huffman codes (T.81, table B.1).
_LOSSLESS_FRAME = 0xC3
_FRAMES = (0xC0, 0xC1, _LOSSLESS_FRAME)
_TABLES, _RESTART_INTERVAL, _SCAN = 0xC4, 0xDD, 0xDA
# Markers without a length: the start of the image, restarts and TEM.
_BARE = frozenset((0x01, *range(0xD0, 0xD9)))
# Coded data end at a marker that is neither a stuffed 0xFF nor a restart.
_END_OF_DATA = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]", re.DOTALL)
_RESTART = re.compile(rb"\xff+[\xd0-\xd7]", re.DOTALL)
# Codes have at most 16 bits.
_LONGEST_CODE = 16
_BLOCK_SIDE, _BLOCK_VALUES = 8, 64
# Step at bits that are no code: further than any code with its bits, so that the end is missed.
_NO_CODE = 255
# Value of the code after which a block has zeros alone, and the run that stands for it.
_END_OF_BLOCK, _REST_OF_BLOCK = 0x00, 128
# Bits that may follow the last pixel: padding to a byte, and a few bytes of careless encoders.
_SPARE_BITS = 40


# A Huffman table as two lookups by the next 16 bits: bits up to the code after it, and how many
# values of a block it stands for.
_Table = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@dataclass
class _Stream:
    """What the markers of a JPEG stream say.

    Args:
        frame: Marker of the frame's header.
        rows: Number of rows; 0 if they are only counted behind the data.
        columns: Number of columns.
        components: Number of components: 1 for gray.
        restart: Number of units between two restarts; 0 without restarts.
        tables: Huffman tables by class and number.
        chosen: Class and number of the DC (or lossless) table of the scan, and of the AC table.
        coded: Entropy-coded data of the scan.
    """

    frame: int = 0
    rows: int = 0
    columns: int = 0
    components: int = 0
    restart: int = 0
    tables: dict[int, _Table] = field(default_factory=dict)
    chosen: tuple[int, int] = (0, 0)
    coded: bytes = b""


def check_pixels(stream: bytes) -> None:
    """Check that a gray, Huffman-coded JPEG stream has as many pixels as its header promises.

    Args:
        stream: One frame: sequential DCT or lossless. Color and other processes are not checked.

    Raises:
        UnreadableFile: If pixels are missing, or other bytes stand in their place.
    """
    jpeg = _parsed(stream)
    if jpeg.components > 1 or (jpeg.frame and not jpeg.rows):
        return
    if not jpeg.components or not jpeg.tables:
        raise UnreadableFile("the JPEG stream is damaged: its header is cut; copy the file again")
    side = 1 if jpeg.frame == _LOSSLESS_FRAME else _BLOCK_SIDE
    units = -(-jpeg.rows // side) * -(-jpeg.columns // side)
    interval = jpeg.restart or units
    parts = _RESTART.split(jpeg.coded) if jpeg.restart else [jpeg.coded]
    found = 0
    for part in parts:
        expected = min(interval, units - found)
        decoded, is_whole = _decoded_units(jpeg, part.replace(b"\xff\0", b"\xff"), expected)
        found += decoded
        if not is_whole:
            break
    else:
        if found == units:
            return
    raise UnreadableFile(
        f"the JPEG stream is damaged: of the {jpeg.rows} rows of pixels that its header promises, "
        "some are missing or are other bytes; copy the file again"
    )


def _decoded_units(jpeg: _Stream, coded: bytes, expected: int) -> tuple[int, bool]:
    """Return how many samples or blocks coded data hold, and whether nothing else follows them."""
    first = jpeg.tables.get(jpeg.chosen[0])
    others = jpeg.tables.get(jpeg.chosen[1])
    if first is None or (others is None and jpeg.frame != _LOSSLESS_FRAME):
        raise UnreadableFile("the JPEG stream is damaged: no Huffman table; copy the file again")
    ahead = _next_bits(coded)
    if jpeg.frame == _LOSSLESS_FRAME or others is None:
        units, place = _samples(first[0][ahead].tobytes(), expected)
    else:
        bits, runs = (lookup[ahead].tobytes() for lookup in others)
        units, place = _blocks(first[0][ahead].tobytes(), bits, runs, expected)
    is_whole = units == expected and 0 <= len(ahead) - place <= _SPARE_BITS
    return units, is_whole


def _samples(bits: bytes, expected: int) -> tuple[int, int]:
    """Follow the codes of lossless samples.

    Args:
        bits: Bits up to the next code, for each bit of the data at which one may begin.
        expected: Number of samples to follow.

    Returns:
        Number of samples, and the bit behind the last.
    """
    place = 0
    for count in range(expected):
        if place >= len(bits):
            return count, place
        place += bits[place]
    return expected, place


def _blocks(first: bytes, bits: bytes, runs: bytes, expected: int) -> tuple[int, int]:
    """Follow the codes of DCT blocks.

    Args:
        first: Bits up to the next code, if the code is that of a block's first value.
        bits: Bits up to the next code, if it is that of another value.
        runs: Number of values that such a code stands for.
        expected: Number of blocks to follow.

    Returns:
        Number of blocks, and the bit behind the last.
    """
    place = 0
    for count in range(expected):
        if place >= len(first):
            return count, place
        place += first[place]
        value = 1
        while value < _BLOCK_VALUES:
            if place >= len(bits):
                return count, place
            value += runs[place]
            place += bits[place]
        if _BLOCK_VALUES < value < _REST_OF_BLOCK:
            return count, place
    return expected, place


def _next_bits(coded: bytes) -> NDArray[np.uint16]:
    """Return the 16 bits that follow each bit of the data, itself included; ones beyond the end."""
    padded = np.frombuffer(coded + b"\xff\xff", dtype=np.uint8).astype(np.uint32)
    three = (padded[:-2] << 16) | (padded[1:-1] << 8) | padded[2:]
    shifts = np.arange(8, 0, -1, dtype=np.uint32)
    return ((three[:, None] >> shifts) & 0xFFFF).astype(np.uint16).ravel()


def _parsed(stream: bytes) -> _Stream:
    """Return what the markers say, up to the end of the first scan."""
    jpeg = _Stream()
    for marker, content, end in segments(stream):
        if marker in _FRAMES and len(content) > 5:
            jpeg.frame, jpeg.components = marker, content[5]
            jpeg.rows = int.from_bytes(content[1:3])
            jpeg.columns = int.from_bytes(content[3:5])
        elif marker == _TABLES:
            jpeg.tables.update(_huffman_tables(content))
        elif marker == _RESTART_INTERVAL:
            jpeg.restart = int.from_bytes(content[:2])
        elif marker == _SCAN and len(content) > 2:
            jpeg.chosen = (content[2] >> 4, 0x10 | (content[2] & 15))
            after = _END_OF_DATA.search(stream, end)
            jpeg.coded = stream[end : after.start() if after else len(stream)]
    return jpeg


def segments(stream: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield the segments of a JPEG or JPEG-LS stream up to its first scan.

    Args:
        stream: Bytes of one frame.

    Yields:
        Marker, content, and the offset behind the segment.
    """
    place, marker = 0, 0
    while marker != _SCAN and place + 4 <= len(stream) and stream[place] == 0xFF:
        marker = stream[place + 1]
        if marker == 0xFF or marker in _BARE:
            place += 1 if marker == 0xFF else 2
            continue
        end = place + 2 + int.from_bytes(stream[place + 2 : place + 4])
        yield marker, stream[place + 4 : end], end
        place = end


def _huffman_tables(content: bytes) -> Iterator[tuple[int, _Table]]:
    """Yield class and number of each Huffman table of a segment, and its lookups."""
    while len(content) > _LONGEST_CODE:
        lengths = content[1 : 1 + _LONGEST_CODE]
        size = 1 + _LONGEST_CODE + sum(lengths)
        yield content[0], _lookups(lengths, content[1 + _LONGEST_CODE : size])
        content = content[size:]


def _lookups(lengths: bytes, values: bytes) -> _Table:
    """Return the lookups of a Huffman table.

    Args:
        lengths: Number of codes of 1 to 16 bits.
        values: Their values: the number of bits that follow the code in the lower half, the number
            of zeros before the value in the upper.

    Returns:
        Arrays of shape (65536,). Bits that are no code lead far on, and overfill a block.
    """
    bits = np.full(1 << _LONGEST_CODE, _NO_CODE, dtype=np.uint8)
    runs = np.full(1 << _LONGEST_CODE, _BLOCK_VALUES, dtype=np.uint8)
    of_codes = np.repeat(np.arange(1, _LONGEST_CODE + 1), list(lengths))
    start = 0
    for length, value in zip(of_codes.tolist(), values, strict=False):
        end = start + (1 << (_LONGEST_CODE - length))
        bits[start:end] = length + (value & 15)
        runs[start:end] = _REST_OF_BLOCK if value == _END_OF_BLOCK else (value >> 4) + 1
        start = end
    return bits, runs
