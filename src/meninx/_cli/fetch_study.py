"""Fetch a study from another system: `meninx fetch-study`."""

from pathlib import Path
from typing import Annotated

import typer

from meninx._cli.extras import needs_extra
from meninx._cli.options import (
    AuthorityOption,
    CertificateOption,
    KeyOption,
    TitleOption,
    tls_context,
)
from meninx._cli.writable import check_folder
from meninx._errors import OptionError


def fetch_study(
    study: Annotated[str, typer.Argument(help="StudyInstanceUID.")],
    source: Annotated[
        str,
        typer.Option(
            "--from",
            help="http(s)://... of a DICOMweb service (WADO-RS; its password in ~/.netrc), or "
            "TITLE@host:port (C-MOVE to us; it must know our title and port).",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(help="Folder of this study alone; made if missing. What it has is kept."),
    ],
    title: TitleOption = "MENINX",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Our port for the files that a C-MOVE brings.")
    ] = 11113,
    tls_certificate: CertificateOption = None,
    tls_key: KeyOption = None,
    tls_authority: AuthorityOption = None,
) -> None:
    """Fetch a study into a folder, for `meninx predict`.

    Exit status: 0 if all of it is there, 1 if some or all of it did not come, 2 for wrong usage. A
    study that came in part is referred by `predict`; run again to fetch the rest.
    """
    with needs_extra("hospital"):
        from meninx._clinic.peers import peer_of
        from meninx._clinic.study_folder import is_uid
    if not is_uid(study):
        raise OptionError(f"{study!r} is no StudyInstanceUID; expected digits and dots")
    check_folder(output, "--output")
    tls = tls_context(tls_certificate, tls_key, tls_authority, server=False)
    count = peer_of(source, title, tls, port).fetch(study, output)
    typer.echo(f"{count} instances in {output}")
