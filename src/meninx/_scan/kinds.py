"""Find the format of a file from its first bytes, without importing its reader."""

import re
from pathlib import PurePosixPath
from typing import Literal

from meninx._errors import UnreadableFile, UnsupportedScan
from meninx._scan.header_words import word_tuple

Reader = Literal["picture", "nifti", "pair", "mgh", "nrrd", "metaimage", "dicom"]
PICTURE_SUFFIXES = word_tuple(".png .jpg .jpeg .jfif .jp2 .j2k .tif .tiff .bmp .gif .webp")
# Volumes in one file.
VOLUME_SUFFIXES = word_tuple(".nii .nii.gz .mgh .mgz .mgh.gz .nrrd .mha .mha.gz")
# Headers of volumes whose voxels are in another file.
_HEADER_SUFFIXES = (".hdr", ".hdr.gz", ".nhdr", ".mhd")
DICOM_SUFFIXES = word_tuple(".dcm .dicom .ima .dcm.gz .dicom.gz .ima.gz")
# Files with these suffixes but other content are damaged; files with other names are no scans.
SCAN_SUFFIXES = (*PICTURE_SUFFIXES, *VOLUME_SUFFIXES, *_HEADER_SUFFIXES, *DICOM_SUFFIXES)
# PNG, JPEG, GIF, JPEG 2000 as a file and as a codestream.
_PICTURE_MAGIC = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"GIF87a",
    b"GIF89a",
    b"\0\0\0\x0cjP  ",
    b"\xff\x4f\xff\x51",
)
# Formats that are not read: suffixes, first bytes (None for any), name, advice.
_TO_NIFTI = "convert it to NIfTI"
_OTHER_FORMATS = (
    ((".mnc",), None, "MINC", f"{_TO_NIFTI}: mnc2nii FILE out.nii"),
    ((".mat",), None, "a MATLAB file", f"{_TO_NIFTI}, or save its slices as PNG"),
    ((".h5", ".hdf5"), None, "HDF5", f"{_TO_NIFTI}, or save its slices as PNG"),
    ((".npy", ".npz"), None, "a NumPy array", f"{_TO_NIFTI}: nibabel.Nifti1Image(array, affine)"),
    ((".7z",), b"7z", "a 7z archive", "unpack it: 7z x FILE"),
    ((".rar",), b"Rar!", "a rar archive", "unpack it: unrar x FILE"),
    ((".par", ".rec"), None, "Philips' PAR/REC", "convert it to NIfTI: dcm2niix FOLDER"),
    ((".head", ".brik", ".brik.gz"), None, "AFNI's HEAD/BRIK", f"{_TO_NIFTI}: 3dAFNItoNIFTI FILE"),
    ((".v", ".ecat"), b"MATRIX7", "ECAT", f"{_TO_NIFTI}, as with nibabel"),
    ((".fid", ".2dseq"), None, "Bruker's", f"{_TO_NIFTI}, as with Bru2Nii"),
    ((".mif", ".mih", ".mif.gz"), None, "MRtrix's", f"{_TO_NIFTI}: mrconvert FILE out.nii"),
    ((".minc", ".mnc2"), None, "MINC", f"{_TO_NIFTI}: mnc2nii FILE out.nii"),
    ((".heic", ".heif", ".avif", ".jxl"), None, "HEIF, AVIF or JPEG XL", "save it as PNG"),
    ((".tar.zst", ".tzst", ".tar.lz4", ".tar.lz", ".tar.z"), None, "a tar", "unpack it"),
)
# Suffixes of packed single files that are not read; gzip is.
_PACKED_SUFFIXES = (".bz2", ".xz", ".zst", ".lz4", ".lz", ".z", ".lzma", ".br")
# A part of a split archive: .z01, .zip.001, .7z.001, .part1.rar.
_SPLIT_ARCHIVE = re.compile(r"\.(z\d\d|(zip|7z|tar|gz|rar)\.\d{3}|part\d+\.rar)$")
# Suffixes of DICOM files that scanners write without preamble.
_BARE_SUFFIXES = ("", ".dcm", ".dicom", ".ima", ".mr", ".img", ".dc3", ".acr", ".ct", ".dic")
# Limits of the first element of a dataset without preamble.
_LAST_FIRST_ELEMENT = 0x0020
_LONGEST_FIRST_VALUE = 256
_VALUE_REPRESENTATIONS = (b"UL", b"CS", b"DA", b"TM", b"UI", b"SH", b"LO", b"OB", b"AE")
# First elements of group 0002 or 0008 with an explicit value representation, under any name.
_EXPLICIT_ELEMENT = re.compile(
    rb"\x02\0(\0\0UL\x04\0|\x01\0OB|\x02\0UI|\x10\0UI)"
    rb"|\x08\0(\0\0UL\x04\0|\x01\0UL|[\x05\x08]\0CS|\x12\0DA|[\x14\x16\x18]\0UI)"
)
HEADER_BYTES = 540  # of NIfTI-2, more than the 348 of NIfTI-1
ANALYZE_HEADER_BYTES = 348
# Codes of MGH for the data types of voxels.
_MGH_TYPES = (0, 1, 3, 4, 10)
# Position of the magic of a tar (POSIX.1-1988); older tars are recognized by their names.
USTAR_AT, USTAR = 257, b"ustar"
TAR_SUFFIXES = word_tuple(".tar .tar.gz .tgz .tar.bz2 .tbz2 .tbz .tar.xz .txz")
BZIP2_MAGIC, XZ_MAGIC = b"BZh", b"\xfd7zXZ\0"
# Path of content in git-annex, and first bytes of pointer files of git-annex and Git LFS.
# What is left of a file that was packed twice.
_GZIP = b"\x1f\x8b"
ANNEX_OBJECTS = ".git/annex/objects/"
ANNEX_POINTER, LFS_POINTER = b"/annex/objects/", b"version https://git-lfs.github.com/spec/v1"
# Keys of text headers that name the data file: MetaImage, then NRRD.
_DATA_FILE = re.compile(rb"^(?:ElementDataFile\s*=|data ?file\s*:)[ \t]*([^\r\n]*)", re.MULTILINE)
_METAIMAGE = re.compile(rb"\s*(?:ObjectType|NDims)\s*=")


def kind_of(head: bytes, name: str, *, strict: bool = False) -> Reader | None:
    """Return the reader for a file, by its content.

    Args:
        head: First `SNIFFED_BYTES` bytes or more, or the whole file; without gzip.
        name: Name of the file, for the user.
        strict: Whether the user named this file itself.

    Returns:
        The reader; None for a file that is no scan.

    Raises:
        UnsupportedScan: If it is a zip or tar, or of a format that is not read.
        UnreadableFile: If it is no scan although its name says so.
    """
    lower = name.lower()
    if head[128:132] == b"DICM" and not is_nifti(head):
        return "dicom"
    may_be_dicom = strict or _may_be_dicom(lower)
    if may_be_dicom or lower.endswith(SCAN_SUFFIXES):
        check_content(head, name)
    if (volume := _volume_kind(head, lower, strict=strict)) is not None:
        return volume
    if _is_picture(head):
        return "picture"
    if (may_be_dicom and is_dicom(head)) or _EXPLICIT_ELEMENT.match(head):
        return "dicom"
    _check_ignorable(head, name, strict=strict)
    return None


def _check_ignorable(head: bytes, name: str, *, strict: bool) -> None:
    """Check that a file without a reader is no archive, unread format or damaged scan."""
    lower = name.lower()
    # Office documents and models are zips too: only files named as archives are reported.
    if (zipfile_magic(head) and (strict or lower.endswith(".zip"))) or is_tar(head, lower):
        raise UnsupportedScan(
            "an archive inside a folder or archive; unpack it, or name it by itself",
            place=name,
            reason="nested_zip",
        )
    if (advice := _other_format(head, lower)) is not None:
        raise UnsupportedScan(advice, place=name, reason="other_format")
    if head.startswith(_GZIP) and (strict or lower.endswith(SCAN_SUFFIXES)):
        raise UnreadableFile(
            "packed by gzip twice, or its gzip data are damaged; unpack it once, as by gunzip",
            place=name,
        )
    if strict or lower.endswith(SCAN_SUFFIXES):
        what = "neither picture, NIfTI nor DICOM by its content" if head else "empty"
        raise UnreadableFile(f"{what}, despite its name; copy or export it again", place=name)


def check_content(head: bytes, name: str) -> None:
    """Check that a file is not a pointer of git-annex or Git LFS.

    Args:
        head: First bytes of the file.
        name: Name of the file, for the user.

    Raises:
        UnreadableFile: If it is a pointer; the message names the command that fetches the content.
    """
    pointers = {
        ANNEX_POINTER: f"git-annex pointer; its content is not here: git annex get {name}",
        LFS_POINTER: f"Git LFS pointer; its content is not here: git lfs pull --include {name}",
    }
    for first, message in pointers.items():
        if head.startswith(first):
            raise UnreadableFile(f"a {message}", place=name, reason="not_found")


def _volume_kind(head: bytes, name: str, *, strict: bool) -> Reader | None:
    """Return the reader of a volume other than DICOM; None for other files."""
    if is_nifti(head):
        return "nifti"
    if head.startswith(b"NRRD0"):
        return "nrrd"
    if _METAIMAGE.match(head):
        return "metaimage"
    named = strict or name.endswith(SCAN_SUFFIXES)
    if named and is_pair_header(head):
        return "pair"
    return "mgh" if named and _is_mgh(head) else None


def is_pair_header(head: bytes) -> bool:
    """Return whether bytes are the header of an Analyze or NIfTI pair: its size comes first."""
    sizes = (int.from_bytes(head[:4], order) for order in ("little", "big"))
    return len(head) >= ANALYZE_HEADER_BYTES and ANALYZE_HEADER_BYTES in sizes


def _is_mgh(head: bytes) -> bool:
    version, *sides, kind = (int.from_bytes(head[at : at + 4], "big") for at in range(0, 24, 4))
    return version == 1 and all(0 < side < 2**15 for side in sides) and kind in _MGH_TYPES


def data_file_of(head: bytes, name: str) -> str | None:
    """Return the name of the data file of a header.

    Args:
        head: First bytes of the header, without gzip.
        name: Name of the header's file.

    Returns:
        Name in the header, or `.img` by the convention of Analyze; None for a file that contains
        its voxels.
    """
    if is_nifti(head):
        return None
    if is_pair_header(head) and head[344:348] != b"n+1\0":
        stem = re.sub(r"\.hdr(\.gz)?$", "", PurePosixPath(name).name, flags=re.IGNORECASE)
        return f"{stem}.img"
    if not _is_text_header(head):
        return None
    found = _DATA_FILE.search(_header_text(head))
    data_file = found[1].strip().decode("utf-8", "surrogateescape") if found else ""
    return None if data_file in ("", "LOCAL", "Local", "local") else data_file


def with_data_file(header: bytes, name: str) -> bytes:
    """Return an NRRD or MetaImage header that names another data file.

    Args:
        header: The header, without gzip.
        name: Name of a data file in the same folder.

    Returns:
        The header with the name replaced; the same bytes if it names none, such as Analyze.
    """
    found = _DATA_FILE.search(_header_text(header)) if _is_text_header(header) else None
    if found is None:
        return header
    return header[: found.start(1)] + name.encode() + header[found.end(1) :]


def _is_text_header(head: bytes) -> bool:
    return head.startswith(b"NRRD0") or _METAIMAGE.match(head) is not None


def _header_text(head: bytes) -> bytes:
    """Return a text header up to the blank line that ends it in NRRD, before the voxels."""
    return re.split(rb"\r?\n\r?\n", head, maxsplit=1)[0]


def is_tar(head: bytes, name: str = "") -> bool:
    """Return whether bytes are the beginning of a tar, also if compressed.

    Args:
        head: First bytes of the file, without gzip.
        name: Name of the file, in lower case, for bzip2 and xz, whose first bytes can't be
            unpacked.

    Returns:
        Whether it is a tar.
    """
    if head[USTAR_AT : USTAR_AT + len(USTAR)] == USTAR:
        return True
    return name.endswith(TAR_SUFFIXES) and head.startswith((BZIP2_MAGIC, XZ_MAGIC))


def _other_format(head: bytes, name: str) -> str | None:
    """Return advice for a file of a format that is not read; None for any other."""
    stem, dot, packing = name.rpartition(".")
    if f"{dot}{packing}" in _PACKED_SUFFIXES and stem.endswith(SCAN_SUFFIXES):
        return f"packed as .{packing}, which is not read; unpack it"
    if _SPLIT_ARCHIVE.search(name):
        return "a part of a split archive; join and unpack its parts"
    if name.endswith(".zip") and not zipfile_magic(head):
        return "not a zip, despite its name; copy or pack it again"
    for suffixes, magic, what, how in _OTHER_FORMATS:
        if name.endswith(suffixes) and (magic is None or head.startswith(magic)):
            return f"{what}, which is not read; {how}"
    return None


def zipfile_magic(head: bytes) -> bool:
    """Return whether bytes are the beginning of a zip."""
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def _may_be_dicom(name: str) -> bool:
    """Return whether a DICOM file without preamble may have this name."""
    suffix = PurePosixPath(name.removesuffix(".gz")).suffix
    return suffix in _BARE_SUFFIXES or suffix[1:].isdecimal()


def _is_picture(head: bytes) -> bool:
    return (
        head.startswith(_PICTURE_MAGIC)
        or (head.startswith(b"BM") and head[6:10] == bytes(4))
        or head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
    )


def is_dicom(head: bytes) -> bool:
    """Return whether bytes are the beginning of a DICOM file, with or without preamble."""
    return head[128:132] == b"DICM" or _begins_with_element(head)


def _begins_with_element(head: bytes) -> bool:
    """Return whether bytes begin with a plausible first element of a dataset.

    One of the first elements of group 0002 or 0008, in either byte order, with an explicit value
    representation (two capitals) or a short implicit length (DICOM PS3.5 7.1).
    """
    if len(head) < 8:
        return False
    for order in ("little", "big"):
        group, element = (int.from_bytes(head[at : at + 2], order) for at in (0, 2))
        if group not in (0x0002, 0x0008) or element > _LAST_FIRST_ELEMENT:
            continue
        length = int.from_bytes(head[4:8], order)
        if head[4:6] in _VALUE_REPRESENTATIONS or length <= _LONGEST_FIRST_VALUE:
            return True
    return False


def is_nifti(head: bytes) -> bool:
    """Return whether bytes are the beginning of an unpacked NIfTI-1 or NIfTI-2 file."""
    return head[344:348] == b"n+1\0" or head[4:8] == b"n+2\0"
