"""Write the picture of a finding as a secondary capture, for viewers that show nothing else."""

import highdicom as hd
import numpy as np

from meninx.clinic.origin import MANUFACTURER, Origin
from meninx.detect.explanation import picture_of_hottest
from meninx.scan.scan import Scan

# Where the rows and the columns of the picture run to in the patient, by plane.
ORIENTATIONS = {"axial": ("L", "P"), "coronal": ("L", "F"), "sagittal": ("P", "F")}


def secondary_capture(origin: Origin, scan: Scan, size: int) -> hd.sc.SCImage:
    """Return the hottest slice beside itself with the heat map; its use is burned in.

    Args:
        origin: The instances and what was found in them.
        scan: That was scored.
        size: Side of the network's input, pixels.

    Returns:
        The instance, RGB.

    References:
        DICOM PS3.3 A.8.1.
    """
    picture = picture_of_hottest(scan, origin.findings, size)
    made = hd.sc.SCImage.from_ref_dataset(
        ref_dataset=origin.first,
        pixel_array=np.asarray(picture.convert("RGB")),
        photometric_interpretation=hd.PhotometricInterpretationValues.RGB,
        bits_allocated=8,
        coordinate_system=hd.CoordinateSystemNames.PATIENT,
        patient_orientation=ORIENTATIONS[scan.view.plane or "axial"],
        series_instance_uid=origin.uid("series", "SC"),
        series_number=origin.series_number(3),
        sop_instance_uid=origin.uid("SC"),
        instance_number=1,
        manufacturer=MANUFACTURER,
    )
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.Laterality = ""
    made.BurnedInAnnotation = "YES"
    made.SeriesDescription = "meninx heat map, not for diagnosis"
    made.ManufacturerModelName = origin.findings.model["name"]
    made.SoftwareVersions = origin.software
    made.DerivationDescription = "hottest slice with the detector's heat map over it"
    return made
