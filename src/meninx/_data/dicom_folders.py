"""Read class folders of DICOM: a folder with the files of one series is one item."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from meninx._data.items import Item
from meninx._data.progress import Report
from meninx._errors import DataError, InputError
from meninx._scan.kinds import is_dicom
from meninx._scan.reading import read_scans

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
# Number of first bytes that identify a DICOM file.
HEAD_BYTES = 512


def is_dicom_file(path: Path) -> bool:
    """Return whether a file is DICOM: by its suffix, or by its first bytes where it has none."""
    suffix = path.suffix.lower()
    if suffix in DICOM_SUFFIXES:
        return True
    # A UID as a file name ends in a number, which looks like a suffix.
    if suffix and not suffix[1:].isdecimal():
        return False
    with path.open("rb") as opened:
        return is_dicom(opened.read(HEAD_BYTES))


def dicom_items(folders: Iterable[Path], report: Report) -> list[Item]:
    """Return an item without a label for each folder of one DICOM series.

    Args:
        folders: Folders that hold DICOM files.
        report: Called with a sentence for each series that can't be used.

    Returns:
        Items whose path is the folder, and whose person is the hash of the header's patient; empty
        where all headers name the same one, as after de-identification.

    Raises:
        DataError: If a folder holds several series, or none of them can be used.
    """
    reasons: list[str] = []
    items = [item for folder in sorted(folders) for item in _item_of(folder, reasons.append)]
    if reasons and not items:
        raise DataError(f"no DICOM series can be used; the first: {reasons[0]}")
    for reason in reasons:
        report(f"left out: {reason}")
    if len({item.person for item in items}) == 1 and len(items) > 1:
        return [replace(item, person="") for item in items]
    return items


def _item_of(folder: Path, report: Report) -> Iterator[Item]:
    """Yield the item of a folder; none where its series can't be used."""
    errors: list[InputError] = []
    for number, scan in enumerate(read_scans(folder, errors.append)):
        if number:
            raise DataError(
                f"{folder}: several DICOM series, expected one; give each series a folder of its "
                "own, or convert them to NIfTI with dcm2niix"
            )
        sequence = "" if scan.sequence == "unknown" else scan.sequence
        yield Item(folder, tumor=None, person=scan.identity.patient, sequence=sequence)
    for error in errors:
        report(str(error))
