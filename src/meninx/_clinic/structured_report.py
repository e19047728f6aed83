"""A finding as a structured report: Comprehensive 3D SR, template TID 1500.

As in IHE AI Results: a group for the whole scan, one for each type, each region of the heat map,
and each peak.
"""

from collections.abc import Mapping

import highdicom as hd
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from meninx._clinic.key_objects import (
    observer_of,
    reported_peaks,
    shows_places,
    source_of,
)
from meninx._clinic.result_context import MANUFACTURER, ResultContext, region_name
from meninx._detect.answer_words import borders_in_words, slice_in_words, why_referred
from meninx._detect.findings import Findings, SliceFinding
from meninx._errors import OptionError
from meninx._labels import TUMOR_TYPES
from meninx._render.region import Region, suspected_regions
from meninx._render.result import Result
from meninx._scan.completeness import INCOMPLETE
from meninx._scan.scan import Scan

_NEOPLASM_OF_BRAIN = Code("126952004", "SCT", "Neoplasm of brain")
PRESENCE = Code("705057003", "SCT", "Presence")
MR_BRAIN = Code("24590-2", "LN", "MR Brain")
ANSWERS: Mapping[str, Code] = {
    "tumor": codes.SCT.Present,
    "no_tumor": codes.SCT.Absent,
    "refer": codes.SCT.Indeterminate,
}
# Outcome of scans that were not scored (CID 6042).
NOT_SCORED: Mapping[str, Code] = {"refused": codes.DCM.NotAttempted, "failed": codes.DCM.Failed}
SCHEME = "99MENINX"
_BORDERS = Code("borders", SCHEME, "Borders of the probability of a tumor")
_REASON = Code("reason", SCHEME, "Reason for no answer")
WARNING = Code("warning", SCHEME, "Warning about the images")
HEATMAP, WITHHELD = Code("heatmap", SCHEME, "Heat map"), "withheld"
_REGION = Code("region", SCHEME, "Region of a heat map, no contour")
_HEAT = Code("heat", SCHEME, "Highest heat, no probability")
_EXTENTS = (
    Code("left_right", SCHEME, "Extent from left to right"),
    Code("front_back", SCHEME, "Extent from front to back"),
    Code("feet_head", SCHEME, "Extent from feet to head"),
)
_SIDES: Mapping[str, Code] = {"left": codes.SCT.Left, "right": codes.SCT.Right}
# Longest code meaning (VR LO), characters.
_MAX_MEANING_LENGTH = 64


def structured_report(context: ResultContext, result: Result) -> hd.sr.Comprehensive3DSR:
    """Return the report of a scan, also of a refused one.

    Args:
        context: Source instances and their findings.
        result: Scan with its pictures.

    Returns:
        The instance, ready to be saved: not final, not verified.

    References:
        DICOM PS3.3 A.35.13, C.17.2 (predecessor documents); PS3.16 TID 1500, TID 1410, TID 1501;
        IHE RAD AI Results, 2020.
    """
    findings = context.findings
    observer = observer_of(context)
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=MR_BRAIN,
        imaging_measurements=_groups(context, result),
    )
    own = context.uid("SR")
    earlier = [report for report in context.earlier if report.SOPInstanceUID != own]
    report = hd.sr.Comprehensive3DSR(
        evidence=list(context.headers),
        content=content,
        series_instance_uid=context.uid("series", "SR"),
        series_number=context.series_number(1),
        sop_instance_uid=own,
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=not findings.incomplete,
        is_final=False,
        is_verified=False,
        previous_versions=earlier or None,
    )
    report.SeriesDescription = "meninx finding, research only, not for diagnosis"
    report.ManufacturerModelName = findings.model["name"]
    report.SoftwareVersions = context.software
    return report


def _groups(
    context: ResultContext, result: Result
) -> list[hd.sr.MeasurementsAndQualitativeEvaluations]:
    """Return the groups of a report: the whole scan, its types, regions and peaks."""
    findings = context.findings
    groups = [_whole(context, result.withheld)]
    if result.scored and findings.decision in ("tumor", "refer"):
        scan = result.scored_scan
        groups += [_type(context, name, share) for name, share in findings.shown_types.items()]
        # Peaks are points of the heat map, and are withheld with it.
        if shows_places(context, result):
            certain = findings.decision == "tumor"
            suspected = suspected_regions(findings, result.regions)
            groups += [_region(context, region, number) for number, region in suspected.items()]
            groups += [_peak(context, scan, found, certain) for found in reported_peaks(findings)]
    return groups


def _algorithm(context: ResultContext) -> hd.sr.AlgorithmIdentification:
    model = context.findings.model
    return hd.sr.AlgorithmIdentification(
        name=model["name"],
        version=context.version,
        parameters=[f"SHA-256 {model['sha256']}", "research only, not for diagnosis"],
    )


def _tracking(context: ResultContext, name: str) -> hd.sr.TrackingIdentifier:
    return hd.sr.TrackingIdentifier(uid=context.uid("tracking", name), identifier=name)


def _certainty(
    probability: float, images: list[hd.sr.SourceImageForMeasurement] | None = None
) -> hd.sr.Measurement:
    return hd.sr.Measurement(
        name=codes.DCM.CertaintyOfFinding,
        value=round(100 * probability, 2),
        unit=codes.UCUM.Percent,
        referenced_images=images,
    )


def _certainties(findings: Findings) -> list[hd.sr.Measurement]:
    """Return the probability that the answer is right; empty if referred or not scored."""
    if findings.probability is None or findings.decision in (None, "refer"):
        return []
    present = findings.decision == "tumor"
    return [_certainty(findings.probability if present else 1 - findings.probability)]


def _whole(
    context: ResultContext, withheld: str | None
) -> hd.sr.MeasurementsAndQualitativeEvaluations:
    """Return the group of the whole scan: present, absent, indeterminate, or why not scored."""
    findings = context.findings
    evaluations = _outcome(findings)
    evaluations += [
        (WARNING, Code(warning.code, SCHEME, warning.text[:_MAX_MEANING_LENGTH]))
        for warning in findings.warnings
    ]
    evaluations += [
        (WARNING, Code(INCOMPLETE, SCHEME, count.text[:_MAX_MEANING_LENGTH]))
        for count in findings.incomplete
    ]
    if withheld is not None:
        evaluations.append((HEATMAP, Code(WITHHELD, SCHEME, withheld[:_MAX_MEANING_LENGTH])))
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(context, "scan"),
        finding_type=_NEOPLASM_OF_BRAIN,
        algorithm_id=_algorithm(context),
        finding_sites=[hd.sr.FindingSite(anatomic_location=codes.SCT.Brain)],
        measurements=_certainties(findings),
        qualitative_evaluations=[hd.sr.QualitativeEvaluation(*pair) for pair in evaluations],
        source_images=[
            hd.sr.SourceImageForMeasurementGroup.from_source_image(header)
            for header in context.headers
        ],
    )


def _outcome(findings: Findings) -> list[tuple[Code, Code]]:
    """Return the answer with its borders and its reason, or why a scan was not scored."""
    if findings.probability is None or findings.decision is None:
        words = " ".join((findings.message or findings.status).split())
        return [
            (codes.DCM.SummaryOfDetections, NOT_SCORED[findings.status]),
            (
                _REASON,
                Code(findings.reason or findings.status, SCHEME, words[:_MAX_MEANING_LENGTH]),
            ),
        ]
    outcome = [
        (codes.DCM.SummaryOfDetections, codes.DCM.Succeeded),
        (PRESENCE, ANSWERS[findings.decision]),
    ]
    if findings.borders is not None:
        words = borders_in_words(findings)
        outcome.append((_BORDERS, Code("borders", SCHEME, words[:_MAX_MEANING_LENGTH])))
    if findings.decision == "refer" and findings.reason != INCOMPLETE:
        code, words = findings.reason or "refer", " ".join(why_referred(findings).split())
        outcome.append((_REASON, Code(code, SCHEME, words[:_MAX_MEANING_LENGTH])))
    return outcome


def _type(
    context: ResultContext, name: str, share: float
) -> hd.sr.MeasurementsAndQualitativeEvaluations:
    """Return the group of a type: its probability, given a tumor."""
    value, meaning = next(kind.snomed for kind in TUMOR_TYPES if kind.name == name)
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(
            context, f"type {name}, if there is a tumor; no others are known"
        ),
        finding_type=Code(value, "SCT", meaning),
        algorithm_id=_algorithm(context),
        measurements=[_certainty(share)],
    )


def _region(
    context: ResultContext, region: Region, number: int
) -> hd.sr.MeasurementsAndQualitativeEvaluations:
    """Return the group of a region: its side, extent and highest heat, which is no probability."""
    side = _SIDES.get(region.side or "")
    extents = zip(_EXTENTS, region.extent_mm or (), strict=False)
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(context, region_name(number)),
        finding_type=_REGION,
        algorithm_id=_algorithm(context),
        finding_sites=[hd.sr.FindingSite(anatomic_location=codes.SCT.Brain, laterality=side)],
        measurements=[
            hd.sr.Measurement(name=_HEAT, value=100 * region.score, unit=codes.UCUM.Percent),
            *(
                hd.sr.Measurement(name=name, value=extent, unit=codes.UCUM.Millimeter)
                for name, extent in extents
            ),
        ],
    )


def _peak(
    context: ResultContext, scan: Scan, found: SliceFinding, certain: bool
) -> hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    """Return the group of a slice's peak: a point in the patient, LPS mm."""
    if scan.affine is None or context.frame_of_reference is None:
        raise OptionError(f"{scan.name}: no geometry, so nothing can be placed in it")
    point = scan.point_of(found.peak)
    source, numbers = source_of(context, scan, found)
    image = hd.sr.SourceImageForMeasurement(
        source.SOPClassUID, source.SOPInstanceUID, referenced_frame_numbers=numbers
    )
    return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(
            context, f"peak in {scan.view.plane} slice {slice_in_words(found.index, len(scan))}"
        ),
        referenced_region=hd.sr.ImageRegion3D(
            graphic_type=hd.sr.GraphicTypeValues3D.POINT,
            graphic_data=point[None],
            frame_of_reference_uid=context.frame_of_reference,
        ),
        finding_type=_NEOPLASM_OF_BRAIN,
        algorithm_id=_algorithm(context),
        measurements=[_certainty(found.probability, [image])] if certain else None,
    )
