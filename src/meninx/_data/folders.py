"""Find the labels of a folder's pictures and volumes by its names."""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from meninx._data.dicom_folders import dicom_items, is_dicom_file
from meninx._data.folder_masks import (
    MASK_WORDS,
    images_of,
    is_mask,
    left_out_sentence,
    masks_of,
    partition,
)
from meninx._data.items import (
    LEFT_OUT,
    Item,
    label_of,
    normal_sequence,
    stem_of,
    tumor_type_of,
)
from meninx._data.layouts import (
    DERIVATIVES,
    bids_items,
    decathlon_items,
    is_bids,
    masked_pictures,
)
from meninx._data.missing import report_missing
from meninx._data.persons import exam_of_stem, known_person, with_persons
from meninx._data.progress import Report
from meninx._errors import DataError, InputError
from meninx._labels import TYPE_NAMES
from meninx._scan.kinds import PICTURE_SUFFIXES, VOLUME_SUFFIXES
from meninx._scan.walking import entries_below, pointer_fault

_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}
# File name that stands for all files of a folder's DICOM series.
SERIES = "series"
# Numbers are labels only beside each other: "tumor/0" is the first patient with a tumor.
_NUMBERS = ("0", "1")

log = logging.getLogger(__name__)


class UnlabeledFolders(DataError):
    """Names of folders that do not say whether their pictures show a tumor.

    Args:
        message: Text of the error: the folders, and the option that labels them.
        folders: Names of these folders.
    """

    def __init__(self, message: str, folders: tuple[str, ...]) -> None:
        super().__init__(message)
        self.folders = folders


def parse_labels(labels: Mapping[str, str] | None) -> dict[str, str]:
    """Return labels of folders by their lower-case names.

    Args:
        labels: Labels by folder name: a type's name, `none`, `unknown` or `out` (left out).

    Returns:
        The same labels by names in lower case.

    Raises:
        DataError: If a label is none of these.
    """
    for name, label in (labels or {}).items():
        if label not in (*TYPE_NAMES, "none", "unknown", LEFT_OUT):
            raise DataError(
                f"--label {name}={label}: expected one of {', '.join(TYPE_NAMES)}, none, unknown, "
                f"{LEFT_OUT}"
            )
    return {name.lower(): label for name, label in (labels or {}).items()}


def find_items(
    data: Path, labels: Mapping[str, str] | None = None, report: Report = log.warning
) -> list[Item]:
    """Find the labeled pictures of a folder.

    Args:
        data: Folder with a folder for each class, maybe inside of Training and Testing, of
            pictures, volumes or DICOM series (a folder each); with volumes beside their masks, a
            folder for each person; with pictures beside their masks; or of BIDS or the Medical
            Segmentation Decathlon.
        labels: Meaning of further folder names: a type's name, `none`, `unknown` or `out`.
        report: Called with a sentence on each step of reading.

    Returns:
        Items in the order of their paths.

    Raises:
        DataError: If nothing is found, or a folder's name gives no label.
    """
    named = parse_labels(labels)
    if not data.is_dir():
        raise DataError(f"{data}: no such folder; name a folder of class folders or a manifest CSV")
    pictures, volumes, series, folders = _files_of(data, report)
    every = [*pictures, *volumes, *(folder / SERIES for folder in series)]
    items, pictures = masked_pictures(data, pictures, report)
    if items:
        report(f"{data}: {len(items)} pictures are labeled by the masks beside them")
    items += _class_items(data, pictures, named, report)
    items += _series_items(data, series, named, report, alone=not items and not volumes)
    if is_bids(data, volumes):
        found, notes = bids_items(data, volumes, named, report)
        report(
            f"{data}: read as BIDS: {len(found)} volumes, labeled by masks in {DERIVATIVES} or by "
            + "participants.tsv"
        )
        items += found
        for note in notes:
            report(f"{data}: {note}")
    else:
        found, volumes = decathlon_items(data, volumes)
        if found:
            report(f"{data}: read as a decathlon: {len(found)} volumes of imagesTr with labelsTr")
        items += [*found, *_volume_items(data, volumes, named, report)]
    if not items:
        raise DataError(
            f"{data}: no pictures ({', '.join(PICTURE_SUFFIXES)}), no volumes "
            f"({', '.join(VOLUME_SUFFIXES)}) and no DICOM series found that can be used"
        )
    report_missing(data, folders, every, items, named, report)
    items, said = with_persons(items)
    if said:
        report(f"{data}: {said}")
    return items


def _files_of(data: Path, report: Report) -> tuple[list[Path], list[Path], set[Path], list[Path]]:
    """Return the pictures, volumes, DICOM folders and folders in a folder; report other files."""
    pictures, volumes, series, folders = [], [], set(), []
    skipped: list[Path] = []

    def leave_out(error: InputError) -> None:
        report(f"left out: {error}")
        if not error.place.lower().endswith((*VOLUME_SUFFIXES, *PICTURE_SUFFIXES)):
            folders.append(Path(error.place))  # a broken link may stand for a class folder

    for entry in entries_below(data, leave_out):
        path = entry.path
        is_image = path.name.lower().endswith((*VOLUME_SUFFIXES, *PICTURE_SUFFIXES))
        if entry.is_folder:
            folders.append(path)
        elif (pointer := pointer_fault(path, entry.size)) is not None and is_image:
            leave_out(pointer)
        elif not is_image and is_dicom_file(path):
            series.add(path.parent)
        elif not is_image:
            skipped.append(path)
        elif path.name.lower().endswith(VOLUME_SUFFIXES):
            volumes.append(path)
        else:
            pictures.append(path)
    if skipped:
        report(f"{data}: other files, which are skipped: {_suffixes(skipped)}")
    return pictures, volumes, series, folders


def _suffixes(paths: Iterable[Path]) -> str:
    """Return the most frequent suffixes with their number of files."""
    counts = Counter(path.suffix.lower() or "(no suffix)" for path in paths)
    return ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(8))


def _series_items(
    data: Path, folders: Collection[Path], named: Mapping[str, str], report: Report, *, alone: bool
) -> Iterator[Item]:
    """Yield DICOM series, one per folder, labeled by the nearest folder whose name gives a label.

    Args:
        data: Folder of the collection.
        folders: Folders that hold DICOM files.
        named: Labels of folders by their names.
        report: Called with a sentence for each omission.
        alone: Whether there is nothing else in the collection.

    Yields:
        Labeled items.
    """
    labeled = _labeled_folders(data, folders, named)
    unlabeled = sorted(map(str, set(folders) - labeled.keys()))
    if unlabeled:
        text = (
            f"{unlabeled[0]}: DICOM in folders whose names say neither tumor nor no tumor "
            f"({len(unlabeled)} of them); expected a folder for each series in one that says so"
        )
        if alone and not labeled:
            raise DataError(text)
        report(f"left out: {text}")
    kept = [folder for folder, (label, _) in labeled.items() if label != LEFT_OUT]
    for item in dicom_items(kept, report):
        label, split = labeled[item.path]
        yield replace(
            item,
            tumor=label != "none",
            tumor_type=tumor_type_of(label),
            person=item.person or item.path.relative_to(data).as_posix(),
            split=split,
            source=data.name,
        )


def _labeled_folders(
    data: Path, folders: Iterable[Path], named: Mapping[str, str]
) -> dict[Path, tuple[str, str]]:
    """Return the label and the split of each folder of a series; unlabeled ones are left out."""
    places = {folder: folder / SERIES for folder in folders}
    numbered = _numbered(places.values())
    found = {folder: _labeled(data, place, named, numbered) for folder, place in places.items()}
    return {folder: labeled for folder, labeled in found.items() if labeled is not None}


def _class_items(
    data: Path, paths: list[Path], named: Mapping[str, str], report: Report
) -> Iterator[Item]:
    """Yield pictures labeled by the nearest folder whose name gives a label."""
    unlabeled: Counter[str] = Counter()
    left_out = 0
    numbered = _numbered(paths)
    for path in paths:
        found = _labeled(data, path, named, numbered)
        if found is None:
            unlabeled[str(path.relative_to(data).parent)] += 1
            continue
        label, split = found
        if label == LEFT_OUT:
            left_out += 1
            continue
        yield Item(
            path,
            tumor=label != "none",
            tumor_type=tumor_type_of(label),
            person=known_person(path.relative_to(data).as_posix()),
            split=split,
            source=data.name,
        )
    if left_out:
        report(f"{data}: {left_out} pictures left out, as --label says")
    if unlabeled:
        names = ", ".join(
            f"{name} ({count} pictures)" for name, count in sorted(unlabeled.items())[:8]
        )
        raise UnlabeledFolders(
            f"{data}: folders whose names say neither tumor nor no tumor: {names}; say what they "
            f"hold with --label NAME=none|unknown|{'|'.join(TYPE_NAMES)}, or leave them out with "
            f"--label NAME={LEFT_OUT}",
            tuple(sorted({Path(name).name or data.name for name in unlabeled})),
        )


def _labeled(
    data: Path, path: Path, named: Mapping[str, str], numbered: Collection[Path]
) -> tuple[str, str] | None:
    """Return a path's label and its split."""
    folders = path.relative_to(data).parts[:-1]
    label, split, place = None, "", data
    for name in (*((data.name,) if not folders else ()), *folders):
        own = named.get(name.lower()) or label_of(name)
        if name in _NUMBERS and name not in named and (label or place not in numbered):
            own = None
        label, place = own or label, place / name
        split = _SPLIT_NAMES.get(name.lower(), split)
    return (label, split) if label else None


def _numbered(paths: Iterable[Path]) -> set[Path]:
    """Return the folders whose subfolders with files are named 0 and 1."""
    inside: dict[Path, set[str]] = defaultdict(set)
    for folder in {parent for path in paths for parent in path.parents}:
        inside[folder.parent].add(folder.name)
    return {folder for folder, names in inside.items() if names == set(_NUMBERS)}


def _volume_items(
    data: Path, paths: list[Path], named: Mapping[str, str], report: Report
) -> Iterator[Item]:
    """Yield volumes with the mask that lies beside them, or labeled by their folder."""
    folders: dict[Path, list[Path]] = {}
    for path in paths:
        folders.setdefault(path.parent, []).append(path)
    numbered = _numbered(paths)
    left_out: Counter[str] = Counter()
    for folder, files in folders.items():
        masks, rest = partition(files, is_mask)
        volumes, others = images_of(rest)
        left_out.update(re.split(r"[-_ .]+", stem_of(path))[-1] for path in others)
        found = masks_of(folder, volumes, masks)
        for path in volumes:
            labeled = _labeled(data, path, named, numbered)
            item = _volume_item(data, path, labeled, *found.get(path, (None, "")))
            if item is not None:
                yield item
    if left_out:
        report(f"{data}: {left_out_sentence(left_out)}")


def _volume_item(
    data: Path, path: Path, labeled: tuple[str, str] | None, mask: Path | None, exam: str
) -> Item | None:
    """Return a volume's item; None where its folder is left out.

    Args:
        data: Folder of the collection.
        path: The volume.
        labeled: Label and split that its folders give.
        mask: Its mask; None where a folder labels it.
        exam: Beginning of its name that identifies the person, in a folder of several people.

    Returns:
        The item, or None.
    """
    if mask is None and labeled is None:
        raise DataError(
            f"{path}: no label; expected a mask beside it (a file with "
            f"{', '.join(MASK_WORDS)} in its name) or a folder whose name says tumor or no tumor"
        )
    label, split = labeled or ("unknown", "")
    if label == LEFT_OUT:
        return None
    folder = path.parent.relative_to(data)
    if mask is None:
        exam = exam_of_stem(path.name[: len(stem_of(path))])
    return Item(
        path,
        tumor=None if mask and label != "none" else label != "none",
        tumor_type=tumor_type_of(label),
        mask=mask,
        person=(folder / exam).as_posix(),
        sequence=normal_sequence(stem_of(path)),
        split=split,
        source=folder.parts[0] if len(folder.parts) > 1 else data.name,
    )
