"""What DICOM nodes that hand their studies over say of themselves, in words."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from meninx._errors import counted
from meninx._web.auth.accounts import Reader
from meninx._web.store.database import SCORING, NodeReport, Study, now
from meninx._web.studies.queue import waiting

# A node reports each minute: after three of them it is missed.
_MISSED_AFTER = timedelta(minutes=3)


def store_report(session: Session, reader: Reader, title: str, report: dict[str, Any]) -> None:
    """Store a node's report in place of its last one.

    Args:
        session: Database session.
        reader: Account of the node's key.
        title: Application entity title of the node.
        report: Numbers, as `meninx receive` sends them.
    """
    name = f"{reader.name}, {title}"
    stored = session.get(NodeReport, name)
    if stored is None:
        session.add(NodeReport(name=name, report=report))
    else:
        stored.report, stored.heard = report, now()


def node_rows(session: Session) -> list[dict[str, Any]]:
    """Return all nodes: name, when each was heard last, and its health in words."""
    reports = session.scalars(select(NodeReport).order_by(NodeReport.name))
    return [
        {
            "name": stored.name,
            "heard": stored.heard.isoformat(),
            "well": _is_well(stored),
            **_in_words(stored),
            "report": stored.report,
        }
        for stored in reports
    ]


def _is_well(stored: NodeReport) -> bool:
    report = stored.report
    heard = now() - stored.heard <= _MISSED_AFTER
    return heard and not (report["failing"] or report["failed"] or report["refused"])


def _in_words(stored: NodeReport) -> dict[str, str]:
    """Return what came, what waits and what failed."""
    report = stored.report
    came = (
        f"{counted(report['instances'], 'image')} of {counted(report['studies'], 'study')} in its "
        f"inbox; {counted(report['scored'], 'study')} scored, "
        f"{counted(report['results_sent'], 'result')} sent"
    )
    waits = []
    if report["waiting"]:
        waits.append(f"{counted(report['waiting'], 'study')} to be complete and scored")
    if report["results_waiting"]:
        waits.append(f"{counted(report['results_waiting'], 'result')} to be sent")
    failed = [
        f"{peer} has not accepted {counted(count, 'result')}, tried again"
        for peer, count in sorted(report["failing"].items())
    ]
    if report["failed"]:
        failed.append(f"{counted(report['failed'], 'study')} could not be scored since its start")
    if report["refused"]:
        refused = counted(report["refused"], "image")
        failed.append(f"{refused} refused since its start: its log says why")
    silence = now() - stored.heard
    if silence > _MISSED_AFTER:
        minutes = silence // timedelta(minutes=1)
        failed.append(f"not heard for {minutes} minutes: stopped, or it does not reach this server")
    return {
        "came": came,
        "waiting": "; ".join(waits) or "nothing",
        "failing": "; ".join(failed) or "nothing",
    }


def queue_in_words(session: Session) -> str:
    """Return how many studies wait for the detector, and since when."""
    count, first = session.execute(
        select(func.count(), func.min(Study.received)).where(*waiting())
    ).one()
    scored = session.scalar(
        select(func.count()).where(Study.state == SCORING, Study.lease >= now())
    )
    words = f"{counted(scored or 0, 'study')} being scored, {count or 'none'} waiting"
    return f"{words}, the first since {_moment(first)}" if count else words


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
