"""Write synthetic studies: `meninx phantom OUT`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from meninx._cli.console import INTERRUPTED
from meninx._cli.progress import progress_of
from meninx._cli.writable import check_folder
from meninx._errors import OptionError, counted


def phantom(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder to write into, missing or empty.")
    ],
    count: Annotated[int, typer.Option(min=1, help="Number of studies.")] = 4,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the first head; the others have the next seeds.")
    ] = 0,
    format: Annotated[
        Literal["dicom", "nifti", "png"], typer.Option(help="File format of the studies.")
    ] = "dicom",
) -> None:
    """Write synthetic heads, half of them with a tumor.

    Their labels and masks are beside them.

    OUT/studies contains the scans, OUT/masks the masks of the tumors, and OUT/manifest.csv the
    label of each scan. The same seed gives the same heads.
    """
    from meninx._synthesis.phantom_studies import make_studies
    from meninx._synthesis.writing import write_studies

    if out.exists() and any(out.iterdir()):
        raise OptionError(f"{out}: expected an empty folder to write into")
    check_folder(out, "OUT")
    written = write_studies(make_studies(count, seed), out, format)
    done = 0
    try:
        with progress_of() as progress:
            progress("making phantoms", 0, count)
            for done, _ in enumerate(written, 1):
                progress("making phantoms", done, count)
    except KeyboardInterrupt as stop:
        # Only now the manifest is written, of the studies that are whole.
        written.close()
        typer.echo(f"meninx: stopped; {out} holds {done} of {counted(count, 'study')}", err=True)
        raise typer.Exit(INTERRUPTED) from stop
    typer.echo(
        f"{counted(count, 'study')} in {out / 'studies'}, truth in {out / 'manifest.csv'}", err=True
    )
