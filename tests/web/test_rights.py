"""Who may do what: every route as every role, against the table in docs/web.md."""

from pathlib import Path

import pytest

from meninx._web.auth.accounts import SCOPES, Reader, add_token, add_user, open_session
from meninx._web.store.database import DONE, Project, Study, Upload, User, new_id, now
from meninx._web.studies.viewer import other_visits
from tests.web.conftest import PASSWORD
from tests.web.test_accounts import routes

PAGE = Path(__file__).parents[2] / "docs" / "web.md"
ROLES = (
    "nobody",
    "reader",
    "uploader",
    "other project",
    "administrator",
    *(f"key: {scope}" for scope in SCOPES),
)
# What a request needs to be understood, so that it is the role alone that it may fail by.
BODIES = {
    "POST /api/v1/uploads": {"json": {}},
    "PUT /api/v1/uploads/{upload_id}/parts": {"params": {"name": "x"}, "content": b"x"},
    "POST /api/v1/uploads/{upload_id}/files": {"files": {"files": ("x", b"x")}},
    "POST /api/v1/studies/{study_id}/opinions": {"json": {"verdict": "tumor"}},
    "POST /api/v1/studies/{study_id}/measurements": {"json": {"from": [0, 0, 0], "to": [1, 1, 1]}},
    "POST /studies/{study_id}/opinions": {"data": {"verdict": "tumor"}},
    "PUT /api/v1/studies/{study_id}/identity": {"json": {}},
    "PUT /api/v1/studies/{study_id}/urgent": {"json": {"urgent": True}},
    "POST /api/v1/studies/{study_id}/deliveries": {"json": {"peer": "PACS@127.0.0.1:104"}},
    "POST /studies/{study_id}/send": {"data": {"peer": "PACS@127.0.0.1:104"}},
    "PUT /api/v1/nodes": {
        "json": {"title": "MENINX", "started": "", "failing": {}}
        | dict.fromkeys(
            (
                "instances",
                "studies",
                "waiting",
                "scored",
                "failed",
                "refused",
                "results_sent",
                "results_waiting",
            ),
            0,
        )
    },
    "POST /studies/urgent": {"data": {"study": "{study_id}"}},
    "POST /studies/delete": {"data": {"study": "{study_id}"}},
    "POST /studies/export": {"data": {"study": "{study_id}"}},
}


class Hall:
    """A server with an account for each role, and a study and an upload for each request."""

    def __init__(self, server):
        self.server, self.client = server, server.client()
        with server.web.sessions.begin() as session:
            session.add(Project(name="elsewhere"))
            session.flush()
            add_user(session, "uploader", PASSWORD)
            add_user(session, "stranger", PASSWORD, projects=[2])
            users = {user.name: user for user in session.query(User)}
            self.users = {name: user.id for name, user in users.items()}
            uploader = Reader(self.users["uploader"], "uploader", "reader")
            self.keys = {
                f"key: {scope}": add_token(session, uploader, scope, scope, 1) for scope in SCOPES
            }
        self.of_role = {
            "reader": "rene",
            "uploader": "uploader",
            "other project": "stranger",
            "administrator": "ada",
        }

    def ask(self, role, method, path):
        """Ask as a role; return the answer."""
        account = self.of_role.get(role, "uploader")
        headers, cookies = {}, {}
        with self.server.web.sessions.begin() as session:
            study = Study(
                id=new_id(),
                title="t",
                content_hash=new_id(),
                state=DONE,
                findings=[],
                series=[],
                file_names={},
                priority=1,
                uploader_id=self.users["uploader"],
            )
            upload = Upload(id=new_id(), title="t", user_id=self.users[account])
            session.add_all([study, upload])
            if role in self.of_role:
                user = session.get(User, self.users[account])
                cookies["meninx"], reader = open_session(session, user)
                headers["x-csrf-token"] = reader.csrf
        if role in self.keys:
            headers["authorization"] = f"Bearer {self.keys[role]}"
        (self.server.settings.uploads / upload.id).mkdir()
        where = path.format(
            study_id=study.id, upload_id=upload.id, name="0.nii", user_id=1, key_id=0, number=1
        )
        self.client.cookies.clear()
        self.client.cookies.update(cookies)
        body = dict(BODIES.get(f"{method} {path}", {}))
        if "study" in body.get("data", {}):
            body["data"] = {"study": study.id}
        return self.client.request(method, where, headers=headers, follow_redirects=False, **body)


def may(answer):
    """Return whether a role was let in: what is wrong with the request itself does not count."""
    if answer.status_code == 303:
        # Signing out leads there too, and takes the cookie away.
        away = answer.headers["location"].startswith("/sign-in")
        return not away or "set-cookie" in answer.headers
    if answer.status_code in (400, 404):
        return not any(word in answer.text for word in ("no such study", "no such upload"))
    return answer.status_code not in (401, 403)


def table_of(server):
    """Return the table of roles and routes as docs/web.md has it."""
    hall = Hall(server)
    lines = ["| route | " + " | ".join(ROLES) + " |", "|---" * (len(ROLES) + 1) + "|"]
    for method, path in sorted(routes(server.app, filled=False), key=lambda route: route[::-1]):
        marks = ["yes" if may(hall.ask(role, method, path)) else "-" for role in ROLES]
        lines.append(f"| {method} `{path}` | " + " | ".join(marks) + " |")
    return lines


@pytest.mark.slow
def test_every_route_admits_the_roles_of_the_table_in_the_docs(server):
    lines = table_of(server)
    assert len(lines) > 40
    missing = [line for line in lines if line not in PAGE.read_text(encoding="utf-8").splitlines()]
    assert not missing, "\n".join(lines)


def test_members_of_another_project_see_nothing_of_a_study(server, series):
    browser, administrator = server.browser(), server.browser("ada")
    study = browser.upload(series, "ours").json()
    administrator.post("/projects", name="elsewhere")
    administrator.post("/users", name="eve", password=PASSWORD, role="reader", project=["2"])
    with server.web.sessions.begin() as session:
        session.query(User).filter_by(name="eve").one().must_change = False
    other = server.browser("eve")
    assert other.client.get("/api/v1/studies").json()["count"] == 0
    assert "ours" not in other.client.get("/").text
    # The same files are a new study in another project, and its members learn nothing.
    theirs = other.upload(series, "theirs")
    assert (theirs.status_code, theirs.json()["created"]) == (201, True)
    assert theirs.json()["id"] != study["id"]
    assert administrator.client.get("/api/v1/studies").json()["count"] == 2
    refused = other.client.post(
        "/api/v1/uploads", json={"project": "general"}, headers=other.headers
    )
    assert refused.status_code == 400
    (eve,) = [user.id for user in server.web.sessions().query(User).filter_by(name="eve")]
    administrator.post(f"/users/{eve}/projects", project=["1", "2"])
    assert other.client.get("/api/v1/studies").json()["count"] == 2
    administrator.post(f"/users/{eve}/projects")
    assert other.client.get("/api/v1/studies").json()["count"] == 0
    begun = other.client.post("/api/v1/uploads", json={}, headers=other.headers)
    assert "ask an administrator" in begun.json()["detail"]


def test_visits_of_another_project_and_withdrawn_ones_are_not_listed(server):
    with server.web.sessions.begin() as session:
        session.add(Project(name="elsewhere"))
        made = {
            name: Study(
                title=name,
                content_hash=name,
                patient_key="k",
                state=DONE,
                findings=[],
                series=[],
                file_names={},
                project_id=2 if name == "elsewhere" else 1,
                withdrawn=now() if name == "withdrawn" else None,
            )
            for name in ("this", "before", "elsewhere", "withdrawn")
        }
        session.add_all(made.values())
        session.flush()
        readers = [
            Reader(user.id, user.name, user.role)
            for user in session.query(User)
            if user.name in ("rene", "ada")
        ]
        seen = {
            reader.name: {study.title for study in other_visits(session, reader, made["this"])}
            for reader in readers
        }
    assert seen == {"rene": {"before"}, "ada": {"before", "elsewhere"}}


def test_a_key_makes_no_keys_and_no_administrators(server):
    key = server.browser("ada").key("node")
    client = server.client()
    client.headers["authorization"] = f"Bearer {key}"
    made = client.post("/account/keys", data={"name": "k", "scope": "node", "days": 9})
    assert made.status_code == 403
    user = {"name": "eve", "password": PASSWORD, "role": "administrator"}
    assert client.post("/users", data=user).status_code == 403
    change = {"old": PASSWORD, "password": "another password", "again": "another password"}
    assert client.post("/account/password", data=change).status_code == 403
    assert client.get("/").status_code == 403
