"""Reach an archive's files, wherever they lie, a folder at a time."""

import csv
import itertools
import posixpath
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import fsspec
import pyarrow
import pyarrow.parquet as parquet
from fsspec.implementations.local import LocalFileSystem

from meninx.clinic.peers import WebPeer
from meninx.errors import InputError, OptionError
from meninx.quiet import without_passwords
from meninx.scan.dicom import series_uid_of
from meninx.scan.incomplete_note import NOTE
from meninx.scan.kinds import data_file_of, kind_of
from meninx.scan.source import unpacked_head

# Enough of a DICOM file to hold everything before its pixels but long private elements.
HEAD_BYTES = 65536
LISTS = (".csv", ".parquet")
# In a list, the column that says where a series lies.
LIST_COLUMN = "path"


@dataclass(frozen=True)
class FileEntry:
    """A file of an archive.

    Args:
        name: Path relative to the archive.
        size: Size, bytes; -1 where not known.
        mark: Text that changes with the content: the time of writing, or the store's own tag.
    """

    name: str
    size: int = -1
    mark: str = ""


@dataclass(frozen=True)
class Folder:
    """A folder of an archive with its files.

    Args:
        name: Path relative to the archive; "." for the archive itself.
        entries: Files, by name.
        error: Why the folder can't be listed; empty if it can.
    """

    name: str
    entries: tuple[FileEntry, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Group:
    """The files that are scored together.

    Args:
        place: Where the files lie, relative to the archive.
        entries: Files: a picture, a NIfTI file, a zip, or the DICOM files of one series.
    """

    place: str
    entries: tuple[FileEntry, ...] = field(default_factory=tuple)


class Store(Protocol):
    """An archive, wherever it lies."""

    @property
    def address(self) -> str:
        """Address that tells this archive from another."""

    def folders(self) -> Iterator[Folder]:
        """Yield the folders, one after the other, each listed when it is asked for."""

    def groups(self, folder: Folder) -> Iterator[Group]:
        """Yield what is to be scored in a folder, found without reading pixels.

        Args:
            folder: Folder that `folders` yielded.

        Returns:
            Groups of its files; files that are no scans are skipped.

        Raises:
            OSError: If a file can't be read now: its first bytes say which series it belongs to.
        """

    def fetch(self, names: Sequence[str], into: Path) -> list[Path]:
        """Return files of the archive as files on this machine.

        Args:
            names: Names of the entries of one group.
            into: Empty folder, for files that have to be copied.

        Returns:
            Paths of the files.

        Raises:
            OSError: If a file can't be read now.
        """


def open_store(source: str) -> Store:
    """Return an archive by its address.

    Args:
        source: Folder, file, list (.csv or .parquet with a column `path`), address of an object
            store as fsspec knows it (s3://bucket/prefix), or http(s)://... of a DICOMweb service.

    Returns:
        The store.

    Raises:
        OptionError: If there is nothing at that address.
    """
    shown = without_passwords(source)
    if source.startswith(("http://", "https://")):
        return WebStore(source)
    try:
        # A cache of listings would hold the names of the whole archive.
        options = {} if "://" not in source else {"use_listings_cache": False}
        files, root = fsspec.core.url_to_fs(source, **options)
        exists = files.exists(root)
    except Exception as error:  # whatever a file system's driver raises
        raise OptionError(
            f"{shown}: can't be reached: {without_passwords(str(error))}; check the address and "
            "the credentials"
        ) from error
    if not exists:
        raise OptionError(f"{shown}: no such folder or file")
    if root.lower().endswith(LISTS):
        return ListStore(files, root)
    if files.isfile(root):
        return FileStore(files, *posixpath.split(root))
    return FileStore(files, root)


class FileStore:
    """An archive that is a tree of files.

    Args:
        files: File system, as fsspec has it.
        root: Path of the archive in that file system.
        only: Name of the one file to score; empty for all.
    """

    def __init__(self, files: Any, root: str, only: str = "") -> None:
        self._files, self._root, self._only = files, root.rstrip("/"), only
        self._is_local = isinstance(files, LocalFileSystem)
        self.address = str(files.unstrip_protocol(self._root))

    def folders(self) -> Iterator[Folder]:
        """Yield the folders, depth first, by name; see `Store.folders`."""
        if self._only:
            info = self._files.info(self._path(self._only))
            yield Folder(".", (_entry(self._only, info),))
        else:
            yield from self._below(self._root)

    def _below(self, top: str) -> Iterator[Folder]:
        waiting = [top]
        while waiting:
            path = waiting.pop()
            name = self._relative(path)
            try:
                found = sorted(self._files.ls(path, detail=True), key=lambda info: info["name"])
            except Exception as error:  # noqa: BLE001 - whatever a file system's driver raises
                yield Folder(name, error=_in_words(error))
                continue
            kept = [info for info in found if self._is_ours(path, info)]
            waiting += [info["name"] for info in reversed(kept) if info["type"] == "directory"]
            entries = tuple(
                _entry(self._relative(info["name"]), info)
                for info in kept
                if info["type"] == "file"
            )
            if entries:
                yield Folder(name, entries)

    def _is_ours(self, folder: str, info: dict[str, Any]) -> bool:
        """Return whether to look at a thing: hidden ones are not, nor links that lead elsewhere."""
        if posixpath.basename(info["name"].rstrip("/")).startswith("."):
            return False
        if info["name"].rstrip("/") == folder.rstrip("/"):  # object stores list the folder itself
            return False
        if not info.get("islink"):
            return True
        target = Path(info["name"]).resolve()
        return target.is_file() and target.is_relative_to(Path(self._root).resolve())

    def _relative(self, path: str) -> str:
        return path.rstrip("/").removeprefix(self._root).lstrip("/") or "."

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def groups(self, folder: Folder) -> Iterator[Group]:
        """Sort files into series by their first bytes; see `Store.groups`."""
        series: dict[str, list[FileEntry]] = {}
        # What a fetch left out is read with each of them; once it came they are others.
        notes = [entry for entry in folder.entries if posixpath.basename(entry.name) == NOTE]
        for entry in folder.entries:
            head = unpacked_head(self._head(entry), HEAD_BYTES)
            try:
                kind = kind_of(head, entry.name)
            except InputError:
                kind = "picture"  # one by itself; reading it reports what is wrong
            if kind == "dicom":
                series.setdefault(series_uid_of(head), []).append(entry)
            elif kind is not None:
                yield Group(entry.name, (entry, *_voxels_of(head, entry, folder), *notes))
        for entries in series.values():
            alone = len(series) == 1 and len(entries) > 1
            whole = posixpath.basename(self._root) if folder.name == "." else folder.name
            place = whole if alone else entries[0].name
            yield Group(place, (*entries, *notes))

    def _head(self, entry: FileEntry) -> bytes:
        path, count = self._path(entry.name), min(entry.size, HEAD_BYTES)
        if not count:
            return b""
        if self._is_local:
            with Path(path).open("rb") as file:
                return file.read(count)
        with _as_os_error(entry.name):
            return bytes(self._files.cat_file(path, start=0, end=count))

    def fetch(self, names: Sequence[str], into: Path) -> list[Path]:
        """Return local files where they lie, others copied; see `Store.fetch`."""
        if self._is_local:
            return [Path(self._path(name)) for name in names]
        # All lie in one folder: headers find their voxels by the files' own names.
        paths = [into / Path(name).name for name in names]
        for name, path in zip(names, paths, strict=True):
            with _as_os_error(name):
                self._files.get_file(self._path(name), str(path))
        return paths


class ListStore(FileStore):
    """An archive of the files and folders that a list names, relative to it, in its order.

    Args:
        files: File system of the list and of the files that it names, as fsspec has it.
        path: Path of the list: CSV or Parquet with a column `path`.

    Raises:
        OptionError: If the list has no such column.
    """

    def __init__(self, files: Any, path: str) -> None:
        super().__init__(files, posixpath.dirname(path))
        self._list = path
        next(self._names(), None)  # a list without that column fails at once

    def folders(self) -> Iterator[Folder]:
        """Yield what the list names; neighbors of one folder together; see `Store.folders`."""
        for parent, names in itertools.groupby(self._names(), posixpath.dirname):
            entries = []
            for name in names:
                path = self._path(name)
                try:
                    info = self._files.info(path)
                except Exception as error:  # noqa: BLE001 - whatever a driver raises
                    yield Folder(name, error=_in_words(error))
                    continue
                if info["type"] == "directory":
                    yield from self._below(path)
                else:
                    entries.append(_entry(name, info))
            if entries:
                yield Folder(parent or ".", tuple(sorted(entries, key=lambda one: one.name)))

    def _names(self) -> Iterator[str]:
        """Yield the list's paths; raise OptionError if it can't be read."""
        try:
            yield from self._rows()
        except (UnicodeDecodeError, csv.Error, pyarrow.ArrowException) as error:
            raise OptionError(
                f"{self._list}: not a readable list ({type(error).__name__}); expected CSV in "
                f"UTF-8 or Parquet with a column {LIST_COLUMN!r}"
            ) from error

    def _rows(self) -> Iterator[str]:
        if self._list.lower().endswith(".parquet"):
            with self._files.open(self._list, "rb") as file:
                table = parquet.ParquetFile(file)
                if LIST_COLUMN not in table.schema_arrow.names:
                    raise self._no_column()
                for batch in table.iter_batches(columns=[LIST_COLUMN]):
                    yield from map(self._tidy, batch.column(0).to_pylist())
            return
        with self._files.open(self._list, "r", newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            if LIST_COLUMN not in (rows.fieldnames or ()):
                raise self._no_column()
            yield from (self._tidy(row[LIST_COLUMN]) for row in rows)

    def _no_column(self) -> OptionError:
        return OptionError(
            f"{self._list}: no column {LIST_COLUMN!r}; give it one, with a file or folder a row"
        )

    def _tidy(self, name: str) -> str:
        """Return a path relative to the list's folder."""
        path = self._files._strip_protocol(name) if "://" in name else name  # fsspec's own way
        return posixpath.relpath(path, self._root) if path.startswith("/") else path


class WebStore:
    """An archive behind a DICOMweb service: its studies are the folders, their series the groups.

    Args:
        address: Address of the service, http(s)://...

    Raises:
        OptionError: If no service answers there.
    """

    def __init__(self, address: str) -> None:
        self._peer = WebPeer(address)
        self.address = self._peer.address
        try:
            next(self._peer.studies(1), None)
        except Exception as error:  # whatever the service answers instead
            raise OptionError(f"{self.address}: no DICOMweb service answers: {error}") from error

    def folders(self) -> Iterator[Folder]:
        """Yield studies that have MR series, a page of them at a time; see `Store.folders`."""
        for study in self._peer.studies():
            try:
                series = self._peer.series(study)
            except Exception as error:  # noqa: BLE001 - whatever the service answers instead
                yield Folder(study, error=_in_words(error))
                continue
            entries = tuple(FileEntry(f"{study}/{uid}", -1, count) for uid, count in series)
            if entries:
                yield Folder(study, entries)

    def groups(self, folder: Folder) -> Iterator[Group]:
        """Yield a study's series; see `Store.groups`."""
        for entry in folder.entries:
            yield Group(entry.name, (entry,))

    def fetch(self, names: Sequence[str], into: Path) -> list[Path]:
        """Fetch series by WADO-RS; see `Store.fetch`."""
        for name in names:
            study, series = name.split("/")
            with _as_os_error(name):
                self._peer.fetch_series(study, series, into)
        return sorted(into.iterdir())


@contextmanager
def _as_os_error(place: str) -> Iterator[None]:
    """Turn whatever a file system's driver or a service raises into one kind of error."""
    try:
        yield
    except Exception as error:
        raise OSError(f"{place}: {_in_words(error)}") from error


def _in_words(error: Exception) -> str:
    """Return kind and message of an error, which may quote an address."""
    return f"{type(error).__name__}: {without_passwords(str(error))}"


def _voxels_of(head: bytes, entry: FileEntry, folder: Folder) -> list[FileEntry]:
    """Return the file that holds the voxels of a header: none, or one of the same folder."""
    data_file = data_file_of(head, entry.name)
    if data_file is None:
        return []
    name = posixpath.basename(data_file).lower()
    wanted = {name, f"{name}.gz"}
    return [one for one in folder.entries if posixpath.basename(one.name).lower() in wanted]


def _entry(name: str, info: dict[str, Any]) -> FileEntry:
    """Return a file as a file system describes it."""
    marks = (info.get(key) for key in ("ETag", "etag", "mtime", "LastModified", "created"))
    return FileEntry(name, int(info.get("size") or 0), str(next(filter(None, marks), "")))
