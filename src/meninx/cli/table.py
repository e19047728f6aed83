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
    rows = list(findings)
    for found in rows:
        table.add_row(*_cells(found))
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = FILE_WIDTH
    console.print(table)
    if said := _about_referral(rows):
        console.print(said, style="dim")
    console.print("For research, not for diagnosis.", style="dim")


def _about_referral(findings: Iterable[Findings]) -> str:
    """Return what `refer` means, where something is referred."""
    coverages = {found.coverage for found in findings if found.decision == "refer"}
    return " ".join(
        f"refer: both answers remain open at a coverage of {coverage:.0%}, which is calibrated on "
        "held-out and simulated scans and may not hold on yours."
        for coverage in coverages
        if coverage is not None
    )


def _cells(found: Findings) -> list[Text]:
    """Return one row; names from files are never read as markup."""
    if found.decision is None:
        answer = Text(found.status, style="yellow")
        return [Text(found.scan), answer, *[Text("")] * 4, Text(found.message or "")]
    hottest = found.hottest
    likely = max(found.possible_types.items(), key=lambda item: item[1], default=None)
    return [
        Text(found.scan),
        Text(WORDS[found.decision], style=STYLES[found.decision]),
        Text(f"{found.probability or 0.0:.3f}"),
        Text(f"{found.threshold or 0.0:.3f}"),
        Text(str(hottest.index) if hottest else ""),
        Text(" ".join(map(str, hottest.peak)) if hottest else ""),
        Text(f"if so, {likely[0]} {likely[1]:.0%}" if likely else ""),
    ]
