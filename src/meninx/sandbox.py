"""Call functions in a process of its own, with limits of memory and time.

What is broken or hostile in a file ends that process at worst. It is kept from call to call:
loading a detector takes longer than many a series.
"""

import logging
import multiprocessing
import os
import resource
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from meninx.errors import LimitExceeded, MeninxError, UnreadableFile
from meninx.quiet import quiet_libraries

log = logging.getLogger(__name__)

Result = TypeVar("Result")
# A process is made anew after so many calls: decoders may leak. Seldom, as that takes seconds; what
# leaks faster meets the limit of memory, and is tried again in a new one.
MAX_CALLS = 2000


class Sandbox:
    """Hold that process.

    Args:
        memory_bytes: That it may have.
        seconds: That a call may take.
    """

    def __init__(self, memory_bytes: int, seconds: float) -> None:
        self._memory_bytes, self._seconds = memory_bytes, seconds
        self._pool: ProcessPoolExecutor | None = None
        self._calls = 0
        # Processes that have done their share, and end once they have done what was begun.
        self._retired: list[BaseProcess] = []

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call a function over there.

        Args:
            function: At the top of a module.
            *arguments: That can be pickled, as what it returns.

        Returns:
            What it returns.

        Raises:
            LimitExceeded: If it takes too long.
            UnreadableFile: If the process ended, or the function raised what it should not.
            MeninxError: That the function raised.
        """
        return self.result(self.begin(function, *arguments))

    def begin(self, function: Callable[..., Result], *arguments: Any) -> "Future[Result]":
        """Begin a call over there, after those begun before.

        Args:
            function: As for `call`.
            *arguments: As for `call`.

        Returns:
            What `result` takes.
        """
        if self._calls >= MAX_CALLS:
            self._retire()
        self._calls += 1
        try:
            return self._running().submit(function, *arguments)
        except BrokenProcessPool:  # it ended over a call before, whose result tells of it
            self.kill()
            return self._running().submit(function, *arguments)

    def _running(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                1, multiprocessing.get_context("spawn"), _limit, (self._memory_bytes,)
            )
        return self._pool

    def _retire(self) -> None:
        """Let the process end after what was begun; the next call makes a new one.

        The executor's own `max_tasks_per_child` hangs where a call waits behind the last one
        (CPython issue 115634): a good file would be said to take too long.
        """
        self._retired, self._calls = self._processes(), 0
        self.close()

    def _processes(self) -> "list[BaseProcess]":
        # The executor has no public way to name them, nor to end one that does not answer.
        return [] if self._pool is None else list((self._pool._processes or {}).values())

    def result(self, begun: "Future[Result]") -> Result:
        """Return what a call returns that was begun; of several, the first begun comes first.

        Args:
            begun: From `begin`.

        Returns:
            What the function returns.

        Raises:
            LimitExceeded: As `call` does; calls begun after it end with it, as unreadable.
            UnreadableFile: Likewise.
            MeninxError: That the function raised.
        """
        try:
            return begun.result(self._seconds)
        except TimeoutError as error:
            self.kill()
            raise LimitExceeded(f"took longer than {self._seconds:g} s") from error
        except MeninxError:
            raise
        except Exception as error:
            # It ended, or is out of memory: what is left of it is not trusted. No more than the
            # kind is logged, for a message may hold what a file holds.
            log.warning("%s in the process apart", type(error).__name__)
            self.kill()
            raise UnreadableFile("the files could not be decoded; export them again") from error

    def close(self) -> None:
        """End the process once it has done what was begun."""
        if self._pool is not None:
            self._pool.shutdown(wait=False)
            self._pool = None

    def kill(self) -> None:
        """End the process, whatever it is at."""
        for process in (*self._retired, *self._processes()):
            process.kill()
        self._retired, self._calls = [], 0
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None


def _limit(memory_bytes: int) -> None:
    quiet_libraries()
    threading.Thread(target=end_with_parent, daemon=True).start()
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def end_with_parent() -> None:
    """End this process with the one that made it: a killed one tells nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
