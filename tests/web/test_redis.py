"""The queue on Redis: Debian's own server, on a socket that is thrown away again."""

import os
import shutil
import subprocess
import sys
import time

import pytest

from meninx._web.store.database import DONE, Study
from meninx._web.store.settings import Settings
from tests.web.conftest import Server

pytestmark = [pytest.mark.slow]


@pytest.fixture
def redis(tmp_path):
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed (Debian: redis-server)")
    socket = tmp_path / "redis.sock"
    command = [program, "--port", "0", "--unixsocket", socket, "--save", "", "--dir", tmp_path]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while not socket.exists():
            assert process.poll() is None
            time.sleep(0.05)
        yield f"unix://{socket}"
        process.terminate()


def test_a_worker_hears_of_studies_through_redis(tmp_path, redis, series):
    server = Server(Settings(data=tmp_path / "data", redis=redis))
    study_id = server.browser().upload(series, "by redis").json()["id"]
    assert not (tmp_path / "data" / "queue.sqlite").exists()
    command = [sys.executable, "-m", "meninx", "worker", "--data", tmp_path / "data"]
    environment = {**os.environ, "MENINX_WEB_REDIS": redis}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as worker:
        for _ in range(300):
            with server.web.sessions() as session:
                if session.get(Study, study_id).state == DONE:
                    break
            time.sleep(0.2)
        worker.terminate()
    with server.web.sessions() as session:
        assert session.get(Study, study_id).decision == "tumor"
