"""Compare figures with the targets for every plane, for single pictures and for any sequence.

They were set on 29 November 2026, before anything was trained for them. A figure that no file of
the folder holds is not measured, and the table says so. Run: python -m lab.evidence.wider_targets
FOLDER, FOLDER holding people.json, other-planes.json, recognition.json, curated.json
and network.json, as far as they were measured.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.evidence.targets import Target, print_table

# What other_planes.py calls the shipped detector where it measured a candidate.
ALSO = "the other detector"
# Operations of the network that shipped when the targets were set, million MACs a slice.
MILLION_MACS = 937.1

# Finds a figure in a file of evidence; raises a KeyError where it is missing.
Figure = Callable[[Mapping[str, Any]], float]

# What is to be recognized: the question, of what, among which kinds, and the balanced accuracy.
RECOGNIZED = (
    ("sequence", "volume", ("T1", "T1c", "FLAIR"), 0.95),
    ("plane", "volume", ("axial", "coronal", "sagittal"), 0.98),
    ("turn", "picture", ("0", "90", "180", "270"), 0.98),
)


def _share(place: str, who: str, answer: str) -> Figure:
    return lambda people: people[place][who]["shares"][answer]["value"]


def _alone(who: str, answer: str) -> Figure:
    def value(people: Mapping[str, Any]) -> float:
        answers = people["single slices"]["answers"]["by sequence, 95%"]
        return float(answers[who]["shares"][answer]["value"])

    return value


def _in_planes(answer: str) -> Figure:
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


def _recognized(question: str, case: str, kinds: Sequence[str]) -> Figure:
    """Return the balanced accuracy among some kinds, people held out."""

    def value(found: Mapping[str, Any]) -> float:
        answers = found[question][case]["people held out"]["answers"]
        recalls = [answers[kind].get(kind, 0) / sum(answers[kind].values()) for kind in kinds]
        return sum(recalls) / len(recalls)

    return value


def targets(folder: Path) -> Iterator[Target]:
    """Yield the targets in the order of the table, with what the evidence of a folder holds."""
    people, planes = folder / "people.json", folder / "other-planes.json"
    for name, must, aim in (("FLAIR", 0.97, 0.985), ("T1", 0.925, 0.95), ("T1c", 0.935, 0.96)):
        value = measured(people, lambda found, name=name: found["slices"][name]["all"]["within"][0])
        yield Target(f"whole scans, within patients, {name}", must, aim, value)
    for name, must, aim in (("FLAIR", 0.955, 0.97), ("T1", 0.90, 0.93), ("T1c", 0.87, 0.92)):
        value = measured(people, lambda found, name=name: found["single slices"][name]["pooled"])
        yield Target(f"single slices, pooled, {name}", must, aim, value)
    alone, value = "single slices at 95 %", measured(people, _alone("tumor-free", "no_tumor"))
    yield Target(f"{alone}, tumor-free answered no tumor", 0.5, 0.65, value)
    value = measured(people, _alone("tumor", "refer"))
    yield Target(f"{alone}, tumors referred", 0.3, 0.2, value, at_most=True)
    value = measured(people, _share("scans", "tumor", "tumor"))
    yield Target("tumor scans called", 0.93, 0.96, value)
    for who, answer, must, aim in (
        ("tumor", "refer", 0.05, 0.03),
        ("tumor-free", "tumor", 0.08, 0.04),
        ("tumor-free", "refer", 0.15, 0.08),
    ):
        what = f"{who} scans {'called' if answer == 'tumor' else 'referred'}"
        value = measured(people, _share("scans", who, answer))
        yield Target(what, must, aim, value, at_most=True)
    series = "sagittal and coronal series of tumor-free volumes"
    for answer, said, must, aim in (
        ("tumor", "called", 0.06, 0.03),
        ("refer", "referred", 0.25, 0.1),
    ):
        value = measured(planes, _in_planes(answer))
        yield Target(f"{series}, {said}", must, aim, value, at_most=True)
    what = "heads scanned in 3-D with one answer in each storage order"
    value = measured(
        folder / "storage-orders.json", lambda found: found["one answer"] / found["heads"]
    )
    yield Target(what, 1, 1, value)
    value = measured(people, lambda found: found["single slices"]["refused"]["all"]["value"])
    yield Target("single slices of people held out, refused", 0.02, 0.01, value, at_most=True)
    value = measured(
        planes, lambda found: found.get(f"phantoms, {ALSO}", found["phantoms"]).get("tumor", 0)
    )
    yield Target("healthy phantoms called, of 40", 2, 0, value, at_most=True)
    for question, case, kinds, must in RECOGNIZED:
        what = f"recognized of a {case}, people held out, {question}"
        value = measured(folder / "recognition.json", _recognized(question, case, kinds))
        yield Target(what, must, must, value)
    value = measured(folder / "curated.json", lambda found: found["types"]["accuracy"]["value"])
    yield Target("types, T1c, fold 1", 0.92, 0.95, value)
    what = f"operations of the network, beside {MILLION_MACS:g} million MACs"
    value = measured(
        folder / "network.json", lambda found: found["million MACs a slice"] / MILLION_MACS
    )
    yield Target(what, 1.0, 0.7, value, at_most=True)


def measured(path: Path, figure: Figure) -> float | None:
    """Return a figure of a file of evidence; None where it, or its file, is missing."""
    if not path.is_file():
        return None
    try:
        return figure(json.loads(path.read_text(encoding="utf-8")))
    except KeyError:
        return None


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    print_table(targets(parser.parse_args().folder))


if __name__ == "__main__":
    main()
