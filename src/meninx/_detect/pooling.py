"""Pool the logits of cells over depth, and into one logit per slice."""

import numpy as np
from numpy.typing import NDArray

# A slice's logit is the mean of its highest cells, of 8 px each, because a single cell is noisy.
TOP_CELLS = 8
# Value of `top_cells` for the mean of all cells.
ALL_CELLS = 0
# Standard deviation of the Gaussian over depth. Lesions extend over several slices, false alarms
# seldom do. Chosen on simulated volumes.
CONTEXT_MM = 6.0


def averaged_over_depth(
    cell_logits: NDArray[np.float32], depths_mm: NDArray[np.float64] | None
) -> NDArray[np.float32]:
    """Return cell logits averaged with those of the slices above and below.

    Args:
        cell_logits: Logits of neighboring slices, in order, shape (n, m, m).
        depths_mm: Position of each slice along the normal, mm, shape (n,); None for pictures, which
            are not averaged.

    Returns:
        Mean over all slices, weighted by a Gaussian of their distance, shape (n, m, m).
    """
    if depths_mm is None or len(cell_logits) == 1:
        return cell_logits
    weights = np.exp(-0.5 * ((depths_mm[:, None] - depths_mm) / CONTEXT_MM) ** 2)  # [n, n]
    weights /= weights.sum(axis=1, keepdims=True)
    flat = cell_logits.reshape(len(cell_logits), -1)
    return (weights.astype(np.float32) @ flat).reshape(cell_logits.shape)


def slice_logits(
    cell_logits: NDArray[np.float32], top_cells: int = TOP_CELLS
) -> NDArray[np.float32]:
    """Return one logit per slice.

    Args:
        cell_logits: Logits of each slice's cells, shape (b, m, n).
        top_cells: Number of highest cells to average; `ALL_CELLS` for all.

    Returns:
        Mean of these cells, shape (b,).
    """
    flat = cell_logits.reshape(len(cell_logits), -1)
    count = min(top_cells or flat.shape[1], flat.shape[1])
    return np.asarray(np.partition(flat, -count, axis=1)[:, -count:].mean(axis=1))
