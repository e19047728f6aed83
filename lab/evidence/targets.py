"""Compare the measured figures with the targets that were set before the work, as table and page.

Run: python -m lab.evidence.targets FOLDER [--page FILE] [--compare FOLDER], FOLDER holding
volumes.json, curated.json and sheets of heat maps; `make evidence` does so.
`lab.pictures.figures` writes the table into docs/log/.
"""

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PackageLoader, select_autoescape

from meninx._assess.offline_page import embedded

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Target:
    """A target and the measured value: a row of the table.

    Args:
        what: Name of the figure.
        must: Required value.
        aim: Desired value.
        value: Measured value; None if no evidence holds it.
        interval: 95 % interval in brackets, or `of` and the number of cases; empty for none.
        at_most: Whether smaller values are better.
    """

    what: str
    must: float
    aim: float
    value: float | None
    interval: str = ""
    at_most: bool = False

    @property
    def value_text(self) -> str:
        """The value and its interval as text; counts are integers."""
        if self.value is None:
            return NOT_MEASURED
        counted = self.interval.startswith("of")
        value = f"{self.value:.0f}" if counted else f"{self.value:.3f}"
        return f"{value} {self.interval}".rstrip()

    @property
    def verdict(self) -> str:
        """`aim`, `must` or `missed`; the rounded value counts. `not measured` without a value."""
        if self.value is None:
            return NOT_MEASURED
        value = round(self.value, 3)
        if self.at_most:
            reached = [name for name in ("aim", "must") if value <= getattr(self, name)]
        else:
            reached = [name for name in ("aim", "must") if value >= getattr(self, name)]
        return reached[0] if reached else "missed"


# Largest difference of a reproduced figure from the stored one.
TOLERANCE = 0.005
MUST = {
    "brats18 FLAIR": {"pooled": (0.95, 0.97), "within": (0.92, 0.96), "peak": (0.80, 0.92)},
    "brats18 T1": {"pooled": (0.88, 0.92), "within": (0.83, 0.92), "peak": (0.60, 0.80)},
    "brats13 T1c": {"pooled": (0.96, 0.98), "within": (0.92, 0.97), "peak": (0.80, 0.92)},
}
NAMES = {
    "pooled": "AUROC pooled",
    "within": "AUROC within patient",
    "peak": "hottest voxel in the mask",
}


# Held-out persons: figures of slices, and shares of scans calibrated by all other persons.
PEOPLE = {
    "within patient": (
        "all",
        "within",
        {"FLAIR": (0.95, 0.97), "T1": (0.87, 0.93), "T1c": (0.88, 0.94)},
    ),
    "within patient, tumor over 3 % of the head": (
        "large",
        "within",
        {"FLAIR": (0.98, 0.99), "T1": (0.94, 0.97), "T1c": (0.93, 0.96)},
    ),
    "hottest voxel in the mask": (
        "all",
        "peak",
        {"FLAIR": (0.85, 0.92), "T1": (0.68, 0.80), "T1c": (0.68, 0.80)},
    ),
}
SHARES = (
    ("tumor", "tumor", 0.80, 0.90, False),
    ("tumor-free", "tumor", 0.05, 0.01, True),
    ("tumor-free", "refer", 0.20, 0.10, True),
)


def people_targets(folder: Path) -> Iterator[Target]:
    """Yield the rows of held-out persons."""
    people = json.loads((folder / "people.json").read_text(encoding="utf-8"))
    for what, (part, key, wanted) in PEOPLE.items():
        for sequence, (must, aim) in wanted.items():
            value, low, high = people["slices"][sequence][part][key]
            name = f"people held out, {sequence}, {what}"
            yield Target(name, must, aim, value, f"[{low:.3f}, {high:.3f}]")
    for who, answer, must, aim, at_most in SHARES:
        share = people["scans by all others"][who]["shares"][answer]
        yield Target(
            f"scans of {who} people answered {answer}",
            must,
            aim,
            share["value"],
            f"[{share['low']:.3f}, {share['high']:.3f}]",
            at_most,
        )


def targets(folder: Path) -> Iterator[Target]:
    """Yield the rows of a folder's figures."""
    # `make evidence` can't measure it: networks with held-out persons are not in the package.
    if (folder / "people.json").is_file():
        yield from people_targets(folder)
    volumes = json.loads((folder / "volumes.json").read_text(encoding="utf-8"))
    types = json.loads((folder / "curated.json").read_text(encoding="utf-8"))["types"]
    for name, wanted in MUST.items():
        for key, (must, aim) in wanted.items():
            value, low, high = volumes["table"][name][key]
            yield Target(f"{name}, {NAMES[key]}", must, aim, value, f"[{low:.3f}, {high:.3f}]")
    for key, name in (("accuracy", "accuracy"), ("macro_f1", "macro F1")):
        figure = types[key]
        interval = f"[{figure['low']:.3f}, {figure['high']:.3f}]"
        yield Target(f"type, Cheng's fold 1, {name}", 0.90, 0.95, figure["value"], interval)
    for name in ("healthy adult", "healthy phantoms"):
        counts = volumes["called tumor"][name]
        scans = f"of {counts['scans']}"
        called = counts["answers"].get("tumor", 0)
        yield Target(f"{name} answered tumor", 0, 0, called, scans, at_most=True)


def rows(targets: Iterable[Target]) -> list[list[str]]:
    """Return the rows of the table as texts, the heading first."""
    heading = ["what", "must", "aim", "measured", "reached"]
    return [heading] + [
        [target.what, f"{target.must:g}", f"{target.aim:g}", target.value_text, target.verdict]
        for target in targets
    ]


def print_table(targets: Iterable[Target]) -> None:
    """Print the rows of the table."""
    for what, must, aim, value, verdict in rows(targets):
        print(f"{what:62} {must:>6} {aim:>6}  {value:24} {verdict}")


def differences(folder: Path, written: Path) -> list[str]:
    """Return the figures that differ from stored ones."""
    before = {target.what: target.value or 0.0 for target in targets(written)}
    return [
        f"{target.what}: {target.value:.3f}, written down {before[target.what]:.3f}"
        for target in targets(folder)
        if target.value is not None and abs(target.value - before[target.what]) > TOLERANCE
    ]


def write_page(folder: Path, path: Path) -> None:
    """Write the table and the heat maps as a self-contained page."""
    environment = Environment(
        loader=ChoiceLoader(
            [FileSystemLoader(Path(__file__).parent), PackageLoader("meninx._assess")]
        ),
        autoescape=select_autoescape(),
    )
    sheets = [(sheet.stem, embedded(sheet)) for sheet in sorted(folder.glob("*.png"))]
    page = environment.get_template("targets.html").render(
        rows=rows(targets(folder)), sheets=sheets
    )
    path.write_text(page, encoding="utf-8")


def main() -> None:
    """Print the table, write the page, and compare with stored figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--compare", type=Path, help="folder of stored figures")
    options = parser.parse_args()
    print_table(targets(options.folder))
    if options.page:
        write_page(options.folder, options.page)
        print(f"page: {options.page}")
    if options.compare:
        changed = differences(options.folder, options.compare)
        print("\n".join(changed) or "as written down")
        raise SystemExit(bool(changed))


if __name__ == "__main__":
    main()
