"""Send DICOM files to another system: `meninx send`."""

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
from meninx._errors import InputError, OptionError, counted


def send(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="DICOM files, or folders of them.")
    ],
    to: Annotated[
        str,
        typer.Option(
            help="TITLE@host:port, or http(s)://... of a DICOMweb service (its password in "
            "~/.netrc)."
        ),
    ],
    title: TitleOption = "MENINX",
    tls_certificate: CertificateOption = None,
    tls_key: KeyOption = None,
    tls_authority: AuthorityOption = None,
) -> None:
    """Send DICOM files by C-STORE or STOW-RS.

    Such as those of `predict --dicom-out`.

    Exit status: 0 if all were accepted, 1 if a file was not, 2 for wrong usage.
    """
    with needs_extra("hospital"):
        from meninx._clinic.peers import peer_of
    from meninx._scan.kinds import is_dicom
    from meninx._scan.walking import files_below, missing_target

    def refuse(error: InputError) -> None:
        raise OptionError(str(error))

    files = []
    for path in paths:
        if not path.exists():
            refuse(missing_target(path))
        for file in files_below(path, refuse) if path.is_dir() else [path]:
            with file.open("rb") as opened:
                if is_dicom(opened.read(1024)):
                    files.append(file)
    if not files:
        raise OptionError("no DICOM file under " + ", ".join(map(str, paths)))
    tls = tls_context(tls_certificate, tls_key, tls_authority, server=False)
    peer = peer_of(to, title, tls)
    peer.send(files)
    typer.echo(f"{counted(len(files), 'file')} sent to {peer.address}")
