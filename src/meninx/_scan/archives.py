"""Open zips and tars, and check their entries before any is unpacked."""

import bz2
import gzip
import lzma
import os
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path, PurePosixPath
from typing import IO, cast

from meninx._errors import InputError, UnreadableFile, UnsupportedScan
from meninx._scan.completeness import Incomplete
from meninx._scan.kinds import BZIP2_MAGIC, XZ_MAGIC, is_tar, zipfile_magic
from meninx._scan.limits import MIB, Limits
from meninx._scan.source import (
    CHUNK,
    GZIP_MAGIC,
    SNIFFED_BYTES,
    OnError,
    Source,
    check_ratio,
    reading,
    unpacked_head,
)

_ENCRYPTED_FLAG = 0x1
# Methods that Python unpacks (PKWARE APPNOTE 4.4.5): stored, deflated, bzip2, LZMA.
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
Packed = gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile
_PACKERS: dict[bytes, Callable[[IO[bytes]], Packed]] = {
    GZIP_MAGIC: lambda file: gzip.GzipFile(fileobj=file),
    BZIP2_MAGIC: bz2.BZ2File,
    XZ_MAGIC: lzma.LZMAFile,
}


@dataclass(frozen=True)
class _Entry:
    """An entry of an archive, as listed in its directory.

    Args:
        name: Name in the directory.
        size: Size unpacked, bytes.
        stored: Size in the archive, bytes.
        fault: Why the entry can't be read; None if it can.
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
    """Return an entry's name with `/` between its parts and without `./`."""
    return str(PurePosixPath(name.replace("\\", "/")))


class _Zip:
    """An open zip."""

    # A truncated zip lacks its directory, which is at the end, and can't be opened at all.
    incomplete: tuple[Incomplete, ...] = ()

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._infos: dict[str, zipfile.ZipInfo] = {}
        for info in archive.infolist():
            if not info.is_dir():
                self._infos[self._free(_plain(info.filename))] = info
        self.entries = [self._entry(name, info) for name, info in self._infos.items()]

    def _free(self, name: str) -> str:
        """Return a name that no entry has yet: a flattened zip has many of one name."""
        path, number = PurePosixPath(name), 1
        while name in self._infos:
            number += 1
            name = str(path.with_name(f"{number}-{path.name}"))
        return name

    @staticmethod
    def _entry(name: str, info: zipfile.ZipInfo) -> _Entry:
        fault: InputError | None = None
        if info.flag_bits & _ENCRYPTED_FLAG:
            fault = UnreadableFile(
                "encrypted; unpack it with its password first", reason="encrypted"
            )
        elif _is_link(info):
            fault = _link_fault("zip without -y (--symlinks)")
        elif info.compress_type not in _ZIP_METHODS:
            fault = UnsupportedScan(
                f"packed by method {info.compress_type} of zip, which is not read; unpack it first",
                reason="other_format",
            )
        return _Entry(name, info.file_size, info.compress_size, fault)

    def open(self, entry: str) -> BufferedIOBase:
        """Open an entry by its name in the archive."""
        return cast("BufferedIOBase", self._archive.open(self._infos[entry]))

    def size(self, entry: str) -> int | None:
        """Return the size of an entry, bytes; None if it is missing or may not be read."""
        info = self._infos.get(entry)
        if info is None or info.flag_bits & _ENCRYPTED_FLAG or _is_link(info):
            return None
        return info.file_size


def _is_link(info: zipfile.ZipInfo) -> bool:
    """Return whether an entry of a zip is a symbolic link, which may lead out of the archive."""
    return stat.S_ISLNK(info.external_attr >> 16)


def _link_fault(how: str) -> UnreadableFile:
    return UnreadableFile(
        f"a link or a device, which may lead anywhere; pack the file itself: {how}",
        reason="unsafe_path",
    )


class _Tar:
    """An open tar, after decompression.

    Args:
        archive: Open tar.
        limits: Largest number of entries.
        place: Name of the archive, for messages.
        is_cut: Whether the compressed data were truncated.
    """

    def __init__(
        self, archive: tarfile.TarFile, limits: Limits, place: str, *, is_cut: bool
    ) -> None:
        self._archive = archive
        self._members: dict[str, tarfile.TarInfo] = {}
        self.incomplete: tuple[Incomplete, ...] = ()
        count = 0
        has_end = False
        with suppress(tarfile.ReadError):  # raised if a member is truncated
            for count, member in enumerate(archive, 1):
                limits.check("entries", count, "zip_entries", place)
                # The last entry of a name counts, as when tar unpacks.
                if not member.isdir():
                    self._members[_plain(member.name)] = member
            has_end = self._has_end()
        if not count and not has_end:
            raise UnreadableFile("none of its entries can be read; copy or pack it again")
        if is_cut or not has_end:
            self.incomplete = (Incomplete("end-of-archive marks", 1, 0),)
        size = self._file().seek(0, os.SEEK_END)
        self.entries = [self._entry(member, size) for member in self._members.values()]

    def _file(self) -> IO[bytes]:
        return cast("IO[bytes]", self._archive.fileobj)

    def _has_end(self) -> bool:
        """Return whether the tar is complete: it ends with a block of zeros and only zeros follow.

        tarfile regards the first block without a valid header as the end.

        References:
            POSIX.1-2017 pax, ustar interchange format.
        """
        file = self._file()
        file.seek(self._archive.offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            return False
        return not any(any(chunk) for chunk in iter(lambda: file.read(MIB), b""))

    @staticmethod
    def _entry(member: tarfile.TarInfo, end: int) -> _Entry:
        """Return a member of a tar with `end` bytes."""
        fault = None
        if not member.isreg():
            fault = _link_fault("tar --dereference --hard-dereference")
        holes = cast("list[tuple[int, int]] | None", getattr(member, "sparse", None))
        stored = member.size if holes is None else sum(size for _, size in holes)
        if fault is None and member.offset_data + stored > end:
            received = max(end - member.offset_data, 0)
            fault = UnreadableFile(
                f"truncated with its archive: {received:,} of {stored:,} bytes; copy or pack it "
                "again"
            )
        return _Entry(_plain(member.name), member.size, stored, fault)

    def open(self, entry: str) -> BufferedIOBase:
        """Open an entry by its name in the archive."""
        return cast("BufferedIOBase", self._archive.extractfile(self._members[entry]))

    def size(self, entry: str) -> int | None:
        """Return the size of an entry, bytes; None if it is missing or may not be read."""
        member = self._members.get(entry)
        return member.size if member is not None and member.isreg() else None


def archive_entries(
    path: Path, limits: Limits, report: OnError, opened: ExitStack
) -> list[Source] | None:
    """Return the files of a zip or tar, by name, after checking each.

    Args:
        path: File that may be a zip or tar.
        limits: Largest numbers of entries and bytes, and ratio of unpacked to packed bytes.
        report: Called with the error of each entry that may not be read.
        opened: Stack that closes the archive at the end.

    Returns:
        Files without hidden ones; None if the path is not an archive.

    Raises:
        InputError: If the archive is damaged, or exceeds the limits.
    """
    container = _container_of(path, limits, opened)
    if container is None:
        return None
    if container.incomplete:
        report(
            UnreadableFile(
                "truncated or damaged: the archive has no end, so files may be missing; copy or "
                "pack it again",
                place=str(path),
            )
        )
    entries = container.entries
    limits.check("entries", len(entries), "zip_entries", str(path))
    limits.check("bytes unpacked", sum(entry.size for entry in entries), "zip_bytes", str(path))
    sources = []
    for entry in sorted(entries, key=lambda entry: entry.name):
        shown = f"{path}/{entry.name}"
        if any(map(is_hidden, entry.parts)):
            continue
        try:
            _check(entry, shown, limits)
        except InputError as error:
            report(error)
        else:
            sources.append(Source(shown, path, entry.size, entry.name, container))
    return sources


def _container_of(path: Path, limits: Limits, opened: ExitStack) -> _Zip | _Tar | None:
    """Open a zip or tar; return None for other files."""
    with reading(str(path), "the file"), path.open("rb") as file:
        stored = file.read(SNIFFED_BYTES)
    head, name = unpacked_head(stored), path.name.lower()
    if zipfile_magic(stored):
        with reading(str(path), "the zip"):
            try:
                return _Zip(opened.enter_context(zipfile.ZipFile(path)))
            except zipfile.BadZipFile as error:
                raise UnreadableFile(
                    "truncated or damaged: the directory at the end of the zip is missing; copy it "
                    "again"
                ) from error
    if is_tar(head, name) or (name.endswith(".tar") and stored):
        with reading(str(path), "the tar"):
            file = opened.enter_context(path.open("rb"))
            plain, is_cut = _decompressed(file, stored, limits, path, opened)
            archive = opened.enter_context(tarfile.TarFile(fileobj=plain))
            return _Tar(archive, limits, str(path), is_cut=is_cut)
    return None


def is_hidden(part: str) -> bool:
    """Return whether a folder or file is hidden, including the metadata that macOS adds."""
    return (part.startswith(".") and part != "..") or part == "__MACOSX"


def _decompressed(
    file: IO[bytes], head: bytes, limits: Limits, path: Path, opened: ExitStack
) -> tuple[IO[bytes], bool]:
    """Return a decompressed tar, in a temporary file if needed, and whether it is truncated.

    The beginning of a truncated tar is used; the checksum of a complete one is verified.
    """
    packer = next((kind for magic, kind in _PACKERS.items() if head.startswith(magic)), None)
    if packer is None:
        return file, False
    plain = opened.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - closed by the caller
    size, done, is_cut = path.stat().st_size, 0, True
    with packer(file) as packed, suppress(EOFError):
        while part := packed.read1(CHUNK):
            done += len(part)
            limits.check("bytes unpacked", done, "zip_bytes", str(path))
            check_ratio(done, size, limits, str(path))
            plain.write(part)
        is_cut = False
    plain.seek(0)
    return plain, is_cut


def _check(entry: _Entry, place: str, limits: Limits) -> None:
    """Check one entry.

    Args:
        entry: Entry from the archive's directory.
        place: Name of the entry, for messages.
        limits: Largest ratio of unpacked to packed bytes.

    Raises:
        UnreadableFile: If it is encrypted, a link, or its path leaves the archive's folder.
        LimitExceeded: If it unpacks to far more bytes than it has.
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
