"""Score uploaded studies: `meninx worker`."""

import os
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from meninx._cli.extras import needs_extra
from meninx._cli.options import LogOption, ModelOption
from meninx._cli.web_options import (
    DatabaseOption,
    DataOption,
    held_worker,
    keep_files_private,
    web_settings,
)
from meninx._errors import OptionError
from meninx._logs import log_of_service

_STANDARD_INPUT = 0


def worker(
    data: DataOption = Path("meninx-data"),
    database: DatabaseOption = "",
    model: ModelOption = None,
    log: LogOption = "text",
    several: Annotated[
        bool,
        typer.Option(
            help="Whether other workers share the database: then studies that they hold stay "
            "theirs, also after a crash, until the lease has run out."
        ),
    ] = False,
    beside: Annotated[
        bool, typer.Option(hidden=True, help="End with the server, which holds standard input.")
    ] = False,
) -> None:
    """Score the web application's waiting studies.

    One at a time; `meninx serve` starts a worker itself.

    Several workers can run, on machines that share the database and the data folder.
    """
    keep_files_private()
    log_of_service(log)
    with needs_extra("web"):
        from meninx._web.studies.jobs import work
    if beside:
        threading.Thread(target=_end_with_server, daemon=True).start()
    settings = web_settings(data, database, model)
    if not settings.data.is_dir():
        raise OptionError(f"no folder {settings.data}; give the server's data folder by --data")
    with held_worker(settings.data, shared=several):
        work(settings, alone=not several)


def _end_with_server() -> None:
    # Read until the end of input, which the server's end closes. Not by `sys.stdin`: this thread
    # would hold its lock when the interpreter shuts down, and Python would abort.
    while os.read(_STANDARD_INPUT, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
