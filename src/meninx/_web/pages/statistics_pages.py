"""Page of numbers by week, with the queue and the health of DICOM nodes."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from meninx._web.auth.accounts import projects_of
from meninx._web.pages.responses import page
from meninx._web.serving import ReaderNeeded, SessionNeeded, WebNeeded
from meninx._web.studies.nodes import node_rows, queue_in_words
from meninx._web.studies.statistics import (
    MAX_WEEKS,
    PARTS,
    bars,
    statistics,
    time_in_words,
)

statistics_pages = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
# Height of the plot's bars, and width of a week, in its own units.
_HEIGHT, _WIDTH = 120, 24


@statistics_pages.get("/statistics")
def numbers(
    reader: ReaderNeeded,
    session: SessionNeeded,
    web: WebNeeded,
    weeks: Annotated[int, Query(ge=1, le=MAX_WEEKS)] = 26,
    project: Annotated[str, Query(max_length=100)] = "",
) -> HTMLResponse:
    """Show how many studies were answered, referred and agreed with, and what nodes say."""
    found = statistics(session, reader, weeks, project)
    return page(
        web,
        "statistics.html",
        reader,
        weeks=found["weeks"],
        total=found["total"],
        chosen_weeks=weeks,
        chosen_project=project,
        projects=projects_of(session, reader),
        bars=bars(found["weeks"], _HEIGHT),
        parts={name.replace("_", " "): color for name, color in PARTS.items()},
        most=max(week["received"] for week in found["weeks"]),
        height=_HEIGHT,
        width=_WIDTH,
        time_in_words=time_in_words,
        queue=queue_in_words(session),
        nodes=node_rows(session),
    )
