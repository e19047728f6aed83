"""What a DICOM file holds, whichever way it is written.

A CD and a C-STORE bring one image in different files: another preamble, another meta group,
implicit or explicit VR, with or without private elements, pixels compressed or not.
"""

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import pydicom
from pydicom import Dataset, FileDataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

from meninx._errors import UnreadableFile
from meninx._scan.dicom.file import DEFLATED
from meninx._scan.source import GZIP_MAGIC, reading

_META_BYTES = 1024
_DIGITS = 32
_PIECE_BYTES = 1024**2
# Where an instance was fetched from, whether it is at hand (PS3.4 C.4), and whether its pixels were
# compressed before: not what it holds.
_OF_TRANSFER = {0x00080054, 0x00080056, 0x00880130, 0x00880140, 0x00282110, 0x00282112, 0x00282114}
# Bytes of an element's tag, and of its VR and length, explicit and implicit (PS3.5 7.1).
_TAG_BYTES, _EXPLICIT_BYTES, _IMPLICIT_BYTES = 4, 8, 4
_UNDEFINED_LENGTH = 0xFFFFFFFF


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None:
        """Add bytes."""


@dataclass(frozen=True)
class Content:
    """What a DICOM file holds.

    Args:
        elements: Hash of its standard elements, 32 hexadecimal digits. Equal for files that differ
            in preamble, meta group, kind of VR, private elements, group lengths and padding alone.
        pixels: Hash of its pixels as they are encoded, 32 hexadecimal digits.
        packed: Whether its pixels are compressed, so that their bytes can't be compared with those
            of an uncompressed file.
    """

    elements: str
    pixels: str
    packed: bool

    def same(self, other: "Content") -> bool:
        """Return whether two files hold one instance.

        Without loss, a system that compresses pixels or unpacks them keeps the SOPInstanceUID and
        all other elements: these then decide (PS3.5 8.2).
        """
        if self.elements != other.elements:
            return False
        return self.pixels == other.pixels or self.packed != other.packed


def content_of(path: Path) -> Content:
    """Return what a DICOM file holds.

    Args:
        path: DICOM file, little endian, neither deflated nor gzipped.

    Returns:
        Hashes of elements and pixels.

    Raises:
        UnreadableFile: If the file is written in another way, or damaged.
    """
    elements, pixels = hashlib.sha256(), hashlib.sha256()
    with reading("", "the DICOM file"), warnings.catch_warnings(), path.open("rb") as file:
        warnings.simplefilter("ignore")  # pydicom warns about every unusual value, and quotes it
        head = file.read(_META_BYTES)
        if head.startswith(GZIP_MAGIC) or DEFLATED in head[132:]:
            raise UnreadableFile("packed, so its elements are not where they are read")
        file.seek(0)
        dataset = pydicom.dcmread(file, stop_before_pixels=True, force=head[128:132] != b"DICM")
        if dataset.original_encoding[1] is False:
            raise UnreadableFile("big endian, so its bytes are not those of other files")
        _add_elements(elements, dataset)
        packed = _add_pixels(pixels, dataset, file)
    return Content(elements.hexdigest()[:_DIGITS], pixels.hexdigest()[:_DIGITS], packed)


def _add_elements(digest: _Hash, dataset: Dataset) -> None:
    """Add tag and value of each standard element, also those in sequences."""
    for tag in sorted(dataset.keys()):
        if tag.is_private or tag.element == 0 or int(tag) in _OF_TRANSFER:
            continue
        digest.update(b"\0element" + int(tag).to_bytes(4, "big"))
        if _is_sequence(dataset, tag):
            for item in dataset[tag].value:
                digest.update(b"\0item")
                _add_elements(digest, item)
            continue
        value = _bytes_of(dataset, tag)
        digest.update(len(value).to_bytes(8, "big") + value)


def _bytes_of(dataset: Dataset, tag: BaseTag) -> bytes:
    """Return the value of an element as its file has it."""
    element = dataset.get_item(tag)
    if isinstance(element, RawDataElement):
        return element.value or b""
    # pydicom converts some while it reads, such as empty ones.
    return b"" if dataset[tag].is_empty else repr(dataset[tag].value).encode()


def _is_sequence(dataset: Dataset, tag: BaseTag) -> bool:
    """Return whether an element is a sequence; with implicit VR the dictionary says so."""
    try:
        return bool(dictionary_VR(tag) == "SQ")
    except KeyError:
        return bool(dataset.get_item(tag).VR == "SQ")


def _add_pixels(digest: _Hash, dataset: FileDataset, file: BinaryIO) -> bool:
    """Add tag and bytes of the pixels, where reading stopped; return whether they are packed."""
    digest.update(b"\0pixels" + file.read(_TAG_BYTES))
    implicit, _ = dataset.original_encoding
    prefix = file.read(_IMPLICIT_BYTES if implicit else _EXPLICIT_BYTES)
    length = int.from_bytes(prefix[-4:], "little")
    # Of fragments all that follows counts: their end is known by reading them only.
    left = None if length == _UNDEFINED_LENGTH else length
    while piece := file.read(_PIECE_BYTES if left is None else min(left, _PIECE_BYTES)):
        digest.update(piece)
        left = None if left is None else left - len(piece)
    return length == _UNDEFINED_LENGTH
