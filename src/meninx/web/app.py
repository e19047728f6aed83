"""Put the application together."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from meninx import __version__
from meninx.errors import LimitExceeded, MeninxError
from meninx.web.accounts import first_administrator
from meninx.web.api import api
from meninx.web.database import CONNECTIONS, migrate, open_database, sessions_of
from meninx.web.jobs import Jobs
from meninx.web.measurement_api import measurement_api
from meninx.web.oidc import add_provider, oidc
from meninx.web.pages import page, pages
from meninx.web.serving import MayRead, MustChangePassword, NotSignedIn, Web, sign_in_address
from meninx.web.settings import Settings
from meninx.web.worklist_pages import worklist_pages

STATIC = Path(__file__).parent / "static"
# No script, style or request but our own; NiiVue draws from blobs and data addresses.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    # Of our own pages alone: a form whose session has ended leads back to its page.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}

OWN_FOLDER = 0o700
# Beyond so many requests at a time others wait outside. Each has a thread and a connection for
# itself: one that holds the database's write lock must never wait for a thread that waits for it.
THREADS = 2 * CONNECTIONS


class Turnstile:
    """Let so many requests in at a time.

    Args:
        app: What answers.
        most: How many.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app, self._free = app, asyncio.Semaphore(most)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, in its turn."""
        if scope["type"] != "http" or scope["path"].startswith("/static/"):
            await self._app(scope, receive, send)
            return
        async with self._free:
            await self._app(scope, receive, send)


def create_app(settings: Settings, on_password: Callable[[str], None] | None = None) -> FastAPI:
    """Return the application, its database brought up to date.

    Args:
        settings: Of the server.
        on_password: Called with the first administrator's password where it was just made.

    Returns:
        What an ASGI server runs.
    """
    for folder in (settings.data, settings.studies, settings.uploads):
        folder.mkdir(parents=True, exist_ok=True)
        # Whatever the folder was made by: nobody else reaches what is below.
        folder.chmod(OWN_FOLDER)
    migrate(settings.address)
    engine = open_database(settings.address)
    sessions = sessions_of(engine)
    with sessions.begin() as session:
        password = first_administrator(session)
    if password and on_password:
        on_password(password)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = THREADS
        yield
        engine.dispose()
        app.state.web.jobs.close()

    app = FastAPI(
        title="meninx", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None,
        openapi_url=None,
        description="Finds tumors in brain MRI. For research, not for diagnosis.",
    )  # fmt: skip
    app.state.web = Web(settings, sessions, Jobs(settings))
    app.add_middleware(Turnstile, most=CONNECTIONS)
    app.include_router(api)
    app.include_router(measurement_api)
    app.include_router(worklist_pages)
    app.include_router(pages)
    app.include_router(oidc)
    add_provider(app, app.state.web)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    _answer_errors(app)

    @app.middleware("http")
    async def with_headers(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        answer = await call_next(request)
        for name, value in HEADERS.items():
            answer.headers.setdefault(name, value)
        return answer

    @app.get("/api/v1/openapi.json", include_in_schema=False)
    def openapi(reader: MayRead) -> dict[str, Any]:
        del reader
        return described(app)

    return app


def described(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI description of the API."""
    told = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    schemes = {"key": {"type": "http", "scheme": "bearer"}}
    told.setdefault("components", {})["securitySchemes"] = schemes
    told["security"] = [{"key": []}]
    return told


def _answer_errors(app: FastAPI) -> None:
    """Say what went wrong in words, as JSON to programs and as a page to browsers."""

    def told(request: Request, status: int, words: str, headers: Any = None) -> Response:
        if request.url.path.startswith("/api/"):
            return JSONResponse({"detail": words}, status, headers=headers)
        answer = page(request.app.state.web, "error.html", status=status, words=words)
        answer.status_code = status
        answer.headers.update(headers or {})
        return answer

    @app.exception_handler(NotSignedIn)
    def not_signed_in(request: Request, _: NotSignedIn) -> Response:
        if request.url.path.startswith("/api/") or request.headers.get("hx-request"):
            # htmx follows a header, not a redirection, to another page.
            return JSONResponse(
                {"detail": "sign in, or send a key"}, 401,
                headers={"WWW-Authenticate": "Bearer", "HX-Redirect": sign_in_address(request)},
            )  # fmt: skip
        return RedirectResponse(sign_in_address(request), 303)

    @app.exception_handler(MustChangePassword)
    def must_change(request: Request, _: MustChangePassword) -> Response:
        if request.url.path.startswith("/api/"):
            return JSONResponse({"detail": "set another password first"}, 403)
        return RedirectResponse("/account", 303)

    @app.exception_handler(StarletteHTTPException)
    def http_error(request: Request, error: StarletteHTTPException) -> Response:
        headers = error.headers if isinstance(error, HTTPException) else None
        return told(request, error.status_code, str(error.detail), headers)

    @app.exception_handler(MeninxError)
    def refused(request: Request, error: MeninxError) -> Response:
        return told(request, 413 if isinstance(error, LimitExceeded) else 400, str(error))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        where = ", ".join(".".join(map(str, one["loc"])) for one in error.errors()[:3])
        return told(request, 422, f"not understood: {where}")
