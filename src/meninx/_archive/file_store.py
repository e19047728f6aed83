"""An archive that is a tree of files, on disk or in an object store."""

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from meninx._archive.entries import FileEntry, Folder, Group
from meninx._archive.folder_content import HEAD_BYTES, FolderContent
from meninx._archive.store_errors import as_os_error, error_text
from meninx._scan.incomplete_note import NOTE
from meninx._scan.kinds import data_file_of
from meninx._scan.source import unpacked_head
from meninx._scan.walking import leads_back, missing_target


class FileStore:
    """An archive that is a tree of files.

    Args:
        files: File system of fsspec.
        root: Path of the archive in that file system.
        only: Name of the only file to score; empty for all.
    """

    def __init__(self, files: Any, root: str, only: str = "") -> None:
        self._files, self._root, self._only = files, root.rstrip("/"), only
        self._is_local = isinstance(files, LocalFileSystem)
        self.address = str(files.unstrip_protocol(self._root))

    def folders(self) -> Iterator[Folder]:
        """Yield the folders, depth first, by name; see `Store.folders`."""
        if self._only:
            info = self._files.info(self._path(self._only))
            yield Folder(".", (entry_of(self._only, info),), named=True)
        else:
            yield from self._walk(self._root)

    def _walk(self, top: str) -> Iterator[Folder]:
        waiting = [top]
        while waiting:
            path = waiting.pop()
            name = self._relative(path)
            try:
                infos = sorted(self._files.ls(path, detail=True), key=lambda info: info["name"])
            except Exception as error:  # noqa: BLE001 - a driver may raise anything
                yield Folder(name, error=error_text(error))
                continue
            infos = [self._resolve_link(info) for info in infos if self._is_visible(path, info)]
            waiting += [info["name"] for info in reversed(infos) if info["type"] == "directory"]
            entries = tuple(
                entry_of(self._relative(info["name"]), info)
                for info in infos
                if info["type"] == "file"
            )
            if entries:
                yield Folder(name, entries)

    def _is_visible(self, folder: str, info: dict[str, Any]) -> bool:
        """Return whether to read an entry: not if it is hidden, or a link to a parent folder."""
        if posixpath.basename(info["name"].rstrip("/")).startswith("."):
            return False
        if info["name"].rstrip("/") == folder.rstrip("/"):  # object stores list the folder itself
            return False
        return not info.get("islink") or not leads_back(Path(info["name"]))

    def _resolve_link(self, info: dict[str, Any]) -> dict[str, Any]:
        """Return the description of a link's target, under the link's own name."""
        if not info.get("islink"):
            return info
        try:
            return dict(self._files.info(info["name"]))
        except OSError:
            missing = str(missing_target(Path(info["name"]))).removeprefix(f"{info['name']}: ")
            return info | {"type": "file", "error": missing}

    def _relative(self, path: str) -> str:
        return path.rstrip("/").removeprefix(self._root).lstrip("/") or "."

    def _path(self, name: str) -> str:
        path = f"{self._root}/{name}"
        return posixpath.normpath(path) if ".." in name else path

    def groups(self, folder: Folder) -> Iterator[Group]:
        """Sort files into series by their first bytes; see `Store.groups`."""
        content = FolderContent()
        # The note of an incomplete fetch is part of each group: without it the stamps differ.
        notes = [entry for entry in folder.entries if posixpath.basename(entry.name) == NOTE]
        for entry in folder.entries:
            head = b"" if entry.error else unpacked_head(self._head(entry), HEAD_BYTES)
            if content.add(entry, head, strict=folder.named):
                yield Group(entry.name, (entry, *_voxels_of(head, entry, folder), *notes))
        yield from content.unreadable_alone()
        for entries in content.series():
            is_whole_folder = len(content.by_uid) == 1 and len(entries) > 1
            place = self._name_of(folder) if is_whole_folder else entries[0].name
            yield Group(place, (*entries, *notes), _first_error(entries))

    def _name_of(self, folder: Folder) -> str:
        return posixpath.basename(self._root) if folder.name == "." else folder.name

    def _head(self, entry: FileEntry) -> bytes:
        path, count = self._path(entry.name), min(entry.size, HEAD_BYTES)
        if not count:
            return b""
        if self._is_local:
            with Path(path).open("rb") as file:
                return file.read(count)
        with as_os_error(entry.name):
            return bytes(self._files.cat_file(path, start=0, end=count))

    def fetch(self, names: Sequence[str], into: Path) -> list[Path]:
        """Return the paths of local files, and copies of others; see `Store.fetch`."""
        if self._is_local:
            return [Path(self._path(name)) for name in names]
        # All in one folder, under their own names: headers refer to their voxels by name.
        paths = [into / Path(name).name for name in names]
        for name, path in zip(names, paths, strict=True):
            with as_os_error(name):
                self._files.get_file(self._path(name), str(path))
        return paths


def _first_error(entries: Iterable[FileEntry]) -> str:
    """Return the first error of some files, with the file's name; empty without errors."""
    return next((f"{entry.name}: {entry.error}" for entry in entries if entry.error), "")


def _voxels_of(head: bytes, entry: FileEntry, folder: Folder) -> list[FileEntry]:
    """Return the file of the same folder with the voxels of a header; empty if there is none."""
    data_file = data_file_of(head, entry.name)
    if data_file is None:
        return []
    name = posixpath.basename(data_file).lower()
    return [
        other
        for other in folder.entries
        if posixpath.basename(other.name).lower() in (name, f"{name}.gz")
    ]


def entry_of(name: str, info: dict[str, Any]) -> FileEntry:
    """Return a file from its description by a file system.

    Args:
        name: Path relative to the archive.
        info: Description of fsspec, which may have an `error`.

    Returns:
        The entry.
    """
    marks = (info.get(key) for key in ("ETag", "etag", "mtime", "LastModified", "created"))
    mark, error = str(next(filter(None, marks), "")), str(info.get("error", ""))
    return FileEntry(name, int(info.get("size") or 0), mark, error)
