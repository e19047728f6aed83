"""Page of the audit log, for administrators."""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from sqlalchemy import select

from meninx._web.pages.responses import page
from meninx._web.serving import AdministratorNeeded, SessionNeeded, WebNeeded
from meninx._web.store.database import AuditEntry

audit_pages = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

_AUDIT_PAGE = 100


@audit_pages.get("/audit")
def audit_log(
    reader: AdministratorNeeded,
    session: SessionNeeded,
    web: WebNeeded,
    before: int = 0,
    study: str = "",
) -> HTMLResponse:
    """Show the audit log, the newest first."""
    query = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(_AUDIT_PAGE + 1)
    if before:
        query = query.where(AuditEntry.id < before)
    if study:
        query = query.where(AuditEntry.study_id == study)
    found = list(session.scalars(query))
    older = len(found) > _AUDIT_PAGE
    return page(web, "audit.html", reader, entries=found[:_AUDIT_PAGE], older=older, study=study)
