"""Measure a detector on labeled scans that it was not fitted on."""

import csv
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meninx._assess import metrics
from meninx._assess.cases import (
    NO_COPIES,
    Case,
    Copies,
    clusters_of,
    score_cases,
    unscored_cases,
    unseen,
)
from meninx._assess.intervals import (
    Figure,
    bootstrap_difference,
    bootstrap_figure,
    bootstrap_weights,
    share_interval,
)
from meninx._assess.metrics import Answers, Bools, Floats
from meninx._assess.referral import ReferralPoint, referral_curve
from meninx._assess.shortcuts import Probe, probe_shortcuts
from meninx._assess.volumes import (
    VolumeResult,
    bootstrap_interval,
    heat_share,
    peak_share,
    pooled_auroc,
    within_auroc,
)
from meninx._data.manifest import Manifest
from meninx._data.prepare import Progress, silent
from meninx._detect.detector import Detector
from meninx._detect.findings import Findings
from meninx._errors import DataError, OptionError
from meninx._labels import TYPE_NAMES

PREVALENCES = (0.01, 0.1, 0.5)
# A column with more values than this has names, not subgroups; smaller groups are too few to
# measure.
MAX_SUBGROUPS, MIN_SUBGROUP = 12, 10

BOOTSTRAPPED: dict[str, metrics.Metric] = {
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
# Figures that say nothing of scans that all have a tumor, or that are all tumor-free.
OF_BOTH_CLASSES = (
    "ppv",
    "npv",
    "f1",
    "mcc",
    "average_precision",
    "calibration_slope",
    "calibration_intercept",
)
# Figures that may leave 0..1.
UNBOUNDED = ("mcc", "calibration_slope", "calibration_intercept")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """An evaluation: its cases, and all figures of them.

    Args:
        cases: Scored cases.
        unscored: Refused and unreadable cases.
        left_out: Number of pictures that the detector was fitted on, or that show the same slice or
            person.
        copies: How many of them have other bytes than what it was fitted on, and whether that can
            be known.
        leaking: Whether the figures are flattered, because such pictures count or folds leak.
        decisions: Figures of the answers that users get: `answered`, `sensitivity` and
            `specificity` of what was answered, and `referred`, each of all cases or of one class.
        figures: Figures of merit by name; those that need a threshold are of the operating point,
            as if nothing were referred.
        answers: Labels and answers that the figures are computed from.
        probes: Shortcut probes on the same cases.
        advantage: The detector's AUROC less the best probe's; None without a probe.
        types: Names of the rows (truth) and columns (`no tumor` and the types) of the confusion
            matrix of types, and its counts; None without tumors of known type.
        type_auroc: AUROC of each type against all else.
        type_figures: Accuracy and macro F1 among tumors of known type, called or not.
        subgroups: Figures by column and value.
        segmentation: Figures against segmentation masks.
        referral: Share referred and errors at each coverage; empty where a detector has no
            held-out logits.
        models: Name and SHA-256 of each detector.
        thresholds: Decision thresholds in use.
    """

    cases: tuple[Case, ...]
    unscored: tuple[Case, ...]
    left_out: int
    copies: Copies
    leaking: bool
    decisions: Mapping[str, Figure]
    figures: Mapping[str, Figure]
    answers: Answers
    probes: tuple[Probe, ...]
    advantage: Figure | None
    types: tuple[tuple[str, ...], tuple[str, ...], NDArray[np.intp]] | None
    type_auroc: Mapping[str, Figure]
    type_figures: Mapping[str, Figure]
    subgroups: Mapping[str, Mapping[str, Mapping[str, Any]]]
    segmentation: Mapping[str, Figure]
    referral: tuple[ReferralPoint, ...]
    models: tuple[Mapping[str, str], ...]
    thresholds: tuple[float, ...]

    @property
    def misses(self) -> list[Case]:
        """Wrong answers, the surest first."""
        wrong = [case for case in self.cases if not case.is_right]
        return sorted(wrong, key=lambda case: case.certainty, reverse=True)

    @property
    def surest(self) -> list[Case]:
        """Right answers, the surest first."""
        right = [case for case in self.cases if case.is_right]
        return sorted(right, key=lambda case: case.certainty, reverse=True)

    @property
    def confusion(self) -> NDArray[np.intp]:
        """Confusion counts, shape (2, 2): rows truth, columns answer, each no tumor then tumor."""
        table = np.zeros((2, 2), dtype=np.intp)
        np.add.at(table, (self.answers.tumor.astype(int), self.answers.called.astype(int)), 1)
        return table

    def as_json(self) -> dict[str, Any]:
        """Return the evaluation as metrics.json has it."""
        table = self.confusion
        return {
            "leaking": self.leaking,
            "cases": len(self.cases),
            "clusters": len(np.unique(self.answers.cluster)),
            "tumors": int(self.answers.tumor.sum()),
            "left_out": self.left_out,
            "copies": asdict(self.copies),
            "unscored": dict(Counter(case.findings.reason or "" for case in self.unscored)),
            "models": [dict(model) for model in self.models],
            "operating_points": list(self.thresholds),
            "confusion": {
                "tn": int(table[0, 0]),
                "fp": int(table[0, 1]),
                "fn": int(table[1, 0]),
                "tp": int(table[1, 1]),
            },
            "decisions": {name: figure.as_json() for name, figure in self.decisions.items()},
            "figures": {name: figure.as_json() for name, figure in self.figures.items()},
            "shortcuts": {probe.name: probe.auroc.as_json() for probe in self.probes},
            "auroc_less_best_shortcut": self.advantage.as_json() if self.advantage else None,
            "types": {
                "truth": list(self.types[0]),
                "answer": list(self.types[1]),
                "counts": self.types[2].tolist(),
                "auroc": {name: figure.as_json() for name, figure in self.type_auroc.items()},
                **{name: figure.as_json() for name, figure in self.type_figures.items()},
            }
            if self.types
            else None,
            "segmentation": {name: figure.as_json() for name, figure in self.segmentation.items()},
            "referral": [point.as_json() for point in self.referral],
            "subgroups": {
                column: {
                    value: {
                        key: one.as_json() if isinstance(one, Figure) else one
                        for key, one in figures.items()
                    }
                    for value, figures in groups.items()
                }
                for column, groups in self.subgroups.items()
            },
        }


def evaluate(
    detector: Detector,
    manifest: Manifest,
    *,
    fold: int | None = None,
    allow_leaks: bool = False,
    prevalences: Sequence[float] = PREVALENCES,
    progress: Progress = silent,
    workers: int = 1,
) -> Evaluation:
    """Measure a detector on data that it was not fitted on.

    Args:
        detector: Detector whose card lists what it was fitted on.
        manifest: Labeled scans. Those that it was fitted on are left out, with all scans of the
            same slice or person.
        fold: The only fold to measure on; None for all.
        allow_leaks: Whether to measure on all scans, and mark the figures as leaking.
        prevalences: Shares of tumors, 0..1, for which PPV and NPV are stated.
        progress: Called with the step, how much of it is done, and how much there is.
        workers: Number of scans scored at a time.

    Returns:
        The evaluation.

    Raises:
        DataError: If no scan is left, or none could be scored.
        OptionError: If the manifest has no such fold.
    """
    if fold is not None and fold not in manifest.folds:
        raise OptionError(f"--fold {fold}: the folds are {', '.join(map(str, manifest.folds))}")
    chosen = unseen(detector, manifest, allow_leaks=allow_leaks, fold=fold, workers=workers)
    left_out = chosen.left_out
    scored = {picture.id for picture in chosen.pictures}
    rest = [picture for picture in manifest.pictures if picture.id not in scored]
    return evaluate_cases(
        score_cases(detector, chosen.pictures, progress, workers),
        [detector.model],
        left_out=left_out,
        copies=chosen.copies,
        leaking=bool(allow_leaks and left_out) or detector.card.leaking or bool(manifest.leaks),
        others=unscored_cases(detector.model, rest),
        prevalences=prevalences,
        progress=progress,
    )


def evaluate_cases(
    cases: Iterable[Case],
    models: Sequence[Mapping[str, str]],
    *,
    left_out: int = 0,
    copies: Copies = NO_COPIES,
    leaking: bool = False,
    others: Sequence[Case] = (),
    prevalences: Sequence[float] = PREVALENCES,
    progress: Progress = silent,
) -> Evaluation:
    """Compute all figures of scored cases.

    Args:
        cases: Cases from `score_cases`; for a cross-validation, those of all folds.
        models: Name and SHA-256 of each detector.
        left_out: Number of pictures left out because the detector was fitted on them.
        copies: How many of them were found by descriptors alone.
        leaking: Whether the figures are flattered by leaks.
        others: Further cases from which the shortcut probe learns; no figure counts them.
        prevalences: Shares of tumors, 0..1, for which PPV and NPV are stated.
        progress: Called with the step, how much of it is done, and how much there is.

    Returns:
        The evaluation.

    Raises:
        DataError: If no case could be scored, or all of one of two classes failed.
    """
    everything = list(cases)
    scored = [case for case in everything if case.findings.probability is not None]
    unscored = [case for case in everything if case.findings.probability is None]
    if not scored:
        first = unscored[0].findings.message if unscored else "there is none"
        raise DataError(f"no picture could be scored; the first one: {first}")
    _check_classes(scored, unscored)
    answers = _answers(scored)
    weights = bootstrap_weights(answers.cluster)
    progress("computing intervals", 0, 2)
    figures = figures_of(answers, weights, prevalences)
    progress("computing intervals", 1, 2)
    probes = _probes(scored, others)
    progress("computing intervals", 2, 2)
    types, type_auroc = _types(scored, answers, weights)
    return Evaluation(
        cases=tuple(scored),
        unscored=tuple(unscored),
        left_out=left_out,
        copies=copies,
        leaking=leaking,
        decisions=decision_figures([case.findings for case in scored], answers),
        figures=figures,
        answers=answers,
        probes=tuple(probes),
        advantage=_advantage(answers, probes, weights),
        types=types,
        type_auroc=type_auroc,
        type_figures=_type_figures(scored, answers, weights),
        subgroups=_subgroups(scored, answers),
        segmentation=_segmentation_figures(scored, answers),
        referral=tuple(
            referral_curve([case.findings for case in scored], answers.tumor, answers.cluster)
        ),
        models=tuple(models),
        thresholds=tuple(sorted({case.findings.threshold or 0.0 for case in scored})),
    )


def _check_classes(scored: Sequence[Case], unscored: Sequence[Case]) -> None:
    """Check that a class is not missing from the figures only because its files can't be read."""
    sides = {case.picture.tumor for case in scored}
    lost = [case for case in unscored if case.picture.tumor not in sides]
    if lost and all(case.findings.status == "failed" for case in lost):
        name = "tumor" if lost[0].picture.tumor else "tumor-free"
        raise DataError(
            f"nothing is left of the class {name}: none of its {len(lost)} cases can be read, so "
            f"no figure would compare the two; the first one: {lost[0].findings.message}"
        )


def _answers(cases: Sequence[Case]) -> Answers:
    return Answers(
        tumor=np.array([case.picture.tumor for case in cases]),
        probability=np.array([case.findings.probability or 0.0 for case in cases]),
        called=np.array([case.findings.called for case in cases]),
        cluster=np.array(clusters_of([case.picture for case in cases]), dtype=np.intp),
    )


def figures_of(
    answers: Answers, weights: Floats, prevalences: Sequence[float] = PREVALENCES
) -> dict[str, Figure]:
    """Return the figures of merit, with 95 % intervals.

    Shares have Wilson's interval with a design effect, all others a bootstrap over clusters. For
    PPV and NPV at a prevalence both ends of sensitivity's and specificity's intervals are combined,
    which gives more than 95 %.

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
    for name, metric in BOOTSTRAPPED.items():
        figures[name] = bootstrap_figure(answers, metric, weights, bounded=name not in UNBOUNDED)
    if tumor.all() or not tumor.any():
        figures |= dict.fromkeys(OF_BOTH_CLASSES, Figure(math.nan, math.nan, math.nan))
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
        the answered ones of their class; `tumors_referred` and `tumor_free_referred`. With Wilson's
        intervals, NaN where a class has none.
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


def _probes(scored: Sequence[Case], others: Sequence[Case]) -> list[Probe]:
    cases = [*scored, *others]
    kinds = [kind for kind in ("file", "intensity") if all(kind in case.facts for case in cases)]
    truth = np.array([case.picture.tumor for case in scored])
    if not kinds or truth.all() or not truth.any():
        return []
    answers = _answers(cases)
    features = {kind: [case.facts[kind] for case in cases] for kind in kinds}
    return probe_shortcuts(features, answers.tumor, answers.cluster, len(scored))


def _advantage(answers: Answers, probes: Sequence[Probe], weights: Floats) -> Figure | None:
    if not probes:
        return None
    best = max(probes, key=lambda probe: probe.auroc.value)

    def of(score: Floats) -> Callable[[Floats], Floats]:
        return lambda part: metrics.weighted_auroc(answers.tumor, score, part)

    return bootstrap_difference(of(answers.probability), of(best.probability), weights)


def _types(
    cases: Sequence[Case], answers: Answers, weights: Floats
) -> tuple[tuple[tuple[str, ...], tuple[str, ...], NDArray[np.intp]] | None, dict[str, Figure]]:
    """Return the confusion matrix of types, and the AUROC of each against all else."""
    labels = [case.picture.label for case in cases]
    names_types = any(case.findings.types for case in cases)
    if not names_types or not any(label in TYPE_NAMES for label in labels):
        return None, {}
    truths = [name for name in ("none", *TYPE_NAMES, "unknown") if name in labels]
    columns = ("no tumor", *TYPE_NAMES)
    counts = np.zeros((len(truths), len(columns)), dtype=np.intp)
    for case in cases:
        found = case.findings
        answer = (_likeliest(found.types) if found.called else None) or "no tumor"
        counts[truths.index(case.picture.label), columns.index(answer)] += 1
    named = np.array([label != "unknown" for label in labels])
    known, part = answers.of(named), weights[:, named]
    figures = {}
    for name in TYPE_NAMES:
        truth = np.array([label == name for label in labels])[named]
        if truth.any() and not truth.all():
            score = type_scores(cases, name)[named]
            one = Answers(truth, score, known.called, known.cluster)
            figures[name] = bootstrap_figure(one, metrics.auroc_of, part)
    rows = tuple({"none": "no tumor", "unknown": "unknown type"}.get(name, name) for name in truths)
    return (rows, columns, counts), figures


def _likeliest(types: Mapping[str, float]) -> str | None:
    return max(types, key=lambda name: types[name], default=None)


def _type_figures(cases: Sequence[Case], answers: Answers, weights: Floats) -> dict[str, Figure]:
    """Return accuracy and macro F1 of types among tumors of known type, called or not."""
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
    """Return the probability of a tumor of one type, shape (n,)."""
    return np.array(
        [(case.findings.probability or 0.0) * case.findings.types.get(name, 0.0) for case in cases]
    )


def _subgroups(cases: Sequence[Case], answers: Answers) -> dict[str, dict[str, dict[str, Any]]]:
    """Return sensitivity, specificity and AUROC within every value of every column."""
    columns: dict[str, list[str]] = {
        "source": [case.picture.source for case in cases],
        "site": [case.picture.site for case in cases],
        "sequence": [case.picture.sequence for case in cases],
        "split": [case.picture.split for case in cases],
        "kind": ["volume" if case.picture.is_volume else "picture" for case in cases],
    }
    for name in dict.fromkeys(name for case in cases for name in case.picture.extra):
        columns[name] = [case.picture.extra.get(name, "") for case in cases]
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for column, values in columns.items():
        distinct = sorted(set(values) - {""})
        if not 2 <= len(distinct) <= MAX_SUBGROUPS:
            continue
        found[column] = {}
        for value in distinct:
            member = np.array([one == value for one in values])
            if member.sum() < MIN_SUBGROUP:
                found[column][value] = {"cases": int(member.sum())}
                continue
            part = answers.of(member)
            found[column][value] = {
                "cases": len(part),
                "tumors": int(part.tumor.sum()),
                "sensitivity": share_interval(part.called[part.tumor], part.cluster[part.tumor]),
                "specificity": share_interval(~part.called[~part.tumor], part.cluster[~part.tumor]),
                "auroc": bootstrap_figure(
                    part, metrics.auroc_of, bootstrap_weights(part.cluster, 500)
                ),
            }
    return found


def _segmentation_figures(cases: Sequence[Case], answers: Answers) -> dict[str, Figure]:
    """Return the figures against masks: place of the hottest voxel, and those of volumes."""
    figures = {}
    with_mask = np.array([case.peak_inside is not None for case in cases])
    if with_mask.any():
        inside = np.array([bool(case.peak_inside) for case in cases])
        figures["hottest pixel in the tumor"] = share_interval(
            inside[with_mask], answers.cluster[with_mask]
        )
    volumes = [case.volume for case in cases if case.volume is not None]
    measures: dict[str, Callable[[Sequence[VolumeResult]], float]] = {
        "slices of volumes, AUROC pooled": pooled_auroc,
        "slices of volumes, AUROC within patient": within_auroc,
        "slices of volumes, hottest voxel in the tumor": peak_share,
        "tumor volume under the heat map": heat_share,
        "slices of volumes, AUROC of position and brightness alone": lambda results: pooled_auroc(
            results, "baseline"
        ),
    }
    for name, measure in measures.items() if volumes else ():
        low, high = bootstrap_interval(volumes, measure)
        figures[name] = Figure(measure(volumes), low, high)
    return figures


def write_predictions(evaluation: Evaluation, path: Path) -> None:
    """Write one row a case, so that every figure can be computed again.

    Args:
        evaluation: Evaluation whose cases are written.
        path: CSV file to write.
    """
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                "id",
                "tumor",
                "tumor_type",
                "cluster",
                "fold",
                "status",
                "reason",
                "probability",
                "threshold",
                "decision",
                *(f"p_{name}" for name in TYPE_NAMES),
            ]
        )
        clusters = iter(evaluation.answers.cluster)
        for case in (*evaluation.cases, *evaluation.unscored):
            found, picture = case.findings, case.picture
            scored = found.probability is not None
            writer.writerow(
                [
                    picture.id,
                    int(picture.tumor),
                    picture.label,
                    f"c{next(clusters)}" if scored else "",
                    picture.fold,
                    found.status,
                    found.reason or "",
                    f"{found.probability:.6f}" if scored else "",
                    f"{found.threshold:.6f}" if scored else "",
                    found.decision or "",
                    *(
                        f"{found.types[name]:.4f}" if name in found.types else ""
                        for name in TYPE_NAMES
                    ),
                ]
            )
