"""Exclude images by words of their headers: other body parts and localizers.

Headers are typed by people and filled by software: no attribute is reliable or always present. So
only whole words count: "IAC" in CARDIAC is no inner ear.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

from meninx._scan.header_words import (
    HEAD_BEGINNINGS,
    HEAD_ENDINGS,
    HEAD_PHRASES,
    HEAD_WORDS,
    LOCALIZER_BEGINNINGS,
    LOCALIZER_ENDINGS,
    LOCALIZER_PAIRS,
    LOCALIZER_WORDS,
    NEAR_PHANTOM_PAIN,
    OTHER_BEGINNINGS,
    OTHER_PHRASES,
    OTHER_WORDS,
    PHANTOM_WORDS,
    PLACEHOLDERS,
    QUALITY_PHRASES,
    WHOLE_BODY_WORDS,
)
from meninx._scan.warning import ScanWarning


# All slices of a series have the same descriptions.
@lru_cache(1024)
def normalized(text: str) -> str:
    """Return a text in capitals without accents, with a blank for other than letters and digits."""
    return re.sub(r"[^A-Z0-9*]+", " ", without_accents(text.upper())).strip()


def without_accents(text: str) -> str:
    """Return a text in capitals without accents."""
    plain = unicodedata.normalize("NFKD", text.replace("Œ", "OE").replace("Æ", "AE"))
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


def not_of_head(part: str) -> str | None:
    """Return the named body part if it is not in the head.

    Args:
        part: BodyPartExamined or the meaning of an anatomic code; may be empty.

    Returns:
        The part; None if it is in the head, or none is named.
    """
    words = normalized(part).split()
    if is_placeholder(part):
        return None
    return None if _shows_head(words) else part.strip()


def is_placeholder(part: str) -> bool:
    """Return whether BodyPartExamined is empty or a placeholder."""
    return normalized(part) in PLACEHOLDERS | {""}


def other_body_part(*texts: str) -> str | None:
    """Return a body part named in descriptions, unless they name the head.

    Args:
        *texts: Descriptions of study, series and protocol.

    Returns:
        The word; None if the head is named, or no body part.
    """
    words = [word for text in texts for word in normalized(text).split()]
    if _shows_head(words):
        return None
    phrases = (phrase for phrase in OTHER_PHRASES if phrase in " ".join(words))
    return next((word for word in words if _is_other(word)), None) or next(phrases, None)


def is_whole_body(part: str) -> bool:
    """Return whether a named part is the whole body, which has a head."""
    return part in OTHER_PHRASES or part.startswith(WHOLE_BODY_WORDS)


def names_phantom(text: str) -> str:
    """Return the word by which a description is that of a phantom or of a quality control.

    Args:
        text: Descriptions; "phantom limb" is none.

    Returns:
        The word; empty if there is none.
    """
    words = normalized(text)
    quality = QUALITY_PHRASES.search(words)
    if quality is not None:
        return quality[0]
    if not NEAR_PHANTOM_PAIN.isdisjoint(words.split()):
        return ""
    return next((word for word in words.split() if word in PHANTOM_WORDS), "")


def _shows_head(words: Sequence[str]) -> bool:
    """Return whether words name the head; "femoral head" does not."""
    if any(word.startswith(("FEMOR", "HUMER", "RADIAL", "METAT")) for word in words):
        return False
    if any(phrase in " ".join(words) for phrase in HEAD_PHRASES):
        return True
    return any(
        word.startswith(HEAD_BEGINNINGS) or word in HEAD_WORDS or word.endswith(HEAD_ENDINGS)
        for word in words
    )


def _is_other(word: str) -> bool:
    return word.startswith(OTHER_BEGINNINGS) or word in OTHER_WORDS


def is_localizer(text: str) -> bool:
    """Return whether a description is that of a localizer."""
    words = normalized(text).split()
    # "T1 3 plane reformat" and "pilot study" are no localizers.
    if any(word.startswith(("REFORMAT", "MPR", "STUD")) for word in words):
        words = [word for word in words if word not in ("PLANE", "PLANES", "PLANS", "PILOT")]
    pairs = set(pairwise(words))
    return any(map(_is_of_localizers, words)) or not pairs.isdisjoint(LOCALIZER_PAIRS)


def _is_of_localizers(word: str) -> bool:
    if word.startswith(LOCALIZER_BEGINNINGS) or word.endswith(LOCALIZER_ENDINGS):
        return True
    return word in LOCALIZER_WORDS


def head_doubted(what: str) -> ScanWarning:
    """Return the warning that a scan may show no person's head.

    Args:
        what: Which word says so, and where it stands.

    Returns:
        Warning `not_brain_doubtful`.
    """
    return ScanWarning(
        "not_brain_doubtful",
        f"{what}: if it does not show a person's head, this answer is invalid; choose an MRI of "
        "the head",
    )
