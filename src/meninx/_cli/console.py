"""Consoles and logs: results on standard output, progress and messages on standard error."""

import logging
import re
from pathlib import Path

from rich.console import Console

# Exit status of a command that its user stops.
INTERRUPTED = 130
# Wider than any row: without a terminal each row is one line, which other programs read.
_UNBOUNDED_WIDTH = 100_000
_LINE_BREAKS = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")


def errors_console() -> Console:
    """Return a console on standard error that is quiet unless it is a terminal."""
    console = Console(stderr=True)
    console.quiet = not console.is_terminal
    return console


def output_console() -> Console:
    """Return a console on standard output that wraps lines only on a terminal."""
    console = Console()
    if not console.is_terminal:
        console.width = _UNBOUNDED_WIDTH
    return console


def one_line(text: str) -> str:
    r"""Return a text with its line breaks escaped, such as `\n`: file names may contain them."""
    return _LINE_BREAKS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def log_to(path: Path, *, first: bool) -> None:
    """Send the log to standard error and, with times, to a file.

    Args:
        path: File of the log; a resumed run appends to it.
        first: Whether this process writes: the one of rank 0.
    """
    handlers: list[logging.Handler] = []
    if first:
        path.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.StreamHandler())
        handlers[0].setFormatter(logging.Formatter("%(message)s"))
        handlers.append(logging.FileHandler(path, encoding="utf-8", errors="backslashreplace"))
        handlers[1].setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    # The exporter logs its own optimizations, Lightning the accelerators that it did not find.
    for name in ("onnxscript", "onnx_ir", "torch.onnx", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.basicConfig(level=logging.INFO if first else logging.ERROR, handlers=handlers or None)
