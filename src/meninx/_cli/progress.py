"""Show how far work is on standard error: a bar on a terminal, a line now and then elsewhere."""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from rich.progress import TaskID

    from meninx._detect.detector import Detector
    from meninx._render.result import Result
    from meninx._scan.geometry import Spacing

# Seconds between two lines where there is no terminal: a log file stays readable.
SECONDS_BETWEEN_LINES = 10.0


class LinesOfProgress:
    """Lines about progress, one every few seconds, also while one step takes long.

    Args:
        seconds: Time between two lines, s; shorter work writes none.
        file: File to write to; None for standard error as it is then.
    """

    def __init__(self, seconds: float = SECONDS_BETWEEN_LINES, file: TextIO | None = None) -> None:
        self.state = ""
        self._seconds, self._file = seconds, file
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._write_lines, daemon=True)
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _write_lines(self) -> None:
        while not self._done.wait(self._seconds):
            if self.state:
                elapsed = time.monotonic() - self._started
                line = f"meninx: {self.state} ({elapsed:.0f} s)"
                print(line, file=self._file or sys.stderr, flush=True)


@contextmanager
def progress_of() -> Iterator[Callable[[str, int, int], None]]:
    """Show how much of some work is done.

    Yields:
        A function that takes what is done, how much of it, and how much there is.
    """
    from rich.progress import Progress

    from meninx._cli.console import errors_console

    console = errors_console()
    if console.quiet:
        with LinesOfProgress() as lines:

            def show_line(what: str, done: int, total: int) -> None:
                lines.state = f"{what}: {done} of {total}"

            yield show_line
        return
    with Progress(console=console, transient=True) as progress:
        tasks: dict[str, TaskID] = {}

        def show_bar(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)

        yield show_bar


def with_progress(
    detector: "Detector", paths: Sequence[str | Path], spacing_mm: "Spacing | None" = None
) -> "Iterator[Result]":
    """Yield the result of each scan, and show how many there are so far."""
    from meninx._scoring.loop import score_path

    with _description_of() as describe:
        describe("reading")
        count = 0
        for path in paths:
            for result in score_path(detector, path, spacing_mm=spacing_mm):
                count += 1
                describe(f"{count} scans, last {result.findings.scan}")
                yield result
                del result  # else it would be held while the next scan is read


@contextmanager
def _description_of() -> Iterator[Callable[[str], None]]:
    """Show what is being done where the amount of work is not known."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from meninx._cli.console import errors_console

    console = errors_console()
    if console.quiet:
        with LinesOfProgress() as lines:
            yield lambda text: setattr(lines, "state", text)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("reading", total=None)
        yield lambda text: progress.update(task, description=text)
