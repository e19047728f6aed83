"""Write the rooms of docs/design.md, and the page of all modules, from docstrings.

`make docs` writes the page of modules. Run for the design: python -m lab.pictures.rooms
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "design.md"
BLOCK = re.compile(r"(<!-- rooms -->\n).*?(<!-- end of rooms -->)", re.DOTALL)
# Each migration of the schema is a module.
LEFT_OUT = "versions"


def summary_of(module: Path) -> str:
    """Return the first line of a module's docstring, without its period."""
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return docstring.split("\n")[0].removesuffix(".").replace("|", "\\|")


def rooms() -> Iterator[tuple[str, Path]]:
    """Yield name and folder of each package below the two top ones, parents first."""
    for top in (ROOT / "src" / "meninx", ROOT / "lab"):
        for init in sorted(top.rglob("__init__.py")):
            folder = init.parent
            if LEFT_OUT not in folder.parts and folder.name != "meninx":
                base = top if top.name == "meninx" else ROOT
                yield folder.relative_to(base).as_posix(), folder


def design_page() -> str:
    """Return docs/design.md with the rooms as they are."""
    rows = [f"| `{name}` | {summary_of(folder / '__init__.py')} |" for name, folder in rooms()]
    table = "\n".join(["| room | purpose |", "| --- | --- |", *rows])
    text = PAGE.read_text(encoding="utf-8")
    return BLOCK.sub(lambda block: f"{block[1]}\n{table}\n\n{block[2]}", text)


def modules_page() -> str:
    """Return a page with all modules of each room, as Markdown."""
    parts = ["# Modules\n\nThe first line of each module's docstring, by room.\n"]
    package = ROOT / "src" / "meninx"
    for name, folder in [("meninx", package), *rooms()]:
        modules = [path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("__")]
        rows = [f"| `{path.stem}` | {summary_of(path)} |" for path in modules]
        table = "\n".join(["| | |", "| --- | --- |", *rows]) + "\n" if rows else ""
        parts.append(f"## {name}\n\n{summary_of(folder / '__init__.py')}.\n\n{table}")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(design_page(), encoding="utf-8")
