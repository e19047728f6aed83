"""Parse a DICOM file or a DICOMDIR into a pydicom dataset."""

import io
import warnings
import zlib
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field

import pydicom
from pydicom import Dataset, FileDataset

from meninx._errors import UnreadableFile
from meninx._scan.dicom.character_set import mend_character_set
from meninx._scan.limits import DEFAULT_LIMITS, MIB, Limits
from meninx._scan.promises import Listing
from meninx._scan.source import Source, reading

# MediaStorageSOPClassUID of a DICOMDIR.
DIRECTORY = str(pydicom.uid.MediaStorageDirectoryStorage)
DEFLATED = b"1.2.840.10008.1.2.1.99"
# Size of the head of a file, bytes: contains all elements before the pixels, except for long
# private ones.
HEAD_BYTES = 65536
# Tag of PixelData in either byte order.
_PIXEL_DATA = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")


def read_dataset(
    source: Source, limits: Limits = DEFAULT_LIMITS, *, pixels: bool = False
) -> Dataset:
    """Read a DICOM file into a pydicom dataset.

    Args:
        source: DICOM file.
        limits: Largest file that is read.
        pixels: Whether to read the encoded pixels too.

    Returns:
        The dataset, file meta information included.

    Raises:
        UnreadableFile: If the file is damaged.
    """
    with reading(source.name, "the DICOM header"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns about every unusual value
        return parse(source, limits, stop_before_pixels=not pixels)


def read_listing(source: Source, limits: Limits = DEFAULT_LIMITS) -> Listing:
    """Read the images that a DICOMDIR lists.

    Args:
        source: DICOMDIR.
        limits: Largest file that is read.

    Returns:
        The images of each series.

    Raises:
        UnreadableFile: If it can't be read.

    References:
        DICOM PS3.3 F.3.2: records follow the series that they belong to.
    """
    dataset = read_dataset(source, limits)
    listed: dict[str, set[str]] = defaultdict(set)
    with reading(source.name, "the DICOMDIR"):
        series_uid = ""
        for record in dataset.get("DirectoryRecordSequence") or ():
            kind = str(record.get("DirectoryRecordType", ""))
            if kind == "SERIES":
                series_uid = str(record.get("SeriesInstanceUID", "") or "")
            elif kind == "IMAGE" and series_uid:
                listed[series_uid].add(str(record.get("ReferencedSOPInstanceUIDInFile", "")))
    return Listing(source.name, {uid: frozenset(images) for uid, images in listed.items()})


def is_cut_off(head: bytes) -> bool:
    """Return whether a DICOM file ends before its pixels.

    Args:
        head: First bytes of the file, `HEAD_BYTES` or the whole file.

    Returns:
        Whether the whole file is there, without pixels.
    """
    return len(head) < HEAD_BYTES and not any(tag in head for tag in _PIXEL_DATA)


def series_uid_of(head: bytes) -> str:
    """Return the SeriesInstanceUID from the first bytes of a DICOM file; empty if none.

    Args:
        head: First bytes of the file, up to group 0020 at least.

    Returns:
        The UID as the file has it.
    """
    with warnings.catch_warnings(), suppress(Exception):
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(
            io.BytesIO(head),
            stop_before_pixels=True,
            force=head[128:132] != b"DICM",
            specific_tags=["SeriesInstanceUID"],
        )
        return str(dataset.get("SeriesInstanceUID", ""))
    return ""


@dataclass(frozen=True)
class StoredHeader:
    """The header of a DICOM file as it is stored, parsed when it is called.

    Args:
        name: Name of the file.
        data: Bytes of the file up to its pixels.
    """

    name: str
    data: bytes = field(repr=False)

    def __call__(self) -> FileDataset:
        """Return the dataset."""
        with reading(self.name, "the DICOM header"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return parsed(self.data, self.name, DEFAULT_LIMITS, stop_before_pixels=True)[0]


def parse(source: Source, limits: Limits, *, stop_before_pixels: bool) -> FileDataset:
    """Parse a DICOM file, with or without preamble, and convert its texts to UTF-8."""
    data = source.read(limits)
    return parsed(data, source.name, limits, stop_before_pixels=stop_before_pixels)[0]


def parsed(
    data: bytes, name: str, limits: Limits, *, stop_before_pixels: bool
) -> tuple[FileDataset, int]:
    """Parse the bytes of a DICOM file.

    Args:
        data: Bytes of the file.
        name: Name of the file.
        limits: Largest unpacked size of a deflated file.
        stop_before_pixels: Whether to leave out the pixels and what follows them.

    Returns:
        The dataset, and the offset where parsing ended, bytes; of a deflated file, in its unpacked
        bytes.
    """
    has_preamble = data[128:132] == b"DICM"
    if DEFLATED in data[132:1024]:
        check_deflated(data, limits)
    file = io.BytesIO(data)
    dataset = pydicom.dcmread(file, stop_before_pixels=stop_before_pixels, force=not has_preamble)
    if "TransferSyntaxUID" not in dataset.file_meta:
        # Files without meta group: the encoding that pydicom found.
        implicit, _ = dataset.original_encoding
        dataset.file_meta.TransferSyntaxUID = (
            pydicom.uid.ImplicitVRLittleEndian if implicit else pydicom.uid.ExplicitVRLittleEndian
        )
    dataset.filename = name
    mend_character_set(dataset)
    return dataset, file.tell()


def check_deflated(data: bytes, limits: Limits) -> None:
    """Check the unpacked size of a deflated file before pydicom unpacks it whole.

    Args:
        data: Bytes of the file.
        limits: Largest unpacked size.

    Raises:
        LimitExceeded: If it is larger.
        UnreadableFile: If the file's meta group does not say where it ends.

    References:
        DICOM PS3.5 A.5: raw deflate after the meta group; PS3.10 7.1: its length comes first.
    """
    if data[132:140] != b"\x02\x00\x00\x00UL\x04\x00":
        raise UnreadableFile("deflated, but its meta group does not begin with its length")
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    packed = data[144 + int.from_bytes(data[140:144], "little") :]
    unpacked = 0
    while packed and not inflate.eof:
        unpacked += len(inflate.decompress(packed, 16 * MIB))
        limits.check("bytes unpacked", unpacked, "file_bytes")
        packed = inflate.unconsumed_tail
