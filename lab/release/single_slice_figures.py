"""Figures of single slices of held-out people, as if each were a picture without neighbors."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lab.release.people_calibration import fit_single_slices, gate_threshold, is_refused
from lab.release.single_slices import SingleSlice
from meninx._assess.intervals import share_interval
from meninx._assess.metrics import auroc
from meninx._detect.calibration import Calibration

SEQUENCES = ("FLAIR", "T1", "T1c")
COVERAGES = (0.95, 0.9)
# Bins of the probability in the table of reliability.
BINS = 10
ANSWERS = ("tumor", "refer", "no_tumor")
# How a picture is judged: its sequence is stated or recognized, or nothing is known of it.
BY_SEQUENCE, POOLED = "by sequence", "pooled"


def single_slice_figures(halves: Sequence[Sequence[SingleSlice]], refused: float) -> dict[str, Any]:
    """Return the figures of single slices.

    Args:
        halves: Slices of the people that each network left out.
        refused: Share of slices that the gate may refuse, 0..1.

    Returns:
        By sequence: AUROC over the slices of tumor patients, mean of both halves; AUROC within
        patients; share of hottest pixels in the tumor. Shares of refused slices, by the threshold
        of the other half. Answers to slices of each person by calibrators of all other people.
        Their reliability: share of tumors at each probability, both classes alike.
    """
    table: dict[str, Any] = {name: _ranked(halves, name) for name in SEQUENCES}
    table["refused"] = dict(_refusals(halves, refused))
    answered = _answered([single for half in halves for single in half], refused)
    table["answers"] = {
        f"{way}, {coverage:.0%}": dict(_shares(rows)) for (way, coverage), rows in answered.items()
    }
    table["reliability"] = {
        way: _reliability(answered[way, COVERAGES[0]]) for way in (BY_SEQUENCE, POOLED)
    }
    return table


def _ranked(halves: Sequence[Sequence[SingleSlice]], sequence: str) -> dict[str, Any]:
    """Return how well the slices of tumor patients in a sequence are ranked."""
    pooled, within, peaks, count = [], [], [], 0
    for half in halves:
        people: dict[str, list[SingleSlice]] = defaultdict(list)
        for single in half:
            if (single.sequence, single.plane) == (sequence, "axial") and single.logit is not None:
                people[single.person].append(single)
        patients = [own for own in people.values() if any(single.tumor for single in own)]
        if patients:
            pooled.append(_auroc([single for own in patients for single in own]))
        within += [_auroc(own) for own in patients if not all(single.tumor for single in own)]
        peaks += [
            single.peak_inside
            for own in patients
            for single in own
            if single.peak_inside is not None
        ]
        count += len(patients)
    return {
        "people": count,
        "pooled": float(np.nanmean(pooled)) if pooled else None,
        "within": float(np.mean(within)) if within else None,
        "peak": float(np.mean(peaks)) if peaks else None,
    }


def _auroc(slices: Sequence[SingleSlice]) -> float:
    return auroc(
        np.array([single.tumor for single in slices]), np.array([single.logit for single in slices])
    )


def _refusals(
    halves: Sequence[Sequence[SingleSlice]], refused: float
) -> Iterator[tuple[str, dict[str, float | None]]]:
    """Yield the share of slices that the threshold of the other half refuses, by sequence."""
    thresholds = [gate_threshold(half, refused) for half in halves]
    rows = [
        (single, is_refused(single, threshold))
        for half, threshold in zip(halves, reversed(thresholds), strict=True)
        for single in half
    ]
    for name in ("all", *sorted({single.sequence for single, _ in rows} - {""})):
        own = [row for row in rows if name in ("all", row[0].sequence)]
        people = np.unique([single.person for single, _ in own], return_inverse=True)[1]
        yield name, share_interval(np.array([hit for _, hit in own]), people).as_json()


# A slice, its answer, and the calibrated probability.
Answered = tuple[SingleSlice, str, float]


def _answered(
    slices: Sequence[SingleSlice], refused: float
) -> dict[tuple[str, float], list[Answered]]:
    """Return the answers to slices, each by calibrators of all other people."""
    threshold = gate_threshold(slices, refused)
    scored = [single for single in slices if not is_refused(single, threshold)]
    found: dict[tuple[str, float], list[Answered]] = defaultdict(list)
    for person in sorted({single.person for single in scored}):
        picture, by_sequence = fit_single_slices(
            [single for single in scored if single.person != person], threshold
        )
        calibration = Calibration(picture=picture, picture_by_sequence=by_sequence)
        for single in (single for single in scored if single.person == person):
            for way in (BY_SEQUENCE, POOLED):
                stated = single.sequence if way == BY_SEQUENCE and single.plane == "axial" else ""
                calibrator = calibration.of(volume=False, sequence=stated)
                for coverage in COVERAGES:
                    answer = calibrator.answer(single.logit or 0.0, "balanced", coverage)
                    row = (single, str(answer.decision), answer.probability)
                    found[way, coverage].append(row)
    return found


def _shares(rows: Sequence[Answered]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the share of each answer to tumors and tumor-free slices, by sequence and plane."""
    kinds = sorted({(single.sequence, single.plane) for single, *_ in rows})
    for tumor, who in ((True, "tumor"), (False, "tumor-free")):
        own = [row for row in rows if row[0].tumor == tumor]
        yield who, _counted(own)
        for sequence, plane in kinds:
            part = [row for row in own if (row[0].sequence, row[0].plane) == (sequence, plane)]
            if part:
                yield f"{who}, {sequence or 'unknown'}, {plane or 'pictures'}", _counted(part)


def _counted(rows: Sequence[Answered]) -> dict[str, Any]:
    answers = np.array([answer for _, answer, _ in rows])
    people = np.unique([single.person for single, *_ in rows], return_inverse=True)[1]
    return {
        "slices": len(rows),
        "people": len(np.unique(people)),
        "answers": dict(Counter(answers.tolist())),
        "shares": {name: share_interval(answers == name, people).as_json() for name in ANSWERS},
    }


def _reliability(rows: Sequence[Answered]) -> list[dict[str, float]]:
    """Return mean probability and share of tumors in bins of probability, both classes alike."""
    tumor = np.array([single.tumor for single, *_ in rows])
    probability = np.array([probability for *_, probability in rows])
    weights = np.where(tumor, 0.5 / max(1, tumor.sum()), 0.5 / max(1, (~tumor).sum()))
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    found = []
    for place in sorted(set(bins.tolist())):
        own = bins == place
        means = [np.average(values[own], weights=weights[own]) for values in (probability, tumor)]
        row = zip(("weight", "probability", "tumors"), (weights[own].sum(), *means), strict=True)
        found.append({name: float(value) for name, value in row})
    return found
