"""Delete studies; those with opinions are withdrawn or erased."""

import shutil
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from meninx._errors import OptionError
from meninx._web.auth.accounts import ADMINISTRATOR, Reader
from meninx._web.store.audit import record
from meninx._web.store.database import DONE, IDENTITY, Delivery, Opinion, Study, now
from meninx._web.store.settings import Settings

_ERASED = "erased"


def may_delete(reader: Reader, study: Study) -> bool:
    """Return whether a reader may delete a study: its uploader or an administrator."""
    return reader.is_administrator or study.uploader_id == reader.id


def delete_study(
    session: Session, reader: Reader, study: Study, settings: Settings, reason: str = ""
) -> None:
    """Delete a study with its pixels; one with opinions is withdrawn, or erased for a reason.

    Opinions stay, with reader, time and the answer that they are about; so does the audit log.

    Args:
        session: Database session.
        reader: Reader who deletes; a study with opinions is erased by administrators only.
        study: Study to delete.
        settings: Settings of the server, with the folder of studies.
        reason: Reason to erase pixels and identity of a study with opinions; empty to withdraw it.

    Raises:
        OptionError: If a reader who is no administrator gives a reason to erase.
    """
    opinion_id = session.scalar(select(Opinion.id).where(Opinion.study_id == study.id).limit(1))
    if opinion_id is not None and not reason:
        study.withdrawn = now()
        record(session, reader.name, "withdrawn", study.id)
        return
    if opinion_id is not None and not reader.is_administrator:
        raise OptionError(
            "readers have given opinions on this study; ask an administrator to erase it"
        )
    shutil.rmtree(settings.studies / study.id, ignore_errors=True)
    if opinion_id is None:
        session.delete(study)
    else:
        session.execute(delete(Delivery).where(Delivery.study_id == study.id))
        _erase(study)
    record(session, reader.name, "erased" if opinion_id else "deleted", study.id, reason)


def _erase(study: Study) -> None:
    """Delete identity and findings of a study; its decision stays."""
    for name in (*IDENTITY, "patient_key"):
        setattr(study, name, "")
    study.title, study.content_hash = _ERASED, f"erased {study.id}"
    study.findings, study.series, study.file_names = [], [], {}
    study.state, study.lease, study.chosen, study.bytes = DONE, None, 0, 0
    study.withdrawn = study.withdrawn or now()
    study.erased = now()


def delete_expired_studies(session: Session, settings: Settings) -> int:
    """Delete studies that are older than the retention time; return their number."""
    if not settings.retention_days:
        return 0
    limit = now() - timedelta(days=settings.retention_days)
    old = list(session.scalars(select(Study).where(Study.received < limit, Study.erased.is_(None))))
    retention = Reader(0, "retention", ADMINISTRATOR)
    for study in old:
        delete_study(session, retention, study, settings, "older than the retention time")
    return len(old)
