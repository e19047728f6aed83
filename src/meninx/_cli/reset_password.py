"""Reset the password of an account: `meninx reset-password`."""

from pathlib import Path
from typing import Annotated

import typer

from meninx._cli.extras import needs_extra
from meninx._cli.web_options import DatabaseOption, DataOption, keep_files_private, web_settings


def reset_password(
    name: Annotated[str, typer.Argument(help="Name of the account.")] = "admin",
    data: DataOption = Path("meninx-data"),
    database: DatabaseOption = "",
    administrator: Annotated[
        bool, typer.Option(help="Make the account an administrator's, where none is left.")
    ] = False,
) -> None:
    """Give an account a first password, shown once.

    The account of the web application is opened again.

    For people with access to the server's own command line: the last administrator may be locked
    out. The password is only good for setting another one.
    """
    keep_files_private()
    with needs_extra("web"):
        from meninx._web.auth import accounts
        from meninx._web.store.database import existing_sessions
    with existing_sessions(web_settings(data, database, None).address) as sessions:
        with sessions.begin() as session:
            password = accounts.reset_password(session, name, administrator=administrator)
        typer.echo(f"Sign in as {name} with the password {password}")
