"""Open zips and tars: their entries are checked before any of them is unpacked."""

import bz2
import gzip
import lzma
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path, PurePosixPath
from typing import IO, cast

from meninx.errors import InputError, UnreadableFile
from meninx.scan.kinds import BZIP2_MAGIC, XZ_MAGIC, is_tar, zipfile_magic
from meninx.scan.limits import Limits
from meninx.scan.source import (
    CHUNK,
    GZIP_MAGIC,
    SNIFFED_BYTES,
    OnError,
    Source,
    check_ratio,
    reading,
    unpacked_head,
)

ENCRYPTED_FLAG = 0x1
PACKERS: dict[bytes, Callable[[IO[bytes]], IO[bytes]]] = {
    GZIP_MAGIC: lambda file: cast("IO[bytes]", gzip.GzipFile(fileobj=file)),
    BZIP2_MAGIC: lambda file: cast("IO[bytes]", bz2.BZ2File(file)),
    XZ_MAGIC: lambda file: cast("IO[bytes]", lzma.LZMAFile(file)),  # noqa: SIM115
}


@dataclass(frozen=True)
class _Entry:
    """An entry of an archive, as its directory has it.

    Args:
        name: Name in the directory.
        size: Size unpacked, bytes.
        stored: Size in the archive, bytes.
        fault: Why the entry is not read; None if it is.
    """

    name: str
    size: int
    stored: int
    fault: InputError | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """Folders and the file's name."""
        return PurePosixPath(self.name).parts


def _plain(name: str) -> str:
    """Return an entry's name without `./`, as from any system."""
    return str(PurePosixPath(name.replace("\\", "/")))


class _Zip:
    """An open zip."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        infos = [info for info in archive.infolist() if not info.is_dir()]
        self._infos = {_plain(info.filename): info for info in infos}
        self.entries = [self._entry(info) for info in infos]

    @staticmethod
    def _entry(info: zipfile.ZipInfo) -> _Entry:
        fault = None
        if info.flag_bits & ENCRYPTED_FLAG:
            fault = UnreadableFile(
                "encrypted; unpack it with its password first", reason="encrypted"
            )
        return _Entry(_plain(info.filename), info.file_size, info.compress_size, fault)

    def open(self, entry: str) -> BufferedIOBase:
        """Open an entry by its name inside."""
        return cast("BufferedIOBase", self._archive.open(self._infos[entry]))

    def size(self, entry: str) -> int | None:
        """Return an entry's bytes; None where there is no such entry that may be read."""
        info = self._infos.get(entry)
        return None if info is None or info.flag_bits & ENCRYPTED_FLAG else info.file_size


class _Tar:
    """An open tar, not packed any more.

    Args:
        archive: Tar, open.
        limits: Largest number of entries.
        place: Name of the archive, for messages.
    """

    def __init__(self, archive: tarfile.TarFile, limits: Limits, place: str) -> None:
        self._archive = archive
        self._members: dict[str, tarfile.TarInfo] = {}
        for count, member in enumerate(archive, 1):
            limits.check("entries", count, "zip_entries", place)
            # Where a name comes twice the later one counts, as where tar unpacks it.
            if not member.isdir():
                self._members[_plain(member.name)] = member
        self.entries = [self._entry(member) for member in self._members.values()]

    @staticmethod
    def _entry(member: tarfile.TarInfo) -> _Entry:
        fault = None
        if not member.isreg():
            fault = UnreadableFile(
                "a link or a device, which may lead anywhere; pack the file itself: tar "
                "--dereference --hard-dereference",
                reason="unsafe_path",
            )
        holes = cast("list[tuple[int, int]] | None", getattr(member, "sparse", None))
        stored = member.size if holes is None else sum(size for _, size in holes)
        return _Entry(_plain(member.name), member.size, stored, fault)

    def open(self, entry: str) -> BufferedIOBase:
        """Open an entry by its name inside."""
        return cast("BufferedIOBase", self._archive.extractfile(self._members[entry]))

    def size(self, entry: str) -> int | None:
        """Return an entry's bytes; None where there is no such entry that may be read."""
        member = self._members.get(entry)
        return member.size if member is not None and member.isreg() else None


def archive_entries(
    path: Path, limits: Limits, report: OnError, opened: ExitStack
) -> list[Source] | None:
    """Return the files of a zip or tar, by name, each checked before it is unpacked.

    Args:
        path: File that may be a zip or tar.
        limits: Most entries and bytes, and the largest ratio of unpacked to packed bytes.
        report: Called with the error of each entry that may not be read.
        opened: Stack that closes the archive at the end.

    Returns:
        Files; None where the path is no archive. Hidden ones are left out, as in a folder.

    Raises:
        InputError: If it is damaged, or holds more than the limits allow.
    """
    with reading(str(path), "the file"), path.open("rb") as file:
        stored = file.read(SNIFFED_BYTES)
    head, name = unpacked_head(stored), path.name.lower()
    container: _Zip | _Tar
    if zipfile_magic(stored):
        with reading(str(path), "the zip"):
            container = _Zip(opened.enter_context(zipfile.ZipFile(path)))
    elif is_tar(head, name) or (name.endswith(".tar") and stored):
        with reading(str(path), "the tar"):
            file = opened.enter_context(path.open("rb"))
            plain = _without_packing(file, stored, limits, path, opened)
            archive = opened.enter_context(tarfile.TarFile(fileobj=plain))
            container = _Tar(archive, limits, str(path))
    else:
        return None
    entries = container.entries
    limits.check("entries", len(entries), "zip_entries", str(path))
    limits.check("bytes unpacked", sum(one.size for one in entries), "zip_bytes", str(path))
    sources = []
    for entry in sorted(entries, key=lambda entry: entry.name):
        shown = f"{path}/{entry.name}"
        if any(map(_is_hidden, entry.parts)):
            continue
        try:
            _check(entry, shown, limits)
        except InputError as error:
            report(error)
        else:
            sources.append(Source(shown, path, entry.size, entry.name, container))
    return sources


def _is_hidden(part: str) -> bool:
    """Return whether a folder or file is left out; macOS keeps notes beside what it packs."""
    return (part.startswith(".") and part != "..") or part == "__MACOSX"


def _without_packing(
    file: IO[bytes], head: bytes, limits: Limits, path: Path, opened: ExitStack
) -> IO[bytes]:
    """Return a tar whose entries can be read in any order: unpacked beside, if it is packed."""
    packer = next((kind for magic, kind in PACKERS.items() if head.startswith(magic)), None)
    if packer is None:
        return file
    plain = opened.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - closed by the caller
    size, done = path.stat().st_size, 0
    with packer(file) as packed:
        while part := packed.read(CHUNK):
            done += len(part)
            limits.check("bytes unpacked", done, "zip_bytes", str(path))
            check_ratio(done, size, limits, str(path))
            plain.write(part)
    plain.seek(0)
    return plain


def _check(entry: _Entry, place: str, limits: Limits) -> None:
    """Check one entry.

    Args:
        entry: Entry from the archive's directory.
        place: Name of the entry, as the user knows it.
        limits: Largest ratio of unpacked to packed bytes.

    Raises:
        UnreadableFile: If it is encrypted, a link, or leaves the archive's own folder.
        LimitExceeded: If it would unpack to far more bytes than it has.
    """
    inside = PurePosixPath(*entry.parts)
    if inside.is_absolute() or ".." in inside.parts or ":" in entry.name[:3]:
        raise UnreadableFile(
            "the entry's path leaves the archive's own folder; make the archive again",
            place=place,
            reason="unsafe_path",
        )
    if entry.fault is not None:
        raise type(entry.fault)(str(entry.fault), place=place, reason=entry.fault.reason)
    check_ratio(entry.size, entry.stored, limits, place)
