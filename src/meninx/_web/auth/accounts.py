"""Authenticate: passwords, sessions, keys for programs, roles."""

import hashlib
import hmac
import re
import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from meninx._errors import OptionError
from meninx._web.store.audit import record
from meninx._web.store.database import FIRST_PROJECT, Member, Project, SignIn, Token, User, now
from meninx._web.store.settings import Settings

READER, ADMINISTRATOR = "reader", "administrator"
ROLES = (READER, ADMINISTRATOR)
# Rights of keys. No key opens a page, stores an opinion, deletes, or makes keys and accounts.
UPLOAD, READ, NODE = "upload", "read", "node"
SCOPES = {UPLOAD: (UPLOAD,), READ: (READ,), NODE: (UPLOAD, READ)}
LONGEST_KEY_DAYS = 366
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}")
_SHORTEST_PASSWORD = 10
# argon2 takes 64 MB and a core for each password: at most two are checked at a time.
_CHECKS = threading.BoundedSemaphore(2)
PASSWORDS = PasswordHash((Argon2Hasher(),))
# One message, so that it does not say which accounts exist.
# Shortest time between two updates of a session's last use.
_SEEN_EVERY = timedelta(minutes=1)


@cache
def hash_of_nobody() -> str:
    """Return a hash to check if there is no such account: the response takes equally long."""
    return PASSWORDS.hash(secrets.token_urlsafe())


@dataclass(frozen=True)
class Reader:
    """A person or a program that sends a request.

    Args:
        id: Account number.
        name: Account name.
        role: `reader` or `administrator`.
        csrf: Token that forms of this session have to send; empty for a key.
        must_change: Whether the password is a first one and must be changed.
        rights: Rights of a key, `upload` or `read`; None for a person, who is signed in.
    """

    id: int
    name: str
    role: str
    csrf: str = ""
    must_change: bool = False
    rights: tuple[str, ...] | None = None

    @property
    def is_administrator(self) -> bool:
        """Whether accounts and the audit log are theirs to see."""
        return self.role == ADMINISTRATOR


def _digest_of(secret: str) -> str:
    """Return the hash under which a secret of 256 random bits is stored."""
    return hashlib.sha256(secret.encode()).hexdigest()


def add_user(
    session: Session,
    name: str,
    password: str,
    role: str = READER,
    *,
    must_change: bool = False,
    projects: Iterable[int] = (FIRST_PROJECT,),
) -> User:
    """Add an account.

    Args:
        session: Database session.
        name: Account name of letters, digits and `._@-`, at most 100.
        password: First password, at least ten characters.
        role: One of `ROLES`.
        must_change: Whether the password is only good for setting another one.
        projects: Numbers of the projects whose studies the account sees; an administrator sees all.

    Returns:
        The account.

    Raises:
        OptionError: If a value is not allowed, or the name is taken.
    """
    if not NAME.fullmatch(name):
        raise OptionError(f"user name {name!r}: expected letters, digits and . _ @ -")
    if role not in ROLES:
        raise OptionError(f"role {role!r}: expected one of {', '.join(ROLES)}")
    user = User(
        name=name, password=PASSWORDS.hash(_checked(password)), role=role, must_change=must_change
    )
    session.add(user)
    try:
        session.flush()
    except IntegrityError as error:
        raise OptionError(f"user name {name!r} is taken") from error
    set_projects(session, user, projects)
    return user


def set_projects(session: Session, user: User, projects: Iterable[int]) -> None:
    """Set the projects whose studies an account sees.

    Args:
        session: Database session.
        user: Account to change.
        projects: Numbers of all of its projects from now on.

    Raises:
        OptionError: If there is no project of one of the numbers.
    """
    wanted = set(projects)
    found = set(session.scalars(select(Project.id).where(Project.id.in_(wanted))))
    if found != wanted:
        raise OptionError("no such project; reload the page and choose again")
    session.execute(delete(Member).where(Member.user_id == user.id))
    session.add_all(Member(user_id=user.id, project_id=project_id) for project_id in sorted(wanted))
    session.flush()


def projects_of(session: Session, reader: Reader) -> list[Project]:
    """Return the projects that a reader takes part in, by number; an administrator in all."""
    query = select(Project).order_by(Project.id)
    if not reader.is_administrator:
        query = query.join(Member).where(Member.user_id == reader.id)
    return list(session.scalars(query))


def set_password(session: Session, user: User, password: str, *, must_change: bool = False) -> None:
    """Change a password, end all of the account's sessions, and unlock it.

    Args:
        session: Database session.
        user: Account to change.
        password: New password, at least ten characters.
        must_change: Whether it is only good for setting another one.

    Raises:
        OptionError: If the password is too short.
    """
    user.password = PASSWORDS.hash(_checked(password))
    user.must_change = must_change
    user.failures, user.locked_until = 0, None
    session.execute(delete(SignIn).where(SignIn.user_id == user.id))


def change_password(session: Session, user: User, old: str, new: str) -> None:
    """Change a password, given the old one.

    Args:
        session: Database session.
        user: Account to change.
        old: Password until now.
        new: New password, at least ten characters.

    Raises:
        OptionError: If the old one is wrong, or the new one too short.
    """
    with _CHECKS:
        right = PASSWORDS.verify(old, user.password)
    if not right:
        raise OptionError("the old password is wrong")
    set_password(session, user, new)


def reset_password(session: Session, name: str, *, administrator: bool = False) -> str:
    """Give an account a first password, open it, and make it an administrator's on request.

    Args:
        session: Database session.
        name: Account name.
        administrator: Whether it is to be an administrator from now on.

    Returns:
        The password, which is only good for setting another one.

    Raises:
        OptionError: If there is no such account.
    """
    user = session.scalar(select(User).where(User.name == name))
    if user is None:
        raise OptionError(f"no account {name!r}")
    password = secrets.token_urlsafe(12)
    set_password(session, user, password, must_change=True)
    user.active = True
    if administrator:
        user.role = ADMINISTRATOR
    record(session, "command line", "password reset", detail=name)
    return password


def _checked(password: str) -> str:
    if len(password) < _SHORTEST_PASSWORD:
        raise OptionError(f"the password is too short: at least {_SHORTEST_PASSWORD} characters")
    return password


def first_administrator(session: Session) -> str | None:
    """Make an administrator where there is no account yet.

    Args:
        session: Database session.

    Returns:
        The password that is good for setting another one; None where accounts exist.
    """
    if session.scalar(select(User.id).limit(1)) is not None:
        return None
    password = secrets.token_urlsafe(12)
    add_user(session, "admin", password, ADMINISTRATOR, must_change=True)
    return password


def device_mark(user: User, key: bytes) -> str:
    """Return the mark of a browser that has signed in as a user; it ends with the password."""
    identity = f"device\0{user.id}\0{user.password}"
    return hmac.new(key, identity.encode(), hashlib.sha256).hexdigest()


def sign_in(
    session: Session, name: str, password: str, settings: Settings, key: bytes, device: str = ""
) -> tuple[str, Reader, str]:
    """Check a password and open a session.

    Args:
        session: Database session.
        name: Account name, as typed.
        password: Password, as typed.
        settings: Settings of the server: wrong passwords that lock an account, and for how long.
        key: Secret of this server that marks browsers.
        device: Mark that the browser brings along. One that has signed in as this account before
            is not locked out by what others try from elsewhere.

    Returns:
        The cookie's secret, the reader, and the mark for the browser to store.

    Raises:
        OptionError: If name or password is wrong, or the account is locked; the message does not
            say which.
    """
    user = session.scalar(select(User).where(User.name == name).with_for_update())
    with _CHECKS:
        right = PASSWORDS.verify(password, user.password if user else hash_of_nobody())
    if user is None:
        raise _sign_in_refused(settings)
    known_device = secrets_equal(device, device_mark(user, key))
    locked = not known_device and (user.locked_until or now()) > now()
    if not right or not user.active or locked:
        if not locked and not known_device:
            _count_failure(session, user, settings)
        raise _sign_in_refused(settings)
    user.failures, user.locked_until = 0, None
    return *open_session(session, user), device_mark(user, key)


def _sign_in_refused(settings: Settings) -> OptionError:
    """Return the error of a refused sign-in, the same for a locked account as for any name."""
    return OptionError(
        f"wrong name or password; {settings.lockout_attempts} wrong ones in a row lock an account "
        f"for {settings.lockout_minutes:g} minutes"
    )


def _count_failure(session: Session, user: User, settings: Settings) -> None:
    """Count a refused sign-in, and lock the account after too many."""
    user.failures += 1
    if user.failures >= settings.lockout_attempts:
        user.locked_until = now() + timedelta(minutes=settings.lockout_minutes)
        user.failures = 0
        record(session, user.name, "account locked")
    record(session, user.name, "sign-in refused")


def open_session(session: Session, user: User) -> tuple[str, Reader]:
    """Open a session for an account; return the cookie's secret and the reader."""
    secret = secrets.token_urlsafe(32)
    opened = SignIn(user_id=user.id, digest=_digest_of(secret), csrf=secrets.token_urlsafe(24))
    session.add(opened)
    session.flush()
    record(session, user.name, "signed in")
    return secret, Reader(user.id, user.name, user.role, opened.csrf, user.must_change)


def reader_of_cookie(
    session: Session, secret: str, settings: Settings, *, clicked: bool = True
) -> Reader | None:
    """Return the reader of a session; None where the secret is unknown or the session too old.

    Args:
        session: Database session.
        secret: Secret of the cookie.
        settings: Settings of the server.
        clicked: Whether a person sent the request, which extends the session, and not a page that
            polls.

    Returns:
        The reader, or None.
    """
    found = session.execute(
        select(SignIn, User).join(User).where(SignIn.digest == _digest_of(secret))
    ).first()
    if found is None:
        return None
    opened, user = found
    if now() - opened.seen > timedelta(hours=settings.session_hours) or not user.active:
        session.delete(opened)
        return None
    if clicked and now() - opened.seen > _SEEN_EVERY:
        opened.seen = now()
    return Reader(user.id, user.name, user.role, opened.csrf, user.must_change)


def sign_out(session: Session, secret: str) -> None:
    """End a session."""
    session.execute(delete(SignIn).where(SignIn.digest == _digest_of(secret)))


def add_token(session: Session, reader: Reader, name: str, scope: str, days: int) -> str:
    """Make a key for programs; it can't be shown again.

    Args:
        session: Database session.
        reader: Owner of the key.
        name: Purpose of the key, in a few words.
        scope: One of `SCOPES`.
        days: Lifetime, in days, 1 to 366.

    Returns:
        The key.

    Raises:
        OptionError: If there is no such scope, or the days are out of range.
    """
    if scope not in SCOPES:
        raise OptionError(f"scope {scope!r}: expected one of {', '.join(SCOPES)}")
    if not 1 <= days <= LONGEST_KEY_DAYS:
        raise OptionError(f"{days} days: a key ends after 1 to {LONGEST_KEY_DAYS} days")
    secret = "mnx_" + secrets.token_urlsafe(32)
    ends = now() + timedelta(days=days)
    session.add(
        Token(user_id=reader.id, name=name[:100], digest=_digest_of(secret), scope=scope, ends=ends)
    )
    record(session, reader.name, "key made", detail=f"{name[:100]}, {scope}, {days} days")
    return secret


def reader_of_token(session: Session, secret: str) -> Reader | None:
    """Return the owner of a key; None where the key is unknown, expired or revoked."""
    found = session.execute(
        select(User, Token.scope)
        .join(Token)
        .where(Token.digest == _digest_of(secret), User.active, Token.ends > now())
    ).first()
    if found is None:
        return None
    user, scope = found
    # A key has no administrator rights, even if its account has.
    return Reader(user.id, user.name, READER, rights=SCOPES[scope])


def secrets_equal(first: str, second: str) -> bool:
    """Return whether two secrets are equal, in a time that does not show where they differ."""
    return bool(first) and hmac.compare_digest(first.encode(), second.encode())
