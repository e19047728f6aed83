"""Sort the files of an upload into studies, each of one patient, before anything is scored."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import astuple, dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from meninx._scan.heading import Heading
from meninx._scan.incomplete_note import NOTE
from meninx._web.studies.arrived_files import ArrivedFile, file_digest, read_note
from meninx._web.studies.file_names import harmless


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
        """SHA-256 of each file."""
        return {one.path: file_digest(one.path) for one in self.files}

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


def _name_of_voxels(header: ArrivedFile, stored: str) -> str:
    """Return the path that a header stored under a name takes its voxels from."""
    # An Analyze header names no voxel file: the file has the header's own name.
    name = re.sub(r"\.hdr(\.gz)?$", ".img", stored)
    return name if name != stored else str(PurePosixPath(stored).with_name(header.voxel_file))


def merged_series(
    known: Iterable[dict[str, Any]], files: Iterable[ArrivedFile]
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
        study of their own beside several. Files that are no scans are left out unless there is
        nothing else.
    """
    groups: dict[Hashable, list[ArrivedFile]] = defaultdict(list)
    kinds: dict[str, list[ArrivedFile]] = defaultdict(list)
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
        note = read_note(file.path)
        for study in studies:
            if note is not None and study.heading.study_uid == note.study_uid:
                study.files.append(file)
    return studies or [Arrival(kinds["other"] or kinds["note"])]


def _key(one: ArrivedFile, *, together: bool) -> tuple[str, ...]:
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


def _fullest_heading(files: Iterable[ArrivedFile]) -> Heading:
    """Return the heading with most values; those of one study should agree."""
    headings = [one.heading for one in files if one.heading is not None]
    return max(headings, key=lambda one: sum(map(bool, astuple(one))), default=Heading())
