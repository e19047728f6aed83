"""Units of work, small enough to send millions between processes."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from meninx._archive.entries import FileEntry, Folder, Group
from meninx._archive.store import Store
from meninx._archive.table import Done, SplitSeries, joined_place, short_hash


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
        context: Names of files that say what else belongs to them; see `Group`.
        joined: Stamps of the folders whose parts of one series this unit joins; usually empty.
    """

    place: str
    names: tuple[str, ...]
    bytes: int
    stamp: str
    folder: str
    units: int
    error: str = ""
    context: tuple[str, ...] = ()
    joined: tuple[str, ...] = ()

    @classmethod
    def of_json(cls, row: dict[str, Any]) -> "Unit":
        """Return a unit from its JSON object."""
        return cls(**(row | {name: tuple(row[name]) for name in ("names", "context", "joined")}))


def all_units(store: Store, done: Done) -> Iterator[Unit]:
    """Yield the units of an archive's folders that are not done; see `units_of`."""
    for folder in store.folders():
        yield from units_of(store, folder, done)


def units_of(store: Store, folder: Folder, done: Done) -> Iterator[Unit]:
    """Yield the units of a folder, unless all of it is done.

    Args:
        store: Archive that the folder belongs to.
        folder: Folder to read; none of its files is read if all of it is done.
        done: Stamps and content hashes of finished units.

    Yields:
        Units; also those that are done, because the ledger has them in a folder that has changed.
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
        _stamp(store, "unit", group.place, (*group.entries, *group.context)),
        folder,
        units,
        group.error,
        tuple(entry.name for entry in group.context),
    )


def joined_units(store: Store, split: SplitSeries) -> Iterator[Unit]:
    """Yield one unit for each series whose files lie in several folders.

    Args:
        store: Archive that the folders belong to.
        split: SeriesInstanceUIDs by the stamp of a folder that holds a part; see
            `Table.split_series`.

    Yields:
        Units. A series of which other folders are not in this archive is left out.
    """
    parts: dict[str, dict[str, Group]] = defaultdict(dict)
    for folder in store.folders():
        stamp = folder_stamp(store, folder)
        if stamp not in split:
            continue
        try:
            for group in store.groups(folder):
                if group.series_uid in split[stamp]:
                    parts[group.series_uid][stamp] = group
        except OSError as error:
            yield Unit(folder.name, (), 0, stamp, stamp, 1, str(error))
    for found in parts.values():
        if len(found) > 1:
            yield _joined(store, found)


def _joined(store: Store, parts: Mapping[str, Group]) -> Unit:
    """Return the unit of a series from its parts by their folders' stamps."""
    groups = sorted(parts.values(), key=lambda group: group.place)
    # A list may name a folder and some of its files.
    entries = {entry.name: entry for group in groups for entry in group.entries}
    context = {entry.name: entry for group in groups for entry in group.context}
    error = next((group.error for group in groups if group.error), "")
    place = joined_place(group.place for group in groups)
    group = Group(place, tuple(entries.values()), error, context=tuple(context.values()))
    stamp = _stamp(store, "joined", place, (*group.entries, *group.context))
    return replace(_unit(store, group, stamp, 1), stamp=stamp, joined=tuple(parts))


def _stamp(store: Store, kind: str, name: str, entries: tuple[FileEntry, ...]) -> str:
    described = (f"{entry.name}\0{entry.size}\0{entry.mark}" for entry in entries)
    return short_hash(store.address, kind, name, *described)
