"""Turn what a user has, class folders, volumes or a table, into one manifest with fair folds."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from meninx._data.duplicates import Duplicates, find_duplicates
from meninx._data.facts import PictureFacts, measure_pictures, sha256_of
from meninx._data.fold_rules import FoldRule, apply_fold_rules
from meninx._data.folders import Tell, find_items, parse_labels
from meninx._data.folds import connected, keys_of, mended, split_at_random, split_into_folds
from meninx._data.items import Item, label_of, normal_sequence
from meninx._data.manifest import (
    COLUMNS,
    FURTHER_COLUMNS,
    MANIFEST_NAME,
    SPLIT_AGAIN,
    Manifest,
    Picture,
    leaks_of,
    raise_faults,
    read_header,
    read_manifest,
    read_rows,
    stack_faults,
    write_manifest,
)
from meninx._data.mask_pictures import read_covered
from meninx._data.persons import known_person
from meninx._data.rows import parse_row
from meninx._data.tables import NamedFiles, truth_of
from meninx._data.vanished import check_classes
from meninx._data.volume_masks import read_mask, tumor_area
from meninx._errors import DataError, OptionError, UnsupportedScan
from meninx._labels import TYPE_NAMES
from meninx._scan.kinds import PICTURE_SUFFIXES
from meninx._scan.plausibility import estimated_gap_mm
from meninx._scan.raster import read_gray
from meninx._scan.reading import read_one
from meninx._scan.scan import Scan
from meninx._scan.scan import Sequence as Sequence_
from meninx._scan.walking import missing_target

A_LATER_RULE = (
    "A later rule wins: add one for what is parted, such as --fold 'person=NAME:1' for a person of "
    "two sites"
)
Split = Literal["grouped", "given", "mended", "random"]
DEFAULT_FOLDS = 5
# Where a collection names its own test half, that is the first fold.
TEST_FOLD = 1
# What a stack of axial slices covers, from the foramen magnum to the crown and a little of both.
STACK_EXTENT_MM = 160.0
# Field of view of a picture that shows a head whole: its longer side.
HEAD_MM = 230.0

Progress = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """Report no progress."""


@dataclass(frozen=True)
class Survey:
    """The items of a data set with what was measured on them.

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

    def name(self, index: int) -> str:
        """Return an item's name."""
        return self.names[index]

    @property
    def clusters(self) -> list[int]:
        """For each item the first item that it shares a slice, a group or a person with."""
        return connected(
            [
                keys_of(
                    # A file that can't be read shows no slice: two of these are no duplicates.
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
            person of the same name in two of them counts as one.
        labels: Meaning of further folder names.
        progress: Called with what is done, how much of it, and how much there is.
        workers: Processes that share the work, see `duplicates.find_duplicates`.
        within_persons: Whether to look for near copies among the pictures of one person, who is
            never parted anyway; of whole heads, slice by slice, that takes most of the time.

    Returns:
        The items with their facts.

    Raises:
        DataError: If nothing is found, or a folder's name or a table's row gives no label.
    """
    paths = [data] if isinstance(data, Path) else list(data)
    if not paths:
        raise DataError("no data named; name a folder or a table")
    prefixes = _collection_names(paths) if len(paths) > 1 else [""]
    notes: list[str] = []
    found = [
        one
        for path, prefix in zip(paths, prefixes, strict=True)
        for one in _collection(path, prefix, labels, notes.append)
    ]
    names = tuple(name for name, _ in found)
    items = tuple(item for _, item in found)
    is_picture = [item.path.suffix.lower() in PICTURE_SUFFIXES for item in items]
    measured = iter(
        measure_pictures(
            [item.path for item, is_it in zip(items, is_picture, strict=True) if is_it],
            lambda done, total: progress("reading pictures", done, total),
            workers,
        )
    )
    facts = [
        next(measured) if is_it else PictureFacts(item.path, sha256_of(item.path))
        for item, is_it in zip(items, is_picture, strict=True)
    ]
    duplicates = find_duplicates(
        [one.sha256 or str(one.path) for one in facts],
        [one.signature for one in facts],
        lambda done, total: progress("comparing pairs", done, total),
        workers,
        persons=[item.person or item.stack for item in items],
        within_persons=within_persons,
    )
    return Survey(names, items, tuple(facts), duplicates, tuple(notes))


ChooseSplit = Callable[[Survey], Split]


def prepare(
    data: Path | Sequence[Path],
    *,
    split: "Split | ChooseSplit" = "grouped",
    folds: int = DEFAULT_FOLDS,
    seed: int = 0,
    labels: Mapping[str, str] | None = None,
    rules: Sequence[FoldRule] = (),
    allow_leaks: bool = False,
    progress: Progress = silent,
    workers: int = 1,
) -> tuple[list[Picture], Survey]:
    """Return the rows of a new manifest.

    Args:
        data: Folder of class folders or volumes, a CSV table, or several of these, see `survey`.
        split: `grouped` keeps slices and persons together; `given` keeps the collection's own
            test half as fold 1, or a table's own folds; `mended` does too, but moves a group that
            lies in several folds to the one that holds most of it; `random` is the leaking way. Or
            a function that returns one of these from the survey.
        folds: Number of folds, 2 or more.
        seed: Seed of the split.
        labels: Meaning of further folder names.
        rules: Folds for the pictures that they match; later ones win. What they name is dealt
            nothing else, unless the collection or the table has folds of its own.
        allow_leaks: Whether to accept folds that share a slice or a person.
        progress: Called with what is done, how much of it, and how much there is.
        workers: Processes that share the work.

    Returns:
        The rows, unreadable pictures left out, and the survey.

    Raises:
        DataError: If nothing is found, nothing is left of one of two classes, or a split shares a
            slice or a person.
        OptionError: If there are fewer than two folds, or a rule matches nothing.
    """
    if folds < 2:
        raise OptionError(
            f"--folds {folds}: expected at least 2, one to learn from, one to test on"
        )
    found = survey(data, labels, progress, workers, within_persons=False)
    check_classes(found.items, [facts.error for facts in found.facts])
    kept = [index for index, facts in enumerate(found.facts) if facts.error is None]
    clusters = found.clusters
    groups = _group_names(found, kept, clusters)
    by_index: list[str] = []
    pictures = [_row(found, index, groups[clusters[index]], by_index.append) for index in kept]
    if by_index:
        more = f"; so are {len(by_index) - 1} more" if len(by_index) > 1 else ""
        found = replace(found, notes=(*found.notes, f"{by_index[0]}{more}"))
    pictures = _unique_ids(pictures)
    chosen = split if isinstance(split, str) else split(found)
    pictures = _in_folds(pictures, chosen, folds, seed, rules)
    leaks = leaks_of(pictures)
    if not allow_leaks:
        place = data if isinstance(data, Path) else ", ".join(map(str, data))
        raise_faults(place, leaks, leaks, A_LATER_RULE if rules else SPLIT_AGAIN)
    return pictures, found


def load_data(
    data: Path,
    folder: Path,
    *,
    labels: Mapping[str, str] | None = None,
    split: "Split | ChooseSplit | None" = None,
    allow_leaks: bool = False,
    progress: Progress = silent,
    workers: int = 1,
) -> Manifest:
    """Read a manifest, or make one where a folder has none.

    Args:
        data: Manifest, the folder that holds one, or anything that `prepare` takes.
        folder: Folder for a new manifest; made if missing.
        labels: Meaning of further folder names.
        split: How a new manifest is split, see `prepare`; None for a table's own folds, else
            `grouped`. A manifest keeps its folds.
        allow_leaks: Whether to accept folds that share a slice or a person.
        progress: Called with what is done, how much of it, and how much there is.
        workers: Processes that share the work.

    Returns:
        The manifest.

    Raises:
        DataError: If the data contradict themselves.
    """
    table = data / MANIFEST_NAME if data.is_dir() else data
    columns = _columns_of(table) if table.is_file() else set()
    if {"id", "fold", "group"} <= columns:
        return read_manifest(table, allow_leaks=allow_leaks)
    pictures, _ = prepare(
        data,
        split=split or ("given" if "fold" in columns else "grouped"),
        labels=labels,
        allow_leaks=allow_leaks,
        progress=progress,
        workers=workers,
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_manifest(pictures, folder / MANIFEST_NAME)
    return read_manifest(folder / MANIFEST_NAME, allow_leaks=allow_leaks)


def stack_gap_mm(volume: NDArray[np.float32], pixel_mm: float) -> float:
    """Return the distance between pictures of a stack, estimated from them: they have no geometry.

    Args:
        volume: Pictures of the stack, shape (n, h, w).
        pixel_mm: Size of a pixel, mm.

    Returns:
        Distance, mm; as if the stack covered a head where too few pictures show one.
    """
    estimated = estimated_gap_mm(volume, 0, (1.0, pixel_mm, pixel_mm))
    return STACK_EXTENT_MM / len(volume) if estimated is None else estimated


def read_stack(members: Sequence[Picture]) -> tuple[Scan, NDArray[np.bool_]]:
    """Read the pictures of a stack as one scan.

    Args:
        members: Rows of one stack, in any order.

    Returns:
        The scan, slices along k by position, on a grid with the gap that the rows give, or else the
        pictures; and the mask of its tumor, in the same shape, false where rows name no mask.

    Raises:
        DataError: If a mask is empty, or pictures differ in size.
        InputError: If a picture can't be read, or all are blank.
    """
    ordered = sorted(members, key=lambda picture: picture.position or 0)
    images = [_image_of(picture) for picture in ordered]
    shapes = {image.shape for image in images if image is not None}
    if len(shapes) > 1:
        raise DataError(
            f"{ordered[0].picture}: pictures of the stack {ordered[0].stack} have different sizes, "
            f"{' and '.join(f'{w} x {h}' for h, w in sorted(shapes))}; a stack is one scan"
        )
    if not shapes:
        raise UnsupportedScan("all its pictures are blank", place=ordered[0].stack, reason="blank")
    (shape,) = shapes
    blank = np.zeros(shape, dtype=np.float32)
    volume = np.stack([blank if one is None else one for one in images])
    masks = np.stack([read_picture_mask(one, shape) for one in ordered])
    pixel = HEAD_MM / max(shape)
    gap = ordered[0].gap_mm or stack_gap_mm(volume, pixel)
    affine = np.diag([pixel, pixel, gap, 1.0])
    sequence = cast("Sequence_", ordered[0].sequence or "unknown")
    # Rows of a picture go down, from front to back; its columns from the patient's right to left.
    scan = Scan(ordered[0].stack, volume.transpose(2, 1, 0), affine, sequence, slice_axis=2)
    return scan, masks.transpose(2, 1, 0)


def _image_of(picture: Picture) -> NDArray[np.float32] | None:
    """Return a picture's pixels; None where it is blank, as slices beyond the head are."""
    try:
        return read_gray(picture.picture)
    except UnsupportedScan as error:
        if error.reason == "blank" and not picture.tumor:
            return None
        raise


def read_picture_mask(picture: Picture, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return a picture's mask, whatever value stands for tumor in it.

    Args:
        picture: Row of a manifest.
        shape: Rows and columns of the picture.

    Returns:
        Mask of that shape; all false where the row names no mask.

    Raises:
        DataError: If the mask is empty, can't be read, has another size, or belongs to a picture
            without tumor.
    """
    if picture.mask is None:
        return np.zeros(shape, dtype=np.bool_)
    if not picture.tumor:
        raise DataError(f"{picture.id}: a mask, but no tumor; correct the manifest")
    covered = read_covered(picture.mask)
    if not covered.any():
        raise DataError(f"{picture.mask}: the mask of a tumor is empty; correct the manifest")
    if covered.shape != tuple(shape):
        raise DataError(
            f"{picture.mask}: the mask has {covered.shape[1]} x {covered.shape[0]} pixels, its "
            f"picture {shape[1]} x {shape[0]}"
        )
    return covered


def ranges(indices: Sequence[int]) -> str:
    """Return ascending indices as ranges, such as `41-88 90-91`."""
    parts: list[list[int]] = []
    for index in indices:
        if parts and index == parts[-1][1] + 1:
            parts[-1][1] = index
        else:
            parts.append([index, index])
    return " ".join(f"{first}-{last}" for first, last in parts)


def read_rows_of_table(table: Path) -> list[Picture]:
    """Return a user's table as rows of a manifest, without looking for copies.

    Args:
        table: CSV file with the columns `picture` and `tumor` or `tumor_type`.

    Returns:
        One row a picture or volume, each in a group of its own and in no fold.

    Raises:
        DataError: If the table contradicts itself.
    """
    return [
        Picture(
            id=item.path.relative_to(table.parent).as_posix(),
            picture=item.path,
            mask=item.mask,
            tumor=bool(item.tumor),
            tumor_type=item.tumor_type,
            group=item.path.relative_to(table.parent).as_posix(),
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
        for item in _table_items(table, {})
    ]


def _columns_of(table: Path) -> set[str]:
    return set(read_header(table, table.read_bytes()))


def _group_names(found: Survey, indices: Sequence[int], clusters: Sequence[int]) -> dict[int, str]:
    """Return each cluster's name, by content: the same for the same data under any file names."""
    hashes: dict[int, str] = {}
    for index in indices:
        own = found.facts[index].sha256
        hashes[clusters[index]] = min(own, hashes.get(clusters[index], own))
    return {
        cluster: "g" + hashlib.sha256(own.encode()).hexdigest()[:12]
        for cluster, own in hashes.items()
    }


def _row(found: Survey, index: int, group: str, tell: Tell) -> Picture:
    item, facts = found.items[index], found.facts[index]
    tumor, slices = item.tumor, ""
    if item.mask is not None and item.path.suffix.lower() not in PICTURE_SUFFIXES:
        scan = read_one(item.path)
        sick = np.flatnonzero(tumor_area(scan, read_mask(item.mask, scan, tell)))
        slices, tumor = ranges([int(one) for one in sick]), bool(sick.size)
    return Picture(
        id=found.name(index),
        picture=item.path,
        mask=item.mask if tumor else None,
        tumor=bool(tumor),
        tumor_type=item.tumor_type if tumor else None,
        group=group,
        fold=item.fold,
        source=item.source,
        person=item.person,
        site=item.site,
        sequence=item.sequence,
        stack=item.stack,
        position=item.position,
        gap_mm=item.gap_mm,
        sha256=facts.sha256,
        split=item.split,
        tumor_slices=slices,
        extra=item.extra,
    )


def _unique_ids(pictures: list[Picture]) -> list[Picture]:
    seen: dict[str, int] = {}
    unique = []
    for picture in pictures:
        seen[picture.id] = seen.get(picture.id, 0) + 1
        again = seen[picture.id]
        unique.append(picture if again == 1 else replace(picture, id=f"{picture.id}#{again}"))
    return unique


def _in_folds(
    pictures: Sequence[Picture], split: Split, folds: int, seed: int, rules: Sequence[FoldRule]
) -> list[Picture]:
    """Return pictures with their folds.

    Where folds are dealt here, and are not a collection's own, those that rules name hold what the
    rules put there and nothing else.
    """
    names = np.arange(1, folds + 1)
    if split not in ("grouped", "random"):
        return apply_fold_rules(_dealt(pictures, names, split, seed), rules)
    ruled = apply_fold_rules([replace(picture, fold=0) for picture in pictures], rules)
    free = np.setdiff1d(names, [picture.fold for picture in ruled])
    rest = [picture for picture in ruled if not picture.fold]
    dealt = iter(_dealt(rest, free if len(free) else names, split, seed) if rest else ())
    return [picture if picture.fold else next(dealt) for picture in ruled]


def _dealt(
    pictures: Sequence[Picture], names: NDArray[np.intp], split: Split, seed: int
) -> list[Picture]:
    """Return pictures in the folds of a split; those that are dealt here have these names."""
    numbers = _folds_of(pictures, split, len(names), seed)
    if split in ("grouped", "random"):
        numbers = names[numbers - 1]
    return [replace(one, fold=int(fold)) for one, fold in zip(pictures, numbers, strict=True)]


def _folds_of(pictures: Sequence[Picture], split: Split, folds: int, seed: int) -> NDArray[np.intp]:
    def grouped(rows: Sequence[Picture], count: int) -> NDArray[np.intp]:
        return split_into_folds(
            [row.group for row in rows],
            [row.label for row in rows],
            [row.sha256 for row in rows],
            count,
            seed,
        )

    if split == "random":
        return split_at_random(len(pictures), folds, seed)
    if split == "grouped":
        return grouped(pictures, folds)
    given = _given_folds(pictures, split, lambda rows: grouped(rows, folds - 1))
    return given if split == "given" else mended([one.group for one in pictures], given)


def _given_folds(
    pictures: Sequence[Picture],
    split: Split,
    grouped: Callable[[Sequence[Picture]], NDArray[np.intp]],
) -> NDArray[np.intp]:
    """Return a table's own folds, or a collection's test half as fold 1 and the rest grouped."""
    if all(picture.fold for picture in pictures):
        return np.array([picture.fold for picture in pictures])
    if not any(picture.split == "test" for picture in pictures):
        raise DataError(
            f"--split {split}: neither a test folder (Testing, test) nor a column `fold` says how "
            "the collection is split; leave the option out"
        )
    numbers = np.full(len(pictures), TEST_FOLD)
    rest = [index for index, picture in enumerate(pictures) if picture.split != "test"]
    numbers[rest] = grouped([pictures[index] for index in rest]) + TEST_FOLD
    return numbers


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
    data: Path, prefix: str, labels: Mapping[str, str] | None, tell: Tell
) -> list[tuple[str, Item]]:
    """Return a collection's items with their names.

    Args:
        data: Folder or table.
        prefix: Text before names, groups and stacks, which are unique in their own collection
            alone; empty for none.
        labels: Meaning of further folder names.
        tell: Called with a sentence for each thing that was understood.

    Returns:
        Pairs of a name, unique but for repeated rows, and an item.
    """
    table = data / MANIFEST_NAME if data.is_dir() else data
    items = (
        _table_items(table, parse_labels(labels))
        if table.is_file()
        else find_items(data, labels, tell)
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


def _table_items(path: Path, named: Mapping[str, str]) -> list[Item]:
    """Return the rows of a user's table."""
    rows = read_rows(path, path.read_bytes(), ["picture"])
    if not rows:
        raise DataError(f"{path}: it lists no picture; expected a row for each")
    label = "" if {"tumor", "tumor_type"} & set(rows[0]) else _label_of_table(path, named)
    faults: list[str] = []
    files = NamedFiles(path.parent)
    items = [
        _item_of(row, path, files, label, f"line {line}", faults)
        for line, row in enumerate(rows, 2)
    ]
    raise_faults(path, faults + stack_faults(items))
    return items


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
    """Return one row of a user's table, adding what is wrong with it to `faults`."""

    def cell(name: str) -> str:
        return (row.get(name) or "").strip()

    tumor, kind = _truth_and_kind(cell("tumor"), label or cell("tumor_type").lower())
    file = files(row["picture"])
    mask = files(row["mask"]) if row.get("mask") else None
    typed = parse_row(
        {
            "picture": row["picture"],
            "tumor": tumor,
            "tumor_type": kind or ("unknown" if tumor == "1" else "none"),
            "fold": cell("fold") or "0",
            "slice": cell("slice"),
            "gap_mm": cell("gap_mm"),
        },
        place,
        faults,
    )
    faults += [_missing(place, path) for path in (file, mask) if path and not path.exists()]
    exam, stack = cell("person"), cell("stack")
    # Names of well-known collections hold a time point: two exams are two stacks of one person.
    person = known_person(exam or row["picture"]) or exam
    if not stack and exam and typed.slice is not None:
        # An unknown word still tells two sequences of a person apart.
        stack = f"{exam}/{normal_sequence(cell('sequence')) or cell('sequence')}"
    return Item(
        file,
        tumor=typed.tumor,
        tumor_type=typed.tumor_type if typed.tumor_type in TYPE_NAMES else None,
        mask=mask,
        person=person,
        site=cell("site" if "site" in row else "source"),
        sequence=normal_sequence(cell("sequence")),
        stack=stack,
        position=typed.slice,
        gap_mm=typed.gap_mm,
        group=row.get("group") or "",
        fold=typed.fold,
        split=row.get("split") or "",
        source=row.get("source") or path.resolve().parent.name,
        extra={k: v for k, v in row.items() if k not in (*COLUMNS, *FURTHER_COLUMNS)},
    )


def _missing(place: str, path: Path) -> str:
    if path.is_symlink():
        return f"{place}: {missing_target(path)}"
    return f"{place}: {path} does not exist"


def _truth_and_kind(tumor: str, kind: str) -> tuple[str, str]:
    """Return whether a row's cells name a tumor, `1` or `0`, and its type; other texts unchanged.

    Args:
        tumor: Cell of the column `tumor`: yes or no in any form, or the name of a type.
        kind: Cell of the column of types, or the label of the whole table.

    Returns:
        Texts for `tumor` and `tumor_type`.
    """
    truth = truth_of(tumor)
    if truth not in ("0", "1", "") and not kind and (label := label_of(tumor)) is not None:
        return ("0" if label == "none" else "1"), label
    return truth or {"": "", "none": "0"}.get(kind, "1"), kind
