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
from meninx._errors import OptionError, counted


def fetch_study(
    study: Annotated[str, typer.Argument(help="StudyInstanceUID.")],
    source: Annotated[
        str,
        typer.Option(
            "--from",
            help="http(s)://... of a DICOMweb service (WADO-RS; its password in ~/.netrc), or "
            "TITLE@host:port (C-MOVE to this machine; it must know our title and port).",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(help="Folder of this study only, made if missing; its files are kept."),
    ],
    title: TitleOption = "MENINX",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Our port for the instances of a C-MOVE.")
    ] = 11113,
    tls_certificate: CertificateOption = None,
    tls_key: KeyOption = None,
    tls_authority: AuthorityOption = None,
) -> None:
    """Fetch a study into a folder, for `meninx predict`.

    Exit status: 0 if it is complete, 1 if instances are missing, 2 for wrong usage. `predict`
    refers an incomplete study; run again to fetch the rest.
    """
    with needs_extra("hospital"):
        from meninx._clinic.peers import peer_of
        from meninx._clinic.study_folder import is_uid
    if not is_uid(study):
        raise OptionError(f"{study!r} is no StudyInstanceUID; expected digits and dots")
    check_folder(output, "--output")
    tls = tls_context(tls_certificate, tls_key, tls_authority, server=False)
    count = peer_of(source, title, tls, port).fetch(study, output)
    typer.echo(f"{counted(count, 'instance')} in {output}")
