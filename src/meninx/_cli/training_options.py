"""Recipes by name, precision and the log, for the commands that train."""

import logging
from importlib.resources import files
from pathlib import Path
from typing import TypeAlias

import typer

from meninx._errors import OptionError

PrecisionOption: TypeAlias = str | None
PRECISION_OPTION = typer.Option(
    "--precision",
    help="Number format of the training instead of the recipe's: bf16-mixed, 16-mixed (GPUs "
    "alone), 32-true, or auto for the fastest that the device has.",
    show_default=False,
)


def log_to(path: Path, *, first: bool) -> None:
    """Send the log to standard error and, with times, to a file.

    Args:
        path: File of the log; a resumed run goes on in it.
        first: Whether this process is the one that writes.
    """
    handlers: list[logging.Handler] = []
    if first:
        path.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.StreamHandler())
        handlers[0].setFormatter(logging.Formatter("%(message)s"))
        handlers.append(logging.FileHandler(path, encoding="utf-8", errors="backslashreplace"))
        handlers[1].setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    quiet_training_libraries()
    logging.basicConfig(level=logging.INFO if first else logging.ERROR, handlers=handlers or None)


def quiet_training_libraries() -> None:
    """Keep what is no user's concern out of the log."""
    # The exporter logs its own optimizations, Lightning the processors that are not there.
    for name in ("onnxscript", "onnx_ir", "torch.onnx", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.WARNING)


def find_recipe(name: str) -> Path:
    """Return the file of a recipe.

    Args:
        name: Path of a TOML file, or name of a shipped recipe.

    Returns:
        Path of the TOML file.

    Raises:
        OptionError: If there is none; the message names the shipped ones.
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
