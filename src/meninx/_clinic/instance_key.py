"""Tell instances apart, also those that careless software gave the same SOPInstanceUID."""

import hashlib

from pydicom import Dataset

from meninx._scan.dicom.values import text

# What differs between two images of a study, and stays when an instance is sent again with another
# patient or corrected pixels.
PLACE = (
    "SeriesInstanceUID",
    "AcquisitionNumber",
    "InstanceNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "EchoTime",
    "EchoNumbers",
    "InversionTime",
    "TemporalPositionIdentifier",
    "TriggerTime",
)


def place_of(header: Dataset) -> str:
    """Return a hash of where in its study an image belongs, 8 hexadecimal digits.

    Args:
        header: Dataset with the attributes `PLACE`, as far as the instance has them.

    Returns:
        The same for two versions of one image; else different, even if they share a UID.
    """
    values = "\0".join(text(header, name) for name in PLACE)
    return hashlib.sha256(values.encode(errors="surrogateescape")).hexdigest()[:8]
