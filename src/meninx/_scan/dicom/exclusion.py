"""Decide from a DICOM header whether an image is excluded: not MR, not a brain, no pixels."""

from functools import lru_cache

import pydicom
from pydicom import Dataset

from meninx._errors import InputError, LimitExceeded, UnreadableFile, UnsupportedScan
from meninx._scan.dicom.attributes import COLORED, description_text, is_derived, is_original
from meninx._scan.dicom.species import animal
from meninx._scan.dicom.values import items, number, numbers, text, texts, whole_number
from meninx._scan.header_words import NAMES_OF_PEOPLE
from meninx._scan.image_type import complex_part, kind_of_type, projection
from meninx._scan.limits import Limits
from meninx._scan.map_descriptions import map_by_description
from meninx._scan.map_names import machine_warning
from meninx._scan.relevance import (
    head_doubted,
    is_localizer,
    is_placeholder,
    is_whole_body,
    names_phantom,
    not_of_head,
    other_body_part,
)
from meninx._scan.sequence import sequence_from_text
from meninx._scan.warning import ScanWarning

MR_CLASSES = (
    pydicom.uid.MRImageStorage,
    pydicom.uid.EnhancedMRImageStorage,
    pydicom.uid.LegacyConvertedEnhancedMRImageStorage,
)
# Modalities whose images some tools store as MR images; OT, which names no machine, is accepted.
OTHER_MODALITIES = ("CT", "PT", "NM", "US", "CR", "DX", "XA", "RF", "MG", "OP")
# Without these the pixels can't be decoded.
_REQUIRED = ("Rows", "Columns", "BitsAllocated")
_DESCRIPTIONS = ("SeriesDescription", "StudyDescription", "ProtocolName", "SequenceName")
# Manufacturer of the simulated heads that meninx writes, which call themselves phantoms.
_OWN_PHANTOM = "meninx phantom"
NO_CLASS = "no SOPClassUID: not a DICOM image"


def pixels_fault(dataset: Dataset, sop_class: str | None, limits: Limits) -> InputError | None:
    """Return why the pixels of an MR image can't be read; None if they can.

    The error is returned, not raised: `series` reports it once for all slices of a series.
    """
    if sop_class is None:
        return UnreadableFile(NO_CLASS)
    if sop_class not in MR_CLASSES:
        return None
    # One number each: with several it is unclear which counts.
    found = {name: (numbers(dataset, name, 1) or (0.0,))[0] for name in _REQUIRED}
    missing = [name for name, value in found.items() if value < 1]
    if missing:
        return UnreadableFile(
            f"the header lacks {', '.join(missing)}, or they are no numbers: it is truncated or "
            "was changed; export the series again"
        )
    described = items(dataset, "PerFrameFunctionalGroupsSequence")
    frames = whole_number(dataset, "NumberOfFrames") or len(described) or 1
    rows, columns = int(found["Rows"]), int(found["Columns"])
    try:
        limits.check("frames", frames, "frames")
        limits.check_shape((rows, columns))
        limits.check_shape((columns, rows, frames))
    except LimitExceeded as error:
        return error
    return None


def not_mr_slice(dataset: Dataset, sop_class: str) -> UnsupportedScan | None:
    """Return why a file is no plain MR slice of a brain; None if it is."""
    modality = text(dataset, "Modality")
    if sop_class not in MR_CLASSES:
        return _other_class(dataset, sop_class, modality)
    if modality in OTHER_MODALITIES:
        return UnsupportedScan(
            f"its Modality is {modality}, although it is stored as an MR image; expected MR",
            reason="not_mr",
        )
    colored = text(dataset, "PhotometricInterpretation").startswith(COLORED)
    if colored or (number(dataset, "SamplesPerPixel") or 1) != 1:
        return UnsupportedScan("a colored image; expected gray MR slices", reason="color")
    return _other_content(dataset)


def _other_class(dataset: Dataset, sop_class: str, modality: str) -> UnsupportedScan:
    """Return the refusal of an object that is not stored as an MR image."""
    if modality not in ("MR", "") or "Rows" not in dataset:
        kind = pydicom.uid.UID(sop_class).name
        return UnsupportedScan(
            f"{kind} ({modality or 'no modality'}); expected an MR image", reason="not_mr"
        )
    return UnsupportedScan("a saved screen of an MR study; expected a slice", reason="derived")


def _other_content(dataset: Dataset) -> UnsupportedScan | None:
    """Return why an MR image shows no plain slice of a brain, by its types and descriptions."""
    words = description_text(dataset)
    return (
        animal(dataset)
        or _quality_control(dataset)
        or _other_part(dataset)
        or _localizer(words)
        or kind_of_type(texts(dataset, "ImageType"))
        or complex_part(text(dataset, "ComplexImageComponent"))
        or projection(text(dataset, "VolumeBasedCalculationTechnique"))
        or _map(dataset, words)
    )


def doubts_of(dataset: Dataset) -> tuple[ScanWarning, ...]:
    """Return what the words of a header put in doubt without excluding the image.

    Args:
        dataset: Header of an MR image that is not excluded.

    Returns:
        Warnings `not_mr_doubtful` and `not_brain_doubtful`.
    """
    descriptions = tuple(text(dataset, name) for name in _DESCRIPTIONS)
    named = () if text(dataset, "Manufacturer") == _OWN_PHANTOM else descriptions
    if named:
        named = (*named, text(dataset, "PatientName"))
    both = text(dataset, "QualityControlImage").upper() == "BOTH"
    return _doubts_by_words(descriptions, named, is_partly_phantom=both)


# All slices of a series have the same descriptions.
@lru_cache(1024)
def _doubts_by_words(
    descriptions: tuple[str, ...], of_phantoms: tuple[str, ...], *, is_partly_phantom: bool
) -> tuple[ScanWarning, ...]:
    """Return the doubts about a series by its descriptions, and by texts that may name phantoms."""
    series, machine = descriptions[0], None
    if sequence_from_text(series) == "unknown":
        machine = machine_warning(series, "the description of the series")
    named = "QualityControlImage BOTH" if is_partly_phantom else ""
    named = named or next(filter(None, map(names_phantom, of_phantoms)), "")
    doubts = (machine, _part_doubt(series, *descriptions), _phantom_doubt(named))
    return tuple(filter(None, doubts))


def _part_doubt(series: str, *descriptions: str) -> ScanWarning | None:
    """Return a warning if the series' own description, or all together, name no head but a part."""
    part = other_body_part(series) or other_body_part(*descriptions)
    if part is None or part in NAMES_OF_PEOPLE or is_whole_body(part):
        return None
    return head_doubted(
        f"a description names {part!r}, although nothing else in the header says that this is no "
        "head"
    )


def _phantom_doubt(named: str) -> ScanWarning | None:
    """Return a warning if a word is that of a phantom; the patient's name is not repeated."""
    if not named:
        return None
    return head_doubted(f"the header says {named}, as for a phantom or a quality control")


def _quality_control(dataset: Dataset) -> UnsupportedScan | None:
    """Return why QualityControlImage excludes an image (DICOM PS3.3 C.8.13.1)."""
    if text(dataset, "QualityControlImage").upper().strip() != "YES":
        return None
    return UnsupportedScan(
        "the header says that it is an image of a phantom or for quality control; expected a brain",
        reason="not_brain",
    )


def _map(dataset: Dataset, words: str) -> UnsupportedScan | None:
    """Return why descriptions exclude an image: its own, and all if ImageType says derived."""
    description = text(dataset, "SeriesDescription")
    found = map_by_description(description, is_original=is_original(dataset))
    if found is None and is_derived(dataset):
        found = map_by_description(words, is_original=True)
    return found


def _other_part(dataset: Dataset) -> UnsupportedScan | None:
    """Return why the body part excludes an image, from all attributes that name it."""
    named = text(dataset, "BodyPartExamined")
    part = not_of_head(named) or part_of_code(dataset)
    if part is None and is_placeholder(named):
        part = other_body_part(text(dataset, "StudyDescription"), description_text(dataset))
    return None if part is None else not_brain(part)


def not_brain(part: str) -> UnsupportedScan:
    """Return the refusal of an image of another body part."""
    return UnsupportedScan(
        f"the header says that it shows {part}; expected a brain", reason="not_brain"
    )


def part_of_code(dataset: Dataset) -> str | None:
    """Return the body part of an anatomic code (DICOM PS3.3 table 10-8), unless it is the head."""
    meanings = (text(code, "CodeMeaning") for code in items(dataset, "AnatomicRegionSequence"))
    return next((part for part in map(not_of_head, meanings) if part), None)


def _localizer(words: str) -> UnsupportedScan | None:
    if not is_localizer(words):
        return None
    return UnsupportedScan("a localizer, taken to plan the others", reason="localizer")
