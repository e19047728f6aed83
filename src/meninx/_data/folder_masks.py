"""Assign the masks of a folder to its volumes, by their names."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from meninx._data.items import normal_sequence, stem_of
from meninx._errors import DataError
from meninx._scan.header_words import word_set
from meninx._scan.map_names import map_warning, refusal_by_bids_name
from meninx._scan.sequence import is_other_contrast

MASK_WORDS = ("mask", "masks", "seg", "segm", "label", "labels", "segmentation", "dseg")
# Words in names of tumor masks, and of other masks.
_TUMOR_WORDS = word_set("tumor tumour tumors lesion lesions wt tc glioma gtv gbm")
_OTHER_MASK_WORDS = word_set(
    "brain parenchyma skull head bet skullstrip skullstripped tissue gm wm csf aseg aparc face "
    "ventricle ventricles air body"
)
# Number of endings that a message lists.
MAX_NAMED = 8


def is_mask(path: Path) -> bool:
    """Return whether the name of a volume is that of a mask."""
    return any(word in MASK_WORDS for word in _words(path))


def masks_of(
    folder: Path, volumes: Sequence[Path], masks: Sequence[Path]
) -> dict[Path, tuple[Path, str]]:
    """Return the mask of the tumor for each volume of a folder.

    Masks of the brain and of tissues do not count beside other masks. A folder of one person has
    one mask. A folder of several people has one for each, whose name begins like those of the
    volumes.

    Args:
        folder: The folder, for messages.
        volumes: Its volumes that are no masks.
        masks: Its masks.

    Returns:
        By volume: its mask, and the beginning that their names share where there are several masks,
        else an empty text. Empty where there are no masks.

    Raises:
        DataError: If it is not clear which mask is the tumor's.
    """
    chosen = _tumor_masks(masks)
    if len(chosen) <= 1:
        return dict.fromkeys(volumes, (chosen[0], "")) if chosen else {}
    by_exam = {_exam(mask): mask for mask in chosen}
    found = {}
    for volume in volumes:
        exam = _longest_beginning(by_exam, stem_of(volume))
        if not exam or len(by_exam) < len(chosen):
            names = ", ".join(sorted(mask.name for mask in chosen)[:4])
            raise DataError(
                f"{folder}: {len(chosen)} masks ({names}), and their names do not say which is "
                f"that of the tumor in {volume.name}; call it ..._tumor_seg, begin its name as "
                "its volumes', or move the others out"
            )
        found[volume] = (by_exam[exam], volume.name[: len(exam)])
    return found


def images_of(volumes: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return the volumes of a folder that are images of the head, and the other ones.

    Args:
        volumes: Volumes of one folder that are no masks.

    Returns:
        Images; and maps by their names, and, beside images of T1, T2 or FLAIR, other contrasts
        such as perfusion.
    """
    maps, images = partition(volumes, _is_map)
    if any(normal_sequence(stem_of(path)) for path in images):
        others, images = partition(images, lambda path: is_other_contrast(stem_of(path)))
        maps += others
    return images, maps


def partition(
    paths: Iterable[Path], condition: Callable[[Path], bool]
) -> tuple[list[Path], list[Path]]:
    """Return the paths that meet a condition, and the other ones."""
    met: list[Path] = []
    others: list[Path] = []
    for path in paths:
        (met if condition(path) else others).append(path)
    return met, others


def left_out_sentence(left_out: Mapping[str, int]) -> str:
    """Return a sentence about the volumes that were left out.

    Args:
        left_out: Number of volumes by the last word of their names.

    Returns:
        A sentence for a note.
    """
    shown = sorted(left_out.items(), key=lambda pair: (-pair[1], pair[0]))
    names = ", ".join(f"{count} {word}" for word, count in shown[:MAX_NAMED])
    more = f" and {len(shown) - MAX_NAMED} other names" if len(shown) > MAX_NAMED else ""
    return f"volumes left out by their names, as maps or other contrasts: {names}{more}"


def _tumor_masks(masks: Sequence[Path]) -> list[Path]:
    """Return the masks that may be of the tumor: those named so, or else none of other tissue."""
    own = [mask for mask in masks if _OTHER_MASK_WORDS.isdisjoint(_words(mask))]
    of_tumors = [mask for mask in own or masks if not _TUMOR_WORDS.isdisjoint(_words(mask))]
    return of_tumors or own


def _is_map(path: Path) -> bool:
    return refusal_by_bids_name(path.name) is not None or map_warning(path.name) is not None


def _words(path: Path) -> list[str]:
    """Return the words of a volume's name, in small letters, without numbers."""
    return [word for word in re.split(r"[^a-z]+", stem_of(path)) if word]


def _exam(mask: Path) -> str:
    """Return the beginning of a mask's name that its volumes share."""
    words = re.split(r"([-_ .]+)", stem_of(mask))
    while words and (words[-1] in {*MASK_WORDS, *_TUMOR_WORDS} or not words[-1].strip("-_ .")):
        words.pop()
    return "".join(words)


def _longest_beginning(exams: Iterable[str], stem: str) -> str:
    """Return the longest exam's name that a volume's name begins with; empty without one."""
    found = [exam for exam in exams if exam and _begins(stem, exam)]
    return max(found, key=len, default="")


def _begins(stem: str, exam: str) -> bool:
    """Return whether a name is an exam's name, or continues it with another word."""
    return stem == exam or (stem.startswith(exam) and not stem[len(exam)].isalnum())
