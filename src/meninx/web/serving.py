"""Hold what every request needs, and tell who asks."""

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

from meninx.web.accounts import (
    READ,
    UPLOAD,
    Reader,
    reader_of_cookie,
    reader_of_token,
    same,
)
from meninx.web.audit import record
from meninx.web.database import DONE, Study
from meninx.web.jobs import Jobs
from meninx.web.readers_objects import readers_objects
from meninx.web.sending import stored_path
from meninx.web.settings import Settings
from meninx.web.studies import RESULTS, SHOWN, visible

COOKIE = "meninx"
CSRF_HEADER = "x-csrf-token"
# A page that asks by itself what is new says so: it keeps no session open.
POLL_HEADER = "x-meninx-poll"
SAFE = ("GET", "HEAD", "OPTIONS")
MINUTE = 60.0
# So many are counted before those of the last minute alone are kept.
MAX_COUNTED = 10_000


@dataclass
class RateLimit:
    """Count attempts of the last minute by whoever makes them.

    Args:
        most: Allowed in a minute.
    """

    most: int
    _seen: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))

    def check(self, who: str) -> None:
        """Count an attempt.

        Args:
            who: What tells one from another, such as account and address.

        Raises:
            HTTPException: 429 if there were too many.
        """
        if len(self._seen) > MAX_COUNTED:
            self._forget()
        times, moment = self._seen[who], time.monotonic()
        while times and moment - times[0] > MINUTE:
            times.popleft()
        if len(times) >= self.most:
            wait = str(int(MINUTE - (moment - times[0])) + 1)
            raise HTTPException(429, "too many attempts; wait", headers={"Retry-After": wait})
        times.append(moment)

    def _forget(self) -> None:
        """Drop those whose last attempt is long ago: names are for anybody to make up."""
        moment = time.monotonic()
        old = [who for who, times in list(self._seen.items())
               if not times or moment - times[-1] > MINUTE]  # fmt: skip
        for who in old:
            self._seen.pop(who, None)


class Web:
    """Hold what every request needs.

    Args:
        settings: Of the server.
        sessions: Open database sessions.
        jobs: What is done in the background.
    """

    def __init__(self, settings: Settings, sessions: sessionmaker[Any], jobs: Jobs) -> None:
        self.settings, self.sessions, self.jobs = settings, sessions, jobs
        self.sign_ins = RateLimit(settings.attempts_per_minute)
        self.wrong_keys = RateLimit(settings.attempts_per_minute)
        self.key = signing_key(settings.key_file)
        self.pages = Environment(
            loader=PackageLoader("meninx.web"),
            autoescape=select_autoescape(),
            trim_blocks=True,
            lstrip_blocks=True,
        )


def signing_key(path: Path) -> bytes:
    """Return the secret that signs opinions, made on the first start."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(secrets.token_bytes(32))
        path.chmod(0o600)
    return path.read_bytes()


def web_of(request: Request) -> Web:
    """Return what every request needs."""
    web: Web = request.app.state.web
    return web


WebNeeded = Annotated[Web, Depends(web_of)]


def session_of(web: WebNeeded) -> Iterator[Session]:
    """Open a database session that is committed once the answer is made."""
    with web.sessions.begin() as session:
        yield session


# Committed before the answer leaves: who reads it may ask for what it tells of.
SessionNeeded = Annotated[Session, Depends(session_of, scope="function")]


class NotSignedIn(Exception):
    """Say that a page wants somebody to sign in first."""


class MustChangePassword(Exception):
    """Say that a first password is only good for setting another one."""


async def form_word(request: Request) -> str:
    """Return the word that a form or a program brings along, to prove that its page was ours."""
    word = request.headers.get(CSRF_HEADER, "")
    # Files come by programs alone, which send the header: nobody's are read before it is known who.
    form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    if form and not word and request.method not in SAFE:
        word = str((await request.form()).get("csrf", ""))
    return word


def caller_of(request: Request, web: WebNeeded, word: Annotated[str, Depends(form_word)]) -> Reader:
    """Return who asks, by cookie or by key; changes by cookie need the session's own word as well.

    Args:
        request: That asks.
        web: The application.
        word: That came along.

    Returns:
        The reader.

    Raises:
        NotSignedIn: Where nobody is.
        MustChangePassword: Where the password is a first one.
        HTTPException: 403 where the word is missing.
    """
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    secret = request.cookies.get(COOKIE, "")
    # A transaction of its own: what the request does may begin much later.
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
            # Wrong ones alone: a right key works whatever others behind its address do.
            web.wrong_keys.check(address_of(request))
        raise NotSignedIn
    if reader.rights is not None:
        return reader
    if request.method not in SAFE and not same(word, reader.csrf):
        raise HTTPException(403, "the form is too old; load the page again")
    if reader.must_change and not request.url.path.startswith("/account"):
        raise MustChangePassword
    return reader


CallerNeeded = Annotated[Reader, Depends(caller_of, scope="function")]


def person_of(caller: CallerNeeded) -> Reader:
    """Return who asks, somebody who is signed in.

    Args:
        caller: Who asks.

    Returns:
        The same.

    Raises:
        HTTPException: 403 for a key.
    """
    if caller.rights is not None:
        raise HTTPException(403, "not with a key: sign in")
    return caller


def _with_right(right: str) -> Callable[[Reader], Reader]:
    """Return what lets those in who are signed in, and keys of a scope with a right."""

    def allowed(caller: CallerNeeded) -> Reader:
        if caller.rights is not None and right not in caller.rights:
            raise HTTPException(403, f"not with this key: its scope does not hold {right!r}")
        return caller

    return allowed


# A person alone unless it says otherwise: so nothing new is open to keys by an oversight.
ReaderNeeded = Annotated[Reader, Depends(person_of, scope="function")]
MayRead = Annotated[Reader, Depends(_with_right(READ), scope="function")]
MayUpload = Annotated[Reader, Depends(_with_right(UPLOAD), scope="function")]


def administrator_of(reader: ReaderNeeded) -> Reader:
    """Return who asks, an administrator.

    Args:
        reader: Who asks.

    Returns:
        The same.

    Raises:
        HTTPException: 403 for anybody else.
    """
    if not reader.administers:
        raise HTTPException(403, "for administrators")
    return reader


AdministratorNeeded = Annotated[Reader, Depends(administrator_of, scope="function")]


def local_address(text: str) -> str:
    """Return an address if it leads to a page of this server, else the worklist's.

    Browsers take `//host`, and `/` with a backslash or a tab after it, for another server's.
    """
    if re.fullmatch(r"/(?![/\\])[^\\\x00-\x20\x7f]*", text) and not text.startswith("/sign-"):
        return text
    return "/"


def sign_in_address(request: Request) -> str:
    """Return the address of the page to sign in, which leads back to the page that was asked for.

    Args:
        request: Request of somebody who is not signed in.

    Returns:
        An address of this server.
    """
    if request.headers.get("hx-request"):
        page = request.headers.get("hx-current-url", "")
    elif request.method in SAFE:
        page = str(request.url)
    else:
        # A form leads back to the page that it stood on.
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
        session: Of the database.
        reader: Who asks.
        study_id: As its address has it.
        erased: Whether one will do of which its opinions are all that is left.

    Returns:
        The study.

    Raises:
        HTTPException: 404 if there is none in the reader's projects, 410 if it was erased.
    """
    study = session.scalar(select(Study).where(Study.id == study_id, visible(reader)))
    if study is None:
        raise HTTPException(404, "no such study")
    if study.erased and not erased:
        raise HTTPException(410, "this study was erased; its opinions were kept")
    return study


def seen(session: Session, reader: Reader, study: Study) -> None:
    """Write down that somebody saw a finding; a page that waits for it asks again and again."""
    if study.state == DONE:
        record(session, reader.name, "seen", study.id)


def shown_file(web: Web, study: Study, name: str) -> Path:
    """Return a file that the viewer shows, by one of the names that the finding gives.

    Args:
        web: The application.
        study: Whose.
        name: As asked for.

    Returns:
        Its path, of a volume the packed one's.

    Raises:
        HTTPException: 404 for any other name.
    """
    kinds = ("volume", "heat", "picture", "thumb")
    names = {(one.get("viewer") or {}).get(kind) for one in study.findings for kind in kinds}
    names |= {one.get("preview") for one in study.findings}
    if name not in names:
        raise HTTPException(404, "no such file")
    path = stored_path(web.settings.studies / study.id / SHOWN / name)
    if not path.is_file():
        raise HTTPException(404, "no such file")
    return path


def zipped_objects(web: Web, session: Session, study: Study) -> Response:
    """Return the DICOM objects of a study's findings, and of what readers measured, as a zip.

    Args:
        web: The application.
        session: Database session.
        study: Study that was scored.

    Returns:
        The answer.

    Raises:
        HTTPException: 404 if there are none.
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
