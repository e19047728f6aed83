"""Compare figures with the targets for every plane, for single pictures and for any sequence.

They were set on 29 November 2026, before anything was trained for them. A figure that no file of
the folder holds is not measured, and the table says so. Run: python -m lab.evidence.wider_targets
FOLDER [--json FILE], FOLDER holding people.json, other-planes.json, recognition.json, curated.json
and network.json, as far as they were measured.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NOT_MEASURED = "not measured"
# What other_planes.py calls the shipped detector where it measured a candidate.
ALSO = "the other detector"
# Operations of the network that shipped when the targets were set, million MACs a slice.
MILLION_MACS = 937.1

# What is to be recognized: the question, of what, among which kinds, and the balanced accuracy.
RECOGNIZED = (
    ("sequence", "volume", ("T1", "T1c", "FLAIR"), 0.95),
    ("plane", "volume", ("axial", "coronal", "sagittal"), 0.98),
    ("turn", "picture", ("0", "90", "180", "270"), 0.98),
)


@dataclass(frozen=True)
class Target:
    """A target: a row of the table.

    Args:
        what: Name of the figure.
        must: Required value.
        aim: Desired value.
        file: Evidence that holds it.
        value: Function that finds it in this file; raises a KeyError where it is missing.
        at_most: Whether smaller values are better.
    """

    what: str
    must: float
    aim: float
    file: str
    value: Callable[[Mapping[str, Any]], float]
    at_most: bool = False

    def verdict(self, value: float) -> str:
        """Return `aim`, `must` or `missed`; the value counts as rounded to three decimals."""
        sign = -1 if self.at_most else 1
        reached = [
            name for name in ("aim", "must") if sign * round(value, 3) >= sign * getattr(self, name)
        ]
        return reached[0] if reached else "missed"


def _share(place: str, who: str, answer: str) -> Callable[[Mapping[str, Any]], float]:
    return lambda people: people[place][who]["shares"][answer]["value"]


def _alone(who: str, answer: str) -> Callable[[Mapping[str, Any]], float]:
    def value(people: Mapping[str, Any]) -> float:
        answers = people["single slices"]["answers"]["by sequence, 95%"]
        return float(answers[who]["shares"][answer]["value"])

    return value


def _in_planes(answer: str) -> Callable[[Mapping[str, Any]], float]:
    """Return the share of an answer among sagittal and coronal series that are not refused."""

    def value(planes: Mapping[str, Any]) -> float:
        # Beside `--also`, the halves are those of a candidate that did not ship.
        if f"people, {ALSO}" in planes:
            raise KeyError("people")
        counts = {
            name: sum(
                planes["people"].get(f"{plane}: {name}", 0) for plane in ("sagittal", "coronal")
            )
            for name in ("tumor", "refer", "no_tumor")
        }
        return counts[answer] / sum(counts.values())

    return value


def _recognized(
    question: str, case: str, kinds: Sequence[str]
) -> Callable[[Mapping[str, Any]], float]:
    """Return the balanced accuracy among some kinds, people held out."""

    def value(found: Mapping[str, Any]) -> float:
        answers = found[question][case]["people held out"]["answers"]
        recalls = [answers[kind].get(kind, 0) / sum(answers[kind].values()) for kind in kinds]
        return sum(recalls) / len(recalls)

    return value


def targets() -> Iterator[Target]:
    """Yield the targets in the order of the table."""
    people, planes = "people.json", "other-planes.json"
    for name, must, aim in (("FLAIR", 0.97, 0.985), ("T1", 0.925, 0.95), ("T1c", 0.935, 0.96)):
        yield Target(
            f"whole scans, within patients, {name}",
            must,
            aim,
            people,
            lambda found, name=name: found["slices"][name]["all"]["within"][0],
        )
    for name, must, aim in (("FLAIR", 0.955, 0.97), ("T1", 0.90, 0.93), ("T1c", 0.87, 0.92)):
        yield Target(
            f"single slices, pooled, {name}",
            must,
            aim,
            people,
            lambda found, name=name: found["single slices"][name]["pooled"],
        )
    alone = "single slices at 95 %"
    yield Target(
        f"{alone}, tumor-free answered no tumor",
        0.5,
        0.65,
        people,
        _alone("tumor-free", "no_tumor"),
    )
    yield Target(f"{alone}, tumors referred", 0.3, 0.2, people, _alone("tumor", "refer"), True)
    yield Target("tumor scans called", 0.93, 0.96, people, _share("scans", "tumor", "tumor"))
    for who, answer, must, aim in (
        ("tumor", "refer", 0.05, 0.03),
        ("tumor-free", "tumor", 0.08, 0.04),
        ("tumor-free", "refer", 0.15, 0.08),
    ):
        said = "called" if answer == "tumor" else "referred"
        yield Target(
            f"{who} scans {said}", must, aim, people, _share("scans", who, answer), at_most=True
        )
    series = "sagittal and coronal series of tumor-free volumes"
    yield Target(f"{series}, called", 0.06, 0.03, planes, _in_planes("tumor"), at_most=True)
    yield Target(f"{series}, referred", 0.25, 0.1, planes, _in_planes("refer"), at_most=True)
    yield Target(
        "heads scanned in 3-D with one answer in each storage order",
        1,
        1,
        "storage-orders.json",
        lambda found: found["one answer"] / found["heads"],
    )
    yield Target(
        "single slices of people held out, refused",
        0.02,
        0.01,
        people,
        lambda found: found["single slices"]["refused"]["all"]["value"],
        at_most=True,
    )
    yield Target(
        "healthy phantoms called, of 40",
        2,
        0,
        planes,
        lambda found: found.get(f"phantoms, {ALSO}", found["phantoms"]).get("tumor", 0),
        at_most=True,
    )
    for question, case, kinds, must in RECOGNIZED:
        yield Target(
            f"recognized of a {case}, people held out, {question}",
            must,
            must,
            "recognition.json",
            _recognized(question, case, kinds),
        )
    yield Target(
        "types, T1c, fold 1",
        0.92,
        0.95,
        "curated.json",
        lambda found: found["types"]["accuracy"]["value"],
    )
    yield Target(
        f"operations of the network, beside {MILLION_MACS:g} million MACs",
        1.0,
        0.7,
        "network.json",
        lambda found: found["million MACs a slice"] / MILLION_MACS,
        at_most=True,
    )


def rows(folder: Path) -> list[list[str]]:
    """Return the rows of the table as texts, the heading first."""
    table = [["what", "must", "aim", "measured", "reached"]]
    for target in targets():
        value = measured(target, folder)
        found = [NOT_MEASURED, NOT_MEASURED]
        if value is not None:
            found = [f"{value:.3f}".rstrip("0").rstrip("."), target.verdict(value)]
        table.append([target.what, f"{target.must:g}", f"{target.aim:g}", *found])
    return table


def measured(target: Target, folder: Path) -> float | None:
    """Return the measured value of a target; None where no evidence holds it."""
    path = folder / target.file
    if not path.is_file():
        return None
    try:
        return target.value(json.loads(path.read_text(encoding="utf-8")))
    except KeyError:
        return None


def main() -> None:
    """Print the table, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    table = rows(options.folder)
    for what, must, aim, value, verdict in table:
        print(f"{what:62} {must:>6} {aim:>6}  {value:12} {verdict}")
    if options.json:
        options.json.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
