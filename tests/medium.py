"""A medium: a folder of DICOM files with the DICOMDIR that lists them."""

import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset


def write_dicomdir(folder):
    """Write the DICOMDIR of all files below a folder; return them, by name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in files]
    records, last = [], (None, None)
    for header in sorted(
        headers, key=lambda header: (header.StudyInstanceUID, header.SeriesInstanceUID)
    ):
        place = (header.StudyInstanceUID, header.SeriesInstanceUID)
        if place[0] != last[0]:
            records.append(record("PATIENT", PatientID=header.PatientID))
            records.append(record("STUDY", StudyInstanceUID=place[0]))
        if place != last:
            records.append(record("SERIES", SeriesInstanceUID=place[1]))
        records.append(record("IMAGE", ReferencedSOPInstanceUIDInFile=header.SOPInstanceUID))
        last = place
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.MediaStorageDirectoryStorage
    meta.MediaStorageSOPInstanceUID = "1.2.9"
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    directory = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    directory.DirectoryRecordSequence = records
    directory.save_as(folder / "DICOMDIR", enforce_file_format=True)
    return files


def record(kind, **values):
    """Return a record of a DICOMDIR."""
    found = Dataset()
    found.DirectoryRecordType = kind
    for name, value in values.items():
        setattr(found, name, value)
    return found
