"""Numbers of the application by week: answered, referred, agreed, and how long it took."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from statistics import median
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from meninx._web.auth.accounts import Reader
from meninx._web.auth.rights import in_project, visible_to
from meninx._web.store.database import DONE, Opinion, Study, now
from meninx._web.studies.opinions import agrees

MAX_WEEKS = 104


@dataclass
class Numbers:
    """Numbers of the studies that arrived in some time; an erased study counts, too.

    Args:
        received: Studies that arrived.
        answered: Those with the answer tumor or no tumor.
        referred: Those that were referred.
        not_scored: Those that were refused or could not be read.
        waiting: Those that are not scored yet.
        read: Those with an opinion.
        agreed: Those whose readers all gave the detector's answers.
        disagreed: Those of which a reader gave another answer than the detector.
        scoring_seconds: Time from arrival to the finding of each, s.
        reading_seconds: Time from the finding to the first opinion of each, s.
    """

    received: int = 0
    answered: int = 0
    referred: int = 0
    not_scored: int = 0
    waiting: int = 0
    read: int = 0
    agreed: int = 0
    disagreed: int = 0
    scoring_seconds: list[float] = field(default_factory=list)
    reading_seconds: list[float] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the numbers, with the medians of the times; null where there is none."""
        counts = {name: value for name, value in vars(self).items() if isinstance(value, int)}
        return counts | {
            "scoring_seconds": _median(self.scoring_seconds),
            "reading_seconds": _median(self.reading_seconds),
        }


def _median(seconds: Sequence[float]) -> float | None:
    return round(median(seconds), 1) if seconds else None


def statistics(session: Session, reader: Reader, weeks: int, project: str = "") -> dict[str, Any]:
    """Return the numbers of the studies that a reader sees, by the week of their arrival (UTC).

    Args:
        session: Database session.
        reader: Reader, who sees the studies of their projects only.
        weeks: Number of weeks, the present one the last.
        project: Name of a project; empty for all of the reader's.

    Returns:
        JSON object: `total`, and `weeks` in their order with the `week` of ISO 8601 and its first
        day.
    """
    monday = now().date() - timedelta(days=now().weekday() + 7 * (weeks - 1))
    seen = visible_to(reader), in_project(project), Study.received >= _start(monday)
    columns = Study.id, Study.received, Study.finished, Study.state, Study.decision
    studies = session.execute(select(*columns).where(*seen)).all()
    opinions: dict[str, list[Opinion]] = defaultdict(list)
    said = select(Opinion).where(Opinion.study_id.in_(select(Study.id).where(*seen)))
    for opinion in session.scalars(said.order_by(Opinion.id)):
        opinions[opinion.study_id].append(opinion)
    total, by_week = Numbers(), [Numbers() for _ in range(weeks)]
    for study_id, received, finished, state, decision in studies:
        study = _Arrived(received, finished, state, decision)
        week = min((study.received.date() - monday).days // 7, weeks - 1)
        for numbers in (total, by_week[week]):
            _add(numbers, study, opinions[study_id])
    return {
        "project": project,
        "total": total.as_json(),
        "weeks": [
            _week(monday + timedelta(weeks=number)) | numbers.as_json()
            for number, numbers in enumerate(by_week)
        ],
    }


def _start(day: date) -> datetime:
    return datetime.combine(day, datetime.min.time(), now().tzinfo)


def _week(monday: date) -> dict[str, str]:
    year, number, _ = monday.isocalendar()
    return {"week": f"{year}-W{number:02}", "starts": monday.isoformat()}


@dataclass(frozen=True)
class _Arrived:
    """What is counted of a study.

    Args:
        received: Time of its arrival.
        finished: Time of its finding; None before.
        state: How far it came.
        decision: Its answer or status; None before.
    """

    received: datetime
    finished: datetime | None
    state: str
    decision: str | None


def _add(numbers: Numbers, study: _Arrived, opinions: Sequence[Opinion]) -> None:
    """Count one study."""
    numbers.received += 1
    if study.state != DONE:
        numbers.waiting += 1
    elif study.decision in ("tumor", "no_tumor"):
        numbers.answered += 1
    elif study.decision == "refer":
        numbers.referred += 1
    else:
        numbers.not_scored += 1
    if study.finished is not None:
        numbers.scoring_seconds.append((study.finished - study.received).total_seconds())
    if not opinions:
        return
    numbers.read += 1
    if study.finished is not None:
        waited = (opinions[0].made - study.finished).total_seconds()
        numbers.reading_seconds.append(max(0.0, waited))
    compared = _compared(opinions)
    numbers.agreed += bool(compared) and all(compared)
    numbers.disagreed += not all(compared)


def _compared(opinions: Iterable[Opinion]) -> list[bool]:
    """Return whether each reader's latest answers are the detector's, where both decided.

    Args:
        opinions: Opinions on a study, the oldest first; those on regions do not count.

    Returns:
        A truth for each reader and each series or study that was answered.
    """
    latest: dict[tuple[str, str, int], Opinion] = {}
    for opinion in opinions:
        if opinion.about != "region":
            scan = opinion.scan if opinion.about == "series" else -1
            latest[opinion.user_name, opinion.about, scan] = opinion
    found = [agrees(opinion) for opinion in latest.values()]
    return [same for same in found if same is not None]


def time_in_words(seconds: float | None) -> str:
    """Return a time in the largest unit that it has two of."""
    if seconds is None:
        return "-"
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


# Parts of a bar, from the bottom, with their colors.
PARTS: Mapping[str, str] = {
    "answered": "var(--clear)",
    "referred": "var(--refer)",
    "not_scored": "var(--none)",
    "waiting": "var(--soft)",
}


def bars(weeks: Sequence[Mapping[str, Any]], height: float) -> list[list[dict[str, Any]]]:
    """Return the parts of each week's bar in a plot.

    Args:
        weeks: Numbers by week, as `statistics` gives them.
        height: Height of the highest bar.

    Returns:
        For each week its parts that are not empty: `part`, `count`, `color`, and `y` and `height`
        from the plot's top.
    """
    most = max((week["received"] for week in weeks), default=0) or 1
    drawn = []
    for week in weeks:
        bottom, parts = height, []
        for part, color in PARTS.items():
            high = height * week[part] / most
            bottom -= high
            if week[part]:
                parts.append(
                    {
                        "part": part.replace("_", " "),
                        "count": week[part],
                        "color": color,
                        "y": round(bottom, 1),
                        "height": round(high, 1),
                    }
                )
        drawn.append(parts)
    return drawn
