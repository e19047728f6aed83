"""Write a detector in another format: `meninx export MODEL --format int8 --data DATA`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from meninx._cli.extras import needs_extra
from meninx._cli.labeled_data import load_manifest
from meninx._cli.options import LabelOption
from meninx._cli.progress import progress_of
from meninx._cli.writable import check_file, check_folder
from meninx._errors import OptionError
from meninx._processes import usable_cores

_DEFAULT_PICTURES = 400
_SHIPPED = Path("meninx")


def export(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="A detector file; for hugging-face and monai-bundle also `meninx`: the shipped "
            "one.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            help="File to write, or folder of hugging-face, monai-bundle and ensemble.",
            show_default=False,
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            help="Pictures like those to score: half of them calibrate, half check the result. "
            "For number formats alone.",
            show_default=False,
        ),
    ] = None,
    format: Annotated[
        Literal["fp32", "fp16", "int8", "hugging-face", "monai-bundle", "ensemble"],
        typer.Option(
            help="Number format; int8 is fastest on CPUs, fp16 is faster on GPUs only. "
            "hugging-face writes a folder of weights (safetensors), configuration and card, and "
            "sends nothing. monai-bundle writes a folder that MONAI runs. ensemble joins MODEL and "
            "those of --with into one detector, and writes a folder."
        ),
    ] = "int8",
    others: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            help="Further detector of an ensemble; repeat it for each. All lie in their run "
            "folders, and have the validation fold in common, which calibrates the ensemble.",
            show_default=False,
        ),
    ] = None,
    pictures: Annotated[
        int, typer.Option(min=20, help="Limit of the pictures of DATA.")
    ] = _DEFAULT_PICTURES,
    tolerance: Annotated[
        float,
        typer.Option(min=0.0, help="Largest mean change of a slice's probability to accept."),
    ] = 0.02,
    label: LabelOption = None,
) -> None:
    """Write a detector in another number format.

    Refused if its answers would change.

    Or as a folder that tools of Hugging Face or MONAI read, or several as one. Needs the extra
    `train`.
    """
    with needs_extra("train"):
        from meninx._learn.file.formats import export as write
    if (format == "ensemble") != bool(others):
        raise OptionError("--format ensemble and --with FILE belong together")
    if format == "ensemble":
        _write_ensemble([model, *(others or ())], output)
        return
    if format == "hugging-face" or format == "monai-bundle":
        _write_folder(model, format, output)
        return
    if data is None:
        raise OptionError(f"--format {format} needs --data, pictures to calibrate and check by")
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


def _write_folder(model: Path, format: str, output: Path) -> None:
    """Write the folder of Hugging Face's layout or a MONAI bundle, and say what is in it."""
    from meninx._detect.loading import shipped_detector
    from meninx._learn.file.hugging_face import export_hugging_face
    from meninx._learn.file.monai_bundle import export_monai_bundle

    check_folder(output, "--output")
    is_shipped = model == _SHIPPED and not model.exists()
    detector = shipped_detector("fp32") if is_shipped else model
    if format == "monai-bundle":
        files = export_monai_bundle(detector, output)
    else:
        files = export_hugging_face(detector, output, shipped=is_shipped)
    names = ", ".join(str(file.relative_to(output)) for file in files)
    typer.echo(f"{output}: {names}", err=True)


def _write_ensemble(files: list[Path], output: Path) -> None:
    """Write an ensemble, and say what it was calibrated on and what it has not."""
    from meninx._detect.loading import load_detector
    from meninx._learn.fit.ensemble import build_ensemble

    check_folder(output, "--output")
    with progress_of() as progress:
        path = build_ensemble(files, output, progress, usable_cores())
    calibration = load_detector(path, threads=1).card.calibration
    shared = calibration.picture == calibration.volume
    typer.echo(
        f"{path}: the mean of {len(files)} detectors, calibrated on their validation fold; "
        f"{'pictures and volumes share a calibrator, and ' if shared else ''}it has none by "
        "sequence or of studies. What it gains: meninx evaluate, on other data",
        err=True,
    )
