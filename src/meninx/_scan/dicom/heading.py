"""Read patient, study and series from the first bytes of a DICOM file, without its pixels."""

import hashlib
import io
import re
import unicodedata
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset, FileDataset
from pydicom.filereader import read_partial
from pydicom.uid import MediaStorageDirectoryStorage

from meninx._scan.dicom.character_set import mend_character_set
from meninx._scan.dicom.file import DEFLATED, check_deflated
from meninx._scan.dicom.values import text, whole_number
from meninx._scan.limits import MIB, Limits
from meninx._scan.source import GZIP_MAGIC, Source, reading

# All attributes of a heading lie at or before SeriesNumber.
_LAST_TAG = 0x00200011
_META_BYTES = 1024
# Unpacked bytes of a gzipped file that are read: enough for a heading, and a bomb stops there.
_PACKED_HEAD_BYTES = 4 * MIB
# Largest unpacked size of a deflated file.
_DEFLATED_LIMITS = Limits(file_bytes=512 * MIB)
_LONGEST_VALUE = 300
# Between the representations of a name; `=` occurs in none of them.
NAME_SEPARATOR = " = "


@dataclass(frozen=True)
class Heading:
    """Patient, study and series of a DICOM file; a field is empty if not given.

    Args:
        patient: Hash of the patient, as `patient_key` returns it.
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


def patient_key(dataset: Dataset) -> str:
    """Return a hash of a patient's identity, which reveals neither name nor number.

    Args:
        dataset: Dataset of an instance.

    Returns:
        16 hexadecimal digits of the SHA-256 of PatientID with its issuer, else of PatientName;
        empty if the header has neither.
    """
    number = text(dataset, "PatientID").strip()
    if number:
        return patient_hash(number, text(dataset, "IssuerOfPatientID").strip())
    return patient_hash(text(dataset, "PatientName").strip())


def person_keys(dataset: Dataset) -> tuple[str, str, str, str]:
    """Return hashes of what identifies a patient, which differences in writing do not change.

    Args:
        dataset: Dataset of an instance.

    Returns:
        As `patient_key`, of PatientID in small letters without its issuer and leading zeros, of
        each word of PatientName's first representation, separated by blanks, of PatientBirthDate,
        and of PatientSex if female or male; empty where it is not given.
    """
    number = text(dataset, "PatientID").strip().casefold()
    names = text(dataset, "PatientName").casefold().split("=")
    words = (re.findall(r"\w+", _without_accents(name)) for name in names)
    name = " ".join(sorted(set(map(patient_hash, next(filter(None, words), [])))))
    birth = re.sub(r"\D", "", text(dataset, "PatientBirthDate"))
    sex = text(dataset, "PatientSex").strip().casefold()[:1]
    return (
        patient_hash(number.lstrip("0") or number),
        name,
        patient_hash(birth if len(birth) == 8 and int(birth) else ""),
        patient_hash(sex if sex in ("f", "m") else ""),
    )


def _without_accents(name: str) -> str:
    """Return a name in small letters without accents, as some systems store it.

    Umlauts are written as a or ae: `e` after a, o and u is left out.
    """
    letters = unicodedata.normalize("NFKD", name)
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return re.sub("(?<=[aou])e", "", plain)


def patient_hash(*values: str) -> str:
    """Return the hash of a patient's number and its issuer, or of another identifier.

    Args:
        *values: A number and its issuer, which may be empty; or a name.

    Returns:
        16 hexadecimal digits; empty without an identifier.
    """
    if not values[0]:
        return ""
    return hashlib.sha256("\0".join(values).encode(errors="surrogateescape")).hexdigest()[:16]


def read_heading(path: Path) -> Heading:
    """Read the heading of a DICOM file.

    Args:
        path: DICOM file.

    Returns:
        The heading.

    Raises:
        UnreadableFile: If the file is not DICOM, or its header is damaged.
        LimitExceeded: If it is deflated and unpacks to more than the limit.
    """
    with reading("", "the DICOM header"), warnings.catch_warnings(), path.open("rb") as file:
        warnings.simplefilter("ignore")  # pydicom warns about every unusual value, and quotes it
        opened = _without_packing(path, file)
        head = opened.read(_META_BYTES)
        opened.seek(0)
        if DEFLATED in head[132:]:
            check_deflated(opened.read(), _DEFLATED_LIMITS)
            opened.seek(0)
        dataset = read_partial(
            opened, stop_when=lambda tag, *_: tag > _LAST_TAG, force=head[128:132] != b"DICM"
        )
        mend_character_set(dataset)
        return _heading_of(dataset)


def _without_packing(path: Path, file: BinaryIO) -> BinaryIO:
    """Return an open file; for a gzipped one, its unpacked beginning."""
    packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    file.seek(0)
    if not packed:
        return file
    source = Source(path.name, path, path.stat().st_size)
    return io.BytesIO(source.head(_PACKED_HEAD_BYTES, _DEFLATED_LIMITS))


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
    """Return a header's text for pages and databases: printable, on one line, not long."""
    # Bytes outside the character set become surrogates, which databases refuse.
    value = value.encode("utf-8", "replace").decode("utf-8")
    return " ".join("".join(sign if sign.isprintable() else " " for sign in value).split())[
        :_LONGEST_VALUE
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
        name: Value of PN: family, given, middle, prefix and suffix joined by `^`; up to three
            representations (alphabetic, ideographic, phonetic) joined by `=`.

    Returns:
        Family name, a comma, the other parts; all representations that are not empty, in their
        order, with ` = ` between them.

    References:
        DICOM PS3.5 6.2.1.
    """
    return NAME_SEPARATOR.join(filter(None, map(_written, name.split("="))))


def _written(representation: str) -> str:
    """Return one representation of a name: family name, a comma, the other parts."""
    family, *others = (part.strip() for part in representation.split("^"))
    return ", ".join(part for part in (family, " ".join(filter(None, others))) if part)
