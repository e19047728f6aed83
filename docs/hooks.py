"""Pages that `make docs` generates: commands from their help, modules from their docstrings."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from mkdocs.structure.files import File, Files

from meninx._cli import VERBS, Verbs


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages of commands and of modules."""
    # Only `python -m` puts the checkout on the path.
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from lab.pictures.rooms import modules_page

    files.append(File.generated(config, "commands.md", content=commands_page()))
    files.append(File.generated(config, "modules.md", content=modules_page()))
    return files


def commands_of() -> Iterator[tuple[str, Any]]:
    """Yield each verb and its command."""
    verbs = Verbs()
    context = click.Context(verbs, info_name="meninx")
    for verb in VERBS:
        yield verb, verbs.get_command(context, verb)


def commands_page() -> str:
    """Return all commands with their arguments and options, as Markdown."""
    parts = ["# Commands\n\nWhat each `meninx VERB --help` says.\n"]
    for verb, command in commands_of():
        own = click.Context(command, info_name=f"meninx {verb}")
        usage = " ".join(command.collect_usage_pieces(own))
        parts.append(f"## {verb}\n\n```\nmeninx {verb} {usage}\n```\n\n{command.help or ''}\n")
        rows = [_row(parameter, own) for parameter in command.params if parameter.name != "help"]
        parts.append("| | | default |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _row(parameter: Any, context: click.Context) -> str:
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    if parameter.param_type_name == "argument":
        names = f"`{parameter.metavar or parameter.name.upper()}`"
    default = parameter.get_default(context, call=False)
    shown = "" if default in (None, False, ()) or callable(default) else f"`{default}`"
    text = (getattr(parameter, "help", "") or "").replace("|", "\\|")
    return f"| {names} | {text} | {shown} |"
