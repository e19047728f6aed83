"""Find from the file name of a volume or picture whether it is a map, a mask or no MRI of a head.

A BIDS name excludes the volume; words of other names only cause a warning.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from meninx._errors import UnsupportedScan
from meninx._scan.header_words import HEAD_BEGINNINGS, NAMES_OF_PEOPLE, word_set
from meninx._scan.map_descriptions import map_word
from meninx._scan.relevance import head_doubted, names_phantom, other_body_part
from meninx._scan.sequence import Acquisition, contrast_warning, sequence_from_text
from meninx._scan.warning import ScanWarning

# BIDS suffixes of maps and masks, besides those that end in "map" (BIDS 1.10, appendix on
# quantitative MRI, and derivatives).
_BIDS_SUFFIXES = word_set(
    "dseg probseg mask defacemask roi seg phase phase1 phase2 phasediff fieldmap mtsat mtr "
    "cbf att xfm"
)
# BIDS suffixes of other modalities than MRI (PET, and proposals for CT), and of images of the head.
_BIDS_MODALITIES = word_set("ct cta pet spect meg eeg ieeg nirs xray")
_BIDS_IMAGES = word_set("t1w t2w flair t1 t1c t1ce t1gd t2 inplanet1 inplanet2")
# BIDS entities whose value may name a map, and values of `part` other than magnitude.
_BIDS_VALUES = ("desc", "param", "stat", "label")
_BIDS_PARTS = frozenset(["phase", "real", "imag"])
# Whole words that name a map or a mask; a number may follow, as in "zstat1".
WORDS = word_set(
    "adc eadc dadc tracew colfa rcbv rcbf cbv cbf mtt rmtt ttp tmax ktrans phase qsm dseg probseg "
    "mask masks seg segm segmentation label labels labelmap parc parcellation atlas aseg aparc "
    "wmparc ribbon roi pve pveseg tstat zstat fstat cope varcope spmt spmf pvalue jacobian warp "
    "deformation displacement bias biasfield fieldmap probability thickness mip minip mnip "
    "difference subtraction"
)
# Two letters may be initials or a flip angle: they count only at the end of a name, or with a word
# of diffusion.
LETTERS = word_set("fa md ad rd mk ak rk")
_LETTERS_AT_END = frozenset(["fa", "md"])
DIFFUSION = word_set("dti dki dwi dtifit diffusion noddi tensor eddy")
# Words before "phase" in names of images, such as Dixon's "in phase".
_PHASES_OF_IMAGES = word_set(
    "in out opp opposed of anti arterial venous early late delayed multi contrast no"
)
# Words for other machines; "TC" of Romance languages only beside the head, as it may be initials.
_MACHINES = word_set(
    "ct cta ctp ctac cbct ncct cect nect hrct tdm tac pet petct fdg suv spect dsa xray angioct "
    "roentgen ultrasound scintigraphy"
)
# Before the name of another machine: "T1_to_CT" is T1.
_TOWARDS = word_set("to in on onto for reg coreg")
# Names of the simulated heads that `meninx phantom` writes.
_OWN_PHANTOM = re.compile(r"phantom-\d{4}")
_SUFFIXES = "nii|hdr|img|mgh|mgz|nrrd|nhdr|mha|mhd|png|jpe?g|jp2|j2k|tiff?|bmp|gif|webp"
_BIDS_NAME = re.compile(r"sub-[a-zA-Z0-9]+(_[a-zA-Z0-9]+-[a-zA-Z0-9+]+)*_([a-zA-Z0-9]+)")


def refusal_by_bids_name(name: str) -> UnsupportedScan | None:
    """Return why the BIDS name of a volume excludes it.

    Args:
        name: Name of the file, without its folder.

    Returns:
        The refusal; None for an image by MRI, or a name that is not BIDS.

    References:
        https://bids-specification.readthedocs.io, file name structure.
    """
    stem = _stem(name)
    found = _BIDS_NAME.fullmatch(stem)
    if found is None:
        return None
    suffix, entities = found[2].lower(), _entities(stem)
    shown = f"by its BIDS name (..._{stem.split('_', 1)[1]})"
    if suffix in _BIDS_MODALITIES:
        return UnsupportedScan(f"{shown} no MRI; expected MRI of a head", reason="not_mr")
    if not _is_bids_map(suffix, entities):
        return None
    return UnsupportedScan(
        f"{shown} a map or a mask, not an image; choose the original scan", reason="derived"
    )


def name_warnings(name: str) -> tuple[ScanWarning, ...]:
    """Return what the file name of a volume or picture puts in doubt.

    Args:
        name: Name of the file, without its folder.

    Returns:
        Warnings `derived_doubtful`, `other_contrast`, `not_mr_doubtful` and `not_brain_doubtful`.
    """
    telling = _telling(name)
    found = (
        map_warning(name),
        contrast_warning(Acquisition(text=telling)),
        machine_warning(telling, "the file name"),
        _part_warning(_telling(name, "bp", "acq")),
        _phantom_warning(name),
    )
    return tuple(filter(None, found))


def machine_warning(text: str, place: str) -> ScanWarning | None:
    """Return a warning if a text contains a word for another machine than an MR scanner.

    Args:
        text: Name of a file, or a description.
        place: What the text is, for the message.

    Returns:
        Warning `not_mr_doubtful`, or None; PET/MR is MRI.
    """
    words = _words_in(text)
    if not {"mr", "mri", "mrt", "irm"}.isdisjoint(words):
        return None
    of_head = any(word.upper().startswith(HEAD_BEGINNINGS) for word in words)
    named = [
        word
        for before, word in pairwise(["", *words])
        if (_is_machine(word) or (word == "tc" and of_head)) and before not in _TOWARDS
    ]
    # "CT017_T1" may be a person's number.
    is_number = re.match(r"[a-z]{2}\d", text.lower()) and sequence_from_text(text) != "unknown"
    if not named or (is_number and named == words[:1]):
        return None
    return ScanWarning(
        "not_mr_doubtful",
        f"{place} contains {named[0].upper()!r}, as names of images of other machines do: if it "
        "is no MRI, this answer is invalid; choose an MRI of the head",
    )


def _is_machine(word: str) -> bool:
    """Return whether a word names a machine, by itself or before a word of the head: CTBRAIN."""
    together = re.fullmatch("(ct|pet|tdm|tac)(.+)", word)
    of_head = together is not None and together[2].upper().startswith(HEAD_BEGINNINGS)
    return word in _MACHINES or of_head


def _phantom_warning(name: str) -> ScanWarning | None:
    """Return a warning if a file name is that of a phantom, but none that meninx wrote."""
    word = "" if _OWN_PHANTOM.match(name) else names_phantom(_stem(name))
    if not word:
        return None
    return head_doubted(f"the file name contains {word!r}")


def _part_warning(text: str) -> ScanWarning | None:
    """Return a warning if a file name names another body part, and no head."""
    part = other_body_part(*_words_in(text))
    if part is None or part in NAMES_OF_PEOPLE:
        return None
    return head_doubted(f"the file name contains {part!r}")


def _telling(name: str, *keys: str) -> str:
    """Return the part of a file name that tells what it shows.

    Args:
        name: Name of the file.
        *keys: Entities of BIDS names that tell it beside the suffix. Without any, `acq`, `ce` and
            `desc`, unless the suffix is that of an image of the head: `acq-dwi_T1w` is one.

    Returns:
        Words of the name.
    """
    stem = _stem(name)
    found = _BIDS_NAME.fullmatch(stem)
    if found is None:
        return stem
    entities = _entities(stem)
    if not keys and found[2].lower() not in _BIDS_IMAGES:
        keys = ("acq", "ce", "desc")
    return "_".join([*(entities[key] for key in keys if key in entities), found[2]])


def _entities(stem: str) -> dict[str, str]:
    """Return the entities of a BIDS name, such as `acq`."""
    return dict(part.split("-", 1) for part in stem.split("_") if "-" in part)


def _words_in(text: str) -> list[str]:
    """Return the words of a text in small letters, without digits; capitals begin new words."""
    return re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower())


def _is_bids_map(suffix: str, entities: Mapping[str, str]) -> bool:
    """Return whether the suffix, in lower case, or an entity of a BIDS name is that of a map."""
    if suffix in _BIDS_SUFFIXES or suffix.endswith("map"):
        return True
    if entities.get("part", "").lower() in _BIDS_PARTS:
        return True
    values = [entities[key].lower() for key in _BIDS_VALUES if key in entities]
    return any(value in WORDS | LETTERS for value in values)


def map_warning(name: str) -> ScanWarning | None:
    """Return a warning if a file name contains a word for a map.

    Args:
        name: Name of the file, without its folder.

    Returns:
        Warning `derived_doubtful`, or None.
    """
    stem = _stem(name)
    word = _map_word([word for word in re.split(r"[^a-z0-9]+", stem.lower()) if word])
    # "sub" begins the names of subjects.
    own = re.sub("^sub(?![a-z])", "", _telling(name), flags=re.IGNORECASE)
    word = word or map_word(own, is_original=True)
    if not word:
        return None
    return ScanWarning(
        "derived_doubtful",
        f"the file name contains {word.upper()!r}, like names of maps and masks: if it was "
        "computed from other images, this answer is invalid; choose the scan itself",
    )


def _map_word(words: Sequence[str]) -> str | None:
    """Return the first of these lower-case words that names a map or a mask."""
    plain = [word.rstrip("0123456789") or word for word in words]
    diffusion = not DIFFUSION.isdisjoint(words)
    for place, (word, letters) in enumerate(zip(words, plain, strict=True)):
        before = plain[place - 1] if place else ""
        if letters == "phase" and before in _PHASES_OF_IMAGES:
            continue
        is_last = place == len(words) - 1
        is_index = _is_diffusion_index(word, diffusion=diffusion, is_last=is_last)
        if letters in WORDS or word.endswith(("map", "maps")) or is_index:
            return word
    return None


def _is_diffusion_index(word: str, *, diffusion: bool, is_last: bool) -> bool:
    """Return whether two letters, such as FA, name an index of diffusion at this place."""
    return (diffusion and word in LETTERS) or (is_last and word in _LETTERS_AT_END)


def _stem(name: str) -> str:
    """Return a file name without the suffixes of its format."""
    stem = re.sub(r"\.(gz|bz2)$", "", name, flags=re.IGNORECASE)
    return re.sub(rf"\.({_SUFFIXES})$", "", stem, flags=re.IGNORECASE)
