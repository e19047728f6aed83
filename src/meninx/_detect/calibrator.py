"""Map logits to calibrated probabilities and answers."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meninx._detect.decision import (
    Answer,
    Borders,
    Decision,
    conformal_p_values,
    referral_limits,
)

# Prevalence of tumors that probabilities refer to. Calibrators are fitted with equal weight for
# each class, because the prevalence in collections differs from that in hospitals.
PREVALENCE = 0.5
OperatingPoint = Literal["balanced", "sensitive", "specific"]
OPERATING_POINTS: tuple[OperatingPoint, ...] = ("balanced", "sensitive", "specific")


def sigmoid(logit: ArrayLike) -> NDArray[np.floating]:
    """Return the probability of each logit, 0..1, without overflow.

    Args:
        logit: Log odds, of any shape.

    Returns:
        `1 / (1 + exp(-logit))`, of the same shape; float32 of float32.
    """
    return np.asarray(np.exp(-np.logaddexp(0, np.negative(logit))))


def _log_odds(probability: float) -> float:
    """Return the log odds of a probability, above 0 and below 1."""
    return math.log(probability / (1 - probability))


class CalibratedAnswer(NamedTuple):
    """The answer that a calibrator gives for a logit.

    Args:
        decision: Decision that the logit leads to.
        probability: Calibrated probability of a tumor at the prevalence, 0..1.
        borders: Borders of the answer on the scale of the probability.
        p_values: Conformal p-values of `tumor` and `no_tumor`, 0..1; empty if the calibrator has no
            held-out logits.
        coverage: Coverage that determined the borders, 0..1; None if the operating point did.
        threshold: Decision threshold of the operating point, on the same scale, 0..1.
        prevalence: Prevalence of tumors that the probability refers to, 0..1.
    """

    decision: Decision
    probability: float
    borders: Borders
    p_values: dict[Answer, float]
    coverage: float | None
    threshold: float
    prevalence: float


@dataclass(frozen=True)
class Calibrator:
    """A calibrated map from one kind of logit to probabilities and answers.

    Args:
        temperature: Divisor of logits, above 0 (Guo et al. 2017).
        offset: Summand of the divided logits, log odds (Platt 1999). Both are fitted with equal
            weight for each class, so for a prevalence of 0.5.
        unit: Divisor that makes logits of different calibrators comparable, above 0; used for the
            evidence of studies, heat maps and drift.
        balanced: Decision threshold with the best Youden index, a logit.
        sensitive: Decision threshold with a sensitivity of 95 % in held-out scans, a logit.
        specific: Decision threshold with a specificity of 95 % in held-out scans, a logit.
        tumor_logits: Held-out logits of scans with tumor, ascending, shape (n,), for conformal
            p-values.
        tumor_free_logits: Held-out logits of tumor-free scans, ascending, shape (m,).
        borrowed: Number of tumor-free scans simulated from people scanned in other sequences.
        judged: Number of held-out scans that were scored or refused; 0 if not recorded.
        refused: Number of those that were refused, all wrongly, because each shows a brain.
    """

    temperature: float = 1.0
    offset: float = 0.0
    unit: float = 1.0
    balanced: float = 0.0
    sensitive: float = 0.0
    specific: float = 0.0
    tumor_logits: tuple[float, ...] = ()
    tumor_free_logits: tuple[float, ...] = ()
    borrowed: int = 0
    judged: int = 0
    refused: int = 0

    def probability(self, logit: float, prevalence: float = PREVALENCE) -> float:
        """Return the calibrated probability of a logit.

        Args:
            logit: Logit of the scan, before the temperature; may be infinite.
            prevalence: Prevalence of tumors among such scans, above 0 and below 1.

        Returns:
            Probability of a tumor, 0..1 (Bayes' theorem on log odds).
        """
        return float(sigmoid(logit / self.temperature + self.offset + _log_odds(prevalence)))

    def threshold(self, point: OperatingPoint) -> float:
        """Return the decision threshold of an operating point, a logit."""
        points = {
            "balanced": self.balanced,
            "sensitive": self.sensitive,
            "specific": self.specific,
        }
        return points[point]

    def evidence(self, logit: float) -> float:
        """Return the distance of a logit above the balanced threshold, in the calibrator's unit.

        Args:
            logit: Logit of the scan, before the temperature.

        Returns:
            Evidence, 0 at the threshold, comparable between calibrators.
        """
        return (logit - self.balanced) / self.unit

    def limits(self, point: OperatingPoint, coverage: float | None) -> tuple[float, float]:
        """Return the two logits between which a scan is referred; see `referral_limits`."""
        return referral_limits(
            self.tumor_logits, self.tumor_free_logits, self.threshold(point), coverage
        )

    def answer(
        self,
        logit: float,
        point: OperatingPoint,
        coverage: float | None,
        prevalence: float = PREVALENCE,
    ) -> CalibratedAnswer:
        """Return the answer for a logit.

        Args:
            logit: Logit of the scan or study, before the temperature.
            point: Operating point that decides without a coverage or held-out logits.
            coverage: Share of scans whose true answer must not be ruled out, 0..1; None to refer
                none.
            prevalence: Prevalence of tumors that the probability refers to, above 0 and below 1. It
                moves probability and borders alike, so that the decision does not change.

        Returns:
            The decision, with the numbers that it follows from.
        """
        p_values = self.p_values(logit)
        limits = self.limits(point, coverage)
        borders = Borders(*(self.probability(limit, prevalence) for limit in limits))
        decision: Decision = "refer"
        if logit < limits[0]:
            decision = "no_tumor"
        elif logit >= limits[1]:
            decision = "tumor"
        return CalibratedAnswer(
            decision=decision,
            probability=_on_side(self.probability(logit, prevalence), decision, borders),
            borders=borders,
            p_values=p_values,
            coverage=coverage if p_values else None,
            threshold=self.probability(self.threshold(point), prevalence),
            prevalence=prevalence,
        )

    def p_values(self, logit: float) -> dict[Answer, float]:
        """Return the p-value of each answer, 0..1; see `conformal_p_values`."""
        return conformal_p_values(self.tumor_logits, self.tumor_free_logits, logit)


def _on_side(probability: float, decision: Decision, borders: Borders) -> float:
    """Return a probability clipped to the side of the borders on which its logit lies.

    Far from 0, different logits have the same probability in 64 bits.
    """
    if decision == "no_tumor":
        return min(probability, math.nextafter(borders.no_tumor_below, 0))
    if decision == "tumor":
        return max(probability, borders.tumor_from)
    return min(probability, math.nextafter(borders.tumor_from, 0))
