"""Time the detector on this machine: `meninx bench`."""

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer


def bench(
    model: Annotated[
        Path | None,
        typer.Option(help="Detector file to use instead of the shipped one.", show_default=False),
    ] = None,
    runs: Annotated[int, typer.Option(min=3, help="Runs of one picture that count.")] = 100,
    pictures: Annotated[int, typer.Option(min=1, help="Pictures in the folder.")] = 200,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on standard output, no table.")
    ] = False,
) -> None:
    """Time one picture, a folder and a series on this machine, on synthetic scans.

    Nothing else should run meanwhile. Where PyTorch is installed, a plain ResNet-18 of torchvision
    is timed in the same run, for comparison.
    """
    from meninx.assess import speed
    from meninx.cli.data_options import cores, progress_of
    from meninx.detect.detector import load_detector

    with tempfile.TemporaryDirectory() as folder, progress_of() as progress:
        progress("writing synthetic scans", 0, 5)
        inputs = speed.make_inputs(Path(folder), pictures)
        detector = load_detector(model)
        progress("one picture", 1, 5)
        steps = speed.time_picture(detector, inputs.picture, runs)
        progress("a series", 2, 5)
        series = speed.time_series(detector, inputs.series)
        memory = speed.peak_megabytes()
        progress("a folder", 3, 5)
        alone = load_detector(model, threads=1)
        rate = speed.pictures_per_second(alone, inputs.pictures, cores())
        progress("a cold start", 4, 5)
        given = ["--model", str(model)] if model else []
        cold = speed.time_cold(["predict", str(inputs.picture), "--json", *given])
        eager = _eager_resnet18(runs)
        progress("a cold start", 5, 5)
    told = {
        "machine": speed.machine(),
        "model": detector.model,
        "one picture of 512 px, ms": {
            step: {"median": spread.median, "p95": spread.p95} for step, spread in steps.items()
        },
        "cold command, one picture, s": cold,
        f"folder of {pictures} pictures, pictures a second": rate,
        "series of 192 slices, read and scored, s": series,
        "most memory, one picture and the series, MB": memory,
        "ResNet-18 of torchvision, eager, network alone, ms": eager,
    }
    if as_json:
        typer.echo(json.dumps(told, allow_nan=False))
    else:
        _print(told)


def _eager_resnet18(runs: int) -> dict[str, float] | None:
    """Return the time of torchvision's network; None where it is not installed."""
    try:
        from meninx.learn.comparison import time_eager_resnet18
    except ModuleNotFoundError:
        return None
    spread = time_eager_resnet18(runs)
    return {"median": spread.median, "p95": spread.p95}


def _print(told: dict[str, object]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("what", "median", "95th percentile"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for name, value in told.items():
        if isinstance(value, float):
            table.add_row(name, f"{value:.2f}")
        elif isinstance(value, dict) and "median" in value:
            table.add_row(name, f"{value['median']:.2f}", f"{value['p95']:.2f}")
        elif isinstance(value, dict) and name != "model":
            for step, spread in value.items():
                row = (f"{name}: {step}", f"{spread['median']:.2f}", f"{spread['p95']:.2f}")
                table.add_row(*row)
    console = Console()
    console.print(told["machine"])
    console.print(table)
