"""A server with two accounts, in this process; a test scores its studies explicitly."""

import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from fastapi.testclient import TestClient
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import select

from meninx._scoring.worker import Worker
from meninx._synthesis.writing import write_dicom
from meninx._web.app import create_app
from meninx._web.auth import accounts
from meninx._web.auth.accounts import ADMINISTRATOR, Reader, add_token, add_user, open_session
from meninx._web.serving import COOKIE
from meninx._web.store.database import DONE, Study, User, migrate, open_database, sessions_of
from meninx._web.store.settings import Settings
from meninx._web.studies.jobs import Jobs

PASSWORD = "correct horse battery"
# Lowest cost of argon2: checking a password takes 1 ms, and 150 ms at the cost in use.
CHEAP = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))


@pytest.fixture(scope="session", autouse=True)
def cheap_passwords():
    """Hash passwords of this process at the lowest cost; test_accounts checks the real cost."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts, "PASSWORDS", CHEAP)
        yield


@dataclass
class Browser:
    """A client that is signed in, with the CSRF token of its forms."""

    client: TestClient
    csrf: str

    @property
    def headers(self) -> dict[str, str]:
        return {"x-csrf-token": self.csrf}

    def post(self, address, **data):
        return self.client.post(address, data={"csrf": self.csrf, **data}, follow_redirects=False)

    def key(self, scope="node", days=1):
        """Make a key and return it."""
        page = self.client.post(
            "/account/keys",
            data={"csrf": self.csrf, "name": scope, "scope": scope, "days": days},
        ).text
        (key,) = re.findall(r"mnx_[\w-]{20,}", page)
        return key

    def upload(self, files, title="study", *, together=False, spacing=""):
        """Upload {name: bytes}; return the answer to the last request."""
        begin = {"title": title, "spacing": spacing}
        begun = self.client.post("/api/v1/uploads", json=begin, headers=self.headers)
        address = f"/api/v1/uploads/{begun.json()['id']}"
        for name, data in files.items():
            sent = self.client.put(
                f"{address}/parts", params={"name": name}, content=data, headers=self.headers
            )
            assert sent.json() == {"offset": len(data)}
        return self.client.post(
            f"{address}/finish", params={"together": together}, headers=self.headers
        )


@contextmanager
def served(data, *options, log=subprocess.DEVNULL):
    """Start `meninx serve` in processes of its own; yield its address, and stop it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "meninx", "serve", "--port", str(port), "--data", str(data)]
    with subprocess.Popen([*command, *options], stdout=log, stderr=log) as process:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0


class LastingWorker(Worker):
    """A scoring process for all servers of the tests: to start one takes 3 s of the processor."""

    def close(self) -> None:
        """Do nothing: `end` ends the process."""

    def kill(self) -> None:
        """Do nothing: `end` ends the process."""

    def end(self) -> None:
        """End the process."""
        super().close()


LIMITS = (
    Settings.model_fields["worker_bytes"].default,
    Settings.model_fields["worker_seconds"].default,
)
SHARED_WORKER = LastingWorker(*LIMITS)


@pytest.fixture(scope="session", autouse=True)
def scoring():
    """End the scoring process with the tests."""
    yield
    SHARED_WORKER.end()


class Server:
    """The application and what its tests need to know."""

    def __init__(self, settings: Settings, *, with_accounts: bool = True) -> None:
        self.settings = settings
        self.app = create_app(settings)
        self.web = self.app.state.web
        self.jobs = Jobs(settings)
        if (settings.worker_bytes, settings.worker_seconds) == LIMITS:
            self.jobs._worker = SHARED_WORKER
        if not with_accounts:  # the database has them already
            return
        with self.web.sessions.begin() as session:
            session.get_one(User, 1).active = False  # the first administrator
            add_user(session, "ada", PASSWORD, ADMINISTRATOR)
            add_user(session, "rene", PASSWORD)

    def client(self) -> TestClient:
        return TestClient(self.app)

    def browser(self, name: str = "rene", *, by_form: bool = False) -> Browser:
        """Return a client that is signed in: by the form, or by a session made for it."""
        client = self.client()
        if by_form:
            answer = client.post("/sign-in", data={"name": name, "password": PASSWORD})
            assert answer.status_code == 200, answer.text
            (csrf,) = re.findall(r'name="csrf" content="([^"]+)"', answer.text)
            return Browser(client, csrf)
        with self.web.sessions.begin() as session:
            user = session.scalars(select(User).where(User.name == name)).one()
            secret, reader = open_session(session, user)
        client.cookies.set(COOKIE, secret)
        return Browser(client, reader.csrf)

    def work(self, study_id: str) -> None:
        self.jobs.score(study_id)


@pytest.fixture
def server(tmp_path) -> Iterator[Server]:
    yield Server(Settings(data=tmp_path / "data"))


@pytest.fixture
def node_account(tmp_path):
    """A database with an account for a node: settings, what opens sessions, and the node's key."""
    settings = Settings(data=tmp_path / "web")
    settings.data.mkdir()
    migrate(settings.address)
    engine = open_database(settings.address)
    sessions = sessions_of(engine)
    with sessions.begin() as session:
        user = add_user(session, "node", PASSWORD)
        session.flush()
        key = add_token(session, Reader(user.id, "node", "reader"), "node", "node", 1)
    yield settings, sessions, key
    engine.dispose()


@pytest.fixture(scope="session")
def series(tmp_path_factory, sick):
    """A DICOM series with a tumor, as {name: bytes}."""
    folder = tmp_path_factory.mktemp("series")
    write_dicom(sick.scan, folder, 7)
    return {f"case/{path.name}": path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="session")
def scored(tmp_path_factory, series):
    """A server that has scored that series; its id is `study_id`."""
    server = Server(Settings(data=tmp_path_factory.mktemp("scored")))
    study = server.browser().upload(series, "phantom with a tumor").json()
    server.study_id = study["id"]
    server.work(server.study_id)
    return server


@pytest.fixture
def stored(server):
    """Return what stores a study with findings, as a worker leaves it; gives its id."""

    def store(*findings, **more):
        study = Study(
            title="case",
            findings=list(findings),
            chosen=0,
            **{
                "state": DONE,
                "decision": "tumor",
                "content_hash": str(len(findings)) * 64,
            }
            | more,
        )
        with server.web.sessions.begin() as session:
            session.add(study)
            session.flush()
            return study.id

    return store


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import expect, sync_playwright

    from tests.web.browsing import FLAGS

    # Several tests share few cores: with the default of 5 s a busy machine fails.
    expect.set_options(timeout=30_000)

    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed (Debian: chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    context = chromium.new_context(viewport={"width": 1280, "height": 860})
    page = context.new_page()
    page.hosts, page.faults = set(), []
    page.on(
        "request", lambda request: page.hosts.add(re.sub(r"^(\w+://[^/]*).*", r"\1", request.url))
    )
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on(
        "console",
        lambda entry: page.faults.append(entry.text) if "Content Security" in entry.text else None,
    )
    yield page
    context.close()
