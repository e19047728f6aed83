"""Readers' measurements in a study as structured reports: Comprehensive 3D SR, TID 1500.

One report per reader, who is its observer: a group (TID 1501) for each length and each box.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import highdicom as hd
import numpy as np
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from meninx._clinic.result_context import MANUFACTURER
from meninx._clinic.source_series import SourceSeries
from meninx._clinic.structured_report import MR_BRAIN, SCHEME
from meninx._scan.geometry import Float64Array

Ends = tuple[Sequence[float], Sequence[float]]
# Above the series numbers of a study; results of the detector for series N have numbers from N000.
_SERIES_NUMBER = 900
PIXELS = Code("{pixels}", "UCUM", "pixels")
_OPINION = Code("opinion", SCHEME, "Reader's answer")
_OPINIONS = {
    "tumor": Code("tumor", SCHEME, "Tumor"),
    "no_tumor": Code("no_tumor", SCHEME, "No tumor"),
    "cannot_tell": Code("cannot_tell", SCHEME, "Can't tell"),
}
# Sides of a box along columns, rows and slices.
SIDES = (codes.SCT.Width, codes.DCM.Height, codes.SCT.Depth)
# Longest group of a person name, which ^ and = separate (VR PN), characters.
_MAX_NAME_LENGTH = 64


@dataclass(frozen=True)
class Measured:
    """A reader's measurement: a length or a box.

    Args:
        name: Tracking identifier, unique in the study, such as `measurement 3`.
        kind: `ruler`, a length between two points, or `box`, of whole voxels.
        series: Series of the measurement.
        ends: Voxel indices [i, j, k] of both ends; of a box its first and its last voxel.
        made: Time of the measurement, UTC.
        opinion: Reader's answer that the box belongs to; empty for a measurement.
    """

    name: str
    kind: Literal["ruler", "box"]
    series: SourceSeries
    ends: Ends
    made: datetime
    opinion: str = ""

    @property
    def slices(self) -> range:
        """Indices of the slices that it touches."""
        first, last = sorted(round(end[2]) for end in self.ends)
        return range(first, last + 1)


def measurement_report(
    reader: str, measured: Sequence[Measured], version: str
) -> hd.sr.Comprehensive3DSR:
    """Return the report of one reader's measurements in one study.

    Args:
        reader: Name of the account, which is the observer.
        measured: Lengths and boxes, at least one, all in series of one DICOM study.
        version: Version of meninx.

    Returns:
        The instance, ready to be saved: not final, not verified. Equal measurements give equal
        UIDs.

    References:
        DICOM PS3.3 A.35.13; PS3.16 TID 1500, TID 1501, TID 300, TID 1003.
    """
    touched = [image for item in measured for image in item.series.instances(item.slices)]
    evidence = {str(image.SOPInstanceUID): image for image in touched}
    study = str(measured[0].series.header.StudyInstanceUID)
    described = [f"{item.name} {item.ends} {item.opinion}" for item in measured]
    observer = hd.sr.ObserverContext(
        observer_type=codes.DCM.Person,
        observer_identifying_attributes=hd.sr.PersonObserverIdentifyingAttributes(
            name=_person_name(reader), login_name=reader
        ),
    )
    report = hd.sr.Comprehensive3DSR(
        evidence=list(evidence.values()),
        content=hd.sr.MeasurementReport(
            observation_context=hd.sr.ObservationContext(observer_person_context=observer),
            procedure_reported=MR_BRAIN,
            imaging_measurements=[_group(item, study) for item in measured],
        ),
        series_instance_uid=generate_uid(entropy_srcs=["readers' series", study, reader]),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=generate_uid(entropy_srcs=["readers' SR", study, reader, *described]),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=False,
        is_verified=False,
        specific_character_set="ISO_IR 192",
    )
    report.SeriesDescription = "meninx readers' measurements, research only"
    report.SoftwareVersions = version
    _date(report, max(item.made for item in measured))
    return report


def _person_name(reader: str) -> str:
    """Return an account's name as a DICOM person name of one part."""
    return re.sub(r"[\\^=\x00-\x1f]", " ", reader)[: _MAX_NAME_LENGTH - 1] + "^"


def _date(report: hd.sr.Comprehensive3DSR, moment: datetime) -> None:
    """Set the dates of a report to that of its last measurement, not of its download."""
    report.TimezoneOffsetFromUTC = "+0000"
    for kind in ("Content", "InstanceCreation"):
        setattr(report, f"{kind}Date", moment.strftime("%Y%m%d"))
        setattr(report, f"{kind}Time", moment.strftime("%H%M%S"))
    for tool in report.get("ContributingEquipmentSequence", ()):
        tool.ContributionDateTime = moment.strftime("%Y%m%d%H%M%S")


def _group(item: Measured, study: str) -> hd.sr.MeasurementsAndQualitativeEvaluations:
    """Return the group of a length, or of the sides of a box."""
    lines = [(codes.SCT.Length, item.ends)] if item.kind == "ruler" else _sides(item)
    opinions = [_OPINIONS[item.opinion]] if item.opinion in _OPINIONS else []
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=generate_uid(entropy_srcs=["measured", study, item.name]), identifier=item.name
        ),
        finding_sites=[hd.sr.FindingSite(anatomic_location=codes.SCT.Brain)],
        measurements=[_length(item, name, ends) for name, ends in lines],
        qualitative_evaluations=[hd.sr.QualitativeEvaluation(_OPINION, code) for code in opinions],
        source_images=[
            hd.sr.SourceImageForMeasurementGroup(
                image.SOPClassUID,
                image.SOPInstanceUID,
                item.series.frames(item.slices) or None,
            )
            for image in item.series.instances(item.slices)
        ],
    )


def _sides(item: Measured) -> list[tuple[Code, Ends]]:
    """Return the edges of a box at its first corner; without depth if it lies in one slice."""
    low = np.minimum(*item.ends) - 0.5
    high = np.maximum(*item.ends) + 0.5
    edges = []
    for axis, name in enumerate(SIDES):
        if axis < 2 or len(item.slices) > 1:
            end = low.copy()
            end[axis] = high[axis]
            edges.append((name, (low.tolist(), end.tolist())))
    return edges


def _length(item: Measured, name: Code, ends: Ends) -> hd.sr.Measurement:
    series = item.series
    if series.affine is None:
        length, unit, places = float(np.linalg.norm(np.subtract(*ends))), PIXELS, None
    else:
        points: Float64Array = np.array(ends) @ series.affine[:3, :3].T + series.affine[:3, 3]
        length, unit = float(np.linalg.norm(points[1] - points[0])), codes.UCUM.Millimeter
        places = _line(points, series.frame_of_reference)
    return hd.sr.Measurement(
        name=name, value=round(length, 2), unit=unit, referenced_coordinates=places
    )


def _line(
    points: Float64Array, frame_of_reference: str
) -> list[hd.sr.CoordinatesForMeasurement3D] | None:
    """Return a line in the patient, LPS mm; None without a frame of reference."""
    if not frame_of_reference:
        return None
    return [
        hd.sr.CoordinatesForMeasurement3D(
            graphic_type=hd.sr.GraphicTypeValues3D.POLYLINE,
            graphic_data=points,
            frame_of_reference_uid=frame_of_reference,
        )
    ]
