"""Show an evaluation's main figures on a terminal."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from meninx._assess.evaluation import Evaluation
    from meninx._assess.intervals import Figure

_PROBABILITY_FIGURES = ("auroc", "average_precision", "brier")
_FROC_HEAT = 0.5
_POINT_FIGURES = ("sensitivity", "specificity", "accuracy", "f1")


def print_evaluation(result: "Evaluation", output: Path) -> None:
    """Print the main figures and the path of the report.

    Args:
        result: Evaluation to show.
        output: Folder of its report.
    """
    from rich.table import Table

    from meninx._assess.evaluation_report import referrals_in_words, verdict
    from meninx._cli.console import output_console

    console = output_console()
    if result.leaking:
        console.print(
            "LEAKING: these figures may be too good, and are no evidence.", style="bold red"
        )
    table = Table(box=None, pad_edge=False, show_header=False)
    unit = f" scans, stacks of {result.stacked} pictures" if result.stacked else ""
    tumors = int(result.answers.tumor.sum())
    table.add_row("cases", f"{len(result.cases)}{unit}, {tumors} with tumor")
    if result.left_out:
        name = "leaking" if result.leaking else "left out"
        table.add_row(name, f"{result.left_out} pictures or volumes, learned from")
    if result.unscored:
        table.add_row("not scored", str(len(result.unscored)))
    for name, figure in _main_figures(result):
        table.add_row(name, str(figure).replace("[", r"\["))
    console.print(table)
    if result.copies.known and (text := result.copies.text):
        console.print(text + ("." if result.leaking else ": left out."))
    if referrals := referrals_in_words(result):
        console.print(f"Referred: {referrals}.", markup=False)
    for text in (*result.limits, verdict(result), result.ensemble_text):
        if text:
            console.print(text, markup=False)
    console.print("For research, not for diagnosis.", style="dim")
    typer.echo(f"report: {output / 'report.html'}", err=True)


def _main_figures(result: "Evaluation") -> "Iterator[tuple[str, Figure]]":
    """Yield the name and the value of each figure in the table."""
    from meninx._assess.evaluation_report import DECISIONS, NAMES

    for name, figure in result.decisions.items():
        yield f"answers: {DECISIONS[name]}", figure
    for name in _PROBABILITY_FIGURES:
        yield f"probability: {NAMES[name]}", result.figures[name]
    for name in _POINT_FIGURES:
        yield f"operating point: {NAMES[name]}", result.figures[name]
    for probe in result.probes:
        yield f"shortcut: {probe.name}", probe.auroc
    yield from result.segmentation.items()
    for point in result.froc:
        if point.heat == _FROC_HEAT:
            yield f"lesions marked, heat of {_FROC_HEAT:g}", point.sensitivity["all lesions"]
            yield f"false marks a scan, heat of {_FROC_HEAT:g}", point.false_marks
