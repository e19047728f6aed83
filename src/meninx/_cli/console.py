"""Consoles: results on standard output, progress and messages on standard error."""

import re

from rich.console import Console

# Wider than any row: off a terminal a record is one line, which other programs read.
UNBOUNDED_WIDTH = 100_000
LINE_BREAKS = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")


def errors_console() -> Console:
    """Return a console on standard error that shows progress on a terminal alone."""
    console = Console(stderr=True)
    console.quiet = not console.is_terminal
    return console


def output_console() -> Console:
    """Return a console on standard output, which folds lines on a terminal alone."""
    console = Console()
    if not console.is_terminal:
        console.width = UNBOUNDED_WIDTH
    return console


def one_line(text: str) -> str:
    r"""Return a text with its line breaks escaped, such as `\n`: names of files may hold any."""
    return LINE_BREAKS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
