"""Write down who saw or changed what."""

from sqlalchemy.orm import Session

from meninx.web.database import AuditEntry

LONGEST_DETAIL = 500


def record(
    session: Session, user_name: str, action: str, study_id: str | None = None, detail: str = ""
) -> None:
    """Add an entry to the audit log, in the same transaction as what it tells of.

    Args:
        session: Of the database.
        user_name: Who.
        action: What, in a few words.
        study_id: Of which study.
        detail: More words; no identifier of a patient.
    """
    entry = AuditEntry(user_name=user_name[:100], action=action, study_id=study_id)
    entry.detail = detail[:LONGEST_DETAIL]
    session.add(entry)
