"""Telemetry is off before a library is imported, and caches go with the process."""

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from meninx._quiet import TELEMETRY_OFF, cache_in_temporary_folder, turn_off_telemetry
from meninx._synthesis.writing import write_dicom
from tests.watched import Place

CACHES = ("XDG_CACHE_HOME", "MPLCONFIGDIR", "TORCHINDUCTOR_CACHE_DIR", "TORCH_HOME")


@pytest.fixture
def environment(monkeypatch):
    """The process's variables, put back afterwards; no telemetry is off, no cache is named."""
    for name in (*TELEMETRY_OFF, *CACHES):
        monkeypatch.setenv(name, "")  # noted, to be put back
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize("value", ["0", "", "false", "1"])
def test_telemetry_is_off_whatever_the_environment_says(environment, value):
    environment.delitem(sys.modules, "onnxruntime", raising=False)
    for name in TELEMETRY_OFF:
        environment.setenv(name, value)
    turn_off_telemetry()
    assert {name: os.environ[name] for name in TELEMETRY_OFF} == TELEMETRY_OFF


@pytest.mark.parametrize(("value", "warned"), [("0", 1), ("", 1), ("1", 0), ("true", 0)])
def test_a_runtime_that_was_imported_before_is_asked_and_warned_of(environment, value, warned):
    asked = []
    imported = SimpleNamespace(disable_telemetry_events=lambda: asked.append("off"))
    environment.setitem(sys.modules, "onnxruntime", imported)
    environment.setenv("ORT_DISABLE_TELEMETRY", value)
    if warned:
        with pytest.warns(UserWarning, match="imported before meninx"):
            turn_off_telemetry()
    else:
        turn_off_telemetry()
    assert len(asked) == warned


# As a program of the user's own, whose environment turns nothing off.
PROGRAM = """
import sys
import meninx
detector = meninx.load_detector()
print(*(finding.status for finding in map(detector.score, meninx.read_scans(sys.argv[1]))))
"""


def test_a_program_that_imports_meninx_asks_for_nothing_and_leaves_nothing(sick, tmp_path):
    write_dicom(sick.scan, tmp_path / "series", 7)
    place = Place.made(tmp_path / "watched")
    with place.running("-c", PROGRAM, tmp_path / "series") as process:
        process.wait(200)
    assert place.said() == "scored\n"
    assert place.asked() == []
    assert place.left() == []


CACHING = """
import os, signal, sys
from pathlib import Path
from meninx._quiet import cache_in_temporary_folder
cache_in_temporary_folder()
for name in ("XDG_CACHE_HOME", "MPLCONFIGDIR", "TORCHINDUCTOR_CACHE_DIR"):
    folder = Path(os.environ[name])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "file").touch()
    print(folder.is_relative_to(os.environ["TMPDIR"]), flush=True)
if not os.fork():  # a process of its own, which is no longer needed
    os.kill(os.getpid(), signal.SIGTERM)
os.wait()
print(len(list(Path(os.environ["TMPDIR"]).iterdir())), flush=True)
if len(sys.argv) > 1:
    os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.parametrize(("how", "status"), [((), 0), (("stopped",), -signal.SIGTERM)])
def test_what_libraries_cache_goes_with_the_process(environment, tmp_path, how, status):
    environment.setenv("TMPDIR", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", CACHING, *how], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (status, "True\n" * 3 + "1\n"), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_caches_that_the_environment_names_stay_there(environment):
    environment.setenv("XDG_CACHE_HOME", "/named/cache")
    environment.setenv("MPLCONFIGDIR", "/named/matplotlib")
    environment.delenv("TORCH_HOME", raising=False)
    environment.setattr("meninx._quiet.atexit.register", lambda *_, **__: None)
    cache_in_temporary_folder()
    assert os.environ["XDG_CACHE_HOME"] == "/named/cache"
    assert os.environ["MPLCONFIGDIR"] == "/named/matplotlib"
    # Weights that were fetched for `--init imagenet` are found where PyTorch put them.
    assert os.environ["TORCH_HOME"] == "/named/cache/torch"


def test_without_a_folder_for_temporary_files_nothing_is_named(environment):
    def none():
        raise FileNotFoundError("no usable temporary directory found")

    environment.setattr("meninx._quiet.tempfile.gettempdir", none)
    cache_in_temporary_folder()
    assert "XDG_CACHE_HOME" not in os.environ
