"""Measure a model on labeled scans that it was not fitted on."""

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
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
from meninx._assess.classifiers import Classifier, classified_cases
from meninx._assess.ensembles import EnsembleGain, compare_with_members
from meninx._assess.figures import (
    PREVALENCES,
    decision_figures,
    figures_of,
    froc_of,
    segmentation_figures,
    subgroup_figures,
    type_confusion,
    type_figures,
)
from meninx._assess.froc import FrocPoint
from meninx._assess.intervals import (
    Figure,
    bootstrap_difference,
    bootstrap_weights,
)
from meninx._assess.metrics import Answers, Floats
from meninx._assess.referral import ReferralPoint, referral_curve
from meninx._assess.shortcuts import CHANCE, Probe, best_probe, probe_shortcuts
from meninx._data.manifest import Manifest
from meninx._data.progress import Progress, silent
from meninx._detect.answer_words import never_answered
from meninx._detect.detector import Detector
from meninx._detect.gate import NO_OOD_MODEL
from meninx._errors import DataError, OptionError
from meninx._labels import TYPE_NAMES

# Key of the cases that are referred because both answers are plausible.
BETWEEN_BORDERS = "between_borders"


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Cases of an evaluation with their figures.

    Args:
        cases: Scored cases.
        unscored: Refused and unreadable cases.
        left_out: Number of pictures that the detector was fitted on, or that show the same slice or
            person.
        copies: How many of these are copies with other bytes, and whether that is known.
        leaking: Whether the figures are too good, because such pictures count or folds leak.
        decisions: Figures of the answers that users get: `answered`, `sensitivity` and
            `specificity` of answered cases, and `referred`, each of all cases or of one class.
        figures: Figures of merit by name; those that need a threshold are of the operating point,
            as if nothing were referred.
        answers: Labels and answers that the figures are computed from.
        probes: Shortcut probes on the same cases.
        advantage: The detector's AUROC less the best probe's, or less 0.5 if that is more; None
            without a probe that learned something.
        types: Names of the rows (truth) and columns (`no tumor` and the types) of the confusion
            matrix of types, and its counts; None without tumors of known type.
        type_auroc: AUROC of each type against all other cases.
        type_figures: Accuracy and macro F1 among tumors of known type, called or not.
        subgroups: Figures by column and value.
        segmentation: Figures against segmentation masks.
        froc: Lesions marked and false marks a scan at each heat; empty without lesions.
        referral: Share referred and errors at each coverage; empty where a detector has no
            held-out logits.
        models: Name and SHA-256 of each detector.
        thresholds: Decision thresholds in use.
        ensemble: An ensemble beside its members, or why that was not measured; None for a single
            model.
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
    froc: tuple[FrocPoint, ...]
    referral: tuple[ReferralPoint, ...]
    models: tuple[Mapping[str, str], ...]
    thresholds: tuple[float, ...]
    ensemble: EnsembleGain | str | None = None

    @property
    def ensemble_text(self) -> str:
        """What an ensemble gains and costs; empty for a single model."""
        return (
            self.ensemble.text if isinstance(self.ensemble, EnsembleGain) else self.ensemble or ""
        )

    @property
    def stacked(self) -> int:
        """Number of pictures in the cases that are stacks; 0 where each picture is a case."""
        return sum(len(case.members) for case in self.cases)

    @property
    def referred(self) -> dict[str, int]:
        """Number of referred cases by reason: `between_borders`, or the code of a finding."""
        found = [case.findings for case in self.cases if case.findings.decision == "refer"]
        return dict(Counter(each.reason or BETWEEN_BORDERS for each in found).most_common())

    @property
    def untyped(self) -> int:
        """Number of cases without probabilities of types, which no figure of types counts."""
        return sum(not case.findings.types for case in self.cases)

    @property
    def limits(self) -> list[str]:
        """What these answers can't say, whatever the case: sentences, each once."""
        found = [case.findings for case in self.cases]
        never = [never_answered(each.reference, each.coverage) for each in found]
        if any(NO_OOD_MODEL in each.warnings for each in found):
            text = NO_OOD_MODEL.text
            never.append(f"{text[0].upper()}{text[1:]}.")
        return list(dict.fromkeys(filter(None, never)))

    @property
    def misses(self) -> list[Case]:
        """Wrong answers, the most certain first."""
        wrong = [case for case in self.cases if not case.is_right]
        return sorted(wrong, key=lambda case: case.certainty, reverse=True)

    @property
    def most_certain(self) -> list[Case]:
        """Right answers, the most certain first."""
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
            "decisions": _as_json(self.decisions),
            "referred": self.referred,
            "figures": _as_json(self.figures),
            "shortcuts": {probe.name: probe.auroc.as_json() for probe in self.probes},
            "auroc_less_best_shortcut": self.advantage.as_json() if self.advantage else None,
            "ensemble": self.ensemble.as_json()
            if isinstance(self.ensemble, EnsembleGain)
            else self.ensemble,
            "types": self._types_as_json(),
            "segmentation": _as_json(self.segmentation),
            "froc": [point.as_json() for point in self.froc],
            "referral": [point.as_json() for point in self.referral],
            "subgroups": {
                column: {value: _as_json(figures) for value, figures in groups.items()}
                for column, groups in self.subgroups.items()
            },
        }

    def _types_as_json(self) -> dict[str, Any] | None:
        """Return the confusion matrix and the figures of types."""
        if self.types is None:
            return None
        truth, answer, counts = self.types
        return {
            "truth": list(truth),
            "answer": list(answer),
            "counts": counts.tolist(),
            "cases_without_types": self.untyped,
            "auroc": _as_json(self.type_auroc),
            **_as_json(self.type_figures),
        }


def _as_json(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return figures with their intervals, and counts unchanged, by name."""
    return {
        name: figure.as_json() if isinstance(figure, Figure) else figure
        for name, figure in figures.items()
    }


def evaluate(
    model: Detector | Classifier,
    manifest: Manifest,
    *,
    fold: int | None = None,
    allow_leaks: bool = False,
    prevalences: Sequence[float] = PREVALENCES,
    progress: Progress = silent,
    workers: int = 1,
) -> Evaluation:
    """Measure a model on data that it was not fitted on.

    Args:
        model: Detector, or classifier, whose card lists what it was fitted on.
        manifest: Labeled scans. Those that it was fitted on are left out, and all of the same slice
            or person.
        fold: The only fold to measure on; None for all.
        allow_leaks: Whether to measure on all scans, and mark the figures as leaking.
        prevalences: Shares of tumors, 0..1, for which PPV and NPV are stated.
        progress: Called with a step, the amount done, and the total.
        workers: Number of scans scored at a time.

    Returns:
        The evaluation.

    Raises:
        DataError: If no scan is left, or none could be scored.
        OptionError: If the manifest has no such fold.
    """
    if fold is not None and fold not in manifest.folds:
        raise OptionError(f"--fold {fold}: the folds are {', '.join(map(str, manifest.folds))}")
    chosen = unseen(
        model.card,
        manifest,
        allow_leaks=allow_leaks,
        fold=fold,
        workers=workers,
        progress=progress,
    )
    left_out = chosen.left_out
    scored = {picture.id for picture in chosen.pictures}
    rest = [picture for picture in manifest.pictures if picture.id not in scored]
    ensemble: EnsembleGain | str | None = None
    if isinstance(model, Detector):
        cases = score_cases(model, chosen.pictures, progress, workers)
        if model.card.members:
            ensemble = compare_with_members(model, cases, chosen.pictures, progress, workers)
    else:
        cases = classified_cases(model, chosen.pictures, progress, workers)
    return evaluate_cases(
        cases,
        [model.model],
        left_out=left_out,
        copies=chosen.copies,
        leaking=bool(allow_leaks and left_out) or model.card.leaking or bool(manifest.leaks),
        others=unscored_cases(model.model, rest),
        prevalences=prevalences,
        progress=progress,
        ensemble=ensemble,
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
    ensemble: EnsembleGain | str | None = None,
) -> Evaluation:
    """Compute all figures of scored cases.

    Args:
        cases: Cases from `score_cases`; for a cross-validation, those of all folds.
        models: Name and SHA-256 of each detector.
        left_out: Number of pictures left out because the detector was fitted on them.
        copies: How many of these were found by descriptors alone.
        leaking: Whether the figures are flattered by leaks.
        others: Further cases for the training of the shortcut probe; no figure counts them.
        prevalences: Shares of tumors, 0..1, for which PPV and NPV are stated.
        progress: Called with a step, the amount done, and the total.
        ensemble: An ensemble beside its members, or why that was not measured.

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
    findings = [case.findings for case in scored]
    weights = bootstrap_weights(answers.cluster)
    progress("computing intervals", 0, 2)
    figures = figures_of(answers, weights, prevalences)
    progress("computing intervals", 1, 2)
    probes = _probes(scored, others)
    progress("computing intervals", 2, 2)
    types, type_auroc = type_confusion(scored, answers, weights)
    return Evaluation(
        cases=tuple(scored),
        unscored=tuple(unscored),
        left_out=left_out,
        copies=copies,
        leaking=leaking,
        decisions=decision_figures(findings, answers),
        figures=figures,
        answers=answers,
        probes=tuple(probes),
        advantage=_advantage(answers, probes, weights),
        types=types,
        type_auroc=type_auroc,
        type_figures=type_figures(scored, answers, weights),
        subgroups=subgroup_figures(scored, answers),
        segmentation=segmentation_figures(scored, answers),
        froc=froc_of(scored, answers),
        referral=tuple(referral_curve(findings, answers.tumor, answers.cluster)),
        models=tuple(models),
        thresholds=tuple(sorted({found.threshold or 0.0 for found in findings})),
        ensemble=ensemble,
    )


def _check_classes(scored: Sequence[Case], unscored: Sequence[Case]) -> None:
    """Check that no class is missing because its files can't be read."""
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
    best = best_probe(probes)
    if best is None:
        return None
    # A probe below chance is no rival: a model has to be better than guessing, too.
    rival = best.probability if best.auroc.value > CHANCE else np.zeros(len(answers))

    def of(score: Floats) -> Callable[[Floats], Floats]:
        return lambda part: metrics.weighted_auroc(answers.tumor, score, part)

    return bootstrap_difference(of(answers.probability), of(rival), weights)


def write_predictions(evaluation: Evaluation, path: Path) -> None:
    """Write one row per case, from which every figure can be computed again.

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
