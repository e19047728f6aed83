"""Walk, group and score an archive on this machine alone: no Ray to start, wait for and end.

Each worker is a thread that fetches and hashes, beside a process that scores (`scoring.worker`).
"""

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

from meninx._archive.news import Channel, UnitResult, stopped_by
from meninx._archive.options import Options
from meninx._archive.store import open_store
from meninx._archive.table import Done
from meninx._archive.unit_scorer import UnitScorer
from meninx._archive.units import Unit, units_of
from meninx._errors import MeninxError
from meninx._sandbox import end_with_parent

# Units that are found and wait for a worker: a walk through millions of files does not run ahead.
WAITING = 64
# The most results handed on in one go; fewer where fewer are ready.
RESULTS_AT_ONCE = 64
# Marks the end of the walk, and of a worker.
ENDED = None


def feed(options: Options, done: Done, channel: Channel, scratch: str) -> None:
    """Score what is not done, and hand on the results as they come.

    Args:
        options: Source, detector, workers and limits.
        done: Stamps and content hashes of what is done already.
        channel: Receives lists of results, then None, or the error that stopped the run.
        scratch: Folder for fetched files; the caller removes it.
    """
    # Ctrl-C reaches all processes of a terminal: the one that keeps the table decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    threading.Thread(target=end_with_parent, daemon=True).start()
    run = _Run(options, done, scratch)
    try:
        for results in run.results():
            channel.put(results)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends by itself now
        run.end()


class _Run:
    """One walk over an archive and the workers that score what it finds.

    Args:
        options: Source, detector, workers and limits.
        done: Stamps and content hashes of what is done already.
        scratch: Folder for fetched files.
    """

    def __init__(self, options: Options, done: Done, scratch: str) -> None:
        self._options, self._done, self._scratch = options, done, scratch
        self._scorers = [self._scorer() for _ in range(options.workers or os.cpu_count() or 1)]
        self._units: queue.Queue[Unit | None] = queue.Queue(WAITING)
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
        """Yield lists of results as they are ready; last None, or what stopped the run."""
        self._begin(self._walk)
        for scorer in self._scorers:
            self._begin(self._work, scorer)
        left = 1 + len(self._scorers)
        while left:
            ready = self._ready()
            left -= ready.count(ENDED)
            results = [one for one in ready if isinstance(one, dict)]
            if results:
                yield results
            errors = [one for one in ready if isinstance(one, MeninxError)]
            if errors:
                yield errors[0]
                return
        yield None

    def end(self) -> None:
        """End the worker processes at once, whatever they are doing."""
        for scorer in self._scorers:
            scorer.kill()

    def _ready(self) -> list[UnitResult | MeninxError | None]:
        """Return all results that are there, at least one."""
        ready = [self._results.get()]
        with suppress(queue.Empty):
            while len(ready) < RESULTS_AT_ONCE:
                ready.append(self._results.get_nowait())
        return ready

    def _begin(self, task: Callable[..., None], *arguments: object) -> None:
        """Run a task in a thread; its end and its errors are among the results."""

        def run() -> None:
            try:
                task(*arguments)
            except MeninxError as error:
                self._results.put(error)
            except Exception as error:  # noqa: BLE001 - a thread's error would be lost, its run hang
                self._results.put(stopped_by(self._options.source, error))
            self._results.put(ENDED)

        threading.Thread(target=run, daemon=True).start()

    def _walk(self) -> None:
        """Find units."""
        store = open_store(self._options.source)
        for folder in store.folders():
            for unit in units_of(store, folder, self._done):
                self._units.put(unit)
        for _ in self._scorers:
            self._units.put(ENDED)

    def _work(self, scorer: UnitScorer) -> None:
        """Score units until there are no more."""
        for result in scorer.score(iter(self._units.get, ENDED)):
            self._results.put(result)
