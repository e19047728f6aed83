"""Make a manifest with folds from class folders, volumes or a table."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from meninx._data.facts import sha256_of
from meninx._data.fold_rules import FoldRule, apply_fold_rules
from meninx._data.folds import mend, split_at_random, split_into_folds
from meninx._data.manifest import (
    MANIFEST_NAME,
    SPLIT_AGAIN,
    Manifest,
    Picture,
    leaks_of,
    raise_faults,
    read_header,
    read_manifest,
    write_manifest,
)
from meninx._data.mask_values import grouped
from meninx._data.missing import check_classes
from meninx._data.progress import Progress, Report, silent
from meninx._data.stacks import CONTRADICTION, read_picture_mask
from meninx._data.survey import Survey, survey
from meninx._data.table_items import picture_of
from meninx._data.unchanged import check_unchanged
from meninx._data.volume_masks import read_mask, tumor_area
from meninx._errors import DataError, InputError, OptionError
from meninx._scan.kinds import PICTURE_SUFFIXES
from meninx._scan.raster import read_gray
from meninx._scan.reading import read_one
from meninx._scan.scan import Scan

_A_LATER_RULE = (
    "Later rules win: add one that keeps the group together, such as --fold 'person=NAME:1' for a "
    "person of two sites"
)
_EMPTY_MASK = "the mask is empty although the volume is labeled a tumor; the mask counts: no tumor"
Split = Literal["grouped", "given", "mended", "random"]
_DEFAULT_FOLDS = 5
# Where a collection names its own test half, that is the first fold.
_TEST_FOLD = 1

ChooseSplit = Callable[[Survey], Split]


def prepare(
    data: Path | Sequence[Path],
    *,
    split: "Split | ChooseSplit" = "grouped",
    folds: int = _DEFAULT_FOLDS,
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
            lies in several folds to the one that holds most of it; `random` leaks. Or a function
            that chooses one of these from the survey.
        folds: Number of folds, 2 or more.
        seed: Seed of the split.
        labels: Meaning of further folder names.
        rules: Folds for the pictures that they match; later ones win. These folds get no other
            pictures, unless the collection or the table has folds of its own.
        allow_leaks: Whether to accept folds that share a slice or a person.
        progress: Called with a step, the amount done, and the total.
        workers: Processes that share the work.

    Returns:
        The rows, without unreadable pictures, and the survey.

    Raises:
        DataError: If nothing is found, no readable picture of one of two classes, masks can't be
            used or contradict the labels, or folds share a slice or a person.
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
    pictures, notes = _rows(found, [(index, groups[clusters[index]]) for index in kept], data)
    found = replace(found, notes=(*found.notes, *notes))
    pictures = _unique_ids(pictures)
    chosen = split if isinstance(split, str) else split(found)
    pictures = _in_folds(pictures, chosen, folds, seed, rules)
    if not allow_leaks:
        _check_leaks(pictures, data, _A_LATER_RULE if rules else SPLIT_AGAIN)
    return pictures, found


def _check_leaks(pictures: Sequence[Picture], data: Path | Sequence[Path], remedy: str) -> None:
    """Check that no folds share a slice or a person."""
    leaks = leaks_of(pictures)
    raise_faults(_place_of(data), leaks, leaks, remedy)


def _place_of(data: Path | Sequence[Path]) -> Path | str:
    """Return the data set's name for messages."""
    return data if isinstance(data, Path) else ", ".join(map(str, data))


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
        progress: Called with a step, the amount done, and the total.
        workers: Processes that share the work.

    Returns:
        The manifest.

    Raises:
        DataError: If the data contradict themselves, or a file is not the one that the manifest
            was made from.
    """
    table = data / MANIFEST_NAME if data.is_dir() else data
    columns = _columns_of(table) if table.is_file() else set()
    if {"id", "fold", "group"} <= columns:
        manifest = read_manifest(table, allow_leaks=allow_leaks)
        check_unchanged(manifest.pictures, progress, workers)
        return manifest
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


def ranges(indices: Sequence[int]) -> str:
    """Return ascending indices as ranges, such as `41-88 90-91`."""
    parts: list[list[int]] = []
    for index in indices:
        if parts and index == parts[-1][1] + 1:
            parts[-1][1] = index
        else:
            parts.append([index, index])
    return " ".join(f"{first}-{last}" for first, last in parts)


def _columns_of(table: Path) -> set[str]:
    return set(read_header(table, table.read_bytes()))


def _group_names(found: Survey, indices: Sequence[int], clusters: Sequence[int]) -> dict[int, str]:
    """Return the name of each cluster, a hash of its content: file names do not change it."""
    hashes: dict[int, str] = {}
    for index in indices:
        own = found.facts[index].sha256
        hashes[clusters[index]] = min(own, hashes.get(clusters[index], own))
    return {
        cluster: "g" + hashlib.sha256(smallest.encode()).hexdigest()[:12]
        for cluster, smallest in hashes.items()
    }


def _rows(
    found: Survey, places: Sequence[tuple[int, str]], data: Path | Sequence[Path]
) -> tuple[list[Picture], list[str]]:
    """Return items as rows of the manifest, compared with their masks, and what was assumed.

    Args:
        found: Survey of the data set.
        places: Index and group of each item.
        data: The data set, for messages.

    Returns:
        The rows, and sentences about masks.

    Raises:
        DataError: If masks can't be used, or contradict the labels; with every fault found.
    """
    faults: list[str] = []
    said: list[str] = []
    rows = []
    for index, group in places:
        try:
            row = _row(found, index, group, said.append)
            rows.append(replace(row, mask_sha256=sha256_of(row.mask)) if row.mask else row)
        except DataError as error:
            faults.append(str(error))
    raise_faults(_place_of(data), faults)
    return rows, grouped(said)


def _row(found: Survey, index: int, group: str, report: Report) -> Picture:
    """Return an item as a row of the manifest; the mask of a volume decides on its label."""
    item = found.items[index]
    row = replace(
        picture_of(item, found.names[index], group),
        sha256=found.facts[index].sha256,
        split=item.split,
    )
    if item.mask is None:
        return replace(row, tumor_type=item.tumor_type if row.tumor else None)
    if item.path.suffix.lower() in PICTURE_SUFFIXES:
        read_picture_mask(row, read_gray(item.path), report)
        return row if row.tumor else replace(row, mask=None, tumor_type=None)
    scan = read_one(item.path)
    with_tumor = _slices_with_tumor(item.mask, scan, report)
    tumor = bool(with_tumor.size)
    if tumor and item.tumor is False:
        raise DataError(f"{row.id}: {CONTRADICTION.format(mask=item.mask)}")
    if item.tumor and not tumor:
        report(f"{item.mask}: {_EMPTY_MASK}")
    return replace(
        row,
        mask=item.mask if tumor else None,
        tumor=tumor,
        tumor_type=item.tumor_type if tumor else None,
        tumor_slices=ranges(with_tumor.tolist()),
    )


def _slices_with_tumor(mask: Path, scan: Scan, report: Report) -> NDArray[np.intp]:
    """Return the indices of a volume's slices that its mask marks."""
    try:
        return np.flatnonzero(tumor_area(scan, read_mask(mask, scan, report)))
    except InputError as error:
        raise DataError(str(error)) from error


def _unique_ids(pictures: list[Picture]) -> list[Picture]:
    """Return pictures with unique ids: `a.png` with a second mask becomes `a.png#2`."""
    count: Counter[str] = Counter()
    unique = []
    for picture in pictures:
        count[picture.id] += 1
        number = count[picture.id]
        unique.append(picture if number == 1 else replace(picture, id=f"{picture.id}#{number}"))
    return unique


def _in_folds(
    pictures: Sequence[Picture], split: Split, folds: int, seed: int, rules: Sequence[FoldRule]
) -> list[Picture]:
    """Return pictures with their folds.

    Unless the collection has folds of its own, a fold that a rule names holds only the pictures
    that match a rule.
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
    """Return pictures in the folds of a split; `names` numbers the folds that are made here."""
    numbers = _folds_of(pictures, split, len(names), seed)
    if split in ("grouped", "random"):
        numbers = names[numbers - 1]
    return [
        replace(picture, fold=int(fold)) for picture, fold in zip(pictures, numbers, strict=True)
    ]


def _folds_of(pictures: Sequence[Picture], split: Split, folds: int, seed: int) -> NDArray[np.intp]:
    """Return the number of each picture's fold, from 1, shape (n,)."""

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
    return given if split == "given" else mend([picture.group for picture in pictures], given)


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
    numbers = np.full(len(pictures), _TEST_FOLD)
    rest = [index for index, picture in enumerate(pictures) if picture.split != "test"]
    numbers[rest] = grouped([pictures[index] for index in rest]) + _TEST_FOLD
    return numbers
