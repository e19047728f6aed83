"""Turn cell logits into the probability of a slice and of a study, and that into a decision."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Decision = Literal["tumor", "no_tumor", "refer"]

# A slice's score is the mean of its highest cells: one cell alone follows noise.
TOP_CELLS = 3
# Networks that pool their whole map: the score is the mean of all cells.
ALL_CELLS = 0
# A study's score is its highest mean over slices that together are this thick: a lesion has depth,
# a false alarm in a single slice seldom has.
LESION_DEPTH_MM = 10.0


@dataclass(frozen=True)
class Calibration:
    """Hold what turns logits into probabilities and decisions; it travels in the detector file.

    Args:
        temperature: Logits are divided by it (Guo et al. 2017).
        operating_point: Probability of a single picture from which on it is called tumor.
        study_operating_point: The same for a volume, whose score is a maximum over many slices.
    """

    temperature: float = 1.0
    operating_point: float = 0.5
    study_operating_point: float = 0.5

    def probability(self, logit: float) -> float:
        """Return the probability that belongs to a logit."""
        return float(1.0 / (1.0 + np.exp(-np.clip(logit / self.temperature, -80, 80))))

    def decide(self, probability: float, *, study: bool) -> Decision:
        """Return the decision at the operating point.

        Args:
            probability: Of a picture or a study.
            study: Whether it is that of a volume.

        Returns:
            `tumor` from the operating point on.
        """
        return "tumor" if probability >= self.threshold(study=study) else "no_tumor"

    def threshold(self, *, study: bool) -> float:
        """Return the operating point of single pictures or of volumes."""
        return self.study_operating_point if study else self.operating_point


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


def study_logit(logits: NDArray[np.float32], spacing_mm: float | None) -> float:
    """Return one logit for a study.

    Args:
        logits: Of its slices, in order, shape (n,), n >= 1.
        spacing_mm: Distance between slices; None for single pictures.

    Returns:
        The highest mean over neighboring slices that together are `LESION_DEPTH_MM` thick.
    """
    window = 1 if spacing_mm is None else max(1, round(LESION_DEPTH_MM / spacing_mm))
    window = min(window, len(logits))
    means = np.convolve(logits.astype(np.float64), np.full(window, 1 / window), mode="valid")
    return float(means.max())
