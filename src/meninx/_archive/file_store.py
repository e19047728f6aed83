"""An archive that is a tree of files, on disk or in an object store."""

import posixpath
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from meninx._archive.entries import FileEntry, Folder, Group
from meninx._archive.folder_content import FolderContent
from meninx._archive.store_errors import as_os_error, error_text
from meninx._errors import InputError
from meninx._scan.dicom.file import HEAD_BYTES, read_listing
from meninx._scan.incomplete_note import NOTE
from meninx._scan.kinds import data_file_of
from meninx._scan.source import Source, unpacked_head
from meninx._scan.walking import leads_back, missing_target

_LISTING = re.compile(r"dicomdir\.?(?:;\d+)?", re.IGNORECASE)


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
            inside = [info["name"] for info in infos if info["type"] == "directory"]
            entries = [
                entry_of(self._relative(info["name"]), info)
                for info in infos
                if info["type"] == "file"
            ]
            if any(map(_tells_of_below, entries)):
                below = [folder for child in inside for folder in self._walk(child)]
                yield from (folder for folder in below if folder.error)
                entries += [entry for folder in below for entry in folder.entries]
            else:
                waiting += reversed(inside)
            if entries:
                yield Folder(name, tuple(entries))

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
        notes = [entry for entry in folder.entries if posixpath.basename(entry.name) == NOTE]
        for entry in folder.entries:
            if entry in notes:
                continue
            head = b"" if entry.error else unpacked_head(self._head(entry), HEAD_BYTES)
            if content.add(entry, head, strict=folder.named):
                members = (entry, *_voxels_of(head, entry, folder))
                yield Group(entry.name, members, context=_above(members, notes))
        yield from content.unreadable_alone()
        for uid, entries in content.series():
            context = (*_above(entries, notes), *content.listings)
            place = self._place_of(uid, entries, content)
            yield Group(place, entries, _first_error(entries), uid, context)
        for listing in content.listings:
            if fault := self._absence(listing, content):
                yield Group(listing.name, (listing,), fault)

    def _place_of(self, uid: str, entries: Sequence[FileEntry], content: FolderContent) -> str:
        """Return the folder of a series if no other series is in it, else its first file."""
        folder = _common_folder(entries)
        own = {name for name, uids in content.folders.items() if uids == {uid}}
        is_shared = any(_is_within(f"{other}/", folder) for other in content.folders.keys() - own)
        if len(entries) == 1 or is_shared:
            return entries[0].name
        return folder or posixpath.basename(self._root)

    def _absence(self, listing: FileEntry, content: FolderContent) -> str:
        """Return which series of a DICOMDIR are missing altogether, in words; empty if none is."""
        with tempfile.TemporaryDirectory(prefix="meninx-") as scratch:
            (path,) = self.fetch([listing.name], Path(scratch))
            try:
                found = read_listing(Source(listing.name, path, path.stat().st_size))
            except InputError as error:
                return str(error).removeprefix(f"{error.place}: ")
        return found.absence(content.by_uid)

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
        # Under their own names and in their own folders: headers refer to their voxels by name, and
        # files of two folders may have one name.
        sources = [posixpath.normpath(self._path(name)) for name in names]
        common = posixpath.commonpath([posixpath.dirname(source) for source in sources])
        paths = [into / posixpath.relpath(source, common or ".") for source in sources]
        for name, path in zip(names, paths, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            with as_os_error(name):
                self._files.get_file(self._path(name), str(path))
        return paths


def _tells_of_below(entry: FileEntry) -> bool:
    """Return whether a file's name is that of a DICOMDIR or of a note of an incomplete fetch.

    References:
        DICOM PS3.10 8.6: a medium's directory is named DICOMDIR.
        ISO 9660 7.5.1: a point and a version may follow, as in `DICOMDIR.;1`.
    """
    name = posixpath.basename(entry.name)
    return name == NOTE or _LISTING.fullmatch(name) is not None


def _above(entries: Iterable[FileEntry], notes: Iterable[FileEntry]) -> tuple[FileEntry, ...]:
    """Return the notes in the folder of some files, or in one above it."""
    names = [entry.name for entry in entries]
    return tuple(
        note
        for note in notes
        if any(_is_within(name, posixpath.dirname(note.name)) for name in names)
    )


def _is_within(name: str, folder: str) -> bool:
    """Return whether a file lies in a folder or below it; the archive itself is ``."""
    return not folder or name.startswith(f"{folder}/")


def _common_folder(entries: Iterable[FileEntry]) -> str:
    """Return the deepest folder that holds all files, relative to the archive."""
    return posixpath.commonpath([posixpath.dirname(entry.name) for entry in entries])


def _first_error(entries: Iterable[FileEntry]) -> str:
    """Return the first error of some files, with the file's name; empty without errors."""
    return next((f"{entry.name}: {entry.error}" for entry in entries if entry.error), "")


def _voxels_of(head: bytes, entry: FileEntry, folder: Folder) -> list[FileEntry]:
    """Return the file of the same folder with the voxels of a header; empty if there is none."""
    data_file = data_file_of(head, entry.name)
    if data_file is None:
        return []
    beside = posixpath.dirname(entry.name)
    name = posixpath.join(beside, posixpath.basename(data_file)).lower()
    return [other for other in folder.entries if other.name.lower() in (name, f"{name}.gz")]


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
