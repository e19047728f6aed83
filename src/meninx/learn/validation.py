"""Judge a network on held-out pictures, by measures that a picture's source can't help."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor

from meninx.assess.metrics import auroc
from meninx.detect.calibration import Calibration


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
        cell_logits: Tensor,
        tumor: Tensor,
        healthy: Tensor,
        logits: Tensor,
        type_logits: Tensor,
        tumor_type: Tensor,
    ) -> None:
        """Add a batch.

        Args:
            cell_logits: Shape (b, m, n).
            tumor: Cells of tumor, bool, shape (b, m, n).
            healthy: Cells without, bool, shape (b, m, n).
            logits: Of the pictures, shape (b,).
            type_logits: Shape (b, 3).
            tumor_type: Index, -1 where unknown or none, shape (b,).
        """
        for cells, is_tumor, is_healthy in zip(cell_logits, tumor, healthy, strict=True):
            self._cells.append(
                (cells.cpu().numpy(), is_tumor.cpu().numpy(), is_healthy.cpu().numpy())
            )
            self._tumor.append(bool(is_tumor.any()))
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
            of pictures, which their source can help and which chooses nothing; `type`: accuracy;
            `score`: mean of `within` and `peak`, by which the best epoch is chosen.
        """
        within, peaks = [], []
        for cells, tumor, healthy in self._cells:
            if tumor.any():
                judged = tumor | healthy
                within.append(auroc(tumor[judged], cells[judged]))
                # A half-covered cell at the border is no miss.
                peaks.append(not healthy.flat[cells.argmax()])
        figures = {
            "within": float(np.mean(within)) if within else float("nan"),
            "peak": float(np.mean(peaks)) if peaks else float("nan"),
            "picture": auroc(np.array(self._tumor), np.array(self._logits)),
        }
        if self._types:
            figures["type"] = float(np.mean([true == said for true, said in self._types]))
        return figures | {"score": 0.5 * (figures["within"] + figures["peak"])}

    def calibration(self) -> Calibration:
        """Return the temperature and the operating point that fit the pictures gathered."""
        return fit_calibration(np.array(self._logits), np.array(self._tumor))


def fit_calibration(logits: NDArray[np.float64], tumor: NDArray[np.bool_]) -> Calibration:
    """Fit a temperature, and the operating point of the best Youden index.

    Args:
        logits: Of held-out pictures, shape (n,).
        tumor: Their labels, shape (n,).

    Returns:
        The calibration; the default one where a class is missing.

    References:
        Guo et al. 2017, On calibration of modern neural networks; Youden 1950.
    """
    if tumor.all() or not tumor.any():
        return Calibration()

    # Classes weigh alike: the collection's share of tumors is nobody's prevalence.
    weight = np.where(tumor, 0.5 / tumor.sum(), 0.5 / (~tumor).sum())

    def surprise(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature) * np.where(tumor, 1, -1)
        return float((weight * np.logaddexp(0, -scaled)).sum())

    temperature = float(np.exp(minimize_scalar(surprise, bounds=(-3, 3), method="bounded").x))
    calibration = Calibration(temperature=temperature)
    point = calibration.probability(best_threshold(logits, tumor))
    return replace(calibration, operating_point=point, study_operating_point=point)


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
