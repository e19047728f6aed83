"""Put the application together."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, RedirectResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from meninx._errors import LimitExceeded, MeninxError
from meninx._system_errors import FULL, is_disk_full
from meninx._version import __version__
from meninx._web.api.delivery_api import delivery_api
from meninx._web.api.measurement_api import measurement_api
from meninx._web.api.opinion_api import opinion_api
from meninx._web.api.server_api import server_api
from meninx._web.api.statistics_api import statistics_api
from meninx._web.api.study_api import study_api
from meninx._web.api.upload_api import upload_api
from meninx._web.auth.accounts import first_administrator
from meninx._web.pages.account_pages import account_pages
from meninx._web.pages.audit_pages import audit_pages
from meninx._web.pages.export_pages import export_pages
from meninx._web.pages.oidc_pages import add_provider, oidc_pages
from meninx._web.pages.responses import page
from meninx._web.pages.sign_in_pages import sign_in_pages
from meninx._web.pages.statistics_pages import statistics_pages
from meninx._web.pages.study_pages import study_pages
from meninx._web.pages.user_pages import user_pages
from meninx._web.pages.worklist_pages import worklist_pages
from meninx._web.serving import MayRead, MustChangePassword, NotSignedIn, Web, sign_in_address
from meninx._web.static_files import PackedFiles
from meninx._web.store.database import CONNECTIONS, migrate, open_database, sessions_of
from meninx._web.store.settings import Settings
from meninx._web.studies.deliveries import check_peers

_LOG = logging.getLogger(__name__)
_STATIC = Path(__file__).parent / "static"
# Own scripts, styles and requests only; NiiVue draws from blobs and data addresses.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    # Sent to own pages only: after a login, a form leads back to its page.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}

_ROUTERS = (
    server_api,
    upload_api,
    study_api,
    opinion_api,
    measurement_api,
    delivery_api,
    statistics_api,
    worklist_pages,
    sign_in_pages,
    study_pages,
    export_pages,
    account_pages,
    user_pages,
    audit_pages,
    statistics_pages,
    oidc_pages,
)
_OWN_FOLDER = 0o700
# Each request has its own thread and connection; further requests wait before they get either. A
# request that holds the database's write lock must never wait for a thread that waits for the lock.
THREADS = 2 * CONNECTIONS


class ConcurrencyLimit:
    """A limit on the number of requests that are answered at a time.

    Args:
        app: Application behind it.
        most: Number of requests, at least 1.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app, self._free = app, asyncio.Semaphore(most)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on once fewer than `most` are being answered."""
        if scope["type"] != "http" or scope["path"].startswith("/static/"):
            await self._app(scope, receive, send)
            return
        async with self._free:
            await self._app(scope, receive, send)


def create_app(settings: Settings, on_password: Callable[[str], None] | None = None) -> FastAPI:
    """Return the application, its database brought up to date.

    Args:
        settings: Settings of the server.
        on_password: Function that gets the first administrator's password, if it was just made.

    Returns:
        An ASGI application.
    """
    for folder in (settings.data, settings.studies, settings.uploads):
        folder.mkdir(parents=True, exist_ok=True)
        # Also for an existing folder: other users must not reach its contents.
        folder.chmod(_OWN_FOLDER)
    check_peers(settings)
    migrate(settings.address)
    engine = open_database(settings.address)
    sessions = sessions_of(engine)
    with sessions.begin() as session:
        password = first_administrator(session)
    if password and on_password:
        on_password(password)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        """Limit the threads of requests, and close the database at the end."""
        current_default_thread_limiter().total_tokens = THREADS
        yield
        engine.dispose()

    app = FastAPI(
        title="meninx",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        description="Finds tumors in brain MRI. For research, not for diagnosis.",
    )
    app.state.web = Web(settings, sessions)
    app.add_middleware(ConcurrencyLimit, most=CONNECTIONS)
    for router in _ROUTERS:
        app.include_router(router)
    add_provider(app, app.state.web)
    app.mount("/static", PackedFiles(directory=_STATIC), name="static")
    _add_error_handlers(app)

    @app.middleware("http")
    async def with_headers(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        """Add the security headers to each response."""
        response = await call_next(request)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    @app.get("/api/v1/openapi.json", include_in_schema=False)
    def openapi(reader: MayRead) -> dict[str, Any]:
        del reader
        return _openapi_of(app)

    return app


def _openapi_of(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI description of the API."""
    description = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    schemes = {"key": {"type": "http", "scheme": "bearer"}}
    description.setdefault("components", {})["securitySchemes"] = schemes
    description["security"] = [{"key": []}]
    return description


def _error_response(
    request: Request, status: int, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an error with its message: JSON for programs, a page for browsers."""
    if request.url.path.startswith("/api/"):
        return JSONResponse({"detail": message}, status, headers=headers)
    response = page(request.app.state.web, "error.html", status=status, message=message)
    response.status_code = status
    response.headers.update(headers or {})
    return response


def _add_disk_full_handler(app: FastAPI) -> None:
    """Register what says that the disk is full; other failures are raised."""

    @app.exception_handler(OSError)
    @app.exception_handler(SQLAlchemyError)
    def failed(request: Request, error: Exception) -> Response:
        if not is_disk_full(error):
            raise error
        _LOG.error("a request was refused: %s", FULL)
        return _error_response(request, 507, FULL)


def _add_error_handlers(app: FastAPI) -> None:
    """Register the handlers of errors."""
    _add_disk_full_handler(app)

    @app.exception_handler(NotSignedIn)
    def not_signed_in(request: Request, _: NotSignedIn) -> Response:
        if request.url.path.startswith("/api/") or request.headers.get("hx-request"):
            # htmx follows a header, not a redirection, to another page.
            return JSONResponse(
                {"detail": "sign in, or send a key"},
                401,
                headers={"WWW-Authenticate": "Bearer", "HX-Redirect": sign_in_address(request)},
            )
        return RedirectResponse(sign_in_address(request), 303)

    @app.exception_handler(MustChangePassword)
    def must_change(request: Request, _: MustChangePassword) -> Response:
        if request.url.path.startswith("/api/"):
            return JSONResponse(
                {"detail": "this password is a first one; set another one under Account"}, 403
            )
        return RedirectResponse("/account", 303)

    @app.exception_handler(StarletteHTTPException)
    def http_error(request: Request, error: StarletteHTTPException) -> Response:
        headers = error.headers if isinstance(error, HTTPException) else None
        return _error_response(request, error.status_code, str(error.detail), headers)

    @app.exception_handler(MeninxError)
    def refused(request: Request, error: MeninxError) -> Response:
        status = 413 if isinstance(error, LimitExceeded) else 400
        return _error_response(request, status, str(error))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        faults = error.errors()
        unknown = [fault for fault in faults if fault["type"] == "extra_forbidden"]
        where = ", ".join(".".join(map(str, fault["loc"])) for fault in (unknown or faults)[:3])
        if unknown:
            return _error_response(request, 400, f"unknown field, nothing was stored: {where}")
        return _error_response(request, 422, f"missing, or not of the expected kind: {where}")
