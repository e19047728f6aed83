"""Find recipe files; needs no torch."""

from importlib.resources import files
from pathlib import Path

from meninx._errors import OptionError


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
    shipped = {file.stem: file for file in sorted(recipes_folder().glob("*.toml"))}
    if name not in shipped:
        raise OptionError(f"recipe {name!r}: expected a .toml file or one of {', '.join(shipped)}")
    return shipped[name]


def recipes_folder() -> Path:
    """Return the folder of the shipped recipes: in the wheel beside the code, else the checkout."""
    inside = Path(str(files("meninx"))) / "recipes"
    return inside if inside.is_dir() else Path(__file__).parents[3] / "recipes"
