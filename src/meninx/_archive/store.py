"""Reach an archive's files, wherever they lie, a folder at a time."""

import itertools
import posixpath
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PureWindowsPath
from typing import Any, Protocol

import fsspec
from fsspec.implementations.local import LocalFileSystem

from meninx._archive.lists import LISTS, ListRow, read_list
from meninx._clinic.peers import WebPeer
from meninx._errors import InputError, OptionError
from meninx._quiet import without_passwords
from meninx._scan.dicom.file import DIRECTORY, series_uid_of
from meninx._scan.incomplete_note import NOTE
from meninx._scan.kinds import DICOM_SUFFIXES, data_file_of, kind_of
from meninx._scan.promises import name_pattern
from meninx._scan.source import SNIFFED_BYTES, unpacked_head
from meninx._scan.walking import leads_back, missing_target

# Enough of a DICOM file to hold everything before its pixels but long private elements.
HEAD_BYTES = 65536
# How PixelData begins in either byte order: a head without it and without a series breaks off.
PIXEL_DATA = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")


@dataclass(frozen=True)
class FileEntry:
    """A file of an archive.

    Args:
        name: Path relative to the archive.
        size: Size, bytes; -1 where not known.
        mark: Text that changes with the content: the time of writing, or the store's own tag.
        error: Why the file can't be had; empty if it can.
    """

    name: str
    size: int = -1
    mark: str = ""
    error: str = ""


@dataclass(frozen=True)
class Folder:
    """A folder of an archive with its files.

    Args:
        name: Path relative to the archive; "." for the archive itself.
        entries: Files, by name.
        error: Why the folder can't be listed; empty if it can.
        named: Whether the user named each of the files: then each is read, whatever its name says.
    """

    name: str
    entries: tuple[FileEntry, ...] = ()
    error: str = ""
    named: bool = False


@dataclass(frozen=True)
class Group:
    """The files that are scored together.

    Args:
        place: Where the files lie, relative to the archive.
        entries: Files: a picture, a NIfTI file, a zip, or the DICOM files of one series.
        error: Why they can't be scored now; empty if they can.
    """

    place: str
    entries: tuple[FileEntry, ...] = field(default_factory=tuple)
    error: str = ""


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


class _FolderContent:
    """The DICOM series of a folder, and files that may belong to any of them."""

    def __init__(self) -> None:
        self.by_uid: dict[str, list[FileEntry]] = {}
        self._lost: list[FileEntry] = []
        self._unknown: list[FileEntry] = []

    def add(self, entry: FileEntry, head: bytes, *, strict: bool) -> bool:
        """Add a file of the folder.

        Args:
            entry: File.
            head: Its first bytes, unpacked; none for one that can't be had.
            strict: Whether the user named this very file.

        Returns:
            Whether it is to be scored by itself.
        """
        if entry.error:
            self._lost.append(entry)
            return False
        try:
            kind = kind_of(head, entry.name, strict=strict)
        except InputError as error:
            return self._add_faulty(entry, error)
        if kind is None:
            self._unknown.append(entry)
        if kind != "dicom" or (DIRECTORY.encode() in head[:SNIFFED_BYTES] and not strict):
            return kind not in (None, "dicom")
        uid = series_uid_of(head)
        breaks_off = len(head) < HEAD_BYTES and not any(tag in head for tag in PIXEL_DATA)
        if not uid and breaks_off:
            self._lost.append(entry)
        else:
            self.by_uid.setdefault(uid, []).append(entry)
        return False

    def _add_faulty(self, entry: FileEntry, error: InputError) -> bool:
        """Add a file that is no scan though its name says so; see `add`."""
        reason = str(error).removeprefix(f"{error.place}: ")
        if error.reason == "not_found":  # a pointer, whose content may come later
            self._lost.append(replace(entry, error=reason))
        elif entry.name.lower().endswith(DICOM_SUFFIXES):
            self._lost.append(entry)
        else:
            return True  # reading it reports what is wrong
        return False

    def series(self) -> Iterator[tuple[FileEntry, ...]]:
        """Yield the files of each series, with those that may be of it but can't be read."""
        for entries in self.by_uid.values():
            patterns = {name_pattern(entry.name) for entry in entries}
            more = [entry for entry in self._lost if _is_slice(entry, patterns)]
            more += [entry for entry in self._unknown if name_pattern(entry.name) in patterns]
            yield tuple(sorted([*entries, *more], key=lambda entry: entry.name))

    def lost_alone(self) -> Iterator[Group]:
        """Yield files that can't be read and belong to no series."""
        patterns = {name_pattern(entry.name) for known in self.by_uid.values() for entry in known}
        for entry in self._lost:
            if not _is_slice(entry, patterns):
                yield Group(entry.name, (entry,), entry.error)


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
            yield Folder(".", (_entry(self._only, info),), named=True)
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
            kept = [self._followed(info) for info in found if self._is_ours(path, info)]
            waiting += [info["name"] for info in reversed(kept) if info["type"] == "directory"]
            entries = tuple(
                _entry(self._relative(info["name"]), info)
                for info in kept
                if info["type"] == "file"
            )
            if entries:
                yield Folder(name, entries)

    def _is_ours(self, folder: str, info: dict[str, Any]) -> bool:
        """Return whether to look at a thing: hidden ones are not, nor links back upwards."""
        if posixpath.basename(info["name"].rstrip("/")).startswith("."):
            return False
        if info["name"].rstrip("/") == folder.rstrip("/"):  # object stores list the folder itself
            return False
        return not info.get("islink") or not leads_back(Path(info["name"]))

    def _followed(self, info: dict[str, Any]) -> dict[str, Any]:
        """Return the description of what a link leads to, under the link's own name."""
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
        found = _FolderContent()
        # What a fetch left out is read with each of them; once it came they are others.
        notes = [entry for entry in folder.entries if posixpath.basename(entry.name) == NOTE]
        for entry in folder.entries:
            head = b"" if entry.error else unpacked_head(self._head(entry), HEAD_BYTES)
            if found.add(entry, head, strict=folder.named):
                yield Group(entry.name, (entry, *_voxels_of(head, entry, folder), *notes))
        yield from found.lost_alone()
        for entries in found.series():
            alone = len(found.by_uid) == 1 and len(entries) > 1
            whole = posixpath.basename(self._root) if folder.name == "." else folder.name
            place = whole if alone else entries[0].name
            error = next((f"{entry.name}: {entry.error}" for entry in entries if entry.error), "")
            yield Group(place, (*entries, *notes), error)

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
        path: Path of the list, see `read_list`.

    Raises:
        OptionError: If the list can't be read.
    """

    def __init__(self, files: Any, path: str) -> None:
        super().__init__(files, posixpath.dirname(path))
        self._list = path
        next(self._rows(), None)  # a list without that column fails at once

    def folders(self) -> Iterator[Folder]:
        """Yield what the list names; neighbors of one folder together; see `Store.folders`."""
        for parent, rows in itertools.groupby(self._rows(), _parent):
            entries: dict[str, FileEntry] = {}
            for row in rows:
                if row.fault:
                    yield Folder(row.place, error=row.fault)
                    continue
                try:
                    name, info = self._found(row.path)
                except Exception as error:  # noqa: BLE001 - whatever a driver raises
                    if not row.is_comment:
                        place = f"{row.place}: {row.path}"
                        yield Folder(place, error=self._reason(row.path, error))
                    continue
                if info["type"] != "directory":
                    entries[name] = _entry(name, info)
                elif not self._holds_scan(name):
                    place = f"{row.place}: {row.path}"
                    yield Folder(place, error="no picture, NIfTI or DICOM file in it")
                else:
                    yield from self._below(self._path(name))
            if entries:
                named = sorted(entries.values(), key=lambda entry: entry.name)
                yield Folder(parent or ".", tuple(named), named=True)

    def _rows(self) -> Iterator[ListRow]:
        """Yield the rows, their paths relative to the list's folder."""
        for row in read_list(self._files, self._list):
            yield replace(row, path=self._tidy(row.path)) if row.path else row

    def _found(self, name: str) -> tuple[str, dict[str, Any]]:
        """Return a name under which there is something, and what it is."""
        try:
            return name, self._files.info(self._path(name))
        except FileNotFoundError:
            if "\\" not in name:
                raise
        # As Windows writes it; elsewhere a backslash may be part of a name.
        name = self._tidy(PureWindowsPath(name).as_posix())
        return name, self._files.info(self._path(name))

    def _reason(self, name: str, error: Exception) -> str:
        if not isinstance(error, FileNotFoundError):
            return _in_words(error)
        path = self._path(name)
        if not self._is_local:
            return "no such file or folder"
        return str(missing_target(Path(path))).removeprefix(f"{path}: ")

    def _holds_scan(self, name: str) -> bool:
        """Return whether a folder that the list names gives anything to score or to report."""
        for folder in self._below(self._path(name)):
            if folder.error or next(super().groups(folder), None) is not None:
                return True
        return False

    def _tidy(self, name: str) -> str:
        """Return a path relative to the list's folder."""
        if "://" in name:  # fsspec's own way; a bucket has no sign before it
            name = f"/{self._files._strip_protocol(name).lstrip('/')}"
        root = f"/{self._root.lstrip('/')}"
        return posixpath.relpath(posixpath.join(root, name), root)


def _parent(row: ListRow) -> str:
    return posixpath.dirname(row.path)


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


def _is_slice(entry: FileEntry, patterns: Collection[tuple[str, str]]) -> bool:
    """Return whether a file that can't be read may be a slice of a series beside it."""
    named_so = entry.name.lower().endswith(DICOM_SUFFIXES) or name_pattern(entry.name) in patterns
    return bool(patterns) and (named_so or not entry.error)


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
    mark, error = str(next(filter(None, marks), "")), str(info.get("error", ""))
    return FileEntry(name, int(info.get("size") or 0), mark, error)
