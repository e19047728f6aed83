"""Find from the file name of a volume whether it is a map or a mask.

A BIDS name excludes the volume; words of other names only cause a warning.
"""

import re
from collections.abc import Mapping, Sequence

from meninx._errors import UnsupportedScan
from meninx._scan.header_words import word_set
from meninx._scan.warning import ScanWarning

# BIDS suffixes of maps and masks, besides those that end in "map" (BIDS 1.10, appendix on
# quantitative MRI, and derivatives).
_BIDS_SUFFIXES = word_set(
    "dseg probseg mask defacemask roi seg phase phase1 phase2 phasediff fieldmap mtsat mtr "
    "cbf att xfm"
)
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
_BIDS_NAME = re.compile(r"sub-[a-zA-Z0-9]+(_[a-zA-Z0-9]+-[a-zA-Z0-9+]+)*_([a-zA-Z0-9]+)")


def map_by_bids_name(name: str) -> UnsupportedScan | None:
    """Return why the BIDS name of a volume excludes it.

    Args:
        name: Name of the file, without its folder.

    Returns:
        The refusal; None for an image, or a name that is not BIDS.

    References:
        https://bids-specification.readthedocs.io, file name structure.
    """
    stem = _stem(name)
    found = _BIDS_NAME.fullmatch(stem)
    if found is None:
        return None
    entities = dict(part.split("-", 1) for part in stem.split("_") if "-" in part)
    if not _is_bids_map(found[2].lower(), entities):
        return None
    return UnsupportedScan(
        f"by its BIDS name (..._{stem.split('_', 1)[1]}) a map or a mask, not an image; choose "
        "the original scan",
        reason="derived",
    )


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
    word = _map_word([word for word in re.split(r"[^a-z0-9]+", _stem(name).lower()) if word])
    if word is None:
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
    return re.sub(r"\.(nii|hdr|img|mgh|mgz|nrrd|nhdr|mha|mhd)$", "", stem, flags=re.IGNORECASE)
