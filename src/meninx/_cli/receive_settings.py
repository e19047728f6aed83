"""The options of `meninx receive`, and the settings of the node that follow from them."""

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meninx._cli.extras import needs_extra
from meninx._cli.options import (
    AuthorityOption,
    CertificateOption,
    KeyOption,
    LogOption,
    ModelOption,
    TitleOption,
    tls_context,
)
from meninx._cli.web_options import LOCAL
from meninx._errors import OptionError

if TYPE_CHECKING:
    from meninx._clinic.node_settings import NodeSettings
    from meninx._clinic.worklist import Worklist

GIB = 1024**3


@dataclass(frozen=True)
class ReceiveSettings:
    """The options of `meninx receive`."""

    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for a free one.")] = 11112
    title: TitleOption = "MENINX"
    data: Annotated[Path, typer.Option(help="Folder of the received files and of the ledger.")] = (
        Path("meninx-node")
    )
    to: Annotated[
        list[str] | None,
        typer.Option(
            help="Peer to send results to: TITLE@host:port by C-STORE, or http(s)://... by STOW-RS "
            "(its password in ~/.netrc); repeat it for each.",
            show_default=False,
        ),
    ] = None
    caller: Annotated[
        list[str] | None,
        typer.Option(help="Permitted calling title; repeat it for each.", show_default="all"),
    ] = None
    caller_host: Annotated[
        list[str] | None,
        typer.Option(
            help="Permitted IP address of callers; repeat it for each.", show_default="all"
        ),
    ] = None
    quiet: Annotated[
        float,
        typer.Option(
            min=0,
            help="Seconds without new files after which a study is complete. After later files it "
            "is scored again, and the new report names the report that it replaces.",
        ),
    ] = 60.0
    keep_hours: Annotated[
        float, typer.Option(min=0, help="Hours after which a finished study is deleted.")
    ] = 24.0
    disk_gib: Annotated[float, typer.Option(min=0.001, help="Limit of the inbox, GiB.")] = 50.0
    status: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Where to serve /health, /ready and /metrics by HTTP, without authentication and "
            "without anything of a patient.",
            show_default="nowhere",
        ),
    ] = None
    log: LogOption = "text"
    associations: Annotated[int, typer.Option(min=1, help="Limit of concurrent associations.")] = 16
    worklist: Annotated[
        str | None,
        typer.Option(
            help="Address of a `meninx serve` that shows the studies, too; its key is in the "
            "environment as MENINX_WORKLIST_KEY.",
            show_default=False,
        ),
    ] = None
    model: ModelOption = None
    tls_certificate: CertificateOption = None
    tls_key: KeyOption = None
    tls_authority: AuthorityOption = None

    @property
    def open_to_all(self) -> bool:
        """Whether any machine that reaches the port may send."""
        return self.host not in LOCAL and not self.caller and not self.caller_host

    def tls(self, *, server: bool) -> ssl.SSLContext | None:
        """Return the TLS context of a server or a client; None for plain connections."""
        return tls_context(self.tls_certificate, self.tls_key, self.tls_authority, server=server)

    def for_node(self) -> "NodeSettings":
        """Return the settings of the node: addresses parsed, certificates loaded.

        Returns:
            The settings of the node.

        Raises:
            OptionError: If an address or a certificate can't be used.
        """
        with needs_extra("hospital"):
            from meninx._clinic.node_settings import NodeSettings
            from meninx._clinic.peers import peer_of
        client = self.tls(server=False)
        return NodeSettings(
            folder=self.data,
            host=self.host,
            port=self.port,
            title=self.title,
            callers=tuple(self.caller or ()),
            hosts=tuple(self.caller_host or ()),
            quiet_seconds=self.quiet,
            peers=tuple(peer_of(address, self.title, client) for address in self.to or ()),
            worklist=worklist_of(self.worklist) if self.worklist else None,
            keep_hours=self.keep_hours,
            max_bytes=int(self.disk_gib * GIB),
            max_associations=self.associations,
            model=self.model.resolve() if self.model else None,
            tls=self.tls(server=True),
        )


def worklist_of(address: str) -> "Worklist":
    """Return the worklist of a web application, with its key from the environment.

    Args:
        address: Address of the application, http(s)://host:port.

    Returns:
        The worklist.

    Raises:
        OptionError: If there is no key.
    """
    with needs_extra("hospital"):
        from meninx._clinic.worklist import Worklist
    key = os.environ.get("MENINX_WORKLIST_KEY", "")
    if not key:
        raise OptionError(
            "--worklist needs a key of that server in the environment as "
            "MENINX_WORKLIST_KEY; make it on that server's account page"
        )
    return Worklist(address, key)
