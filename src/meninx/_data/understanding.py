"""Describe in words how a data set was understood, before it is used."""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

from meninx._data.items import Item, label_of
from meninx._data.missing import MAX_NAMED, listed, unreadable_folders
from meninx._data.survey import Survey

WORDS = {"none": "no tumor", "unknown": "tumor", "masked": "labeled by their masks"}
_NO_PERSONS = (
    "no person is known: slices of one person may lie in several folds, which makes every figure "
    "too good; name people in a column `person` of a table"
)


def label_of_item(item: Item) -> str:
    """Return a type's name, `none`, `unknown` for another tumor, `masked` where a mask decides."""
    if item.tumor is None:
        return "masked"
    return item.tumor_type or ("unknown" if item.tumor else "none")


def splits_of(found: Survey) -> Counter[str]:
    """Return how many items lie in each half of the collection's own split; empty without one."""
    return Counter(item.split for item in found.items if item.split)


def label_conflicts(found: Survey) -> list[list[int]]:
    """Return slices that have two labels: tumor and none, or two types.

    Args:
        found: Survey of a data set.

    Returns:
        For each slice one item of each of its labels, by position.
    """
    by_slice: dict[int, dict[str, int]] = defaultdict(dict)
    for index, (cluster, item) in enumerate(
        zip(found.duplicates.cluster, found.items, strict=True)
    ):
        # An unreadable file shows no slice; a mask may disagree with a name.
        if found.facts[index].error is None and item.tumor is not None:
            by_slice[int(cluster)].setdefault(label_of_item(item), index)
    return [
        list(labels.values())
        for labels in by_slice.values()
        if len(labels) > ("unknown" in labels and "none" not in labels) + 1
    ]


def understood(found: Survey) -> list[str]:
    """Return how a data set was understood, in lines.

    Args:
        found: Survey of a data set.

    Returns:
        Notes on the layout, classes and their folders, the collection's own split, unreadable
        files, and slices with two labels.
    """
    lines = [*found.notes, f"understood as {'; '.join(_classes_of(found))}"]
    without = sum(not item.person for item in found.items)
    if len(found.items) > 1 and without == len(found.items):
        lines.append(_NO_PERSONS)
    elif len(found.items) > 1 and without:
        lines.append(f"no person is known of {without} of {len(found.items)} pictures and volumes")
    splits = splits_of(found)
    if splits:
        halves = ", ".join(f"{count} {name}" for name, count in sorted(splits.items()))
        lines.append(f"the folders' own split: {halves}")
    lines += [
        f"left out: {facts.path}: {facts.error}" for facts in found.facts if facts.error is not None
    ]
    lines += unreadable_folders(found.items, [facts.error for facts in found.facts])
    conflicts = label_conflicts(found)
    if conflicts:
        lines.append(_conflict_line(found, conflicts))
    return lines


def _classes_of(found: Survey) -> list[str]:
    """Return each class in words, with its number of items and its folders."""
    folders: dict[str, Counter[str]] = defaultdict(Counter)
    for item in found.items:
        folders[label_of_item(item)][_folder_name(item)] += 1
    return [
        f"{WORDS.get(label, label)}: {names.total()} from {_folders_in_words(names)}"
        for label, names in sorted(folders.items())
    ]


def _folders_in_words(names: Collection[str]) -> str:
    """Return the folders of a class: their names, or of many the number and the first."""
    if len(names) > MAX_NAMED:
        return f"{len(names)} folders, such as {next(iter(names))}/"
    return listed(f"{name}/" for name in names)


def _conflict_line(found: Survey, conflicts: Sequence[Sequence[int]]) -> str:
    """Return a sentence that lists the slices with two labels."""
    shown = (
        " = ".join(f"{found.names[i]} ({_word(found.items[i])})" for i in members)
        for members in conflicts
    )
    noun = "slice has" if len(conflicts) == 1 else "slices have"
    return (
        f"LABELS: {len(conflicts)} {noun} two labels, of which one is wrong: {listed(shown)}; "
        "correct them, or move the pictures out"
    )


def _folder_name(item: Item) -> str:
    """Return an item's folder, with the parent folder where its own name gives no label."""
    folder = item.path.parent
    gives_label = label_of(folder.name) is not None and not folder.name.isdecimal()
    return folder.name if gives_label else "/".join(folder.parts[-2:])


def _word(item: Item) -> str:
    label = label_of_item(item)
    return WORDS.get(label, label)
