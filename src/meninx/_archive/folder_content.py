"""Sort the files of a folder into DICOM series by their first bytes."""

import posixpath
from collections.abc import Collection, Iterator
from dataclasses import replace

from meninx._archive.entries import FileEntry, Group
from meninx._errors import InputError
from meninx._scan.dicom.file import DIRECTORY, is_cut_off, series_uid_of
from meninx._scan.kinds import DICOM_SUFFIXES, kind_of
from meninx._scan.promises import name_pattern
from meninx._scan.source import SNIFFED_BYTES


class FolderContent:
    """The DICOM series of a folder, and files that may belong to any of them or list them."""

    def __init__(self) -> None:
        self.by_uid: dict[str, list[FileEntry]] = {}
        # SeriesInstanceUIDs of the files that lie directly in each folder.
        self.folders: dict[str, set[str]] = {}
        self.listings: list[FileEntry] = []
        self._unreadable: list[FileEntry] = []
        self._unknown: list[FileEntry] = []

    def add(self, entry: FileEntry, head: bytes, *, strict: bool) -> bool:
        """Add a file of the folder.

        Args:
            entry: File.
            head: Its first bytes, unpacked; empty if it is out of reach.
            strict: Whether the user named this file.

        Returns:
            Whether it is a group by itself.
        """
        if entry.error:
            self._unreadable.append(entry)
            return False
        try:
            kind = kind_of(head, entry.name, strict=strict)
        except InputError as error:
            return self._add_faulty(entry, error)
        if kind is None:
            self._unknown.append(entry)
        if kind != "dicom":
            return kind is not None
        if DIRECTORY.encode() in head[:SNIFFED_BYTES] and not strict:
            self.listings.append(entry)
            return False
        uid = series_uid_of(head)
        if not uid and is_cut_off(head):
            self._unreadable.append(entry)
        else:
            self.by_uid.setdefault(uid, []).append(entry)
            self.folders.setdefault(posixpath.dirname(entry.name), set()).add(uid)
        return False

    def _add_faulty(self, entry: FileEntry, error: InputError) -> bool:
        """Add a file whose content contradicts its name; see `add`."""
        reason = str(error).removeprefix(f"{error.place}: ")
        if error.reason == "not_found":  # a pointer, whose content may be fetched later
            self._unreadable.append(replace(entry, error=reason))
        elif entry.name.lower().endswith(DICOM_SUFFIXES):
            self._unreadable.append(entry)
        else:
            return True  # reading it reports the fault
        return False

    def series(self) -> Iterator[tuple[str, tuple[FileEntry, ...]]]:
        """Yield UID and files of each series, with unreadable files that may belong to it."""
        for uid, entries in self.by_uid.items():
            patterns = {name_pattern(entry.name) for entry in entries}
            more = [entry for entry in self._unreadable if _may_be_slice(entry, patterns)]
            more += [entry for entry in self._unknown if name_pattern(entry.name) in patterns]
            yield uid, tuple(sorted([*entries, *more], key=lambda entry: entry.name))

    def unreadable_alone(self) -> Iterator[Group]:
        """Yield unreadable files that belong to no series."""
        patterns = {
            name_pattern(entry.name) for entries in self.by_uid.values() for entry in entries
        }
        for entry in self._unreadable:
            if not _may_be_slice(entry, patterns):
                yield Group(entry.name, (entry,), entry.error)


def _may_be_slice(entry: FileEntry, patterns: Collection[tuple[str, str]]) -> bool:
    """Return whether an unreadable file may be a slice of a series beside it."""
    is_named_so = (
        entry.name.lower().endswith(DICOM_SUFFIXES) or name_pattern(entry.name) in patterns
    )
    is_beside = posixpath.dirname(entry.name) in {folder for folder, _ in patterns}
    return is_beside and (is_named_so or not entry.error)
