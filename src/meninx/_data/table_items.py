"""Read the rows of a user's table as items."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

from meninx._data.items import Item, label_of, normal_sequence, tumor_type_of
from meninx._data.manifest import Picture, extra_of, file_key, raise_faults, read_rows, stack_faults
from meninx._data.missing import listed
from meninx._data.persons import known_person
from meninx._data.progress import Report
from meninx._data.rows import Row, parse_row
from meninx._data.tables import NamedFiles, truth_of
from meninx._errors import DataError
from meninx._labels import TYPE_NAMES
from meninx._scan.kinds import PICTURE_SUFFIXES
from meninx._scan.walking import missing_target

log = logging.getLogger(__name__)


def read_table_items(
    path: Path, named: Mapping[str, str], report: Report = log.warning
) -> list[Item]:
    """Return the rows of a user's table as items.

    Args:
        path: CSV file.
        named: Label of each folder name that the user gave a label.
        report: Called with a sentence about cells that were taken as empty or do not count, and
            about rows that were joined.

    Returns:
        One item for each file and mask.

    Raises:
        DataError: If the table is empty or contradicts itself, as by two rows about one file, or
            nothing labels its pictures.
    """
    rows = read_rows(path, path.read_bytes(), ["picture"], report)
    if not rows:
        raise DataError(f"{path}: it lists no picture; expected a row for each")
    label = "" if {"tumor", "tumor_type"} & set(rows[0]) else _label_of_table(path, named)
    faults: list[str] = []
    files = NamedFiles(path.parent)
    items = [
        _item_of(row, path, files, label, f"line {line}", faults)
        for line, row in enumerate(rows, 2)
    ]
    items = _without_repeats(items, path, faults, report)
    raise_faults(path, faults + stack_faults(items))
    return items


def _without_repeats(
    items: Sequence[Item], path: Path, faults: list[str], report: Report
) -> list[Item]:
    """Return one item for all rows about one file and mask, and report what was joined.

    Rows that contradict each other about a file are faults. Columns for subgroups, such as the
    number of a lesion, contradict nothing: those of the first row count.
    """
    files: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, item in enumerate(items):
        masks = files[file_key(item.path)]
        before = next(iter(masks.values()))[0] if masks else index
        if differing := _contradictions(items[before], item):
            faults.append(
                f"line {index + 2}: {item.path} is listed before, in line {before + 2}, with "
                f"another {' and '.join(differing)}; keep the right one"
            )
        else:
            masks[file_key(item.mask) if item.mask else ""].append(index)
    joined = [list(masks.values()) for masks in files.values()]
    for sentence in [
        *_repeats(items, [rows for masks in joined for rows in masks]),
        *_several_masks(items, joined),
    ]:
        report(f"{path}: {sentence}")
    return [item for masks in joined for item in _joined(items, masks)]


def _contradictions(before: Item, item: Item) -> list[str]:
    """Return the names of what two rows about one file say differently.

    Several masks may be several lesions or readers, and several slices of a volume are one volume.
    """
    free = {"path", "extra", "mask"} | (set() if _is_picture(item) else {"position"})
    names = [field.name for field in fields(Item) if field.name not in free]
    differing = [name for name in names if getattr(before, name) != getattr(item, name)]
    return ["slice" if name == "position" else name for name in differing]


def _is_picture(item: Item) -> bool:
    return item.path.suffix.lower() in PICTURE_SUFFIXES


def _joined(items: Sequence[Item], masks: Sequence[Sequence[int]]) -> list[Item]:
    """Return an item for each mask of a file; several slices of a volume are the whole volume.

    Args:
        items: The item of each row.
        masks: Positions of the rows with each of the file's masks.

    Returns:
        The items.
    """
    firsts = [items[rows[0]] for rows in masks]
    if len({items[index].position for rows in masks for index in rows}) == 1:
        return firsts
    return [replace(item, position=None, stack="") for item in firsts]


def _repeats(items: Sequence[Item], joined: Sequence[Sequence[int]]) -> list[str]:
    """Return sentences on rows that were joined with another one.

    Args:
        items: The item of each row.
        joined: Positions of the rows of each file and mask.

    Returns:
        The sentences.
    """
    same: list[str] = []
    differing: set[str] = set()
    rows = 0
    for indices in joined:
        before, *later = (items[index] for index in indices)
        further = {name for item in later for name in _differing_extras(before, item)}
        if further:
            rows += len(indices)
            differing.update(further)
        else:
            same += [f"line {index + 2} ({before.path.name})" for index in indices[1:]]
    said = [f"rows that repeat another one are left out: {listed(same)}"] if same else []
    if differing:
        said.append(
            f"{rows} rows about the same files, which differ only in "
            f"{', '.join(sorted(differing))}: each file counts once, with the cells of its first "
            "row"
        )
    return said


def _differing_extras(before: Item, item: Item) -> list[str]:
    """Return the names of columns that two rows about one file and mask fill differently."""
    names = [name for name in item.extra if before.extra.get(name) != item.extra[name]]
    return names if before.position == item.position else ["slice", *names]


def _several_masks(items: Sequence[Item], joined: Sequence[Sequence[Sequence[int]]]) -> list[str]:
    """Return a sentence if files have several masks, each of which is an item of its own."""
    several = [items[masks[0][0]].path.name for masks in joined if len(masks) > 1]
    if not several:
        return []
    return [
        f"{len(several)} files are listed with several masks, and count once with each: "
        f"{listed(several)}. If these are several lesions, put them into one mask"
    ]


def _label_of_table(path: Path, named: Mapping[str, str]) -> str:
    """Return the label that the folder of a table without labels gives to all its pictures."""
    name = path.resolve().parent.name
    label = named.get(name.lower()) or label_of(name)
    if label is None:
        raise DataError(
            f"{path}: no column `tumor` or `tumor_type`, and its folder's name, {name!r}, says "
            f"neither tumor nor no tumor; add a column, or say it with --label "
            f"{name}=none|unknown|{'|'.join(TYPE_NAMES)}"
        )
    return label


def _item_of(
    row: dict[str, str], path: Path, files: NamedFiles, label: str, place: str, faults: list[str]
) -> Item:
    """Return one row of a user's table as an item, and append its faults to `faults`."""
    file = files(row["picture"])
    mask = files(row["mask"]) if row.get("mask") else None
    typed = _typed_row(row, label, place, faults)
    faults += [_missing(place, path) for path in (file, mask) if path and not path.exists()]
    exam = _cell(row, "person")
    return Item(
        file,
        tumor=typed.tumor,
        tumor_type=tumor_type_of(typed.tumor_type),
        mask=mask,
        # Well-known collections name the time point too: two exams are two stacks of one person.
        person=known_person(exam or row["picture"]) or exam,
        site=_cell(row, "site" if "site" in row else "source"),
        sequence=normal_sequence(_cell(row, "sequence")),
        stack=_stack_of(row, typed.slice),
        position=typed.slice,
        gap_mm=typed.gap_mm,
        group=row.get("group", ""),
        fold=typed.fold,
        split=row.get("split", ""),
        source=row.get("source") or path.resolve().parent.name,
        extra=extra_of(row),
    )


def _cell(row: Mapping[str, str], name: str) -> str:
    """Return the text of a cell; empty where the table has no such column."""
    return row.get(name, "").strip()


def _typed_row(row: Mapping[str, str], label: str, place: str, faults: list[str]) -> Row:
    """Return the typed cells of a row, and append their faults to `faults`."""
    tumor, kind = _truth_and_kind(_cell(row, "tumor"), label or _cell(row, "tumor_type").lower())
    return parse_row(
        {
            "picture": row["picture"],
            "tumor": tumor,
            "tumor_type": kind or ("unknown" if tumor == "1" else "none"),
            "fold": _cell(row, "fold") or "0",
            "slice": _cell(row, "slice"),
            "gap_mm": _cell(row, "gap_mm"),
        },
        place,
        faults,
    )


def _stack_of(row: Mapping[str, str], position: int | None) -> str:
    """Return the name of a row's stack, else of the series of an exam with numbered slices."""
    stack, exam, sequence = (_cell(row, name) for name in ("stack", "person", "sequence"))
    if stack or not exam or position is None:
        return stack
    # An unknown word still distinguishes two sequences of a person.
    return f"{exam}/{normal_sequence(sequence) or sequence}"


def _missing(place: str, path: Path) -> str:
    if path.is_symlink():
        return f"{place}: {missing_target(path)}"
    return f"{place}: {path} does not exist"


def _truth_and_kind(tumor: str, kind: str) -> tuple[str, str]:
    """Return the truth of a row, `1` or `0`, and its type; other texts are returned unchanged.

    Args:
        tumor: Cell of the column `tumor`: yes or no in any form, or the name of a type.
        kind: Cell of the column of types, or the label of the whole table.

    Returns:
        Texts for `tumor` and `tumor_type`.
    """
    truth = truth_of(tumor)
    kind = _label_in_words(kind) or kind
    label = None if kind else _label_in_words(tumor)
    if truth not in ("0", "1", "") and label is not None:
        return ("0" if label == "none" else "1"), label
    return truth or {"": "", "none": "0"}.get(kind, "1"), kind


def _label_in_words(cell: str) -> str | None:
    """Return the label that the words of a cell name.

    A number other than 0 and 1 names no class, and a question mark says that it is uncertain.
    """
    return label_of(cell) if any(map(str.isalpha, cell)) and "?" not in cell else None


def read_rows_of_table(table: Path) -> list[Picture]:
    """Return a user's table as rows of a manifest, without looking for copies.

    Args:
        table: CSV file with the columns `picture` and `tumor` or `tumor_type`.

    Returns:
        One row per picture or volume, each in a group of its own and in no fold.

    Raises:
        DataError: If the table contradicts itself.
    """
    rows = []
    for item in read_table_items(table, {}):
        name = item.path.relative_to(table.parent).as_posix()
        rows.append(picture_of(item, name, name))
    return rows


def picture_of(item: Item, name: str, group: str) -> Picture:
    """Return an item as a row of a manifest, without what has to be measured."""
    return Picture(
        id=name,
        picture=item.path,
        mask=item.mask,
        tumor=bool(item.tumor),
        tumor_type=item.tumor_type,
        group=group,
        fold=item.fold,
        source=item.source,
        person=item.person,
        site=item.site,
        sequence=item.sequence,
        stack=item.stack,
        position=item.position,
        gap_mm=item.gap_mm,
        extra=item.extra,
    )
