"""Time the detector on this machine: `meninx bench`."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meninx._cli.extras import needs_extra
from meninx._cli.options import JsonOption, ModelOption
from meninx._cli.writable import check_folder
from meninx._detect.loading import PRECISIONS, Precision
from meninx._processes import usable_cores

if TYPE_CHECKING:
    from meninx._assess.speed import Inputs, Spread

_COLD = "cold command, one picture, s"


def bench(
    model: ModelOption = None,
    runs: Annotated[int, typer.Option(min=3, help="Runs of one picture that count.")] = 100,
    pictures: Annotated[int, typer.Option(min=1, help="Pictures in the folder.")] = 200,
    slices: Annotated[int, typer.Option(min=2, help="Slices of the series.")] = 192,
    as_json: JsonOption = False,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for bench.json and a plot, bench.png, which needs the extra evidence.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Time one picture, a folder and a series on this machine, on synthetic scans.

    Nothing else should run meanwhile. The shipped detector is timed in both precisions.
    """
    if output is not None:
        check_folder(output, "--output")
        with needs_extra("evidence"):
            from meninx._assess.plots import plot_times
    report = _measure(model, runs, pictures, slices)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / "bench.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        plot_times(
            {name: _medians(figures) for name, figures in report["precisions"].items()},
            output / "bench",
        )
    if as_json:
        typer.echo(json.dumps(report, allow_nan=False))
    else:
        _print(report)


def _medians(figures: dict[str, Any]) -> dict[str, float]:
    """Return the median time of each step of one picture, ms."""
    return {step: spread["median"] for step, spread in figures["one picture of 512 px, ms"].items()}


def _measure(model: Path | None, runs: int, pictures: int, slices: int) -> dict[str, Any]:
    """Return all figures, as `--json` writes them."""
    from meninx._assess import speed
    from meninx._cli.progress import progress_of
    from meninx._detect.loading import load_detector

    # A named file has one format.
    precisions = PRECISIONS[:1] if model else PRECISIONS
    total = 2 + len(precisions)
    with tempfile.TemporaryDirectory() as folder, progress_of() as progress:
        progress("writing synthetic scans", 0, total)
        inputs = speed.make_inputs(Path(folder), pictures, slices)
        measured = {}
        for done, precision in enumerate(precisions, start=1):
            progress(f"timing {precision}", done, total)
            name = str(model) if model else precision
            measured[name] = _measure_precision(precision, model, inputs, runs)
        progress("timing a cold start", total - 1, total)
        options = ["--model", str(model)] if model else []
        cold = speed.time_cold(["predict", str(inputs.picture), "--json", *options], runs)
        progress("timing a cold start", total, total)
    return {
        "machine": speed.machine(),
        "model": load_detector(model).model,
        "precisions": measured,
        _COLD: cold,
    }


def _measure_precision(
    precision: Precision, model: Path | None, inputs: "Inputs", runs: int
) -> dict[str, Any]:
    """Return the figures of one precision."""
    from meninx._assess import speed
    from meninx._detect.loading import load_detector

    detector = load_detector(model, precision=precision)
    steps = speed.time_picture(detector, inputs.picture, runs)
    series = speed.time_series(detector, inputs.series, runs)
    memory = speed.series_megabytes(model, precision, inputs.series)
    one_thread = load_detector(model, threads=1, precision=precision)
    rate = speed.pictures_per_second(one_thread, inputs.pictures, usable_cores())
    return {
        "one picture of 512 px, ms": {step: _as_json(spread) for step, spread in steps.items()},
        f"folder of {_count(inputs.pictures)} pictures, pictures a second": rate,
        f"series of {_count(inputs.series)} slices, read and scored, s": series,
        "most memory, series, MB": memory,
    }


def _count(folder: Path) -> int:
    return len(list(folder.iterdir()))


def _as_json(spread: "Spread") -> dict[str, float]:
    return {"median": spread.median, "p95": spread.p95}


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
        Texts of each row; the last is empty where a figure has no spread.
    """
    rows = []
    for precision, figures in report["precisions"].items():
        for name, value in figures.items():
            if isinstance(value, dict):
                rows += [
                    (
                        f"{precision}: one picture, {step}, ms",
                        f"{spread['median']:.2f}",
                        f"{spread['p95']:.2f}",
                    )
                    for step, spread in value.items()
                ]
            else:
                rows.append((f"{precision}: {name}", f"{value:.2f}", ""))
    return [*rows, (_COLD, f"{report[_COLD]:.2f}", "")]
