"""Put the tables into the pages that want them."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from lab.pictures.figures import limits, log, readme, results, web
from lab.pictures.figures.tables import ROOT

BLOCK = re.compile(r"(<!-- table: (?P<name>[\w-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
TABLES: Mapping[str, Callable[[], str]] = {
    **readme.TABLES,
    **results.TABLES,
    **limits.TABLES,
    **log.TABLES,
    **web.TABLES,
}


def sources() -> Iterator[Path]:
    """Yield the README and every page, those of the log too."""
    yield ROOT / "README.md"
    yield from sorted((ROOT / "docs").rglob("*.md"))


def pages() -> dict[Path, str]:
    """Return every page that holds tables, as it should be."""
    found = {}
    for path in sources():
        text = path.read_text(encoding="utf-8")
        if BLOCK.search(text):
            found[path] = BLOCK.sub(
                lambda block: f"{block[1]}\n{TABLES[block['name']]()}\n\n{block[3]}", text
            )
    return found
