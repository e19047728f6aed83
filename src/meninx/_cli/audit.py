"""Find copies, leaks and shortcuts in a data set: `meninx audit DATA`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meninx._cli.extras import needs_extra
from meninx._cli.options import (
    DataArgument,
    JsonOption,
    LabelOption,
    parse_labels,
)
from meninx._cli.progress import progress_of
from meninx._cli.writable import check_file
from meninx._processes import usable_cores

if TYPE_CHECKING:
    from meninx._assess.data_audit import Audit

_MAX_LINES = 12


def audit(
    data: DataArgument,
    output: Annotated[
        Path, typer.Option(help="Page to write, with the copies side by side.")
    ] = Path("audit.html"),
    as_json: JsonOption = False,
    label: LabelOption = None,
) -> None:
    """Find what inflates figures: copies, leaks, shortcuts.

    Copies are found mirrored, turned, brightened, resized, cropped or saved again. The shortcut
    probe predicts the label without the brain. Needs the extra `evidence`.
    """
    with needs_extra("evidence"):
        from meninx._assess.data_audit import audit as run_audit
        from meninx._assess.data_audit import write_audit
    check_file(output, "--output")
    with progress_of() as progress:
        result = run_audit(data, parse_labels(label), progress, usable_cores())
    for note in result.survey.notes:
        typer.echo(note, err=True)
    write_audit(result, output, data.name or str(data))
    if as_json:
        typer.echo(json.dumps(result.as_json(), allow_nan=False))
    else:
        _print(result)
    typer.echo(f"page: {output}", err=True)


def _print(result: "Audit") -> None:
    from rich.table import Table
    from rich.text import Text

    from meninx._cli.console import one_line, output_console

    console = output_console()
    table = Table(box=None, pad_edge=False, show_header=False)
    labels = ", ".join(f"{count} {name}" for name, count in sorted(result.labels.items()))
    formats = ", ".join(f"{count} {name}" for name, count in result.formats.most_common())
    rows = [
        ("files", f"{len(result.survey.items)}: {labels}"),
        ("formats", formats or "volumes"),
        ("unreadable", str(len(result.corrupt))),
        ("byte-identical to another", str(result.redundant["exact"])),
        ("the same slice as another, those included", str(result.redundant["near"])),
        ("distinct slices", str(len(set(result.survey.duplicates.cluster.tolist())))),
        ("groups across a split", str(len(result.across_splits))),
        ("groups across labels", str(len(result.across_labels))),
    ]
    rows += [
        (f"label from {probe.name} alone", f"AUROC {probe.auroc} ({result.probed})")
        for probe in result.probes
    ]
    for name, value in rows:
        table.add_row(name, Text(value))
    console.print(table)
    if result.verdict:
        console.print(result.verdict)
    for file, message in result.corrupt[:_MAX_LINES]:
        console.print(Text(one_line(f"  {file}: {message}")))
    for group in (*result.across_labels, *result.across_splits)[:_MAX_LINES]:
        console.print(Text(one_line("  shared: " + " = ".join(result.files(group)[:4]))))
