"""The queue of studies that wait for the detector: the urgent first, then by arrival."""

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from meninx._web.auth.accounts import Reader
from meninx._web.store.audit import record
from meninx._web.store.database import RECEIVED, SCORING, Study, now
from meninx._web.studies.results import priority_of

# Order in which workers take studies.
ORDER = (Study.urgent.desc(), Study.received, Study.id)


def waiting() -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for studies that no worker has."""
    return (
        Study.state.in_((RECEIVED, SCORING)),
        or_(Study.lease.is_(None), Study.lease < now()),
    )


@dataclass(frozen=True)
class Place:
    """The place of a study in the queue.

    Args:
        place: Its place, from 1, which is scored next.
        waiting: Number of studies that wait.
    """

    place: int
    waiting: int

    def as_json(self) -> dict[str, Any]:
        """Return it as the API gives it."""
        return asdict(self)


def places_of(session: Session, studies: list[Study]) -> dict[str, Place]:
    """Return the places in the queue of those studies that wait, by id.

    Args:
        session: Database session.
        studies: Studies, waiting or not.

    Returns:
        Places among all waiting studies, also those of other projects.
    """
    if all(study.state not in (RECEIVED, SCORING) for study in studies):
        return {}
    place = func.row_number().over(order_by=ORDER)
    queue = select(Study.id, place.label("place")).where(*waiting()).subquery()
    wanted = [study.id for study in studies]
    found = session.execute(select(queue.c.id, queue.c.place).where(queue.c.id.in_(wanted))).all()
    count = session.scalar(select(func.count()).select_from(queue)) or 0
    return {name: Place(number, count) for name, number in found}


def place_of(session: Session, study: Study) -> Place | None:
    """Return the place of a study in the queue; None unless it waits."""
    return places_of(session, [study]).get(study.id)


def set_urgent(session: Session, reader: Reader, study: Study, *, urgent: bool) -> None:
    """Have a study scored before all that are not urgent, and listed first; or take that back.

    Args:
        session: Database session.
        reader: Reader who asks for it.
        study: A study.
        urgent: Whether it is urgent.
    """
    if study.urgent == urgent:
        return
    study.urgent = urgent
    study.priority = priority_of(study)
    record(session, reader.name, "urgent" if urgent else "not urgent", study.id)
