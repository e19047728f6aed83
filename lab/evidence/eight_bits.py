"""Measure what 8-bit integers change beside single precision: answers, AUROC and refusals.

Scans and single slices of the people, pictures of curated fold 1, and foreign pictures. The network
learned from the people but not from fold 1, whose answers are the smaller and the more honest part.
Run: python -m lab.evidence.eight_bits PEOPLE.csv [--json FILE]
"""

import argparse
import dataclasses
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lab.evidence.foreign import all_kinds
from lab.evidence.refusals import BRAIN
from meninx._assess.cases import units_of
from meninx._assess.metrics import auroc
from meninx._data.manifest import Picture, read_manifest
from meninx._data.stacks import read_stack
from meninx._detect.detector import Detector
from meninx._detect.findings import Findings
from meninx._detect.head_slices import brain_areas
from meninx._detect.loading import load_detector
from meninx._scan.reading import read_one
from meninx._scan.scan import Scan

FOLD = 1
PEOPLE = ("lgg", "tumor-free")
# Number of slices of each scan that stand alone.
SLICES = 6
FOREIGN, CURATED = "foreign pictures", "curated, fold 1"


@dataclass(frozen=True)
class Pair:
    """One input, scored in both formats.

    Args:
        kind: Kind of input.
        tumor: Whether it shows a tumor; None for foreign pictures.
        single: Findings in single precision.
        rounded: Findings in 8 bits.
    """

    kind: str
    tumor: bool | None
    single: Findings
    rounded: Findings


def inputs(people: Path) -> Iterator[tuple[str, bool | None, Scan]]:
    """Yield all inputs with their kind and label."""
    rows = read_manifest(people).pictures
    for kind, images in all_kinds().items():
        yield from ((f"{FOREIGN}: {kind}", None, picture_of(image)) for image in images)
    for row in rows:
        if row.fold == FOLD and row.source not in PEOPLE:
            yield CURATED, row.tumor, read_one(row.picture)
    yield from inputs_of_people([row for row in rows if row.source in PEOPLE])


def inputs_of_people(own: Sequence[Picture]) -> Iterator[tuple[str, bool | None, Scan]]:
    """Yield the scans of people, and single slices of them, with and without tumor."""
    for row, members in units_of(own):
        scan, mask = read_stack(members) if members else (read_one(row.picture), None)
        yield f"scans, {row.sequence}", row.tumor, scan
        if members and mask is not None:
            shown = np.asarray(mask.any(axis=(0, 1)))
            for index in chosen_slices(scan):
                image = scan.slice(index)
                yield f"single slices, {row.sequence}", bool(shown[index]), picture_of(image.image)
        elif not row.tumor:
            for index in chosen_slices(scan):
                image = scan.slice(index)
                yield f"single slices, {row.sequence}", False, picture_of(image.image)


def chosen_slices(scan: Scan) -> list[int]:
    """Return the indices of some slices that show much of the head, evenly spread."""
    areas = brain_areas(scan)
    found = np.flatnonzero(areas >= BRAIN * areas.max())
    return [
        int(index) for index in np.unique(found[np.linspace(0, len(found) - 1, SLICES).astype(int)])
    ]


def picture_of(image: np.ndarray) -> Scan:
    """Return a picture, image of shape (h, w)."""
    return Scan("picture", image.T[..., None].astype(np.float32))


def answer_of(findings: Findings) -> str:
    """Return the decision, or the reason of a refusal."""
    return findings.decision or findings.reason or findings.status


def compared(pairs: list[Pair]) -> dict[str, Any]:
    """Return what rounding changes in inputs of one kind."""
    answers = [(answer_of(pair.single), answer_of(pair.rounded)) for pair in pairs]
    opposite = {"tumor", "no_tumor"}
    scored = [pair for pair in pairs if None not in (pair.single.logit, pair.rounded.logit)]
    single = np.array([pair.single.logit for pair in scored])
    rounded = np.array([pair.rounded.logit for pair in scored])
    tumor = np.array([bool(pair.tumor) for pair in scored])
    moved = rounded - single
    figures: dict[str, Any] = {
        "inputs": len(pairs),
        "refused": [
            sum(finding.status == "refused" for finding in findings)
            for findings in zip(*[(pair.single, pair.rounded) for pair in pairs], strict=True)
        ],
        "answers changed": sum(before != after for before, after in answers),
        "tumor to no tumor or back": sum({*answer} == opposite for answer in answers),
    }
    if scored:
        figures["logit, median change"] = float(np.median(moved))
        figures["logit, 95 % of changes below"] = float(np.quantile(np.abs(moved), 0.95))
    if len(set(tumor)) == 2:
        figures["AUROC"] = [float(auroc(tumor, single)), float(auroc(tumor, rounded))]
    return figures


def main() -> None:
    """Score all inputs in both formats, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("people", type=Path)
    parser.add_argument("--single", type=Path, help="detector in single precision")
    parser.add_argument("--rounded", type=Path, help="the same detector in 8 bits")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    detectors = [
        load_detector(options.single, threads=1, precision="fp32"),
        load_detector(options.rounded, threads=1, precision="int8"),
    ]
    kinds: dict[str, list[Pair]] = defaultdict(list)
    for kind, tumor, scan in inputs(options.people):
        single, rounded = (without_cells(detector, scan) for detector in detectors)
        kinds[kind].append(Pair(kind, tumor, single, rounded))
    figures = {kind: compared(pairs) for kind, pairs in kinds.items()}
    foreign = [pair for kind, pairs in kinds.items() if kind.startswith(FOREIGN) for pair in pairs]
    figures["known"] = compared(
        [pair for kind, pairs in kinds.items() if not kind.startswith(FOREIGN) for pair in pairs]
    )
    figures[FOREIGN] = compared(foreign)
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def without_cells(detector: Detector, scan: Scan) -> Findings:
    """Return the findings without their slices, whose cells would fill the memory."""
    return dataclasses.replace(detector.score(scan), slices=())


if __name__ == "__main__":
    main()
