"""Files in a study's folder."""

# Subfolders of a study's folder: uploaded files, what the viewer shows, and inside that the DICOM
# objects.
FILES, SHOWN, RESULTS = "files", "shown", "results"
# Subfolder of objects with readers' measurements that were sent to a PACS.
READERS = "readers"
# Source instances of a DICOM series by its number, which structured reports refer to.
SOURCE = "{}-source.json"
# Suffix of a stored volume after its name in addresses. The worker compresses it once: 192 slices
# take 0.7 s of a core.
PACKED = ".gz"
