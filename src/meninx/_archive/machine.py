"""Score an archive on this machine, without Ray.

Each worker is a thread that fetches and hashes units, and a process that scores them.
"""

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

from meninx._archive.messages import Channel, UnitResult, run_error
from meninx._archive.options import Options
from meninx._archive.store import open_store
from meninx._archive.table import Done, SplitSeries
from meninx._archive.unit_scorer import UnitScorer
from meninx._archive.units import Unit, all_units, joined_units
from meninx._errors import MeninxError
from meninx._sandbox import end_with_parent

# Limit of units that wait for a worker, so that the walk does not run ahead by millions of files.
_MAX_WAITING = 64
# Most results of a message.
MAX_RESULTS = 64
# Marks the end of the walk, and of a worker.
_ENDED = None


def score_units(
    options: Options, done: Done, split: SplitSeries, channel: Channel, scratch: str
) -> None:
    """Score the units that are not done, and send their results.

    Args:
        options: Source, detector, workers and limits.
        done: Stamps and content hashes of finished units.
        split: Series to join; empty to score all units that are not done.
        channel: Receives lists of results, then None, or the error that ended the run.
        scratch: Folder for fetched files; the caller removes it.
    """
    # Ctrl-C reaches all processes of a terminal: the one that writes the table decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    threading.Thread(target=end_with_parent, daemon=True).start()
    run = _Run(options, done, split, scratch)
    try:
        for results in run.results():
            channel.put(results)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # this process is ending
        run.kill()


class _Run:
    """A walk over an archive, and the workers that score its units.

    Args:
        options: Source, detector, workers and limits.
        done: Stamps and content hashes of finished units.
        split: Series to join; empty to score all units that are not done.
        scratch: Folder for fetched files.
    """

    def __init__(self, options: Options, done: Done, split: SplitSeries, scratch: str) -> None:
        self._options, self._done, self._split, self._scratch = options, done, split, scratch
        self._scorers = [self._scorer() for _ in range(options.workers or os.cpu_count() or 1)]
        self._units: queue.Queue[Unit | None] = queue.Queue(_MAX_WAITING)
        self._results: queue.Queue[UnitResult | MeninxError | None] = queue.Queue()

    def _scorer(self) -> UnitScorer:
        options = self._options
        return UnitScorer(
            open_store(options.source),
            self._done,
            options.model,
            options.named,
            maps=options.maps,
            seconds=options.seconds,
            memory_bytes=options.memory_bytes,
            scratch=self._scratch,
        )

    def results(self) -> Iterator[list[UnitResult] | MeninxError | None]:
        """Yield lists of results as they are ready; last None, or the error that ended the run."""
        self._start(self._walk)
        for scorer in self._scorers:
            self._start(self._work, scorer)
        running = 1 + len(self._scorers)
        while running:
            ready = self._ready()
            running -= ready.count(_ENDED)
            results = [result for result in ready if isinstance(result, dict)]
            if results:
                yield results
            errors = [error for error in ready if isinstance(error, MeninxError)]
            if errors:
                yield errors[0]
                return
        yield None

    def kill(self) -> None:
        """Kill the worker processes."""
        for scorer in self._scorers:
            scorer.kill()

    def _ready(self) -> list[UnitResult | MeninxError | None]:
        """Wait for a result, and return all that are ready."""
        ready = [self._results.get()]
        with suppress(queue.Empty):
            while len(ready) < MAX_RESULTS:
                ready.append(self._results.get_nowait())
        return ready

    def _start(self, task: Callable[..., None], *arguments: object) -> None:
        """Run a task in a thread, which puts its errors and its end among the results."""

        def run() -> None:
            try:
                task(*arguments)
            except MeninxError as error:
                self._results.put(error)
            except Exception as error:  # noqa: BLE001 - else the error is lost, and the run hangs
                self._results.put(run_error(self._options.source, error))
            self._results.put(_ENDED)

        threading.Thread(target=run, daemon=True).start()

    def _walk(self) -> None:
        """Find units, and mark the end for each worker."""
        store = open_store(self._options.source)
        units = joined_units(store, self._split) if self._split else all_units(store, self._done)
        for unit in units:
            self._units.put(unit)
        for _ in self._scorers:
            self._units.put(_ENDED)

    def _work(self, scorer: UnitScorer) -> None:
        """Score units until the end of the walk."""
        for result in scorer.score(iter(self._units.get, _ENDED)):
            self._results.put(result)
