"""Write a finding as a structured report: Comprehensive 3D SR, template TID 1500.

In the shape of IHE AI Results: one group for the whole scan, one for each type, one for each peak.
"""

from collections.abc import Mapping

import highdicom as hd
import numpy as np
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from meninx.clinic.origin import MANUFACTURER, Origin, slices_of
from meninx.detect.findings import Findings, SliceFinding
from meninx.errors import OptionError
from meninx.labels import TUMOR_TYPES
from meninx.render.bundle import Bundle
from meninx.scan.scan import Scan

NEOPLASM_OF_BRAIN = Code("126952004", "SCT", "Neoplasm of brain")
PRESENCE = Code("705057003", "SCT", "Presence")
MR_BRAIN = Code("24590-2", "LN", "MR Brain")
ANSWERS: Mapping[str, Code] = {
    "tumor": codes.SCT.Present,
    "no_tumor": codes.SCT.Absent,
    "refer": codes.SCT.Indeterminate,
}
# How a run ended (CID 6042), for what was not scored.
ENDED: Mapping[str, Code] = {"refused": codes.DCM.NotAttempted, "failed": codes.DCM.Failed}
SCHEME = "99MENINX"
REASON = Code("reason", SCHEME, "Reason for no answer")
WARNING = Code("warning", SCHEME, "Warning about the images")
HEATMAP, WITHHELD = Code("heatmap", SCHEME, "Heat map"), "withheld"
# Peaks of slices that are more likely to show a tumor than not.
MIN_OF_PEAK = 0.5
# A code's meaning is a long string (VR LO).
LONGEST_MEANING = 64


def structured_report(origin: Origin, bundle: Bundle | None) -> hd.sr.Comprehensive3DSR:
    """Return the report of one scan; of a refusal too.

    Args:
        origin: The instances and what was found in them.
        bundle: Of the scan; None where it was not scored.

    Returns:
        The instance, ready to be saved: not final, not verified.

    References:
        DICOM PS3.3 A.35.13; PS3.16 TID 1500, TID 1410, TID 1501; IHE RAD AI Results, 2020.
    """
    findings = origin.findings
    groups = [_whole(origin, bundle.withheld if bundle else None)]
    if bundle is not None and findings.decision in ("tumor", "refer"):
        groups += [_type(origin, name, share) for name, share in findings.types_for_reader.items()]
        # Peaks are places of the heat map: what it may not show, they may not either.
        if origin.frame_of_reference and bundle.scan.affine is not None and not bundle.withheld:
            groups += [_peak(origin, bundle.scan, found) for found in _peaks(findings)]
    observer = hd.sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
            uid=origin.device_uid,
            name=findings.model["name"],
            manufacturer_name=MANUFACTURER,
            model_name=findings.model["name"],
            serial_number=findings.model["sha256"][:16],
        ),
    )
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=MR_BRAIN,
        imaging_measurements=groups,
    )
    report = hd.sr.Comprehensive3DSR(
        evidence=list(origin.headers),
        content=content,
        series_instance_uid=origin.uid("series", "SR"),
        series_number=origin.series_number(1),
        sop_instance_uid=origin.uid("SR"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=False,
        is_verified=False,
    )
    report.SeriesDescription = "meninx finding, research only, not for diagnosis"
    report.ManufacturerModelName = findings.model["name"]
    report.SoftwareVersions = origin.software
    return report


def _algorithm(origin: Origin) -> hd.sr.AlgorithmIdentification:
    model = origin.findings.model
    return hd.sr.AlgorithmIdentification(
        name=model["name"],
        version=origin.version,
        parameters=[f"SHA-256 {model['sha256']}", "research only, not for diagnosis"],
    )


def _tracking(origin: Origin, name: str) -> hd.sr.TrackingIdentifier:
    return hd.sr.TrackingIdentifier(uid=origin.uid("tracking", name), identifier=name)


def _certainty(
    probability: float, images: list[hd.sr.SourceImageForMeasurement] | None = None
) -> hd.sr.Measurement:
    return hd.sr.Measurement(
        name=codes.DCM.CertaintyOfFinding,
        value=round(100 * probability, 2),
        unit=codes.UCUM.Percent,
        referenced_images=images,
    )


def _whole(origin: Origin, withheld: str | None) -> hd.sr.MeasurementsAndQualitativeEvaluations:
    """Return what is said of the scan as a whole: present, absent, undecided, or nothing."""
    findings = origin.findings
    if findings.probability is None or findings.decision is None:
        words = " ".join((findings.message or findings.status).split())
        told = [
            (codes.DCM.SummaryOfDetections, ENDED[findings.status]),
            (REASON, Code(findings.reason or findings.status, SCHEME, words[:LONGEST_MEANING])),
        ]
        measurements = []
    else:
        told = [
            (codes.DCM.SummaryOfDetections, codes.DCM.Succeeded),
            (PRESENCE, ANSWERS[findings.decision]),
        ]
        measurements = [_certainty(findings.probability)]
    told += [
        (WARNING, Code(warning.code, SCHEME, warning.text[:LONGEST_MEANING]))
        for warning in findings.warnings
    ]
    if withheld is not None:
        told.append((HEATMAP, Code(WITHHELD, SCHEME, withheld[:LONGEST_MEANING])))
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(origin, "scan"),
        finding_type=NEOPLASM_OF_BRAIN,
        algorithm_id=_algorithm(origin),
        finding_sites=[hd.sr.FindingSite(anatomic_location=codes.SCT.Brain)],
        measurements=measurements,
        qualitative_evaluations=[hd.sr.QualitativeEvaluation(*one) for one in told],
        source_images=[
            hd.sr.SourceImageForMeasurementGroup.from_source_image(one) for one in origin.headers
        ],
    )


def _type(origin: Origin, name: str, share: float) -> hd.sr.MeasurementsAndQualitativeEvaluations:
    """Return how likely a type is, if there is a tumor."""
    value, meaning = next(one.snomed for one in TUMOR_TYPES if one.name == name)
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(origin, f"type {name}, if there is a tumor"),
        finding_type=Code(value, "SCT", meaning),
        algorithm_id=_algorithm(origin),
        measurements=[_certainty(share)],
    )


def _peaks(findings: Findings) -> list[SliceFinding]:
    """Return slices with a peak worth to be looked at, at least the hottest."""
    return [
        one for one in findings.slices if one.probability >= MIN_OF_PEAK or one is findings.hottest
    ]


def _peak(
    origin: Origin, scan: Scan, found: SliceFinding
) -> hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    """Return where a slice is hottest, as a point in the patient, LPS mm."""
    if scan.affine is None or origin.frame_of_reference is None:
        raise OptionError(f"{scan.name}: no geometry, so nothing can be placed in it")
    point = scan.point_of(found.peak)
    frames = np.flatnonzero(slices_of(origin.headers, scan) == found.index)
    if len(origin.headers) > 1:
        source, numbers = origin.headers[int(frames[0])] if len(frames) else origin.first, None
    else:
        source = origin.first
        enhanced = "PerFrameFunctionalGroupsSequence" in source and len(frames)
        numbers = [int(frames[0]) + 1] if enhanced else None
    image = hd.sr.SourceImageForMeasurement(
        source.SOPClassUID, source.SOPInstanceUID, referenced_frame_numbers=numbers
    )
    return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(origin, f"peak in slice {found.index}"),
        referenced_region=hd.sr.ImageRegion3D(
            graphic_type=hd.sr.GraphicTypeValues3D.POINT,
            graphic_data=point[None],
            frame_of_reference_uid=origin.frame_of_reference,
        ),
        finding_type=NEOPLASM_OF_BRAIN,
        algorithm_id=_algorithm(origin),
        measurements=[_certainty(found.probability, [image])],
    )
