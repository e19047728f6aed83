"""Read scans: pictures, volumes and DICOM series, from files, folders and archives."""
