"""Call functions in a worker process, with limits of memory and time.

A broken or hostile file ends that process at worst. It is kept from call to call: loading a
detector takes longer than scoring a series.
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

from meninx._errors import LimitExceeded, MeninxError, ProcessEnded
from meninx._quiet import quiet_libraries

log = logging.getLogger(__name__)

Result = TypeVar("Result")
# A process is made anew after so many calls: decoders may leak. Seldom, as that takes seconds; what
# leaks faster meets the limit of memory, and is tried again in a new one.
MAX_CALLS = 2000


class Sandbox:
    """A worker process with limits of memory and time.

    Args:
        memory_bytes: Most memory of the process, bytes.
        seconds: Longest time for a call, s.
    """

    def __init__(self, memory_bytes: int, seconds: float) -> None:
        self._memory_bytes, self._seconds = memory_bytes, seconds
        self._pool: ProcessPoolExecutor | None = None
        self._calls = 0
        # Processes that have done `MAX_CALLS` calls, and end once the last of them is done.
        self._retired: list[BaseProcess] = []

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call a function in the worker process.

        Args:
            function: Function at the top of a module; its result can be pickled.
            *arguments: Arguments of the function, which can be pickled.

        Returns:
            The function's result.

        Raises:
            LimitExceeded: If the call takes too long.
            ProcessEnded: If the process ended, or the function raised another error.
            MeninxError: If the function raised it.
        """
        return self.result(self.begin(function, *arguments))

    def begin(self, function: Callable[..., Result], *arguments: Any) -> "Future[Result]":
        """Begin a call in the worker process, after those begun before.

        Args:
            function: Function at the top of a module; its result can be pickled.
            *arguments: Arguments of the function, which can be pickled.

        Returns:
            The begun call, for `result`.
        """
        if self._calls >= MAX_CALLS:
            self._retire()
        self._calls += 1
        try:
            return self._running().submit(function, *arguments)
        except BrokenProcessPool:  # an earlier call ended it, whose result reports that
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
        (CPython issue 115634): a good file would fail as too slow.
        """
        self._retired, self._calls = self._processes(), 0
        self.close()

    def _processes(self) -> "list[BaseProcess]":
        # The executor has no public way to name them, nor to end one that does not answer.
        return [] if self._pool is None else list((self._pool._processes or {}).values())

    def result(self, begun: "Future[Result]") -> Result:
        """Return the result of a call that was begun; several are asked for in their order.

        Args:
            begun: Call, as `begin` returned it.

        Returns:
            The function's result.

        Raises:
            LimitExceeded: If the call takes too long; calls begun after it end with it.
            ProcessEnded: If the process ended, or the function raised another error.
            MeninxError: If the function raised it.
        """
        try:
            return begun.result(self._seconds)
        except TimeoutError as error:
            self.kill()
            raise LimitExceeded(f"took longer than {self._seconds:g} s") from error
        except MeninxError:
            raise
        except Exception as error:
            # It ended, or is out of memory: the process is not trusted any more. Only the kind of
            # the error is logged, for a message may quote the file.
            log.warning("%s in the worker process", type(error).__name__)
            self.kill()
            raise ProcessEnded("the files could not be decoded; export them again") from error

    def close(self) -> None:
        """End the process once it has done what was begun."""
        if self._pool is not None:
            self._pool.shutdown(wait=False)
            self._pool = None

    def kill(self) -> None:
        """End the process at once, whatever it is doing."""
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
    """End this process with its parent, which may be killed without a word."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
