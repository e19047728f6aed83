"""Show findings as a table on a terminal."""

import os
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from meninx.detect.findings import Findings

# Where the table goes into a file or a pipe, nothing says how wide it may be.
FILE_WIDTH = 160
STYLES = {"tumor": "bold red", "no_tumor": "green", "refer": "yellow"}
WORDS = {"tumor": "tumor", "no_tumor": "no tumor", "refer": "refer"}


def print_table(findings: Iterable[Findings]) -> None:
    """Print one row a scan, and what it is for, to standard output."""
    table = Table(box=None, pad_edge=False)
    table.add_column("scan", overflow="fold")
    for heading in ("answer", "probability", "called from", "slice", "voxel"):
        table.add_column(heading)
    table.add_column("remark", overflow="fold")
    for found in findings:
        table.add_row(*_cells(found))
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = FILE_WIDTH
    console.print(table)
    console.print("For research, not for diagnosis.", style="dim")


def _cells(found: Findings) -> list[Text]:
    """Return one row; names from files are never read as markup."""
    if found.decision is None:
        answer = Text(found.status, style="yellow")
        return [Text(found.scan), answer, *[Text("")] * 4, Text(found.message or "")]
    hottest = found.hottest
    likely = max(found.called_types.items(), key=lambda item: item[1], default=None)
    return [
        Text(found.scan),
        Text(WORDS[found.decision], style=STYLES[found.decision]),
        Text(f"{found.probability or 0.0:.3f}"),
        Text(f"{found.threshold or 0.0:.3f}"),
        Text(str(hottest.index) if hottest else ""),
        Text(" ".join(map(str, hottest.peak)) if hottest else ""),
        Text(f"if so, {likely[0]} {likely[1]:.0%}" if likely else ""),
    ]
