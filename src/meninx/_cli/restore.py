"""Restore a backup: `meninx restore FOLDER`."""

from pathlib import Path
from typing import Annotated

import typer

from meninx._backups import facts_of
from meninx._cli.backup_places import BackupPlaces, ConfigOption, NodeOption, WebOption
from meninx._cli.extras import needs_extra
from meninx._cli.web_options import DatabaseOption, keep_files_private
from meninx._errors import OptionError, counted


def restore(
    folder: Annotated[Path, typer.Argument(help="Folder of the backup.")],
    web: WebOption = None,
    database: DatabaseOption = "",
    node: NodeOption = None,
    config: ConfigOption = None,
) -> None:
    """Restore a backup into empty folders.

    What an older version has written is upgraded.

    The services must not run. Every file is compared with its hash first; nothing is overwritten.
    """
    keep_files_private()
    places = BackupPlaces.of(config, web, database, node)
    facts = facts_of(folder)
    for service, place in (("web", places.web), ("node", places.node)):
        if place is not None and service not in facts:
            raise OptionError(f"{folder}: holds nothing of --{service}")
    if places.web is not None:
        with needs_extra("web"):
            from meninx._web.store.backup import restore_web
        missing = restore_web(folder / "web", places.web)
        typer.echo(f"{places.web.data}: restored, as of {facts['made']}")
        if missing:
            typer.echo(
                f"meninx: {counted(len(missing), 'study')} deleted while the backup was made, "
                f"without files: {', '.join(missing[:5])}",
                err=True,
            )
    if places.node is not None:
        from meninx._clinic.node_backup import restore_node

        restore_node(folder / "node", places.node)
        typer.echo(f"{places.node}: restored, as of {facts['made']}")
