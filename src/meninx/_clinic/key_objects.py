"""Key object selections: the images that show a finding, and results that are no longer valid."""

from collections.abc import Sequence

import highdicom as hd
import numpy as np
from pydicom import Dataset
from pydicom.sr.codedict import codes

from meninx._clinic.result_context import MANUFACTURER, MAY_BE_EMPTY, ResultContext, slices_of
from meninx._detect.findings import Findings, SliceFinding
from meninx._render.result import Result
from meninx._scan.scan import Scan

# Probability of a tumor in a slice from which its peak is reported.
_MIN_PEAK_PROBABILITY = 0.5
_OF_PATIENT = (*MAY_BE_EMPTY, "SpecificCharacterSet", "StudyInstanceUID")


def reported_peaks(findings: Findings) -> list[SliceFinding]:
    """Return the slices whose peaks are reported, at least the hottest."""
    return [
        found
        for found in findings.slices
        if found.probability >= _MIN_PEAK_PROBABILITY or found is findings.hottest
    ]


def source_of(
    context: ResultContext, scan: Scan, found: SliceFinding
) -> tuple[Dataset, list[int] | None]:
    """Return the source instance at a slice's peak.

    Args:
        context: Source instances and their findings.
        scan: Scan with geometry.
        found: Slice with its peak.

    Returns:
        The instance, and the number of its frame from 1; None for an instance of one frame.
    """
    frames = np.flatnonzero(slices_of(context.headers, scan) == found.peak[2])
    if len(context.headers) > 1:
        return (context.headers[int(frames[0])] if len(frames) else context.first), None
    enhanced = "PerFrameFunctionalGroupsSequence" in context.first and len(frames)
    return context.first, [int(frames[0]) + 1] if enhanced else None


def observer_of(context: ResultContext) -> hd.sr.ObserverContext:
    """Return the detector as the observer of a document."""
    return hd.sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
            uid=context.device_uid,
            name=context.findings.model["name"],
            manufacturer_name=MANUFACTURER,
            model_name=context.findings.model["name"],
            serial_number=context.findings.model["sha256"][:16],
        ),
    )


def shows_places(context: ResultContext, result: Result) -> bool:
    """Return whether a result states where something is: not if its heat map is withheld."""
    answered = result.scored and context.findings.decision in ("tumor", "refer")
    if not answered or result.withheld or not context.frame_of_reference:
        return False
    return result.scored_scan.affine is not None


def key_images(context: ResultContext, result: Result) -> Dataset | None:
    """Return the selection of the source images with reported peaks.

    Args:
        context: Source instances and their findings.
        result: Scan with its pictures.

    Returns:
        The instance; None for an answer that names no place.

    References:
        DICOM PS3.3 A.35.4, PS3.16 TID 2010; IHE RAD AI Results, 2020.
    """
    if not shows_places(context, result):
        return None
    scan = result.scored_scan
    peaks = sorted(reported_peaks(context.findings), key=lambda found: -found.probability)
    sources = [source_of(context, scan, found)[0] for found in peaks]
    selected = list({str(source.SOPInstanceUID): source for source in sources}.values())
    document = _document(
        context,
        hd.ko.KeyObjectSelection(
            codes.DCM.OfInterest,
            selected,
            observer_device_context=observer_of(context),
            description="images with peaks of the heat map, highest first; not for diagnosis",
        ),
        selected,
        ("KO",),
        place=4,
    )
    document.SeriesDescription = "meninx key images, not for diagnosis"
    return document


def rejection_note(context: ResultContext, rejected: Sequence[Dataset]) -> Dataset:
    """Return the note that earlier results are replaced by this one.

    Args:
        context: Source instances and the findings that replace the earlier ones.
        rejected: Headers of the earlier results, at least one.

    Returns:
        The instance, with the patient as the source instances now name them.

    References:
        IHE RAD TF-3 4.66.4.1.3 (IOCM): title `Rejected for Quality Reasons`; PS3.16 CID 7011.
    """
    replaced = [_with_patient(context, header) for header in rejected]
    document = _document(
        context,
        hd.ko.KeyObjectSelection(
            codes.DCM.RejectedForQualityReasons,
            replaced,
            observer_device_context=observer_of(context),
            description="replaced by a later result on more or on corrected images",
        ),
        replaced,
        ("REJECTED", *sorted(str(header.SOPInstanceUID) for header in rejected)),
        place=5,
    )
    document.SeriesDescription = "meninx rejection note"
    return document


def _with_patient(context: ResultContext, header: Dataset) -> Dataset:
    """Return the UIDs of a result with the present identity: the earlier one may be corrected."""
    known = Dataset()
    for name in _OF_PATIENT:
        if name in context.first:
            setattr(known, name, context.first[name].value)
    for name in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Rows", "Columns"):
        if name in header:
            setattr(known, name, header[name].value)
    return known


def _document(
    context: ResultContext,
    content: hd.ko.KeyObjectSelection,
    evidence: Sequence[Dataset],
    kind: tuple[str, ...],
    *,
    place: int,
) -> Dataset:
    document = hd.ko.KeyObjectSelectionDocument(
        evidence=evidence,
        content=content,
        series_instance_uid=context.uid("series", *kind),
        series_number=context.series_number(place),
        sop_instance_uid=context.uid(*kind),
        instance_number=1,
        manufacturer=MANUFACTURER,
    )
    document.ManufacturerModelName = context.findings.model["name"]
    document.SoftwareVersions = context.software
    return document
