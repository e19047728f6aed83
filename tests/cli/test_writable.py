"""What the system refuses is one sentence and exit status 2, before anything is worked for."""

import errno
import multiprocessing
import os
import socket
import sqlite3
import tempfile
from pathlib import Path

import pytest
import sqlalchemy
import torch

import meninx._cli
from meninx._cli import writable
from meninx._cli.writable import check_file, check_folder, held_folder
from meninx._errors import OptionError
from meninx._learn.fit.checkpoints import DirectCheckpointIO
from meninx._system_errors import system_error_in_words
from tests.commands import meninx as run

# What each verb writes to, as `{}`, with the least that it needs beside.
VERBS = {
    "predict": ("predict", "x.png", "--output", "{}"),
    "predict, objects": ("predict", "x.png", "--dicom-out", "{}"),
    "explain": ("explain", "x.png", "--output", "{}"),
    "prepare": ("prepare", ".", "--output", "{}/manifest.csv"),
    "audit": ("audit", ".", "--output", "{}/audit.html"),
    "train": ("train", ".", "--recipe", "smoke", "--output", "{}"),
    "preview": ("train", "--preview", "{}/page.html"),
    "evaluate": ("evaluate", "meninx", ".", "--output", "{}"),
    "crossvalidate": ("crossvalidate", ".", "--output", "{}"),
    "phantom": ("phantom", "{}"),
    "export": ("export", "x.onnx", "--data", ".", "--output", "{}/y.onnx"),
    "bench": ("bench", "--output", "{}"),
    "demo": ("demo", "--output", "{}"),
    "score-archive": ("score-archive", ".", "--out", "{}"),
    "deidentify": ("deidentify", ".", "--output", "{}", "--key", "key"),
    "fetch-study": ("fetch-study", "1.2.3", "--from", "http://127.0.0.1:9", "--output", "{}"),
    "export-opinions": ("export-opinions", "{}", "--data", "web"),
    "serve": ("serve", "--port", "0", "--data", "{}"),
    "receive": ("receive", "--port", "0", "--data", "{}"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_outputs_are_tried_before_any_work(verb, tmp_path):
    (tmp_path / "taken").write_text("a file")
    for place, why in (("taken/inside", "a file stands"), ("n" * 300, "too long")):
        done = run(*(part.format(place) for part in VERBS[verb]), cwd=tmp_path)
        assert done.returncode == 2
        line = done.stderr.splitlines()[-1]
        assert why in line
        assert line.startswith("meninx: ")
        assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken"]


@pytest.mark.parametrize("verb", ["serve", "receive"])
def test_a_port_that_is_taken_is_said(verb, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run(verb, "--host", "127.0.0.1", "--port", port, "--data", tmp_path / "data")
    assert done.returncode == 2
    assert "another program listens on this port" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("command", "kind", "advice"),
    [
        ("receive", "node", "each node needs a data folder of its own"),
        ("worker", "worker", "each worker with --several"),
        ("worker --several", "worker", "each worker with --several"),
        ("serve", "worker", "start the server with --no-worker"),
    ],
)
def test_a_second_service_on_one_data_folder_is_refused(
    command, kind, advice, tmp_path, monkeypatch
):
    """Two nodes would each take the other's deliveries for interrupted ones, and send them."""
    monkeypatch.setattr(writable, "_PATIENCE_SECONDS", 0.0)
    port = () if "worker" in command else ("--port", "0")
    with held_folder(tmp_path, kind, ""):
        done = run(*command.split(), *port, "--data", tmp_path)
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert f"another {kind} works in it" in line and advice in line
    assert not list(tmp_path.glob("*.sqlite"))
    with held_folder(tmp_path, kind, "", shared=True), held_folder(tmp_path, kind, "", shared=True):
        pass  # it was let go of, and several workers may share it


def test_a_worker_without_a_data_folder_says_so(tmp_path):
    done = run("worker", "--data", tmp_path / "nodata")
    assert done.returncode == 2
    assert "nodata; give the server's data folder by --data" in done.stderr
    assert not (tmp_path / "nodata").exists()


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (errno.ENOSPC, "disk full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "no permission"),
        (errno.EPERM, "no permission"),
    ],
)
def test_a_disk_that_takes_nothing_is_said(number, why, tmp_path, monkeypatch):
    def refuse(**_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    for check in (check_folder, check_file):
        with pytest.raises(OptionError, match=f"--output .*{why}"):
            check(tmp_path / "out", "--output")


def test_files_that_are_there_are_tried_and_stay(tmp_path):
    file = tmp_path / "page.html"
    file.write_text("before")
    check_file(file, "--output")
    assert file.read_text() == "before"
    with pytest.raises(OptionError, match="a folder stands where a file is wanted"):
        check_file(tmp_path, "--output")
    with pytest.raises(OptionError, match="a file stands"):
        check_folder(file, "--output")


def full_disk():
    with Path("/dev/full").open("wb", buffering=0) as file:
        file.write(b"x")


def full_by_cause():
    try:
        full_disk()
    except OSError as error:
        raise ValueError("could not write") from error


def full_checkpoint():
    with Path("/dev/full").open("wb") as file:
        torch.save({"weights": torch.zeros(100_000)}, file)


def quoted():
    raise RuntimeError("writer: No space left on device (os error 28)")


def sqlite_full():
    with sqlite3.connect(":memory:") as base:
        base.execute("pragma max_page_count = 2")
        base.execute("create table t (x)")
        base.execute("insert into t values (zeroblob(100000))")


def no_database():
    sqlalchemy.create_engine("sqlite:////proc/none/x.sqlite").connect()


def no_semaphores():
    # A number that no semaphore takes: the call fails where a closed /dev/shm makes it fail.
    multiprocessing.get_context("spawn").Semaphore(-1)


@pytest.mark.parametrize(
    ("work", "why"),
    [
        (full_disk, "disk full"),
        (full_by_cause, "disk full"),
        (full_checkpoint, "disk full"),
        (quoted, "disk full"),
        (sqlite_full, "disk full"),
        (no_database, "can't be opened"),
        (no_semaphores, "/dev/shm"),
    ],
)
def test_the_boundary_says_it_once_and_in_one_line(work, why, monkeypatch):
    monkeypatch.setattr(meninx._cli, "app", work)
    done = run("anything")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert why in line


def test_faults_of_our_own_keep_their_traceback(monkeypatch):
    def fault():
        raise KeyError("x")

    monkeypatch.setattr(meninx._cli, "app", fault)
    with pytest.raises(KeyError):
        run("anything")
    assert system_error_in_words(KeyError("x")) is None


def test_a_checkpoint_on_a_full_disk_is_an_error_of_the_system(tmp_path):
    (tmp_path / "last.ckpt.part").symlink_to("/dev/full")
    with pytest.raises(Exception) as raised:
        DirectCheckpointIO().save_checkpoint({"w": torch.zeros(9_999)}, tmp_path / "last.ckpt")
    assert "disk full" in (system_error_in_words(raised.value) or "")
