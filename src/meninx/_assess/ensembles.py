"""State what an ensemble gains over the best of its members, and what it costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from meninx._assess import metrics
from meninx._assess.cases import Case, clusters_of, score_cases
from meninx._assess.intervals import Figure, bootstrap_difference, bootstrap_weights
from meninx._assess.metrics import Floats
from meninx._data.manifest import Picture
from meninx._data.progress import Progress
from meninx._detect.detector import Detector
from meninx._detect.loading import members_of
from meninx._errors import ModelError


@dataclass(frozen=True)
class EnsembleGain:
    """An ensemble beside its members, on the cases that all of them scored.

    Args:
        aurocs: AUROC of each member, by its number and name.
        best: The member with the highest AUROC on these very cases, which favors it.
        gain: The ensemble's AUROC less that of the best member, with a paired interval.
        cases: Number of cases that all scored.
        milliseconds: Median time of a scan: of the ensemble, and of the best member.
    """

    aurocs: Mapping[str, float]
    best: str
    gain: Figure
    cases: int
    milliseconds: tuple[float, float]

    @property
    def text(self) -> str:
        """What it gains and costs, in sentences."""
        own, single = self.milliseconds
        if not np.isfinite(self.gain.value):
            return "An ensemble: what it gains can't be computed without cases of both classes."
        return (
            f"An ensemble of {len(self.aurocs)}: AUROC less that of its best member here, "
            f"{self.best}: {self.gain}, on {self.cases} cases. It takes {own / single:.1f} times "
            f"as long: {own:.0f} ms a scan, not {single:.0f}."
        )

    def as_json(self) -> dict[str, Any]:
        """Return the comparison for metrics.json."""
        return {
            "auroc_of_members": {
                name: round(value, 6) if np.isfinite(value) else None
                for name, value in self.aurocs.items()
            },
            "best_member": self.best,
            "auroc_less_best_member": self.gain.as_json(),
            "cases": self.cases,
            "milliseconds": round(self.milliseconds[0], 3),
            "milliseconds_of_best_member": round(self.milliseconds[1], 3),
        }


def compare_with_members(
    ensemble: Detector,
    cases: Sequence[Case],
    pictures: Sequence[Picture],
    progress: Progress,
    workers: int,
) -> EnsembleGain | str:
    """Score an ensemble's cases by its members as well.

    Args:
        ensemble: The ensemble.
        cases: Its own cases.
        pictures: Rows of a manifest that they were scored from.
        progress: Called with a step, the amount done, and the total.
        workers: Number of pictures scored at a time.

    Returns:
        The comparison; a sentence that says why there is none.
    """
    try:
        members = members_of(ensemble)
    except ModelError as error:
        return f"An ensemble: what it gains was not measured. {error}"
    scored = [_by_id(cases)]
    scored += [_by_id(score_cases(each, pictures, progress, workers)) for each in members]
    common = [name for name in scored[0] if all(name in found for found in scored)]
    if not common:
        return "An ensemble: what it gains was not measured: no case was scored by all members."
    rows = [[found[name] for name in common] for found in scored]
    tumor = np.array([case.picture.tumor for case in rows[0]])
    scores = [np.array([case.findings.probability or 0.0 for case in row]) for row in rows]
    cluster = np.array(clusters_of([case.picture for case in rows[0]]), dtype=np.intp)
    once = np.ones(len(common))

    def auroc_of(score: Floats, weights: Floats) -> Floats:
        return metrics.weighted_auroc(tumor, score, weights)

    names = [f"{number} ({each.card.name})" for number, each in enumerate(members, 1)]
    both = bool(tumor.any() and not tumor.all())
    aurocs = [float(auroc_of(score, once)) if both else float("nan") for score in scores[1:]]
    best = int(np.argmax(aurocs)) if both else 0
    gain = Figure(float("nan"), float("nan"), float("nan"))
    if both:
        gain = bootstrap_difference(
            lambda weights: auroc_of(scores[0], weights),
            lambda weights: auroc_of(scores[best + 1], weights),
            bootstrap_weights(cluster),
        )
    return EnsembleGain(
        dict(zip(names, aurocs, strict=True)),
        names[best],
        gain,
        len(common),
        (_median_time(rows[0]), _median_time(rows[best + 1])),
    )


def _by_id(cases: Sequence[Case]) -> dict[str, Case]:
    """Return the scored cases by the name of their picture or stack."""
    return {case.picture.id: case for case in cases if case.findings.probability is not None}


def _median_time(cases: Sequence[Case]) -> float:
    """Return the median time of a case, milliseconds."""
    return float(np.median([sum(case.findings.milliseconds.values()) for case in cases]))
