"""One process that scores and may die of a file, and one rule of what is tried again."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from meninx._errors import ProcessEnded
from meninx._sandbox import Sandbox

Answer = TypeVar("Answer")
# What was begun so often and never answered is given up: it ends the whole service, not the worker
# process alone. Each service counts this where it outlives it.
MAX_ATTEMPTS = 3


@dataclass(frozen=True)
class Begun(Generic[Answer]):
    """A call that was begun, and what is needed to begin it again.

    Args:
        function: Function that is called.
        arguments: Its arguments.
        future: Its answer to come.
    """

    function: Callable[..., Answer]
    arguments: tuple[Any, ...]
    future: "Future[Answer]"


class Worker:
    """A process that scores, with limits of memory and time.

    A call whose process ended is begun once more, in a new one: what ended it may have been an
    earlier call's doing. What took too long, or was refused in good order, is not.

    Args:
        memory_bytes: Most memory of the process, bytes.
        seconds: Longest time for a call, s.
    """

    def __init__(self, memory_bytes: int, seconds: float) -> None:
        self._sandbox = Sandbox(memory_bytes, seconds)

    def begin(self, function: Callable[..., Answer], *arguments: Any) -> Begun[Answer]:
        """Begin a call, after those begun before.

        Args:
            function: Function at the top of a module; its answer can be pickled.
            *arguments: Arguments of the function, which can be pickled.

        Returns:
            The begun call, for `answer`.
        """
        return Begun(function, arguments, self._sandbox.begin(function, *arguments))

    def answer(self, begun: Begun[Answer]) -> Answer:
        """Return the answer to a call that was begun; several are asked for in their order.

        Args:
            begun: Call, as `begin` returned it.

        Returns:
            The function's answer.

        Raises:
            LimitExceeded: If the call takes too long.
            ProcessEnded: If it ended its process twice.
            MeninxError: If the function raised it.
        """
        try:
            return self._sandbox.result(begun.future)
        except ProcessEnded:
            return self._sandbox.call(begun.function, *begun.arguments)

    def call(self, function: Callable[..., Answer], *arguments: Any) -> Answer:
        """Call a function and return its answer; see `begin` and `answer`."""
        return self.answer(self.begin(function, *arguments))

    def close(self) -> None:
        """End the process once it has done what was begun."""
        self._sandbox.close()

    def kill(self) -> None:
        """End the process at once, whatever it is doing."""
        self._sandbox.kill()
