"""Find the items of data sets, measure them, and find duplicates among them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

from meninx._data.duplicates import Duplicates, find_duplicates
from meninx._data.facts import PictureFacts, measure_pictures, sha256_of
from meninx._data.folders import find_items, parse_labels
from meninx._data.folds import connected, keys_of
from meninx._data.items import Item
from meninx._data.manifest import MANIFEST_NAME, file_key
from meninx._data.missing import listed
from meninx._data.person_names import person_key, spellings_of
from meninx._data.progress import Progress, Report, silent
from meninx._data.table_items import read_table_items
from meninx._errors import DataError
from meninx._scan.kinds import PICTURE_SUFFIXES


@dataclass(frozen=True)
class Survey:
    """The items of a data set and their measurements.

    Args:
        names: Names of the n items: paths relative to the data, behind the collection's name where
            there are several collections.
        items: Pictures and volumes.
        facts: Facts of each item; volumes have no more than their content hash.
        duplicates: Duplicates among the items.
        notes: How folders and tables were read, a sentence each.
    """

    names: tuple[str, ...]
    items: tuple[Item, ...]
    facts: tuple[PictureFacts, ...]
    duplicates: Duplicates
    notes: tuple[str, ...] = ()

    @property
    def clusters(self) -> list[int]:
        """For each item the first item that it shares a slice, a group or a person with."""
        return connected(
            [
                keys_of(
                    # Unreadable files are not duplicates of each other.
                    cluster="" if facts.error else str(cluster),
                    group=item.group,
                    person=item.person,
                    stack=item.stack,
                )
                for cluster, item, facts in zip(
                    self.duplicates.cluster, self.items, self.facts, strict=True
                )
            ]
        )


def survey(
    data: Path | Sequence[Path],
    labels: Mapping[str, str] | None = None,
    progress: Progress = silent,
    workers: int = 1,
    *,
    within_persons: bool = True,
) -> Survey:
    """Find the items of a data set, measure them, and find duplicates.

    Args:
        data: Folder of class folders or volumes, or a CSV table with the column `picture` and
            maybe `tumor` or `tumor_type`; or several of these, compared with each other too. A
            person of the same name in two of them counts as one, whatever its spelling.
        labels: Meaning of further folder names.
        progress: Called with a step, the amount done, and the total.
        workers: Processes that share the work, see `duplicates.find_duplicates`.
        within_persons: Whether to look for near copies among the pictures of one person, who is
            always in one fold anyway; among whole heads, slice by slice, it takes most of the time.

    Returns:
        The items with their facts.

    Raises:
        DataError: If nothing is found, a folder's name or a table's row gives no label, or two
            collections have a file in common.
    """
    paths = [data] if isinstance(data, Path) else list(data)
    if not paths:
        raise DataError("no data named; name a folder or a table")
    notes: list[str] = []
    found = _named_items(paths, labels, notes.append)
    names = tuple(name for name, _ in found)
    items = tuple(item for _, item in found)
    if spellings := spellings_of(item.person for item in items):
        notes.append(f"persons with several spellings count as one each: {listed(spellings)}")
    facts = _facts_of(items, progress, workers)
    duplicates = find_duplicates(
        [fact.sha256 or str(fact.path) for fact in facts],
        [fact.signature for fact in facts],
        lambda done, total: progress("comparing pairs", done, total),
        workers,
        persons=[person_key(item.person) or item.stack for item in items],
        within_persons=within_persons,
    )
    return Survey(names, items, facts, duplicates, tuple(notes))


def _facts_of(items: Sequence[Item], progress: Progress, workers: int) -> tuple[PictureFacts, ...]:
    """Return the facts of each item; of a volume, its content hash."""
    is_picture = [item.path.suffix.lower() in PICTURE_SUFFIXES for item in items]
    measured = iter(
        measure_pictures(
            list(compress((item.path for item in items), is_picture)),
            lambda done, total: progress("reading pictures", done, total),
            workers,
        )
    )
    return tuple(
        next(measured) if measurable else PictureFacts(item.path, sha256_of(item.path))
        for item, measurable in zip(items, is_picture, strict=True)
    )


def _named_items(
    paths: Sequence[Path], labels: Mapping[str, str] | None, report: Report
) -> list[tuple[str, Item]]:
    """Return the items of all collections with their names, behind the collection's if several."""
    prefixes = _collection_names(paths) if len(paths) > 1 else [""]
    collections = [
        _collection(path, prefix, labels, report)
        for path, prefix in zip(paths, prefixes, strict=True)
    ]
    # A file with several masks is there several times in one collection.
    count = Counter(
        file
        for named in collections
        for file in dict.fromkeys(file_key(item.path) for _, item in named)
    )
    if twice := [path for path, number in count.items() if number > 1]:
        raise DataError(
            f"{', '.join(map(str, paths))}: {len(twice)} files belong to two of these: "
            f"{listed(twice)}; name each once"
        )
    return [pair for named in collections for pair in named]


def _collection_names(paths: Sequence[Path]) -> list[str]:
    """Return the name of each collection's folder, numbered where several are called the same."""
    names: list[str] = []
    for path in paths:
        folder = path if path.is_dir() else path.parent
        names.append(folder.resolve().name)
    return [
        name if name not in names[:index] else f"{name}#{names[:index].count(name) + 1}"
        for index, name in enumerate(names)
    ]


def _collection(
    data: Path, prefix: str, labels: Mapping[str, str] | None, report: Report
) -> list[tuple[str, Item]]:
    """Return a collection's items with their names.

    Args:
        data: Folder or table.
        prefix: Text before names, groups and stacks, which are unique only within their
            collection; may be empty.
        labels: Meaning of further folder names.
        report: Called with a sentence on each step of reading.

    Returns:
        Pairs of a name, unique but for repeated rows, and an item.
    """
    table = data / MANIFEST_NAME if data.is_dir() else data
    items = (
        read_table_items(table, parse_labels(labels), report)
        if table.is_file()
        else find_items(data, labels, report)
    )
    root = data if data.is_dir() else data.parent
    named = []
    for item in items:
        path = item.path
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
        named.append((name, item))
    if not prefix:
        return named
    return [
        (
            f"{prefix}/{name}",
            replace(
                item,
                group=item.group and f"{prefix}/{item.group}",
                stack=item.stack and f"{prefix}/{item.stack}",
            ),
        )
        for name, item in named
    ]
