"""Be a DICOM node: `meninx receive`."""

import logging
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meninx.cli.detector_options import ModelOption
from meninx.cli.extras import needs_extra
from meninx.cli.peer_options import (
    AuthorityOption,
    CertificateOption,
    KeyOption,
    TitleOption,
    tls_context,
)
from meninx.cli.web_options import LOCAL
from meninx.errors import OptionError

if TYPE_CHECKING:
    from meninx.clinic.node import OnJudged

GIB = 1024**3


def receive(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for a free one.")] = 11112,
    title: TitleOption = "MENINX",
    data: Annotated[
        Path, typer.Option(help="Folder of what was received and of the ledger.")
    ] = Path("meninx-node"),
    to: Annotated[
        list[str] | None,
        typer.Option(
            help="Where results go: TITLE@host:port by C-STORE, or http(s)://... by STOW-RS; again "
            "for each.",
            show_default=False,
        ),
    ] = None,
    caller: Annotated[
        list[str] | None,
        typer.Option(help="Title that may call; again for each.", show_default="all"),
    ] = None,
    caller_host: Annotated[
        list[str] | None,
        typer.Option(help="IP address that may call; again for each.", show_default="all"),
    ] = None,
    quiet: Annotated[
        float, typer.Option(min=0, help="A study is whole once nothing came for so many seconds.")
    ] = 5.0,
    keep_hours: Annotated[
        float, typer.Option(min=0, help="Delete a finished study after so long.")
    ] = 24.0,
    disk_gib: Annotated[float, typer.Option(min=0.001, help="That the inbox may take.")] = 50.0,
    associations: Annotated[int, typer.Option(min=1, help="At a time.")] = 16,
    worklist: Annotated[
        str | None,
        typer.Option(
            help="Address of a `meninx serve` that shows the studies too; its key is in the "
            "environment as MENINX_WORKLIST_KEY.",
            show_default=False,
        ),
    ] = None,
    model: ModelOption = None,
    tls_certificate: CertificateOption = None,
    tls_key: KeyOption = None,
    tls_authority: AuthorityOption = None,
) -> None:
    """Take studies from the hospital's network, judge them, send results back as DICOM.

    C-STORE of MR images, C-ECHO and storage commitment. A study is judged once nothing came for a
    while, or once its sender asks for commitment. For research, not for diagnosis.
    """
    from meninx.detect.loading import load_detector

    with needs_extra("hospital"):
        from meninx.clinic.node import Node, NodeSettings
        from meninx.clinic.peers import peer_of
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    for noisy in ("pynetdicom", "pydicom", "highdicom"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    if host not in LOCAL and not caller and not caller_host:
        typer.echo("meninx: everybody who reaches this port may send; see --caller", err=True)
    load_detector(model)  # a damaged file is told now, not at the first study
    client_tls = tls_context(tls_certificate, tls_key, tls_authority, server=False)
    node = Node(
        NodeSettings(
            folder=data,
            host=host,
            port=port,
            title=title,
            callers=tuple(caller or ()),
            hosts=tuple(caller_host or ()),
            quiet_seconds=quiet,
            peers=tuple(peer_of(address, title, client_tls) for address in to or ()),
            keep_hours=keep_hours,
            most_bytes=int(disk_gib * GIB),
            most_associations=associations,
            model=model.resolve() if model else None,
            tls=tls_context(tls_certificate, tls_key, tls_authority, server=True),
        ),
        _to_worklist(worklist) if worklist else None,
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    listening = node.start()
    typer.echo(f"meninx: {title} listens on {host}:{listening}", err=True)
    stop.wait()
    node.stop()


def _to_worklist(address: str) -> "OnJudged":
    """Return what hands a study to the web application, which scores it for its readers.

    Args:
        address: Of the application.

    Returns:
        A function of a folder of instances and what was found.

    Raises:
        OptionError: If there is no key.
    """
    with needs_extra("hospital"):
        from meninx.clinic.worklist import hand_over
    key = os.environ.get("MENINX_WORKLIST_KEY", "")
    if not key:
        raise OptionError("--worklist needs a key of that server in MENINX_WORKLIST_KEY")

    def tell(files: Path, _: Sequence[Mapping[str, Any]]) -> None:
        hand_over(files, address, key)

    return tell
