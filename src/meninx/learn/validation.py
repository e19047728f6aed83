"""Judge a network on held-out pictures, by measures that a picture's source can't help."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor

from meninx.assess.metrics import auroc
from meninx.detect.calibration import UNKNOWN, Calibrator, StudyCalibrator
from meninx.detect.findings import Findings

# Of the operating points of these names.
SENSITIVITY, SPECIFICITY = 0.95, 0.95
# Held-out logits of each class that travel with a detector: a thousandth is fine enough.
MAX_KEPT = 1000


class Validation:
    """Gather a network's answers and turn them into figures."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all answers."""
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
            logits: Of the pictures, shape (b,).
            tumor: Whether each shows one, bool, shape (b,).
            type_logits: Shape (b, 3).
            tumor_type: Index, -1 where unknown or none, shape (b,).
            cells: Logits, which cells are tumor and which are healthy, each of shape (b, m, n);
                None for a network that is not judged by its cells.
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
            `within`: tumor cells against healthy cells of the same picture, AUROC, mean over
            pictures; `peak`: share of tumor pictures whose highest cell is tumor; `picture`: AUROC
            of pictures; `loss`: their cross-entropy, classes weighing alike; `accuracy`: at a
            probability of 0.5; `type`: accuracy; `score`, by which the best epoch is chosen: the
            mean of `within` and `peak`, which a picture's source can't help, and where no tumor
            has an outline exp(-loss). What can't be computed is left out.
        """
        within, peaks = [], []
        for cells, tumor, healthy in self._cells:
            if tumor.any():
                judged = tumor | healthy
                within.append(auroc(tumor[judged], cells[judged]))
                # A half-covered cell at the border is no miss.
                peaks.append(not healthy.flat[cells.argmax()])
        tumor, logits = np.array(self._tumor), np.array(self._logits)
        figures = {
            "picture": auroc(tumor, logits),
            "loss": negative_log_likelihood(logits, tumor),
            "accuracy": float(np.mean((logits > 0) == tumor)),
        }
        if self._types:
            figures["type"] = float(np.mean([true == said for true, said in self._types]))
        if not within:
            return figures | {"score": float(np.exp(-figures["loss"]))}
        figures |= {"within": float(np.mean(within)), "peak": float(np.mean(peaks))}
        return figures | {"score": 0.5 * (figures["within"] + figures["peak"])}

    def calibrator(self) -> Calibrator:
        """Return the temperature and the operating points that fit the pictures gathered."""
        return fit_calibrator(np.array(self._logits), np.array(self._tumor))


def fit_calibrator(logits: NDArray[np.float64], tumor: NDArray[np.bool_]) -> Calibrator:
    """Fit a temperature and the operating points.

    Args:
        logits: Of held-out pictures or volumes, shape (n,).
        tumor: Their labels, shape (n,).

    Returns:
        The calibrator; the default one where a class is missing.

    References:
        Guo et al. 2017, On calibration of modern neural networks; Youden 1950.
    """
    if tumor.all() or not tumor.any():
        return Calibrator()

    def at_temperature(log_temperature: float) -> float:
        return negative_log_likelihood(logits / np.exp(log_temperature), tumor)

    best = minimize_scalar(at_temperature, bounds=(-3, 3), method="bounded")
    calibrator = Calibrator(temperature=float(np.exp(best.x)))
    # The highest threshold that still finds 95 %, a touch below the last one found.
    found = np.quantile(logits[tumor], 1 - SENSITIVITY, method="lower")
    # The lowest that spares 95 %, a touch above the last one spared.
    spared = np.quantile(logits[~tumor], SPECIFICITY, method="higher")
    return replace(
        calibrator,
        balanced=calibrator.probability(best_threshold(logits, tumor)),
        sensitive=calibrator.probability(float(found) - 1e-6),
        specific=calibrator.probability(float(spared) + 1e-6),
        tumor_logits=_kept(logits[tumor]),
        tumor_free_logits=_kept(logits[~tumor]),
    )


def fit_study_calibrator(
    evidence: Sequence[Mapping[str, float]],
    tumor: NDArray[np.bool_],
    calibrators: Mapping[str, Calibrator],
) -> StudyCalibrator:
    """Fit what each sequence is worth, and the calibrator of studies.

    The weights are fitted on the same people as the calibrator, which costs some coverage: of 80 %
    it left 79.8 % with 100 simulated people and 79.4 % with 40, of 95 % 95.9 % and 94.8 %.

    Args:
        evidence: Logit of each sequence of each held-out study, before its temperature; sequences
            that a study lacks are left out, and no study is empty.
        tumor: Their labels, shape (n_studies,).
        calibrators: Of each sequence, as `Calibration.of` gives it for volumes.

    Returns:
        The sequences' separation, summing to 1, and the calibrator of their combined logits. What
        was not measured is worth as little as the least telling sequence that was.
    """
    calibrated = [
        {name: calibrators[name].evidence(logit) for name, logit in study.items()}
        for study in evidence
    ]
    measured: dict[str, float] = {}
    for name in sorted({name for study in calibrated for name in study}):
        values = np.array([study.get(name, np.nan) for study in calibrated])
        sides = [values[side & np.isfinite(values)] for side in (tumor, ~tumor)]
        if min(map(len, sides)) > 1:
            measured[name] = separation(*sides)
    whole = sum(measured.values())
    weights = {name: value / whole if whole else 1.0 / len(measured)
               for name, value in measured.items()}  # fmt: skip
    weights.setdefault(UNKNOWN, min(weights.values(), default=1.0))
    study_calibrator = StudyCalibrator(weights, Calibrator())
    logits = np.array([study_calibrator.logit(list(study.items())) for study in calibrated])
    return replace(study_calibrator, calibrator=fit_calibrator(logits, tumor))


def separation(tumor: NDArray[np.float64], tumor_free: NDArray[np.float64]) -> float:
    """Return how far two classes lie apart, in standard deviations: d' of unequal variances.

    Args:
        tumor: Logits, two at least, shape (n,).
        tumor_free: Likewise, shape (m,).

    Returns:
        0 where tumors do not score higher, else their mean's distance divided by the root of the
        mean variance.

    References:
        Simpson and Fitter 1973, What is the best index of detectability?; Green and Swets 1966,
        Signal detection theory and psychophysics.
    """
    spread = np.sqrt((tumor.var(ddof=1) + tumor_free.var(ddof=1)) / 2)
    distance = float(tumor.mean() - tumor_free.mean())
    return max(distance / max(float(spread), 1e-9), 0.0)


def with_refusals(calibrator: Calibrator, findings: Sequence[Findings]) -> Calibrator:
    """Return a calibrator that knows how many of its held-out scans are refused.

    Args:
        calibrator: Of pictures or volumes.
        findings: Of scans of brains that nothing was learned from.

    Returns:
        The same, with both counts.
    """
    statuses = [one.status for one in findings]
    refused = statuses.count("refused")
    return replace(calibrator, judged=statuses.count("scored") + refused, refused=refused)


def _kept(logits: NDArray[np.float64]) -> tuple[float, ...]:
    """Return logits in order, evenly thinned where there are many."""
    ordered = np.sort(logits)
    if len(ordered) > MAX_KEPT:
        ordered = ordered[np.linspace(0, len(ordered) - 1, MAX_KEPT).round().astype(int)]
    return tuple(np.round(ordered, 3).tolist())


def negative_log_likelihood(logits: NDArray[np.float64], tumor: NDArray[np.bool_]) -> float:
    """Return the cross-entropy of pictures.

    Classes weigh alike: the collection's share of tumors is nobody's prevalence.

    Args:
        logits: Shape (n,).
        tumor: Labels, shape (n,).

    Returns:
        0 and more; ln 2 is chance.
    """
    losses = np.logaddexp(0, -logits * np.where(tumor, 1, -1))
    sides = [losses[side].mean() for side in (tumor, ~tumor) if side.any()]
    return float(np.mean(sides))


def best_threshold(logits: NDArray[np.float64], tumor: NDArray[np.bool_]) -> float:
    """Return the threshold of the best Youden index, amid the widest gap where several tie.

    Args:
        logits: Shape (n,).
        tumor: Labels, both present, shape (n,).

    Returns:
        A logit: what lies above it is called tumor.

    References:
        Youden 1950, Index for rating diagnostic tests.
    """
    order = np.argsort(logits, kind="stable")
    values, labels = logits[order], tumor[order]
    # Cutting after the first k values calls these healthy and the rest tumors.
    specificity = np.cumsum(~labels)[:-1] / (~labels).sum()
    sensitivity = 1 - np.cumsum(labels)[:-1] / labels.sum()
    gaps = np.diff(values)
    youden = np.where(gaps > 0, sensitivity + specificity - 1, -1.0)
    tied = np.flatnonzero(youden >= youden.max() - 1e-12)
    cut = int(tied[np.argmax(gaps[tied])])
    return float((values[cut] + values[cut + 1]) / 2)
