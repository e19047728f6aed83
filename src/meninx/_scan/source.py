"""Read bytes from a file or an entry of an archive, undo gzip, and translate decoders' errors."""

import gzip
import re
import shutil
import textwrap
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path, PurePosixPath
from typing import Protocol, cast

from meninx._errors import InputError, LimitExceeded, UnreadableFile, printable
from meninx._scan.completeness import Incomplete
from meninx._scan.limits import MIB, Limits
from meninx._scan.walking import missing_target
from meninx._system_errors import is_disk_full

# Decoders' messages can run to a page of advice to programmers.
LONGEST_DETAIL = 120
# Memory addresses in messages differ from run to run.
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
GZIP_MAGIC = b"\x1f\x8b"
# CRC-32 and size (RFC 1952).
_GZIP_TRAILER_BYTES = 8
# Number of stored bytes from which the kind of a file is found.
SNIFFED_BYTES = 1024
CHUNK = 16 * MIB
# Called with the error of each unusable scan.
OnError = Callable[[InputError], None]


class Container(Protocol):
    """An open zip or tar."""

    @property
    def incomplete(self) -> tuple[Incomplete, ...]:
        """Counts of what is missing of the archive."""

    def open(self, entry: str) -> BufferedIOBase:
        """Open an entry by its name in the archive."""

    def size(self, entry: str) -> int | None:
        """Return the size of an entry, bytes; None if it is missing or may not be read."""


@dataclass(frozen=True)
class Source:
    """A readable file, or an entry of a zip or tar; gzip is undone.

    Args:
        name: Name for the user; made printable.
        path: File, or the archive of the entry.
        size: Stored size, bytes.
        entry: Name in the archive; empty for a file on disk.
        container: Open archive: parsing its directory for each entry would take quadratic time.
        labels: Whether it is read as a mask: its voxels are labels and no intensities.
    """

    name: str
    path: Path
    size: int
    entry: str = ""
    container: Container | None = None
    labels: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", printable(self.name))

    @property
    def incomplete(self) -> tuple[Incomplete, ...]:
        """Counts of what is missing of the archive."""
        return () if self.container is None else self.container.incomplete

    def sniffed(self, limits: Limits) -> bytes:
        """Return the first bytes, from which the kind of the file is found.

        Args:
            limits: Largest file that is read.

        Returns:
            The first bytes, without gzip.

        Raises:
            LimitExceeded: If the file is larger.
            UnreadableFile: If the disk or the archive can't be read.
        """
        with self._opened(limits) as file:
            return unpacked_head(file.read(SNIFFED_BYTES))

    def read(self, limits: Limits) -> bytes:
        """Return all bytes.

        Args:
            limits: Largest file that is read, and the largest ratio of unpacked to packed bytes.

        Returns:
            Bytes of the file or entry, unpacked.

        Raises:
            LimitExceeded: If there are more bytes, or far more than were packed.
            UnreadableFile: If the disk or the archive can't be read.
        """
        with self._opened(limits) as file:
            if _is_packed(file):
                return bytes(_unpacked(file, limits.file_bytes + 1, self, limits))
            data = file.read(self.size)
            if len(data) < self.size:
                raise UnreadableFile(
                    f"truncated: {len(data):,} of {self.size:,} bytes; copy or pack it again"
                )
            return data

    def head(self, count: int, limits: Limits) -> bytes:
        """Return the first `count` bytes.

        Args:
            count: Largest number of bytes. If the file has fewer, the checksums of gzip and zip are
                verified.
            limits: Largest file that is read.

        Returns:
            The beginning of the file or entry, unpacked; a bomb stops there.

        Raises:
            LimitExceeded: If the file is larger.
            UnreadableFile: If the disk or the archive can't be read, or a checksum is wrong.
        """
        with self._opened(limits) as file:
            return bytes(_unpacked(file, count)) if _is_packed(file) else file.read(count)

    def beside(self, name: str) -> "Source | None":
        """Return another file of the same folder.

        Args:
            name: Name of the file without a folder, except `./`.

        Returns:
            The file; None if there is none.

        Raises:
            UnreadableFile: If the name leads to another folder, because a header may name any file
                on disk; or if the file is a broken link.
        """
        inside = PurePosixPath(name.replace("\\", "/"))
        if len(inside.parts) != 1 or inside.name in ("", "..") or ":" in name:
            raise UnreadableFile(
                "the header names a data file outside its own folder; put both into one folder, "
                "and only the file's name into the header",
                place=self.name,
                reason="unsafe_path",
            )
        folder, slash, _ = self.name.rpartition("/")
        shown = f"{folder}{slash}{inside.name}"
        if self.container is not None:
            entry = str(PurePosixPath(self.entry).with_name(inside.name))
            size = self.container.size(entry)
            return size if size is None else Source(shown, self.path, size, entry, self.container)
        path = self.path.with_name(inside.name)
        if path.is_symlink() and not path.exists():
            raise missing_target(path)
        if not path.is_file():
            return None
        return Source(shown, path, path.stat().st_size)

    def copy_to(self, target: Path, limits: Limits) -> None:
        """Copy the stored bytes to a file.

        Args:
            target: File to write; overwritten if it exists.
            limits: Largest file that is read.

        Raises:
            LimitExceeded: If the file is larger.
            UnreadableFile: If the disk or the archive can't be read.
        """
        with self._opened(limits) as file, target.open("wb") as out:
            shutil.copyfileobj(file, out)

    @contextmanager
    def _opened(self, limits: Limits) -> Iterator[BufferedIOBase]:
        limits.check("bytes", self.size, "file_bytes", self.name)
        with reading(self.name, "the file"):
            opened: AbstractContextManager[BufferedIOBase] = (
                self.path.open("rb") if self.container is None else self.container.open(self.entry)
            )
            with opened as file:
                yield file


def unpacked_head(head: bytes, max_bytes: int = SNIFFED_BYTES) -> bytes:
    """Return the beginning of a file without gzip around it.

    Args:
        head: First bytes of the file, as stored.
        max_bytes: Largest number of bytes to return, unpacked.

    Returns:
        The unpacked bytes; the same bytes if they are not gzip or can't be unpacked.
    """
    if not head.startswith(GZIP_MAGIC):
        return head
    # The kind of a small file is found even if its checksum is wrong; reading it reports that.
    for beginning in (head, head[:-_GZIP_TRAILER_BYTES]):
        with suppress(zlib.error):
            return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(beginning, max_bytes) or head
    return head


def check_ratio(unpacked: float, packed: float, limits: Limits, place: str = "") -> None:
    """Check the ratio of unpacked to packed bytes.

    Args:
        unpacked: Unpacked size, bytes.
        packed: Packed size, bytes.
        limits: Largest ratio of unpacked to packed bytes.
        place: Name of the file, for the message.

    Raises:
        LimitExceeded: If the ratio is larger.
    """
    ratio = unpacked / max(packed, 1)
    # Below a megabyte no ratio is harmful, and short runs of zeros compress very well.
    if unpacked > MIB and ratio > limits.zip_ratio:
        raise LimitExceeded(
            f"unpacks to {ratio:,.0f} times its size, the limit is {limits.zip_ratio:,.0f} "
            "(limits.zip_ratio)",
            place=place,
        )


def _is_packed(file: BufferedIOBase) -> bool:
    # Files on disk, in zips and in tars all have `peek`, but their common base class does not.
    return bool(cast("gzip.GzipFile", file).peek(2)[:2] == GZIP_MAGIC)


def _unpacked(
    file: BufferedIOBase, count: int, whole: Source | None = None, limits: Limits | None = None
) -> bytearray:
    """Return at most the first `count` bytes of gzip data; check the limits of a whole file."""
    parts = bytearray()
    with gzip.GzipFile(fileobj=file) as unpacked:
        while len(parts) < count:
            part = _unpacked_part(unpacked, min(count - len(parts), CHUNK))
            if not part:
                break
            parts += part
            if whole is not None and limits is not None:
                limits.check("bytes unpacked", len(parts), "file_bytes", whole.name)
                check_ratio(len(parts), whole.size, limits, whole.name)
    return parts


def _unpacked_part(unpacked: gzip.GzipFile, count: int) -> bytes:
    """Return at most the next `count` bytes; checksum and length are verified at the end."""
    try:
        return unpacked.read(count)
    except EOFError as error:
        raise UnreadableFile("truncated: the gzip data end too early; copy it again") from error
    except gzip.BadGzipFile as error:
        what = (
            "bytes follow the end of the gzip data"
            if "Not a gzipped" in str(error)
            else "the gzip data do not match their checksum or length"
        )
        raise UnreadableFile(f"{what}; copy or pack it again") from error


@contextmanager
def reading(place: str, what: str) -> Iterator[None]:
    """Translate decoders' errors into `UnreadableFile`, and add the place to errors.

    Args:
        place: Name of the file or series, for the user.
        what: Name of what is being read, such as "the DICOM header".

    Raises:
        LimitExceeded: If a disk is full.
        UnreadableFile: For all other exceptions: Pillow, nibabel, pydicom and its plugins do not
            document which exceptions invalid bytes cause.
    """
    try:
        yield
    except InputError as error:
        if error.place:
            raise
        raise type(error)(str(error), place=place, reason=error.reason) from error
    except Exception as error:
        if is_disk_full(error):
            raise LimitExceeded(
                "disk full: no space to unpack the file; free some, or set TMPDIR to another disk",
                place=place,
                reason="disk_full",
            ) from error
        detail = _ADDRESS.sub("", textwrap.shorten(str(error), LONGEST_DETAIL, placeholder=" ..."))
        raise UnreadableFile(
            f"{what} can't be read ({type(error).__name__}: {detail}); the file is damaged, "
            "incomplete or not what its name says",
            place=place,
        ) from error
