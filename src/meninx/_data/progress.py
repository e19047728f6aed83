"""Callbacks that report progress and messages."""

from collections.abc import Callable

# Called with a step, the amount done, and the total.
Progress = Callable[[str, int, int], None]
# Called with a sentence, such as how a folder was read.
Report = Callable[[str], None]


def silent(what: str, done: int, total: int) -> None:
    """Report no progress."""
