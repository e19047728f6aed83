"""The API for uploads: /api/v1/uploads."""

from collections.abc import AsyncIterator
from typing import IO, Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile

from meninx._errors import LimitExceeded
from meninx._web.api.routes import ERRORS, Body, Id
from meninx._web.api.study_api import StudyResponse, study_response
from meninx._web.serving import MayUpload, SessionNeeded, WebNeeded
from meninx._web.studies.queue import places_of
from meninx._web.studies.receiving import finish_upload
from meninx._web.studies.uploads import (
    add_chunk,
    delete_upload,
    own_upload,
    start_upload,
    stored_files,
    unfinished_uploads,
)

upload_api = APIRouter(prefix="/api/v1", responses=ERRORS)
# Most bytes in a part of a file.
_LARGEST_CHUNK = 16 * 1024**2
# Most bytes and files in a form of whole files; its Content-Length is checked before it is read.
LARGEST_BATCH, MAX_FILES = 64 * 1024**2, 1000
LONGEST_NAME = 1000
Name = Annotated[str, Query(min_length=1, max_length=LONGEST_NAME)]


class Started(BaseModel):
    """The id of an upload."""

    id: str


class Begin(Body):
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


class LeftOutFile(BaseModel):
    """A file of an upload that belongs to no study."""

    name: str
    why: str


class Finished(StudyResponse):
    """Studies of a finished upload; the values of the first one are repeated at the top level."""

    studies: list[StudyResponse]
    left_out: list[LeftOutFile]


class StoredFile(BaseModel):
    """A file of an unfinished upload, and the bytes of it that are stored."""

    name: str
    bytes: int


class Unfinished(BaseModel):
    """An upload that can go on: send the missing parts and files, then finish it."""

    id: str
    title: str
    project: str
    spacing: str
    bytes: int
    created: str
    files: list[StoredFile]


@upload_api.post("/uploads", status_code=201)
def begin(begin: Begin, reader: MayUpload, session: SessionNeeded, web: WebNeeded) -> Started:
    """Begin an upload of one study: then send the parts of its files, then finish it."""
    upload = start_upload(session, reader, begin.title, web.settings, begin.project, begin.spacing)
    return Started(id=upload.id)


@upload_api.get("/uploads")
def unfinished(reader: MayUpload, session: SessionNeeded, web: WebNeeded) -> list[Unfinished]:
    """Return one's own unfinished uploads, the newest first, to go on with them."""
    return [
        Unfinished(
            id=upload.id,
            title=upload.title,
            project=project,
            spacing=upload.spacing,
            bytes=upload.bytes,
            created=upload.created.isoformat(),
            files=[
                StoredFile(name=name, bytes=size)
                for name, size in stored_files(upload, web.settings)
            ],
        )
        for upload, project in unfinished_uploads(session, reader)
    ]


_BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


async def _body_of(request: Request) -> bytes:
    """Return a request's body, unless it is too large for a part.

    Args:
        request: Request with the part as its body.

    Returns:
        Its bytes.

    Raises:
        LimitExceeded: If there are more than `_LARGEST_CHUNK`.
    """
    pieces, length = [], 0
    async for piece in request.stream():
        pieces.append(piece)
        length += len(piece)
        if length > _LARGEST_CHUNK:
            raise LimitExceeded(f"a part holds at most {_LARGEST_CHUNK:,} bytes")
    return b"".join(pieces)


@upload_api.put("/uploads/{upload_id}/parts", openapi_extra={"requestBody": {"content": _BYTES}})
def part(
    upload_id: Id,
    name: Name,
    reader: MayUpload,
    session: SessionNeeded,
    web: WebNeeded,
    data: Annotated[bytes, Depends(_body_of)],
    offset: Annotated[int, Query(ge=0, le=2**53)] = 0,
) -> Received:
    """Send a part of a file as the body; an empty one asks how far the file has come."""
    own = own_upload(session, reader, upload_id)
    return Received(offset=add_chunk(own, name, offset, data, web.settings))


async def files_of(
    request: Request, reader: MayUpload
) -> AsyncIterator[list[tuple[str, IO[bytes]]]]:
    """Yield the files of a form, after its sender is authenticated.

    Args:
        request: Request with the form.
        reader: Sender, who is authenticated before anything is read.

    Yields:
        Name and content of each.

    Raises:
        HTTPException: 411 if the request has no Content-Length.
        LimitExceeded: If the form has more bytes than `LARGEST_BATCH`.
    """
    del reader
    length = request.headers.get("content-length", "")
    if not length.isdecimal():
        raise HTTPException(411, "no Content-Length: send the number of the form's bytes with it")
    if int(length) > LARGEST_BATCH:
        raise LimitExceeded(f"a batch holds at most {LARGEST_BATCH:,} bytes")
    async with request.form(max_files=MAX_FILES) as form:
        yield [
            (field.filename or "file", field.file)
            for _, field in form.multi_items()
            if isinstance(field, UploadFile)
        ]


_FORM = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "properties": {
                "files": {"type": "array", "items": {"type": "string", "format": "binary"}}
            },
        }
    }
}


@upload_api.post("/uploads/{upload_id}/files", openapi_extra={"requestBody": {"content": _FORM}})
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


@upload_api.delete("/uploads/{upload_id}", status_code=204)
def cancel(upload_id: Id, reader: MayUpload, session: SessionNeeded, web: WebNeeded) -> None:
    """Cancel an upload: its files are deleted at once."""
    delete_upload(session, own_upload(session, reader, upload_id), web.settings)


@upload_api.post("/uploads/{upload_id}/finish", status_code=201)
def finish(
    upload_id: Id,
    reader: MayUpload,
    session: SessionNeeded,
    web: WebNeeded,
    response: Response,
    together: bool = False,
) -> Finished:
    """Turn an upload into studies, one per patient and exam; known content is not stored again.

    Files that are no scans, such as the other files of a CD, are named in `left_out`.

    Pictures and NIfTI volumes are a study each, unless `together` says that they are of one person.
    """
    upload = own_upload(session, reader, upload_id)
    done = finish_upload(session, reader, upload, web.settings, together=together)
    places = places_of(session, [study for study, _ in done.studies])
    each = [
        study_response(study, created=new, place=places.get(study.id))
        for study, new in done.studies
    ]
    if not any(new for _, new in done.studies):
        response.status_code = 200
    left_out = [LeftOutFile(name=file.name, why=file.why) for file in done.left_out]
    return Finished(**each[0].model_dump(), studies=each, left_out=left_out)
