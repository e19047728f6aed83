"""Tell a file's kind by its first bytes, without what reads it: that takes long to import."""

import zlib
from pathlib import PurePosixPath
from typing import Literal

from meninx.errors import UnreadableFile, UnsupportedScan

Reader = Literal["picture", "nifti", "dicom"]
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
# A file of these names that is something else is damaged; of any other name it is not our matter.
SCAN_SUFFIXES = (*PICTURE_SUFFIXES, ".nii", ".nii.gz", ".dcm", ".dicom", ".ima")
SNIFFED_BYTES = 1024
GZIP_MAGIC = b"\x1f\x8b"
HEADER_BYTES = 540  # NIfTI-2's; NIfTI-1's 348 fit in


def kind_of(head: bytes, name: str, *, strict: bool = False) -> Reader | None:
    """Return which reader a file is for, by its content.

    Args:
        head: Its first `SNIFFED_BYTES` bytes, or all that it has.
        name: Of the file, as the user knows it.
        strict: Whether the user named this very file.

    Returns:
        The reader; None for a file that is not our matter.

    Raises:
        UnsupportedScan: If it is a zip.
        UnreadableFile: If it is none of ours although it is named so.
    """
    lower = name.lower()
    if is_nifti(head) or is_packed_nifti(head):
        return "nifti"
    if _is_picture(head):
        return "picture"
    if head[128:132] == b"DICM" or (is_dicom(head) and (strict or _may_be_dicom(lower))):
        return "dicom"
    # Office documents and models are zips too: only what calls itself one is worth a word.
    if zipfile_magic(head) and (strict or lower.endswith(".zip")):
        raise UnsupportedScan(
            "a zip inside; unpack it, or name it by itself", place=name, reason="nested_zip"
        )
    if strict or lower.endswith(SCAN_SUFFIXES):
        what = "neither picture, NIfTI nor DICOM by its content" if head else "empty"
        raise UnreadableFile(f"{what}, whatever its name says; copy or export it again", place=name)
    return None


def zipfile_magic(head: bytes) -> bool:
    """Return whether bytes begin as a zip."""
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def _may_be_dicom(name: str) -> bool:
    """Return whether a name suits a DICOM file without preamble: of its kind, or without suffix."""
    suffix = PurePosixPath(name).suffix
    return suffix in ("", ".dcm", ".dicom", ".ima") or suffix[1:].isdecimal()


def _is_picture(head: bytes) -> bool:
    return (
        head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"))
        or (head.startswith(b"BM") and head[6:10] == bytes(4))
        or head[:4] in (b"II*\0", b"MM\0*")
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
    )


def is_dicom(head: bytes) -> bool:
    """Return whether bytes begin as a DICOM file, with the preamble or, as old ones, without."""
    return head[128:132] == b"DICM" or (
        head[:2] in (b"\x02\x00", b"\x08\x00") and head[2:4] in (b"\x00\x00", b"\x05\x00")
    )


def is_nifti(head: bytes) -> bool:
    """Return whether bytes begin as a NIfTI-1 or NIfTI-2 single file, unpacked."""
    return head[344:348] == b"n+1\0" or head[4:8] == b"n+2\0"


def is_packed_nifti(head: bytes) -> bool:
    """Return whether bytes begin as a NIfTI file packed by gzip."""
    if not head.startswith(GZIP_MAGIC):
        return False
    try:
        return is_nifti(zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(head, HEADER_BYTES))
    except zlib.error:
        return False
