"""Tell a file's kind by its first bytes, without what reads it: that takes long to import."""

import zlib
from pathlib import PurePosixPath
from typing import Literal

from meninx.errors import UnreadableFile, UnsupportedScan

Reader = Literal["picture", "nifti", "dicom"]
PICTURE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jfif", ".jp2", ".j2k", ".tif", ".tiff", ".bmp", ".gif", ".webp",
)  # fmt: skip
# A file of these names that is something else is damaged; of any other name it is not our matter.
SCAN_SUFFIXES = (*PICTURE_SUFFIXES, ".nii", ".nii.gz", ".dcm", ".dicom", ".ima")
GZIP_MAGIC = b"\x1f\x8b"
# PNG, JPEG, GIF, JPEG 2000 as a file and as a bare codestream.
PICTURE_MAGIC = (
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"\0\0\0\x0cjP  ",
    b"\xff\x4f\xff\x51",
)  # fmt: skip
# Formats of scans and packages that are not read: names, first bytes (None for any), what helps.
_TO_NIFTI = "convert it to NIfTI"
OTHER_FORMATS = (
    ((".mgz", ".mgh"), None, "FreeSurfer's MGH", f"{_TO_NIFTI}: mri_convert FILE out.nii.gz"),
    ((".nrrd", ".nhdr"), b"NRRD", "NRRD", f"{_TO_NIFTI}, as with 3D Slicer or SimpleITK"),
    ((".mha", ".mhd"), None, "MetaImage", f"{_TO_NIFTI}, as with 3D Slicer or SimpleITK"),
    ((".hdr", ".img"), None, "an Analyze pair", f"{_TO_NIFTI}: fslchfiletype NIFTI_GZ FILE"),
    ((".mnc",), None, "MINC", f"{_TO_NIFTI}: mnc2nii FILE out.nii"),
    ((".mat",), None, "a MATLAB file", f"{_TO_NIFTI}, or save its slices as PNG"),
    ((".h5", ".hdf5"), None, "HDF5", f"{_TO_NIFTI}, or save its slices as PNG"),
    ((".npy", ".npz"), None, "a NumPy array", f"{_TO_NIFTI}: nibabel.Nifti1Image(array, affine)"),
    ((".dcm.gz",), GZIP_MAGIC, "a packed DICOM file", "unpack it: gunzip FILE"),
    ((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"), None, "a tar archive",
     "unpack it: tar xf FILE"),
    ((".7z",), b"7z", "a 7z archive", "unpack it"),
    ((".rar",), b"Rar!", "a rar archive", "unpack it"),
    ((".par", ".rec"), None, "Philips' PAR/REC", "convert it to NIfTI: dcm2niix FOLDER"),
)  # fmt: skip
SNIFFED_BYTES = 1024
# What a dataset without preamble may begin with: up to InstanceCreationDate, ImageType, SOP UIDs.
LAST_FIRST_ELEMENT = 0x0020
LONGEST_FIRST_VALUE = 256
VALUE_REPRESENTATIONS = (b"UL", b"CS", b"DA", b"TM", b"UI", b"SH", b"LO", b"OB", b"AE")
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
    if (told := _other_format(head, lower)) is not None:
        raise UnsupportedScan(told, place=name, reason="other_format")
    if strict or lower.endswith(SCAN_SUFFIXES):
        what = "neither picture, NIfTI nor DICOM by its content" if head else "empty"
        raise UnreadableFile(f"{what}, whatever its name says; copy or export it again", place=name)
    return None


def _other_format(head: bytes, name: str) -> str | None:
    """Return what to do with a file of a format that is not read, in words; None for any other."""
    for suffixes, magic, what, how in OTHER_FORMATS:
        if name.endswith(suffixes) and (magic is None or head.startswith(magic)):
            return f"{what}, which is not read; {how}"
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
        head.startswith(PICTURE_MAGIC)
        or (head.startswith(b"BM") and head[6:10] == bytes(4))
        or head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
    )


def is_dicom(head: bytes) -> bool:
    """Return whether bytes begin as a DICOM file, with the preamble or, as old ones, without."""
    return head[128:132] == b"DICM" or _begins_with_element(head)


def _begins_with_element(head: bytes) -> bool:
    """Return whether bytes begin with a plausible first element of a dataset without preamble.

    Group 0002 or 0008, of either byte order: whichever of its first elements is there. Explicit
    value representations are two capitals, implicit lengths short (DICOM PS3.5 7.1).
    """
    if len(head) < 8:
        return False
    for order in ("little", "big"):
        group, element = (int.from_bytes(head[at : at + 2], order) for at in (0, 2))
        if group not in (0x0002, 0x0008) or element > LAST_FIRST_ELEMENT:
            continue
        length = int.from_bytes(head[4:8], order)
        if head[4:6] in VALUE_REPRESENTATIONS or length <= LONGEST_FIRST_VALUE:
            return True
    return False


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
