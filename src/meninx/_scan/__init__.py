"""Read scans: pictures, NIfTI and DICOM, from files, folders and zip archives."""
