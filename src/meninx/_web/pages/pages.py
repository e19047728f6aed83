"""Pages for browsers: a study, accounts, the audit log."""

from collections import Counter, defaultdict
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Form, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError

from meninx._detect.answer_words import EVIDENCE_IN_WORDS, NO_OTHER_TYPES
from meninx._detect.model_card import shipped_measured
from meninx._errors import OptionError
from meninx._web.auth.accounts import (
    LONGEST_KEY_DAYS,
    SCOPES,
    Reader,
    add_token,
    add_user,
    change_password,
    projects_of,
    set_password,
    set_projects,
    sign_in,
    sign_out,
)
from meninx._web.pages.reports import identity_of, report_html, report_pdf
from meninx._web.serving import (
    COOKIE,
    AdministratorNeeded,
    ReaderNeeded,
    SessionNeeded,
    Web,
    WebNeeded,
    address_of,
    local_address,
    seen,
    shown_file,
    study_of,
    zipped_objects,
)
from meninx._web.store.audit import record
from meninx._web.store.database import (
    DONE,
    AuditEntry,
    Member,
    Project,
    SignIn,
    Study,
    Token,
    User,
    now,
)
from meninx._web.store.stored import stored_answer
from meninx._web.studies.measurements import measurement_response, measurements_of
from meninx._web.studies.sending import send_file
from meninx._web.studies.series import (
    SeriesView,
    incomplete_in_words,
    series_views,
    study_words,
    weight_rows,
)
from meninx._web.studies.studies import (
    Verdict,
    add_opinion,
    delete_study,
    may_delete,
    opinions_of,
    public_findings,
)
from meninx._web.studies.viewer import (
    MAX_PANES,
    chosen_beside,
    name_in_address,
    other_visits,
    viewer_data,
    visit_rows,
)
from meninx._web.studies.worklist import WorklistQuery, neighbors_of

AUDIT_PAGE = 100
# Longest query of a worklist's address, characters.
MAX_QUERY = 4000
# Cookie that marks a browser that has signed in before, and its lifetime, a year.
DEVICE, DEVICE_SECONDS = "meninx-device", 365 * 24 * 3600
pages = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


def page(web: Web, template: str, reader: Reader | None = None, **values: Any) -> HTMLResponse:
    """Return a page."""
    text = web.pages.get_template(template).render(reader=reader, **values)
    return HTMLResponse(text, headers={"Cache-Control": "no-store"})


def redirect_to(address: str) -> RedirectResponse:
    """Return a redirection to another page, to be loaded by GET (303)."""
    return RedirectResponse(address, status_code=303)


@pages.get("/sign-in")
def sign_in_page(
    web: WebNeeded, following: Annotated[str, Query(alias="next")] = "/"
) -> HTMLResponse:
    """Show the form to sign in."""
    return _sign_in_form(web, local_address(following))


def _sign_in_form(web: Web, following: str, error: str = "") -> HTMLResponse:
    return page(
        web,
        "sign-in.html",
        error=error,
        following=following,
        oidc=bool(web.settings.oidc_issuer),
        query=urlencode({"next": following}),
    )


@pages.post("/sign-in")
def signing_in(
    request: Request,
    web: WebNeeded,
    name: Annotated[str, Form()],
    password: Annotated[str, Form()],
    following: Annotated[str, Form(alias="next")] = "/",
) -> Response:
    """Open a session and redirect to the requested page, or show the form with an error."""
    web.sign_ins.check(f"{name}\0{address_of(request)}")
    try:
        with web.sessions() as session:
            try:
                device = request.cookies.get(DEVICE, "")
                secret, reader, mark = sign_in(
                    session, name, password, web.settings, web.key, device
                )
            finally:
                session.commit()  # failures count too
    except OptionError as error:
        form = _sign_in_form(web, local_address(following), str(error))
        form.status_code = 401
        return form
    goal = "/account" if reader.must_change else local_address(following)
    response = with_cookie(redirect_to(goal), secret, web)
    response.set_cookie(
        DEVICE,
        mark,
        max_age=DEVICE_SECONDS,
        path="/sign-in",
        httponly=True,
        samesite="strict",
        secure=web.settings.secure_cookies,
    )
    return response


def with_cookie(response: Response, secret: str, web: Web) -> Response:
    """Return a response with the session's cookie added."""
    response.set_cookie(
        COOKIE, secret, httponly=True, samesite="strict", secure=web.settings.secure_cookies
    )
    return response


@pages.post("/sign-out")
def signing_out(request: Request, reader: ReaderNeeded, session: SessionNeeded) -> Response:
    """End the session."""
    record(session, reader.name, "signed out")
    sign_out(session, request.cookies.get(COOKIE, ""))
    response = redirect_to("/sign-in")
    response.delete_cookie(COOKIE)
    return response


@pages.get("/studies/{study_id}")
def study_page(
    request: Request,
    study_id: str,
    reader: ReaderNeeded,
    session: SessionNeeded,
    web: WebNeeded,
    scan: int | None = None,
    beside: Annotated[list[str] | None, Query()] = None,
    came_from: Annotated[str, Query(alias="list", max_length=MAX_QUERY)] = "",
) -> HTMLResponse:
    """Show a study: images, finding, opinions, and its neighbors in the worklist."""
    study = study_of(session, reader, study_id)
    seen(session, reader, study)
    series, answer = series_views(study), stored_answer(study)
    number = scan if scan is not None and scan in range(len(series)) else study.chosen
    shown = series[number] if series else None
    opinions = opinions_of(session, study)
    visits = other_visits(session, reader, study)
    panes: list[SeriesView] = []
    if shown and shown.viewer:
        panes = [shown, *chosen_beside(shown, beside or [], visits)]
    shown_page = page(
        web,
        "study.html",
        reader,
        study=study,
        identity=identity_of(study),
        series=series,
        shown=shown,
        panes=panes,
        study_incomplete=incomplete_in_words(answer),
        study_words=study_words(answer),
        weights=weight_rows(answer, series),
        no_other=NO_OTHER_TYPES,
        evidence_words=EVIDENCE_IN_WORDS,
        number=number,
        finding=shown.finding if shown else None,
        data=viewer_data(session, reader, panes, opinions) if panes else None,
        beside=[name_in_address(one, panes[0]) for one in panes[1:]],
        most=MAX_PANES,
        visits=visit_rows(study, visits, panes),
        opinions=opinions,
        counts=Counter(one.scan for one in opinions),
        measured=measured_of(web),
        **_way_back(session, reader, study, came_from),
    )
    if request.headers.get("hx-request") and study.state == DONE:
        # A page that waited is reloaded: scripts in a part that htmx swaps in never run.
        shown_page.headers["HX-Refresh"] = "true"
    return shown_page


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


def measured_of(web: Web) -> str:
    """Return what the detector was measured on, and its limits; empty for a file of the user's."""
    return "" if web.settings.model is not None else shipped_measured()


@pages.get("/studies/{study_id}/files/{name}")
def study_file(
    request: Request,
    study_id: str,
    name: str,
    reader: ReaderNeeded,
    session: SessionNeeded,
    web: WebNeeded,
) -> Response:
    """Send a volume, a heat map or a picture to the viewer, unless the browser has it."""
    return send_file(request, shown_file(web, study_of(session, reader, study_id), name))


@pages.get("/studies/{study_id}/finding.json")
def finding_json(study_id: str, reader: ReaderNeeded, session: SessionNeeded) -> JSONResponse:
    """Send the findings as a file."""
    study = study_of(session, reader, study_id)
    name = f'attachment; filename="{study.id}.json"'
    return JSONResponse(exported(session, reader, study), headers={"Content-Disposition": name})


def exported(session: SessionNeeded, reader: Reader, study: Study) -> dict[str, Any]:
    """Return all results of a study, and record that they were exported."""
    record(session, reader.name, "exported JSON", study.id)
    series = series_views(study)
    names = [one.name for one in series]
    return {
        "use": "research only, not for diagnosis",
        "study": study.id,
        "findings": public_findings(study),
        "measurements": [
            measurement_response(one, series[one.scan], reader)
            for one in measurements_of(session, study)
        ],
        "opinions": [
            {
                "scan": one.scan,
                "series": names[one.scan] if one.scan < len(names) else None,
                "user": one.user_name,
                "verdict": one.verdict,
                "note": one.note,
                "region": one.region,
                "made": one.made.isoformat(),
                "signature": one.signature,
            }
            for one in opinions_of(session, study)
        ],
    }


@pages.get("/studies/{study_id}/objects.zip")
def objects_zip(
    study_id: str, reader: ReaderNeeded, session: SessionNeeded, web: WebNeeded
) -> Response:
    """Send the DICOM objects of the findings, as a zip."""
    study = study_of(session, reader, study_id)
    record(session, reader.name, "exported DICOM", study.id)
    return zipped_objects(web, session, study)


@pages.get("/studies/{study_id}/report.pdf")
def report(study_id: str, reader: ReaderNeeded, session: SessionNeeded, web: WebNeeded) -> Response:
    """Send a report of all series, as PDF."""
    study = study_of(session, reader, study_id)
    record(session, reader.name, "exported PDF", study.id)
    html = report_html(
        web,
        study,
        opinions_of(session, study),
        measurements_of(session, study),
        reader,
        measured_of(web),
    )
    name = f'attachment; filename="{study.id}.pdf"'
    return Response(
        report_pdf(html), media_type="application/pdf", headers={"Content-Disposition": name}
    )


@pages.post("/studies/{study_id}/opinions")
def create_opinion(
    study_id: str,
    reader: ReaderNeeded,
    session: SessionNeeded,
    web: WebNeeded,
    verdict: Annotated[Verdict, Form()],
    scan: Annotated[int, Form(ge=0)] = 0,
    note: Annotated[str, Form(max_length=4000)] = "",
    region: Annotated[str, Form()] = "",
    came_from: Annotated[str, Form(alias="list", max_length=MAX_QUERY)] = "",
) -> Response:
    """Store an opinion."""
    study = study_of(session, reader, study_id)
    # A marked box is stored with the opinion, whichever button was pressed.
    marked = region_of(region) if region or verdict == "region" else None
    add_opinion(session, reader, study, scan, verdict, note, marked, web.key)
    return redirect_to(
        f"/studies/{study.id}?scan={scan}&stored=1{_list_parameter(came_from)}#opinions"
    )


def region_of(text: str) -> dict[str, list[int]]:
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


@pages.post("/studies/{study_id}/delete")
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


@pages.get("/account")
def account(reader: ReaderNeeded, session: SessionNeeded, web: WebNeeded) -> HTMLResponse:
    """Show the reader's own account: password and keys."""
    return _account(reader, session, web)


def _account(
    reader: Reader, session: SessionNeeded, web: Web, error: str = "", key: str = ""
) -> HTMLResponse:
    keys = list(session.scalars(select(Token).where(Token.user_id == reader.id)))
    return page(
        web,
        "account.html",
        reader,
        keys=keys,
        error=error,
        key=key,
        scopes=list(SCOPES),
        longest=LONGEST_KEY_DAYS,
        now=now(),
        projects=projects_of(session, reader),
    )


@pages.post("/account/password")
def changing_password(
    reader: ReaderNeeded,
    session: SessionNeeded,
    web: WebNeeded,
    old: Annotated[str, Form()],
    password: Annotated[str, Form()],
) -> Response:
    """Set another password, if the old one is right; all sessions of the account end."""
    web.sign_ins.check(f"password of {reader.id}")
    try:
        change_password(session, session.get_one(User, reader.id), old, password)
    except OptionError as error:
        return _account(reader, session, web, error=str(error))
    record(session, reader.name, "password changed")
    return redirect_to("/sign-in")


@pages.post("/account/keys")
def make_key(
    reader: ReaderNeeded,
    session: SessionNeeded,
    web: WebNeeded,
    name: Annotated[str, Form()],
    scope: Annotated[str, Form()],
    days: Annotated[int, Form()],
) -> Response:
    """Make a key for programs and show it once."""
    if reader.must_change:
        raise HTTPException(403, "this password is a first one; set another one first")
    key = add_token(session, reader, name or "key", scope, days)
    return _account(reader, session, web, key=key)


@pages.post("/account/keys/{key_id}/delete")
def remove_key(key_id: int, reader: ReaderNeeded, session: SessionNeeded) -> Response:
    """Revoke a key of the reader's own."""
    session.execute(delete(Token).where(Token.id == key_id, Token.user_id == reader.id))
    record(session, reader.name, "key revoked")
    return redirect_to("/account")


@pages.get("/users")
def users(reader: AdministratorNeeded, session: SessionNeeded, web: WebNeeded) -> HTMLResponse:
    """Show all accounts, their keys and projects."""
    return _users(reader, session, web)


def _users(reader: Reader, session: SessionNeeded, web: Web, error: str = "") -> HTMLResponse:
    members: dict[int, set[int]] = defaultdict(set)
    for one in session.scalars(select(Member)):
        members[one.user_id].add(one.project_id)
    count = select(Token.user_id, func.count()).group_by(Token.user_id)
    return page(
        web,
        "users.html",
        reader,
        error=error,
        users=list(session.scalars(select(User))),
        projects=list(session.scalars(select(Project).order_by(Project.id))),
        members=members,
        keys=dict(session.execute(count).all()),
    )


@pages.post("/users")
def new_user(
    reader: AdministratorNeeded,
    session: SessionNeeded,
    web: WebNeeded,
    name: Annotated[str, Form()],
    password: Annotated[str, Form()],
    role: Annotated[str, Form()],
    project: Annotated[list[int], Form()] = [],  # noqa: B006 - FastAPI copies it
) -> Response:
    """Add an account, whose password is only good for setting another one."""
    try:
        with session.begin_nested():
            add_user(session, name, password, role, must_change=True, projects=project)
    except OptionError as error:
        return _users(reader, session, web, str(error))
    record(session, reader.name, "account added", detail=name)
    return redirect_to("/users")


def _other_user(session: SessionNeeded, reader: Reader, user_id: int) -> User:
    """Return somebody else's account.

    Args:
        session: Database session.
        reader: Administrator who changes it.
        user_id: Number of the account.

    Returns:
        The account.

    Raises:
        HTTPException: 404 if there is no such account, or it is the reader's own.
    """
    user = session.get(User, user_id)
    if user is None or user.id == reader.id:
        raise HTTPException(404, "no such account, or your own")
    return user


@pages.post("/users/{user_id}/active")
def switch_user(
    user_id: int,
    reader: AdministratorNeeded,
    session: SessionNeeded,
    active: Annotated[bool, Form()],
) -> Response:
    """Close an account, or open it again; its sessions end."""
    user = _other_user(session, reader, user_id)
    user.active, user.failures, user.locked_until = active, 0, None
    session.execute(delete(SignIn).where(SignIn.user_id == user.id))
    record(session, reader.name, "account " + ("opened" if active else "closed"), detail=user.name)
    return redirect_to("/users")


@pages.post("/users/{user_id}/password")
def resetting_password(
    user_id: int,
    reader: AdministratorNeeded,
    session: SessionNeeded,
    web: WebNeeded,
    password: Annotated[str, Form()],
) -> Response:
    """Set a first password, only good for setting another one; the account's sessions end."""
    user = _other_user(session, reader, user_id)
    try:
        set_password(session, user, password, must_change=True)
    except OptionError as error:
        return _users(reader, session, web, str(error))
    record(session, reader.name, "password reset", detail=user.name)
    return redirect_to("/users")


@pages.post("/users/{user_id}/projects")
def choose_projects(
    user_id: int,
    reader: AdministratorNeeded,
    session: SessionNeeded,
    project: Annotated[list[int], Form()] = [],  # noqa: B006 - FastAPI copies it
) -> Response:
    """Set the projects whose studies an account sees."""
    user = session.get(User, user_id)
    if user is None:
        raise HTTPException(404, "no such account")
    set_projects(session, user, project)
    record(session, reader.name, "projects set", detail=f"{user.name}: {sorted(project)}")
    return redirect_to("/users")


@pages.post("/users/{user_id}/keys/delete")
def remove_keys(user_id: int, reader: AdministratorNeeded, session: SessionNeeded) -> Response:
    """Revoke all keys of an account."""
    session.execute(delete(Token).where(Token.user_id == user_id))
    record(session, reader.name, "keys revoked", detail=str(user_id))
    return redirect_to("/users")


@pages.post("/projects")
def new_project(
    reader: AdministratorNeeded,
    session: SessionNeeded,
    web: WebNeeded,
    name: Annotated[str, Form(min_length=1, max_length=100)],
) -> Response:
    """Add a project."""
    try:
        with session.begin_nested():
            session.add(Project(name=name.strip()))
    except IntegrityError:
        return _users(
            reader, session, web, "there is a project of that name already; choose another name"
        )
    record(session, reader.name, "project added", detail=name)
    return redirect_to("/users")


@pages.get("/audit")
def audit_log(
    reader: AdministratorNeeded,
    session: SessionNeeded,
    web: WebNeeded,
    before: int = 0,
    study: str = "",
) -> HTMLResponse:
    """Show the audit log, the newest first."""
    query = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(AUDIT_PAGE)
    if before:
        query = query.where(AuditEntry.id < before)
    if study:
        query = query.where(AuditEntry.study_id == study)
    return page(web, "audit.html", reader, entries=list(session.scalars(query)), study=study)
