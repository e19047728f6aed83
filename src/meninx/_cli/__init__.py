"""The command line: a module per verb, imported only when the verb is called."""

import atexit
import gc
import io
import logging
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from meninx._cli.sections import SECTION_OF_VERB
from meninx._cli.start import no_collection
from meninx._errors import MeninxError, PeerError
from meninx._logs import log_style
from meninx._quiet import cache_in_temporary_folder, quiet_libraries

# In the order of the help, which is that of a new user's needs.
VERBS = (
    "demo",
    "predict",
    "explain",
    "audit",
    "prepare",
    "train",
    "evaluate",
    "crossvalidate",
    "phantom",
    "export",
    "bench",
    "serve",
    "worker",
    "reset-password",
    "verify-opinions",
    "export-opinions",
    "receive",
    "send",
    "fetch-study",
    "deidentify",
    "score-archive",
    "config",
    "backup",
    "restore",
)
NOT_ALL_DONE, WRONG_USAGE = 1, 2


class Verbs(TyperGroup):
    """The group of all verbs, which imports the called verb only."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """Return all verbs."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """Return the command of a verb; None if the verb is unknown."""
        if cmd_name not in VERBS:
            return None
        name = cmd_name.replace("-", "_")
        with no_collection():
            verb = getattr(import_module(f"meninx._cli.{name}"), name)
        section = SECTION_OF_VERB.get(cmd_name)
        if section is None:
            return command_of(cmd_name, verb)
        from meninx._cli.config_file import name_variables, with_config

        command = command_of(cmd_name, with_config(verb, section))
        name_variables(command, section)
        return command


def command_of(name: str, verb: Callable[..., object]) -> Any:
    """Return the command of a verb's function."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name)(verb)
    return typer.main.get_command(app)


app = typer.Typer(
    cls=Verbs,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _show_version(is_requested: bool) -> None:
    if is_requested:
        from meninx._detect.model_card import shipped_license
        from meninx._version import __version__

        typer.echo(f"meninx {__version__}, Apache-2.0; for research, not for diagnosis")
        typer.echo(f"detector's weights: {shipped_license()}")
        raise typer.Exit


@app.callback()
def meninx(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """Find tumors in brain MRI. For research, not for diagnosis."""


def main() -> None:
    """Run the command line; a MeninxError becomes one line and an exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # File names may contain characters that a terminal, or a redirection of Windows, lacks.
            stream.reconfigure(errors="backslashreplace")
    # At the end Python looks through all that was imported, an eighth of a short command's time.
    atexit.register(gc.freeze)
    quiet_libraries()
    cache_in_temporary_folder()
    try:
        app()
    except MeninxError as error:
        _say(str(error))
        sys.exit(NOT_ALL_DONE if isinstance(error, PeerError) else WRONG_USAGE)
    except BrokenPipeError:
        # The reader of the output, such as `head`, has closed it.
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        from meninx._system_errors import system_error_in_words

        message = system_error_in_words(error)
        if message is None:
            raise
        _say(message)
        sys.exit(WRONG_USAGE)


def _say(message: str) -> None:
    """Write why a command ends: as a line, or into the log of a service that writes JSON."""
    if log_style() == "json":
        logging.getLogger("meninx").critical("%s", message)
    else:
        typer.echo(f"meninx: {message}", err=True)
