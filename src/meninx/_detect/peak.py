"""Locate the peak of a heat map, finer than its cells."""

import numpy as np
from numpy.typing import NDArray


def hottest_position(cells: NDArray[np.floating], size: int) -> tuple[float, float]:
    """Return the position of a heat map's peak.

    Args:
        cells: Cell logits, shape (m, n).
        size: Side of the network's input, pixels.

    Returns:
        Row and column in the network's input: the mean of the highest cell and its neighbors,
        weighted by their odds.
    """
    row, column = divmod(int(np.argmax(cells)), cells.shape[1])
    rows = np.arange(max(row - 1, 0), min(row + 2, cells.shape[0]))
    columns = np.arange(max(column - 1, 0), min(column + 2, cells.shape[1]))
    near = cells[np.ix_(rows, columns)]
    weights = np.exp(near - near.max())
    weights = weights / weights.sum()
    cell_height, cell_width = size / cells.shape[0], size / cells.shape[1]
    return (
        float((weights.sum(axis=1) @ (rows + 0.5)) * cell_height - 0.5),
        float((weights.sum(axis=0) @ (columns + 0.5)) * cell_width - 0.5),
    )
