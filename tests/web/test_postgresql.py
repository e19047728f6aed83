"""The same application on PostgreSQL: Debian's own, in a cluster that is thrown away again."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, select
from sqlalchemy.exc import DatabaseError

from meninx._errors import OptionError
from meninx._web.store.backup import restore_web, save_web
from meninx._web.store.database import (
    DONE,
    SCORING,
    AuditEntry,
    Study,
    existing_sessions,
    latest_revision,
    migrate,
    now,
    open_database,
    revision_of,
)
from meninx._web.store.settings import Settings
from tests.web.conftest import Server
from tests.web.first_revision import write_first_revision
from tests.web.test_arrival import exam, finish_halves_at_once

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module")
def postgresql():
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    programs = found[-1].parent
    # It refuses to run as root; Debian's package brings a user for it.
    before = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    folder = Path(tempfile.mkdtemp(prefix="meninx-pg-"))
    if before:
        shutil.chown(folder, "postgres")

    def run(*command):
        subprocess.run([*before, *map(str, command)], check=True, capture_output=True, cwd="/")

    run(programs / "initdb", "--auth=trust", "--username=meninx", "-D", folder / "data")
    options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
    run(
        programs / "pg_ctl",
        "-D",
        folder / "data",
        "-o",
        options,
        "-w",
        "-l",
        folder / "log",
        "start",
    )
    yield f"postgresql+psycopg://meninx@/postgres?host={folder}"
    run(programs / "pg_ctl", "-D", folder / "data", "-m", "immediate", "stop")
    shutil.rmtree(folder, ignore_errors=True)


def test_a_study_on_postgresql_from_upload_to_opinion(postgresql, tmp_path, series, monkeypatch):
    server = Server(Settings(data=tmp_path, database=postgresql))
    browser = server.browser()
    uploaded = browser.upload(series, "on PostgreSQL").json()
    server.work(uploaded["id"])
    server.work(uploaded["id"])
    with server.web.sessions() as session:
        study = session.get(Study, uploaded["id"])
        assert (study.decision, study.attempts) == ("tumor", 1)
        assert study.received.tzinfo is not None
    browser.post(f"/studies/{uploaded['id']}/opinions", verdict="tumor", note="so it is")
    assert "so it is" in browser.client.get(f"/studies/{uploaded['id']}").text
    listed = browser.client.get("/api/v1/studies", params={"search": "POSTGRES"}).json()
    assert listed["count"] == 1
    assert browser.upload(series).status_code == 200
    (first, second), joined = finish_halves_at_once(server, series, monkeypatch)
    assert first == second != uploaded["id"]
    assert joined == [False, True]
    engine = open_database(postgresql)
    for line in ("UPDATE audit SET user_name = 'x'", "DELETE FROM audit"):
        with pytest.raises(DatabaseError, match="append-only"), engine.begin() as connection:
            connection.exec_driver_sql(line)
    server.web.sessions.kw["bind"].dispose()
    server.jobs.close()
    migrate(postgresql, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    migrate(postgresql)
    engine.dispose()


def test_a_backup_of_the_first_revision_is_restored_and_upgraded(postgresql, tmp_path):
    engine = create_engine(postgresql, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for name in ("before", "after"):
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    before, after = (postgresql.replace("/postgres?", f"/{name}?") for name in ("before", "after"))
    migrate(before, "0001")
    old = Settings(data=tmp_path / "old", database=before)
    write_first_revision(old)
    facts = save_web(old, tmp_path / "backup")
    assert (facts["database"], facts["revision"], facts["files"]) == ("postgresql", "0001", 1)
    new = Settings(data=tmp_path / "new", database=after)
    assert restore_web(tmp_path / "backup", new) == []
    assert revision_of(after) == latest_revision()
    with existing_sessions(after) as sessions, sessions() as session:
        assert session.scalars(select(Study.title)).all() == ["kept"]
    with pytest.raises(OptionError, match="tables already"):
        restore_web(tmp_path / "backup", Settings(data=tmp_path / "x", database=after))
    with pytest.raises(OptionError, match="PostgreSQL"):
        restore_web(tmp_path / "backup", Settings(data=tmp_path / "y"))


def wait_for(what, seconds=120):
    ends = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < ends, "it took too long"
        time.sleep(0.1)


@pytest.mark.timeout(300)
def test_workers_share_studies_and_a_killed_one_s_study_waits_for_its_lease(
    postgresql, tmp_path, series
):
    engine = create_engine(postgresql, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE shared")
    engine.dispose()
    address = postgresql.replace("/postgres?", "/shared?")
    server = Server(Settings(data=tmp_path, database=address))
    browser = server.browser()
    uploaded = {
        browser.upload(exam(series, "P1", f"1.2.{number}")).json()["id"] for number in range(6)
    }

    def studies():
        with server.web.sessions() as session:
            return list(session.scalars(select(Study)))

    def in_state(state):
        return [study for study in studies() if study.state == state]

    command = [sys.executable, "-m", "meninx", "worker", "--several", "--data", str(tmp_path)]
    command += ["--database", address]
    workers = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(2)]
    try:
        wait_for(lambda: len(in_state(SCORING)) == 2)
        workers[0].kill()
        wait_for(lambda: len(in_state(DONE)) == len(uploaded) - 1)
        (left,) = in_state(SCORING)
        assert left.attempts == 1
        with server.web.sessions.begin() as session:
            session.get_one(Study, left.id).lease = now() - timedelta(seconds=1)
        wait_for(lambda: len(in_state(DONE)) == len(uploaded))
    finally:
        for worker in workers:
            worker.terminate()
            worker.wait(30)
    assert {study.id: study.attempts for study in studies()} == {
        study_id: 2 if study_id == left.id else 1 for study_id in uploaded
    }
    with server.web.sessions() as session:
        scored = select(AuditEntry.study_id).where(AuditEntry.action == "scored")
        assert Counter(session.scalars(scored)) == dict.fromkeys(uploaded, 1)
    server.web.sessions.kw["bind"].dispose()
    server.jobs.close()
