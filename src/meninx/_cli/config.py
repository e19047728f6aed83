"""Check a configuration: `meninx config check`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from meninx._cli.config_file import FILE_VARIABLE, configured_options
from meninx._cli.config_probes import PROBES, Probe
from meninx._errors import counted

_FAULT, _WRONG_KEY = 1, 2


def config(
    action: Annotated[Literal["check"], typer.Argument(help="What to do.")],  # noqa: ARG001
    config: Annotated[
        Path, typer.Option("--config", envvar=FILE_VARIABLE, help="Configuration to check.")
    ] = Path("meninx.toml"),
) -> None:
    """Check a configuration, and all that it names.

    Its keys come first, then folders, database, certificates and peers.

    Each peer is asked by C-ECHO, or by a search of its DICOMweb service. Nothing is changed. Exit
    status: 0 if all is well, 1 if something does not work, 2 if a key or a value is wrong.
    """
    wrong_keys = failures = 0
    for section, faults, options in configured_options(config):
        for fault in faults:
            typer.echo(f"WRONG [{section}] {fault}")
        wrong_keys += len(faults)
        if faults:
            continue  # what follows would be tried with other values
        for probe in PROBES[section](options):
            typer.echo(_line(section, probe))
            failures += probe.outcome == "FAULT"
    if wrong_keys or failures:
        typer.echo(f"{counted(wrong_keys, 'wrong key')}, {counted(failures, 'fault')}", err=True)
        raise typer.Exit(_WRONG_KEY if wrong_keys else _FAULT)


def _line(section: str, probe: Probe) -> str:
    return f"{probe.outcome:5} [{section}] {probe.key}: {probe.text}"
