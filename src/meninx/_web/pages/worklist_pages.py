"""Pages of the worklist, and actions on several of its studies at once."""

import hashlib
import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from meninx._errors import OptionError, counted
from meninx._web.auth.accounts import Reader, projects_of
from meninx._web.pages.export_pages import csv_response
from meninx._web.pages.responses import MAX_QUERY, page, redirect_to
from meninx._web.serving import POLL_HEADER, ReaderNeeded, SessionNeeded, Web, WebNeeded, study_of
from meninx._web.store.audit import record
from meninx._web.store.database import Study
from meninx._web.studies.deleting import delete_study, may_delete
from meninx._web.studies.exports import csv_export, study_export
from meninx._web.studies.queue import set_urgent
from meninx._web.studies.worklist import SHORT_ID, WorklistQuery, list_studies, list_version

# Number of studies in one action.
_MAX_CHOSEN = 500
worklist_pages = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
Chosen = Annotated[list[str], Form(alias="study", max_length=_MAX_CHOSEN)]


@worklist_pages.get("/")
def worklist(
    request: Request,
    reader: ReaderNeeded,
    session: SessionNeeded,
    web: WebNeeded,
    wanted: Annotated[WorklistQuery, Query()],
) -> Response:
    """Show the worklist, or only its table to htmx; status 304 if it is unchanged."""
    headers = request.headers
    sent_tag, prefix = headers.get("if-none-match", ""), _tag_prefix(session, reader, wanted)
    if sent_tag.startswith(f"{prefix}.done."):
        return Response(status_code=304, headers={"ETag": sent_tag})
    values = _worklist(session, reader, web, wanted)
    if not headers.get("hx-request"):
        query = request.url.query
        return page(web, "worklist.html", reader, request_query=query, **values)
    table = page(web, "table.html", reader, **values)
    state = "waiting" if values["found"].waiting else "done"
    tag = f'{prefix}.{state}.{_digest(bytes(table.body))}"'
    if sent_tag.rpartition(".")[2] == tag.rpartition(".")[2]:
        return Response(status_code=304, headers={"ETag": tag})
    table.headers["ETag"] = tag
    if POLL_HEADER not in headers:
        table.headers.update(_step_of(headers.get("hx-current-url", ""), values["wanted"]))
    return table


def _worklist(session: Session, reader: Reader, web: Web, wanted: WorklistQuery) -> dict[str, Any]:
    found = list_studies(session, reader, wanted)
    if wanted.page > found.pages:
        # After a deletion, or with a typed address: show the last page.
        wanted = wanted.model_copy(update={"page": found.pages})
        found = list_studies(session, reader, wanted)
    # With de-identification the columns of identity would be empty.
    return {
        "found": found,
        "wanted": wanted,
        "identified": not web.settings.deidentify,
        "projects": projects_of(session, reader),
        "short_id": SHORT_ID,
    }


def _tag_prefix(session: Session, reader: Reader, wanted: WorklistQuery) -> str:
    """Return the start of a table's ETag, which shows that a table of done studies is unchanged."""
    return f'"{_digest(f"{reader.id} {wanted.query()}".encode())}.{list_version(session)}'


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _step_of(current: str, wanted: WorklistQuery) -> dict[str, str]:
    """Return headers that add each list to the browser's history, but not each letter typed."""
    before = WorklistQuery.from_query(current.partition("?")[2])
    if before == wanted:
        return {"HX-Push-Url": "false"}
    typing = (
        before.search
        and wanted.search
        and before == wanted.model_copy(update={"search": before.search})
    )
    return {"HX-Replace-Url" if typing else "HX-Push-Url": wanted.address()}


def _chosen(session: Session, reader: Reader, study_ids: list[str]) -> list[Study]:
    """Return studies that were chosen in the worklist; an error if the reader may not see one."""
    if not study_ids:
        raise OptionError("no study is chosen; check the boxes of studies first")
    return [study_of(session, reader, study_id) for study_id in dict.fromkeys(study_ids)]


@worklist_pages.post("/studies/export")
def export_studies(
    reader: ReaderNeeded,
    session: SessionNeeded,
    study_ids: Chosen = [],  # noqa: B006
    wanted: Annotated[Literal["jsonl", "csv"], Form(alias="format")] = "jsonl",
) -> Response:
    """Send the results of several studies: JSON lines, one a study, or CSV, a row a series."""
    studies = _chosen(session, reader, study_ids)
    what = {"jsonl": "JSON", "csv": "CSV"}[wanted]
    for study in studies:
        record(session, reader.name, f"exported {what}", study.id)
    if wanted == "csv":
        return csv_response(csv_export(session, studies), "meninx-results.csv")
    lines = [
        json.dumps(study_export(session, reader, study), ensure_ascii=False) for study in studies
    ]
    return Response(
        "\n".join(lines) + "\n",
        media_type="application/x-ndjson",
        headers={"Content-Disposition": 'attachment; filename="meninx-results.jsonl"'},
    )


@worklist_pages.post("/studies/urgent")
def mark_urgent(
    reader: ReaderNeeded,
    session: SessionNeeded,
    study_ids: Chosen = [],  # noqa: B006
    came_from: Annotated[str, Form(alias="list", max_length=MAX_QUERY)] = "",
) -> Response:
    """Make several studies urgent; if all of them are, take that back."""
    studies = _chosen(session, reader, study_ids)
    urgent = not all(study.urgent for study in studies)
    for study in studies:
        set_urgent(session, reader, study, urgent=urgent)
    return redirect_to(WorklistQuery.from_query(came_from).address())


@worklist_pages.post("/studies/delete")
def remove_studies(
    reader: ReaderNeeded,
    session: SessionNeeded,
    web: WebNeeded,
    study_ids: Chosen = [],  # noqa: B006
    came_from: Annotated[str, Form(alias="list", max_length=MAX_QUERY)] = "",
) -> Response:
    """Delete several studies, all or none; those with opinions are withdrawn."""
    studies = _chosen(session, reader, study_ids)
    others = [study for study in studies if not may_delete(reader, study)]
    if others:
        raise HTTPException(
            403,
            f"nothing was deleted: of {counted(len(studies), 'study')} {len(others)} came from "
            "others; their uploaders or an administrator delete them",
        )
    for study in studies:
        delete_study(session, reader, study, web.settings)
    return redirect_to(WorklistQuery.from_query(came_from).address())
