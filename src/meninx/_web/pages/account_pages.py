"""Pages of a reader's own account: password and keys."""

from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Response
from fastapi.responses import HTMLResponse
from sqlalchemy import delete, select

from meninx._errors import OptionError
from meninx._web.auth.accounts import (
    LONGEST_KEY_DAYS,
    SCOPES,
    Reader,
    add_token,
    change_password,
    projects_of,
)
from meninx._web.pages.responses import page, redirect_to
from meninx._web.serving import ReaderNeeded, SessionNeeded, Web, WebNeeded
from meninx._web.store.audit import record
from meninx._web.store.database import Token, User, now

account_pages = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@account_pages.get("/account")
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


@account_pages.post("/account/password")
def post_password(
    reader: ReaderNeeded,
    session: SessionNeeded,
    web: WebNeeded,
    old: Annotated[str, Form()],
    password: Annotated[str, Form()],
    again: Annotated[str, Form()],
) -> Response:
    """Set another password, if the old one is right; all sessions of the account end."""
    web.sign_ins.check(f"password of {reader.id}")
    try:
        if password != again:
            raise OptionError("the two new passwords differ")
        change_password(session, session.get_one(User, reader.id), old, password)
    except OptionError as error:
        return _account(reader, session, web, error=str(error))
    record(session, reader.name, "password changed")
    return redirect_to("/sign-in?changed=1")


@account_pages.post("/account/keys")
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


@account_pages.post("/account/keys/{key_id}/delete")
def remove_key(key_id: int, reader: ReaderNeeded, session: SessionNeeded) -> Response:
    """Revoke a key of the reader's own."""
    session.execute(delete(Token).where(Token.id == key_id, Token.user_id == reader.id))
    record(session, reader.name, "key revoked")
    return redirect_to("/account")
