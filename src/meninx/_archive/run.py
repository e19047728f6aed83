"""Score an archive: walk through it until every unit is done, and record the results."""

import copy
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

from meninx._archive.list_store import ListStore
from meninx._archive.messages import MACHINE_LOST, Channel, Message, UnitResult
from meninx._archive.options import Options
from meninx._archive.store import open_store
from meninx._archive.table import Done, SplitSeries, Table
from meninx._archive.units import folder_stamp
from meninx._errors import DataError, MeninxError
from meninx._quiet import without_passwords

# Limit of consecutive passes that lose a machine and finish no unit.
_MAX_FAILED_PASSES = 3
# Interval of checks, and limit of the time without results after a machine was lost, s.
POLL_SECONDS, STALL_SECONDS = 0.5, 30.0
# Time for the scoring process to leave a cluster, s.
_END_SECONDS = 15.0
# Limit of messages that wait for the ledger.
_MAX_MESSAGES = 16
# Limits of the recorded reasons why places are out of reach, and of the places for each.
_MAX_PLACES = 1000
log = logging.getLogger(__name__)


@dataclass
class RunProgress:
    """Counts of an archive's files and units.

    Args:
        files: Files finished in this run.
        units: Units finished in this run.
        rows: New rows in the table.
        found: Files counted in the archive so far.
        earlier: Files counted so far in folders that earlier runs finished.
        counted: Whether all files are counted.
        unreached: Units whose files could not be fetched.
        places: Places of these units by reason; at most `_MAX_PLACES` for each.
        split: Series with rows for parts of them, which could not be joined.
        here: Stamps of the folders that the archive has.
        is_list: Whether the archive is a list: it need not name all that is there.
        gone: Whether rows were marked whose content the archive no longer has.
    """

    files: int = 0
    units: int = 0
    rows: int = 0
    found: int = 0
    earlier: int = 0
    counted: bool = False
    unreached: int = 0
    places: dict[str, list[str]] = field(default_factory=dict)
    split: int = 0
    here: list[str] = field(default_factory=list)
    is_list: bool = False
    gone: bool = False


def score_archive(
    options: Options, table: Table, report: Callable[[RunProgress], None], stop: threading.Event
) -> RunProgress:
    """Score the units of an archive that are not done.

    Args:
        options: Source, detector, workers and limits.
        table: Table of the rows.
        report: Called with the progress after each message with results.
        stop: Event that ends the run early; recorded results are kept.

    Returns:
        The counts at the end.

    Raises:
        DataError: If machines are lost again and again and nothing is finished.
        MeninxError: The error that ended the scoring process.
    """
    run = _Run(options, table, report, stop)
    counting = (options.source, table.done(), run.progress, stop)
    counter = threading.Thread(target=_count_files, args=counting, daemon=True)
    counter.start()
    run.walk({})
    # Only now all parts of a series are known, and nothing waited for the end of the walk.
    if not stop.is_set() and (split := table.split_series()):
        run.walk(split)
    counter.join()
    progress = run.progress
    # What is out of reach, or no longer in a list, is not gone.
    is_whole = progress.counted and not (progress.unreached or stop.is_set())
    if is_whole and not progress.is_list:
        table.mark_gone(progress.here)
        progress.gone = True
    stop.set()
    progress.split = table.count_split()
    return progress


@dataclass
class _Run:
    """A run of `score_archive`, with its arguments and what it counted so far."""

    options: Options
    table: Table
    report: Callable[[RunProgress], None]
    stop: threading.Event
    progress: RunProgress = field(default_factory=RunProgress)

    def walk(self, split: SplitSeries) -> None:
        """Walk through the archive until no machine is lost on the way; see `_pass`."""
        progress = self.progress
        failed, earlier = 0, (progress.unreached, progress.places)
        while failed < _MAX_FAILED_PASSES:
            before = progress.units
            progress.unreached, progress.places = copy.deepcopy(earlier)
            if self._pass(split):
                return
            failed = 0 if progress.units > before else failed + 1
            log.warning("a machine of the cluster was lost; the missing units are scored again")
        raise DataError(
            f"{without_passwords(self.options.source)}: lost machines {_MAX_FAILED_PASSES} times "
            "in a row with no unit finished in between; finished work is kept, run the same "
            "command to go on"
        )

    def _pass(self, split: SplitSeries) -> bool:
        """Walk through the archive once, and record the results.

        Args:
            split: Series to join, see `joined_units`; empty to score all units that are not done.

        Returns:
            True if the archive is done; False if a machine was lost and no more results arrive.
            Ray restarts its tasks, and waits forever if the other machines are busy.

        Raises:
            MeninxError: The error that ended the scoring process.
        """
        with _scoring_process(self.options, self.table.done(), split) as (process, channel):
            last_result, is_lost = time.monotonic(), False
            while not self.stop.is_set():
                try:
                    message = channel.get(timeout=POLL_SECONDS)
                except queue.Empty:
                    is_stalled = is_lost and time.monotonic() - last_result > STALL_SECONDS
                    if is_stalled or not process.is_alive():
                        return False
                    continue
                if message is None:
                    return True
                if isinstance(message, MeninxError):
                    raise message
                if message == MACHINE_LOST:
                    is_lost = True
                elif isinstance(message, list):
                    last_result = time.monotonic()
                    _record(message, self.table, self.progress)
                    self.report(self.progress)
            return True


@contextmanager
def _scoring_process(
    options: Options, done: Done, split: SplitSeries
) -> "Iterator[tuple[SpawnProcess, Queue[Message]]]":
    """Run the scoring process; at the end, end it and delete the files that it fetched."""
    context = multiprocessing.get_context("spawn")
    channel: Queue[Message] = context.Queue(_MAX_MESSAGES)
    # Deleted by this process: the other may be killed, and its threads fetch until then.
    with tempfile.TemporaryDirectory(prefix="meninx-") as scratch:
        arguments = (options, done, split, channel, scratch)
        process = context.Process(target=_score_units, args=arguments)
        process.start()
        try:
            yield process, channel
        finally:
            # Killed only after some time: it would leave its resources on a cluster reserved.
            process.terminate()
            process.join(_END_SECONDS)
            process.kill()
            process.join()


def _score_units(
    options: Options, done: Done, split: SplitSeries, channel: Channel, scratch: str
) -> None:
    """Score in this process, on this machine or on a cluster."""
    if options.address:
        from meninx._archive import cluster  # importing Ray is slow: only this process does

        # Its machines use their own temporary folders.
        cluster.score_units(options, done, split, channel)
    else:
        from meninx._archive import machine

        machine.score_units(options, done, split, channel, scratch)


def _record(units: list[UnitResult], table: Table, progress: RunProgress) -> None:
    """Enter the results of units into the table, and count them."""
    reached = [unit for unit in units if not unit["unreached"]]
    progress.rows += table.add(reached)
    scored = [unit for unit in reached if unit["content_hash"]]  # others were known before
    progress.units += len(scored)
    progress.unreached += len(units) - len(reached)
    # Of folders that came or changed since the count.
    progress.here += [unit["folder"] for unit in reached]
    progress.files += sum(unit["files"] for unit in scored)
    for unit in units:
        if unit["unreached"]:
            # Reasons often begin with the place.
            reason = unit["unreached"].removeprefix(f"{unit['place']}: ")
            if reason in progress.places or len(progress.places) < _MAX_PLACES:
                places = progress.places.setdefault(reason, [])
                places += [unit["place"]] * (len(places) < _MAX_PLACES)


def _count_files(source: str, done: Done, progress: RunProgress, stop: threading.Event) -> None:
    """Count the archive's files, to estimate the remaining time, and list its folders' stamps."""
    with suppress(Exception):  # scoring reports unreachable places
        store = open_store(source)
        progress.is_list = isinstance(store, ListStore)
        for folder in store.folders():
            stamp = folder_stamp(store, folder)
            progress.found += len(folder.entries)
            progress.earlier += len(folder.entries) if stamp in done else 0
            progress.here.append(stamp)
            if stop.is_set():
                return
        progress.counted = True
