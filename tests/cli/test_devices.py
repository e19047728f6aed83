"""Several processes of one command, started and ended together."""

import sys

import pytest
import typer

from meninx._cli import devices as module
from meninx._cli.data_options import is_dialog
from meninx._cli.devices import start_on_devices
from meninx._errors import OptionError


@pytest.fixture
def ended(monkeypatch, tmp_path):
    """Return the exit status of a command in as many processes, which first run some code."""
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr(module, "cores", lambda: 8)

    def run(*arguments, devices=2, more=(), code=""):
        (tmp_path / "sitecustomize.py").write_text(
            f"import os, sys, time\nrank = os.environ.get('RANK')\n{code}"
        )
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(sys, "argv", ["meninx", *arguments])
        with pytest.raises(typer.Exit) as stopped:
            start_on_devices(devices, 0, *more)
        return stopped.value.exit_code

    return run


def test_all_processes_run_the_command(ended, tmp_path, capfd):
    code = f"open(r'{tmp_path}/' + rank + os.environ['WORLD_SIZE'], 'w')\n"
    assert ended("phantom", "--help", devices=3, code=code) == 0
    assert sorted(path.name for path in tmp_path.glob("?3")) == ["03", "13", "23"]
    # The first alone speaks to the user.
    assert capfd.readouterr().out.count("Usage") == 1


def test_further_options_are_in_front_of_the_user_s(ended, capfd):
    assert ended("train", "--", "data", more=["--recipe", "not-there"]) == 2
    assert "not-there" in capfd.readouterr().err


def test_what_fails_alike_is_said_once(ended, capfd):
    assert ended("train", "data", "--recipe", "not-there", devices=3) == 2
    assert capfd.readouterr().err.count("expected a .toml file") == 1


@pytest.mark.parametrize("status", [1, 2, 3])
def test_what_another_process_alone_says_is_not_lost(ended, capfd, status, monkeypatch):
    code = (
        f"if rank == '1':\n    sys.stderr.write('out of memory')\n    os._exit({status})\n"
        "if rank == '0':\n    time.sleep(1)\n    os._exit(1)\n"
    )
    assert ended("--version", code=code) == status
    assert "out of memory" in capfd.readouterr().err


def test_one_that_hears_no_signal_is_ended(ended, monkeypatch):
    monkeypatch.setattr(module, "FAILING_SECONDS", 0.1)
    monkeypatch.setattr(module, "ENDING_SECONDS", 0.5)
    code = (
        "if rank == '1':\n    os._exit(4)\n"
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(60)\n"
    )
    assert ended("--version", code=code) == 4


@pytest.fixture
def nothing_may_start(monkeypatch):
    def start(*_, **__):
        raise AssertionError("a process was started")

    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr(module.subprocess, "Popen", start)


def test_nothing_is_started_for_one_device_or_twice(nothing_may_start, monkeypatch):
    start_on_devices(1, 0)
    monkeypatch.setenv("RANK", "0")
    start_on_devices(2, 0)


@pytest.mark.parametrize(("gpus", "what"), [(2, "2, the GPUs"), (0, "2, the processor cores")])
def test_more_devices_than_there_are(nothing_may_start, monkeypatch, gpus, what):
    monkeypatch.setattr(module, "cores", lambda: 2)
    with pytest.raises(OptionError, match=what):
        start_on_devices(3, gpus)


def test_no_question_is_asked_of_one_of_several_processes(monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("RANK", raising=False)
    assert is_dialog()
    monkeypatch.setenv("RANK", "0")
    assert not is_dialog()
