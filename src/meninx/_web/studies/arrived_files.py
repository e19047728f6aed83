"""Unpack the files of an upload, and classify them: DICOM, volume, note or other."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from meninx._errors import InputError
from meninx._scan.archives import is_hidden
from meninx._scan.dicom.content import Content, content_of
from meninx._scan.dicom.file import is_cut_off
from meninx._scan.dicom.heading import Heading, read_heading
from meninx._scan.incomplete_note import NOTE, IncompleteNote
from meninx._scan.kinds import (
    DICOM_SUFFIXES,
    data_file_of,
    is_tar,
    kind_of,
    with_data_file,
    zipfile_magic,
)
from meninx._scan.limits import Limits
from meninx._scan.promises import name_pattern
from meninx._scan.reading import unpack_archive
from meninx._scan.source import SNIFFED_BYTES, unpacked_head
from meninx._web.studies.file_names import (
    LONGEST_NAME,
    base_name,
    nameless,
    names_in,
    record_name,
    stored_name,
)

Kind = Literal["dicom", "damaged", "volume", "unusable", "note", "other"]
# With de-identification: folder of the headers whose reference to a voxel file is renamed, largest
# size of such a header, and length of the hash that names the voxel file.
RENAMED, HEADER_BYTES, NEUTRAL_LENGTH = ".nameless", 2**20, 16
# Before the hash of compressed pixels in a file's name.
_PACKED = "packed-"
# Bytes of a file's head: the name of the voxel file may follow a long list of gradients.
HEAD_BYTES = 2**16


@dataclass(frozen=True)
class ArrivedFile:
    """A file that was uploaded.

    Args:
        path: Path of the uploaded file.
        name: Name on the user's computer, with its folders.
        kind: `dicom`; `volume` for a picture or a volume of any format; `note` for a list of what a
            fetch left out. `damaged` for a slice of a series beside it that can't be read, such as
            a page with an error in its place. `unusable` for another file with a scan's name that
            can't be read as a scan, and `other` for the rest, and for a hidden one of these.
        heading: Heading of a DICOM file; None for others and for one that can't be read.
        voxel_file: Name of the file with a volume's voxels; empty if its own file has them.
        voxels: Path of that file; None until it is found.
        beside: Paths of the DICOM files in the folder of a damaged one.
    """

    path: Path
    name: str
    kind: Kind
    heading: Heading | None = None
    voxel_file: str = ""
    voxels: Path | None = None
    beside: tuple[Path, ...] = ()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(file: ArrivedFile) -> str:
    """Return the hash of what a file holds: of DICOM its elements and pixels, of others its bytes.

    Args:
        file: An uploaded file.

    Returns:
        Letters, digits and `-`, 64 or more; `content_in_name` reads it.
    """
    if file.kind == "dicom":
        with suppress(InputError):  # such as big endian: then its bytes decide
            content = content_of(file.path)
            return f"{content.elements}-{_PACKED if content.packed else ''}{content.pixels}"
    return file_digest(file.path)


def content_in_name(name: str) -> Content | None:
    """Return what a stored file holds, by its name; None for one that is named otherwise."""
    found = re.fullmatch(rf"([0-9a-f]{{32}})-({_PACKED})?([0-9a-f]{{32}})\.dcm", name)
    return Content(found[1], found[3], found[2] is not None) if found else None


def unpack(folder: Path, limits: Limits, *, deidentify: bool) -> None:
    """Unpack the zips and tars of an upload, so that their files are sorted like all others.

    Args:
        folder: Folder of the upload.
        limits: Limits of what an archive may unpack to.
        deidentify: Whether messages leave out the names of files.

    Raises:
        InputError: If an archive is damaged, has an entry that leads out of it, or unpacks to more
            than the limits allow.
    """
    names = names_in(folder)
    for stored, name in names.items():
        path = folder / stored
        if not _is_archive(path, name, alone=len(names) == 1):
            continue

        def target_of(entry: str, packed: str = name) -> Path:
            inside = f"{packed}/{entry}"
            target = folder / stored_name(inside)
            record_name(folder, target.name, inside)
            return target

        try:
            unpack_archive(path, target_of, limits)
        except InputError as error:
            message = str(error).replace(str(path), nameless(name) if deidentify else name)
            raise type(error)(message, reason=error.reason) from error
        path.unlink()


def _is_archive(path: Path, name: str, *, alone: bool) -> bool:
    """Return whether a file is a zip or tar of scans."""
    with path.open("rb") as file:
        head = file.read(SNIFFED_BYTES)
    # Office documents and network weights are zips too, but contain no scans.
    if zipfile_magic(head):
        return alone or name.lower().endswith(".zip")
    return is_tar(unpacked_head(head), name.lower())


def arrived_files(folder: Path, *, deidentify: bool) -> list[ArrivedFile]:
    """Return the files of an upload, each header with its voxel file.

    Args:
        folder: Folder of the upload.
        deidentify: Whether names of files are dropped, after headers and voxel files are matched.

    Returns:
        Files, sorted by the names under which they were sent.
    """
    found = [_classify_file(folder / stored, name) for stored, name in names_in(folder).items()]
    files = _with_voxels(sorted(found, key=lambda file: (file.name, file.path.name)))
    files = _with_damaged(files)
    return [_without_name(file) for file in files] if deidentify else files


def _with_damaged(files: Sequence[ArrivedFile]) -> list[ArrivedFile]:
    """Return files; one that can't be read, but is named like slices beside it, is damaged.

    The rule is that of `predict` for the files of a folder.
    """
    slices: dict[str, list[ArrivedFile]] = defaultdict(list)
    for file in files:
        if file.heading is not None and file.heading.series_uid:
            slices[_pattern(file)[0]].append(file)
    voxels = {file.voxels for file in files}

    def checked(file: ArrivedFile) -> ArrivedFile:
        beside = slices.get(_pattern(file)[0], [])
        if file.path in voxels or not beside or not _may_be_damaged(file, beside):
            return file
        paths = tuple(other.path for other in beside)
        return replace(file, kind="damaged", heading=None, beside=paths)

    return [checked(file) for file in files]


def _may_be_damaged(file: ArrivedFile, beside: Iterable[ArrivedFile]) -> bool:
    """Return whether a file may be a slice of the DICOM files beside it that can't be read."""
    if _is_hidden(file.name):
        return False
    if file.kind == "dicom":
        has_uids = file.heading is not None and bool(
            file.heading.series_uid or file.heading.study_uid
        )
        return not has_uids and is_cut_off(_head(file.path))
    if file.kind not in ("unusable", "other") or file.heading is not None:
        return False
    is_named_so = file.name.lower().endswith(DICOM_SUFFIXES)
    return is_named_so or _pattern(file) in map(_pattern, beside)


def _is_hidden(name: str) -> bool:
    """Return whether a file or a folder above it is hidden, as `._1.dcm` beside a Mac's `1.dcm`."""
    return any(map(is_hidden, PurePosixPath(name.replace("\\", "/")).parts))


def _pattern(file: ArrivedFile) -> tuple[str, str]:
    """Return the folder of a file, and its name with `#` in place of each number."""
    return name_pattern(file.name.replace("\\", "/"))


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return unpacked_head(file.read(HEAD_BYTES), HEAD_BYTES)


def _without_name(file: ArrivedFile) -> ArrivedFile:
    """Return a file under a name without identity; a header then refers to such a name, too."""
    if file.voxels is not None:
        voxel_file = f"{file_digest(file.voxels)[:NEUTRAL_LENGTH]}.raw"
        with file.path.open("rb") as opened:
            header = unpacked_head(opened.read(HEADER_BYTES), HEADER_BYTES)
        # The uploaded file stays unchanged, so that the upload can be sorted again after a crash.
        path = file.path.parent / RENAMED / file.path.name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(with_data_file(header, voxel_file))
        file = replace(file, path=path, voxel_file=voxel_file)
    return file if file.kind == "note" else replace(file, name=nameless(file.name))


def _classify_file(path: Path, name: str) -> ArrivedFile:
    """Return the kind of a file, by its first bytes and, for DICOM, its heading.

    Args:
        path: Path of the uploaded file.
        name: Name on the user's computer.

    Returns:
        The file with its kind; a damaged file too, which is reported when the scan is read.
    """
    head = _head(path)
    if base_name(name) == NOTE and read_note(path) is not None:
        return ArrivedFile(path, name, "note")
    try:
        kind = kind_of(head, name)
    except InputError:
        return ArrivedFile(path, name, "other" if _is_hidden(name) else "unusable")
    if kind is None:
        return ArrivedFile(path, name, "other")
    if kind != "dicom":
        return ArrivedFile(path, name, "volume", voxel_file=_voxel_file(head, name))
    try:
        heading = read_heading(path)
    except InputError:
        return ArrivedFile(path, name, "dicom")
    return ArrivedFile(path, name, "other" if heading.is_directory else "dicom", heading)


def read_note(path: Path) -> IncompleteNote | None:
    """Return what a fetch left out, as a file says; None if it is no such file."""
    return None if path.stat().st_size > HEAD_BYTES else IncompleteNote.from_json(path.read_bytes())


def _voxel_file(head: bytes, name: str) -> str:
    """Return the name of a header's voxel file; empty for none, or one in another folder."""
    named = data_file_of(head, base_name(name)) or ""
    plain = named == base_name(named) and named.isprintable() and not named.startswith(".")
    return named if plain and len(named) <= LONGEST_NAME else ""


def _with_voxels(files: Sequence[ArrivedFile]) -> list[ArrivedFile]:
    """Return files, each header with the voxel file that was sent from the same folder."""
    others = {
        file.name.replace("\\", "/").lower(): file.path for file in files if file.kind == "other"
    }

    def found(header: ArrivedFile) -> Path | None:
        folder = header.name.replace("\\", "/").rpartition("/")
        wanted = f"{folder[0]}{folder[1]}{header.voxel_file}".lower()
        return others.get(wanted) or others.get(f"{wanted}.gz")

    return [replace(file, voxels=found(file)) if file.voxel_file else file for file in files]
