"""Turn cell logits into the probability of a slice and of a study, and that into a decision."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Answer = Literal["tumor", "no_tumor"]
Decision = Answer | Literal["refer"]

# A slice's score is the mean of its highest cells, of 8 px: one cell alone follows noise.
TOP_CELLS = 8
# Networks that pool their whole map: the score is the mean of all cells.
ALL_CELLS = 0
# A cell of a slice is judged together with those above and below it, weighted by a bell curve of
# this standard deviation: a lesion has depth, a false alarm in a single slice seldom has. Chosen on
# simulated volumes.
CONTEXT_MM = 6.0
# Share of tumors, and of what has none, whose own answer is not ruled out.
DEFAULT_COVERAGE = 0.95

OperatingPoint = Literal["balanced", "sensitive", "specific"]
OPERATING_POINTS: tuple[OperatingPoint, ...] = ("balanced", "sensitive", "specific")


@dataclass(frozen=True)
class Scale:
    """Hold what turns one kind of logit into probabilities and decisions.

    Args:
        temperature: Logits are divided by it (Guo et al. 2017).
        balanced: Probability from which on something is called a tumor: the one of the best Youden
            index.
        sensitive: The same, so that 95 % of tumors were found.
        specific: The same, so that 95 % of what has no tumor was not called.
        tumors: Logits of held-out tumors, ascending: what a new one is compared with.
        healthy: The same of what has no tumor.
        judged: How many held-out ones were scored or refused; 0 where that is not recorded.
        refused: How many of these were refused, though brains all of them.
    """

    temperature: float = 1.0
    balanced: float = 0.5
    sensitive: float = 0.5
    specific: float = 0.5
    tumors: tuple[float, ...] = ()
    healthy: tuple[float, ...] = ()
    judged: int = 0
    refused: int = 0

    def probability(self, logit: float) -> float:
        """Return the probability that belongs to a logit."""
        return float(1.0 / (1.0 + np.exp(-np.clip(logit / self.temperature, -80, 80))))

    def threshold(self, point: OperatingPoint) -> float:
        """Return the probability from which on something is called a tumor."""
        points = {
            "balanced": self.balanced,
            "sensitive": self.sensitive,
            "specific": self.specific,
        }
        return points[point]

    def decide(self, probability: float, point: OperatingPoint) -> Answer:
        """Return `tumor` from the operating point on."""
        return "tumor" if probability >= self.threshold(point) else "no_tumor"

    def p_values(self, logit: float) -> dict[Answer, float]:
        """Return how plausible each answer is, given held-out scans whose answer is known.

        Conformal p-values of each class by itself: the share of held-out tumors, the new scan
        among them, that look no more like one than it does; and likewise of what has no tumor. If
        the scan is exchangeable with them, the p-value of its own class is at most a in a share a
        of cases, whatever the network does.

        Args:
            logit: Of the scan.

        Returns:
            0..1 of `tumor` and `no_tumor`; empty where nothing was held out to compare with.

        References:
            Vovk, Gammerman and Shafer 2005, Algorithmic learning in a random world, section 4.5
            (label-conditional conformal predictors).
        """
        if not (self.tumors and self.healthy):
            return {}
        below = int(np.searchsorted(self.tumors, logit, side="right"))
        above = len(self.healthy) - int(np.searchsorted(self.healthy, logit, side="left"))
        return {
            "tumor": (1 + below) / (1 + len(self.tumors)),
            "no_tumor": (1 + above) / (1 + len(self.healthy)),
        }


def answer_of(p_values: Mapping[Answer, float], coverage: float) -> Decision:
    """Return the one answer that is plausible, or `refer` where both are.

    Args:
        p_values: Of both answers.
        coverage: An answer is ruled out if its p-value is 1 - coverage or less.

    Returns:
        Where neither is plausible the likelier one: that rules out less, so coverage is kept.
    """
    plausible: list[Answer] = [name for name, p in p_values.items() if p > 1 - coverage]
    if len(plausible) > 1:
        return "refer"
    return plausible[0] if plausible else max(p_values.items(), key=lambda item: item[1])[0]


@dataclass(frozen=True)
class Calibration:
    """Hold the scales of a detector; they travel in its file.

    Args:
        picture: Of single pictures, and of the slices of a volume.
        study: Of volumes, whose logit is a maximum over many slices.
    """

    picture: Scale = Scale()
    study: Scale = Scale()

    def of(self, *, study: bool) -> Scale:
        """Return the scale of volumes or of single pictures."""
        return self.study if study else self.picture


def averaged_over_depth(
    cell_logits: NDArray[np.float32], spacing_mm: float | None
) -> NDArray[np.float32]:
    """Return cell logits averaged with those above and below: noise changes from slice to slice.

    Args:
        cell_logits: Of neighboring slices, in order, shape (n, m, m).
        spacing_mm: Distance between slices; None for single pictures, which stay as they are.

    Returns:
        Mean over all slices, weighted by a Gaussian of their distance, shape (n, m, m).
    """
    if spacing_mm is None or len(cell_logits) == 1:
        return cell_logits
    place = np.arange(len(cell_logits)) * spacing_mm
    weights = np.exp(-0.5 * ((place[:, None] - place) / CONTEXT_MM) ** 2)  # [n, n]
    weights /= weights.sum(axis=1, keepdims=True)
    flat = cell_logits.reshape(len(cell_logits), -1)
    return (weights.astype(np.float32) @ flat).reshape(cell_logits.shape)


def slice_logits(
    cell_logits: NDArray[np.float32], top_cells: int = TOP_CELLS
) -> NDArray[np.float32]:
    """Return one logit a slice.

    Args:
        cell_logits: Shape (b, m, n).
        top_cells: How many of the highest cells count; `ALL_CELLS` for the mean of all.

    Returns:
        Mean of those cells, shape (b,).
    """
    flat = cell_logits.reshape(len(cell_logits), -1)
    count = min(top_cells or flat.shape[1], flat.shape[1])
    return np.asarray(np.partition(flat, -count, axis=1)[:, -count:].mean(axis=1))
