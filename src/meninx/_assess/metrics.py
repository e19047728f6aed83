"""Figures of merit, computed for many weightings of the same answers at once.

A bootstrap draw is a weighting: a patient drawn twice has weight 2. One call computes all draws.

Legend: n answers, d draws (any leading shape, also none).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meninx._detect.calibrator import sigmoid

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
_ECE_BINS = 10
# Smallest distance of a probability from 0 and 1 before its logit is taken.
MIN_DISTANCE = 1e-6
_NEWTON_STEPS = 40
_MIN_STEP = 1e-7
# Largest slope of a fit; a larger one means that the classes are separated in this draw.
_MAX_SLOPE = 50.0


@dataclass(frozen=True, eq=False)
class Answers:
    """Labels of n scans, and a detector's answers to them.

    Args:
        tumor: Whether each scan has a tumor, shape (n,).
        probability: Probability of a tumor, 0..1, shape (n,).
        called: Whether the probability reached the detector's operating point, shape (n,).
        cluster: Cluster of each scan, the same for one patient or slice, shape (n,).
    """

    tumor: Bools
    probability: Floats
    called: Bools
    cluster: NDArray[np.intp]

    def __len__(self) -> int:
        """Return n."""
        return len(self.tumor)

    def of(self, chosen: Bools) -> "Answers":
        """Return the chosen answers; `chosen` has shape (n,)."""
        return Answers(
            self.tumor[chosen], self.probability[chosen], self.called[chosen], self.cluster[chosen]
        )


Metric = Callable[[Answers, Floats], Floats]


def auroc(tumor: Bools, score: NDArray[np.floating]) -> float:
    """Return the area under the ROC curve: the probability that a tumor scores higher.

    Args:
        tumor: Labels, shape (n,).
        score: Score, higher for a likelier tumor, shape (n,); ties count half.

    Returns:
        Area 0..1; NaN where one class is missing.

    References:
        Mann and Whitney 1947; Hanley and McNeil 1982.
    """
    return float(weighted_auroc(tumor, np.asarray(score, float), np.ones(len(tumor))))


def weighted_auroc(tumor: Bools, score: Floats, weights: Floats) -> Floats:
    """Return the AUROC of each weighting.

    Args:
        tumor: Labels, shape (n,).
        score: Score, higher for a likelier tumor, shape (n,); ties count half.
        weights: Weight of each scan, shape (d, n).

    Returns:
        Area 0..1, shape (d,); NaN where one class has no weight.
    """
    order = np.argsort(score, kind="stable")
    starts = _starts(score[order])
    ordered = weights[..., order]
    tumors = np.add.reduceat(ordered * tumor[order], starts, axis=-1)
    tumor_free = np.add.reduceat(ordered * ~tumor[order], starts, axis=-1)
    below = np.cumsum(tumor_free, axis=-1) - tumor_free / 2
    return _ratio((tumors * below).sum(-1), tumors.sum(-1) * tumor_free.sum(-1))


def _weighted_average_precision(tumor: Bools, score: Floats, weights: Floats) -> Floats:
    """Return the average precision of each weighting: precision, averaged over gains of recall.

    Args:
        tumor: Labels, shape (n,).
        score: Score, higher for a likelier tumor, shape (n,).
        weights: Weight of each scan, shape (d, n).

    Returns:
        Average precision 0..1, shape (d,); NaN without tumors.
    """
    order = np.argsort(-score, kind="stable")
    starts = _starts(score[order])
    ordered = weights[..., order]
    tumors = np.add.reduceat(ordered * tumor[order], starts, axis=-1)
    called = np.cumsum(np.add.reduceat(ordered, starts, axis=-1), axis=-1)
    precision = np.cumsum(tumors, axis=-1) / np.maximum(called, 1e-300)
    return _ratio((tumors * precision).sum(-1), tumors.sum(-1))


def _starts(ordered: Floats) -> NDArray[np.intp]:
    """Return the index at which each run of equal values begins."""
    return np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])


def _ratio(over: Floats, under: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(under != 0, over / np.where(under != 0, under, 1), np.nan))


def _share(of: Bools, among: Bools, weights: Floats) -> Floats:
    """Return the weighted share of `among` that is also in `of`."""
    return _ratio(weights @ (of & among).astype(float), weights @ among.astype(float))


def sensitivity(answers: Answers, weights: Floats) -> Floats:
    """Return the share of tumors that are called."""
    return _share(answers.called, answers.tumor, weights)


def specificity(answers: Answers, weights: Floats) -> Floats:
    """Return the share of tumor-free scans that are not called."""
    return _share(~answers.called, ~answers.tumor, weights)


def balanced_accuracy(answers: Answers, weights: Floats) -> Floats:
    """Return the mean of sensitivity and specificity."""
    return (sensitivity(answers, weights) + specificity(answers, weights)) / 2


def f1(answers: Answers, weights: Floats) -> Floats:
    """Return the harmonic mean of sensitivity and PPV."""
    hits = weights @ (answers.called & answers.tumor).astype(float)
    return _ratio(2 * hits, weights @ (answers.called.astype(float) + answers.tumor))


def macro_f1(truth: NDArray[np.str_], answer: NDArray[np.str_], weights: Floats) -> Floats:
    """Return the unweighted mean of the F1 of each class.

    Args:
        truth: Class of each case, shape (n,).
        answer: Class that was answered, shape (n,).
        weights: Weight of each case, shape (d, n).

    Returns:
        Macro F1 0..1, shape (d,); NaN where a class has no weight among truth and answers.
    """
    own = []
    for name in np.unique(truth):
        hits = weights @ ((truth == name) & (answer == name)).astype(float)
        own.append(_ratio(2 * hits, weights @ ((truth == name) + (answer == name).astype(float))))
    return np.asarray(np.mean(own, axis=0))


def mcc(answers: Answers, weights: Floats) -> Floats:
    """Return Matthews' correlation coefficient; 0 where a row or column of the table is empty."""
    called, tumor = answers.called, answers.tumor
    tp, fp = weights @ (called & tumor).astype(float), weights @ (called & ~tumor).astype(float)
    fn, tn = weights @ (~called & tumor).astype(float), weights @ (~called & ~tumor).astype(float)
    under = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return np.nan_to_num(_ratio(tp * tn - fp * fn, under))


def auroc_of(answers: Answers, weights: Floats) -> Floats:
    """Return the area under the ROC curve."""
    return weighted_auroc(answers.tumor, answers.probability, weights)


def average_precision(answers: Answers, weights: Floats) -> Floats:
    """Return the average precision."""
    return _weighted_average_precision(answers.tumor, answers.probability, weights)


def brier(answers: Answers, weights: Floats) -> Floats:
    """Return the mean squared difference of probability and truth (Brier 1950)."""
    squared = (answers.probability - answers.tumor) ** 2
    return _ratio(weights @ squared, weights.sum(-1))


def ece(answers: Answers, weights: Floats) -> Floats:
    """Return the expected calibration error over ten equal bins (Naeini et al. 2015)."""
    bins = np.minimum((answers.probability * _ECE_BINS).astype(int), _ECE_BINS - 1)
    member = (bins[:, None] == np.arange(_ECE_BINS)).astype(float)  # [n, bins]
    gaps = (weights * (answers.probability - answers.tumor)) @ member
    return _ratio(np.abs(gaps).sum(-1), weights.sum(-1))


def calibration_slope(answers: Answers, weights: Floats) -> Floats:
    """Return the slope of truth on logit: 1 is calibrated, less is overconfident (Cox 1958)."""
    return _logistic(answers, weights, with_slope=True)


def calibration_intercept(answers: Answers, weights: Floats) -> Floats:
    """Return calibration in the large: the intercept of truth on logit with a slope of 1."""
    return _logistic(answers, weights, with_slope=False)


def _logistic(answers: Answers, weights: Floats, *, with_slope: bool) -> Floats:
    """Fit truth = intercept + slope * logit by Newton's method, all weightings at once.

    Args:
        answers: Labels and answers of n scans.
        weights: Weight of each scan, shape (d, n).
        with_slope: Whether the slope is fitted; else it is held at 1.

    Returns:
        The slope, or with the slope held at 1 the intercept, shape (d,); NaN where the classes are
        separated, so that no finite fit exists.
    """
    logit = _logit(answers.probability)
    tumor = answers.tumor.astype(float)
    shape = weights.shape[:-1]
    found = np.stack([np.zeros(shape), np.ones(shape)])  # [2, d]: intercept and slope
    reach = np.ones(shape)
    best, step = np.full(shape, -np.inf), np.zeros_like(found)
    for _ in range(_NEWTON_STEPS):
        tried = found + reach * step
        eta = tried[0][..., None] + tried[1][..., None] * logit
        likelihood = -(weights * np.logaddexp(0, np.where(answers.tumor, -eta, eta))).sum(-1)
        # A step that lowers the likelihood is repeated at a quarter of its length.
        better = likelihood >= best
        reach = np.where(better, 1.0, reach / 4)
        best = np.where(better, likelihood, best)
        found = np.where(better, tried, found)
        eta = np.clip(found[0][..., None] + found[1][..., None] * logit, -60, 60)
        expected = sigmoid(eta)
        error = weights * (tumor - expected)
        curvature = weights * expected * (1 - expected)
        step = _newton_step(error, curvature, logit, with_slope=with_slope)
        if np.abs(reach * step).max() < _MIN_STEP:
            break
    value = found[1] if with_slope else found[0]
    return np.asarray(np.where(np.abs(value) < _MAX_SLOPE, value, np.nan))


def _newton_step(error: Floats, curvature: Floats, logit: Floats, *, with_slope: bool) -> Floats:
    """Return Newton's step for intercept and slope, shape (2, d)."""
    g0, h00 = error.sum(-1), curvature.sum(-1) + 1e-12
    if not with_slope:
        return np.stack([g0 / h00, np.zeros_like(g0)])
    g1, h01 = error @ logit, curvature @ logit
    h11 = curvature @ (logit * logit) + 1e-12
    under = np.maximum(h00 * h11 - h01 * h01, 1e-12)
    return np.stack([(g0 * h11 - g1 * h01) / under, (g1 * h00 - g0 * h01) / under])


def _logit(probability: Floats) -> Floats:
    inside = np.clip(probability, MIN_DISTANCE, 1 - MIN_DISTANCE)
    return np.asarray(np.log(inside / (1 - inside)))


def value_at_prevalence(
    sensitivity_: float, specificity_: float, prevalence: float
) -> tuple[float, float]:
    """Return PPV and NPV at a prevalence.

    Args:
        sensitivity_: Sensitivity, 0..1.
        specificity_: Specificity, 0..1.
        prevalence: Share of tumors, 0..1.

    Returns:
        PPV and NPV by Bayes' theorem; NaN where no scan would be called, or all would be.
    """
    true_calls = sensitivity_ * prevalence
    false_calls = (1 - specificity_) * (1 - prevalence)
    right_rest = specificity_ * (1 - prevalence)
    missed = (1 - sensitivity_) * prevalence
    calls, rest = true_calls + false_calls, right_rest + missed
    return (
        true_calls / calls if calls else float("nan"),
        right_rest / rest if rest else float("nan"),
    )


def net_benefit(answers: Answers, thresholds: Floats) -> Floats:
    """Return the decision curve: called tumors minus false calls at their exchange rate.

    Args:
        answers: Labels and answers of n scans.
        thresholds: Probabilities at which a reader would act, 0..1, shape (t,).

    Returns:
        Net benefit, shape (t,).

    References:
        Vickers and Elkin 2006.
    """
    called = answers.probability[:, None] >= thresholds  # [n, t]
    hits = (called & answers.tumor[:, None]).mean(axis=0)
    false = (called & ~answers.tumor[:, None]).mean(axis=0)
    return np.asarray(hits - false * thresholds / (1 - thresholds))


def roc_points(tumor: Bools, score: Floats) -> tuple[Floats, Floats]:
    """Return the ROC curve: 1 - specificity and sensitivity at every threshold, from 0, 0 on."""
    order = np.argsort(-score, kind="stable")
    last = np.r_[np.flatnonzero(np.diff(score[order])), len(order) - 1]
    hits, false = np.cumsum(tumor[order])[last], np.cumsum(~tumor[order])[last]
    return np.r_[0, false / max(false[-1], 1)], np.r_[0, hits / max(hits[-1], 1)]


def precision_recall_points(tumor: Bools, score: Floats) -> tuple[Floats, Floats]:
    """Return recall and precision at every threshold, from the highest score on."""
    order = np.argsort(-score, kind="stable")
    last = np.r_[np.flatnonzero(np.diff(score[order])), len(order) - 1]
    hits, calls = np.cumsum(tumor[order])[last], last + 1
    return hits / max(hits[-1], 1), hits / calls
