"""Time the detector on this machine: `meninx bench`."""

import json
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meninx._cli.detector_options import ModelOption
from meninx._cli.devices import DEVICES_OPTION, DevicesOption, start_on_devices
from meninx._cli.extras import needs_extra
from meninx._cli.training_options import (
    PRECISION_OPTION,
    PrecisionOption,
    find_recipe,
    quiet_training_libraries,
)
from meninx._cli.writable import check_folder
from meninx._detect.runtimes import RUNTIMES, Runtime
from meninx._errors import OptionError
from meninx._processes import is_first_process

if TYPE_CHECKING:
    from meninx._assess.speed import Inputs, Spread


def bench(
    model: ModelOption = None,
    runs: Annotated[int, typer.Option(min=3, help="Runs of one picture that count.")] = 100,
    pictures: Annotated[int, typer.Option(min=1, help="Pictures in the folder.")] = 200,
    slices: Annotated[int, typer.Option(min=2, help="Slices of the series.")] = 192,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on standard output, no table.")
    ] = False,
    train: Annotated[
        bool,
        typer.Option(
            "--train",
            help="Time training instead, on synthetic slices; needs the extra train.",
        ),
    ] = False,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="With --train: name of a shipped recipe, or a TOML file; finetune by default.",
            show_default=False,
        ),
    ] = None,
    devices: Annotated[DevicesOption, DEVICES_OPTION] = 1,
    precision: Annotated[PrecisionOption, PRECISION_OPTION] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for bench.json and a plot, bench.png, which needs the extra evidence; "
            "with --train for training.json.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Time one picture, a folder and a series on this machine, on synthetic scans.

    Nothing else should run meanwhile. OpenVINO is timed beside ONNX Runtime where it is installed,
    and so is a plain ResNet-18 of torchvision in PyTorch, for comparison. --train tells how many
    pictures a second a recipe learns from, and how many the network alone would allow.
    """
    if output is not None:
        check_folder(output, "--output")
    if train:
        if model is not None:
            raise OptionError("--model does not go with --train, which times a recipe")
        _bench_training(recipe or "finetune", devices, precision, output, as_json=as_json)
        return
    if recipe is not None or precision is not None or devices != 1:
        raise OptionError("--recipe, --precision and --devices go with --train alone")
    if output is not None:
        with needs_extra("evidence"):
            from meninx._assess.plots import plot_times
    report = _measured(model, runs, pictures, slices)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / "bench.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        plot_times(
            {name: _steps(figures) for name, figures in report["runtimes"].items()},
            output / "bench",
        )
    if as_json:
        typer.echo(json.dumps(report, allow_nan=False))
    else:
        _print(report)


def _bench_training(
    recipe: str, devices: int, precision: str | None, output: Path | None, *, as_json: bool
) -> None:
    """Time a recipe's training, and show what was measured."""
    from meninx._assess.speed import machine

    path = find_recipe(recipe)
    with needs_extra("train"):
        from lab.speed.throughput import training_throughput
        from meninx._learn.fit.training import gpu_count
        from meninx._learn.recipe import changed_recipe, read_recipe
    chosen = changed_recipe(read_recipe(path), precision=precision)
    start_on_devices(devices, gpu_count())
    quiet_training_libraries()
    found = training_throughput(chosen)
    if not is_first_process():
        return
    report = {"machine": machine(), "recipe": chosen.name, **found.as_json()}
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / "training.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(report, allow_nan=False))
        return
    for name, value in report.items():
        typer.echo(f"{name:38} {value:.1f}" if isinstance(value, float) else f"{name:38} {value}")


def _steps(figures: dict[str, Any]) -> dict[str, float]:
    """Return the medians of the steps of one picture, milliseconds."""
    return {step: spread["median"] for step, spread in figures["one picture of 512 px, ms"].items()}


def _measured(model: Path | None, runs: int, pictures: int, slices: int) -> dict[str, Any]:
    from meninx._assess import speed
    from meninx._cli.progress import progress_of
    from meninx._detect.loading import load_detector

    installed = [name for name in RUNTIMES if find_spec(name.partition("-")[0])]
    total = 3 + len(installed)
    with tempfile.TemporaryDirectory() as folder, progress_of() as progress:
        progress("writing synthetic scans", 0, total)
        inputs = speed.make_inputs(Path(folder), pictures, slices)
        found = {}
        for done, name in enumerate(installed, start=1):
            progress(f"timing {name}", done, total)
            found[name] = _of_runtime(name, model, inputs, runs)
        progress("timing a cold start", total - 2, total)
        given = ["--model", str(model)] if model else []
        cold = speed.time_cold(["predict", str(inputs.picture), "--json", *given], runs)
        progress("timing PyTorch", total - 1, total)
        eager = _eager_resnet18(runs)
        progress("timing PyTorch", total, total)
    return {
        "machine": speed.machine(),
        "model": load_detector(model).model,
        "runtimes": found,
        "cold command, one picture, s": cold,
        "ResNet-18 of torchvision, eager, network alone, ms": eager,
    }


def _of_runtime(
    runtime: Runtime, model: Path | None, inputs: "Inputs", runs: int
) -> dict[str, Any]:
    """Return the figures of one runtime."""
    from meninx._assess import speed
    from meninx._cli.data_options import cores
    from meninx._detect.loading import load_detector

    detector = load_detector(model, runtime=runtime)
    steps = speed.time_picture(detector, inputs.picture, runs)
    series = speed.time_series(detector, inputs.series, runs)
    memory = speed.series_megabytes(model, runtime, inputs.series)
    alone = load_detector(model, threads=1, runtime=runtime)
    rate = speed.pictures_per_second(alone, inputs.pictures, cores())
    return {
        "one picture of 512 px, ms": {step: _both(spread) for step, spread in steps.items()},
        f"folder of {_count(inputs.pictures)} pictures, pictures a second": rate,
        f"series of {_count(inputs.series)} slices, read and scored, s": series,
        "most memory, series, MB": memory,
    }


def _count(folder: Path) -> int:
    return len(list(folder.iterdir()))


def _both(spread: "Spread") -> dict[str, float]:
    return {"median": spread.median, "p95": spread.p95}


def _eager_resnet18(runs: int) -> dict[str, float] | None:
    """Return the time of torchvision's network; None where it is not installed."""
    try:
        from lab.speed.comparison import time_eager_resnet18
    except ModuleNotFoundError:
        return None
    return _both(time_eager_resnet18(runs))


def _print(report: dict[str, Any]) -> None:
    from rich.table import Table

    from meninx._cli.console import output_console

    table = Table(box=None, pad_edge=False)
    for heading in ("what", "median", "95th percentile"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for row in rows_of(report):
        table.add_row(*row)
    console = output_console()
    console.print(report["machine"])
    console.print(table)


def rows_of(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the table's rows: measurement, median, 95th percentile.

    Args:
        report: Figures as `--json` writes them.

    Returns:
        Texts of each row; empty where a figure has no spread.
    """
    rows = []
    for runtime, figures in report["runtimes"].items():
        for name, value in figures.items():
            if isinstance(value, dict):
                rows += [
                    (f"{runtime}: one picture, {step}, ms", *_texts(spread))
                    for step, spread in value.items()
                ]
            else:
                rows.append((f"{runtime}: {name}", f"{value:.2f}", ""))
    rows.append(
        ("cold command, one picture, s", f"{report['cold command, one picture, s']:.2f}", "")
    )
    eager = report["ResNet-18 of torchvision, eager, network alone, ms"]
    if eager:
        rows.append(("ResNet-18 of torchvision, eager, network alone, ms", *_texts(eager)))
    return rows


def _texts(spread: dict[str, float]) -> tuple[str, str]:
    return f"{spread['median']:.2f}", f"{spread['p95']:.2f}"
