"""95 % intervals of figures, for answers that come in clusters."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meninx._assess.metrics import Answers, Floats, Metric
from meninx._detect.calibrator import sigmoid

# 97.5th percentile of the standard normal distribution.
_NORMAL_975 = 1.959963984540054
DRAWS = 1000
# Number of bootstrap draws computed at once, which bounds the memory.
CHUNK = 100


@dataclass(frozen=True)
class Figure:
    """A figure with its 95 % interval.

    Args:
        value: Value of the figure; NaN where it can't be computed.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float | None]:
        """Return the figure for metrics.json, null where a number can't be computed."""
        return {
            name: round(value, 6) if np.isfinite(value) else None
            for name, value in (("value", self.value), ("low", self.low), ("high", self.high))
        }

    def __str__(self) -> str:
        if not np.isfinite(self.value):
            return "can't be computed"
        if not (np.isfinite(self.low) and np.isfinite(self.high)):
            return f"{self.value:.3f}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def wilson(share: float, count: float) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share.

    Args:
        share: Share of hits, 0..1.
        count: Number of independent cases; need not be whole.

    Returns:
        Lower and upper end; 0 and 1 where there are no cases.

    References:
        Wilson 1927; Brown, Cai and DasGupta 2001.
    """
    if count <= 0:
        return 0.0, 1.0
    z2 = _NORMAL_975**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    reach = np.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    reach *= _NORMAL_975 / (1 + z2 / count)
    return max(0.0, float(middle - reach)), min(1.0, float(middle + reach))


def share_interval(hits: NDArray[np.bool_], cluster: NDArray[np.intp]) -> Figure:
    """Return a share with Wilson's interval, for cases that come in clusters.

    The number of cases is divided by the design effect, the factor by which clusters increase the
    variance. It can't be measured where all or no cases are hits: there each cluster counts once.

    Args:
        hits: Whether each case is a hit, shape (n,).
        cluster: Cluster of each case, shape (n,).

    Returns:
        The share of hits; NaN with the interval 0..1 where there are no cases.

    References:
        Rao and Scott 1992, A simple method for the analysis of clustered binary data.
    """
    count = len(hits)
    if not count:
        return Figure(float("nan"), 0.0, 1.0)
    share = float(hits.mean())
    _, member = np.unique(cluster, return_inverse=True)
    sizes = np.bincount(member)
    clusters = len(sizes)
    if clusters == count:
        return Figure(share, *wilson(share, count))
    if share in (0.0, 1.0) or clusters == 1:
        return Figure(share, *wilson(share, clusters))
    residual = np.bincount(member, weights=hits.astype(float)) - share * sizes
    variance = clusters / (clusters - 1) * float((residual**2).sum()) / count**2
    effect = max(1.0, variance / (share * (1 - share) / count))
    return Figure(share, *wilson(share, count / effect))


def bootstrap_weights(cluster: NDArray[np.intp], draws: int = DRAWS, seed: int = 0) -> Floats:
    """Return how often each case is drawn when clusters are drawn with replacement.

    Args:
        cluster: Cluster of each case, shape (n,).
        draws: Number of bootstrap samples d.
        seed: Seed of the draws; the same for figures that are to be compared.

    Returns:
        Number of times that each case is drawn, shape (d, n).

    References:
        Efron and Tibshirani 1993; Field and Welsh 2007 for clusters.
    """
    _, member = np.unique(cluster, return_inverse=True)
    count = int(member.max()) + 1 if len(member) else 0
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=draws)
    return np.asarray(drawn[:, member], dtype=np.float64)


def bootstrap_figure(
    answers: Answers, metric: Metric, weights: Floats, *, bounded: bool = True
) -> Figure:
    """Return a figure with its bootstrap interval.

    A figure of 0 or 1 is the same in every draw, which gives an interval without width. Its other
    end is therefore Wilson's, for as many cases as the rarer class has clusters.

    Args:
        answers: Labels and answers of n scans.
        metric: Function that computes the figure.
        weights: Bootstrap weights, as `bootstrap_weights` returns them, shape (d, n).
        bounded: Whether the figure lies in 0..1. If so, its interval is `bounded_interval`, else
            percentiles of the draws.

    Returns:
        The figure; draws in which it can't be computed are left out.
    """
    value = float(metric(answers, np.ones(len(answers))))
    values = _in_chunks(lambda part: metric(answers, part), weights)
    if not bounded:
        return Figure(value, *percentiles(values))
    low, high = bounded_interval(value, values, len(np.unique(answers.cluster)))
    if value in (0.0, 1.0):
        fewest = min(
            len(np.unique(answers.cluster[answers.tumor])),
            len(np.unique(answers.cluster[~answers.tumor])),
        )
        return Figure(value, *wilson(value, fewest))
    return Figure(value, low, high)


def bootstrap_difference(
    first: Callable[[Floats], Floats], second: Callable[[Floats], Floats], weights: Floats
) -> Figure:
    """Return the difference of two figures on the same cases, from the same draws.

    Args:
        first: Function that computes the first figure from weights.
        second: Function that computes the figure to subtract.
        weights: Bootstrap weights, as `bootstrap_weights` returns them, shape (d, n).

    Returns:
        First less second, with its paired interval.
    """
    whole = np.ones(weights.shape[-1])
    values = _in_chunks(lambda part: first(part) - second(part), weights)
    return Figure(float(first(whole) - second(whole)), *percentiles(values))


def bounded_interval(value: float, draws: Floats, clusters: int) -> tuple[float, float]:
    """Return the normal interval of a figure in 0..1 on the logit scale.

    Percentiles of the draws are too narrow for tens of clusters, most so near 0 and 1. On the logit
    scale draws are nearly normal, and the interval stays in 0..1.

    Args:
        value: The figure.
        draws: Bootstrap draws of the figure, shape (d,).
        clusters: Number of clusters that were drawn from.

    Returns:
        Lower and upper end; NaN where the figure or its spread can't be computed.

    References:
        Efron and Tibshirani 1993, chapter 13; Qin and Hotilovac 2008 for the AUROC.
    """
    known = draws[np.isfinite(draws)]
    if len(known) < 2 or not np.isfinite(value) or clusters < 2:
        return float("nan"), float("nan")
    # A draw of 0 or 1 is moved inwards by half a cluster.
    edge = 0.5 / clusters

    def logit(share: NDArray[np.float64]) -> NDArray[np.float64]:
        inside = np.clip(share, min(edge, value), max(1 - edge, value))
        inside = np.clip(inside, 1e-9, 1 - 1e-9)
        return np.asarray(np.log(inside / (1 - inside)))

    spread = float(logit(known).std(ddof=1)) * (clusters / (clusters - 1)) ** 0.5
    middle = float(logit(np.array(value)))
    low, high = sigmoid([middle - _NORMAL_975 * spread, middle + _NORMAL_975 * spread])
    return float(low), float(high)


def percentiles(values: Floats) -> tuple[float, float]:
    """Return the 2.5th and 97.5th percentile of the finite values."""
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known, (2.5, 97.5))
    return float(low), float(high)


def _in_chunks(compute: Callable[[Floats], Floats], weights: Floats) -> Floats:
    parts = [compute(weights[start : start + CHUNK]) for start in range(0, len(weights), CHUNK)]
    return np.concatenate(parts)
