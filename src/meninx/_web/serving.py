"""Dependencies of all requests: the server's state, a database session, the sender."""

import io
import re
import secrets
import time
import zipfile
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from fastapi import Depends, HTTPException, Request, Response
from jinja2 import Environment, PackageLoader, select_autoescape
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from meninx._web.auth.accounts import (
    READ,
    UPLOAD,
    Reader,
    reader_of_cookie,
    reader_of_token,
    secrets_equal,
)
from meninx._web.auth.rights import visible_to
from meninx._web.store.audit import record
from meninx._web.store.database import DONE, Study
from meninx._web.store.settings import Settings
from meninx._web.store.stored_results import stored_series
from meninx._web.studies.opinions import codes_in_words, verdict_in_words
from meninx._web.studies.readers_objects import readers_objects
from meninx._web.studies.sending import stored_path
from meninx._web.studies.study_files import RESULTS, SHOWN

COOKIE = "meninx"
_CSRF_HEADER = "x-csrf-token"
# Header of requests by which pages poll; they do not extend a session.
POLL_HEADER = "x-meninx-poll"
_SAFE = ("GET", "HEAD", "OPTIONS")
_MINUTE = 60.0
# Number of callers above which idle ones are dropped.
_MAX_COUNTED = 10_000


@dataclass
class RateLimit:
    """A limit on the attempts of each caller in a minute.

    Args:
        most: Attempts of one caller that are allowed in a minute.
    """

    most: int
    _seen: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))

    def check(self, who: str) -> None:
        """Count an attempt.

        Args:
            who: Key of a caller, such as account and address.

        Raises:
            HTTPException: 429 if there were too many.
        """
        if len(self._seen) > _MAX_COUNTED:
            self._drop_idle_callers()
        times, moment = self._seen[who], time.monotonic()
        while times and moment - times[0] > _MINUTE:
            times.popleft()
        if len(times) >= self.most:
            wait = str(int(_MINUTE - (moment - times[0])) + 1)
            message = f"too many attempts in a minute; try again in {wait} s"
            raise HTTPException(429, message, headers={"Retry-After": wait})
        times.append(moment)

    def _drop_idle_callers(self) -> None:
        """Drop callers without an attempt in the last minute, since names can be invented."""
        moment = time.monotonic()
        old = [
            who
            for who, times in list(self._seen.items())
            if not times or moment - times[-1] > _MINUTE
        ]
        for who in old:
            self._seen.pop(who, None)


class Web:
    """State of the server that every request shares.

    Args:
        settings: Settings of the server.
        sessions: Factory of database sessions.
    """

    def __init__(self, settings: Settings, sessions: sessionmaker[Any]) -> None:
        self.settings, self.sessions = settings, sessions
        self.sign_ins = RateLimit(settings.attempts_per_minute)
        self.wrong_keys = RateLimit(settings.attempts_per_minute)
        self.key = _signing_key(settings.key_file)
        self.pages = Environment(
            loader=PackageLoader("meninx._web"),
            autoescape=select_autoescape(),
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.pages.filters["verdict"] = verdict_in_words
        self.pages.filters["words"] = codes_in_words


def _signing_key(path: Path) -> bytes:
    """Return the secret that signs opinions, made on the first start."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(secrets.token_bytes(32))
        path.chmod(0o600)
    return path.read_bytes()


def _web_of(request: Request) -> Web:
    """Return the state of the server."""
    web: Web = request.app.state.web
    return web


WebNeeded = Annotated[Web, Depends(_web_of)]


def _session_of(web: WebNeeded) -> Iterator[Session]:
    """Open a database session that is committed once the response is made."""
    with web.sessions.begin() as session:
        yield session


# Committed before the response is sent, so that the next request finds what was stored.
SessionNeeded = Annotated[Session, Depends(_session_of, scope="function")]


class NotSignedIn(Exception):
    """The page is only for people who are signed in."""


class MustChangePassword(Exception):
    """The password is a first one, only good for setting another one."""


async def _sent_csrf_token(request: Request) -> str:
    """Return the CSRF token that a request sends, which proves that its page was ours."""
    token = request.headers.get(_CSRF_HEADER, "")
    # Only scripts send files, and they use the header: no file is read before authentication.
    form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    if form and not token and request.method not in _SAFE:
        token = str((await request.form()).get("csrf", ""))
    return token


def _caller_of(
    request: Request, web: WebNeeded, token: Annotated[str, Depends(_sent_csrf_token)]
) -> Reader:
    """Return who sends a request, by cookie or key; changes by cookie need the CSRF token as well.

    Args:
        request: Request to authenticate.
        web: State of the server.
        token: CSRF token that was sent with it; empty for none.

    Returns:
        The reader.

    Raises:
        NotSignedIn: If there is no valid session or key.
        MustChangePassword: If the password is a first one.
        HTTPException: 403 if the token is missing or another session's.
    """
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    secret = request.cookies.get(COOKIE, "")
    # In its own transaction, because the request's may begin much later.
    with web.sessions.begin() as session:
        if scheme.lower() == "bearer":
            reader = reader_of_token(session, key.strip())
        else:
            clicked = POLL_HEADER not in request.headers
            reader = (
                reader_of_cookie(session, secret, web.settings, clicked=clicked) if secret else None
            )
    if reader is None:
        if scheme.lower() == "bearer":
            # Only wrong keys count: a valid key works even if its address sends wrong ones.
            web.wrong_keys.check(address_of(request))
        raise NotSignedIn
    if reader.rights is not None:
        return reader
    if request.method not in _SAFE and not secrets_equal(token, reader.csrf):
        raise HTTPException(403, "this page is of an older session; reload it and try again")
    if reader.must_change and not request.url.path.startswith("/account"):
        raise MustChangePassword
    return reader


CallerNeeded = Annotated[Reader, Depends(_caller_of, scope="function")]


def _person_of(caller: CallerNeeded) -> Reader:
    """Return the sender of a request, a person who is signed in.

    Args:
        caller: Sender of the request.

    Returns:
        The same reader.

    Raises:
        HTTPException: 403 for a key.
    """
    if caller.rights is not None:
        raise HTTPException(403, "not allowed with a key; sign in instead")
    return caller


def _with_right(right: str) -> Callable[[Reader], Reader]:
    """Return a dependency that admits people who are signed in, and keys with a right."""

    def allowed(caller: CallerNeeded) -> Reader:
        if caller.rights is not None and right not in caller.rights:
            raise HTTPException(
                403, f"this key's scope does not have the right {right!r}; use another key"
            )
        return caller

    return allowed


# The default admits people only, so that no new route is open to keys by an oversight.
ReaderNeeded = Annotated[Reader, Depends(_person_of, scope="function")]
MayRead = Annotated[Reader, Depends(_with_right(READ), scope="function")]
MayUpload = Annotated[Reader, Depends(_with_right(UPLOAD), scope="function")]


def _administrator_of(reader: ReaderNeeded) -> Reader:
    """Return the sender of a request, an administrator.

    Args:
        reader: Sender of the request.

    Returns:
        The same reader.

    Raises:
        HTTPException: 403 if the sender is no administrator.
    """
    if not reader.is_administrator:
        raise HTTPException(403, "only for administrators")
    return reader


AdministratorNeeded = Annotated[Reader, Depends(_administrator_of, scope="function")]


def local_address(text: str) -> str:
    """Return an address if it leads to a page of this server, else the worklist's.

    Browsers take `//host`, and `/` followed by a backslash or a tab, for another server's address.
    """
    if re.fullmatch(r"/(?![/\\])[^\\\x00-\x20\x7f]*", text) and not text.startswith("/sign-"):
        return text
    return "/"


def sign_in_address(request: Request) -> str:
    """Return the address of the sign-in page, which leads back to the requested page afterwards.

    Args:
        request: Request without a valid session.

    Returns:
        Address on this server.
    """
    if request.headers.get("hx-request"):
        page = request.headers.get("hx-current-url", "")
    elif request.method in _SAFE:
        page = str(request.url)
    else:
        # After a form, return to the page that contained it.
        page = request.headers.get("referer", "")
    parts = urlsplit(page)
    if parts.netloc != request.url.netloc:
        return "/sign-in"
    goal = local_address(urlunsplit(("", "", parts.path, parts.query, "")))
    return "/sign-in" if goal == "/" else "/sign-in?" + urlencode({"next": goal})


def address_of(request: Request) -> str:
    """Return the address that a request comes from."""
    return request.client.host if request.client else ""


def study_of(session: Session, reader: Reader, study_id: str, *, erased: bool = False) -> Study:
    """Return a study that a reader may see.

    Args:
        session: Database session.
        reader: Reader, who sees the studies of their projects only.
        study_id: Id of the study, unchecked.
        erased: Whether an erased study, which has only its opinions, is returned too.

    Returns:
        The study.

    Raises:
        HTTPException: 404 if there is none in the reader's projects, 410 if it was erased.
    """
    study = session.scalar(select(Study).where(Study.id == study_id, visible_to(reader)))
    if study is None:
        raise HTTPException(404, "no such study; it may have been deleted")
    if study.erased and not erased:
        raise HTTPException(410, "this study was erased; only its opinions are left")
    return study


def record_view(session: Session, reader: Reader, study: Study) -> None:
    """Record that a reader saw a finding, but not each request of a page that waits for it."""
    if study.state == DONE:
        record(session, reader.name, "seen", study.id)


def shown_file(web: Web, study: Study, name: str) -> Path:
    """Return the path of a file that the viewer shows.

    Args:
        web: State of the server.
        study: Study that the file belongs to.
        name: Requested name, unchecked.

    Returns:
        Path of the file; of a volume the compressed one.

    Raises:
        HTTPException: 404 if no finding names the file.
    """
    series = stored_series(study)
    files = [view.shown for view in series if view.shown is not None]
    names = {
        file
        for shown in files
        for file in (shown.volume, shown.heat, shown.picture, shown.thumb, shown.first)
    }
    if not name or name not in names | {view.preview for view in series}:
        raise HTTPException(404, "no such file")
    path = stored_path(web.settings.studies / study.id / SHOWN / name)
    if not path.is_file():
        raise HTTPException(404, "no such file")
    return path


def zipped_objects(web: Web, session: Session, study: Study) -> Response:
    """Return the DICOM objects of a study's findings and of readers' measurements, as a zip.

    Args:
        web: State of the server.
        session: Database session.
        study: Study that was scored.

    Returns:
        Response with the zip.

    Raises:
        HTTPException: 404 if the study has no DICOM objects.
    """
    paths = sorted((web.settings.studies / study.id / SHOWN / RESULTS).glob("*.dcm"))
    if not paths:
        raise HTTPException(404, "no DICOM objects: the study was not DICOM, or is not done")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            archive.write(path, path.name)
        for file, data in readers_objects(session, study, web.settings).items():
            archive.writestr(file, data)
    name = f'attachment; filename="{study.id}-dicom.zip"'
    return Response(
        packed.getvalue(), media_type="application/zip", headers={"Content-Disposition": name}
    )
