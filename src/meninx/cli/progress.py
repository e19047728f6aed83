"""Score scans with a bar on standard error."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meninx.detect.detector import Detector
    from meninx.detect.findings import Findings
    from meninx.scan.scan import Scan


def with_progress(
    detector: "Detector", paths: Sequence[str | Path]
) -> Iterator[tuple["Scan | None", "Findings"]]:
    """Yield what is found, with a bar on standard error where that is a terminal."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from meninx.cli.console import errors_console
    from meninx.detect.detector import score_path

    console = errors_console()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=console.quiet) as progress:
        task = progress.add_task("reading", total=None)
        count = 0
        for path in paths:
            for scan, findings in score_path(detector, path):
                count += 1
                progress.update(task, description=f"{count} scans, last {findings.scan}")
                yield scan, findings
