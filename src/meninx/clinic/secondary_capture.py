"""Write the picture of a finding as a secondary capture, for viewers that show nothing else."""

import highdicom as hd
import numpy as np

from meninx.clinic.origin import MANUFACTURER, Origin
from meninx.render.bundle import Bundle

# Where the rows and the columns of the picture run to in the patient, by plane.
ORIENTATIONS = {"axial": ("L", "P"), "coronal": ("L", "F"), "sagittal": ("P", "F")}


def secondary_capture(origin: Origin, bundle: Bundle) -> hd.sc.SCImage:
    """Return the hottest slice, beside itself with the heat map if that may be shown.

    Its use is burned in, and so is why there is no heat map.

    Args:
        origin: The instances and what was found in them.
        bundle: Of the scan that was scored.

    Returns:
        The instance, RGB.

    References:
        DICOM PS3.3 A.8.1.
    """
    picture = bundle.picture()
    made = hd.sc.SCImage.from_ref_dataset(
        ref_dataset=origin.first,
        pixel_array=np.asarray(picture.convert("RGB")),
        photometric_interpretation=hd.PhotometricInterpretationValues.RGB,
        bits_allocated=8,
        coordinate_system=hd.CoordinateSystemNames.PATIENT,
        patient_orientation=ORIENTATIONS[bundle.scan.view.plane or "axial"],
        series_instance_uid=origin.uid("series", "SC"),
        series_number=origin.series_number(3),
        sop_instance_uid=origin.uid("SC"),
        instance_number=1,
        manufacturer=MANUFACTURER,
    )
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.Laterality = ""
    made.BurnedInAnnotation = "YES"
    made.SeriesDescription = "meninx hottest slice, not for diagnosis"
    made.ManufacturerModelName = origin.findings.model["name"]
    made.SoftwareVersions = origin.software
    made.DerivationDescription = (
        bundle.withheld or "hottest slice with the detector's heat map over it"
    )
    return made
