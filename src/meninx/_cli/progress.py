"""Show progress on standard error: a bar on a terminal, a line every ten seconds elsewhere."""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self, TextIO

from meninx._errors import counted

if TYPE_CHECKING:
    from rich.progress import TaskID

    from meninx._detect.detector import Detector
    from meninx._render.result import Result
    from meninx._scan.geometry import Spacing

# Interval of lines without a terminal, s: a log file stays readable.
SECONDS_BETWEEN_LINES = 10.0


class LinesOfProgress:
    """Lines of progress at regular intervals, also during long steps.

    Args:
        seconds: Interval of lines, s; shorter work writes none.
        file: File to write to; None for the current standard error.
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
    """Show the progress of steps with a known amount of work.

    Yields:
        A function of the step's name, the finished amount and the total amount.
    """
    if not sys.stderr.isatty():
        with LinesOfProgress() as lines:

            def show_line(what: str, done: int, total: int) -> None:
                lines.state = f"{what}: {done} of {total}"

            yield show_line
        return
    from rich.progress import Progress

    from meninx._cli.console import errors_console

    with Progress(console=errors_console(), transient=True) as progress:
        tasks: dict[str, TaskID] = {}

        def show_bar(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)

        yield show_bar


def with_progress(
    detector: "Detector", paths: Sequence[str | Path], spacing_mm: "Spacing | None" = None
) -> "Iterator[Result]":
    """Yield the result of each scan, and show their number so far."""
    from meninx._scoring.loop import score_path

    with _spinner() as describe:
        describe("reading")
        count = 0
        for path in paths:
            for result in score_path(detector, path, spacing_mm=spacing_mm):
                count += 1
                describe(f"{counted(count, 'scan')}, last {result.findings.scan}")
                yield result
                del result  # otherwise it stays in memory while the next scan is read


@contextmanager
def _spinner() -> Iterator[Callable[[str], None]]:
    """Show the current step of work of unknown amount."""
    if not sys.stderr.isatty():
        # Without rich, which takes 30 ms to import.
        with LinesOfProgress() as lines:
            yield lambda text: setattr(lines, "state", text)
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from meninx._cli.console import errors_console

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=errors_console(), transient=True) as progress:
        task = progress.add_task("reading", total=None)
        yield lambda text: progress.update(task, description=text)
