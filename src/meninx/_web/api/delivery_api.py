"""The API that sends results to a PACS: /api/v1/studies/.../deliveries."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from meninx._web.api.routes import ERRORS, Body, Id
from meninx._web.serving import MayRead, ReaderNeeded, SessionNeeded, WebNeeded, study_of
from meninx._web.studies.deliveries import delivery_response, request_delivery, retry, sendable

delivery_api = APIRouter(prefix="/api/v1/studies/{study_id}/deliveries", responses=ERRORS)


class NewDelivery(Body):
    """Address of the system that a study's objects are sent to."""

    peer: str = Field(max_length=300)


class SentObject(BaseModel):
    """A DICOM object, and what the system answered."""

    file: str
    kind: str
    state: str
    answer: str


class DeliveryResponse(BaseModel):
    """The objects of a study on their way to a system."""

    id: int
    peer: str
    state: str
    tries: int
    user: str
    made: str
    changed: str
    next: str | None
    objects: list[SentObject]
    words: str


class Sendable(BaseModel):
    """Where a study can be sent to, the number of objects now, and its deliveries, newest first."""

    peers: list[str]
    objects: int
    deliveries: list[DeliveryResponse]


@delivery_api.get("")
def deliveries(study_id: Id, reader: MayRead, session: SessionNeeded, web: WebNeeded) -> Sendable:
    """Return where a study can be sent to, and what was sent to whom and answered."""
    return Sendable(**sendable(session, study_of(session, reader, study_id), web.settings))


@delivery_api.post("", status_code=201)
def send(
    study_id: Id, new: NewDelivery, reader: ReaderNeeded, session: SessionNeeded, web: WebNeeded
) -> DeliveryResponse:
    """Have the DICOM objects of findings and readers sent to a system; a worker sends them."""
    study = study_of(session, reader, study_id)
    made = request_delivery(session, reader, study, new.peer, web.settings)
    return DeliveryResponse(**delivery_response(made))


@delivery_api.post("/{number}/retry")
def try_again(
    study_id: Id,
    number: Annotated[int, Path(ge=1, le=2**31 - 1)],
    reader: ReaderNeeded,
    session: SessionNeeded,
) -> DeliveryResponse:
    """Try a delivery again at once; what was accepted already is not sent twice."""
    found = retry(session, reader, study_of(session, reader, study_id), number)
    return DeliveryResponse(**delivery_response(found))
