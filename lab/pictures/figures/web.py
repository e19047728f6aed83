"""Tables of docs/web.md."""

from collections.abc import Callable, Mapping

from lab.pictures.figures.tables import as_table, read


def slow_line_table() -> str:
    """Return what a reader waits for over a slow line, by the bytes that it sends."""
    stored = read("slow_line")
    rows = (
        [name, f"{sent / 1e6:.2f}", f"{sent / stored['bytes a second']:.1f}"]
        for name, sent in stored["bytes"].items()
    )
    heading = ["from the click on a study, at 4 Mbit/s", "sent, MB", "the line alone, s"]
    return as_table(heading, rows)


def readers_table() -> str:
    """Return the times of readers' steps, or why a step was not possible."""
    rows = (
        [reader, step, f"{value:.1f}" if isinstance(value, float) else value]
        for reader, steps in read("reader")["readers"].items()
        for step, value in steps.items()
    )
    return as_table(["reader", "step", "s"], rows)


TABLES: Mapping[str, Callable[[], str]] = {
    "slow-line": slow_line_table,
    "readers": readers_table,
}
