"""Sort the files of an upload into studies, each of one patient, before anything is scored."""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from meninx._errors import InputError
from meninx._scan.dicom.heading import Heading, read_heading
from meninx._scan.incomplete_note import NOTE, IncompleteNote
from meninx._scan.kinds import (
    SCAN_SUFFIXES,
    data_file_of,
    is_tar,
    kind_of,
    with_data_file,
    zipfile_magic,
)
from meninx._scan.limits import Limits
from meninx._scan.reading import unpack_archive
from meninx._scan.sequence import sequence_from_text
from meninx._scan.source import SNIFFED_BYTES, unpacked_head

# File in an upload's folder with the name that each file was uploaded under, one JSON list a line.
# Hidden, so that nothing takes it for a scan.
NAMES = ".names"
Kind = Literal["dicom", "volume", "unusable", "note", "other"]
LONGEST_NAME = 120
# With de-identification: folder of the headers whose reference to a voxel file is renamed, largest
# size of such a header, and length of the hash that names the voxel file.
NAMELESS, HEADER_BYTES, NEUTRAL_LENGTH = ".nameless", 2**20, 16
# Bytes of a file's head: the name of the voxel file may follow a long list of gradients.
HEAD_BYTES = 2**16


@dataclass(frozen=True)
class Arrived:
    """A file that was uploaded.

    Args:
        path: Path of the uploaded file.
        name: Name on the user's computer, with its folders.
        kind: `dicom`; `volume` for a picture or a volume of any format; `unusable` for a file
            that is named as a scan and can't be read as one; `note` for one that says what a fetch
            left out; `other` for the rest.
        heading: Heading of a DICOM file; None for others and for one that can't be read.
        voxel_file: Name of the file with a volume's voxels; empty if its own file has them.
        voxels: Path of that file; None until it is found.
    """

    path: Path
    name: str
    kind: Kind
    heading: Heading | None = None
    voxel_file: str = ""
    voxels: Path | None = None


@dataclass
class Arrival:
    """The uploaded files of one study.

    Args:
        files: Files of the study, at least one.
        heading: Heading of the file that says most; empty where none is DICOM.
    """

    files: list[Arrived]
    heading: Heading = field(default_factory=Heading)

    @cached_property
    def digests(self) -> dict[Path, str]:
        """SHA-256 of each file."""
        return {one.path: _digest_of(one.path) for one in self.files}

    @property
    def content_hash(self) -> str:
        """One SHA-256 of the files' contents, whatever their names and order."""
        return hashlib.sha256("\n".join(sorted(self.digests.values())).encode()).hexdigest()

    def stored_names(self) -> dict[Path, str]:
        """Return the name under which each file is stored in its study's folder.

        A DICOM file is named by its content, so that a second copy is stored once. A picture or
        volume keeps the harmless part of its own name, which may name the sequence.
        """
        names: dict[Path, str] = {}
        for number, one in enumerate(self.files, 1):
            if one.kind == "dicom":
                names[one.path] = f"{self.digests[one.path]}.dcm"
                continue
            if one.kind == "note":
                names[one.path] = NOTE
                continue
            name = harmless(one.name, number)
            # Some file systems ignore upper and lower case.
            taken = {other.lower() for other in names.values()}
            names[one.path] = name if name.lower() not in taken else f"{number}/{name}"
        # A header refers to its voxel file by name, in its own folder.
        for one in self.files:
            if one.voxels is not None:
                names[one.voxels] = _name_of_voxels(one, names[one.path])
        return names


def _name_of_voxels(header: Arrived, stored: str) -> str:
    """Return the path that a header stored under a name takes its voxels from."""
    # An Analyze header names no voxel file: the file has the header's own name.
    name = re.sub(r"\.hdr(\.gz)?$", ".img", stored)
    return name if name != stored else str(PurePosixPath(stored).with_name(header.voxel_file))


def merged_series(
    known: Iterable[dict[str, Any]], files: Iterable[Arrived]
) -> list[dict[str, Any]]:
    """Return the DICOM series of a study: UID, number, description and number of files.

    Args:
        known: Series that the study had before.
        files: Files that are added to the study.

    Returns:
        All series, by number.
    """
    counts: dict[tuple[str, int | None, str], int] = defaultdict(int)
    for one in known:
        counts[one["uid"], one["number"], one["description"]] += one["files"]
    for heading in (one.heading for one in files if one.heading is not None):
        key = heading.series_uid, heading.series_number, heading.series_description
        counts[key] += 1
    return [
        {"uid": uid, "number": number, "description": description, "files": count}
        for (uid, number, description), count in sorted(
            counts.items(), key=lambda item: (item[0][1] or 0, item[0][0], item[0][2])
        )
    ]


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def harmless(name: str, number: int) -> str:
    """Return a file name that leads out of no folder, and still has suffix and sequence.

    Args:
        name: Name on the user's computer, which may be hostile.
        number: Number of the file in its study, which replaces a name that is empty or too long.

    Returns:
        Letters, digits and `._-`, without a dot in front.
    """
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", base_name(name)).lstrip(".")
    return safe if 0 < len(safe) <= LONGEST_NAME else f"{number}{safe[-LONGEST_NAME:]}"


def base_name(name: str) -> str:
    """Return a file's name without its folders, written as on Windows or elsewhere."""
    return name.replace("\\", "/").rsplit("/", 1)[-1]


def nameless(name: str) -> str:
    """Return a file name without identity: the sequence that it names, and the suffix."""
    suffix = "".join(PurePosixPath(base_name(name).lower()).suffixes[-2:])
    suffix = suffix if suffix.endswith(SCAN_SUFFIXES) else ""
    return sequence_from_text(base_name(name)) + suffix[-len(".nii.gz") :]


def note_name(folder: Path, stored: str, name: str) -> None:
    """Record the name under which a file was uploaded.

    Args:
        folder: Folder of the upload.
        stored: Name of the file in that folder.
        name: Name on the user's computer.
    """
    with (folder / NAMES).open("a", encoding="utf-8") as file:
        file.write(json.dumps([stored, name]) + "\n")


def stored_name(name: str) -> str:
    """Return the name of a file in its upload's folder.

    Args:
        name: Name on the user's computer, with its folders; it may be hostile.

    Returns:
        The name's hash with its suffix, so that folders and odd characters in it have no effect.
    """
    suffix = "".join(PurePosixPath(name.replace("\\", "/")).suffixes[-2:])[-12:]
    safe = "".join(sign for sign in suffix.lower() if sign.isalnum() or sign == ".")
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:32] + safe


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
    names = _names_in(folder)
    for stored, name in names.items():
        path = folder / stored
        if not _is_archive(path, name, alone=len(names) == 1):
            continue

        def target_of(entry: str, packed: str = name) -> Path:
            inside = f"{packed}/{entry}"
            target = folder / stored_name(inside)
            note_name(folder, target.name, inside)
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
    # Office documents and network weights are zips too, and no scans.
    if zipfile_magic(head):
        return alone or name.lower().endswith(".zip")
    return is_tar(unpacked_head(head), name.lower())


def _names_in(folder: Path) -> dict[str, str]:
    """Return the name under which each file of an upload was sent, by its stored name."""
    noted = folder / NAMES
    lines = noted.read_text(encoding="utf-8").splitlines() if noted.is_file() else []
    names = dict(json.loads(line) for line in lines)
    there = [path.name for path in folder.iterdir() if path.is_file() and path.name != NAMES]
    return {stored: names.get(stored, stored) for stored in sorted(there)}


def arrived_files(folder: Path, *, deidentify: bool) -> list[Arrived]:
    """Return the files of an upload, each header with its voxel file.

    Args:
        folder: Folder of the upload.
        deidentify: Whether names of files are dropped, after headers and voxel files are matched.

    Returns:
        Files, sorted by the names under which they were sent.
    """
    found = [look_at(folder / stored, name) for stored, name in _names_in(folder).items()]
    files = _with_voxels(sorted(found, key=lambda one: (one.name, one.path.name)))
    return [_without_name(one) for one in files] if deidentify else files


def _without_name(one: Arrived) -> Arrived:
    """Return a file under a name without identity; a header then refers to such a name, too."""
    if one.voxels is not None:
        voxel_file = f"{_digest_of(one.voxels)[:NEUTRAL_LENGTH]}.raw"
        with one.path.open("rb") as file:
            header = unpacked_head(file.read(HEADER_BYTES), HEADER_BYTES)
        # The uploaded file stays as it was, so that a server killed now can sort the upload again.
        path = one.path.parent / NAMELESS / one.path.name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(with_data_file(header, voxel_file))
        one = replace(one, path=path, voxel_file=voxel_file)
    return one if one.kind == "note" else replace(one, name=nameless(one.name))


def look_at(path: Path, name: str) -> Arrived:
    """Return the kind of a file, by its first bytes and, for DICOM, its heading.

    Args:
        path: Path of the uploaded file.
        name: Name on the user's computer.

    Returns:
        The file with its kind; a damaged one too, which is reported when the scan is read.
    """
    with path.open("rb") as file:
        head = unpacked_head(file.read(HEAD_BYTES), HEAD_BYTES)
    if base_name(name) == NOTE and _note_in(path) is not None:
        return Arrived(path, name, "note")
    try:
        kind = kind_of(head, name)
    except InputError:
        return Arrived(path, name, "unusable")
    if kind is None:
        return Arrived(path, name, "other")
    if kind != "dicom":
        return Arrived(path, name, "volume", voxel_file=_voxel_file(head, name))
    try:
        heading = read_heading(path)
    except InputError:
        return Arrived(path, name, "dicom")
    return Arrived(path, name, "other" if heading.is_directory else "dicom", heading)


def _note_in(path: Path) -> IncompleteNote | None:
    """Return what a fetch left out, as a file says; None if it is no such file."""
    return None if path.stat().st_size > HEAD_BYTES else IncompleteNote.from_json(path.read_bytes())


def _voxel_file(head: bytes, name: str) -> str:
    """Return the name of a header's voxel file; empty for none, or one in another folder."""
    named = data_file_of(head, base_name(name)) or ""
    plain = named == base_name(named) and named.isprintable() and not named.startswith(".")
    return named if plain and len(named) <= LONGEST_NAME else ""


def _with_voxels(files: Sequence[Arrived]) -> list[Arrived]:
    """Return files, each header with the voxel file that was sent from the same folder."""
    others = {one.name.replace("\\", "/").lower(): one.path for one in files if one.kind == "other"}

    def found(header: Arrived) -> Path | None:
        folder = header.name.replace("\\", "/").rpartition("/")
        wanted = f"{folder[0]}{folder[1]}{header.voxel_file}".lower()
        return others.get(wanted) or others.get(f"{wanted}.gz")

    return [replace(one, voxels=found(one)) if one.voxel_file else one for one in files]


def sorted_into_studies(files: Sequence[Arrived], *, together: bool) -> list[Arrival]:
    """Sort files into studies. A file in doubt is a study of its own: one study is one patient.

    DICOM files are one study if patient and StudyInstanceUID are equal; without that UID, if the
    series is. A picture or volume is a study of its own, with its voxel file.

    Args:
        files: Files of an upload as `arrived_files` gives them, at least one.
        together: Whether all pictures and volumes are of one person, from one visit, as the
            uploader states.

    Returns:
        Studies, in the order of their first file. Unusable files belong to the only study, or are a
        study of their own beside several. Files that are no scans are left out unless there is
        nothing else.
    """
    groups: dict[Hashable, list[Arrived]] = defaultdict(list)
    kinds: dict[str, list[Arrived]] = defaultdict(list)
    by_path = {one.path: one for one in files}
    for one in files:
        if one.kind in ("unusable", "note", "other"):
            kinds[one.kind].append(one)
            continue
        group = groups[_key(one, together=together)]
        group.append(one)
        if one.voxels is not None:
            group.append(by_path[one.voxels])
    studies = [Arrival(members, _fullest_heading(members)) for members in groups.values()]
    if len(studies) == 1:
        studies[0].files += kinds["unusable"]
    elif kinds["unusable"]:
        studies.append(Arrival(kinds["unusable"]))
    for file in kinds["note"]:
        note = _note_in(file.path)
        for study in studies:
            if note is not None and study.heading.study_uid == note.study_uid:
                study.files.append(file)
    return studies or [Arrival(kinds["other"] or kinds["note"])]


def _key(one: Arrived, *, together: bool) -> tuple[str, ...]:
    """Return the key that all files of one study share."""
    if one.kind == "volume":
        return ("together",) if together else ("file", one.path.name)
    if one.heading is None:
        return "file", one.path.name
    heading = one.heading
    if heading.study_uid:
        return "study", heading.patient, heading.study_uid
    if heading.series_uid:
        return "series", heading.patient, heading.series_uid
    return "folder", heading.patient, str(PurePosixPath(one.name).parent)


def _fullest_heading(files: Iterable[Arrived]) -> Heading:
    """Return the heading with most values; those of one study should agree."""
    headings = [one.heading for one in files if one.heading is not None]
    return max(headings, key=lambda one: sum(map(bool, astuple(one))), default=Heading())
