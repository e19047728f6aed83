"""The same application on PostgreSQL: Debian's own, in a cluster that is thrown away again."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from sqlalchemy import inspect
from sqlalchemy.exc import DatabaseError

from meninx._web.store.database import Study, migrate, open_database
from meninx._web.store.settings import Settings
from tests.web.conftest import Server
from tests.web.test_arrival import finish_halves_at_once

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


def test_the_way_of_a_study_on_postgresql(postgresql, tmp_path, series, monkeypatch):
    server = Server(Settings(data=tmp_path, database=postgresql))
    browser = server.browser()
    told = browser.upload(series, "on PostgreSQL").json()
    server.work(told["id"])
    server.work(told["id"])
    with server.web.sessions() as session:
        study = session.get(Study, told["id"])
        assert (study.decision, study.attempts) == ("tumor", 1)
        assert study.received.tzinfo is not None
    browser.post(f"/studies/{told['id']}/opinions", verdict="agree", note="so it is")
    assert "so it is" in browser.client.get(f"/studies/{told['id']}").text
    listed = browser.client.get("/api/v1/studies", params={"search": "POSTGRES"}).json()
    assert listed["count"] == 1
    assert browser.upload(series).status_code == 200
    (first, second), joined = finish_halves_at_once(server, series, monkeypatch)
    assert first == second != told["id"]
    assert joined == [False, True]
    engine = open_database(postgresql)
    for line in ("UPDATE audit SET user_name = 'x'", "DELETE FROM audit"):
        with pytest.raises(DatabaseError, match="append-only"), engine.begin() as connection:
            connection.exec_driver_sql(line)
    server.web.sessions.kw["bind"].dispose()
    server.web.jobs.close()
    migrate(postgresql, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    migrate(postgresql)
    engine.dispose()
