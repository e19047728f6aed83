"""The picture of a finding as a secondary capture, for viewers without segmentations."""

import highdicom as hd
import numpy as np
from pydicom import Dataset

from meninx._clinic.key_objects import source_of
from meninx._clinic.result_context import MANUFACTURER, ResultContext
from meninx._render.result import Result

# Directions of the picture's rows and columns in the patient, by plane.
ORIENTATIONS = {"axial": ("L", "P"), "coronal": ("L", "F"), "sagittal": ("P", "F")}


def secondary_capture(context: ResultContext, result: Result) -> hd.sc.SCImage:
    """Return a picture of the hottest slice, plain and with its heat map unless it is withheld.

    The limits of use, and why a heat map is withheld, are burned in.

    Args:
        context: Source instances and their findings.
        result: Scored scan with its pictures.

    Returns:
        The instance, RGB.

    References:
        DICOM PS3.3 A.8.1.
    """
    picture = result.picture
    capture = hd.sc.SCImage.from_ref_dataset(
        ref_dataset=context.first,
        pixel_array=np.asarray(picture.convert("RGB")),
        photometric_interpretation=hd.PhotometricInterpretationValues.RGB,
        bits_allocated=8,
        coordinate_system=hd.CoordinateSystemNames.PATIENT,
        patient_orientation=ORIENTATIONS[result.scored_scan.view.plane or "axial"],
        series_instance_uid=context.uid("series", "SC"),
        series_number=context.series_number(3),
        sop_instance_uid=context.uid("SC"),
        instance_number=1,
        manufacturer=MANUFACTURER,
    )
    capture.ImageType = ["DERIVED", "SECONDARY"]
    capture.SourceImageSequence = [_source_image(context, result)]
    capture.Laterality = ""
    capture.BurnedInAnnotation = "YES"
    capture.SeriesDescription = "meninx hottest slice, not for diagnosis"
    capture.ManufacturerModelName = context.findings.model["name"]
    capture.SoftwareVersions = context.software
    capture.DerivationDescription = (
        result.withheld or "hottest slice with the detector's heat map over it"
    )
    return capture


def _source_image(context: ResultContext, result: Result) -> Dataset:
    """Return the reference to the image of the hottest slice."""
    hottest, source = context.findings.hottest, context.first
    if hottest is not None and result.scored_scan.affine is not None:
        source, _ = source_of(context, result.scored_scan, hottest)
    reference = Dataset()
    reference.ReferencedSOPClassUID = source.SOPClassUID
    reference.ReferencedSOPInstanceUID = source.SOPInstanceUID
    return reference
