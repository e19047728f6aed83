"""Read the header values that determine the MR sequence: times, contrast agent, descriptions.

`sequence.sequence_of` turns them into T1, T1c, T2 or FLAIR.
"""

import re
from collections.abc import Sequence

from pydicom import Dataset

from meninx._scan.contrast_agent import names_agent
from meninx._scan.dicom.values import FunctionalGroups, items, number, text, texts
from meninx._scan.frame import SeriesFacts
from meninx._scan.sequence import Acquisition, sequence_of


def acquisition_of(dataset: Dataset) -> Acquisition:
    """Return the acquisition that a classic header describes."""
    return Acquisition(
        repetition_time=number(dataset, "RepetitionTime"),
        echo_time=number(dataset, "EchoTime"),
        inversion_time=number(dataset, "InversionTime"),
        scanning_sequence=frozenset(texts(dataset, "ScanningSequence")),
        contrast_agent=_has_agent(dataset),
        text=_own_text(dataset, texts(dataset, "ImageType")),
        protocol=text(dataset, "ProtocolName"),
        b_value=number(dataset, "DiffusionBValue"),
    )


def enhanced_acquisition(dataset: Dataset, groups: FunctionalGroups) -> Acquisition:
    """Return the acquisition of one frame of an enhanced file."""
    frame_type = texts(groups["MRImageFrameTypeSequence"], "FrameType")
    return Acquisition(
        repetition_time=number(groups["MRTimingAndRelatedParametersSequence"], "RepetitionTime"),
        echo_time=number(groups["MREchoSequence"], "EffectiveEchoTime"),
        inversion_time=number(groups["MRModifierSequence"], "InversionTimes"),
        scanning_sequence=_enhanced_kinds(dataset, groups),
        contrast_agent=_has_agent(dataset),
        text=f"{text(dataset, 'AcquisitionContrast')} {_own_text(dataset, frame_type)}",
        protocol=text(dataset, "ProtocolName"),
        b_value=number(groups["MRDiffusionSequence"], "DiffusionBValue"),
    )


def _enhanced_kinds(dataset: Dataset, groups: FunctionalGroups) -> frozenset[str]:
    """Return the values of ScanningSequence that an enhanced file writes as several attributes.

    References:
        DICOM PS3.3 C.8.13.4: EchoPulseSequence, EchoPlanarPulseSequence; C.8.13.5.5:
        InversionRecovery.
    """
    kinds = {
        "EP": text(dataset, "EchoPlanarPulseSequence") == "YES",
        "SE": text(dataset, "EchoPulseSequence") in ("SPIN", "BOTH"),
        "GR": text(dataset, "EchoPulseSequence") in ("GRADIENT", "BOTH"),
        "IR": text(groups["MRModifierSequence"], "InversionRecovery") == "YES",
    }
    return frozenset(kind for kind, present in kinds.items() if present)


def _own_text(dataset: Dataset, types: Sequence[str]) -> str:
    """Return what names the contrast of a series: values of ImageType, and descriptions.

    The first two values of ImageType are not about the contrast. AngioFlag marks angiography.
    """
    angiography = "angio" if text(dataset, "AngioFlag") == "Y" else ""
    names = ("SeriesDescription", "SequenceName", "PulseSequenceName")
    described = (text(dataset, name) for name in names)
    return " ".join(filter(None, (angiography, *types[2:], *described)))


def _has_agent(dataset: Dataset) -> bool:
    """Return whether a header names a contrast agent, as text or by a code.

    References:
        DICOM PS3.3 C.7.6.4: ContrastBolusAgent, ContrastBolusAgentSequence.
    """
    names = [text(dataset, "ContrastBolusAgent")]
    for item in items(dataset, "ContrastBolusAgentSequence"):
        # In enhanced files an item may hold a number alone; the agent is given then.
        names += [text(item, "CodeMeaning") or text(item, "CodeValue") or "an agent"]
    return any(map(names_agent, names))


def facts_of(header: Dataset) -> SeriesFacts:
    """Return month, scanner, field strength and sequence of a series.

    Args:
        header: Dataset of one file of the series.

    Returns:
        The facts; empty if not given.
    """
    names = ("AcquisitionDate", "SeriesDate", "ContentDate", "StudyDate")
    dates = (text(header, name) for name in names)
    date = next((date for date in dates if re.fullmatch(r"\d{8}", date)), "")
    maker = [text(header, name).strip() for name in ("Manufacturer", "ManufacturerModelName")]
    return SeriesFacts(
        month=f"{date[:4]}-{date[4:6]}" if date else "",
        scanner=" ".join(filter(None, maker)),
        field_strength=number(header, "MagneticFieldStrength"),
        sequence=sequence_of(acquisition_of(header)),
    )
