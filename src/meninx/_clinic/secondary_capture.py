"""The picture of a finding as a secondary capture, for viewers that show nothing else."""

import highdicom as hd
import numpy as np

from meninx._clinic.result_context import MANUFACTURER, ResultContext
from meninx._render.result import Result

# Directions of the picture's rows and columns in the patient, by plane.
ORIENTATIONS = {"axial": ("L", "P"), "coronal": ("L", "F"), "sagittal": ("P", "F")}


def secondary_capture(context: ResultContext, result: Result) -> hd.sc.SCImage:
    """Return a picture of the hottest slice, plain and with the heat map unless that is withheld.

    The limits of use are burned in, and why there is no heat map.

    Args:
        context: Source instances and the findings of them.
        result: Scored scan with its pictures.

    Returns:
        The instance, RGB.

    References:
        DICOM PS3.3 A.8.1.
    """
    picture = result.picture
    made = hd.sc.SCImage.from_ref_dataset(
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
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.Laterality = ""
    made.BurnedInAnnotation = "YES"
    made.SeriesDescription = "meninx hottest slice, not for diagnosis"
    made.ManufacturerModelName = context.findings.model["name"]
    made.SoftwareVersions = context.software
    made.DerivationDescription = (
        result.withheld or "hottest slice with the detector's heat map over it"
    )
    return made
