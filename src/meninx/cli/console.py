"""The console for progress and messages: standard error, so that output stays clean."""

from rich.console import Console


def errors_console() -> Console:
    """Return a console on standard error that shows progress on a terminal alone."""
    console = Console(stderr=True)
    console.quiet = not console.is_terminal
    return console
