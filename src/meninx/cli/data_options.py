"""Hold the options that all verbs share which read labeled data."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import typer

from meninx.cli.extras import needs_extra
from meninx.errors import OptionError

if TYPE_CHECKING:
    from meninx.data.manifest import Manifest

LabelOption: TypeAlias = list[str] | None
LABEL_OPTION = typer.Option(
    "--label",
    metavar="NAME=LABEL",
    help="What folders of that name hold: none, unknown, glioma, meningioma, pituitary, or "
    "out to leave them out; again for each name that does not say it.",
    show_default=False,
)
ALLOW_LEAKS_OPTION = typer.Option(
    "--allow-leaks",
    help="Go on although folds share slices or persons; every figure is then marked as leaking.",
)


def cores() -> int:
    """Return how many processes may run at a time on this machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parse_labels(options: LabelOption) -> dict[str, str]:
    """Return the labels of `--label NAME=LABEL`.

    Args:
        options: As typed.

    Returns:
        Labels by folder name.

    Raises:
        OptionError: If one has no `=`.
    """
    labels = {}
    for option in options or ():
        name, equals, label = option.partition("=")
        if not equals:
            raise OptionError(f"--label {option}: expected NAME=LABEL")
        labels[name] = label
    return labels


@contextmanager
def progress_of() -> Iterator[Callable[[str, int, int], None]]:
    """Show bars on standard error where that is a terminal.

    Yields:
        A function to tell what is done, how much of how many.
    """
    from rich.progress import Progress, TaskID

    from meninx.cli.console import errors_console

    console = errors_console()
    with Progress(console=console, transient=True, disable=console.quiet) as progress:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)

        yield tell


def load_manifest(data: Path, folder: Path, label: LabelOption, *, allow_leaks: bool) -> "Manifest":
    """Read a manifest or make one, and say what was found.

    Args:
        data: As the user named it.
        folder: Where a new manifest is written.
        label: Options `--label`.
        allow_leaks: Accept folds that share a slice or a person.

    Returns:
        The manifest.
    """
    with needs_extra("evidence"):
        from meninx.data.prepare import load_data
    with progress_of() as progress:
        manifest = load_data(
            data,
            folder,
            labels=parse_labels(label),
            allow_leaks=allow_leaks,
            progress=progress,
            workers=cores(),
        )
    typer.echo(describe(manifest), err=True)
    return manifest


def describe(manifest: "Manifest") -> str:
    """Return a line on what a manifest holds."""
    pictures = manifest.pictures
    counts: dict[str, int] = {}
    for picture in pictures:
        counts[picture.label] = counts.get(picture.label, 0) + 1
    words = {"none": "no tumor", "unknown": "tumor"}
    told = ", ".join(f"{count} {words.get(name, name)}" for name, count in sorted(counts.items()))
    groups = len({picture.group for picture in pictures})
    line = f"{len(pictures)} pictures in {groups} groups and {len(manifest.folds)} folds: {told}"
    if manifest.leaks:
        line += f"\nLEAKING: {len(manifest.leaks)} slices or persons lie in several folds"
    return line
