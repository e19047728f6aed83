"""Run a command in one process for each of several devices: `--devices`."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import IO, TypeAlias

import typer

from meninx._cli.data_options import cores
from meninx._errors import OptionError
from meninx._processes import is_one_of_several

DevicesOption: TypeAlias = int
DEVICES_OPTION = typer.Option(
    "--devices",
    min=1,
    help="Number of GPUs to train on, one process each; of processor cores, where there is no GPU. "
    "The recipe's batch is that of one process.",
)
# How long the other processes may go on once one has failed: they often fail alike, with the same
# message. Then how long one may take to end in good order.
FAILING_SECONDS, ENDING_SECONDS, POLL_SECONDS = 5.0, 10.0, 0.2
# Exit status of wrong usage, of which all processes say the same.
USAGE = 2


def start_on_devices(devices: int, gpus: int, *more: str) -> None:
    """Start this command again in as many processes as there are devices to use, and end with it.

    Nothing happens for one device, nor in a process that was started so, by this or by torchrun.
    The processes find each other by the variables of torchrun.

    Args:
        devices: Value of `--devices`.
        gpus: Number of GPUs of this machine; 0 where there is none.
        *more: Further options of the command, alike in all processes.

    Raises:
        OptionError: If this machine has fewer GPUs, or fewer cores and no GPU.
        typer.Exit: At the end of the processes, with the exit status of the first that failed.
    """
    if devices == 1 or is_one_of_several():
        return
    most, what = (gpus, "GPUs") if gpus else (cores(), "processor cores")
    if devices > most:
        raise OptionError(f"--devices {devices}: expected at most {most}, the {what} here")
    # As the console script does, without the working folder among the modules.
    command = [sys.executable, "-P", "-m", "meninx", sys.argv[1], *more, *sys.argv[2:]]
    # The first process alone speaks to the user, unless another fails by itself.
    with contextlib.ExitStack() as files:
        logs = [files.enter_context(tempfile.TemporaryFile()) for _ in range(devices - 1)]
        with _started(command, devices, [None, *logs]) as running:
            failed = _first_failures(running)
        alike = running[0].returncode == USAGE
        for rank in failed:
            if rank and not alike:
                logs[rank - 1].seek(0)
                sys.stderr.write(logs[rank - 1].read().decode(errors="replace"))
    status = running[failed[0]].returncode if failed else 0
    raise typer.Exit(status if status >= 0 else 1)


@contextlib.contextmanager
def _started(
    command: Sequence[str], count: int, logs: Sequence[IO[bytes] | None]
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start the processes; at the end, or if this one is to end, none is left."""
    shared = {
        # By this Lightning knows that they were started for it, also within a job of Slurm.
        "TORCHELASTIC_RUN_ID": "meninx",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, cores() // count))),
    }
    running: list[subprocess.Popen[bytes]] = []
    earlier = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        for rank, log in enumerate(logs):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            environment = os.environ | shared | own
            running.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        yield running
    finally:
        for process in running:
            process.terminate()
        for process in running:
            # One that waits for another's tensors hears no signal.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(ENDING_SECONDS)
            process.kill()
            process.wait()
        signal.signal(signal.SIGTERM, earlier)


def _first_failures(running: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    """Wait until all have ended, or one has failed; return the numbers of all that failed first."""
    while True:
        states = [process.poll() for process in running]
        failed = [rank for rank, status in enumerate(states) if status]
        if failed:
            deadline = time.monotonic() + FAILING_SECONDS
            while None in [one.poll() for one in running] and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
            return failed
        if None not in states:
            return []
        time.sleep(POLL_SECONDS)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
