"""Decide *tumor*, *no tumor* or *refer*.

A scan or study is referred for one of three reasons:

1. Its logit lies between the limits of both answers (`referral_limits`, conformal prediction).
2. It is incomplete (`forced_referral`).
3. The detector was not calibrated on its plane or its contrast (`forced_referral`).
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from meninx._scan.completeness import INCOMPLETE, Incomplete, incomplete_message
from meninx._scan.geometry import Plane

Answer = Literal["tumor", "no_tumor"]
Decision = Answer | Literal["refer"]

# Share of scans with tumor, and of tumor-free scans, whose true answer is not ruled out.
DEFAULT_COVERAGE = 0.95
# Reason of a referral because no held-out scan is comparable.
NOT_CALIBRATED = "not_calibrated"
# All held-out series are axial.
_UNCALIBRATED_PLANES = ("sagittal", "coronal")


class Borders(NamedTuple):
    """The two borders of an answer, on the scale of its probability.

    Args:
        no_tumor_below: Probability below which the answer is `no_tumor`, 0..1; 0 if it never is.
        tumor_from: Probability from which on the answer is `tumor`, 0..1, at least
            `no_tumor_below`; between the two the scan is referred. 1 if it never is.
    """

    no_tumor_below: float
    tumor_from: float

    def decision(self, probability: float) -> Decision:
        """Return the decision for a probability, 0..1."""
        if probability < self.no_tumor_below:
            return "no_tumor"
        return "tumor" if probability >= self.tumor_from else "refer"


def conformal_p_values(
    tumor_logits: Sequence[float], tumor_free_logits: Sequence[float], logit: float
) -> dict[Answer, float]:
    """Return how plausible each answer is, given the logits of held-out scans.

    Conformal p-values per class. For `tumor`: the share of held-out scans with tumor, including the
    new scan, whose logit is not above the new one. For `no_tumor`: the share of tumor-free scans
    whose logit is not below it. If the scan is exchangeable with the held-out scans of its class,
    P(p-value of the true class <= a) <= a, for any network.

    Args:
        tumor_logits: Held-out logits of scans with tumor, ascending, shape (n,).
        tumor_free_logits: Held-out logits of tumor-free scans, ascending, shape (m,).
        logit: Logit of the scan, before the temperature.

    Returns:
        p-values of `tumor` and `no_tumor`, 0..1; empty without held-out logits.

    References:
        Vovk, Gammerman and Shafer 2005, Algorithmic learning in a random world, section 4.5
        (label-conditional conformal predictors).
    """
    if not (tumor_logits and tumor_free_logits):
        return {}
    below = int(np.searchsorted(tumor_logits, logit, side="right"))
    above = len(tumor_free_logits) - int(np.searchsorted(tumor_free_logits, logit, side="left"))
    return {
        "tumor": (1 + below) / (1 + len(tumor_logits)),
        "no_tumor": (1 + above) / (1 + len(tumor_free_logits)),
    }


def decision_from_p_values(
    p_values: Mapping[Answer, float], coverage: float, called: bool
) -> Decision:
    """Return the only plausible answer, or `refer` if both are plausible.

    Args:
        p_values: p-value of each answer, 0..1.
        coverage: Share of scans whose true answer must not be ruled out, 0..1. An answer is ruled
            out if its p-value is 1 - coverage or less.
        called: Whether the logit reaches the operating point, which decides if neither answer is
            plausible.

    Returns:
        The decision, the same as by `referral_limits`.
    """
    plausible: list[Answer] = [name for name, p in p_values.items() if p > 1 - coverage]
    if len(plausible) > 1:
        return "refer"
    if plausible:
        return plausible[0]
    return "tumor" if called else "no_tumor"


def referral_limits(
    tumor_logits: Sequence[float],
    tumor_free_logits: Sequence[float],
    threshold: float,
    coverage: float | None,
) -> tuple[float, float]:
    """Return the two logits between which a scan is referred.

    Conformal sets are monotone in the logit: `tumor` is plausible from one held-out logit on,
    `no_tumor` up to another. If the two ranges do not overlap, neither answer is plausible between
    them, and both limits are the threshold, moved into this gap.

    Args:
        tumor_logits: Held-out logits of scans with tumor, ascending, shape (n,).
        tumor_free_logits: Held-out logits of tumor-free scans, ascending, shape (m,).
        threshold: Logit of the operating point, which decides if held-out logits do not.
        coverage: Share of scans whose true answer must not be ruled out, 0..1; None to refer none.

    Returns:
        Logit below which the answer is `no_tumor`, and logit from which on it is `tumor`; minus
        and plus infinity for an answer that is never given.
    """
    if coverage is None or not (tumor_logits and tumor_free_logits):
        return threshold, threshold
    needed = _needed(len(tumor_logits), coverage)
    tumor_from = tumor_logits[needed - 1] if needed else -math.inf
    needed = _needed(len(tumor_free_logits), coverage)
    last = tumor_free_logits[-needed] if needed else math.inf
    no_tumor_until = math.nextafter(last, math.inf)
    if no_tumor_until >= tumor_from:
        return tumor_from, no_tumor_until
    limit = min(max(threshold, no_tumor_until), tumor_from)
    return limit, limit


def _needed(count: int, coverage: float) -> int:
    """Return how many of `count` held-out logits must be as extreme for a plausible answer."""
    numbers = (number for number in range(count) if (1 + number) / (1 + count) > 1 - coverage)
    return next(numbers, count)


def fewest_references(coverage: float) -> int:
    """Return how many held-out scans of a class it takes to exclude it as an answer.

    With fewer, even the lowest p-value, 1 / (1 + number), exceeds 1 - coverage.

    Args:
        coverage: Share of scans whose true answer must not be ruled out, 0..1, below 1.

    Returns:
        Number of scans, 1 and more.
    """
    return next(number for number in itertools.count(1) if _needed(number, coverage))


def highest_coverage(count: int) -> float:
    """Return the highest coverage, in hundredths, at which `count` scans can exclude an answer."""
    return next(
        (per_cent / 100 for per_cent in range(99, 0, -1) if _needed(count, per_cent / 100)), 0.0
    )


class Referral(NamedTuple):
    """A referral that does not depend on the score.

    Args:
        reason: Stable code: `incomplete` or `not_calibrated`.
        message: The reason in words.
    """

    reason: str
    message: str


def forced_referral(incomplete: tuple[Incomplete, ...], uncalibrated: str) -> Referral | None:
    """Return why a scan or study is referred regardless of its score.

    The missing part of an incomplete scan may hold the tumor, or what explains it. Without
    calibration, no held-out scan is comparable.

    Args:
        incomplete: Counts of what is missing.
        uncalibrated: Why no held-out scan is comparable, see `uncalibrated`; empty if some are.

    Returns:
        The referral; None if the score decides.
    """
    if incomplete:
        return Referral(INCOMPLETE, incomplete_message(incomplete))
    return Referral(NOT_CALIBRATED, uncalibrated) if uncalibrated else None


def uncalibrated(plane: Plane | None, *, other_contrast: bool) -> str:
    """Return why no held-out scan is comparable with a series.

    Args:
        plane: Plane of its slices; None if it is unknown, or for a picture.
        other_contrast: Whether it is described as another contrast than those of the calibrators.

    Returns:
        The reason in words; empty if there is none.
    """
    if other_contrast:
        return (
            "a series of another contrast: probabilities were calibrated on T1, T1 with contrast "
            "agent, T2 and FLAIR alone"
        )
    if plane in _UNCALIBRATED_PLANES:
        return f"a series in {plane} slices: probabilities were calibrated on axial series alone"
    return ""
