"""A folder for one fetched study: never mixed with another, and marked while incomplete."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pydicom
from pydicom import Dataset

from meninx._clinic.instance_key import PLACE, place_of
from meninx._errors import OptionError, PeerError
from meninx._scan.completeness import Incomplete
from meninx._scan.incomplete_note import INSTANCES, NOTE, IncompleteNote
from meninx._scan.kinds import is_dicom

# UIDs as real systems write them: leading zeros, letters and more than 64 characters violate
# PS3.5 9.1, but `predict` reads them. All of these are safe as file names.
_LENIENT_UID = re.compile(r"[0-9A-Za-z][0-9A-Za-z.]{0,127}")
IDENTIFIERS = ["StudyInstanceUID", "SOPInstanceUID", *PLACE]
# Marks an incomplete study whose number of instances is unknown.
_UNFINISHED = Incomplete("complete transfers", expected=1, received=0)


def is_uid(text: str) -> bool:
    """Return whether a text is a UID, by the standard or nearly so."""
    return _LENIENT_UID.fullmatch(text) is not None


def parse_count(value: object) -> int | None:
    """Return a peer's count of instances; None if the value is no number."""
    text = str(value).strip()
    return int(text) if text.isdecimal() else None


class StudyFolder:
    """A folder into which a study is fetched, one file per instance.

    Args:
        folder: Folder for the files; it may contain a part of the same study.
        study_uid: StudyInstanceUID.
        what: Name of the counted objects, in the plural.

    Raises:
        OptionError: If it contains a file of another study.
    """

    def __init__(self, folder: Path, study_uid: str, what: str = INSTANCES) -> None:
        self.folder, self._study, self._what = folder, study_uid, what
        # By SOPInstanceUID and place: careless software gives many images one UID.
        self._paths: dict[tuple[str, str], Path] = {}
        for header, path in _headers_in(folder):
            if str(header.get("StudyInstanceUID", "")) != study_uid:
                raise OptionError(
                    f"{folder}: holds another study than {study_uid} ({path.name}); name a folder "
                    "of its own, so that no patients are mixed"
                )
            self._paths[str(header.get("SOPInstanceUID", "")), place_of(header)] = path

    def start(self, expected: int | None) -> None:
        """Make the folder, and mark the study as incomplete.

        Args:
            expected: The peer's number of instances of the study; None if unknown.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._note(self._missing(expected) or (_UNFINISHED,))

    def write(self, header: Dataset, data: bytes) -> None:
        """Write an instance; an earlier file of it is replaced atomically.

        Args:
            header: Dataset with the instance's `IDENTIFIERS`.
            data: Bytes of the file.

        Raises:
            PeerError: If it is of another study, or its UID is invalid.
        """
        instance = str(header.get("SOPInstanceUID", "")).strip()
        if str(header.get("StudyInstanceUID", "")).strip() != self._study or not is_uid(instance):
            raise PeerError("an instance of another study was received; it was not stored")
        key = instance, place_of(header)
        path = self._paths.get(key, self.folder / f"{instance}.dcm")
        if key not in self._paths and path in self._paths.values():
            path = self.folder / f"{instance}-{key[1]}.dcm"
        partial = path.with_name(f".{path.name}")
        partial.write_bytes(data)
        partial.replace(path)
        self._paths[key] = path

    def finish(self, expected: int | None, fault: str) -> int:
        """Compare the received instances with the expected number, and update the folder's mark.

        Args:
            expected: The peer's number of instances of the study; None if unknown.
            fault: Why the transfer failed; empty if it did not.

        Returns:
            Number of instances in the folder, which is complete.

        Raises:
            PeerError: If some are missing.
        """
        count = len(self._paths)
        missing = self._missing(expected)
        if expected is None and (fault or not count):
            missing = (_UNFINISHED,)
        if not missing:
            (self.folder / NOTE).unlink(missing_ok=True)
            return count
        reason = f" ({fault})" if fault else ""
        if not count:
            (self.folder / NOTE).unlink(missing_ok=True)  # another study may be fetched into it
            received = "" if expected is None else f": 0 of {expected} {self._what} received"
            what = "not fetched: study" if fault else "no study"
            raise PeerError(f"{what} {self._study}{received}{reason}")
        self._note(missing)
        counted = f"{count} {self._what}, not the end," if expected is None else missing[0].text
        raise PeerError(
            f"{counted} received{reason}; {self.folder / NOTE} says so to `meninx predict`, which "
            "refers the study; run the same command again to fetch the rest"
        )

    def _missing(self, expected: int | None) -> tuple[Incomplete, ...]:
        count = len(self._paths)
        if expected is None or count >= expected:
            return ()
        return (Incomplete(self._what, expected, count),)

    def _note(self, missing: tuple[Incomplete, ...]) -> None:
        IncompleteNote(self._study, missing).write(self.folder)


def _headers_in(folder: Path) -> Iterator[tuple[Dataset, Path]]:
    """Yield the UIDs of the DICOM files that `predict` reads in a folder, at any depth."""
    for path in sorted(folder.rglob("*")):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        if not path.is_file():
            continue
        with path.open("rb") as file:
            head = file.read(1024)
        header = None
        if is_dicom(head):
            # An unreadable file belongs to no study; `predict` reports it.
            with suppress(Exception):
                header = pydicom.dcmread(
                    path, stop_before_pixels=True, force=True, specific_tags=list(IDENTIFIERS)
                )
        if header is not None:
            yield header, path
