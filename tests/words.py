"""Fail on words that the glossary in CONTRIBUTING.md has retired, and on docstrings that dangle.

Run by `make check`: python tests/words.py [FILE...]
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
GLOSSARY = ROOT / "CONTRIBUTING.md"
TEXTS = (
    "src/meninx/**/*.py",
    "src/meninx/**/*.html",
    "lab/**/*.py",
    "frontend/*.js",
    "frontend/src/**/*.js",
    "recipes/*.toml",
    "docs/*.md",
    "README.md",
    "CONTRIBUTING.md",
)
# The line says so itself, or the name is Python's own.
ALLOWED = re.compile(r"retired word|\.most_common\(", re.IGNORECASE)
ROW = re.compile(r"^\| (?P<say>[^|]+) \| (?P<not>[^|]+) \|$")
CLASS_OPENING = re.compile(r"Holds? ")
PARAMETER = re.compile(
    r"^ +(?P<name>\*{0,2}\w+(?:, \*{0,2}\w+)*): (?P<text>(?:Of|That|As|To|With|Whose|Which)\b.*)"
)


def retired_words(glossary: str) -> dict[str, str]:
    """Return each retired word of the glossary and what to say instead.

    Args:
        glossary: Text of the page, with the table `| say | not |`.
    """
    table = glossary.partition("| say | not |")[2].partition("\n\n")[0]
    rows = [row for line in table.splitlines() if (row := ROW.match(line)) and "---" not in line]
    return {word.strip(): row["say"] for row in rows for word in row["not"].split(",")}


def pattern_of(words: dict[str, str]) -> re.Pattern[str]:
    """Return a pattern that finds each word; one that ends in `_` begins a name."""
    each = (re.escape(word) + ("" if word.endswith("_") else r"\b") for word in words)
    return re.compile(rf"(?<![A-Za-z])(?:{'|'.join(each)})", re.IGNORECASE)


def retired_in(text: str, words: dict[str, str]) -> Iterator[tuple[int, str]]:
    """Yield line number and complaint of each retired word."""
    pattern = pattern_of(words)
    by_lower = {word.lower(): say for word, say in words.items()}
    for number, line in enumerate(text.splitlines(), 1):
        if ALLOWED.search(line):
            continue
        for found in pattern.finditer(line):
            yield number, f"{found.group()!r} is retired; say {by_lower[found.group().lower()]}"


def dangling_in(source: str) -> Iterator[tuple[int, str]]:
    """Yield line number and complaint of each docstring that does not name its thing first."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        docstring = ast.get_docstring(node, clean=False)
        if not docstring:
            continue
        first = node.body[0].lineno
        if isinstance(node, ast.ClassDef) and CLASS_OPENING.match(docstring):
            yield first, f"class {node.name}: say what it is, not what it holds"
        for offset, line in enumerate(docstring.splitlines()):
            if found := PARAMETER.match(line):
                yield first + offset, f"{found['name']}: {found['text']!r} dangles; name the thing"


def complaints(path: Path, words: dict[str, str]) -> Iterator[tuple[int, str]]:
    """Yield line number and complaint of all that is wrong in a file."""
    text = path.read_text(encoding="utf-8")
    if path == GLOSSARY:
        before, table, after = text.partition("### One word for one thing")
        rest = after.partition("Also *score*")[2]
        text = before + table + rest
    yield from retired_in(text, words)
    if path.suffix == ".py":
        yield from dangling_in(text)


def main() -> int:
    """Print all complaints; return 1 if there is one."""
    words = retired_words(GLOSSARY.read_text(encoding="utf-8"))
    named = [Path(name).resolve() for name in sys.argv[1:]]
    files = named or sorted({path for pattern in TEXTS for path in ROOT.glob(pattern)})
    count = 0
    for path in files:
        for number, complaint in complaints(path, words):
            print(f"{path.relative_to(ROOT)}:{number}: {complaint}")
            count += 1
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main())
