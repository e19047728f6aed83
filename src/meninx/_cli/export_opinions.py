"""Make a training table of readers' opinions: `meninx export-opinions`."""

from pathlib import Path
from typing import Annotated

import typer

from meninx._cli.extras import needs_extra
from meninx._cli.web_options import DatabaseOption, DataOption, keep_files_private, web_settings
from meninx._cli.writable import check_folder


def export_opinions(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder for table.csv, volumes and masks.")
    ],
    data: DataOption = Path("meninx-data"),
    database: DatabaseOption = "",
    project: Annotated[
        str, typer.Option(help="Only studies of this project.", show_default="all")
    ] = "",
) -> None:
    """Write readers' answers as a training table.

    The series that they answered are for `meninx prepare` and `meninx train`.

    A row for each series whose readers agree on tumor or no tumor; a mask has the boxes and the
    regions that they accepted. Persons are pseudonyms, but a volume may show a face.
    """
    keep_files_private()
    with needs_extra("web"):
        from meninx._web.store.database import existing_sessions
        from meninx._web.studies.training_table import TABLE, export_opinions, in_words
    check_folder(out, "OUT")
    settings = web_settings(data, database, None)
    with existing_sessions(settings.address) as sessions, sessions.begin() as session:
        done = export_opinions(session, settings, out, project)
    written = out / TABLE if done.rows else "no table is written"
    typer.echo(f"{written}: {in_words(done)}")
