"""Hold the reader and the detector to inputs that lie: a typed answer, soon, and nothing else."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.corpus import Case, all_cases

CASES = all_cases()
ROOT = Path(__file__).parents[2]
# Of the processor, which a busy neighbor on the same core makes up to twice as slow; what waits for
# ever meets pytest's limit.
MAX_SECONDS, MAX_MEGABYTES = 4.0, 1024


class Worker:
    """Keep a process that scores; a new one where it died.

    Args:
        folder: Its working folder, which must stay empty.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.errors = (folder.parent / "stderr").open("w+")
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            cwd=self.folder,
            env={"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "PATH": "/usr/bin:/bin"},
        )
        assert self._process.stdout is not None
        assert json.loads(self._process.stdout.readline()) == {"ready": True}

    def score(self, path: Path) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(str(path)) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            self._process.stdin.close()
            self._process.stdout.close()
            self._start()
            return {"died": status}
        response: dict[str, Any] = json.loads(line)
        return response

    def close(self) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()
        with self.errors:
            self.errors.seek(0)
            return self.errors.read()


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    folder = tmp_path_factory.mktemp("worker") / "empty"
    folder.mkdir()
    worker = Worker(folder)
    yield worker
    said = worker.close()
    # gdcm's C code grumbles there about broken JPEG.
    assert "Traceback" not in said, said
    assert not list(folder.iterdir())


def test_the_corpus_is_large():
    assert len(CASES) >= 150


@pytest.mark.parametrize(("name", "case"), CASES.items(), ids=CASES)
def test_a_typed_answer_soon(name: str, case: Case, worker: Worker, tmp_path: Path):
    path = case.make(tmp_path)
    before = sorted(map(str, tmp_path.rglob("*")))
    response = worker.score(path)
    assert "died" not in response, f"the process ended with {response['died']}"
    assert response["outcomes"], "no answer at all"
    if case.right is not None:
        assert set(response["outcomes"]) <= set(case.right)
    assert response["seconds"] < MAX_SECONDS
    assert response["megabytes"] < MAX_MEGABYTES
    assert sorted(map(str, tmp_path.rglob("*"))) == before
    assert not Path("/tmp/meninx-was-here.png").exists()
