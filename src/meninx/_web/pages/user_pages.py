"""Pages of all accounts and projects, for administrators."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Form, HTTPException, Response
from fastapi.responses import HTMLResponse
from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError

from meninx._errors import OptionError
from meninx._web.auth.accounts import Reader, add_user, set_password, set_projects
from meninx._web.pages.responses import page, redirect_to
from meninx._web.serving import AdministratorNeeded, SessionNeeded, Web, WebNeeded
from meninx._web.store.audit import record
from meninx._web.store.database import Member, Project, SignIn, Token, User

user_pages = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@user_pages.get("/users")
def users(reader: AdministratorNeeded, session: SessionNeeded, web: WebNeeded) -> HTMLResponse:
    """Show all accounts, their keys and projects."""
    return _users(reader, session, web)


def _users(
    reader: Reader,
    session: SessionNeeded,
    web: Web,
    error: str = "",
    typed: Mapping[str, Any] | None = None,
) -> HTMLResponse:
    """Return the page; `typed` is what a refused new account had in its form."""
    members: dict[int, set[int]] = defaultdict(set)
    for member in session.scalars(select(Member)):
        members[member.user_id].add(member.project_id)
    count = select(Token.user_id, func.count()).group_by(Token.user_id)
    return page(
        web,
        "users.html",
        reader,
        error=error,
        typed=typed or {},
        users=list(session.scalars(select(User))),
        projects=list(session.scalars(select(Project).order_by(Project.id))),
        members=members,
        keys=dict(session.execute(count).all()),
    )


@user_pages.post("/users")
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
        typed = {"name": name, "role": role, "projects": project}
        return _users(reader, session, web, str(error), typed)
    record(session, reader.name, "account added", detail=name)
    return redirect_to("/users")


def _other_user(session: SessionNeeded, reader: Reader, user_id: int) -> User:
    """Return another person's account.

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


@user_pages.post("/users/{user_id}/active")
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


@user_pages.post("/users/{user_id}/password")
def post_user_password(
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


@user_pages.post("/users/{user_id}/projects")
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


@user_pages.post("/users/{user_id}/keys/delete")
def remove_keys(user_id: int, reader: AdministratorNeeded, session: SessionNeeded) -> Response:
    """Revoke all keys of an account."""
    session.execute(delete(Token).where(Token.user_id == user_id))
    record(session, reader.name, "keys revoked", detail=str(user_id))
    return redirect_to("/users")


@user_pages.post("/projects")
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
