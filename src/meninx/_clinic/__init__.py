"""Bring findings to where radiologists look, by DICOM."""
