"""Write the measured figures of docs/evidence/ as Markdown."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
EVIDENCE = ROOT / "docs" / "evidence"
Row = Iterable[str]
SEQUENCES = ("FLAIR", "T1", "T1c")


def as_table(heading: Row, rows: Iterable[Row]) -> str:
    """Return a heading and rows as Markdown."""
    heading = list(heading)
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def read(name: str) -> Any:
    """Return a file of docs/evidence/, by its name without suffix."""
    return json.loads((EVIDENCE / f"{name}.json").read_text(encoding="utf-8"))


def bracketed(figure: list[float]) -> str:
    """Return a value and its interval, given as three numbers."""
    value, low, high = figure
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def interval(figure: Mapping[str, Any]) -> str:
    """Return a figure and its interval, or `-` where there is none."""
    if figure["value"] is None:  # no case at all
        return "-"
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


def percent(figure: Mapping[str, float]) -> str:
    """Return a share and its interval in percent."""
    return f"{figure['value']:.0%} [{figure['low']:.0%}, {figure['high']:.0%}]"


def counted(answers: Mapping[str, int]) -> list[str]:
    """Return the number of each answer."""
    return [str(answers.get(answer, 0)) for answer in ("tumor", "refer", "no_tumor", "too_small")]


def flat_table(what: str, source: str) -> str:
    """Return a file's figures, a row each."""
    rows = []
    for name, value in read(source).items():
        values = value if isinstance(value, list) else [value]
        texts = (f"{part:.3g}" if isinstance(part, float) else str(part) for part in values)
        rows.append([name, ", ".join(texts)])
    return as_table([what, "measured"], rows)
