"""Callbacks that report progress and messages."""

from collections.abc import Callable

# Called with what is done, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]
# Called with a sentence, such as how a folder was read.
Report = Callable[[str], None]


def silent(what: str, done: int, total: int) -> None:
    """Report no progress."""
