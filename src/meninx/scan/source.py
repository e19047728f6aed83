"""Give bytes by name, whether they lie in a file or in a zip, and translate decoders' errors."""

import re
import shutil
import textwrap
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from meninx.errors import InputError, UnreadableFile, printable
from meninx.scan.limits import Limits

# Decoders' messages can run to a page of advice to programmers.
LONGEST_DETAIL = 120
# Where an object lies in memory is of no use to a reader, and differs each time.
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


@dataclass(frozen=True)
class Source:
    """Name a file, or an entry of a zip, that can be read.

    Args:
        name: As the user knows it; made printable.
        path: The file, or the zip that holds the entry.
        size: Bytes, unpacked.
        entry: Name inside the zip; None for a file of its own.
        archive: The zip, open: parsing its directory anew for each entry would take quadratic time.
    """

    name: str
    path: Path
    size: int
    entry: str | None = None
    archive: zipfile.ZipFile | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", printable(self.name))

    def read(self, limits: Limits) -> bytes:
        """Return all bytes.

        Args:
            limits: How many are allowed.

        Returns:
            The file or entry, unpacked.

        Raises:
            LimitExceeded: If there are too many.
            UnreadableFile: If the disk or the zip does not give them.
        """
        return self.head(self.size, limits)

    def head(self, count: int, limits: Limits) -> bytes:
        """Return the first `count` bytes.

        Args:
            count: How many; fewer come if there are fewer.
            limits: How many the whole may have.

        Returns:
            The beginning of the file or entry, unpacked.

        Raises:
            LimitExceeded: If the whole has too many.
            UnreadableFile: If the disk or the zip does not give them.
        """
        limits.check("bytes", self.size, "file_bytes", self.name)
        with reading(self.name, "the file"), self._open() as file:
            return file.read(count)

    def copy_to(self, target: Path) -> None:
        """Write all bytes to a file, piece by piece.

        Args:
            target: The file, made or overwritten.

        Raises:
            UnreadableFile: If the disk or the zip does not give them.
        """
        with reading(self.name, "the file"), self._open() as file, target.open("wb") as out:
            shutil.copyfileobj(file, out)

    def _open(self) -> IO[bytes]:
        if self.archive is None or self.entry is None:
            return self.path.open("rb")
        return self.archive.open(self.entry)


@contextmanager
def reading(place: str, what: str) -> Iterator[None]:
    """Translate what decoders raise into `UnreadableFile`, and give errors their place.

    Args:
        place: The file or series, as the user knows it.
        what: What is being read, in words, such as "the DICOM header".

    Raises:
        UnreadableFile: From whatever else is raised: Pillow, nibabel, pydicom and its plugins
            document no list of what bytes that lie make them raise.
    """
    try:
        yield
    except InputError as error:
        if error.place:
            raise
        raise type(error)(str(error), place=place, reason=error.reason) from error
    except Exception as error:
        detail = ADDRESS.sub("", textwrap.shorten(str(error), LONGEST_DETAIL, placeholder=" ..."))
        raise UnreadableFile(
            f"{what} can't be read ({type(error).__name__}: {detail}); the file is damaged, "
            "incomplete or not what its name says",
            place=place,
        ) from error
