"""Read DICOM MR, classic (one slice a file) and enhanced (many frames a file).

`file` parses a file, `frames` turns its header into frames, `_scan.series` sorts these into stacks,
and `stack` reads the pixels of a stack into a Scan. Nothing else in `_scan` knows pydicom.
"""
