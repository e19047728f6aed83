"""Which studies a reader may see."""

from sqlalchemy import ColumnElement, select, true

from meninx._web.auth.accounts import Reader
from meninx._web.store.database import Member, Study


def visible_to(reader: Reader) -> ColumnElement[bool]:
    """Return the condition for studies that a reader may see; an administrator sees all."""
    if reader.is_administrator:
        return true()
    return Study.project_id.in_(select(Member.project_id).where(Member.user_id == reader.id))


def in_project(name: str) -> ColumnElement[bool]:
    """Return the condition for studies of a project, by its name; all where it is empty."""
    return Study.project == name if name else true()
