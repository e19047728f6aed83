"""Responses that all pages share."""

from typing import Any

from fastapi import Response
from fastapi.responses import HTMLResponse, RedirectResponse

from meninx._web.auth.accounts import Reader
from meninx._web.serving import COOKIE, Web

# Longest query of a worklist's address, characters.
MAX_QUERY = 4000


def page(web: Web, template: str, reader: Reader | None = None, **values: Any) -> HTMLResponse:
    """Return a page."""
    text = web.pages.get_template(template).render(reader=reader, **values)
    return HTMLResponse(text, headers={"Cache-Control": "no-store"})


def redirect_to(address: str) -> RedirectResponse:
    """Return a redirection to another page, to be loaded by GET (303)."""
    return RedirectResponse(address, status_code=303)


def with_cookie(response: Response, secret: str, web: Web) -> Response:
    """Return a response with the session's cookie added."""
    response.set_cookie(
        COOKIE, secret, httponly=True, samesite="strict", secure=web.settings.secure_cookies
    )
    return response
