"""The API for readers' opinions: /api/v1/studies/.../opinions."""

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from meninx._web.api.routes import ERRORS, Id
from meninx._web.serving import MayRead, ReaderNeeded, SessionNeeded, WebNeeded, study_of
from meninx._web.store.database import Opinion
from meninx._web.studies.opinions import Verdict, add_opinion, opinions_of

opinion_api = APIRouter(prefix="/api/v1", responses=ERRORS)


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


def _opinion_response(opinion: Opinion) -> OpinionResponse:
    """Return an opinion as the API gives it."""
    return OpinionResponse(
        scan=opinion.scan,
        user=opinion.user_name,
        verdict=opinion.verdict,
        note=opinion.note,
        region=opinion.region,
        made=opinion.made.isoformat(),
        signature=opinion.signature,
    )


@opinion_api.get("/studies/{study_id}/opinions")
def opinions(study_id: Id, reader: MayRead, session: SessionNeeded) -> list[OpinionResponse]:
    """Return readers' opinions, the newest first; also of a study that was erased."""
    found = study_of(session, reader, study_id, erased=True)
    return [_opinion_response(opinion) for opinion in opinions_of(session, found)]


@opinion_api.post("/studies/{study_id}/opinions", status_code=201)
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
    return _opinion_response(stored)
