"""Exclude images by words of their headers: other body parts, localizers, maps.

Headers are typed by people and filled by software: no attribute is reliable or always present. So
only whole words count: "IAC" in CARDIAC is no inner ear.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

from meninx._errors import UnsupportedScan
from meninx._scan.header_words import (
    DERIVED_BEGINNINGS,
    DERIVED_WORDS,
    DIXON_WORDS,
    FAT_WORDS,
    HEAD_BEGINNINGS,
    HEAD_ENDINGS,
    HEAD_PHRASES,
    HEAD_WORDS,
    LOCALIZER_BEGINNINGS,
    LOCALIZER_PAIRS,
    LOCALIZER_WORDS,
    ORIGINAL_PHRASES,
    ORIGINAL_WORDS,
    OTHER_BEGINNINGS,
    OTHER_PHRASES,
    OTHER_WORDS,
    PLACEHOLDERS,
    SUPPRESSED_BEGINNINGS,
    WATER_WORDS,
)


# All slices of a series have the same descriptions.
@lru_cache(1024)
def normalized(text: str) -> str:
    """Return a text in capitals without accents, with a blank for other than letters and digits."""
    plain = unicodedata.normalize("NFKD", text.upper().replace("Œ", "OE").replace("Æ", "AE"))
    letters = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return re.sub(r"[^A-Z0-9*]+", " ", letters).strip()


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
    return any(
        word.startswith(LOCALIZER_BEGINNINGS) or word in LOCALIZER_WORDS for word in words
    ) or not pairs.isdisjoint(LOCALIZER_PAIRS)


def map_by_description(text: str) -> UnsupportedScan | None:
    """Return why the description of a derived image excludes it; None if it does not."""
    words = normalized(text).split()
    if not any(word in DERIVED_WORDS or word.startswith(DERIVED_BEGINNINGS) for word in words):
        return None
    return UnsupportedScan(
        "a map computed from other images, by its description; send the original series",
        reason="derived",
    )


def map_in_original(description: str) -> UnsupportedScan | None:
    """Return why the description of a series excludes it although ImageType says original.

    Args:
        description: SeriesDescription alone: ProtocolName is shared by all series of a protocol.

    Returns:
        The refusal; None if no word names a map, a projection, a phase or an image of fat.
    """
    words = normalized(description).split()
    named = (
        any(word in ORIGINAL_WORDS for word in words)
        or ORIGINAL_PHRASES.search(" ".join(words)) is not None
        or _is_of_fat(words, description)
    )
    if not named:
        return None
    return UnsupportedScan(
        "a map, a projection, a phase or an image of fat alone, by its description, although "
        "ImageType says original; send the original series",
        reason="derived",
    )


def _is_of_fat(words: Sequence[str], description: str) -> bool:
    """Return whether words, in capitals, name the fat image of a Dixon sequence."""
    if description.upper().lstrip().startswith("FAT:"):
        return True
    # A description that also names water is shared by both images.
    if DIXON_WORDS.isdisjoint(words) or not WATER_WORDS.isdisjoint(words):
        return False
    following = (*words[1:], "")
    return any(
        word in FAT_WORDS and not after.startswith(SUPPRESSED_BEGINNINGS)
        for word, after in zip(words, following, strict=True)
    )
