"""Call functions in a worker process with limits of memory and time.

A damaged or malicious file ends that process at worst. The process is reused, because loading a
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
from meninx._logs import LogStyle, log_of_service, log_style
from meninx._quiet import quiet_libraries

log = logging.getLogger(__name__)

Result = TypeVar("Result")
# Calls after which a process is replaced, because decoders may leak memory. Starting one takes
# seconds. A faster leak reaches the memory limit, and its call is repeated in a new process.
MAX_CALLS = 2000


class Sandbox:
    """A worker process with limits of memory and time.

    Args:
        memory_bytes: Memory limit of the process, bytes.
        seconds: Time limit of a call, s.
    """

    def __init__(self, memory_bytes: int, seconds: float) -> None:
        self._memory_bytes, self._seconds = memory_bytes, seconds
        self._pool: ProcessPoolExecutor | None = None
        self._calls = 0
        # Processes that end after their last pending call, having reached `MAX_CALLS`.
        self._retired: list[BaseProcess] = []

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call a function in the worker process.

        Args:
            function: Function at module level, with a result that can be pickled.
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
        """Submit a call to the worker process, after pending ones.

        Args:
            function: Function at module level, with a result that can be pickled.
            *arguments: Arguments of the function, which can be pickled.

        Returns:
            The pending call, for `result`.
        """
        if self._calls >= MAX_CALLS:
            self._retire()
        self._calls += 1
        try:
            return self._running().submit(function, *arguments)
        except BrokenProcessPool:  # ended by an earlier call, which reports it
            self.kill()
            return self._running().submit(function, *arguments)

    def _running(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                1,
                multiprocessing.get_context("spawn"),
                _limit,
                (self._memory_bytes, log_style()),
            )
        return self._pool

    def _retire(self) -> None:
        """Let the process end after its pending calls; the next call starts a new one.

        The executor's `max_tasks_per_child` hangs if a call is queued after the last one (CPython
        issue 115634).
        """
        self._retired, self._calls = self._processes(), 0
        self.close()

    def _processes(self) -> "list[BaseProcess]":
        # The executor has no public way to list or kill its processes.
        return [] if self._pool is None else list((self._pool._processes or {}).values())

    def result(self, pending: "Future[Result]") -> Result:
        """Return the result of a pending call; call it in the order of `begin`.

        Args:
            pending: Call, as returned by `begin`.

        Returns:
            The function's result.

        Raises:
            LimitExceeded: If the call takes too long; later calls end with it.
            ProcessEnded: If the process ended, or the function raised another error.
            MeninxError: If the function raised it.
        """
        try:
            return pending.result(self._seconds)
        except TimeoutError as error:
            self.kill()
            raise LimitExceeded(f"took longer than {self._seconds:g} s") from error
        except MeninxError:
            raise
        except Exception as error:
            # The process ended or is out of memory, so it is replaced. Only the type of the error
            # is logged, because its message may quote the file.
            log.warning("%s in the worker process", type(error).__name__)
            self.kill()
            raise ProcessEnded("the files could not be decoded; export them again") from error

    def close(self) -> None:
        """End the process after its pending calls."""
        if self._pool is not None:
            self._pool.shutdown(wait=False)
            self._pool = None

    def kill(self) -> None:
        """End the process immediately."""
        for process in (*self._retired, *self._processes()):
            process.kill()
        self._retired, self._calls = [], 0
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None


def _limit(memory_bytes: int, style: LogStyle | None) -> None:
    if style is None:
        quiet_libraries()
    else:
        log_of_service(style)
    threading.Thread(target=end_with_parent, daemon=True).start()
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def end_with_parent() -> None:
    """End this process with its parent, even if the parent is killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
