"""The API for programs: /api/v1."""

import os
from collections.abc import AsyncIterator
from typing import IO, Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field
from sqlalchemy import func, select, text
from starlette.datastructures import UploadFile

from meninx import __version__
from meninx._errors import LimitExceeded
from meninx._web.serving import (
    MayRead,
    MayUpload,
    ReaderNeeded,
    SessionNeeded,
    WebNeeded,
    seen,
    shown_file,
    study_of,
    zipped_objects,
)
from meninx._web.store.audit import record
from meninx._web.store.database import Opinion, Study
from meninx._web.store.stored import stored_series
from meninx._web.studies.sending import send_file
from meninx._web.studies.studies import (
    IDENTITY,
    Verdict,
    add_chunk,
    add_opinion,
    delete_study,
    drop_upload,
    finish_upload,
    known_series,
    may_delete,
    opinions_of,
    own_upload,
    public_findings,
    start_upload,
    visible,
)
from meninx._web.studies.worklist import WorklistQuery, list_studies

# Bytes of a part of a file that is sent at a time.
LARGEST_CHUNK = 16 * 1024**2
# Bytes and number of whole files that are sent at a time; a form's Content-Length is checked
# before anything of it is read.
LARGEST_BATCH, MAX_FILES = 64 * 1024**2, 1000
ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"description": words, "content": {"application/json": {}}}
    for code, words in {
        400: "the request can't be met",
        401: "not signed in",
        403: "not allowed",
        404: "not found",
        410: "erased",
        411: "no Content-Length",
        413: "too large",
        429: "too many wrong keys",
    }.items()
}

api = APIRouter(prefix="/api/v1", responses=ERRORS)
Id = Annotated[str, Path(pattern="^[0-9a-f]{24}$")]
LONGEST_NAME, LONGEST_REASON = 1000, 400
Name = Annotated[str, Query(min_length=1, max_length=LONGEST_NAME)]


class Started(BaseModel):
    """The id of an upload."""

    id: str


class Begin(BaseModel):
    """Title of an upload, and the project whose members will see it; empty for the first one."""

    title: str = Field(default="", max_length=300)
    project: str = Field(default="", max_length=100)
    # Voxel size of volumes whose files lost it, mm, such as 0.9,0.9,6.5.
    spacing: str = Field(default="", max_length=60)


class Received(BaseModel):
    """Offset of the next part of a file, in bytes."""

    offset: int


class Batch(BaseModel):
    """Number of files that were received."""

    files: int


class StudyResponse(BaseModel):
    """A study as the worklist shows it."""

    id: str
    project: str
    title: str
    state: str
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
    # Names of those who gave an opinion on it; only in a list.
    readers: list[str] | None = None


class Finished(StudyResponse):
    """The studies that an upload became; the first one's own values stand beside them."""

    studies: list[StudyResponse]


class Page(BaseModel):
    """One page of studies, and the number of studies on all pages."""

    count: int
    studies: list[StudyResponse]


class NewOpinion(BaseModel):
    """An opinion on a finding, to be stored."""

    verdict: Verdict
    note: str = Field(default="", max_length=4000)
    scan: int = Field(default=0, ge=0, le=10_000)
    region: dict[Literal["from", "to"], tuple[int, int, int]] | None = None


class OpinionResponse(BaseModel):
    """An opinion: verdict, author, time and signature."""

    scan: int
    user: str
    verdict: str
    note: str
    region: dict[str, Any] | None
    made: str
    signature: str


def study_response(
    study: Study, *, created: bool | None = None, readers: list[str] | None = None
) -> StudyResponse:
    """Return a study as the worklist shows it."""
    return StudyResponse(
        id=study.id,
        project=study.project,
        title=study.title,
        state=study.state,
        decision=study.decision,
        probability=study.probability,
        received=study.received.isoformat(),
        finished=study.finished.isoformat() if study.finished else None,
        created=created,
        series=known_series(study),
        answer=study.answer,
        readers=readers,
        **{name: getattr(study, name) for name in IDENTITY},
    )


def opinion_response(one: Opinion) -> OpinionResponse:
    """Return an opinion as the API gives it."""
    return OpinionResponse(
        scan=one.scan,
        user=one.user_name,
        verdict=one.verdict,
        note=one.note,
        region=one.region,
        made=one.made.isoformat(),
        signature=one.signature,
    )


@api.get("/health")
def health() -> dict[str, str]:
    """Report that the server runs. For research, not for diagnosis."""
    return {"status": "ok", "version": __version__, "use": "research only, not for diagnosis"}


@api.get("/ready")
def ready(session: SessionNeeded) -> dict[str, str]:
    """Report that the database answers."""
    session.execute(text("SELECT 1"))
    return {"status": "ready"}


@api.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(reader: MayRead, session: SessionNeeded) -> Response:
    """Return figures for Prometheus, of the studies that the caller may see."""

    def counts(column: Any) -> Any:
        query = select(column, func.count()).where(visible(reader)).group_by(column)
        return session.execute(query).all()

    states, decisions = counts(Study.state), counts(Study.decision)
    lines = ["# TYPE meninx_studies gauge"]
    lines += [f'meninx_studies{{state="{state}"}} {count}' for state, count in states]
    lines.append("# TYPE meninx_findings gauge")
    lines += [f'meninx_findings{{decision="{d}"}} {count}' for d, count in decisions if d]
    lines += [
        "# TYPE process_resident_memory_bytes gauge",
        f"process_resident_memory_bytes {_resident_bytes()}",
    ]
    return Response("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux
        return 0


@api.post("/uploads", status_code=201)
def begin(begin: Begin, reader: MayUpload, session: SessionNeeded, web: WebNeeded) -> Started:
    """Begin an upload of one study: then send the parts of its files, then finish it."""
    upload = start_upload(session, reader, begin.title, web.settings, begin.project, begin.spacing)
    return Started(id=upload.id)


BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


async def body_of(request: Request) -> bytes:
    """Return a request's body, unless it is too large for a part.

    Args:
        request: Request with the part as its body.

    Returns:
        Its bytes.

    Raises:
        LimitExceeded: If there are more than a part may have.
    """
    pieces, length = [], 0
    async for piece in request.stream():
        pieces.append(piece)
        length += len(piece)
        if length > LARGEST_CHUNK:
            raise LimitExceeded(f"a part holds at most {LARGEST_CHUNK:,} bytes")
    return b"".join(pieces)


@api.put("/uploads/{upload_id}/parts", openapi_extra={"requestBody": {"content": BYTES}})
def part(
    upload_id: Id,
    name: Name,
    reader: MayUpload,
    session: SessionNeeded,
    web: WebNeeded,
    data: Annotated[bytes, Depends(body_of)],
    offset: Annotated[int, Query(ge=0, le=2**53)] = 0,
) -> Received:
    """Send a part of a file as the body; an empty one asks how far the file has come."""
    own = own_upload(session, reader, upload_id)
    return Received(offset=add_chunk(own, name, offset, data, web.settings))


async def files_of(
    request: Request, reader: MayUpload
) -> AsyncIterator[list[tuple[str, IO[bytes]]]]:
    """Give the files of a form, once their sender is authenticated.

    Args:
        request: Request with the form.
        reader: Sender, who is authenticated before anything is read.

    Yields:
        Name and content of each.

    Raises:
        HTTPException: 411 if the request has no Content-Length.
        LimitExceeded: If the form has more bytes than a batch may have.
    """
    del reader
    length = request.headers.get("content-length", "")
    if not length.isdecimal():
        raise HTTPException(411, "no Content-Length: send the number of the form's bytes with it")
    if int(length) > LARGEST_BATCH:
        raise LimitExceeded(f"a batch holds at most {LARGEST_BATCH:,} bytes")
    async with request.form(max_files=MAX_FILES) as form:
        yield [
            (one.filename or "file", one.file)
            for _, one in form.multi_items()
            if isinstance(one, UploadFile)
        ]


FILES = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "properties": {
                "files": {"type": "array", "items": {"type": "string", "format": "binary"}}
            },
        }
    }
}


@api.post("/uploads/{upload_id}/files", openapi_extra={"requestBody": {"content": FILES}})
def batch(
    upload_id: Id,
    reader: MayUpload,
    session: SessionNeeded,
    web: WebNeeded,
    files: Annotated[list[tuple[str, IO[bytes]]], Depends(files_of, scope="function")],
) -> Batch:
    """Send many whole files at a time, as a form; again after a lost connection, if need be."""
    own = own_upload(session, reader, upload_id)
    for name, file in files:
        add_chunk(own, name[:LONGEST_NAME], 0, file.read(), web.settings)
    return Batch(files=len(files))


@api.delete("/uploads/{upload_id}", status_code=204)
def cancel(upload_id: Id, reader: MayUpload, session: SessionNeeded, web: WebNeeded) -> None:
    """Give an upload up: its files are gone at once."""
    drop_upload(session, own_upload(session, reader, upload_id), web.settings)


@api.post("/uploads/{upload_id}/finish", status_code=201)
def finish(
    upload_id: Id,
    reader: MayUpload,
    session: SessionNeeded,
    web: WebNeeded,
    response: Response,
    together: bool = False,
) -> Finished:
    """Make studies of an upload, one a patient and exam; content that is here already is not new.

    Pictures and NIfTI volumes are a study each, unless `together` says that they are of one person.
    """
    upload = own_upload(session, reader, upload_id)
    stored = finish_upload(session, reader, upload, web.settings, together=together)
    each = [study_response(study, created=new) for study, new in stored]
    if not any(new for _, new in stored):
        response.status_code = 200
    return Finished(**each[0].model_dump(), studies=each)


@api.get("/studies")
def studies(
    reader: MayRead, session: SessionNeeded, wanted: Annotated[WorklistQuery, Query()]
) -> Page:
    """List studies, fifty a page; the referred and the positive first."""
    found = list_studies(session, reader, wanted)
    lines = [study_response(one, readers=found.readers[one.id]) for one in found.studies]
    return Page(count=found.count, studies=lines)


@api.get("/studies/{study_id}")
def study(study_id: Id, reader: MayRead, session: SessionNeeded) -> StudyResponse:
    """Return one study as the worklist shows it."""
    return study_response(study_of(session, reader, study_id))


@api.get("/studies/{study_id}/finding")
def finding(study_id: Id, reader: MayRead, session: SessionNeeded) -> list[dict[str, Any]]:
    """Return the findings of a study's scans, as `meninx predict --json` has them."""
    found = study_of(session, reader, study_id)
    seen(session, reader, found)
    return public_findings(found)


@api.get(
    "/studies/{study_id}/objects",
    response_class=Response,
    responses={200: {"content": {"application/zip": {}}}},
)
def objects(study_id: Id, reader: MayRead, session: SessionNeeded, web: WebNeeded) -> Response:
    """Return the DICOM objects of a study's findings and of readers' measurements, as a zip."""
    found = study_of(session, reader, study_id)
    record(session, reader.name, "exported DICOM", found.id)
    return zipped_objects(web, session, found)


@api.get(
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
    seen(session, reader, found)
    return send_file(request, shown_file(web, found, shown.picture), "image/png")


@api.get("/studies/{study_id}/opinions")
def opinions(study_id: Id, reader: MayRead, session: SessionNeeded) -> list[OpinionResponse]:
    """Return readers' opinions, the newest first; also of a study that was erased."""
    found = study_of(session, reader, study_id, erased=True)
    return [opinion_response(one) for one in opinions_of(session, found)]


@api.post("/studies/{study_id}/opinions", status_code=201)
def create_opinion(
    study_id: Id, new: NewOpinion, reader: ReaderNeeded, session: SessionNeeded, web: WebNeeded
) -> OpinionResponse:
    """Agree, disagree or mark a region, with a note; earlier opinions stay.

    A region lies inside the scan's voxels, with `from` nowhere above `to`; `agree` and `disagree`
    may have one too.
    """
    found = study_of(session, reader, study_id)
    region: dict[str, Any] | None = None
    if new.region is not None:
        region = {name: list(corner) for name, corner in new.region.items()}
    stored = add_opinion(session, reader, found, new.scan, new.verdict, new.note, region, web.key)
    session.flush()
    return opinion_response(stored)


@api.delete("/studies/{study_id}", status_code=204)
def remove(
    study_id: Id,
    reader: ReaderNeeded,
    session: SessionNeeded,
    web: WebNeeded,
    reason: Annotated[str, Query(max_length=LONGEST_REASON)] = "",
) -> None:
    """Delete a study with its pixels: its uploader or an administrator.

    With opinions it is withdrawn; an administrator who gives a reason erases pixels and identity.
    """
    found = study_of(session, reader, study_id)
    if not may_delete(reader, found):
        raise HTTPException(403, "only its uploader or an administrator deletes a study")
    delete_study(session, reader, found, web.settings, reason.strip())
