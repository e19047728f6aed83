"""Read and write `incomplete.json`, the note of what is missing of a study fetched into a folder.

It is written when the fetch begins, removed once everything was received, and applies to every scan
in that folder and below.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from meninx._errors import InputError
from meninx._scan.completeness import Incomplete
from meninx._scan.kinds import is_dicom
from meninx._scan.limits import Limits
from meninx._scan.source import Source

# Not hidden, so that it is copied, zipped and uploaded with its folder.
NOTE = "incomplete.json"
INSTANCES = "instances of the study"


@dataclass(frozen=True)
class IncompleteNote:
    """The content of `incomplete.json`: what is missing of a study in its folder.

    Args:
        study_uid: StudyInstanceUID.
        missing: Counts of what was missing when the note was written.
    """

    study_uid: str
    missing: tuple[Incomplete, ...]

    @classmethod
    def from_json(cls, text: bytes) -> "IncompleteNote | None":
        """Return the note in a file; None if another program wrote a file of that name."""
        try:
            stored = json.loads(text)
            counts = [
                Incomplete(str(count["what"]), int(count["expected"]), int(count["received"]))
                for count in stored["incomplete"]
            ]
            return cls(str(stored["study"]), tuple(counts))
        except (ValueError, TypeError, KeyError):
            return None

    def write(self, folder: Path) -> None:
        """Write the note into a folder; an older one is replaced atomically."""
        stored = {
            "study": self.study_uid,
            "incomplete": [count.as_json() for count in self.missing],
        }
        half_written = folder / f".{NOTE}"
        half_written.write_text(json.dumps(stored) + "\n", encoding="utf-8")
        half_written.replace(folder / NOTE)

    def still_missing(self, instances: int) -> tuple[Incomplete, ...]:
        """Return what is still missing, given the number of the study's instances found now."""
        counts = [
            replace(count, received=max(count.received, instances))
            if count.what == INSTANCES
            else count
            for count in self.missing
        ]
        return tuple(count for count in counts if count.received < count.expected)


def missing_by_folder(
    sources: Sequence[Source], limits: Limits
) -> Mapping[str, tuple[Incomplete, ...]]:
    """Return what is missing of the studies in folders with a note.

    Args:
        sources: Files that are read, or entries of an archive.
        limits: Limits of an input's size.

    Returns:
        Counts by the name of the folder that holds a note; usually empty.
    """
    found: dict[str, tuple[Incomplete, ...]] = {}
    for folder, source in {folder_of(source): source for source in sources}.items():
        try:
            beside = source.beside(NOTE)
            note = None if beside is None else IncompleteNote.from_json(beside.read(limits))
        except InputError:
            continue  # larger than any note that was written here
        if note is not None:
            inside = [source for source in sources if _is_within(folder_of(source), folder)]
            found[folder] = note.still_missing(_instances_in(inside, note.study_uid, limits))
    return found


def missing_from(
    folders: Iterable[str], missing: Mapping[str, tuple[Incomplete, ...]]
) -> tuple[Incomplete, ...]:
    """Return what is missing of a scan whose files lie in these folders, each count once."""
    places = set(folders)
    counts = (
        count
        for noted_folder, noted in missing.items()
        if any(_is_within(folder, noted_folder) for folder in places)
        for count in noted
    )
    return tuple(dict.fromkeys(counts))


def folder_of(source: Source) -> str:
    """Return the name of a source's folder, on disk or inside its archive."""
    return str(PurePosixPath(source.name.replace("\\", "/")).parent)


def _is_within(folder: str, outer: str) -> bool:
    """Return whether a folder is `outer` or lies below it."""
    return PurePosixPath(folder).is_relative_to(outer)


def _instances_in(sources: Iterable[Source], study_uid: str, limits: Limits) -> int:
    """Return the number of distinct instances of a study."""
    from meninx._scan.dicom.file import read_dataset

    found: set[Any] = set()
    for source in sources:
        try:
            if not is_dicom(source.sniffed(limits)):
                continue
            header = read_dataset(source, limits)
        except InputError:
            continue
        if str(header.get("StudyInstanceUID", "")) == study_uid:
            found.add(header.get("SOPInstanceUID"))
    return len(found)
