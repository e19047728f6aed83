"""Read the head of a DICOM file: its patient, study and series, never its pixels."""

import io
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom import FileDataset
from pydicom.filereader import read_partial
from pydicom.uid import MediaStorageDirectoryStorage

from meninx._scan.character_set import mend_character_set
from meninx._scan.dicom import DEFLATED, check_deflated, patient_key
from meninx._scan.header_values import text, whole_number
from meninx._scan.limits import MIB, Limits
from meninx._scan.source import GZIP_MAGIC, Source, reading

# All attributes of a heading lie at or before SeriesNumber.
LAST_TAG = 0x00200011
META_BYTES = 1024
# Head of a packed file, unpacked: far beyond all attributes of a heading, and no bomb.
PACKED_HEAD_BYTES = 4 * MIB
# Largest size of a deflated file, unpacked; no more than its head is kept.
DEFLATED_LIMITS = Limits(file_bytes=512 * MIB)
LONGEST_VALUE = 300


@dataclass(frozen=True)
class Heading:
    """Patient, study and series of a DICOM file; empty where the head does not give them.

    Args:
        patient: Hash that stands for the patient, as `dicom.patient_key` gives it.
        patient_name: Name for a reader, such as "Doe, Jane".
        patient_id: PatientID.
        birth_date: PatientBirthDate, such as 1970-12-31.
        accession: AccessionNumber.
        study_date: StudyDate, such as 2026-01-31.
        study_time: StudyTime, such as 23:59:59.
        description: StudyDescription.
        study_uid: StudyInstanceUID.
        series_uid: SeriesInstanceUID.
        series_number: SeriesNumber.
        series_description: SeriesDescription.
        is_directory: Whether it is a DICOMDIR, which lists other files.
    """

    patient: str = ""
    patient_name: str = ""
    patient_id: str = ""
    birth_date: str = ""
    accession: str = ""
    study_date: str = ""
    study_time: str = ""
    description: str = ""
    study_uid: str = ""
    series_uid: str = ""
    series_number: int | None = None
    series_description: str = ""
    is_directory: bool = False


def read_heading(path: Path) -> Heading:
    """Read the head of a DICOM file.

    Args:
        path: DICOM file.

    Returns:
        The heading.

    Raises:
        UnreadableFile: If the file is no DICOM, or damaged before its pixels.
        LimitExceeded: If it is deflated and unpacks to more than the limit.
    """
    with reading("", "the DICOM header"), warnings.catch_warnings(), path.open("rb") as file:
        warnings.simplefilter("ignore")  # pydicom warns of every unusual value, and says it
        opened = _without_packing(path, file)
        head = opened.read(META_BYTES)
        opened.seek(0)
        if DEFLATED in head[132:]:
            check_deflated(opened.read(), DEFLATED_LIMITS)
            opened.seek(0)
        dataset = read_partial(
            opened, stop_when=lambda tag, *_: tag > LAST_TAG, force=head[128:132] != b"DICM"
        )
        mend_character_set(dataset)
        return _heading_of(dataset)


def _without_packing(path: Path, file: BinaryIO) -> BinaryIO:
    """Return an open file, or of one packed by gzip its beginning, unpacked."""
    packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    file.seek(0)
    if not packed:
        return file
    source = Source(path.name, path, path.stat().st_size)
    return io.BytesIO(source.head(PACKED_HEAD_BYTES, DEFLATED_LIMITS))


def _heading_of(dataset: FileDataset) -> Heading:
    return Heading(
        patient=patient_key(dataset),
        patient_name=name_for_readers(_text(dataset, "PatientName")),
        patient_id=_text(dataset, "PatientID"),
        birth_date=_date(dataset, "PatientBirthDate"),
        accession=_text(dataset, "AccessionNumber"),
        study_date=_date(dataset, "StudyDate"),
        study_time=_time(_text(dataset, "StudyTime")),
        description=_text(dataset, "StudyDescription"),
        study_uid=_text(dataset, "StudyInstanceUID"),
        series_uid=_text(dataset, "SeriesInstanceUID"),
        series_number=whole_number(dataset, "SeriesNumber"),
        series_description=_text(dataset, "SeriesDescription"),
        is_directory=dataset.file_meta.get("MediaStorageSOPClassUID")
        == MediaStorageDirectoryStorage,
    )


def _text(dataset: FileDataset, name: str) -> str:
    return clean_text(text(dataset, name))


def clean_text(value: str) -> str:
    """Return a header's text as pages and databases take it: printable, on one line, not long."""
    # Bytes that are no text in its character set come as surrogates, which no database takes.
    value = value.encode("utf-8", "replace").decode("utf-8")
    return " ".join("".join(sign if sign.isprintable() else " " for sign in value).split())[
        :LONGEST_VALUE
    ]


def _date(dataset: FileDataset, name: str) -> str:
    found = re.fullmatch(r"(\d{4})\.?(\d{2})\.?(\d{2})", _text(dataset, name))
    return "-".join(found.groups()) if found else ""


def _time(moment: str) -> str:
    found = re.match(r"(\d{2}):?(\d{2})(?::?(\d{2}))?", moment)
    return ":".join(part for part in found.groups() if part) if found else ""


def name_for_readers(name: str) -> str:
    """Return a person's name as a reader writes it.

    Args:
        name: Value of PN: family, given, middle, prefix and suffix with `^` between them, and up to
            three writings of it with `=` between them.

    Returns:
        Family name, a comma, the other parts; the first writing that is there.

    References:
        DICOM PS3.5 6.2.1.
    """
    written = next((part for part in name.split("=") if part.strip("^ ")), "")
    family, *others = (part.strip() for part in written.split("^"))
    return ", ".join(part for part in (family, " ".join(filter(None, others))) if part)
