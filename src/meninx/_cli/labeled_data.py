"""Read labeled data for the verbs that train and evaluate, with questions on a terminal."""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from meninx._cli.extras import needs_extra
from meninx._cli.options import SPLITS, parse_labels, parse_split
from meninx._cli.progress import progress_of
from meninx._processes import is_one_of_several, usable_cores

if TYPE_CHECKING:
    from meninx._data.manifest import Manifest
    from meninx._data.prepare import ChooseSplit, Split
    from meninx._data.survey import Survey

Data = TypeVar("Data")


def is_dialog() -> bool:
    """Return whether questions can be asked on a terminal.

    Processes of a distributed training ask none: each would go on with another answer.
    """
    return not is_one_of_several() and sys.stdin.isatty() and sys.stderr.isatty()


def _ask_choice(question: str, choices: Sequence[str], default: str | None = None) -> str:
    """Ask on the terminal until the answer is one of the choices.

    Args:
        question: Text of the question.
        choices: Answers to choose from.
        default: Choice for an empty answer; None for none.

    Returns:
        One of the choices.
    """
    while True:
        text = str(typer.prompt(f"{question} ({', '.join(choices)})", default=default, err=True))
        choice = text.strip().lower()
        if choice in choices:
            return choice


def split_chooser(option: str | None, *, matters: bool = True) -> "ChooseSplit":
    """Return a function that shows how a data set was understood, and chooses its split.

    Args:
        option: Value of `--split`, as typed. Without it, a question is asked on a terminal if the
            collection has its own split; elsewhere it gets new folds, with a message.
        matters: Whether the folds are used.

    Returns:
        Function for the parameter `split` of `prepare`.
    """
    wanted = parse_split(option)

    def choose(survey: "Survey") -> "Split":
        from meninx._data.understanding import splits_of, understood

        for line in understood(survey):
            typer.echo(line, err=True)
        if wanted is not None:
            return wanted
        if all(item.fold for item in survey.items):
            return "given"
        if not matters or not splits_of(survey)["test"]:
            return "grouped"
        if is_dialog():
            question = (
                "keep that split, mend it (groups that lie in both halves are moved to one), or "
                "redo it"
            )
            return SPLITS[_ask_choice(question, ("keep", "mend", "redo"), default="redo")]
        typer.echo(
            "that split is not kept: everything gets new folds that share nothing (--split redo); "
            "--split keep or --split mend hold its test half out as fold 1",
            err=True,
        )
        return "grouped"

    return choose


def ask_missing_labels(
    options: Sequence[str] | None, read: Callable[[dict[str, str]], Data]
) -> Data:
    """Read data, and ask for the labels of folders whose names give none.

    Args:
        options: Values of the options `--label`.
        read: Function that reads the data with labels by folder name; called again after each
            round of questions.

    Returns:
        The data.

    Raises:
        DataError: If there is no terminal to ask on; it names the option to set.
    """
    from meninx._data.folders import UnlabeledFolders
    from meninx._data.items import LEFT_OUT
    from meninx._labels import TYPE_NAMES

    labels = parse_labels(options)
    while True:
        try:
            return read(labels)
        except UnlabeledFolders as error:
            if not is_dialog():
                raise
            for name in error.folders:
                choices = ("none", "unknown", *TYPE_NAMES, LEFT_OUT)
                labels[name] = _ask_choice(f"what is in folders named {name}", choices)


def load_manifest(
    data: Path,
    folder: Path,
    label: Sequence[str] | None,
    split: str | None = None,
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
                workers=usable_cores(),
            )

    manifest = ask_missing_labels(label, read)
    typer.echo(describe_manifest(manifest), err=True)
    return manifest


def describe_manifest(manifest: "Manifest") -> str:
    """Return a line about a manifest: pictures, groups, folds, labels and leaks."""
    pictures = manifest.pictures
    counts = Counter(picture.label for picture in pictures)
    names = {"none": "no tumor", "unknown": "tumor"}
    labels = ", ".join(f"{count} {names.get(name, name)}" for name, count in sorted(counts.items()))
    groups = len({picture.group for picture in pictures})
    line = f"{len(pictures)} pictures in {groups} groups and {len(manifest.folds)} folds: {labels}"
    if manifest.leaks:
        line += f"\nLEAKING: {len(manifest.leaks)} slices or persons lie in several folds"
    return line
