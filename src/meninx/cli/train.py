"""Train a detector: `meninx train DATA --recipe NAME`."""

import logging
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from meninx.errors import OptionError


def train(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="Folder with manifest.csv, or the manifest.")
    ],
    recipe: Annotated[
        str, typer.Option(help="Name of a shipped recipe, or a TOML file.")
    ] = "meninx-first",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Instead of the recipe's.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Run folder; by default runs/RECIPE-DATE.", show_default=False),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Start from detector.safetensors of another run, not from random weights.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last finished epoch of --output.")
    ] = False,
) -> None:
    """Train a detector on your own pictures; needs the extra `train`.

    The run folder gets the recipe, a log for TensorBoard, epochs.csv, and detector.onnx, which
    `meninx predict --model` reads.
    """
    from dataclasses import replace

    path = find_recipe(recipe)
    try:
        from meninx.learn.recipe import read_recipe
        from meninx.learn.training import train as run_training
    except ModuleNotFoundError as error:
        raise OptionError(
            f"training needs the package {error.name}: pip install 'meninx[train]'"
        ) from error
    chosen = read_recipe(path)
    if epochs is not None:
        chosen = replace(chosen, training=replace(chosen.training, epochs=epochs))
    if resume and output is None:
        raise OptionError("--resume needs --output, the run folder to go on with")
    folder = output or Path("runs") / f"{path.stem}-{datetime.now():%Y%m%d-%H%M%S}"
    if (folder / "checkpoints").exists() and not resume:
        raise OptionError(f"{folder} holds a run already; add --resume or choose another --output")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run = run_training(data, chosen, folder, resume=resume, weights=weights)
    for name, value in run.figures.items():
        typer.echo(f"{name:8} {value:.4f}", err=True)
    typer.echo(f"detector: {run.detector}", err=True)


def find_recipe(name: str) -> Path:
    """Return the file of a recipe.

    Args:
        name: A TOML file, or the name of a shipped recipe.

    Returns:
        A TOML file.

    Raises:
        OptionError: If there is none; the shipped ones are named.
    """
    path = Path(name)
    if path.suffix == ".toml":
        if path.is_file():
            return path
        raise OptionError(f"{path}: no such recipe file")
    folder = recipes_folder()
    shipped = {file.stem: file for file in sorted(folder.glob("*.toml"))}
    if name not in shipped:
        raise OptionError(f"recipe {name!r}: expected a .toml file or one of {', '.join(shipped)}")
    return shipped[name]


def recipes_folder() -> Path:
    """Return where the shipped recipes lie: in the wheel beside the code, else in the checkout."""
    inside = Path(str(files("meninx"))) / "recipes"
    return inside if inside.is_dir() else Path(__file__).parents[3] / "recipes"
