"""Write a detector in another number format: `meninx export MODEL --format int8 --data DATA`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from meninx._cli.extras import needs_extra
from meninx._cli.labeled_data import load_manifest
from meninx._cli.options import LabelOption
from meninx._cli.writable import check_file

_DEFAULT_PICTURES = 400


def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A detector file.")],
    data: Annotated[
        Path,
        typer.Option(
            help="Pictures like those to score: half of them calibrate, half check the result.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option(help="File to write.", show_default=False)],
    format: Annotated[
        Literal["fp32", "fp16", "int8"],
        typer.Option(help="Number format; int8 is fastest on CPUs, fp16 is faster on GPUs only."),
    ] = "int8",
    pictures: Annotated[
        int, typer.Option(min=20, help="Limit of the pictures of DATA.")
    ] = _DEFAULT_PICTURES,
    tolerance: Annotated[
        float,
        typer.Option(min=0.0, help="Largest mean change of a slice's probability to accept."),
    ] = 0.02,
    label: LabelOption = None,
) -> None:
    """Write a detector in another number format, unless its answers would change.

    Needs the extra `train`.
    """
    with needs_extra("train"):
        from meninx._learn.file.formats import export as write
    check_file(output, "--output")
    manifest = load_manifest(data, output.parent, label, allow_leaks=True, split_matters=False)
    # At regular intervals: a manifest lists its sources one after the other.
    step = max(1, len(manifest.pictures) // pictures)
    change = write(model, output, format, manifest.pictures[::step][:pictures], tolerance)
    typer.echo(
        f"{output}: {output.stat().st_size / 1e6:.1f} MB; a slice's probability moved by "
        f"{change.mean:.4f} in the mean, {change.largest:.3f} at most ({change.slices} pictures)",
        err=True,
    )
