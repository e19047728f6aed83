"""Sort the files of an upload into studies, each of one patient, before anything is scored."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from meninx._scan.dicom.heading import Heading
from meninx._scan.incomplete_note import NOTE
from meninx._web.studies.arrived_files import ArrivedFile, Kind, digest_of, read_note
from meninx._web.studies.file_names import harmless
from meninx._web.studies.listed_files import listings_of, note_what_is_missing


@dataclass
class Arrival:
    """The uploaded files of one study.

    Args:
        files: Files of the study, at least one.
        heading: Heading of the file that says most; empty where none is DICOM.
    """

    files: list[ArrivedFile]
    heading: Heading = field(default_factory=Heading)

    @cached_property
    def digests(self) -> dict[Path, str]:
        """SHA-256 of what each file holds: of a DICOM file however it is written."""
        return {file.path: digest_of(file) for file in self.files}

    @property
    def content_hash(self) -> str:
        """One SHA-256 of the files' contents, whatever their names and order."""
        return hash_of_all(self.digests.values())

    def stored_names(self) -> dict[Path, str]:
        """Return the name under which each file is stored in its study's folder.

        A DICOM file is named by its content, so that a second copy is stored once. A picture or
        volume is stored under the harmless part of its name, which may name the sequence.
        """
        names: dict[Path, str] = {}
        for number, file in enumerate(self.files, 1):
            if file.kind == "dicom":
                names[file.path] = f"{self.digests[file.path]}.dcm"
                continue
            if file.kind == "note":
                names[file.path] = NOTE
                continue
            if file.kind == "damaged":
                # Two may hold the same page with an error.
                names[file.path] = f"damaged-{number}-{self.digests[file.path][:32]}.dcm"
                continue
            name = harmless(file.name, number)
            # Some file systems ignore upper and lower case.
            taken = {stored.lower() for stored in names.values()}
            names[file.path] = name if name.lower() not in taken else f"{number}/{name}"
        # A header refers to its voxel file by name, in its own folder.
        for file in self.files:
            if file.voxels is not None:
                names[file.voxels] = _name_of_voxels(file, names[file.path])
        return names


def hash_of_all(digests: Iterable[str]) -> str:
    """Return one SHA-256 of files' digests, each once, whatever their order."""
    return hashlib.sha256("\n".join(sorted(set(digests))).encode()).hexdigest()


def _name_of_voxels(header: ArrivedFile, stored: str) -> str:
    """Return the path that a header stored under a name takes its voxels from."""
    # An Analyze header names no voxel file: the file has the header's own name.
    name = re.sub(r"\.hdr(\.gz)?$", ".img", stored)
    return name if name != stored else str(PurePosixPath(stored).with_name(header.voxel_file))


def merged_series(
    earlier: Iterable[dict[str, Any]], files: Iterable[ArrivedFile]
) -> list[dict[str, Any]]:
    """Return the DICOM series of a study: UID, number, description and number of files.

    Args:
        earlier: Series of the study so far.
        files: Files that are added to the study.

    Returns:
        All series, by number.
    """
    counts: dict[tuple[str, int | None, str], int] = defaultdict(int)
    for series in earlier:
        counts[series["uid"], series["number"], series["description"]] += series["files"]
    for heading in (file.heading for file in files if file.heading is not None):
        key = heading.series_uid, heading.series_number, heading.series_description
        counts[key] += 1
    return [
        {"uid": uid, "number": number, "description": description, "files": count}
        for (uid, number, description), count in sorted(
            counts.items(), key=lambda item: (item[0][1] or 0, item[0][0], item[0][2])
        )
    ]


def sorted_into_studies(files: Sequence[ArrivedFile], *, together: bool) -> list[Arrival]:
    """Sort files into studies. A file in doubt is a study of its own: one study is one patient.

    DICOM files are one study if patient and StudyInstanceUID are equal; without that UID, if the
    series is. A picture or volume is a study of its own, with its voxel file.

    Args:
        files: Files of an upload as `arrived_files` gives them, at least one.
        together: Whether all pictures and volumes are of one person, from one visit, as the
            uploader states.

    Returns:
        Studies, in the order of their first file. Unusable files belong to the only study, or are a
        study of their own if there are several. Files that are no scans are left out, unless there
        is nothing else.
    """
    groups: dict[Hashable, list[ArrivedFile]] = defaultdict(list)
    kinds: dict[str, list[ArrivedFile]] = defaultdict(list)
    by_path = {file.path: file for file in files}
    for file in files:
        if file.kind in ("damaged", "unusable", "note", "other"):
            kinds[file.kind].append(file)
            continue
        group = groups[_key(file, together=together)]
        group.append(file)
        if file.voxels is not None:
            group.append(by_path[file.voxels])
    studies = [Arrival(members, _fullest_heading(members)) for members in groups.values()]
    if len(studies) == 1:
        studies[0].files += kinds["unusable"]
    elif kinds["unusable"]:
        studies.append(Arrival(kinds["unusable"]))
    _add_damaged(studies, kinds["damaged"])
    _add_notes(studies, kinds["note"])
    for listing in listings_of(kinds["other"]):
        for study in studies:
            note_what_is_missing(study.files, study.heading.study_uid, listing)
    return studies or [Arrival(kinds["other"] or kinds["note"])]


@dataclass(frozen=True)
class LeftOut:
    """A file that belongs to no study.

    Args:
        name: Name on the user's computer.
        why: Why it was left out, in words.
    """

    name: str
    why: str


def left_out_of(files: Iterable[ArrivedFile], arrivals: Iterable[Arrival]) -> list[LeftOut]:
    """Return the files of an upload that belong to none of its studies, such as those of a CD.

    Args:
        files: Files of the upload.
        arrivals: Its studies.

    Returns:
        The files left out, in their order.
    """
    files = list(files)
    kept = {file.path for arrival in arrivals for file in arrival.files}
    here = {file.heading.series_uid for file in files if file.heading is not None}
    left_out = []
    for file in files:
        if file.path not in kept:
            why = _WHY_LEFT_OUT[file.kind, file.heading is not None]
            absences = [listing.absence(here) for listing in listings_of([file])]
            left_out.append(LeftOut(file.name, "; ".join(filter(None, [why, *absences]))))
    return left_out


# By kind, and whether the file has a DICOM heading.
_WHY_LEFT_OUT: Mapping[tuple[Kind, bool], str] = {
    ("other", False): "no scan",
    ("other", True): "a DICOMDIR, which lists other files",
    ("note", False): "it names what is missing of another study",
}


def _add_damaged(studies: Iterable[Arrival], files: Iterable[ArrivedFile]) -> None:
    """Add each damaged slice to the studies beside which it lies: each may lack it."""
    for file in files:
        for study in studies:
            if not {other.path for other in study.files}.isdisjoint(file.beside):
                study.files.append(file)


def _add_notes(studies: Iterable[Arrival], files: Iterable[ArrivedFile]) -> None:
    """Add each note of an incomplete fetch to the study that it names."""
    for file in files:
        note = read_note(file.path)
        for study in studies:
            if note is not None and study.heading.study_uid == note.study_uid:
                study.files.append(file)


def _key(file: ArrivedFile, *, together: bool) -> tuple[str, ...]:
    """Return the key that all files of one study share."""
    if file.kind == "volume":
        return ("together",) if together else ("file", file.path.name)
    if file.heading is None:
        return "file", file.path.name
    heading = file.heading
    if heading.study_uid:
        return "study", heading.patient, heading.study_uid
    if heading.series_uid:
        return "series", heading.patient, heading.series_uid
    return "folder", heading.patient, str(PurePosixPath(file.name).parent)


def _fullest_heading(files: Iterable[ArrivedFile]) -> Heading:
    """Return the heading with most values; those of one study should agree."""
    headings = [file.heading for file in files if file.heading is not None]
    return max(headings, key=lambda heading: sum(map(bool, astuple(heading))), default=Heading())
