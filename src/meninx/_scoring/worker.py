"""A worker process that a bad file may end, and the rule for a second try."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from meninx._errors import ProcessEnded
from meninx._sandbox import Sandbox

Result = TypeVar("Result")
# Attempts at a study that ends the whole service, and not only the worker process. Each service
# stores the count where it survives the service.
MAX_ATTEMPTS = 3


@dataclass(frozen=True)
class PendingCall(Generic[Result]):
    """A submitted call, with what is needed to repeat it.

    Args:
        function: Function of the call.
        arguments: Its arguments.
        future: Its result to come.
    """

    function: Callable[..., Result]
    arguments: tuple[Any, ...]
    future: "Future[Result]"


class Worker:
    """A process with limits of memory and time.

    A call whose process ended is repeated once in a new process, because an earlier call may have
    ended it. A call that exceeded its time or raised an error is not.

    Args:
        memory_bytes: Memory limit of the process, bytes.
        seconds: Time limit of a call, s.
    """

    def __init__(self, memory_bytes: int, seconds: float) -> None:
        self._sandbox = Sandbox(memory_bytes, seconds)

    def submit(self, function: Callable[..., Result], *arguments: Any) -> PendingCall[Result]:
        """Submit a call; calls run in the order of submission.

        Args:
            function: Function at the top level of a module, whose result can be pickled.
            *arguments: Arguments of the function, which can be pickled.

        Returns:
            The call, for `result`.
        """
        return PendingCall(function, arguments, self._sandbox.begin(function, *arguments))

    def result(self, call: PendingCall[Result]) -> Result:
        """Wait for the result of a call; results are requested in the order of submission.

        Args:
            call: Call that `submit` returned.

        Returns:
            The function's result.

        Raises:
            LimitExceeded: If the call exceeds its time.
            ProcessEnded: If it ends its process twice.
            MeninxError: If the function raised it.
        """
        try:
            return self._sandbox.result(call.future)
        except ProcessEnded:
            return self._sandbox.call(call.function, *call.arguments)

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call a function and return its result; see `submit` and `result`."""
        return self.result(self.submit(function, *arguments))

    def close(self) -> None:
        """End the process after the submitted calls."""
        self._sandbox.close()

    def kill(self) -> None:
        """Kill the process."""
        self._sandbox.kill()
