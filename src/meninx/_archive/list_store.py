"""An archive of the files and folders in a list."""

import itertools
import json
import os
import posixpath
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import astuple, replace
from pathlib import Path, PureWindowsPath
from typing import Any

from meninx._archive.entries import FileEntry, Folder
from meninx._archive.file_store import FileStore, entry_of
from meninx._archive.lists import ListRow, read_list
from meninx._archive.store_errors import error_text
from meninx._scan.incomplete_note import NOTE
from meninx._scan.walking import missing_target


class ListStore(FileStore):
    """An archive of the files and folders in a list, relative to it.

    Args:
        files: File system of the list and of its files, of fsspec.
        path: Path of the list, see `read_list`.

    Raises:
        OptionError: If the list can't be read.
    """

    def __init__(self, files: Any, path: str) -> None:
        super().__init__(files, posixpath.dirname(path))
        self._list = path
        next(self._rows(), None)  # a list without a column `path` fails at once

    def folders(self) -> Iterator[Folder]:
        """Yield the listed folders, wherever in the list their files are; see `Store`."""
        for parent, rows in self._by_folder():
            entries: dict[str, FileEntry] = {}
            for row in rows:
                if row.fault:
                    yield Folder(row.place, error=row.fault)
                    continue
                try:
                    name, info = self._find(row.path)
                except Exception as error:  # noqa: BLE001 - a driver may raise anything
                    if not row.is_comment:
                        place = f"{row.place}: {row.path}"
                        yield Folder(place, error=self._reason(row.path, error))
                    continue
                if info["type"] != "directory":
                    entries[name] = entry_of(name, info)
                elif not self._contains_scan(name):
                    place = f"{row.place}: {row.path}"
                    yield Folder(place, error="no picture, NIfTI or DICOM file in it")
                else:
                    yield from self._walk(self._path(name))
            if entries:
                entries |= self._note_beside(parent)
                named = sorted(entries.values(), key=lambda entry: entry.name)
                yield Folder(parent or ".", tuple(named), named=True)

    def _by_folder(self) -> Iterator[tuple[str, Iterator[ListRow]]]:
        """Yield each folder with its rows, by first appearance; a series' rows may be anywhere.

        They are sorted in a database, which moves to disk if it is large.
        """
        with closing(sqlite3.connect("")) as database:
            database.execute("create table listed (folder blob, row text)")
            rows = ((os.fsencode(_parent(row)), json.dumps(astuple(row))) for row in self._rows())
            database.executemany("insert into listed values (?, ?)", rows)
            found = database.execute(
                "select folder, row from listed join (select folder, min(rowid) as first from "
                "listed group by folder) using (folder) order by first, listed.rowid"
            )
            for folder, members in itertools.groupby(found, lambda row: row[0]):
                yield os.fsdecode(folder), (ListRow(*json.loads(text)) for _, text in members)

    def _note_beside(self, folder: str) -> dict[str, FileEntry]:
        """Return the note of an incomplete fetch in a folder; empty if there is none."""
        name = posixpath.join(folder, NOTE)
        try:
            return {name: entry_of(name, self._files.info(self._path(name)))}
        except Exception:  # noqa: BLE001 - a driver may raise anything
            return {}

    def _rows(self) -> Iterator[ListRow]:
        """Yield the rows, their paths relative to the list's folder."""
        for row in read_list(self._files, self._list):
            yield replace(row, path=self._normalized(row.path)) if row.path else row

    def _find(self, name: str) -> tuple[str, dict[str, Any]]:
        """Return the path of a row, perhaps read as a Windows path, and its description."""
        try:
            return name, self._files.info(self._path(name))
        except FileNotFoundError:
            if "\\" not in name:
                raise
        # A Windows path; elsewhere a backslash may be part of a name.
        name = self._normalized(PureWindowsPath(name).as_posix())
        return name, self._files.info(self._path(name))

    def _reason(self, name: str, error: Exception) -> str:
        if not isinstance(error, FileNotFoundError):
            return error_text(error)
        path = self._path(name)
        if not self._is_local:
            return "no such file or folder"
        return str(missing_target(Path(path))).removeprefix(f"{path}: ")

    def _contains_scan(self, name: str) -> bool:
        """Return whether a listed folder contains anything to score or to report."""
        for folder in self._walk(self._path(name)):
            if folder.error or next(super().groups(folder), None) is not None:
                return True
        return False

    def _normalized(self, name: str) -> str:
        """Return a path relative to the list's folder."""
        if "://" in name:  # fsspec's own method; the root of a bucket has no leading slash
            name = f"/{self._files._strip_protocol(name).lstrip('/')}"
        root = f"/{self._root.lstrip('/')}"
        return posixpath.relpath(posixpath.join(root, name), root)


def _parent(row: ListRow) -> str:
    # A Windows path, or a backslash in a name, which then makes no difference.
    return posixpath.dirname(row.path.replace("\\", "/"))
