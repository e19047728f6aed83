"""Validate a network on held-out pictures, and fit calibrators."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from torch import Tensor

from meninx._assess.metrics import auroc
from meninx._detect.calibrator import Calibrator
from meninx._detect.findings import Findings

# Sensitivity of the operating point `sensitive`, specificity of `specific`.
SENSITIVITY, SPECIFICITY = 0.95, 0.95
# Largest number of held-out logits of each class in a detector file: p-values have steps of 0.001.
_MAX_KEPT = 1000
# Widest fit of a scale: the spread of logits is at most e^6 temperatures.
_MAX_LOG_SCALE = 6.0
CHOOSES_EPOCH = "score"
# What each figure of `Validation.figures` is, in words.
FIGURES = {
    "picture": "AUROC of pictures",
    "loss": "cross-entropy of pictures, both classes with equal weight",
    "accuracy": "accuracy at a probability of 0.5",
    "type": "accuracy of types",
    "within": "AUROC of tumor cells against the others of the same picture",
    "peak": "share of tumor pictures whose hottest cell lies in the tumor",
    CHOOSES_EPOCH: "mean of within and peak, exp(-loss) without masks: it chooses the epoch",
}


class Validation:
    """A network's answers to held-out pictures, gathered over batches, and their figures."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Remove all answers."""
        self._cells: list[tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]] = []
        self._logits: list[float] = []
        self._tumor: list[bool] = []
        self._types: list[tuple[int, int]] = []

    def add(
        self,
        logits: Tensor,
        tumor: Tensor,
        type_logits: Tensor,
        tumor_type: Tensor,
        cells: tuple[Tensor, Tensor, Tensor] | None = None,
    ) -> None:
        """Add a batch.

        Args:
            logits: Logit of each picture, shape (b,).
            tumor: Whether each picture shows a tumor, shape (b,), bool.
            type_logits: Logits of the types, shape (b, 3).
            tumor_type: Index of the type, -1 where unknown or none, shape (b,).
            cells: Logits of cells, masks of tumor cells and of tumor-free cells, each of shape
                (b, m, n); None for a network that does not score cells.
        """
        if cells is not None:
            self._cells += zip(*(part.cpu().numpy() for part in cells), strict=True)
        self._tumor += tumor.cpu().tolist()
        self._logits += logits.cpu().tolist()
        named = tumor_type >= 0
        self._types += zip(
            tumor_type[named].tolist(), type_logits[named].argmax(1).tolist(), strict=True
        )

    def figures(self) -> dict[str, float]:
        """Return the figures.

        Returns:
            Those of `FIGURES`; what can't be computed is left out. `within` (mean over pictures)
            and `peak` choose the epoch, as they do not depend on a picture's source.
        """
        within, peaks = [], []
        for cells, tumor, tumor_free in self._cells:
            if tumor.any():
                counted = tumor | tumor_free
                within.append(auroc(tumor[counted], cells[counted]))
                # A half-covered cell at the border counts as hit.
                peaks.append(not tumor_free.flat[cells.argmax()])
        tumor, logits = np.array(self._tumor), np.array(self._logits)
        figures = {
            "picture": auroc(tumor, logits),
            "loss": negative_log_likelihood(logits, tumor),
            "accuracy": float(np.mean((logits > 0) == tumor)),
        }
        if self._types:
            figures["type"] = float(np.mean([true == answer for true, answer in self._types]))
        if not within:
            return figures | {"score": float(np.exp(-figures["loss"]))}
        figures |= {"within": float(np.mean(within)), "peak": float(np.mean(peaks))}
        return figures | {"score": 0.5 * (figures["within"] + figures["peak"])}

    def calibrator(self) -> Calibrator:
        """Return the calibrator that fits the pictures gathered."""
        return fit_calibrator(np.array(self._logits), np.array(self._tumor))


def fit_calibrator(
    logits: NDArray[np.float64], tumor: NDArray[np.bool_], borrowed: int = 0
) -> Calibrator:
    """Fit temperature, offset, unit and the operating points.

    Args:
        logits: Logits of held-out pictures or volumes, shape (n,).
        tumor: Whether each has a tumor, shape (n,).
        borrowed: Number of tumor-free ones that are simulated from people scanned in other
            sequences.

    Returns:
        The calibrator; the default one where a class is missing.

    References:
        Guo et al. 2017, On calibration of modern neural networks; Youden 1950.
    """
    if tumor.all() or not tumor.any():
        return Calibrator()

    def at_unit(log_unit: float) -> float:
        return negative_log_likelihood(logits / np.exp(log_unit), tumor)

    unit = float(np.exp(minimize_scalar(at_unit, bounds=(-3, 3), method="bounded").x))
    temperature, offset = fit_scale(logits, tumor)
    # The highest threshold that still finds 95 % of tumors: just below the last one found.
    found = np.quantile(logits[tumor], 1 - SENSITIVITY, method="lower")
    # The lowest threshold with 95 % of tumor-free scans below it: just above the last of these.
    below = np.quantile(logits[~tumor], SPECIFICITY, method="higher")
    return Calibrator(
        temperature=temperature,
        offset=offset,
        unit=unit,
        balanced=best_threshold(logits, tumor),
        sensitive=float(found) - 1e-6,
        specific=float(below) + 1e-6,
        tumor_logits=_thinned(logits[tumor]),
        tumor_free_logits=_thinned(logits[~tumor]),
        borrowed=borrowed,
    )


def fit_scale(logits: NDArray[np.float64], tumor: NDArray[np.bool_]) -> tuple[float, float]:
    """Fit the temperature and the offset of a calibrated probability, for a prevalence of one half.

    Both classes have equal weight. Where they do not overlap, no finite scale is the likeliest, so
    the targets are Platt's: a class of n scans is right (n + 1) times of n + 2. Out of fit, over
    the shipped calibrators, the negative log-likelihood was lower than of a temperature alone, of
    an offset without these targets, and of beta calibration (docs/results.md).

    Args:
        logits: Logits of held-out scans, shape (n,); both classes occur.
        tumor: Whether each has a tumor, shape (n,).

    Returns:
        Temperature, above 0, and offset, in log odds.

    References:
        Platt 1999, Probabilistic outputs for support vector machines; Kull, Silva Filho and Flach
        2017, Beta calibration.
    """
    sizes = np.where(tumor, tumor.sum(), (~tumor).sum())
    target = np.where(tumor, sizes + 1, 1) / (sizes + 2)
    # Starting from logits of unit spread, the search needs the same steps on every scale.
    spread = max(float(logits.std()), 1e-9)

    def loss(values: NDArray[np.float64]) -> float:
        odds = logits / spread * np.exp(values[0]) + values[1]
        losses = target * np.logaddexp(0, -odds) + (1 - target) * np.logaddexp(0, odds)
        return float((losses[tumor].mean() + losses[~tumor].mean()) / 2)

    bounds = [(-_MAX_LOG_SCALE, _MAX_LOG_SCALE), (None, None)]
    best = minimize(loss, np.zeros(2), method="L-BFGS-B", bounds=bounds, tol=1e-12)
    return float(spread * np.exp(-best.x[0])), float(best.x[1])


def with_refusals(calibrator: Calibrator, findings: Sequence[Findings]) -> Calibrator:
    """Return a calibrator with the numbers of held-out scans and of refused ones.

    Args:
        calibrator: Calibrator of pictures or volumes.
        findings: Findings of held-out scans, all of brains.

    Returns:
        The calibrator with both numbers.
    """
    statuses = [finding.status for finding in findings]
    refused = statuses.count("refused")
    return replace(calibrator, judged=statuses.count("scored") + refused, refused=refused)


def _thinned(logits: NDArray[np.float64]) -> tuple[float, ...]:
    """Return logits in order, evenly thinned where there are many."""
    ordered = np.sort(logits)
    if len(ordered) > _MAX_KEPT:
        ordered = ordered[np.linspace(0, len(ordered) - 1, _MAX_KEPT).round().astype(int)]
    return tuple(np.round(ordered, 3).tolist())


def negative_log_likelihood(logits: NDArray[np.float64], tumor: NDArray[np.bool_]) -> float:
    """Return the cross-entropy of pictures.

    Both classes have equal weight: the share of tumors in a collection is not a prevalence.

    Args:
        logits: Logits, shape (n,).
        tumor: Whether each picture has a tumor, shape (n,).

    Returns:
        Cross-entropy, 0 and more; ln 2 is chance.
    """
    losses = np.logaddexp(0, -logits * np.where(tumor, 1, -1))
    sides = [losses[side].mean() for side in (tumor, ~tumor) if side.any()]
    return float(np.mean(sides))


def best_threshold(logits: NDArray[np.float64], tumor: NDArray[np.bool_]) -> float:
    """Return the threshold of the best Youden index, in the widest gap where several tie.

    Args:
        logits: Logits, shape (n,).
        tumor: Whether each scan has a tumor, shape (n,); both classes occur.

    Returns:
        The decision threshold, a logit.

    References:
        Youden 1950, Index for rating diagnostic tests.
    """
    order = np.argsort(logits, kind="stable")
    values, labels = logits[order], tumor[order]
    # A cut after the first k values calls these tumor-free and the rest tumors.
    specificity = np.cumsum(~labels)[:-1] / (~labels).sum()
    sensitivity = 1 - np.cumsum(labels)[:-1] / labels.sum()
    gaps = np.diff(values)
    youden = np.where(gaps > 0, sensitivity + specificity - 1, -1.0)
    tied = np.flatnonzero(youden >= youden.max() - 1e-12)
    cut = int(tied[np.argmax(gaps[tied])])
    return float((values[cut] + values[cut + 1]) / 2)
