"""Units of work, small enough to send millions between processes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from meninx._archive.entries import FileEntry, Folder, Group
from meninx._archive.store import Store
from meninx._archive.table import Done, short_hash


@dataclass(frozen=True)
class Unit:
    """Files that are scored together, and what identifies them.

    Args:
        place: Path of the files, relative to the archive.
        names: Names of the files, relative to the archive.
        bytes: Size of all files together, bytes; -1 if unknown.
        stamp: Hash that changes with the names, sizes and times of the files.
        folder: Stamp of the files' folder.
        units: Number of units in that folder.
        error: Why the folder or the files are out of reach; empty if they are not.
    """

    place: str
    names: tuple[str, ...]
    bytes: int
    stamp: str
    folder: str
    units: int
    error: str = ""

    @classmethod
    def of_json(cls, row: dict[str, Any]) -> "Unit":
        """Return a unit from its JSON object."""
        return cls(**(row | {"names": tuple(row["names"])}))


def units_of(store: Store, folder: Folder, done: Done) -> Iterator[Unit]:
    """Yield the units of a folder that are not done.

    Args:
        store: Archive that the folder belongs to.
        folder: Folder to read; none of its files is read if all of it is done.
        done: Stamps and content hashes of finished units.

    Yields:
        Units.
    """
    stamp = folder_stamp(store, folder)
    if folder.error:
        yield Unit(folder.name, (), 0, stamp, stamp, 1, folder.error)
        return
    if stamp in done:
        return
    try:
        groups = list(store.groups(folder))
    except OSError as error:
        yield Unit(folder.name, (), 0, stamp, stamp, 1, str(error))
        return
    for group in groups:
        unit = _unit(store, group, stamp, len(groups))
        if unit.stamp not in done:
            yield unit


def folder_stamp(store: Store, folder: Folder) -> str:
    """Return a hash of the archive, and of names, sizes and times of a folder's files."""
    return _stamp(store, "folder", folder.name, folder.entries)


def _unit(store: Store, group: Group, folder: str, units: int) -> Unit:
    sizes = [entry.size for entry in group.entries]
    return Unit(
        group.place,
        tuple(entry.name for entry in group.entries),
        sum(sizes) if min(sizes) >= 0 else -1,
        _stamp(store, "unit", group.place, group.entries),
        folder,
        units,
        group.error,
    )


def _stamp(store: Store, kind: str, name: str, entries: tuple[FileEntry, ...]) -> str:
    described = (f"{entry.name}\0{entry.size}\0{entry.mark}" for entry in entries)
    return short_hash(store.address, kind, name, *described)
