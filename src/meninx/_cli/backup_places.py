"""What backups are made of: the folders of the web application and of the node."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meninx._cli.config_file import FILE_VARIABLE, configured_options
from meninx._cli.web_options import web_settings
from meninx._errors import OptionError

if TYPE_CHECKING:
    from meninx._web.store.settings import Settings

WebOption = Annotated[
    Path | None,
    typer.Option("--web", help="Folder of the web application.", show_default=False),
]
NodeOption = Annotated[
    Path | None, typer.Option("--node", help="Folder of the node.", show_default=False)
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar=FILE_VARIABLE,
        help="Configuration that names the folders and the database.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class BackupPlaces:
    """The services of a backup.

    Args:
        web: Settings of the web application; None for none.
        node: Folder of the node; None for none.
    """

    web: "Settings | None"
    node: Path | None

    @classmethod
    def of(
        cls, config: Path | None, web: Path | None, database: str, node: Path | None
    ) -> "BackupPlaces":
        """Return the services that options name, or else the configuration.

        Args:
            config: Configuration; None for none.
            web: Folder of the web application.
            database: Address of its database; empty for SQLite in its folder.
            node: Folder of the node.

        Returns:
            The services.

        Raises:
            OptionError: If none is named, or a key is wrong.
        """
        if config is not None and web is None and node is None:
            for section, faults, options in configured_options(config):
                if faults:
                    raise OptionError(f"{config}: [{section}] {faults[0]}")
                if section == "web":
                    web, database = options["data"], database or options["database"]
                elif section == "receive":
                    node = options["data"]
        if web is None and node is None:
            raise OptionError("nothing is named: give --web, --node, or --config")
        return cls(None if web is None else web_settings(web, database, None), node)
