"""Record in the audit log who saw or changed what."""

from sqlalchemy.orm import Session

from meninx._web.store.database import AuditEntry

LONGEST_DETAIL = 500


def record(
    session: Session, user_name: str, action: str, study_id: str | None = None, detail: str = ""
) -> None:
    """Add an entry to the audit log, in the same transaction as the action itself.

    Args:
        session: Database session.
        user_name: Name of the account that acts.
        action: Action, in a few words.
        study_id: Study that the action is about; None for none.
        detail: Details in words, without an identifier of a patient.
    """
    entry = AuditEntry(user_name=user_name[:100], action=action, study_id=study_id)
    entry.detail = detail[:LONGEST_DETAIL]
    session.add(entry)
