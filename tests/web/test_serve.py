"""`meninx serve` and `meninx worker` in their own processes, as `make demo-web` starts them."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from meninx._web.store.database import Study
from tests.web.conftest import served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ROOT = Path(__file__).parents[2]


def states(data):
    with sqlite3.connect(data / "meninx.sqlite") as database:
        return database.execute("select state, attempts from studies order by received").fetchall()


def wait_for(what, seconds=120):
    for _ in range(seconds * 5):
        if what():
            return
        time.sleep(0.2)
    pytest.fail("it took too long")


def test_synthetic_studies_are_loaded_and_a_killed_worker_s_study_is_scored_once(tmp_path):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "serve --data demo-web --phantoms" in makefile
    with served(tmp_path, "--phantoms", "2"):
        wait_for(lambda: states(tmp_path) and states(tmp_path)[0][0] == "scoring")
        found = subprocess.run(
            ["pgrep", "-f", f"worker --beside --data {tmp_path}"],
            capture_output=True,
            text=True,
            check=True,
        )
        os.kill(int(found.stdout.split()[0]), signal.SIGKILL)
        wait_for(lambda: [state for state, _ in states(tmp_path)] == ["done", "done"])
    (first, second) = states(tmp_path)
    assert first[1] == 2  # scored again after the kill, once
    assert second[1] == 1
    with sqlite3.connect(tmp_path / "meninx.sqlite") as database:
        (scored,) = database.execute(
            "select count(*) from audit where action = 'scored'"
        ).fetchone()
    assert scored == 2
    # Other users of this machine can read neither pixels nor the database nor its journal.
    there = [tmp_path, *tmp_path.rglob("*")]
    assert {path.name for path in there} > {"meninx.sqlite", "signing.key", "files", "shown"}
    modes = {(path.is_dir(), path.stat().st_mode & 0o777) for path in there}
    assert modes == {(True, 0o700), (False, 0o600)}


def test_a_worker_ends_with_the_server_that_was_killed(tmp_path):
    def workers():
        completed = subprocess.run(
            ["pgrep", "-f", f"worker --beside --data {tmp_path}"], capture_output=True, check=False
        )
        return completed.stdout.split()

    command = [sys.executable, "-m", "meninx", "serve", "--port", "0", "--data", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        wait_for(workers)
        server.kill()
    wait_for(lambda: not workers())


@pytest.mark.parametrize("state", ["scoring", "done"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_that_is_stopped_exits_with_status_0(node_account, number, state):
    """It scores a study, or waits for the next one; a thread waits for the end of the server."""
    settings, sessions, _ = node_account
    (settings.studies / ("0" * 24) / "files").mkdir(parents=True)
    with sessions.begin() as session:
        session.add(Study(id="0" * 24, title="no files", content_hash=""))
    command = [sys.executable, "-m", "meninx", "worker", "--beside", "--data", str(settings.data)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as worker:
        wait_for(lambda: states(settings.data) == [(state, 1)])
        worker.send_signal(number)
        worker.wait(30)  # with its input still open, as a server holds it
        errors = worker.stderr.read().decode()
    assert "Fatal Python error" not in errors
    assert worker.returncode == 0, errors
    assert states(settings.data) == [(state, 1)]
