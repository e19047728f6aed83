"""Figures of merit of scored cases, with their 95 % intervals."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meninx._assess import metrics
from meninx._assess.cases import Case
from meninx._assess.froc import FrocPoint, froc_curve
from meninx._assess.intervals import Figure, bootstrap_figure, bootstrap_weights, share_interval
from meninx._assess.metrics import Answers, Bools, Floats
from meninx._assess.volumes import (
    VolumeResult,
    bootstrap_interval,
    heat_share,
    peak_share,
    pooled_auroc,
    within_auroc,
)
from meninx._data.manifest import Picture
from meninx._detect.findings import Findings
from meninx._labels import TYPE_NAMES

PREVALENCES = (0.01, 0.1, 0.5)
# Largest number of values of a column of subgroups; smallest number of cases of a subgroup.
MAX_SUBGROUPS, MIN_SUBGROUP = 12, 10
# Columns of subgroups beside the kind of file and the further columns of a manifest.
_SUBGROUP_COLUMNS = ("source", "site", "sequence", "split")

_BOOTSTRAPPED: dict[str, metrics.Metric] = {
    "balanced_accuracy": metrics.balanced_accuracy,
    "f1": metrics.f1,
    "mcc": metrics.mcc,
    "auroc": metrics.auroc_of,
    "average_precision": metrics.average_precision,
    "brier": metrics.brier,
    "calibration_slope": metrics.calibration_slope,
    "calibration_intercept": metrics.calibration_intercept,
    "ece": metrics.ece,
}
# Figures that need cases of both classes.
_OF_BOTH_CLASSES = (
    "ppv",
    "npv",
    "f1",
    "mcc",
    "average_precision",
    "calibration_slope",
    "calibration_intercept",
)
_OF_VOLUMES: dict[str, Callable[[Sequence[VolumeResult]], float]] = {
    "slices of volumes, AUROC pooled": pooled_auroc,
    "slices of volumes, AUROC within patient": within_auroc,
    "slices of volumes, hottest voxel in the tumor": peak_share,
    "tumor volume under the heat map": heat_share,
    "slices of volumes, AUROC of position and brightness alone": lambda results: pooled_auroc(
        results, "baseline"
    ),
}
# Figures of heat maps as segmentations, by their field of `LesionResult`.
_DICE = {
    "Dice of voxels with a heat of 0.5 and more": "dice",
    "Dice, upper bound of whole cells": "bound",
}
# Figures that may lie outside of 0..1.
_UNBOUNDED = ("mcc", "calibration_slope", "calibration_intercept")


def figures_of(
    answers: Answers, weights: Floats, prevalences: Sequence[float] = PREVALENCES
) -> dict[str, Figure]:
    """Return the figures of merit, with 95 % intervals.

    Shares have Wilson's interval with a design effect, other figures a bootstrap over clusters. PPV
    and NPV at a prevalence combine the ends of the intervals of sensitivity and specificity, so
    their intervals cover more than 95 %.

    Args:
        answers: Labels and answers of n scans.
        weights: Bootstrap weights, as `bootstrap_weights` returns them, shape (d, n).
        prevalences: Shares of tumors, 0..1, for which PPV and NPV are stated.

    Returns:
        Figures by name.
    """
    tumor, called = answers.tumor, answers.called
    shares: dict[str, tuple[Bools, Bools]] = {
        "sensitivity": (called, tumor),
        "specificity": (~called, ~tumor),
        "ppv": (tumor, called),
        "npv": (~tumor, ~called),
        "accuracy": (called == tumor, np.ones(len(answers), dtype=bool)),
    }
    figures = {
        name: share_interval(hits[among], answers.cluster[among])
        for name, (hits, among) in shares.items()
    }
    for name, metric in _BOOTSTRAPPED.items():
        figures[name] = bootstrap_figure(answers, metric, weights, bounded=name not in _UNBOUNDED)
    if tumor.all() or not tumor.any():
        figures |= dict.fromkeys(_OF_BOTH_CLASSES, Figure(math.nan, math.nan, math.nan))
    sensitivity, specificity = figures["sensitivity"], figures["specificity"]
    for prevalence in prevalences:
        sides = [
            metrics.value_at_prevalence(a, b, prevalence)
            for a, b in (
                (sensitivity.value, specificity.value),
                (sensitivity.low, specificity.low),
                (sensitivity.high, specificity.high),
            )
        ]
        for place, name in enumerate(("ppv", "npv")):
            value, low, high = (side[place] for side in sides)
            figures[f"{name}_at_{prevalence:g}"] = Figure(value, low, high)
    return figures


def decision_figures(findings: Sequence[Findings], answers: Answers) -> dict[str, Figure]:
    """Return the figures of the answers that users get, `refer` among them.

    Args:
        findings: Findings of n scans.
        answers: Labels and clusters of these scans.

    Returns:
        `answered` and `referred`, shares of all scans; `sensitivity` and `specificity`, shares of
        the answered scans of their class; `tumors_referred` and `tumor_free_referred`. All with
        Wilson's intervals, NaN where a class has no scan.
    """
    decisions = np.array([found.decision for found in findings])
    answered, tumor = decisions != "refer", answers.tumor
    everything = np.ones(len(answers), dtype=bool)
    shares: dict[str, tuple[Bools, Bools]] = {
        "answered": (answered, everything),
        "sensitivity": (decisions == "tumor", tumor & answered),
        "specificity": (decisions == "no_tumor", ~tumor & answered),
        "referred": (~answered, everything),
        "tumors_referred": (~answered, tumor),
        "tumor_free_referred": (~answered, ~tumor),
    }
    return {
        name: share_interval(hits[among], answers.cluster[among])
        for name, (hits, among) in shares.items()
    }


def type_confusion(
    cases: Sequence[Case], answers: Answers, weights: Floats
) -> tuple[tuple[tuple[str, ...], tuple[str, ...], NDArray[np.intp]] | None, dict[str, Figure]]:
    """Return the confusion matrix of types, and the AUROC of each against all other cases.

    Only cases with probabilities of types count: other sequences than T1 with contrast agent have
    none, which is no answer.
    """
    typed = typed_of(cases)
    cases = list(compress(cases, typed))
    answers, weights = answers.of(typed), weights[:, typed]
    labels = [case.picture.label for case in cases]
    if not any(label in TYPE_NAMES for label in labels):
        return None, {}
    truths = [name for name in ("none", *TYPE_NAMES, "unknown") if name in labels]
    columns = ("no tumor", *TYPE_NAMES)
    counts = np.zeros((len(truths), len(columns)), dtype=np.intp)
    for case in cases:
        counts[truths.index(case.picture.label), columns.index(_answered_type(case))] += 1
    rows = tuple({"none": "no tumor", "unknown": "unknown type"}.get(name, name) for name in truths)
    return (rows, columns, counts), _type_auroc(cases, answers, weights)


def typed_of(cases: Sequence[Case]) -> Bools:
    """Return which cases have probabilities of types, shape (n,)."""
    return np.array([bool(case.findings.types) for case in cases], dtype=bool)


def _answered_type(case: Case) -> str:
    """Return the likeliest type of a called case, else `no tumor`."""
    found = case.findings
    return _likeliest(found.types) if found.called else "no tumor"


def _type_auroc(cases: Sequence[Case], answers: Answers, weights: Floats) -> dict[str, Figure]:
    """Return the AUROC of each type against all other cases, without tumors of unknown type."""
    labels = [case.picture.label for case in cases]
    named = np.array([label != "unknown" for label in labels])
    known, part = answers.of(named), weights[:, named]
    figures = {}
    for name in TYPE_NAMES:
        truth = np.array([label == name for label in labels])[named]
        if truth.any() and not truth.all():
            score = type_scores(cases, name)[named]
            of_type = Answers(truth, score, known.called, known.cluster)
            figures[name] = bootstrap_figure(of_type, metrics.auroc_of, part)
    return figures


def _likeliest(types: Mapping[str, float]) -> str:
    return max(types, key=lambda name: types[name])


def type_figures(cases: Sequence[Case], answers: Answers, weights: Floats) -> dict[str, Figure]:
    """Return accuracy and macro F1 of types among tumors of known type, detected or not."""
    named = np.array(
        [case.picture.label in TYPE_NAMES and bool(case.findings.types) for case in cases]
    )
    if not named.any():
        return {}
    chosen = [case for case, known in zip(cases, named, strict=True) if known]
    truth = np.array([case.picture.label for case in chosen])
    named_types = np.array([_likeliest(case.findings.types) for case in chosen])
    names, counts = np.unique(truth, return_counts=True)
    # The interval of a macro F1 depends on the rarest type, so that type is the positive class.
    part = replace(answers.of(named), tumor=truth == names[counts.argmin()])

    def macro_f1(_: Answers, part_weights: Floats) -> Floats:
        return metrics.macro_f1(truth, named_types, part_weights)

    return {
        "accuracy": share_interval(truth == named_types, part.cluster),
        "macro_f1": bootstrap_figure(part, macro_f1, weights[:, named]),
    }


def type_scores(cases: Sequence[Case], name: str) -> Floats:
    """Return the probability of a tumor of one type, of cases with types, shape (n,)."""
    return np.array(
        [(case.findings.probability or 0.0) * case.findings.types[name] for case in cases]
    )


def subgroup_figures(
    cases: Sequence[Case], answers: Answers
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return sensitivity, specificity and AUROC within every value of every column."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for column, values in _subgroup_columns([case.picture for case in cases]).items():
        distinct = sorted(set(values) - {""})
        if 2 <= len(distinct) <= MAX_SUBGROUPS:
            found[column] = {
                value: _subgroup(answers.of(np.array(values) == value)) for value in distinct
            }
    return found


def _subgroup_columns(pictures: Sequence[Picture]) -> dict[str, list[str]]:
    """Return the value of each picture in every column that makes subgroups."""
    columns = {
        name: [str(getattr(picture, name)) for picture in pictures] for name in _SUBGROUP_COLUMNS
    }
    columns["kind"] = ["volume" if picture.is_volume else "picture" for picture in pictures]
    for name in dict.fromkeys(name for picture in pictures for name in picture.extra):
        columns[name] = [picture.extra.get(name, "") for picture in pictures]
    return columns


def _subgroup(part: Answers) -> dict[str, Any]:
    """Return the figures of a subgroup; only its number of cases where these are few."""
    if len(part) < MIN_SUBGROUP:
        return {"cases": len(part)}
    return {
        "cases": len(part),
        "tumors": int(part.tumor.sum()),
        "sensitivity": share_interval(part.called[part.tumor], part.cluster[part.tumor]),
        "specificity": share_interval(~part.called[~part.tumor], part.cluster[~part.tumor]),
        "auroc": bootstrap_figure(part, metrics.auroc_of, bootstrap_weights(part.cluster, 500)),
    }


def segmentation_figures(cases: Sequence[Case], answers: Answers) -> dict[str, Figure]:
    """Return the figures against masks: location of the hottest voxel, and figures of volumes."""
    figures = {}
    with_mask = np.array([case.peak_inside is not None for case in cases])
    if with_mask.any():
        inside = np.array([bool(case.peak_inside) for case in cases])
        figures["hottest pixel in the tumor"] = share_interval(
            inside[with_mask], answers.cluster[with_mask]
        )
    volumes = [case.volume for case in cases if case.volume is not None]
    measured = answers.cluster[[case.volume is not None for case in cases]]
    for name, measure in _OF_VOLUMES.items() if volumes else ():
        low, high = bootstrap_interval(volumes, measure, measured)
        figures[name] = Figure(measure(volumes), low, high)
    return figures | _dice_figures(cases, answers)


def _dice_figures(cases: Sequence[Case], answers: Answers) -> dict[str, Figure]:
    """Return the mean Dice of heat maps over volumes with a tumor, and its upper bound."""
    figures = {}
    for name, key in _DICE.items():
        values = np.array([getattr(case.lesions, key, math.nan) for case in cases])
        known = np.isfinite(values)
        if known.any():
            value = float(values[known].mean())
            interval = bootstrap_interval(values[known], np.mean, answers.cluster[known])
            figures[name] = Figure(value, *interval)
    return figures


def froc_of(cases: Sequence[Case], answers: Answers) -> tuple[FrocPoint, ...]:
    """Return the FROC curve of volumes with masks and of tumor-free ones; empty without lesions."""
    measured = answers.cluster[[case.lesions is not None for case in cases]]
    return froc_curve([case.lesions for case in cases if case.lesions is not None], measured)
