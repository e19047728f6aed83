"""Pages to sign in and out with a password."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import HTMLResponse

from meninx._errors import OptionError
from meninx._web.auth.accounts import sign_in, sign_out
from meninx._web.pages.responses import page, redirect_to, with_cookie
from meninx._web.serving import (
    COOKIE,
    ReaderNeeded,
    SessionNeeded,
    Web,
    WebNeeded,
    address_of,
    local_address,
)
from meninx._web.store.audit import record

sign_in_pages = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

# Cookie that marks a browser that has signed in before, and its lifetime, a year.
DEVICE, DEVICE_SECONDS = "meninx-device", 365 * 24 * 3600


@sign_in_pages.get("/sign-in")
def sign_in_page(
    web: WebNeeded,
    following: Annotated[str, Query(alias="next")] = "/",
    changed: bool = False,
) -> HTMLResponse:
    """Show the form to sign in, also after a password was changed."""
    return _sign_in_form(web, local_address(following), changed=changed)


def _sign_in_form(
    web: Web, following: str, *, error: str = "", name: str = "", changed: bool = False
) -> HTMLResponse:
    return page(
        web,
        "sign-in.html",
        error=error,
        name=name,
        changed=changed,
        following=following,
        oidc=bool(web.settings.oidc_issuer),
        query=urlencode({"next": following}),
    )


@sign_in_pages.post("/sign-in")
def post_sign_in(
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
        form = _sign_in_form(web, local_address(following), error=str(error), name=name)
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


@sign_in_pages.post("/sign-out")
def post_sign_out(request: Request, reader: ReaderNeeded, session: SessionNeeded) -> Response:
    """End the session."""
    record(session, reader.name, "signed out")
    sign_out(session, request.cookies.get(COOKIE, ""))
    response = redirect_to("/sign-in")
    response.delete_cookie(COOKIE)
    return response
