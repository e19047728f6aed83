"""Read the layouts of known collections, whose folder names give no label.

BIDS with masks in derivatives, the Medical Segmentation Decathlon (and nnU-Net), and pictures with
their masks beside them.
"""

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from meninx._data.items import (
    LEFT_OUT,
    Item,
    label_of,
    normal_sequence,
    stem_of,
    tumor_type_of,
)
from meninx._data.manifest import raise_faults
from meninx._data.mask_pictures import read_covered
from meninx._data.mask_values import grouped
from meninx._data.progress import Report
from meninx._data.tables import table_rows, table_text, truth_of
from meninx._errors import DataError

# Gorgolewski et al. 2016, The brain imaging data structure.
_BIDS_SUBJECT = re.compile(r"sub-[a-zA-Z0-9]+")
_BIDS_CONTRASTS = ("t1w", "t2w", "flair", "t1c", "t1rho", "pdw", "inplanet2", "unit1")
_BIDS_PARTICIPANTS = "participants.tsv"
DERIVATIVES = "derivatives"
# Words in the names of lesions' masks there; "desc-brain_mask" is none.
_LESION_WORDS = ("lesion", "lesions", "tumor", "tumour", "roi", "wt", "glioma", "gtv")
# Columns of participants.tsv that may say who has a tumor, the best first.
_DIAGNOSES = ("tumor", "tumour", "tumor_type", "label", "diagnosis", "group", "dx")
# Antonelli et al. 2022, The Medical Segmentation Decathlon; nnU-Net adds the channel's number.
DECATHLON_IMAGES, DECATHLON_LABELS = "imagesTr", "labelsTr"
_CHANNEL = re.compile(r"_\d{4}$")
# The end of the name of a mask beside its picture.
PICTURE_MASK = re.compile(r"[-_ ](mask|seg|segmentation)$", re.IGNORECASE)
_POSITION = re.compile(r"(\d+)$")
# A person's folder has a number in its name, and is not a part of the collection.
_PERSON_FOLDER = re.compile(
    r"^(?!train|test|val|fold|set|split|part|batch|image|mask).*\d", re.IGNORECASE
)


def decathlon_items(data: Path, volumes: Sequence[Path]) -> tuple[list[Item], list[Path]]:
    """Return volumes of `imagesTr` with their masks of the same name in `labelsTr`.

    Args:
        data: Folder of the collection.
        volumes: All volumes in it.

    Returns:
        Items, and the volumes outside of these folders.

    Raises:
        DataError: If a volume has no mask.
    """
    masks = {path: path for path in volumes if path.parent.name == DECATHLON_LABELS}
    by_place = {(path.parent.parent, stem_of(path)): path for path in masks}
    items, rest = [], []
    for path in volumes:
        if path.parent.name != DECATHLON_IMAGES:
            if path not in masks:
                rest.append(path)
            continue
        person = _CHANNEL.sub("", stem_of(path))
        mask = by_place.get((path.parent.parent, person)) or by_place.get(
            (path.parent.parent, stem_of(path))
        )
        if mask is None:
            raise DataError(
                f"{path}: no mask of its name in {DECATHLON_LABELS}, beside {DECATHLON_IMAGES}; "
                "add it, or move the volume out"
            )
        items.append(
            Item(
                path,
                tumor=None,
                mask=mask,
                person=person,
                sequence=normal_sequence(stem_of(path)),
                source=data.name,
            )
        )
    return items, rest


def is_bids(data: Path, volumes: Iterable[Path]) -> bool:
    """Return whether a folder holds subjects in the layout of BIDS."""
    return any(
        _BIDS_SUBJECT.fullmatch(first := path.relative_to(data).parts[0])
        and stem_of(path).startswith(f"{first.lower()}_")
        and _contrast(path)
        for path in volumes
    )


def bids_items(
    data: Path, volumes: Sequence[Path], named: Mapping[str, str], report: Report
) -> tuple[list[Item], list[str]]:
    """Return the anatomical volumes of BIDS, labeled by masks in derivatives or participants.tsv.

    Args:
        data: Folder of the collection.
        volumes: All volumes in it.
        named: Labels of subjects by their names, in small letters, as the user gave them.
        report: Called with a sentence about short rows of participants.tsv.

    Returns:
        Items, and sentences about omissions.

    Raises:
        DataError: If neither a mask nor participants.tsv labels a subject.
    """
    images = _bids_images(data, volumes)
    masks = _bids_masks(data, volumes)
    by_subject = _participants(data, report)
    items, unlabeled = [], []
    for path in images:
        subject = path.relative_to(data).parts[0]
        mask = next((mask for mask in masks[subject] if _belongs(mask, path)), None)
        label = named.get(subject.lower()) or by_subject.get(subject)
        if label == LEFT_OUT:
            continue
        if mask is None and label is None:
            unlabeled.append(subject)
            continue
        items.append(
            Item(
                path,
                tumor=None if mask else label != "none",
                tumor_type=tumor_type_of(label),
                mask=mask,
                person=subject,
                sequence=normal_sequence(stem_of(path)),
                source=data.name,
            )
        )
    _check_labeled(data, sorted(set(unlabeled)))
    others = len(volumes) - len(images) - sum(map(len, masks.values()))
    absent = by_subject.keys() - {path.relative_to(data).parts[0] for path in images}
    return items, _bids_notes(others, sorted(absent))


def _bids_images(data: Path, volumes: Iterable[Path]) -> list[Path]:
    """Return the anatomical volumes of subjects, outside of derivatives."""
    raw = [path for path in volumes if _BIDS_SUBJECT.fullmatch(path.relative_to(data).parts[0])]
    return [path for path in raw if _contrast(path) and not _is_lesion_mask(path)]


def _bids_masks(data: Path, volumes: Iterable[Path]) -> defaultdict[str, list[Path]]:
    """Return the masks of lesions by subject."""
    masks = defaultdict(list)
    for path in volumes:
        if _is_lesion_mask(path) and (subject := _subject(data, path)):
            masks[subject].append(path)
    return masks


def _check_labeled(data: Path, unlabeled: Sequence[str]) -> None:
    """Check that no subject is without a label."""
    if unlabeled:
        raise DataError(
            f"{data}: BIDS, but nothing says whether {len(unlabeled)} subjects have a tumor (the "
            f"first is {unlabeled[0]}): expected masks named ..._label-lesion_mask in "
            f"{DERIVATIVES}, or a column `tumor` (0 or 1) in {_BIDS_PARTICIPANTS}; leave one out "
            f"with --label {unlabeled[0]}={LEFT_OUT}"
        )


def _bids_notes(others: int, absent: Sequence[str]) -> list[str]:
    """Return sentences about volumes left out, and about subjects without a volume."""
    notes = [f"{others} other volumes are left out"] if others else []
    if absent:
        notes.append(
            f"{_BIDS_PARTICIPANTS} lists {len(absent)} subjects without a volume here, the first "
            f"is {absent[0]}"
        )
    return notes


def _contrast(path: Path) -> str:
    """Return the contrast at the end of an anatomical volume's name; empty for other volumes."""
    last = stem_of(path).rpartition("_")[2]
    return last if last in _BIDS_CONTRASTS else ""


def _is_lesion_mask(path: Path) -> bool:
    words = re.split(r"[^a-z0-9]+", stem_of(path))
    is_mask = words[-1] in ("mask", "roi", "dseg", "seg", "segmentation")
    return is_mask and not set(words).isdisjoint(_LESION_WORDS)


def _subject(data: Path, path: Path) -> str:
    parts = path.relative_to(data).parts
    return next((part for part in parts if _BIDS_SUBJECT.fullmatch(part)), "")


def _belongs(mask: Path, image: Path) -> bool:
    """Return whether a mask has the session of an image, and its contrast if it names one."""
    words, own = set(stem_of(mask).split("_")), set(stem_of(image).split("_"))
    sessions = {word for word in words if word.startswith("ses-")}
    contrasts = {word for word in re.split(r"[^a-z0-9]+", stem_of(mask)) if word in _BIDS_CONTRASTS}
    return sessions <= own and (not contrasts or _contrast(image) in contrasts)


def _participants(data: Path, report: Report) -> dict[str, str]:
    """Return the labels of subjects in participants.tsv."""
    table = data / _BIDS_PARTICIPANTS
    if not table.is_file():
        return {}
    names = next(csv.reader(table_text(table, table.read_bytes())), [])
    rows = table_rows(table, table_text(table, table.read_bytes()), names, report)
    columns = {name.lower(): name for name in names}
    column = next((columns[name] for name in _DIAGNOSES if name in columns), None)
    if column is None or "participant_id" not in columns:
        return {}
    by_subject = {}
    for row in rows:
        label = _label_of_diagnosis(row[column])
        if label is not None:
            by_subject[row[columns["participant_id"]]] = label
    return by_subject


def _label_of_diagnosis(text: str) -> str | None:
    return {"1": "unknown", "0": "none"}.get(truth_of(text)) or label_of(text)


def masked_pictures(
    data: Path, pictures: Sequence[Path], report: Report
) -> tuple[list[Item], list[Path]]:
    """Return pictures with a mask beside them, such as `x.tif` with `x_mask.tif`.

    Args:
        data: Folder of the collection.
        pictures: All pictures in it.
        report: Called with a sentence where a threshold decides that masks are empty.

    Returns:
        Items, labeled by their masks: slices of one person where a folder holds nothing else; and
        the pictures without a mask. Masks without a picture are in neither.

    Raises:
        DataError: If a mask can't be read, or has values that no mask has.
    """
    by_stem = {(path.parent, path.stem): path for path in pictures}
    all_masks = [path for path in pictures if PICTURE_MASK.search(path.stem)]
    masks = {
        picture: path
        for path in all_masks
        if (picture := by_stem.get((path.parent, PICTURE_MASK.sub("", path.stem)))) is not None
    }
    taken: set[Path] = {*masks, *all_masks} if masks else set()
    rest = [path for path in pictures if path not in taken]
    numbered = _numbered_folders(data, masks)
    faults: list[str] = []
    said: list[str] = []
    items = []
    for path, mask in masks.items():
        try:
            has_tumor = _has_tumor(mask, said.append)
        except DataError as error:
            faults.append(str(error))
            continue
        items.append(_masked(data, path, mask, has_tumor, path.parent in numbered))
    raise_faults(data, faults)
    for sentence in grouped(said):
        report(sentence)
    return items, rest


def _has_tumor(mask: Path, report: Report) -> bool:
    """Return whether a mask is not empty; report a threshold that makes it empty."""
    said: list[str] = []
    has_tumor = bool(read_covered(mask, said.append).any())
    if not has_tumor:
        for sentence in said:
            report(sentence)
    return has_tumor


def _masked(data: Path, path: Path, mask: Path, has_tumor: bool, in_numbered: bool) -> Item:
    folder = path.relative_to(data).parent
    # A folder is a person's if its pictures are named after it; a class's may be, too.
    label = label_of(path.parent.name)
    is_person = label is None and (in_numbered or path.stem.startswith(path.parent.name))
    person = _person_folder(path.parent).name if is_person else ""
    number = _POSITION.search(path.stem)
    position = int(number[1]) if person and number else None
    return Item(
        path,
        # A tumor in a class without one is a contradiction, found where the mask is compared.
        tumor=has_tumor and label != "none",
        tumor_type=tumor_type_of(label) if has_tumor else None,
        mask=mask if has_tumor else None,
        person=person,
        stack=str(folder) if position is not None else "",
        position=position,
        source=data.name,
    )


def _numbered_folders(data: Path, pictures: Iterable[Path]) -> set[Path]:
    """Return folders of people whose slices are only numbered, such as `P07/slice_001.png`.

    Such a folder has a number in its name, and a slice with the same name as one in another folder.
    """
    stems: dict[Path, set[str]] = defaultdict(set)
    for path in pictures:
        stems[path.parent].add(path.stem)
    candidates = {
        folder: own
        for folder, own in stems.items()
        if folder != data and _may_be_person(folder, own)
    }
    found = Counter(stem for own in candidates.values() for stem in own)
    return {folder for folder, own in candidates.items() if any(found[stem] > 1 for stem in own)}


def _may_be_person(folder: Path, stems: Iterable[str]) -> bool:
    """Return whether a folder is named as a person's, and all its slices end in a number."""
    return (
        label_of(folder.name) is None
        and _PERSON_FOLDER.search(_person_folder(folder).name) is not None
        and all(_POSITION.search(stem) for stem in stems)
    )


def _person_folder(folder: Path) -> Path:
    """Return the folder of the person: the parent where a folder is named after a sequence."""
    return folder.parent if normal_sequence(folder.name) else folder
