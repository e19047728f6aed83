"""Several processes of one command, started and ended together."""

import sys

import pytest
import typer

from meninx.cli.devices import start_on_devices
from meninx.errors import OptionError


def ended(monkeypatch, *arguments, devices=2, more=()):
    """Return the exit status of a command in as many processes."""
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr(sys, "argv", ["meninx", *arguments])
    with pytest.raises(typer.Exit) as stopped:
        start_on_devices(devices, 0, *more)
    return stopped.value.exit_code


def test_all_processes_run_the_command(monkeypatch, tmp_path, capfd):
    status = ended(monkeypatch, "phantom", more=[str(tmp_path / "made"), "--count", "1"])
    assert status == 0
    assert (tmp_path / "made/manifest.csv").is_file()
    # The first alone speaks to the user.
    assert "".join(capfd.readouterr()).count("truth in") == 1


def test_what_fails_alike_is_said_once(monkeypatch, capfd):
    assert ended(monkeypatch, "train", "data", "--recipe", "not-there", devices=3) == 2
    assert capfd.readouterr().err.count("expected a .toml file") == 1


def test_what_another_process_alone_says_is_not_lost(monkeypatch, tmp_path, capfd):
    script = tmp_path / "sitecustomize.py"
    script.write_text(
        "import os, sys, time\n"
        "if os.environ.get('RANK') == '1':\n"
        "    sys.stderr.write('out of memory')\n"
        "    os._exit(3)\n"
        "if os.environ.get('RANK') == '0':\n"
        "    time.sleep(60)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr("meninx.cli.devices.FAILING_SECONDS", 0.1)
    assert ended(monkeypatch, "--version") == 3
    assert "out of memory" in capfd.readouterr().err


def test_nothing_is_started_for_one_device_or_twice(monkeypatch):
    start_on_devices(1, 0)
    monkeypatch.setenv("RANK", "0")
    start_on_devices(2, 0)


def test_more_devices_than_there_are(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(OptionError, match="at most 2"):
        start_on_devices(3, 2)
