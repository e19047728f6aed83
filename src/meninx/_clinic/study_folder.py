"""A folder that one study is fetched into: never mixed with another, and never taken for whole."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pydicom
from pydicom import Dataset

from meninx._errors import OptionError, PeerError
from meninx._scan.completeness import Incomplete
from meninx._scan.incomplete_note import INSTANCES, NOTE, IncompleteNote
from meninx._scan.kinds import is_dicom

# UIDs as real systems make them: components that begin with 0, letters, more than 64 signs break
# PS3.5 9.1, and `predict` reads them. Harmless as the name of a file all the same.
UID_OF_SOMEBODY = re.compile(r"[0-9A-Za-z][0-9A-Za-z.]{0,127}")
IDENTIFIERS = ["StudyInstanceUID", "SOPInstanceUID"]
# What is missing where nobody said how many instances there are.
UNFINISHED = Incomplete("complete transfers", expected=1, received=0)


def is_uid(text: str) -> bool:
    """Return whether a text can stand for a UID: by the standard, or nearly so."""
    return UID_OF_SOMEBODY.fullmatch(text) is not None


class StudyFolder:
    """A folder that a study is fetched into, a file an instance.

    Args:
        folder: Folder for the files; it may hold a part of the same study.
        study_uid: StudyInstanceUID.
        what: Name of what is counted, in the plural.

    Raises:
        OptionError: If it holds a file of another study.
    """

    def __init__(self, folder: Path, study_uid: str, what: str = INSTANCES) -> None:
        self.folder, self._study, self._what = folder, study_uid, what
        self._paths: dict[str, Path] = {}
        for header, path in _headers_in(folder):
            if str(header.get("StudyInstanceUID", "")) != study_uid:
                raise OptionError(
                    f"{folder}: holds another study than {study_uid} ({path.name}); name a folder "
                    "of its own, so that no patients are mixed"
                )
            self._paths[str(header.get("SOPInstanceUID", ""))] = path

    def begin(self, promised: int | None) -> None:
        """Make the folder, and note that the study is not here yet.

        Args:
            promised: Number of instances that the peer has of it; None where it doesn't say.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._note(self._missing(promised) or (UNFINISHED,))

    def take(self, header: Dataset, data: bytes) -> None:
        """Write an instance; one that is here already is replaced in one step.

        Args:
            header: Dataset with the instance's UIDs.
            data: Bytes of the file.

        Raises:
            PeerError: If it is of another study, or its UID is none.
        """
        instance = str(header.get("SOPInstanceUID", "")).strip()
        if str(header.get("StudyInstanceUID", "")).strip() != self._study or not is_uid(instance):
            raise PeerError("an instance of another study came; it was not kept")
        path = self._paths.get(instance, self.folder / f"{instance}.dcm")
        half_written = path.with_name(f".{path.name}")
        half_written.write_bytes(data)
        half_written.replace(path)
        self._paths[instance] = path

    def end(self, promised: int | None, fault: str) -> int:
        """Hold what came against what was promised, and say so in the folder.

        Args:
            promised: Number of instances that the peer has of the study; None where it didn't say.
            fault: What went wrong, in words; empty for a transfer that ended in good order.

        Returns:
            Number of instances here: all of them.

        Raises:
            PeerError: If some are missing.
        """
        count = len(self._paths)
        missing = self._missing(promised)
        if promised is None and (fault or not count):
            missing = (UNFINISHED,)
        if not missing:
            (self.folder / NOTE).unlink(missing_ok=True)
            return count
        why = f" ({fault})" if fault else ""
        if not count:
            (self.folder / NOTE).unlink(missing_ok=True)  # another study may be fetched into it
            promise = "" if promised is None else f": 0 of {promised} {self._what} came"
            raise PeerError(f"no study {self._study}{promise}{why}")
        self._note(missing)
        came = missing[0].text if promised is not None else f"{count} {self._what}, not the end,"
        raise PeerError(
            f"{came} came{why}; {self.folder / NOTE} says so to `meninx predict`, which refers the "
            "study; the same command again fetches the rest"
        )

    def _missing(self, promised: int | None) -> tuple[Incomplete, ...]:
        count = len(self._paths)
        if promised is None or count >= promised:
            return ()
        return (Incomplete(self._what, promised, count),)

    def _note(self, missing: tuple[Incomplete, ...]) -> None:
        IncompleteNote(self._study, missing).write(self.folder)


def _headers_in(folder: Path) -> Iterator[tuple[Dataset, Path]]:
    """Yield the UIDs of a folder's DICOM files, at any depth, as `predict` reads it."""
    for path in sorted(folder.rglob("*")):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        if not path.is_file():
            continue
        with path.open("rb") as file:
            head = file.read(1024)
        header = None
        if is_dicom(head):
            # A file that can't be read belongs to no study; `predict` reports it.
            with suppress(Exception):
                header = pydicom.dcmread(
                    path, stop_before_pixels=True, force=True, specific_tags=list(IDENTIFIERS)
                )
        if header is not None:
            yield header, path
