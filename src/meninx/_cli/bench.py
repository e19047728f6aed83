"""Time the detector on this machine: `meninx bench`."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meninx._cli.extras import needs_extra
from meninx._cli.options import JsonOption, ModelOption
from meninx._cli.writable import check_folder
from meninx._detect.precision import PRECISIONS, Precision
from meninx._processes import usable_cores

if TYPE_CHECKING:
    from meninx._assess.speed import Inputs, Spread

_COLD = "cold command, one picture, s"
_COLD_RATIO = "cold command, times as long as importing NumPy and ONNX Runtime"
_PICTURE = "one picture of 512 px, ms"


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
    """Time the detector on this machine.

    One picture, a folder and a series, of synthetic scans.

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
    """Return the median time of each single step of one picture, ms."""
    from meninx._assess.speed import ALL_BUT_NETWORK, WHOLE

    return {
        step: spread["median"]
        for step, spread in figures[_PICTURE].items()
        if step not in (ALL_BUT_NETWORK, WHOLE)
    }


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
        _COLD: cold.whole,
        _COLD_RATIO: cold.times_imports,
    }


def _measure_precision(
    precision: Precision, model: Path | None, inputs: "Inputs", runs: int
) -> dict[str, Any]:
    """Return the figures of one precision."""
    from meninx._assess import speed
    from meninx._detect.loading import load_detector

    detector = load_detector(model, precision=precision)
    pictures = {_PICTURE: inputs.picture, "the same as JPEG, ms": inputs.jpeg}
    steps = {name: speed.time_picture(detector, path, runs) for name, path in pictures.items()}
    series = speed.time_series(detector, inputs.series, runs)
    one_thread = load_detector(model, threads=1, precision=precision)
    rate = speed.pictures_per_second(one_thread, inputs.pictures, usable_cores())
    return {
        **{
            name: {step: _as_json(spread) for step, spread in own.items()}
            for name, own in steps.items()
        },
        f"folder of {_count(inputs.pictures)} pictures, pictures a second": rate,
        f"series of {_count(inputs.series)} slices, read and scored, s": series.whole,
        "series, times as long as its network alone": series.times_network,
        "most memory, one picture, MB": speed.peak_of_scoring(model, precision, inputs.picture),
        "most memory, series, MB": speed.peak_of_scoring(model, precision, inputs.series),
    }


def _count(folder: Path) -> int:
    return len(list(folder.iterdir()))


def _as_json(spread: "Spread") -> dict[str, float]:
    return {"median": spread.median, "p95": spread.p95}


def _print(report: dict[str, Any]) -> None:
    from rich.table import Table

    from meninx._cli.console import output_console

    table = Table(box=None, pad_edge=False)
    for heading in ("what", "median", "95th percentile", "share"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for row in rows_of(report):
        table.add_row(*row)
    console = output_console()
    console.print(report["machine"])
    console.print(table)


def rows_of(report: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return the table's rows: measurement, median, 95th percentile, share of the whole.

    Args:
        report: Figures as `--json` writes them.

    Returns:
        Texts of each row; the last two are empty where a figure has no spread.
    """
    rows = []
    for precision, figures in report["precisions"].items():
        for name, value in figures.items():
            if isinstance(value, dict):
                rows += _step_rows(f"{precision}: {name.removesuffix(', ms')}", value)
            else:
                rows.append((f"{precision}: {name}", f"{value:.2f}", "", ""))
    return [*rows, *((name, f"{report[name]:.2f}", "", "") for name in (_COLD, _COLD_RATIO))]


def _step_rows(what: str, steps: dict[str, dict[str, float]]) -> list[tuple[str, str, str, str]]:
    """Return the rows of one picture's steps, ms, with the share of each in the whole."""
    whole = next(reversed(steps.values()))["median"]
    return [
        (
            f"{what}: {step}, ms",
            f"{spread['median']:.2f}",
            f"{spread['p95']:.2f}",
            f"{spread['median'] / whole:.0%}",
        )
        for step, spread in steps.items()
    ]
