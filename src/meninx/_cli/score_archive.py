"""Score an archive into a table: `meninx score-archive SOURCE --out TABLE`."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meninx._cli.console import INTERRUPTED, errors_console
from meninx._cli.extras import needs_extra
from meninx._cli.options import ModelOption
from meninx._cli.writable import check_folder
from meninx._errors import counted

if TYPE_CHECKING:
    from meninx._archive.run import RunProgress

SOME_NOT_SCORED = 1
GIB = 2**30


def score_archive(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder tree; a list (.csv or .parquet with a column `path`, relative to it); "
            "an object store, such as s3://bucket/prefix; or http(s)://... of a DICOMweb service "
            "(its password in ~/.netrc)."
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder of the table, made if missing; run again to resume.")
    ],
    model: ModelOption = None,
    workers: Annotated[
        int,
        typer.Option(min=0, help="Number of workers; 0 for one per core, or per GPU of a cluster."),
    ] = 0,
    address: Annotated[
        str | None,
        typer.Option(
            help="Address of a running Ray cluster, such as host:6379, which needs the extra ray; "
            "by default this machine only."
        ),
    ] = None,
    maps: Annotated[
        bool, typer.Option("--maps", help="Store a heat map of each scan as PNG in the table.")
    ] = False,
    seconds: Annotated[
        float,
        typer.Option(min=1, help="Time limit of a series, s; a slower series counts as failed."),
    ] = 300.0,
    memory_gib: Annotated[
        float, typer.Option(min=1, help="Memory limit of a worker process, GiB.")
    ] = 4.0,
) -> None:
    """Score all series of an archive into a Parquet table.

    Works on all cores, or a cluster.

    A run can be stopped at any time; the next run scores only what is missing, by content and
    detector. At the end TABLE/_meninx contains summary.html and drift.html. Exit status: 0 if every
    scan was scored, 1 if some were refused, failed, out of reach, incomplete or not joined, 2 for
    wrong usage.
    For research, not for diagnosis.
    """
    if address is not None:
        with needs_extra("ray", "ray"):
            pass
    with needs_extra("archive"):
        from meninx._archive.options import Options
        from meninx._archive.run import score_archive
        from meninx._archive.store import open_store
        from meninx._archive.summary import write_pages
        from meninx._archive.table import Table
    from meninx._detect.loading import load_detector

    if "://" not in source:
        source = str(Path(source).resolve())
    check_folder(out, "--out")
    open_store(source)
    detector = load_detector(model, threads=1)
    table = Table(out, detector.model["sha256"], source)
    options = Options(
        source=source,
        named=detector.model,
        model=model.resolve() if model else None,
        workers=workers,
        address=address,
        maps=maps,
        seconds=seconds,
        memory_bytes=int(memory_gib * GIB),
    )
    stop = threading.Event()
    began = time.monotonic()
    with _reported(stop) as (report, interrupted):
        progress = score_archive(options, table, report, stop)
    table.finish()
    summary = write_pages(table, detector, progress, time.monotonic() - began)
    table.close()
    for line in summary.lines():
        typer.echo(line, err=True)
    if interrupted():
        typer.echo("meninx: stopped; run the same command again to go on", err=True)
        raise typer.Exit(INTERRUPTED)
    if summary.not_scored or summary.incomplete or progress.unreached or progress.split:
        raise typer.Exit(SOME_NOT_SCORED)


@contextmanager
def _reported(
    stop: threading.Event,
) -> Iterator[tuple[Callable[["RunProgress"], None], Callable[[], bool]]]:
    """Show the progress of a run, and stop it on Ctrl-C or SIGTERM.

    Args:
        stop: Event that ends the run.

    Yields:
        A function that shows progress, and a function that returns whether the run was stopped.
    """
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    interrupted = threading.Event()

    def end(*_: object) -> None:
        interrupted.set()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    console = errors_console()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    began = time.monotonic()
    with Bar(*columns, console=console, transient=True, disable=console.quiet) as bar:
        task = bar.add_task("starting", total=None)

        def report(progress: "RunProgress") -> None:
            files = progress.files + progress.earlier
            bar.update(
                task,
                description=_progress_text(progress, time.monotonic() - began),
                completed=files,
                total=max(progress.found, files) if progress.counted else None,
            )

        yield report, interrupted.is_set


def _progress_text(progress: "RunProgress", seconds: float) -> str:
    """Return the text of progress: scans, rate, and the remaining time if known."""
    rate = progress.files / seconds if seconds else 0
    text = f"{counted(progress.rows, 'scan')}, {progress.rows / max(seconds, 1e-9):.1f} a second"
    if not progress.counted:
        return f"{text}, still counting: {counted(progress.found, 'file')} so far"
    left = max(progress.found - progress.files - progress.earlier, 0)
    if not rate:
        return text
    minutes = left / rate / 60
    return f"{text}, {minutes:.0f} min left" if minutes >= 1 else f"{text}, under a minute left"
