"""Score an archive: pass over it until nothing is missing, and keep what comes back."""

import logging
import multiprocessing
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import Queue

from meninx.archive.news import LOST, Channel, News, UnitResult
from meninx.archive.options import Options
from meninx.archive.store import open_store
from meninx.archive.table import Done, Table
from meninx.archive.units import folder_stamp
from meninx.errors import DataError, MeninxError

# How often machines may be lost, one time after the other, without a single unit done.
MAX_FRUITLESS = 3
# How often to look whether all is well, and how long nothing may come once a machine is lost, s.
POLL_SECONDS, STALL_SECONDS = 0.5, 30.0
# That the other process has to leave a cluster in good order.
END_SECONDS = 15.0
# Blocks of units that wait for the ledger.
QUEUED = 16
log = logging.getLogger(__name__)


@dataclass
class Progress:
    """Count what becomes of an archive's files.

    Args:
        files: Done in this run.
        units: Done in this run.
        rows: New in the table.
        found: Files counted in the archive so far.
        earlier: Those of them in folders that earlier runs have done.
        counted: Whether all are counted.
        unreached: Places whose files could not be had.
    """

    files: int = 0
    units: int = 0
    rows: int = 0
    found: int = 0
    earlier: int = 0
    counted: bool = False
    unreached: int = 0


def score_archive(
    options: Options, table: Table, report: Callable[[Progress], None], stop: threading.Event
) -> Progress:
    """Score what is not done yet of an archive.

    Args:
        options: How.
        table: That rows go into.
        report: UnitResult whenever something came back.
        stop: Set to end early; what came back is kept.

    Returns:
        What became of it.
    """
    progress = Progress()
    counting = (options.source, table.done(), progress, stop)
    threading.Thread(target=_count, args=counting, daemon=True).start()
    fruitless = 0
    while fruitless < MAX_FRUITLESS:
        before = progress.units
        progress.unreached = 0
        if _pass(options, table, progress, report, stop):
            stop.set()
            return progress
        fruitless = 0 if progress.units > before else fruitless + 1
        log.warning("a machine was lost: once more what is missing")
    raise DataError(
        f"{options.source}: machines were lost {MAX_FRUITLESS} times without anything done "
        "between; what was done before is kept, run the same command to go on"
    )


def _pass(
    options: Options, table: Table, progress: Progress, report: Callable[[Progress], None],
    stop: threading.Event,
) -> bool:  # fmt: skip
    """Go through the archive once, and keep what comes back.

    Args:
        options: How.
        table: That rows go into.
        progress: Counted on.
        report: As for `score_archive`.
        stop: As for `score_archive`.

    Returns:
        Whether that is all; False if a machine was lost and nothing comes any more. Ray restarts
        what ran there, and waits for that: for ever where the machines left are busy.

    Raises:
        MeninxError: That stopped the other process.
    """
    with _scoring(options, table.done()) as (process, channel):
        heard, lost = time.monotonic(), False
        while not stop.is_set():
            try:
                news = channel.get(timeout=POLL_SECONDS)
            except queue.Empty:
                stalled = lost and time.monotonic() - heard > STALL_SECONDS
                if stalled or not process.is_alive():
                    return False
                continue
            if news is None:
                return True
            if isinstance(news, MeninxError):
                raise news
            if news == LOST:
                lost = True
            elif isinstance(news, list):
                heard = time.monotonic()
                _keep(news, table, progress)
                report(progress)
        return True


@contextmanager
def _scoring(options: Options, done: Done) -> "Iterator[tuple[SpawnProcess, Queue[News]]]":
    """Run the process that scores; in the end it is gone, and the files that it fetched are."""
    context = multiprocessing.get_context("spawn")
    channel: Queue[News] = context.Queue(QUEUED)
    # Removed from here, as that process may be killed, and its threads fetch to their last moment.
    with tempfile.TemporaryDirectory(prefix="meninx-") as scratch:
        process = context.Process(target=_feed, args=(options, done, channel, scratch))
        process.start()
        try:
            yield process, channel
        finally:
            # In good order if it can: what a killed one asked of a cluster stays reserved a while.
            process.terminate()
            process.join(END_SECONDS)
            process.kill()
            process.join()


def _feed(options: Options, done: Done, channel: Channel, scratch: str) -> None:
    """Score in this process: on this machine alone, or on a cluster."""
    if options.address:
        from meninx.archive import cluster  # only this process waits until Ray is imported

        cluster.feed(options, done, channel)  # its machines have temporary folders of their own
    else:
        from meninx.archive import machine

        machine.feed(options, done, channel, scratch)


def _keep(units: list[UnitResult], table: Table, progress: Progress) -> None:
    reached = [unit for unit in units if not unit["unreached"]]
    progress.rows += table.add(reached)
    progress.units += len(reached)
    progress.unreached += len(units) - len(reached)
    progress.files += sum(unit["files"] for unit in reached)


def _count(source: str, done: Done, progress: Progress, stop: threading.Event) -> None:
    """Count the archive's files, so that the time left can be told."""
    with suppress(Exception):  # what is out of reach is told where it is to be scored
        store = open_store(source)
        for folder in store.folders():
            progress.found += len(folder.entries)
            progress.earlier += len(folder.entries) if folder_stamp(store, folder) in done else 0
            if stop.is_set():
                return
        progress.counted = True
