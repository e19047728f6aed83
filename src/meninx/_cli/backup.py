"""Back up the web application and the node: `meninx backup FOLDER`."""

from pathlib import Path
from typing import Annotated

import typer

from meninx._backups import new_backup
from meninx._cli.backup_places import BackupPlaces, ConfigOption, NodeOption, WebOption
from meninx._cli.extras import needs_extra
from meninx._cli.web_options import DatabaseOption, keep_files_private
from meninx._cli.writable import check_folder
from meninx._errors import counted


def backup(
    folder: Annotated[Path, typer.Argument(help="New folder of the backup.")],
    web: WebOption = None,
    database: DatabaseOption = "",
    node: NodeOption = None,
    config: ConfigOption = None,
) -> None:
    """Back up the services' data while they run.

    Saved are databases, signing key, studies and results.

    The backup holds patients' data: it is readable for its owner alone. Unfinished uploads are left
    out. `sha256sum --check SHA256SUMS` inside it finds a changed byte.
    """
    keep_files_private()
    places = BackupPlaces.of(config, web, database, node)
    check_folder(folder, "")
    with new_backup(folder) as (part, facts):
        if places.web is not None:
            with needs_extra("web"):
                from meninx._web.store.backup import save_web
            facts["web"] = save_web(places.web, part / "web")
        if places.node is not None:
            from meninx._clinic.node_backup import save_node

            facts["node"] = save_node(places.node, part / "node")
    saved = ", ".join(
        f"{service}: {counted(facts[service]['files'], 'file')}"
        for service in ("web", "node")
        if service in facts
    )
    typer.echo(f"{folder}: {saved}")
