"""Run a command in one process for each of several devices: `--devices`."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import IO, TypeAlias

import typer

from meninx.cli.data_options import cores
from meninx.errors import OptionError

DevicesOption: TypeAlias = int
DEVICES_OPTION = typer.Option(
    "--devices",
    min=1,
    help="GPUs of this machine that train together, each in a process of its own; processes, "
    "where there is no GPU.",
)
# How long the other processes may go on once one has failed: they often fail alike, with the same
# message.
FAILING_SECONDS, POLL_SECONDS = 5.0, 0.2


def start_on_devices(devices: int, gpus: int, *more: str) -> None:
    """Start this command again in as many processes as there are devices to use, and end with it.

    Nothing happens for one device, nor in a process that was started so, by this or by torchrun.
    The processes find each other by the variables of torchrun.

    Args:
        devices: Value of `--devices`.
        gpus: Number of GPUs of this machine; 0 where there is none.
        *more: Further arguments of the command, alike in all processes.

    Raises:
        OptionError: If this machine has GPUs, but fewer.
        typer.Exit: At the end of the processes, with the exit status of the first that failed.
    """
    if devices == 1 or "RANK" in os.environ:
        return
    if 0 < gpus < devices:
        raise OptionError(f"--devices {devices}: expected at most {gpus}, the GPUs of this machine")
    command = [sys.executable, "-m", "meninx", *sys.argv[1:], *more]
    shared = {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(devices), "LOCAL_WORLD_SIZE": str(devices),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, cores() // devices))),
    }  # fmt: skip
    # Only the first process speaks to the user, unless another fails by itself.
    with contextlib.ExitStack() as open_files:
        logs: list[IO[bytes] | None] = [None]
        logs += [open_files.enter_context(tempfile.TemporaryFile()) for _ in range(devices - 1)]
        running = [
            subprocess.Popen(
                command,
                env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdout=log,
                stderr=log,
            )
            for rank, log in enumerate(logs)
        ]
        try:
            failed = _first_failure(running)
        finally:
            for process in running:
                process.terminate()
                process.wait()
        if failed is None:
            raise typer.Exit(0)
        log = logs[failed]
        if log is not None and running[0].returncode != running[failed].returncode:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace"))
        raise typer.Exit(running[failed].returncode if running[failed].returncode > 0 else 1)


def _first_failure(running: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """Wait until all have ended, or one has failed; return its number, None if all went well."""
    while True:
        states = [process.poll() for process in running]
        failed = next((rank for rank, status in enumerate(states) if status), None)
        if failed is not None:
            deadline = time.monotonic() + FAILING_SECONDS
            while None in [one.poll() for one in running] and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
            return failed
        if None not in states:
            return None
        time.sleep(POLL_SECONDS)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
