"""Score an archive: go through it until nothing is missing, and keep what comes back."""

import logging
import multiprocessing
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import Queue

from meninx._archive.news import LOST, Channel, News, UnitResult
from meninx._archive.options import Options
from meninx._archive.store import open_store
from meninx._archive.table import Done, Table
from meninx._archive.units import folder_stamp
from meninx._errors import DataError, MeninxError
from meninx._quiet import without_passwords

# How often machines may be lost, one time after the other, without a single unit done.
MAX_FRUITLESS = 3
# How often to look whether all is well, and how long nothing may come once a machine is lost, s.
POLL_SECONDS, STALL_SECONDS = 0.5, 30.0
# Time that the other process has to leave a cluster in good order, s.
END_SECONDS = 15.0
# Blocks of units that wait for the ledger.
QUEUED = 16
# Reasons why places are out of reach that are kept, and places of each by name.
MAX_PLACES = 1000
log = logging.getLogger(__name__)


@dataclass
class RunProgress:
    """Counts of an archive's files and of what became of them.

    Args:
        files: Files done in this run.
        units: Units done in this run.
        rows: New rows in the table.
        found: Files counted in the archive so far.
        earlier: Files counted so far in folders that earlier runs have done.
        counted: Whether all files are counted.
        unreached: Units whose files could not be fetched.
        places: Places of these units, by the reason; no more than `MAX_PLACES` of a reason.
    """

    files: int = 0
    units: int = 0
    rows: int = 0
    found: int = 0
    earlier: int = 0
    counted: bool = False
    unreached: int = 0
    places: dict[str, list[str]] = field(default_factory=dict)


def score_archive(
    options: Options, table: Table, report: Callable[[RunProgress], None], stop: threading.Event
) -> RunProgress:
    """Score what is not done yet of an archive.

    Args:
        options: Source, detector, workers and limits.
        table: Table that rows go into.
        report: Called with the progress whenever results came back.
        stop: Event that ends the run early; what came back is kept.

    Returns:
        The counts at the end.
    """
    progress = RunProgress()
    counting = (options.source, table.done(), progress, stop)
    threading.Thread(target=_count, args=counting, daemon=True).start()
    fruitless = 0
    while fruitless < MAX_FRUITLESS:
        before = progress.units
        progress.unreached = 0
        progress.places = {}
        if _pass(options, table, progress, report, stop):
            stop.set()
            return progress
        fruitless = 0 if progress.units > before else fruitless + 1
        log.warning("a machine of the cluster was lost; what is missing is scored again")
    raise DataError(
        f"{without_passwords(options.source)}: machines were lost {MAX_FRUITLESS} times in a row "
        "with nothing done in between; what was done before is kept, run the same command to go on"
    )


def _pass(
    options: Options,
    table: Table,
    progress: RunProgress,
    report: Callable[[RunProgress], None],
    stop: threading.Event,
) -> bool:
    """Go through the archive once, and keep what comes back.

    Args:
        options: Source, detector, workers and limits.
        table: Table that rows go into.
        progress: Counts that are added to.
        report: Called with the progress whenever results came back.
        stop: Event that ends the run early; what came back is kept.

    Returns:
        True if the archive is done; False if a machine was lost and nothing comes any more. Ray
        restarts what ran there, and waits for that: for ever where the machines left are busy.

    Raises:
        MeninxError: The error that stopped the other process.
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
    """Run the process that scores; at the end it and the files that it fetched are gone."""
    context = multiprocessing.get_context("spawn")
    channel: Queue[News] = context.Queue(QUEUED)
    # Removed from here, as that process may be killed, and its threads fetch to their last moment.
    with tempfile.TemporaryDirectory(prefix="meninx-") as scratch:
        process = context.Process(target=_feed, args=(options, done, channel, scratch))
        process.start()
        try:
            yield process, channel
        finally:
            # In good order if possible: what a killed process reserved on a cluster stays reserved.
            process.terminate()
            process.join(END_SECONDS)
            process.kill()
            process.join()


def _feed(options: Options, done: Done, channel: Channel, scratch: str) -> None:
    """Score in this process: on this machine alone, or on a cluster."""
    if options.address:
        from meninx._archive import cluster  # only this process waits until Ray is imported

        cluster.feed(options, done, channel)  # its machines have temporary folders of their own
    else:
        from meninx._archive import machine

        machine.feed(options, done, channel, scratch)


def _keep(units: list[UnitResult], table: Table, progress: RunProgress) -> None:
    reached = [unit for unit in units if not unit["unreached"]]
    progress.rows += table.add(reached)
    progress.units += len(reached)
    progress.unreached += len(units) - len(reached)
    progress.files += sum(unit["files"] for unit in reached)
    for unit in units:
        if unit["unreached"]:
            # Reasons often repeat the place that they are about.
            reason = unit["unreached"].removeprefix(f"{unit['place']}: ")
            if reason in progress.places or len(progress.places) < MAX_PLACES:
                places = progress.places.setdefault(reason, [])
                places += [unit["place"]] * (len(places) < MAX_PLACES)


def _count(source: str, done: Done, progress: RunProgress, stop: threading.Event) -> None:
    """Count the archive's files, so that the time left can be shown."""
    with suppress(Exception):  # scoring reports what is out of reach
        store = open_store(source)
        for folder in store.folders():
            progress.found += len(folder.entries)
            progress.earlier += len(folder.entries) if folder_stamp(store, folder) in done else 0
            if stop.is_set():
                return
        progress.counted = True
