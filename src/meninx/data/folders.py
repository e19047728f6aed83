"""Find out what a folder of pictures or volumes is labeled as, by its names."""

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from meninx.errors import DataError
from meninx.labels import TYPE_NAMES
from meninx.scan.kinds import PICTURE_SUFFIXES
from meninx.scan.sequence import sequence_from_text

VOLUME_SUFFIXES = (".nii", ".nii.gz")
# Words by which people name their folders, without separators. None: a tumor of unknown type.
TUMOR_FREE_NAMES = ("no", "notumor", "notumour", "normal", "healthy", "negative", "none", "control",
                    "0", "tumorfree", "nontumor")  # fmt: skip
TUMOR_NAMES = ("yes", "tumor", "tumour", "positive", "braintumor", "abnormal", "cancer", "1")
SPLIT_NAMES = {
    "train": "train", "training": "train", "test": "test", "testing": "test",
    "val": "validation", "valid": "validation", "validation": "validation",
}  # fmt: skip
MASK_WORDS = ("mask", "masks", "seg", "segm", "label", "labels", "segmentation")
# Numbers are labels only beside each other: "tumor/0" is the first patient with a tumor.
NUMBERS = ("0", "1")
# What a folder is said to be that is left out.
LEFT_OUT = "out"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Item:
    """Hold one picture or volume as it was found.

    Args:
        path: The file.
        tumor: Whether it shows a tumor; None where only its mask can tell.
        tumor_type: One of `labels.TYPE_NAMES`; None where it has no tumor or an unknown one.
        mask: Its mask's file.
        person: Where known, else empty.
        site: Hospital or source within the collection; empty if unknown.
        sequence: `T1`, `T1c`, `T2`, `FLAIR`; empty if unknown.
        stack: Names the neighboring slices of one person and sequence; empty if it stands alone.
        position: Place along the stack; None if unknown.
        group: As the user's table has it, else empty; never parted either.
        fold: As the user's table has it, else 0.
        split: `train`, `validation` or `test` where the folder names one, else empty.
        source: The collection.
        extra: Further columns, kept for subgroups.
    """

    path: Path
    tumor: bool | None
    tumor_type: str | None = None
    mask: Path | None = None
    person: str = ""
    site: str = ""
    sequence: str = ""
    stack: str = ""
    position: int | None = None
    group: str = ""
    fold: int = 0
    split: str = ""
    source: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)


def label_of(name: str) -> str | None:
    """Return what a folder's name says of its pictures.

    Args:
        name: Such as `glioma_tumor` or `No Tumor`.

    Returns:
        A type's name, `none` for no tumor, `unknown` for a tumor of unknown type; None where the
        name says nothing.
    """
    word = re.sub(r"[^a-z0-9]", "", name.lower())
    if word in TUMOR_FREE_NAMES:
        return "none"
    if word in TUMOR_NAMES:
        return "unknown"
    for kind in TYPE_NAMES:
        if word.startswith(kind):
            return kind
    return None


def normal_sequence(text: str) -> str:
    """Return the name of the sequence that a table's cell or a file's name means.

    Args:
        text: Such as `t1`, `T1Gd` or `t2_flair`.

    Returns:
        `T1`, `T1c`, `T2` or `FLAIR`; empty for all else.
    """
    sequence = sequence_from_text(text)
    return "" if sequence == "unknown" else sequence


def parse_labels(labels: Mapping[str, str] | None) -> dict[str, str]:
    """Return what folder names mean, by their lower-case names.

    Args:
        labels: A type's name, `none`, `unknown` or `out` (left out), by folder name.

    Returns:
        The same for any case of the names.

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


def find_items(data: Path, labels: Mapping[str, str] | None = None) -> list[Item]:
    """Find the labeled pictures of a folder.

    Args:
        data: A folder with a folder for each class, maybe inside of Training and Testing; or one
            with volumes beside their masks, a folder for each person.
        labels: What further folder names mean: a type's name, `none`, `unknown` or `out`.

    Returns:
        In the order of their paths.

    Raises:
        DataError: If nothing is found, or a folder's name says nothing.
    """
    named = parse_labels(labels)
    if not data.is_dir():
        raise DataError(f"{data}: no such folder; name a folder of class folders or a manifest CSV")
    pictures, volumes = [], []
    passed_over: Counter[str] = Counter()
    for path in sorted(data.rglob("*")):
        # Hidden files are the leavings of other programs.
        if not path.is_file() or any(p.startswith(".") for p in path.relative_to(data).parts):
            continue
        if path.name.lower().endswith(VOLUME_SUFFIXES):
            volumes.append(path)
        elif path.suffix.lower() in PICTURE_SUFFIXES:
            pictures.append(path)
        else:
            passed_over[path.suffix.lower() or "(no suffix)"] += 1
    if passed_over:
        told = ", ".join(f"{count} {suffix}" for suffix, count in passed_over.most_common(8))
        log.warning("%s: files passed over: %s", data, told)
    items = list(_class_items(data, pictures, named)) + list(_volume_items(data, volumes, named))
    if not items:
        raise DataError(
            f"{data}: no pictures ({', '.join(PICTURE_SUFFIXES)}) and no volumes "
            f"({', '.join(VOLUME_SUFFIXES)}) found"
        )
    return items


def _class_items(data: Path, paths: list[Path], named: Mapping[str, str]) -> Iterator[Item]:
    """Yield pictures labeled by the nearest folder whose name says something."""
    silent: dict[str, int] = {}
    for path in paths:
        found = _labeled(data, path, named)
        if found is None:
            folder = str(path.relative_to(data).parent)
            silent[folder] = silent.get(folder, 0) + 1
            continue
        label, split = found
        if label == LEFT_OUT:
            continue
        yield Item(
            path,
            tumor=label != "none",
            tumor_type=label if label in TYPE_NAMES else None,
            split=split,
            source=data.name,
        )
    if silent:
        told = ", ".join(f"{name} ({count} pictures)" for name, count in sorted(silent.items())[:8])
        raise DataError(
            f"{data}: folders whose names say neither tumor nor no tumor: {told}; say what they "
            f"hold with --label NAME=none|unknown|{'|'.join(TYPE_NAMES)}, or leave them out with "
            f"--label NAME={LEFT_OUT}"
        )


def _labeled(data: Path, path: Path, named: Mapping[str, str]) -> tuple[str, str] | None:
    """Return a path's label and its split."""
    folders = path.relative_to(data).parts[:-1] or ()
    label, split, place = None, "", data
    for name in (*((data.name,) if not folders else ()), *folders):
        told = named.get(name.lower()) or label_of(name)
        if name in NUMBERS and name not in named and (label or not _are_classes(place)):
            told = None
        label, place = told or label, place / name
        split = SPLIT_NAMES.get(name.lower(), split)
    return (label, split) if label else None


@cache
def _are_classes(folder: Path) -> bool:
    """Return whether all folders in a folder are named by numbers that are labels."""
    names = {path.name for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else set()
    return names == set(NUMBERS)


def _volume_items(data: Path, paths: list[Path], named: Mapping[str, str]) -> Iterator[Item]:
    """Yield volumes with the mask that lies beside them, or labeled by their folder."""
    folders: dict[Path, list[Path]] = {}
    for path in paths:
        folders.setdefault(path.parent, []).append(path)
    for folder, files in folders.items():
        masks = [path for path in files if _is_mask(path)]
        if len(masks) > 1:
            raise DataError(f"{folder}: {len(masks)} masks, expected one for all its volumes")
        for path in files:
            if path in masks:
                continue
            found = _labeled(data, path, named)
            if not masks and found is None:
                raise DataError(
                    f"{path}: neither a mask beside it (a file with {', '.join(MASK_WORDS)} in its "
                    "name) nor a folder whose name says tumor or no tumor"
                )
            label, split = found or ("unknown", "")
            if label == LEFT_OUT:
                continue
            relative = folder.relative_to(data)
            yield Item(
                path,
                tumor=None if masks else label != "none",
                tumor_type=label if label in TYPE_NAMES else None,
                mask=masks[0] if masks else None,
                person=str(relative) if masks else "",
                sequence=normal_sequence(_stem(path)),
                split=split,
                source=relative.parts[0] if len(relative.parts) > 1 else data.name,
            )


def _stem(path: Path) -> str:
    return path.name.lower().removesuffix(".gz").removesuffix(".nii")


def _is_mask(path: Path) -> bool:
    return any(word in MASK_WORDS for word in re.split(r"[^a-z]+", _stem(path)))
