"""Measure and calibrate on held-out people: each half is scored by the network of the other.

Whole scans, and each slice of them alone. Writes the figures, and the calibration and the gate's
threshold that lab/release/ship.py puts into the detector. Run: python
-m lab.release.held_out_people PEOPLE.csv FIRST.onnx SECOND.onnx --heads FOLDER --json FILE
--calibration FILE
"""

import argparse
import dataclasses
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lab.release.people_calibration import fit_people, fit_single_slices, gate_threshold
from lab.release.references import WANTED, Scored, allowed
from lab.release.single_slice_figures import single_slice_figures
from lab.release.single_slices import SingleSlice, single_slices
from meninx._assess.cases import Case, score_cases
from meninx._assess.intervals import share_interval
from meninx._assess.metrics import auroc
from meninx._assess.volumes import (
    VolumeResult,
    bootstrap_interval,
    peak_share,
    pooled_auroc,
    within_auroc,
)
from meninx._data.manifest import Manifest, Picture, read_manifest
from meninx._detect.calibration import Calibration
from meninx._detect.decision import DEFAULT_COVERAGE
from meninx._detect.detector import Detector
from meninx._detect.study_grouping import evidence_of
from meninx._scan.scan import Sequence as MrSequence
from meninx._synthesis.packed_heads import packed_heads
from meninx._synthesis.simulated_scans import tumor_free_studies

# Folds of lab/release/people.py that the two detectors leave out, in order.
FOLDS = (6, 7)
SEQUENCES: tuple[MrSequence, ...] = ("FLAIR", "T1", "T1c")
# Fold of pictures of unknown people that neither network learned from.
PICTURES_FOLD = 5
# Number of them that each network scores: more would outnumber the people.
PICTURES = 40
# Largest number of augmented heads of a template in a sequence: they are one person's.
MAX_EACH = 3
# Share of single slices that the gate may refuse.
REFUSED = 0.02
# Smallest share of the head that a large tumor covers in a slice.
LARGE = 0.03
FIGURES: dict[str, Callable[[Sequence[VolumeResult]], float]] = {
    "pooled": pooled_auroc,
    "within": within_auroc,
    "peak": peak_share,
    "baseline": lambda results: pooled_auroc(results, "baseline"),
}


@dataclasses.dataclass(frozen=True)
class Half:
    """Held-out people of one network, scored by it.

    Args:
        cases: Scored scans of these people.
        simulated: Augmented heads of these people, tumor-free, by sequence.
        slices: Their slices, scored alone.
    """

    cases: list[Case]
    simulated: dict[str, list[Scored]]
    slices: list[SingleSlice]


def scored_half(detector: Detector, manifest: Manifest, fold: int, heads: Path, each: int) -> Half:
    """Score the people of a fold, augmented heads of them, and their slices alone.

    Args:
        detector: Network that left the fold out.
        manifest: People and pictures.
        fold: Fold of the people.
        heads: Folder of packed heads.
        each: Number of augmented heads of each packed head and sequence.

    Returns:
        What it found.
    """
    cases = score_cases(detector, manifest.fold(fold), workers=2)
    own = [head for head in packed_heads(heads) if head.fold == fold]
    simulated: dict[str, list[Scored]] = {}
    for sequence in SEQUENCES:
        scans = tumor_free_studies(sequence, [head.path for head in own], each)
        simulated[sequence] = [
            Scored(own[number // each].person, detector.score(scan))
            for number, scan in enumerate(scans)
        ]
    alone = [*manifest.fold(fold), *pictures_of(manifest, fold)]
    return Half(cases, simulated, single_slices(detector, alone))


def pictures_of(manifest: Manifest, fold: int) -> list[Picture]:
    """Return the pictures with a mask that the network of a fold scores, the other half to others.

    Both networks left them out. They show tumors in T1c in every plane, of unknown people.
    """
    masked = [row for row in manifest.fold(PICTURES_FOLD) if row.mask is not None]
    own = masked[FOLDS.index(fold) :: len(FOLDS)]
    return own[:: max(1, len(own) // PICTURES)][:PICTURES]


def heads_each(heads: Path) -> int:
    """Return how many augmented heads of each template fill up a sequence without real ones."""
    templates = sum(head.fold in FOLDS for head in packed_heads(heads))
    return min(MAX_EACH, -(-WANTED // max(1, templates)))


def references_of(halves: Sequence[Half]) -> tuple[list[Scored], dict[str, Any]]:
    """Return the simulated heads that may be references of series, and how they compare."""
    real: dict[str, list[Scored]] = defaultdict(list)
    simulated: dict[str, list[Scored]] = defaultdict(list)
    for half in halves:
        for case in half.cases:
            if not case.picture.tumor and case.findings.logit is not None:
                real[case.findings.sequence].append(Scored(case.picture.person, case.findings))
        for sequence, made in half.simulated.items():
            simulated[sequence] += [head for head in made if head.findings.logit is not None]
    found, table = allowed(real, simulated)
    return [head for own in found.values() for head in own], table


def results_of(cases: Sequence[Case], sequence: str, site: str = "") -> list[VolumeResult]:
    """Return the comparison of tumor patients' scans with their masks."""
    return [
        case.volume
        for case in cases
        if case.volume is not None
        and case.picture.tumor
        and case.picture.sequence == sequence
        and site in ("", case.picture.site)
    ]


def large_only(result: VolumeResult) -> VolumeResult:
    """Return a result without slices whose tumor covers less than 3 % of the head."""
    kept = ~result.tumor | (result.tumor_share >= LARGE)
    return dataclasses.replace(
        result,
        tumor=result.tumor[kept],
        score=result.score[kept],
        baseline=result.baseline[kept],
        tumor_share=result.tumor_share[kept],
        peak_inside=result.peak_inside[result.tumor_share[result.tumor] >= LARGE],
    )


def with_intervals(results: Sequence[VolumeResult]) -> dict[str, list[float]]:
    """Return each figure with its interval over people."""
    return {
        name: [figure(results), *bootstrap_interval(results, figure)]
        for name, figure in FIGURES.items()
    }


def slice_figures(cases: Sequence[Case]) -> dict[str, Any]:
    """Return the figures of slices by sequence, of all, of large tumors and by hospital."""
    table: dict[str, Any] = {}
    for sequence in SEQUENCES:
        found = results_of(cases, sequence)
        large = [large_only(result) for result in found]
        table[sequence] = {
            "people": len(found),
            "slices": int(sum(len(result.tumor) for result in found)),
            "all": with_intervals(found),
            "large": with_intervals(large),
            **{site: with_intervals(results_of(cases, sequence, site)) for site in ("HT", "DU")},
        }
    return table


def answers_by_other_half(
    halves: Sequence[Sequence[Case]], calibrations: Sequence[Calibration]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the answers of scans and of studies, each half by the calibrators of the other."""
    scans, studies = [], []
    for half, calibration in zip(halves, reversed(calibrations), strict=True):
        people: dict[str, list[Case]] = defaultdict(list)
        for case in half:
            row, found = case.picture, case.findings
            people[row.person].append(case)
            answers = {
                "scan": row.id,
                "person": row.person,
                "site": row.site,
                "tumor": row.tumor,
                "sequence": row.sequence,
                "status": found.status,
                "reason": found.reason,
                "logit": found.logit,
            }
            if found.logit is not None:
                calibrator = calibration.of(volume=True, sequence=found.sequence)
                answer = calibrator.answer(found.logit, "balanced", DEFAULT_COVERAGE)
                answers |= {"decision": answer.decision, "probability": answer.probability}
            scans.append(answers)
        for person, cases in people.items():
            usable = [case.findings for case in cases if case.findings.status == "scored"]
            if len({finding.sequence for finding in usable}) < 2:
                continue
            evidence = evidence_of(usable, calibration)
            answer = evidence.calibrator.answer(evidence.logit, "balanced", DEFAULT_COVERAGE)
            studies.append(
                {
                    "person": person,
                    "site": cases[0].picture.site,
                    "tumor": cases[0].picture.tumor,
                    "series": len(evidence.counted),
                    "logit": evidence.logit,
                    "decision": answer.decision,
                }
            )
    return scans, studies


def answers_by_all_others(
    halves: Sequence[Half], references: Sequence[Scored]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the answers of scans and studies calibrated by all other people, of both halves.

    This is closer to the shipped calibration than one by the other half, which has no scan of the
    person's source. The network was not fitted on that source.
    """
    cases = [case for half in halves for case in half.cases]
    scans, studies = [], []
    for person in sorted({case.picture.person for case in cases}):
        own = [case for case in cases if case.picture.person == person]
        others = [case for case in cases if case.picture.person != person]
        made = [head.findings for head in references if head.person != person]
        calibration = fit_people(others, made)
        own_scans, own_studies = answers_by_other_half([own, []], [calibration, calibration])
        scans += own_scans
        studies += own_studies
    return scans, studies


def counts(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the number of each answer, and its share over people."""
    answers = [row.get("decision") or row["status"] for row in rows]
    person = np.unique([row["person"] for row in rows], return_inverse=True)[1]
    shares = {
        name: share_interval(np.array(answers) == name, person).as_json()
        for name in ("tumor", "refer", "no_tumor", "refused")
    }
    return {
        "scans": len(rows),
        "people": int(person.max()) + 1,
        "answers": dict(Counter(answers)),
        "shares": shares,
    }


def answer_figures(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield the answers to tumor patients and tumor-free people, by sequence and site."""
    for has_tumor, name in ((True, "tumor"), (False, "tumor-free")):
        own = [row for row in rows if row["tumor"] == has_tumor]
        yield name, counts(own)
        for key in ("sequence", "site"):
            for value in sorted({str(row[key]) for row in own if key in row}):
                yield f"{name}, {value}", counts([row for row in own if row.get(key) == value])


def answers(halves: Sequence[Half], references: Sequence[Scored]) -> dict[str, Any]:
    """Return the answers to scans and studies, calibrated by the other half and by all others."""
    calibrations = []
    for half in halves:
        own = {case.picture.person for case in half.cases}
        made = [head.findings for head in references if head.person in own]
        calibrations.append(fit_people(half.cases, made))
    scans, studies = answers_by_other_half([half.cases for half in halves], calibrations)
    by_others = answers_by_all_others(halves, references)
    scored = [row for row in scans if row["logit"] is not None]
    sets = {"all": scored, "studies": by_others[1]}
    sets |= {name: [row for row in scored if row["sequence"] == name] for name in ("FLAIR", "T1")}
    return {
        "scans": dict(answer_figures(scans)),
        "studies": dict(answer_figures(studies)),
        "scans by all others": dict(answer_figures(by_others[0])),
        "studies by all others": dict(answer_figures(by_others[1])),
        "scan AUROC": {
            name: auroc(
                np.array([row["tumor"] for row in own]), np.array([row["logit"] for row in own])
            )
            for name, own in sets.items()
        },
        "every scan": scans,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Score, measure, calibrate, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("detectors", type=Path, nargs=2)
    parser.add_argument("--heads", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--calibration", type=Path, required=True, help="written for ship.py")
    options = parser.parse_args(arguments)
    manifest = read_manifest(options.manifest)
    each = heads_each(options.heads)
    halves = [
        scored_half(Detector(path, threads=1), manifest, fold, options.heads, each)
        for path, fold in zip(options.detectors, FOLDS, strict=True)
    ]
    cases = [case for half in halves for case in half.cases]
    references, comparison = references_of(halves)
    slices = [single for half in halves for single in half.slices]
    threshold = gate_threshold(slices, REFUSED)
    picture, by_sequence = fit_single_slices(slices, threshold)
    whole = dataclasses.replace(
        fit_people(cases, [head.findings for head in references]),
        picture=picture,
        picture_by_sequence=by_sequence,
    )
    figures = {
        "slices": slice_figures(cases),
        "single slices": single_slice_figures([half.slices for half in halves], REFUSED),
        "references": comparison,
        **answers(halves, references),
        "study weights": dict(whole.study.weights) if whole.study else {},
    }
    options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    fitted = {"calibration": dataclasses.asdict(whole), "ood_threshold": threshold}
    options.calibration.write_text(json.dumps(fitted), encoding="utf-8")
    for key in figures:
        if key != "every scan":
            print(key, json.dumps(figures[key], indent=1))


if __name__ == "__main__":
    main()
