"""Archives: file trees, lists, object stores and DICOMweb services."""

import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import fsspec

from meninx._archive.entries import Folder, Group
from meninx._archive.file_store import FileStore
from meninx._archive.list_store import ListStore
from meninx._archive.lists import LISTS
from meninx._archive.web_store import WebStore
from meninx._errors import OptionError
from meninx._quiet import without_passwords


class Store(Protocol):
    """An archive of any kind."""

    @property
    def address(self) -> str:
        """Address that identifies this archive."""

    def folders(self) -> Iterator[Folder]:
        """Yield the folders, each listed when it is requested."""

    def groups(self, folder: Folder) -> Iterator[Group]:
        """Yield the groups of a folder's files, found without reading pixels.

        Args:
            folder: Folder from `folders`.

        Returns:
            Groups of its files; files that are no scans are skipped.

        Raises:
            OSError: If the first bytes of a file can't be read now: they name its series.
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
            store for fsspec (s3://bucket/prefix), or http(s)://... of a DICOMweb service.

    Returns:
        The store.

    Raises:
        OptionError: If nothing is at that address.
    """
    shown = without_passwords(source)
    if source.startswith(("http://", "https://")):
        return WebStore(source)
    try:
        # Cached listings would keep the names of the whole archive in memory.
        options = {} if "://" not in source else {"use_listings_cache": False}
        files, root = fsspec.core.url_to_fs(source, **options)
        exists = files.exists(root)
    except Exception as error:  # a driver may raise anything
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
