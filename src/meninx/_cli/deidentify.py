"""Remove the identity from DICOM files: `meninx deidentify`."""

import os
import secrets
from pathlib import Path
from typing import Annotated

import typer

from meninx._cli.extras import needs_extra
from meninx._cli.writable import check_folder, unwritable
from meninx._errors import InputError, OptionError, counted

_SOME_LEFT_OUT = 1
_KEY_BYTES = 32


def deidentify(
    path: Annotated[Path, typer.Argument(help="DICOM file, folder or zip.")],
    output: Annotated[Path, typer.Option(help="Folder of the new files; must be empty.")],
    key: Annotated[
        Path,
        typer.Option(
            help="File of the secret behind the pseudonyms, made if missing. The same secret gives "
            "a patient the same pseudonym again; store it apart from the files."
        ),
    ],
    deface: Annotated[
        bool, typer.Option("--deface", help="Cut off faces (T1 only); inspect the result.")
    ] = False,
    keep_faces: Annotated[
        bool, typer.Option("--keep-faces", help="Write whole heads unchanged.")
    ] = False,
) -> None:
    """Write MR series without what identifies the patient.

    PS3.15 Annex E, basic profile, with cleaned descriptors and dates that are shifted by the same
    number of days for each patient. Private attributes are removed. Whole heads from which a face
    can be rendered are refused without --deface or --keep-faces. removed.json lists the removed
    attributes, without values. Inspect the result before it leaves the hospital: no program finds
    everything. Exit status: 0 if all was written, 1 if something was left out.
    """
    with needs_extra("hospital"):
        from meninx._clinic.release import Faces, release
    if deface and keep_faces:
        raise OptionError("--deface and --keep-faces exclude each other; give one of them")
    check_folder(output, "--output")
    if output.exists() and any(output.iterdir()):
        raise OptionError(f"--output {output}: not empty; name a new folder")
    left_out = 0

    def report(error: InputError) -> None:
        nonlocal left_out
        left_out += 1
        typer.echo(f"meninx: left out: {error}", err=True)

    faces = Faces(keep_faces, deface)
    count = sum(1 for _ in release(path, output, _secret_of(key), faces, report))
    typer.echo(
        f"{counted(count, 'file')} written to {output}, {counted(left_out, 'scan')} left out"
    )
    if left_out or not count:
        raise typer.Exit(_SOME_LEFT_OUT)


def _secret_of(path: Path) -> bytes:
    """Return the secret in a file, made if missing and readable for its owner only.

    Args:
        path: File of the secret.

    Returns:
        The secret, at least 16 bytes.

    Raises:
        OptionError: If the file is too short, or can't be read.
    """
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
        key = path.read_bytes()
    except OSError as error:
        raise unwritable("--key", path, error) from error
    if len(key) < _KEY_BYTES // 2:
        raise OptionError(
            f"--key {path}: {len(key)} bytes; expected at least {_KEY_BYTES // 2}; "
            "name a new file, which is then made"
        )
    return key
