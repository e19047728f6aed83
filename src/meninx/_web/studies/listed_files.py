"""Compare the files of an upload with what the DICOMDIR of their medium lists."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from meninx._errors import InputError
from meninx._scan.completeness import Incomplete
from meninx._scan.dicom.file import read_dataset, read_listing
from meninx._scan.incomplete_note import INSTANCES, NOTE, IncompleteNote
from meninx._scan.promises import Listing
from meninx._scan.source import Source
from meninx._web.studies.arrived_files import ArrivedFile, read_note

# Folder in that of an upload with the notes that are written about its studies.
_NOTES = ".listed"


def listings_of(files: Iterable[ArrivedFile]) -> Iterator[Listing]:
    """Yield what those of some files list that are a DICOMDIR and can be read."""
    for file in files:
        if file.heading is not None and file.heading.is_directory:
            with suppress(InputError):
                yield read_listing(_source_of(file.path))


def note_what_is_missing(files: list[ArrivedFile], study_uid: str, listing: Listing) -> None:
    """Add a note to a study of whose series a DICOMDIR lists more images than were uploaded.

    The note counts instances, so that the study is complete once the others were uploaded, too.

    Args:
        files: Files of the study, to which the note is added; it replaces one that is there.
        study_uid: StudyInstanceUID; nothing is noted without it.
        listing: Images that the DICOMDIR lists.
    """
    series = {file.heading.series_uid for file in files if file.heading is not None}
    listed = frozenset().union(*(listing.series.get(uid, frozenset()) for uid in series))
    if not study_uid or not listed:
        return
    received = {_instance_of(file.path) for file in files if file.kind == "dicom"}
    if listed <= received:
        return
    missing = [Incomplete(INSTANCES, len(listed | received), len(received))]
    for file in [file for file in files if file.kind == "note"]:
        note = read_note(file.path)
        missing += [count for count in (note.missing if note else ()) if count not in missing]
        files.remove(file)
    folder = files[0].path.parent / _NOTES / files[0].path.name
    folder.mkdir(parents=True, exist_ok=True)
    IncompleteNote(study_uid, tuple(missing)).write(folder)
    files.append(ArrivedFile(folder / NOTE, NOTE, "note"))


def _instance_of(path: Path) -> str:
    """Return the SOPInstanceUID of a file; empty for one that can't be read."""
    with suppress(InputError):
        return str(read_dataset(_source_of(path)).get("SOPInstanceUID", ""))
    return ""


def _source_of(path: Path) -> Source:
    return Source(path.name, path, path.stat().st_size)
