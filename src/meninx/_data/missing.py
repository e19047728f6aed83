"""Report classes, masks and labels that a data set names but has no data for."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from meninx._data.items import LEFT_OUT, Item, label_of, stem_of
from meninx._data.layouts import DECATHLON_LABELS, PICTURE_MASK
from meninx._data.progress import Report
from meninx._errors import DataError
from meninx._scan.kinds import PICTURE_SUFFIXES

# The two classes in words.
CLASSES = {True: "tumor", False: "tumor-free"}
# Labels in words, where these differ.
_CLASS_WORDS = {"none": "tumor-free", "unknown": "a tumor"}
MASK_WORDS = {"mask", "masks", "seg", "segm", "dseg", "roi", "label", "labels", "segmentation"}
# Number of names in a message; further ones are counted.
MAX_NAMED = 6


def report_missing(
    data: Path,
    folders: Iterable[Path],
    files: Sequence[Path],
    items: Sequence[Item],
    named: Mapping[str, str],
    report: Report,
) -> None:
    """Report classes, labels and masks without a picture or volume.

    Args:
        data: Folder of the data set.
        folders: All folders in it, and broken links.
        files: All pictures and volumes in it.
        items: Items that were made from them.
        named: Labels of folders by their names, in small letters, as the user gave them.
        report: Called with a sentence for each of them.

    Raises:
        DataError: If one of two classes has no item.
    """
    empty = _empty_classes(folders, files, items, named)
    for folder, label in empty.items():
        word = _CLASS_WORDS.get(label, label)
        report(f"{folder}: named as a class ({word}), but no picture or volume is in it")
    _check_both({label != "none" for label in empty.values()}, items, map(str, empty))
    unmatched = sorted(named.keys() - _names(data, folders, items))
    if unmatched:
        report(f"{data}: no folder is named as --label has it: {listed(unmatched)}")
    masks = _lone_masks(files, items)
    if masks:
        report(f"{data}: masks without a picture or volume, left out: {listed(masks)}")


def _empty_classes(
    folders: Iterable[Path],
    files: Iterable[Path],
    items: Iterable[Item],
    named: Mapping[str, str],
) -> dict[Path, str]:
    """Return the labels of folders that are named as a class and hold no picture or volume."""
    # Folders with pictures but no item are left out by their label; that is reported already.
    filled = {parent for item in items for parent in item.path.parents}
    filled |= {parent for path in files for parent in path.parents}
    labels = {folder: _label(folder, named) for folder in folders if folder not in filled}
    return {folder: label for folder, label in labels.items() if label not in (None, LEFT_OUT)}


def check_classes(items: Sequence[Item], errors: Sequence[str | None]) -> None:
    """Check that a data set of two classes has readable pictures of both.

    Args:
        items: All items of the data set.
        errors: Why each can't be read; None where it can.

    Raises:
        DataError: If none of one class can be read, but some of the other can.
    """
    pairs = list(zip(items, errors, strict=True))
    kept = [item for item, error in pairs if error is None]
    lost = [(item, error) for item, error in pairs if error is not None]
    sides = {bool(item.tumor) for item, _ in lost if item.tumor is not None}
    _check_both(sides, kept, (f"{item.path} ({error})" for item, error in lost))


def unreadable_folders(items: Sequence[Item], errors: Sequence[str | None]) -> list[str]:
    """Return the folders without a readable picture.

    Args:
        items: All items of the data set.
        errors: Why each can't be read; None where it can.

    Returns:
        A sentence for each of them.
    """
    counts: Counter[Path] = Counter(item.path.parent for item in items)
    pairs = zip(items, errors, strict=True)
    lost = Counter(item.path.parent for item, error in pairs if error is not None)
    return [
        f"{folder}: none of its {count} pictures can be read"
        for folder, count in counts.items()
        if lost[folder] == count
    ]


def _check_both(named: set[bool], items: Sequence[Item], names: Iterable[str]) -> None:
    """Check that no named class is missing while the other is there."""
    found = {item.tumor for item in items}
    # A volume with a mask may have slices of either class.
    if None in found:
        return
    for side in named:
        if side not in found and (not side) in found:
            raise DataError(
                f"nothing is left of the class {CLASSES[side]}: {listed(names)}; expected pictures "
                "or volumes of both classes. Put them back, or take what names the class away to "
                "go on with the other alone"
            )


def _label(folder: Path, named: Mapping[str, str]) -> str | None:
    """Return the label of a folder's name; none for a number, which may be a person."""
    own = named.get(folder.name.lower())
    return own or (None if folder.name.isdecimal() else label_of(folder.name))


def _names(data: Path, folders: Iterable[Path], items: Iterable[Item]) -> set[str]:
    paths = [data, *folders, *(parent for item in items for parent in item.path.parents)]
    return {path.name.lower() for path in paths}


def _lone_masks(files: Iterable[Path], items: Sequence[Item]) -> list[str]:
    """Return masks that lie beside no picture or volume."""
    used = {path for item in items for path in (item.path, item.mask) if path is not None}
    # An item whose mask is empty has no mask.
    stems = {(item.path.parent, item.path.stem) for item in items}
    folders = {item.path.parent for item in items}
    subjects = {item.person for item in items if item.person}

    def is_lone(path: Path) -> bool:
        if path in used:
            return False
        if path.suffix.lower() in PICTURE_SUFFIXES:
            picture = PICTURE_MASK.sub("", path.stem)
            return picture != path.stem and (path.parent, picture) not in stems
        is_mask = not MASK_WORDS.isdisjoint(re.split(r"[^a-z]+", stem_of(path)))
        # BIDS has masks in folders of their own.
        is_unused = path.parent not in folders and subjects.isdisjoint(path.parts)
        return path.parent.name == DECATHLON_LABELS or (is_mask and is_unused)

    return [str(path) for path in files if is_lone(path)]


def listed(names: Iterable[str]) -> str:
    """Return the first `MAX_NAMED` names as a list, and the number of further ones."""
    shown = list(names)
    more = f" and {len(shown) - MAX_NAMED} more" if len(shown) > MAX_NAMED else ""
    return ", ".join(shown[:MAX_NAMED]) + more
