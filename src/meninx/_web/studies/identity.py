"""Correct the identity of studies whose files have none: pictures and NIfTI."""

from collections.abc import Mapping
from datetime import date, time

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from meninx._errors import OptionError
from meninx._scan.dicom.heading import Heading, clean_text, name_for_readers, patient_hash
from meninx._web.auth.accounts import Reader
from meninx._web.store.audit import record
from meninx._web.store.database import Study
from meninx._web.store.settings import Settings
from meninx._web.studies.deleting import may_delete
from meninx._web.studies.marks import check_not_withdrawn
from meninx._web.studies.receiving import person_key


class CorrectedIdentity(BaseModel):
    """What a reader may write of a study; the StudyInstanceUID is DICOM's alone."""

    model_config = ConfigDict(extra="forbid")

    patient_name: str = Field(default="", max_length=300)
    patient_id: str = Field(default="", max_length=300)
    birth_date: str = Field(default="", max_length=10)
    accession: str = Field(default="", max_length=300)
    study_date: str = Field(default="", max_length=10)
    study_time: str = Field(default="", max_length=8)
    description: str = Field(default="", max_length=300)


def may_correct(reader: Reader, study: Study, settings: Settings) -> bool:
    """Return whether a reader may correct a study's identity.

    Args:
        reader: A reader.
        study: A study.
        settings: Settings of the server.

    Returns:
        True for its uploader and for administrators, unless the study has DICOM files or the server
        stores no identity.
    """
    return not study.series and not settings.deidentify and may_delete(reader, study)


def correct_identity(
    session: Session, reader: Reader, study: Study, values: Mapping[str, str], settings: Settings
) -> None:
    """Correct who and what a study of pictures or volumes shows.

    Args:
        session: Database session.
        reader: Its uploader, or an administrator.
        study: A study without DICOM files.
        values: New values of some fields of `CorrectedIdentity`; empty ones are unknown. A name
            may be written as in DICOM, its parts joined by `^`.
        settings: Settings of the server.

    Raises:
        OptionError: If the study is withdrawn, has DICOM files, or a value is none.
    """
    check_not_withdrawn(study)
    if settings.deidentify:
        raise OptionError("this server stores no identity (MENINX_WEB_DEIDENTIFY)")
    if study.series:
        raise OptionError(
            "this study has the identity of its DICOM files; correct it where they come from, and "
            "send them again"
        )
    cleaned = {name: _cleaned(name, value) for name, value in values.items()}
    changed = [name for name, value in cleaned.items() if getattr(study, name) != value]
    for name in changed:
        setattr(study, name, cleaned[name])
    study.patient_key = person_key(
        Heading(
            patient=patient_hash(study.patient_id, ""),
            patient_name=study.patient_name,
            patient_id=study.patient_id,
            birth_date=study.birth_date,
        )
    )
    if changed:
        record(session, reader.name, "identity corrected", study.id, ", ".join(changed))


def _cleaned(name: str, value: str) -> str:
    """Return a value as headers give it; an error if it is no date or time."""
    value = clean_text(value)
    if name == "patient_name":
        return name_for_readers(value)
    if not value or name not in ("birth_date", "study_date", "study_time"):
        return value
    try:
        if name == "study_time":
            return time.fromisoformat(value).strftime("%H:%M:%S")
        return date.fromisoformat(value).isoformat()
    except ValueError as error:
        wanted = "a time such as 23:59" if name == "study_time" else "a date such as 2026-01-31"
        raise OptionError(f"{name}: expected {wanted}") from error
