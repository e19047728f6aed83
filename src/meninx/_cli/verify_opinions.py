"""Check the readers' opinions: `meninx verify-opinions`."""

from pathlib import Path

import typer

from meninx._cli.extras import needs_extra
from meninx._cli.web_options import DatabaseOption, DataOption, web_settings
from meninx._errors import counted

_CHANGED_OR_MISSING = 1


def verify_opinions(data: DataOption = Path("meninx-data"), database: DatabaseOption = "") -> None:
    """Check that no opinion was changed or is missing.

    The signatures of all opinions in the web application are checked.

    Exit status 1 if an opinion was changed since its reader stored it, or if one that the audit log
    lists is missing. The key is the file signing.key in the data folder.
    """
    with needs_extra("web"):
        from meninx._web.store.database import existing_sessions
        from meninx._web.studies.opinions import verify_opinions
    settings = web_settings(data, database, None)
    with existing_sessions(settings.address) as sessions, sessions() as session:
        found = verify_opinions(session, settings.existing_key())
    for line in found.faults:
        typer.echo(line)
    typer.echo(
        f"{counted(found.right, 'opinion')} as stored, {counted(len(found.faults), 'fault')}"
    )
    if found.faults:
        raise typer.Exit(_CHANGED_OR_MISSING)
