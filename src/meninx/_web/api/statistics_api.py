"""The API for numbers by week, and for the health of DICOM nodes."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from meninx._web.api.routes import ERRORS, Body
from meninx._web.serving import MayRead, MayUpload, SessionNeeded
from meninx._web.studies.nodes import node_rows, store_report
from meninx._web.studies.statistics import MAX_WEEKS, statistics

statistics_api = APIRouter(prefix="/api/v1", responses=ERRORS)
Count = Annotated[int, Field(ge=0, le=10**12)]


class NumbersResponse(BaseModel):
    """Numbers of studies, and the medians of how long they took, in seconds."""

    received: int
    answered: int
    referred: int
    not_scored: int
    waiting: int
    read: int
    agreed: int
    disagreed: int
    scoring_seconds: float | None
    reading_seconds: float | None


class Week(NumbersResponse):
    """Numbers of the studies that arrived in a week, and its first day."""

    week: str
    starts: str


class StatisticsResponse(BaseModel):
    """Numbers by week, and of all these weeks."""

    project: str
    total: NumbersResponse
    weeks: list[Week]


class Report(Body):
    """What a DICOM node says of itself: of its inbox now, and `failed` and `refused` since then."""

    # An application entity title (PS3.8 9.3.2).
    title: str = Field(pattern=r"^[ -\[\]-~]{1,16}$")
    started: str = Field(max_length=40)
    instances: Count
    studies: Count
    waiting: Count
    scored: Count
    failed: Count
    refused: Count
    results_sent: Count
    results_waiting: Count
    # Number of results that each peer has not accepted so far.
    failing: dict[Annotated[str, Field(max_length=300)], Count] = Field(max_length=100)


class NodeResponse(BaseModel):
    """A DICOM node: what came, what waits and what failed, in words and as it reported."""

    name: str
    heard: str
    well: bool
    came: str
    waiting: str
    failing: str
    report: dict[str, Any]


@statistics_api.get("/statistics")
def numbers(
    reader: MayRead,
    session: SessionNeeded,
    weeks: Annotated[int, Query(ge=1, le=MAX_WEEKS)] = 26,
    project: Annotated[str, Query(max_length=100)] = "",
) -> StatisticsResponse:
    """Return how many studies were answered, referred and agreed with, by week, and how fast."""
    return StatisticsResponse(**statistics(session, reader, weeks, project))


@statistics_api.get("/nodes")
def nodes(reader: MayRead, session: SessionNeeded) -> list[NodeResponse]:
    """Return the health of all DICOM nodes that hand their studies over."""
    del reader
    return [NodeResponse(**row) for row in node_rows(session)]


@statistics_api.put("/nodes", status_code=204)
def report(new: Report, reader: MayUpload, session: SessionNeeded) -> None:
    """Store what a DICOM node says of itself; `meninx receive` does so each minute."""
    store_report(session, reader, new.title, new.model_dump())
