"""The API for studies and their findings: /api/v1/studies."""

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict

from meninx._web.api.routes import ERRORS, Body, Id
from meninx._web.serving import (
    MayRead,
    ReaderNeeded,
    SessionNeeded,
    WebNeeded,
    record_view,
    shown_file,
    study_of,
    zipped_objects,
)
from meninx._web.store.audit import record
from meninx._web.store.database import IDENTITY, Study
from meninx._web.store.stored_results import stored_series
from meninx._web.studies.deleting import delete_study, may_delete
from meninx._web.studies.identity import CorrectedIdentity, correct_identity
from meninx._web.studies.queue import Place, place_of, set_urgent
from meninx._web.studies.results import listed_series, public_findings
from meninx._web.studies.sending import send_file
from meninx._web.studies.worklist import WorklistQuery, list_studies

study_api = APIRouter(prefix="/api/v1", responses=ERRORS)
_LONGEST_REASON = 400


class ListQuery(WorklistQuery):
    """The query of a list; an unknown filter is an error, or it would list too much."""

    model_config = ConfigDict(extra="forbid")


class StudyResponse(BaseModel):
    """A study as the worklist shows it."""

    id: str
    project: str
    title: str
    # What titles show: the patient as far as known.
    name: str
    state: str
    urgent: bool
    # Place in the queue; null in lists, and unless it waits.
    queue: dict[str, int] | None = None
    withdrawn: str | None
    decision: str | None
    probability: float | None
    received: str
    finished: str | None
    created: bool | None = None
    patient_name: str
    patient_id: str
    birth_date: str
    accession: str
    study_date: str
    study_time: str
    description: str
    study_uid: str
    series: list[dict[str, Any]]
    answer: dict[str, Any] | None
    # Names of readers with an opinion on it; only in a list.
    readers: list[str] | None = None


class Page(BaseModel):
    """One page of studies, and the number of studies on all pages."""

    count: int
    studies: list[StudyResponse]


def study_response(
    study: Study,
    *,
    created: bool | None = None,
    readers: list[str] | None = None,
    place: Place | None = None,
) -> StudyResponse:
    """Return a study as the worklist shows it."""
    return StudyResponse(
        id=study.id,
        project=study.project,
        title=study.title,
        name=study.name,
        state=study.state,
        urgent=study.urgent,
        queue=place.as_json() if place else None,
        withdrawn=study.withdrawn.isoformat() if study.withdrawn else None,
        decision=study.decision,
        probability=study.probability,
        received=study.received.isoformat(),
        finished=study.finished.isoformat() if study.finished else None,
        created=created,
        series=listed_series(study),
        answer=study.answer,
        readers=readers,
        **{name: getattr(study, name) for name in IDENTITY},
    )


@study_api.get("/studies")
def studies(reader: MayRead, session: SessionNeeded, wanted: Annotated[ListQuery, Query()]) -> Page:
    """List studies, fifty a page; the referred and the positive first."""
    found = list_studies(session, reader, wanted)
    lines = [study_response(study, readers=found.readers[study.id]) for study in found.studies]
    return Page(count=found.count, studies=lines)


@study_api.get("/studies/{study_id}")
def study(study_id: Id, reader: MayRead, session: SessionNeeded) -> StudyResponse:
    """Return one study as the worklist shows it."""
    found = study_of(session, reader, study_id)
    return study_response(found, place=place_of(session, found))


class Urgent(Body):
    """Whether a study is urgent."""

    urgent: bool


@study_api.put("/studies/{study_id}/urgent")
def urgent(
    study_id: Id, new: Urgent, reader: ReaderNeeded, session: SessionNeeded
) -> StudyResponse:
    """Have a study scored before all that are not urgent, and listed first; or take that back."""
    found = study_of(session, reader, study_id)
    set_urgent(session, reader, found, urgent=new.urgent)
    session.flush()
    return study_response(found, place=place_of(session, found))


@study_api.put("/studies/{study_id}/identity")
def identity(
    study_id: Id,
    new: CorrectedIdentity,
    reader: ReaderNeeded,
    session: SessionNeeded,
    web: WebNeeded,
) -> StudyResponse:
    """Correct the identity of pictures and NIfTI, by uploader or administrator; the rest stays."""
    found = study_of(session, reader, study_id)
    if not may_delete(reader, found):
        raise HTTPException(403, "only its uploader or an administrator corrects a study")
    values = new.model_dump(exclude_unset=True)
    correct_identity(session, reader, found, values, web.settings)
    return study_response(found, place=place_of(session, found))


@study_api.get("/studies/{study_id}/finding")
def finding(study_id: Id, reader: MayRead, session: SessionNeeded) -> list[dict[str, Any]]:
    """Return the findings of a study's scans, as `meninx predict --json` has them."""
    found = study_of(session, reader, study_id)
    record_view(session, reader, found)
    return public_findings(found)


@study_api.get(
    "/studies/{study_id}/objects",
    response_class=Response,
    responses={200: {"content": {"application/zip": {}}}},
)
def objects(study_id: Id, reader: MayRead, session: SessionNeeded, web: WebNeeded) -> Response:
    """Return the DICOM objects of a study's findings and of readers' measurements, as a zip."""
    found = study_of(session, reader, study_id)
    record(session, reader.name, "exported DICOM", found.id)
    return zipped_objects(web, session, found)


@study_api.get(
    "/studies/{study_id}/heatmap",
    response_class=FileResponse,
    responses={200: {"content": {"image/png": {}}}, 304: {"description": "as before"}},
)
def heatmap(
    request: Request,
    study_id: Id,
    reader: MayRead,
    session: SessionNeeded,
    web: WebNeeded,
    scan: Annotated[int | None, Query(ge=0, le=10_000)] = None,
) -> Response:
    """Return the hottest slice with its heat map, as PNG; of the scan that is shown first."""
    found = study_of(session, reader, study_id)
    number = found.chosen if scan is None else scan
    series = stored_series(found)
    shown = series[number].shown if number < len(series) else None
    if shown is None or not shown.picture:
        raise HTTPException(404, "no heat map: nothing was scored")
    if shown.withheld:
        raise HTTPException(404, shown.withheld)
    record_view(session, reader, found)
    return send_file(request, shown_file(web, found, shown.picture), "image/png")


@study_api.delete("/studies/{study_id}", status_code=204)
def remove(
    study_id: Id,
    reader: ReaderNeeded,
    session: SessionNeeded,
    web: WebNeeded,
    reason: Annotated[str, Query(max_length=_LONGEST_REASON)] = "",
) -> None:
    """Delete a study with its pixels: its uploader or an administrator.

    With opinions it is withdrawn; an administrator who gives a reason erases pixels and identity.
    """
    found = study_of(session, reader, study_id)
    if not may_delete(reader, found):
        raise HTTPException(403, "only its uploader or an administrator deletes a study")
    delete_study(session, reader, found, web.settings, reason.strip())
