"""Options that commands of the web application share."""

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meninx._cli.extras import needs_extra
from meninx._cli.writable import held_folder
from meninx._errors import OptionError

if TYPE_CHECKING:
    from meninx._web.store.settings import Settings

# Addresses that no other machine reaches.
LOCAL = ("127.0.0.1", "localhost", "::1")
DataOption = Annotated[Path, typer.Option("--data", help="Folder of the database and the studies.")]
DatabaseOption = Annotated[
    str,
    typer.Option(
        "--database",
        help="Address of another database, such as postgresql+psycopg://user@host/name.",
        show_default="SQLite in the data folder",
    ),
]


def keep_files_private() -> None:
    """Make all files of this process and its children readable for its user alone."""
    os.umask(0o077)


def web_settings(data: Path, database: str, model: Path | None) -> "Settings":
    """Return the settings: options where they are given, the environment for the rest."""
    with needs_extra("web"):
        from pydantic import ValidationError

        from meninx._web.store.settings import Settings
    try:
        settings = Settings(data=data)
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise OptionError(
            f"MENINX_WEB_... of the environment, or [web] of --config: {'; '.join(faults)}"
        ) from error
    if database:
        settings.database = database
    if model is not None:
        settings.model = model.resolve()
    return settings


def held_worker(data: Path, *, shared: bool) -> AbstractContextManager[None]:
    """Hold a server's data folder for a worker; see `held_folder`."""
    advice = "for more workers start the server with --no-worker and each worker with --several"
    return held_folder(data, "worker", advice, shared=shared)
