"""Measure what referring costs and buys: errors of what is answered, and what is referred."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from meninx.assess.intervals import Figure, share_interval
from meninx.detect.calibration import answer_of
from meninx.detect.findings import Findings

COVERAGES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.975, 0.99)


@dataclass(frozen=True)
class ReferralPoint:
    """Hold what comes of one coverage.

    Args:
        coverage: That was asked for.
        referred: Share of all cases.
        risk: Share of wrong answers among those not referred.
        tumors_kept: Share of tumors that were not answered `no_tumor`: at least the coverage, if
            the cases are like those of the calibration.
        healthy_kept: Share of the others that were not answered `tumor`.
    """

    coverage: float
    referred: Figure
    risk: Figure
    tumors_kept: Figure
    healthy_kept: Figure

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
    coverages: Sequence[float] = COVERAGES,
) -> list[ReferralPoint]:
    """Return what comes of each coverage.

    Args:
        findings: Scored, n of them.
        tumor: Their labels, shape (n,).
        cluster: Of cases that share a slice or a patient, shape (n,).
        coverages: To try.

    Returns:
        One point a coverage; none where a detector has nothing to compare with.

    References:
        Geifman and El-Yaniv 2017, Selective classification for deep neural networks.
    """
    if not all(found.p_values for found in findings):
        return []
    points = []
    for coverage in coverages:
        answers = np.array([answer_of(found.p_values, coverage) for found in findings])
        right = np.where(tumor, "tumor", "no_tumor")
        answered = answers != "refer"
        kept = ~answered | (answers == right)
        points.append(
            ReferralPoint(
                coverage=coverage,
                referred=share_interval(~answered, cluster),
                risk=share_interval((answers != right)[answered], cluster[answered]),
                tumors_kept=share_interval(kept[tumor], cluster[tumor]),
                healthy_kept=share_interval(kept[~tumor], cluster[~tumor]),
            )
        )
    return points
