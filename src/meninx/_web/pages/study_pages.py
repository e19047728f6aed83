"""Pages of a study: its findings, readers' opinions, its deletion."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Form, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import Field
from sqlalchemy.orm import Session

from meninx._detect.answer_words import EVIDENCE_IN_WORDS, NO_OTHER_TYPES
from meninx._errors import OptionError
from meninx._web.auth.accounts import Reader
from meninx._web.pages.reports import identity_of, measured_of
from meninx._web.pages.responses import MAX_QUERY, page, redirect_to
from meninx._web.serving import ReaderNeeded, SessionNeeded, WebNeeded, record_view, study_of
from meninx._web.store.database import DONE, Opinion, Study
from meninx._web.store.stored_results import stored_answer
from meninx._web.studies.deleting import delete_study, may_delete
from meninx._web.studies.deliveries import request_delivery, sendable
from meninx._web.studies.identity import CorrectedIdentity, correct_identity, may_correct
from meninx._web.studies.opinions import About, Said, Verdict, add_opinion, opinions_of
from meninx._web.studies.queue import place_of, set_urgent
from meninx._web.studies.regions import region_rows
from meninx._web.studies.series import (
    SeriesView,
    incomplete_in_words,
    series_views,
    study_words,
    weight_rows,
)
from meninx._web.studies.viewer import (
    LAYOUTS,
    MAX_PANES,
    chosen_beside,
    hanging,
    layouts_of,
    name_in_address,
    other_visits,
    viewer_data,
    visit_rows,
)
from meninx._web.studies.worklist import WorklistQuery, neighbors_of

# Cookie with the layout that an account chose last in this browser, and how long it is kept, s.
_LAYOUT_COOKIE, _LAYOUT_SECONDS = "layout-{}", 365 * 86_400
study_pages = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


# Makes htmx load the whole page again.
_RELOAD = {"HX-Refresh": "true"}


class IdentityForm(CorrectedIdentity):
    """The form that corrects an identity; it has all fields, as empty ones are not sent apart."""

    csrf: str = ""
    came_from: str = Field(default="", alias="list", max_length=MAX_QUERY)


@study_pages.get("/studies/{study_id}")
def study_page(
    request: Request,
    study_id: str,
    reader: ReaderNeeded,
    session: SessionNeeded,
    web: WebNeeded,
    scan: int | None = None,
    beside: Annotated[list[str] | None, Query()] = None,
    layout: Annotated[str, Query(max_length=8)] = "",
    came_from: Annotated[str, Query(alias="list", max_length=MAX_QUERY)] = "",
) -> HTMLResponse:
    """Show a study: images, finding, opinions, and its neighbors in the worklist."""
    try:
        study = study_of(session, reader, study_id)
    except HTTPException as gone:
        # A page that waits for its finding would wait on: loaded again, it says what happened.
        raise HTTPException(gone.status_code, gone.detail, headers=_RELOAD) from gone
    record_view(session, reader, study)
    series = series_views(study)
    number = scan if scan is not None and scan in range(len(series)) else study.chosen
    shown = series[number] if series else None
    opinions = opinions_of(session, study)
    cookie = _LAYOUT_COOKIE.format(reader.id)
    wanted = layout or request.cookies.get(cookie, "")
    shown_page = page(
        web,
        "study.html",
        reader,
        study=study,
        identity=identity_of(study),
        series=series,
        shown=shown,
        number=number,
        finding=shown.finding if shown else None,
        opinions=opinions,
        counts=_counts(opinions),
        regions=region_rows(study, opinions),
        sendable=sendable(session, study, web.settings),
        queue=place_of(session, study),
        may_correct=may_correct(reader, study, web.settings),
        measured=measured_of(web),
        **_answer_values(study, series),
        **_viewer_values(session, reader, study, shown, beside, wanted, opinions),
        **_way_back(session, reader, study, came_from),
    )
    if layout in LAYOUTS:
        secure = web.settings.secure_cookies
        shown_page.set_cookie(
            cookie, layout, _LAYOUT_SECONDS, httponly=True, samesite="strict", secure=secure
        )
    if request.headers.get("hx-request") and study.state == DONE:
        # Reload the whole page: scripts in a part that htmx swaps in are not run.
        shown_page.headers.update(_RELOAD)
    return shown_page


def _answer_values(study: Study, series: Sequence[SeriesView]) -> dict[str, Any]:
    """Return what a study's page says of the answer from all series."""
    answer = stored_answer(study)
    return {
        "study_incomplete": incomplete_in_words(answer),
        "study_words": study_words(answer),
        "weights": weight_rows(answer, series),
        "no_other": NO_OTHER_TYPES,
        "evidence_words": EVIDENCE_IN_WORDS,
    }


def _viewer_values(
    session: Session,
    reader: Reader,
    study: Study,
    shown: SeriesView | None,
    beside: Sequence[str] | None,
    layout: str,
    opinions: Sequence[Opinion],
) -> dict[str, Any]:
    """Return the series that a study's page shows side by side, and what may be set beside them.

    Args:
        session: Database session.
        reader: Reader who looks at it.
        study: A study.
        shown: Chosen series; None in a study without series.
        beside: Names of series that the address sets beside it; None leaves it to the layout.
        layout: Name of a layout, unchecked.
        opinions: Opinions on the study.

    Returns:
        Values of the page's template.
    """
    visits = other_visits(session, reader, study)
    panes: list[SeriesView] = []
    if shown is not None and shown.viewer:
        layout = layout if layout in LAYOUTS else "1"
        hung = hanging(shown, layout) if beside is None else chosen_beside(shown, beside, visits)
        panes = [shown, *hung]
    layouts = layouts_of(panes[0]) if panes else {}
    if layout not in layouts:
        # With few series the larger layouts are alike.
        layout = next(reversed(layouts), "")
    return {
        "panes": panes,
        "data": viewer_data(session, reader, panes, opinions) if panes else None,
        "beside": [name_in_address(view, panes[0]) for view in panes[1:]],
        "by_layout": beside is None,
        "layout": layout if beside is None else "",
        "layouts": layouts,
        "most": MAX_PANES,
        "visits": visit_rows(study, visits, panes),
    }


def _way_back(
    session: SessionNeeded, reader: Reader, study: Study, came_from: str
) -> dict[str, Any]:
    """Return the links from a study's page to the worklist that it was opened from."""
    wanted = WorklistQuery.from_query(came_from)
    return {
        "neighbors": neighbors_of(session, reader, study, wanted),
        "list_address": wanted.address(),
        "came_from": wanted.query(),
        "list_parameter": _list_parameter(wanted.query()),
    }


def _list_parameter(came_from: str) -> str:
    """Return the part of a study's address that has the worklist's query; empty for none."""
    return "&" + urlencode({"list": came_from}) if came_from else ""


@study_pages.get("/studies/{study_id}/opinions")
def opinion_list(
    study_id: str,
    reader: ReaderNeeded,
    session: SessionNeeded,
    web: WebNeeded,
    scan: Annotated[int, Query(ge=0)] = 0,
    known: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    came_from: Annotated[str, Query(alias="list", max_length=MAX_QUERY)] = "",
) -> Response:
    """Return the part of a study's page with all opinions; status 204 if none is newer."""
    study = study_of(session, reader, study_id)
    opinions = opinions_of(session, study)
    if not opinions or opinions[0].id <= known:
        return Response(status_code=204)
    series = series_views(study)
    shown = series[scan] if scan < len(series) else None
    return page(
        web,
        "opinion-list.html",
        reader,
        study=study,
        series=series,
        shown=shown,
        panes=[shown] if shown and shown.viewer else [],
        number=scan,
        opinions=opinions,
        counts=_counts(opinions),
        list_parameter=_list_parameter(WorklistQuery.from_query(came_from).query()),
    )


def _counts(opinions: Iterable[Opinion]) -> Counter[int]:
    """Return the number of opinions on each series."""
    return Counter(opinion.scan for opinion in opinions if opinion.about != "study")


@study_pages.post("/studies/{study_id}/opinions")
def create_opinion(
    study_id: str,
    reader: ReaderNeeded,
    session: SessionNeeded,
    web: WebNeeded,
    verdict: Annotated[Verdict, Form()],
    about: Annotated[About, Form()] = "series",
    scan: Annotated[int, Form(ge=0)] = 0,
    note: Annotated[str, Form(max_length=4000)] = "",
    region: Annotated[str, Form(pattern=r"^(\d{1,4})?$")] = "",
    box: Annotated[str, Form()] = "",
    came_from: Annotated[str, Form(alias="list", max_length=MAX_QUERY)] = "",
) -> Response:
    """Store an opinion."""
    study = study_of(session, reader, study_id)
    number = int(region) if region else None
    said = Said(verdict, about, scan, number, box_of(box) if box else None, note)
    add_opinion(session, reader, study, said, web.key)
    return redirect_to(
        f"/studies/{study.id}?scan={scan}&stored=1{_list_parameter(came_from)}#opinions"
    )


def box_of(text: str) -> dict[str, list[int]]:
    """Return a box's two corners from a form's text.

    Args:
        text: Six whole numbers with commas between them.

    Returns:
        Corners `from` and `to`, voxel indices [i, j, k].

    Raises:
        OptionError: If the text is not six whole numbers.
    """
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 6:
        raise OptionError("mark two corners in the image first")
    return {"from": numbers[:3], "to": numbers[3:]}


@study_pages.post("/studies/{study_id}/send")
def send(
    study_id: str,
    reader: ReaderNeeded,
    session: SessionNeeded,
    web: WebNeeded,
    peer: Annotated[str, Form(max_length=300)],
    came_from: Annotated[str, Form(alias="list", max_length=MAX_QUERY)] = "",
) -> Response:
    """Have the study's DICOM objects sent to another system."""
    study = study_of(session, reader, study_id)
    request_delivery(session, reader, study, peer, web.settings)
    return redirect_to(f"/studies/{study.id}?{_list_parameter(came_from)[1:]}#send")


@study_pages.post("/studies/{study_id}/identity")
def correct(
    study_id: str,
    reader: ReaderNeeded,
    session: SessionNeeded,
    web: WebNeeded,
    values: Annotated[IdentityForm, Form()],
) -> Response:
    """Correct the identity of a study of pictures or volumes."""
    study = study_of(session, reader, study_id)
    if not may_delete(reader, study):
        raise HTTPException(403, "only its uploader or an administrator corrects a study")
    written = values.model_dump(include=set(CorrectedIdentity.model_fields))
    correct_identity(session, reader, study, written, web.settings)
    return redirect_to(f"/studies/{study.id}?{_list_parameter(values.came_from)[1:]}")


@study_pages.post("/studies/{study_id}/urgent")
def mark_urgent(
    study_id: str,
    reader: ReaderNeeded,
    session: SessionNeeded,
    urgent: Annotated[bool, Form()] = True,
    came_from: Annotated[str, Form(alias="list", max_length=MAX_QUERY)] = "",
) -> Response:
    """Have a study scored before all that are not urgent, or take that back."""
    study = study_of(session, reader, study_id)
    set_urgent(session, reader, study, urgent=urgent)
    return redirect_to(f"/studies/{study.id}?{_list_parameter(came_from)[1:]}")


@study_pages.post("/studies/{study_id}/delete")
def remove(
    study_id: str,
    reader: ReaderNeeded,
    session: SessionNeeded,
    web: WebNeeded,
    reason: Annotated[str, Form(max_length=400)] = "",
    came_from: Annotated[str, Form(alias="list", max_length=MAX_QUERY)] = "",
) -> Response:
    """Delete a study with its pixels; one with opinions is withdrawn, or erased for a reason."""
    study = study_of(session, reader, study_id)
    if not may_delete(reader, study):
        raise HTTPException(403, "only its uploader or an administrator deletes a study")
    delete_study(session, reader, study, web.settings, reason.strip())
    return redirect_to(WorklistQuery.from_query(came_from).address())
