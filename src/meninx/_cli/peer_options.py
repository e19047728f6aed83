"""Options of the verbs that speak to other DICOM systems."""

import ssl
from pathlib import Path
from typing import Annotated

import typer

from meninx._errors import OptionError

TitleOption = Annotated[str, typer.Option("--title", help="Our own application entity title.")]
CertificateOption = Annotated[
    Path | None, typer.Option(help="Our certificate (PEM): speak TLS.", show_default=False)
]
KeyOption = Annotated[
    Path | None,
    typer.Option(help="Key of our certificate, unless the same file holds it.", show_default=False),
]
AuthorityOption = Annotated[
    Path | None,
    typer.Option(
        help="Certificates of the authorities that sign the others' (PEM).", show_default=False
    ),
]


def tls_context(
    certificate: Path | None, key: Path | None, authority: Path | None, *, server: bool
) -> ssl.SSLContext | None:
    """Return a TLS context; both sides prove who they are where an authority is given.

    Args:
        certificate: File of our certificate.
        key: File of its key; None where the certificate's file holds it.
        authority: File of the certificates that signed the others'.
        server: Whether we listen.

    Returns:
        The context; None without a certificate and an authority.

    Raises:
        OptionError: If a file can't be used.

    References:
        DICOM PS3.15 B.12, BCP 195 TLS profile.
    """
    if certificate is None and authority is None:
        return None
    if server and certificate is None:
        raise OptionError(
            "--tls-authority without --tls-certificate: a server needs a certificate; add it"
        )
    purpose = ssl.Purpose.CLIENT_AUTH if server else ssl.Purpose.SERVER_AUTH
    try:
        context = ssl.create_default_context(purpose, cafile=authority)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise OptionError(
            f"TLS: {error}; expected PEM files of a certificate and its key"
        ) from error
    if server and authority is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context
