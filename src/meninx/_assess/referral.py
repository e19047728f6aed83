"""Measure referral: share of cases referred, and errors among those answered, by coverage."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from meninx._assess.intervals import Figure, share_interval
from meninx._detect.decision import Decision, decision_from_p_values
from meninx._detect.findings import Findings

_COVERAGES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.975, 0.99)


@dataclass(frozen=True)
class ReferralPoint:
    """Referral at one coverage.

    Args:
        coverage: Coverage asked for, 0..1.
        referred: Share of all cases that are referred.
        risk: Share of wrong answers among the cases that are not referred.
        tumors_kept: Share of tumors that were not answered `no_tumor`: at least the coverage, if
            the cases are exchangeable with those of the calibration.
        tumor_free_kept: Share of tumor-free cases that were not answered `tumor`.
    """

    coverage: float
    referred: Figure
    risk: Figure
    tumors_kept: Figure
    tumor_free_kept: Figure

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        figures = {name: value for name, value in vars(self).items() if name != "coverage"}
        return {
            "coverage": self.coverage,
            **{name: figure.as_json() for name, figure in figures.items()},
        }


def referral_curve(
    findings: Sequence[Findings],
    tumor: np.ndarray[Any, np.dtype[np.bool_]],
    cluster: np.ndarray[Any, np.dtype[np.intp]],
    coverages: Sequence[float] = _COVERAGES,
) -> list[ReferralPoint]:
    """Return referral at each coverage.

    Args:
        findings: Findings of n scored cases.
        tumor: Whether each case has a tumor, shape (n,).
        cluster: Cluster of each case, the same for one slice or patient, shape (n,).
        coverages: Coverages to measure, 0..1.

    Returns:
        One point per coverage; none where a detector has no held-out logits.

    References:
        Geifman and El-Yaniv 2017, Selective classification for deep neural networks.
    """
    if any(not found.p_values and found.reason is None for found in findings):
        return []
    points = []
    for coverage in coverages:
        answers = np.array([_answer(found, coverage) for found in findings])
        right = np.where(tumor, "tumor", "no_tumor")
        answered = answers != "refer"
        kept = ~answered | (answers == right)
        points.append(
            ReferralPoint(
                coverage=coverage,
                referred=share_interval(~answered, cluster),
                risk=share_interval((answers != right)[answered], cluster[answered]),
                tumors_kept=share_interval(kept[tumor], cluster[tumor]),
                tumor_free_kept=share_interval(kept[~tumor], cluster[~tumor]),
            )
        )
    return points


def _answer(found: Findings, coverage: float) -> Decision:
    """Return the answer at a coverage; a case with a reason to be referred stays referred."""
    if found.reason is not None:
        return "refer"
    return decision_from_p_values(found.p_values, coverage, found.called)
