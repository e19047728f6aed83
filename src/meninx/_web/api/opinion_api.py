"""The API for readers' opinions and what they are about: /api/v1/studies/.../opinions, regions."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from meninx._web.api.routes import ERRORS, Body, Id
from meninx._web.serving import MayRead, ReaderNeeded, SessionNeeded, WebNeeded, study_of
from meninx._web.studies.opinions import About, Said, Verdict, add_opinion, opinion_response
from meninx._web.studies.opinions import opinions_of as stored_opinions
from meninx._web.studies.regions import Status, region_rows

opinion_api = APIRouter(prefix="/api/v1", responses=ERRORS)
Voxel = tuple[int, int, int]


class Corners(Body):
    """Two corners of a box, voxels of a series, both inside it."""

    start: Voxel = Field(alias="from")
    end: Voxel = Field(alias="to")


class NewOpinion(Body):
    """A reader's own answer about a study, a series or a region, to be stored."""

    verdict: Verdict
    about: About = "series"
    scan: int = Field(default=0, ge=0, le=10_000)
    region: int | None = Field(default=None, ge=1, le=10_000)
    box: Corners | None = None
    note: str = Field(default="", max_length=4000)


class OpinionResponse(BaseModel):
    """An opinion: verdict, the detector's answer, place, author, time and signature."""

    id: int
    about: str
    scan: int
    region: int | None
    user: str
    verdict: str
    words: str
    answer: str | None
    agrees: bool | None
    note: str
    box: dict[str, Any] | None
    made: str
    signature: str


class RegionResponse(BaseModel):
    """A region of a series' heat map, with what readers say of it."""

    scan: int
    region: int
    side: str | None
    extent_mm: Voxel | None
    slices: tuple[int, int]
    peak: Voxel
    point_mm: tuple[float, float, float] | None
    box: dict[str, Voxel]
    # Highest heat in it, 0..1, which is no probability.
    score: float
    words: str
    status: Status
    opinions: list[OpinionResponse]


@opinion_api.get("/studies/{study_id}/opinions")
def opinions(study_id: Id, reader: MayRead, session: SessionNeeded) -> list[OpinionResponse]:
    """Return readers' opinions, the newest first; also of a study that was erased."""
    found = study_of(session, reader, study_id, erased=True)
    return [
        OpinionResponse(**opinion_response(opinion)) for opinion in stored_opinions(session, found)
    ]


@opinion_api.post("/studies/{study_id}/opinions", status_code=201)
def create_opinion(
    study_id: Id, new: NewOpinion, reader: ReaderNeeded, session: SessionNeeded, web: WebNeeded
) -> OpinionResponse:
    """Say tumor, no tumor or cannot tell, of the study, a series or a region; earlier ones stay.

    A box lies inside the voxels of `scan`, with `from` nowhere above `to`. About a region, `tumor`
    accepts it, `tumor` with a box corrects it, and `no_tumor` rejects it.
    """
    found = study_of(session, reader, study_id)
    box = new.box.model_dump(mode="json", by_alias=True) if new.box else None
    said = Said(new.verdict, new.about, new.scan, new.region, box, new.note)
    stored = add_opinion(session, reader, found, said, web.key)
    return OpinionResponse(**opinion_response(stored))


@opinion_api.get("/studies/{study_id}/regions")
def regions(study_id: Id, reader: MayRead, session: SessionNeeded) -> list[RegionResponse]:
    """Return the regions of all heat maps, by series, the hottest first, with opinions on them.

    A series without heat map, or with the answer `no_tumor`, has none.
    """
    found = study_of(session, reader, study_id)
    return [RegionResponse(**row) for row in region_rows(found, stored_opinions(session, found))]
