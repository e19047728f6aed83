"""Options of the verbs that read labeled data."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import typer

from meninx._cli.extras import needs_extra
from meninx._cli.progress import progress_of
from meninx._errors import OptionError
from meninx._processes import is_one_of_several

if TYPE_CHECKING:
    from meninx._data.manifest import Manifest
    from meninx._data.prepare import ChooseSplit, Split
    from meninx._data.survey import Survey

LabelOption: TypeAlias = list[str] | None
LABEL_OPTION = typer.Option(
    "--label",
    metavar="NAME=LABEL",
    help="Label of the folders of that name: none, unknown, glioma, meningioma, pituitary, or "
    "out to leave them out; again for each name that gives no label itself.",
    show_default=False,
)
ALLOW_LEAKS_OPTION = typer.Option(
    "--allow-leaks",
    help="Go on although folds share slices or persons; every figure is then marked as leaking.",
)

SplitOption: TypeAlias = str | None
SPLIT_OPTION = typer.Option(
    "--split",
    help="What becomes of the collection's own split (Training and Testing, or a column `fold`). "
    "keep: its test half is fold 1, which is left out; mend: likewise, but groups that lie in both "
    "halves are moved to one; redo: everything gets new folds that share nothing.",
    show_default=False,
)
# The data room's words for those of the option; its own words are accepted, too.
SPLIT_WORDS: "dict[str, Split]" = {
    "keep": "given",
    "mend": "mended",
    "redo": "grouped",
    "random": "random",
    "given": "given",
    "mended": "mended",
    "grouped": "grouped",
}


def cores() -> int:
    """Return how many processes may run at a time on this machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parse_labels(options: LabelOption) -> dict[str, str]:
    """Return the labels of `--label NAME=LABEL`.

    Args:
        options: Values of the options, as typed.

    Returns:
        Labels by folder name.

    Raises:
        OptionError: If one has no `=`.
    """
    labels = {}
    for option in options or ():
        name, equals, label = option.partition("=")
        if not equals:
            raise OptionError(f"--label {option}: expected NAME=LABEL, such as healthy=none")
        labels[name] = label
    return labels


def parse_split(option: SplitOption) -> "Split | None":
    """Return the meaning of `--split`.

    Args:
        option: Value of the option, as typed; None where it was left out.

    Returns:
        The data room's word for it.

    Raises:
        OptionError: If it is none of the words.
    """
    if option is None:
        return None
    if option not in SPLIT_WORDS:
        raise OptionError(f"--split {option}: expected keep, mend, redo, or random to compare")
    return SPLIT_WORDS[option]


def is_dialog() -> bool:
    """Return whether there is a terminal on which questions can be asked, and one process to ask.

    Of several that train together one alone has the terminal: they would go on with different
    answers.
    """
    return not is_one_of_several() and sys.stdin.isatty() and sys.stderr.isatty()


def asked(question: str, words: Sequence[str], default: str | None = None) -> str:
    """Ask on the terminal until one of some words is answered.

    Args:
        question: Text of the question.
        words: Words to choose from.
        default: Word for an empty answer; None for none.

    Returns:
        One of the words.
    """
    while True:
        word = str(typer.prompt(f"{question} ({', '.join(words)})", default=default, err=True))
        if word.strip().lower() in words:
            return word.strip().lower()


def split_chooser(option: SplitOption, *, matters: bool = True) -> "ChooseSplit":
    """Return a function that shows how a data set was understood, and chooses its split.

    Args:
        option: Value of `--split`, as typed. Without it, a question is asked on a terminal where a
            collection has a split of its own; elsewhere it gets new folds, with a message.
        matters: Whether the folds are used.

    Returns:
        Function that `prepare` takes.
    """
    wanted = parse_split(option)

    def choose(found: "Survey") -> "Split":
        from meninx._data.understanding import splits_of, understood

        for line in understood(found):
            typer.echo(line, err=True)
        if wanted is not None:
            return wanted
        if all(item.fold for item in found.items):
            return "given"
        if not matters or not splits_of(found)["test"]:
            return "grouped"
        if is_dialog():
            question = (
                "keep that split, mend it (groups that lie in both halves are moved to one), or "
                "redo it"
            )
            return SPLIT_WORDS[asked(question, ("keep", "mend", "redo"), default="redo")]
        typer.echo(
            "that split is not kept: everything gets new folds that share nothing (--split redo); "
            "--split keep or --split mend hold its test half out as fold 1",
            err=True,
        )
        return "grouped"

    return choose


Result = TypeVar("Result")


def with_labels_asked(label: LabelOption, read: Callable[[dict[str, str]], Result]) -> Result:
    """Read data, and ask for the labels of folders whose names give none.

    Args:
        label: Values of the options `--label`.
        read: Function that reads the data by the labels of folders; called again after each round
            of questions.

    Returns:
        The data.

    Raises:
        DataError: If there is no terminal to ask on; it names the option to set.
    """
    from meninx._data.folders import UnlabeledFolders
    from meninx._data.items import LEFT_OUT
    from meninx._labels import TYPE_NAMES

    labels = parse_labels(label)
    while True:
        try:
            return read(labels)
        except UnlabeledFolders as error:
            if not is_dialog():
                raise
            for name in error.folders:
                words = ("none", "unknown", *TYPE_NAMES, LEFT_OUT)
                labels[name] = asked(f"what is in folders named {name}", words)


def load_manifest(
    data: Path,
    folder: Path,
    label: LabelOption,
    split: SplitOption = None,
    *,
    allow_leaks: bool,
    split_matters: bool = True,
) -> "Manifest":
    """Read a manifest or make one, and show what was found.

    Args:
        data: Path of the data, as the user named it.
        folder: Folder for a new manifest.
        label: Values of the options `--label`.
        split: Value of `--split`, as typed.
        allow_leaks: Whether to accept folds that share a slice or a person.
        split_matters: Whether the folds are used.

    Returns:
        The manifest.
    """
    with needs_extra("evidence"):
        from meninx._data.prepare import load_data
    choose = split_chooser(split, matters=split_matters)

    def read(labels: dict[str, str]) -> "Manifest":
        with progress_of() as progress:
            return load_data(
                data,
                folder,
                labels=labels,
                split=choose,
                allow_leaks=allow_leaks,
                progress=progress,
                workers=cores(),
            )

    manifest = with_labels_asked(label, read)
    typer.echo(describe(manifest), err=True)
    return manifest


def describe(manifest: "Manifest") -> str:
    """Return a line about a manifest: pictures, groups, folds, labels and leaks."""
    pictures = manifest.pictures
    counts: dict[str, int] = {}
    for picture in pictures:
        counts[picture.label] = counts.get(picture.label, 0) + 1
    words = {"none": "no tumor", "unknown": "tumor"}
    labels = ", ".join(f"{count} {words.get(name, name)}" for name, count in sorted(counts.items()))
    groups = len({picture.group for picture in pictures})
    line = f"{len(pictures)} pictures in {groups} groups and {len(manifest.folds)} folds: {labels}"
    if manifest.leaks:
        line += f"\nLEAKING: {len(manifest.leaks)} slices or persons lie in several folds"
    return line
