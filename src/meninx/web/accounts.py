"""Know who asks: passwords, sessions, keys for programs, roles."""

import hashlib
import hmac
import re
import secrets
import threading
from dataclasses import dataclass
from datetime import timedelta

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from meninx.errors import OptionError
from meninx.web.audit import record
from meninx.web.database import SignIn, Token, User, now
from meninx.web.settings import Settings

READER, ADMINISTRATOR = "reader", "administrator"
ROLES = (READER, ADMINISTRATOR)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}")
SHORTEST_PASSWORD = 10
# argon2 takes 64 MB and a core for each password: so many at a time, the others wait.
CHECKS = threading.BoundedSemaphore(2)
PASSWORDS = PasswordHash((Argon2Hasher(),))
# Checked where no such account is, so that the answer takes as long.
NOBODY = PASSWORDS.hash(secrets.token_urlsafe())
# A session's last use is written down no more often.
SEEN_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class Reader:
    """Say who asks.

    Args:
        id: Of the account.
        name: Of the account.
        role: `reader` or `administrator`.
        csrf: What forms of this session must bring along; empty for a key.
        must_change: Whether the password is a first one and must be changed.
    """

    id: int
    name: str
    role: str
    csrf: str = ""
    must_change: bool = False

    @property
    def administers(self) -> bool:
        """Whether accounts and the audit log are theirs to see."""
        return self.role == ADMINISTRATOR


def digest_of(secret: str) -> str:
    """Return the hash under which a secret of 256 random bits is kept."""
    return hashlib.sha256(secret.encode()).hexdigest()


def add_user(
    session: Session, name: str, password: str, role: str = READER, *, must_change: bool = False
) -> User:
    """Add an account.

    Args:
        session: Of the database.
        name: Letters, digits and `._@-`.
        password: At least ten characters.
        role: One of `ROLES`.
        must_change: Whether it is only good for setting another one.

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
    return user


def set_password(session: Session, user: User, password: str) -> None:
    """Change a password and end all of the account's sessions.

    Args:
        session: Of the database.
        user: Whose.
        password: At least ten characters.

    Raises:
        OptionError: If it is shorter.
    """
    user.password = PASSWORDS.hash(_checked(password))
    user.must_change = False
    session.execute(delete(SignIn).where(SignIn.user_id == user.id))


def _checked(password: str) -> str:
    if len(password) < SHORTEST_PASSWORD:
        raise OptionError(f"the password is too short: at least {SHORTEST_PASSWORD} characters")
    return password


def first_administrator(session: Session) -> str | None:
    """Make an administrator where there is no account yet.

    Args:
        session: Of the database.

    Returns:
        The password that is good for setting another one; None where accounts exist.
    """
    if session.scalar(select(User.id).limit(1)) is not None:
        return None
    password = secrets.token_urlsafe(12)
    add_user(session, "admin", password, ADMINISTRATOR, must_change=True)
    return password


def sign_in(session: Session, name: str, password: str, settings: Settings) -> tuple[str, Reader]:
    """Check a password and open a session.

    Args:
        session: Of the database.
        name: As typed.
        password: As typed.
        settings: Say when an account is locked.

    Returns:
        The cookie's secret, and who it is.

    Raises:
        OptionError: If name or password is wrong, or the account is locked; it does not say which.
    """
    user = session.scalar(select(User).where(User.name == name).with_for_update())
    with CHECKS:
        right = PASSWORDS.verify(password, user.password if user else NOBODY)
    locked = user is not None and user.locked_until is not None and user.locked_until > now()
    if user is None or not right or not user.active or locked:
        if user is not None and not locked:
            user.failures += 1
            if user.failures >= settings.lockout_attempts:
                user.locked_until = now() + timedelta(minutes=settings.lockout_minutes)
                user.failures = 0
                record(session, name, "account locked")
            record(session, name, "sign-in refused")
        raise OptionError("wrong name or password, or too many tries; wait a while")
    user.failures, user.locked_until = 0, None
    return open_session(session, user)


def open_session(session: Session, user: User) -> tuple[str, Reader]:
    """Open a session for an account; return the cookie's secret, and who it is."""
    secret = secrets.token_urlsafe(32)
    one = SignIn(user_id=user.id, digest=digest_of(secret), csrf=secrets.token_urlsafe(24))
    session.add(one)
    session.flush()
    record(session, user.name, "signed in")
    return secret, Reader(user.id, user.name, user.role, one.csrf, user.must_change)


def reader_of_cookie(session: Session, secret: str, settings: Settings) -> Reader | None:
    """Return who a session's secret belongs to; None where it is unknown or too old."""
    found = session.execute(
        select(SignIn, User).join(User).where(SignIn.digest == digest_of(secret))
    ).first()
    if found is None:
        return None
    one, user = found
    if now() - one.seen > timedelta(hours=settings.session_hours) or not user.active:
        session.delete(one)
        return None
    if now() - one.seen > SEEN_EVERY:
        one.seen = now()
    return Reader(user.id, user.name, user.role, one.csrf, user.must_change)


def sign_out(session: Session, secret: str) -> None:
    """End a session."""
    session.execute(delete(SignIn).where(SignIn.digest == digest_of(secret)))


def add_token(session: Session, reader: Reader, name: str) -> str:
    """Make a key for programs; it is told this once."""
    secret = "mnx_" + secrets.token_urlsafe(32)
    session.add(Token(user_id=reader.id, name=name[:100], digest=digest_of(secret)))
    record(session, reader.name, "key made", detail=name[:100])
    return secret


def reader_of_token(session: Session, secret: str) -> Reader | None:
    """Return who a key belongs to; None where it is unknown."""
    user = session.scalar(
        select(User).join(Token).where(Token.digest == digest_of(secret), User.active)
    )
    return None if user is None else Reader(user.id, user.name, user.role)


def same(first: str, second: str) -> bool:
    """Return whether two secrets are equal, in a time that does not tell where they differ."""
    return bool(first) and hmac.compare_digest(first.encode(), second.encode())
