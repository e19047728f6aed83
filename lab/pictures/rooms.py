"""The list of rooms and modules in docs/design.md, from the modules' docstrings.

Run: python -m lab.pictures.rooms
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "design.md"
BEGIN, END = "<!-- rooms: written by lab/pictures/rooms.py -->", "<!-- end of rooms -->"
# A version of the schema each: listed by their folder.
LEFT_OUT = "versions"


def summary_of(module: Path) -> str:
    """Return the first line of a module's docstring, without its full stop."""
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return docstring.split("\n")[0].removesuffix(".")


def lines_of(folder: Path, depth: int = 0) -> Iterator[str]:
    """Yield a line for a room and one for each of its modules and rooms, indented."""
    indent = "  " * depth
    yield f"{indent}{folder.name}/".ljust(36) + summary_of(folder / "__init__.py")
    for module in sorted(folder.glob("*.py")):
        if not module.stem.startswith("__"):
            yield f"{indent}  {module.name}".ljust(36) + summary_of(module)
    for room in sorted(path.parent for path in folder.glob("*/__init__.py")):
        if room.name != LEFT_OUT:
            yield from lines_of(room, depth + 1)


def page() -> str:
    """Return docs/design.md with the rooms as they are."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    rooms = "\n".join((*lines_of(ROOT / "src/meninx"), *lines_of(ROOT / "lab")))
    return f"{before}{BEGIN}\n\n```\n{rooms}\n```\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
