"""Run meninx's commands where a process of their own is not what is tested."""

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from meninx._cli import main


@dataclass(frozen=True)
class Outcome:
    """What came of a command.

    Args:
        returncode: Exit status.
        stdout: What it wrote to standard output.
        stderr: What it wrote to standard error.
    """

    returncode: int
    stdout: str
    stderr: str


def meninx(*arguments: object, cwd: Path | None = None) -> Outcome:
    """Run a command in this process: a new one imports PyTorch and Lightning for 6 seconds.

    Args:
        arguments: As on the command line.
        cwd: Folder to run in; None for the present one.

    Returns:
        Exit status and output. An exception that the command line lets through comes through.
    """
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="") for _ in range(2)]
    status: str | int | None = 0
    with (
        contextlib.chdir(cwd or Path.cwd()),
        contextlib.redirect_stdout(streams[0]),
        contextlib.redirect_stderr(streams[1]),
        mock.patch.object(sys, "argv", ["meninx", *map(str, arguments)]),
        mock.patch.dict(os.environ),
        _as_in_a_new_process(),
    ):
        try:
            main()
        except SystemExit as ended:
            status = ended.code
    said = []
    for stream in streams:
        stream.flush()
        said.append(stream.buffer.getvalue().decode("utf-8"))
    return Outcome(status if isinstance(status, int) else int(status is not None), *said)


@contextlib.contextmanager
def _as_in_a_new_process() -> Iterator[None]:
    """Begin without handlers of logs and filters of warnings; leave no trace of new ones."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    try:
        with warnings.catch_warnings():
            yield
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)
