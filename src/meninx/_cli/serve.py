"""Serve the web application: `meninx serve`."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meninx._cli.extras import needs_extra
from meninx._cli.options import LogOption, ModelOption
from meninx._cli.web_options import (
    LOCAL,
    DatabaseOption,
    DataOption,
    held_worker,
    keep_files_private,
    web_settings,
)
from meninx._cli.writable import bound_socket, check_folder
from meninx._logs import LogStyle, log_of_service

if TYPE_CHECKING:
    from meninx._web.store.settings import Settings

# Pause between a worker that ended and the next one, s.
_PAUSE_SECONDS = 1.0
_LOG = logging.getLogger(__name__)


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
    data: DataOption = Path("meninx-data"),
    database: DatabaseOption = "",
    model: ModelOption = None,
    log: LogOption = "text",
    worker: Annotated[
        bool, typer.Option(help="Score studies on this machine, in a process beside the server.")
    ] = True,
    phantoms: Annotated[
        int,
        typer.Option(min=0, help="Synthetic studies to load first, where there are none."),
    ] = 0,
) -> None:
    """Serve the web application.

    In it people upload studies, read them with their findings, and give opinions.

    On the first start an administrator is made, whose password is logged here once. Other settings
    come from `--config` or the environment, as MENINX_WEB_NAME; docs/web.md lists them. For
    research, not for diagnosis.
    """
    keep_files_private()
    log_of_service(log)
    with needs_extra("web"):
        import uvicorn

        from meninx._web.app import create_app
    settings = web_settings(data, database, model)
    if host not in LOCAL and not settings.secure_cookies:
        _LOG.warning(
            "listening beyond this machine without TLS: put a proxy with TLS in front and set "
            "MENINX_WEB_SECURE_COOKIES=1 (docs/deploy.md)"
        )
    check_folder(settings.data, "--data")
    listener = bound_socket(host, port)
    if worker:
        with held_worker(settings.data, shared=False):
            pass  # refused now, and not by each worker that is started below
    app = create_app(settings, on_password=_show_password)
    stop = threading.Event()
    keeper = threading.Thread(target=_keep_worker, args=(settings, stop, log), daemon=True)
    if worker:
        keeper.start()
    if phantoms:
        from meninx._web.demonstration import load_phantoms

        # One after the other, as people would upload them.
        threading.Thread(target=load_phantoms, args=(app.state.web, phantoms), daemon=True).start()
    _LOG.info("http://%s:%d", host, listener.getsockname()[1])
    # uvicorn shuts down in good order and then raises the signal again.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    config = uvicorn.Config(
        app, log_config=None, access_log=False, proxy_headers=True, timeout_graceful_shutdown=10
    )
    try:
        with listener, suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
    finally:
        stop.set()
        if worker:
            keeper.join(timeout=15)


def _show_password(password: str) -> None:
    _LOG.info("first start. Sign in as admin with the password %s", password)


def _keep_worker(settings: "Settings", stop: threading.Event, log: LogStyle) -> None:
    """Run a worker, and another one whenever it ends, until stopped."""
    command = [sys.executable, "-m", "meninx", "worker", "--beside"]
    command += ["--data", str(settings.data), "--log", log]
    environment = {**os.environ, "MENINX_WEB_DATABASE": settings.database}
    if settings.model is not None:
        environment["MENINX_WEB_MODEL"] = str(settings.model)
    while not stop.is_set():
        # The pipe closes when this process ends, even if it is killed: the worker then ends too.
        with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE) as process:
            while process.poll() is None and not stop.is_set():
                time.sleep(0.2)
            if stop.is_set() and process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
        stop.wait(_PAUSE_SECONDS)
