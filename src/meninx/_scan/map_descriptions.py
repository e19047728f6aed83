"""Find from the description of a DICOM series whether it is a map, a mask or another derived image.

Workstations write no third value of ImageType, and anonymizers remove the attribute. So words that
also name acquisitions count unless ImageType says original, all others always.
"""

from collections.abc import Sequence

from meninx._errors import UnsupportedScan
from meninx._scan.header_words import (
    ACQUIRED_WORDS,
    AFTER_PHASE,
    AFTER_PHASE_WORDS,
    AFTER_SUB,
    BEFORE_PHASE,
    BESIDE_SEQUENCES,
    DERIVED_BEGINNINGS,
    DERIVED_WORDS,
    DIFFUSION_INDICES,
    DIFFUSION_MEANS,
    DIFFUSION_WORDS,
    DIXON_WORDS,
    FAT_WORDS,
    LAST_WORDS,
    MAP_ENDINGS,
    MAP_OR_ACQUISITION,
    MAP_PHRASES,
    MAP_STEMS,
    MAP_WORDS,
    NEGATIONS,
    OTHER_MACHINES,
    PHASE_WORDS,
    POST_MINUS_PRE,
    PURPOSES,
    SEQUENCE_BEGINNINGS,
    SUPPRESSED_BEGINNINGS,
    WATER_WORDS,
)
from meninx._scan.relevance import normalized, without_accents


def map_by_description(description: str, *, is_original: bool) -> UnsupportedScan | None:
    """Return why the description of a series excludes it.

    Args:
        description: SeriesDescription: ProtocolName is shared by all series of a protocol.
        is_original: Whether ImageType says original.

    Returns:
        The refusal; None if no word names a map, a mask, a projection, a phase, a difference or an
        image of fat.
    """
    named = map_word(description, is_original=is_original)
    if not named:
        return None
    return UnsupportedScan(
        f"by its description ({named}) a map, a mask, a projection, a rendering, a phase, a "
        "difference, a synthetic image, a saved screen or an image of fat alone; send the original "
        "series",
        reason="derived",
    )


def map_word(description: str, *, is_original: bool) -> str:
    """Return the word by which a description is that of a map; empty if there is none."""
    words = _counting(normalized(description).split())
    return _named(words, description) or ("" if is_original else _named_unless_original(words))


def _counting(words: Sequence[str]) -> list[str]:
    """Return the words that say what an image is, not what it was acquired for or lacks."""
    purpose = next((place for place, word in enumerate(words) if word in PURPOSES), len(words))
    before = ("", *words)
    counting = [
        word for word, last in zip(words[:purpose], before, strict=False) if last not in NEGATIONS
    ]
    names_sequence = any(word.startswith(SEQUENCE_BEGINNINGS) for word in words)
    if not names_sequence or not OTHER_MACHINES.isdisjoint(words):
        return counting
    return [word for word in counting if not _is_beside_sequences(word)]


def _is_beside_sequences(word: str) -> bool:
    """Return whether a word beside the name of a sequence does not say what the image is."""
    return word in BESIDE_SEQUENCES or (word.endswith("MASK") and word != "BRAINMASK")


def _named(words: Sequence[str], description: str) -> str:
    """Return the words that name a map whatever ImageType says; empty if there are none."""
    phrase = MAP_PHRASES.search(" ".join(words))
    if phrase is not None:
        return phrase[0]
    if POST_MINUS_PRE.search(without_accents(description.upper())):
        return "POST - PRE"
    if _is_of_fat(words, description):
        return "FAT"
    if words == ["MASK"]:
        return "MASK"
    last = len(words) - 1
    return next(
        (
            word
            for place, word in enumerate(words)
            if _names_map(words, place, at_end=place == last)
        ),
        "",
    )


def _names_map(words: Sequence[str], place: int, *, at_end: bool) -> bool:
    word = words[place]
    if word in MAP_OR_ACQUISITION:
        return ACQUIRED_WORDS.isdisjoint(words)
    if at_end and (word in LAST_WORDS or _is_phase(words, place)):
        return True
    if word in DIFFUSION_INDICES:
        return at_end and not DIFFUSION_WORDS.isdisjoint(words)
    return word in MAP_WORDS or _has_part(word)


def _has_part(word: str) -> bool:
    """Return whether a part of a word names a map; UNSUBTRACTED does not."""
    if word.startswith(("UN", "NON")):
        return False
    ends = any(word.endswith(end) and len(word) > len(end) for end in MAP_ENDINGS)
    return ends or any(stem in word for stem in MAP_STEMS)


def _named_unless_original(words: Sequence[str]) -> str:
    """Return the word that names a map if ImageType does not say original; empty without one."""
    return next(
        (word for place, word in enumerate(words) if _names_map_unless_original(words, place)), ""
    )


def _names_map_unless_original(words: Sequence[str], place: int) -> bool:
    word, following = words[place], (*words[place + 1 :], "")[0]
    if word in DIFFUSION_INDICES:
        # A number follows a flip angle.
        return not following.isdigit() and (word == "FA" or not DIFFUSION_WORDS.isdisjoint(words))
    if word in DIFFUSION_MEANS:
        return not DIFFUSION_WORDS.isdisjoint(words)
    if word == "SUB":
        return not following[:1].isdigit() and not following.startswith(AFTER_SUB)
    if word in MAP_OR_ACQUISITION or _is_phase(words, place):
        return True
    return word in DERIVED_WORDS or word.startswith(DERIVED_BEGINNINGS)


def _is_phase(words: Sequence[str], place: int) -> bool:
    """Return whether the word at a place names a phase image, not a phase of contrast or Dixon."""
    before = words[place - 1] if place else ""
    following = (*words[place + 1 :], "")[0]
    if words[place] not in PHASE_WORDS or before in BEFORE_PHASE or before[:1].isdigit():
        return False
    is_named_otherwise = following.startswith(AFTER_PHASE) or following in AFTER_PHASE_WORDS
    return not is_named_otherwise and not following.isdigit()


def _is_of_fat(words: Sequence[str], description: str) -> bool:
    """Return whether words, in capitals, name the fat image of a Dixon sequence."""
    if description.upper().lstrip().startswith("FAT:"):
        return True
    # A description that also names water is shared by both images.
    if DIXON_WORDS.isdisjoint(words) or not WATER_WORDS.isdisjoint(words):
        return False
    following = (*words[1:], "")
    return any(
        word in FAT_WORDS and after != "S" and not after.startswith(SUPPRESSED_BEGINNINGS)
        for word, after in zip(words, following, strict=True)
    )
