"""Measure whether a heat map covers the lesion, and whether the score depends on it.

Legend: s side of the network's input in pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import spearmanr

from meninx._detect.preprocessing import FloatImage

# Shares of the picture that are removed or kept, the hottest pixels first.
SHARES = (0.02, 0.05, 0.10, 0.20, 0.40)
# Standard deviation of noise under which a map should be stable; intensities are 0..1.
NOISE = 0.02
# Neighbors from which a pixel is imputed; adjacent ones have twice the weight of diagonal ones.
NEIGHBORS = tuple(
    (row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if (row, column) != (0, 0)
)
STRAIGHT, DIAGONAL = 1 / 6, 1 / 12
# Standard deviation of the noise that is added, as in the paper's own code.
IMPUTED_NOISE = 0.01


@dataclass(frozen=True)
class Faithfulness:
    """Measurements of one heat map, or the means of many.

    Args:
        peak: Whether the hottest pixel lies in the lesion.
        overlap: Share of the lesion among as many hottest pixels as the lesion has.
        deletion: Mean probability while the hottest pixels are filled in; low is good.
        insertion: Mean probability while all but the hottest pixels are filled in; high is good.
        top_randomized: Rank correlation with the map of a network whose last stage is random.
        all_randomized: Rank correlation with the map of a network whose four stages are all random;
            near 0 is good, as for `top_randomized`.
        noise: Rank correlation with the map of the slice under faint noise; near 1 is good.
        mirror: Rank correlation with the map of the mirrored slice, mirrored back; near 1
            is good.
    """

    peak: float
    overlap: float
    deletion: float
    insertion: float
    top_randomized: float
    all_randomized: float
    noise: float
    mirror: float


NAMES = tuple(field.name for field in fields(Faithfulness))


def hottest_inside(heat: FloatImage, truth: NDArray[np.bool_]) -> bool:
    """Return whether the hottest pixel lies in the lesion, both of shape (s, s)."""
    return bool(truth.flat[int(heat.argmax())])


def rank_overlap(heat: FloatImage, truth: NDArray[np.bool_]) -> float:
    """Return the share of the lesion among the hottest pixels, as many as the lesion has.

    Args:
        heat: Heat map, shape (s, s).
        truth: Mask of the lesion, not empty, shape (s, s).

    Returns:
        Share 0..1, independent of any threshold.

    References:
        Arras et al. 2022, CLEVR-XAI: relevance rank accuracy.
    """
    hottest = ranking(heat)[: int(truth.sum())]
    return float(truth.ravel()[hottest].mean())


def ranking(heat: FloatImage) -> NDArray[np.intp]:
    """Return the flat indices of a map's pixels, the hottest first, ties in random order."""
    ties = np.random.default_rng(0).random(heat.size)
    return np.lexsort((ties, -heat.ravel()))


def hottest_share(heat: FloatImage, share: float) -> NDArray[np.bool_]:
    """Return the hottest pixels that make a share of the map, shape (s, s)."""
    chosen = np.zeros(heat.size, dtype=np.bool_)
    chosen[ranking(heat)[: round(share * heat.size)]] = True
    return chosen.reshape(heat.shape)


def deleted_and_inserted(
    unit: FloatImage, heat: FloatImage
) -> tuple[list[FloatImage], list[FloatImage]]:
    """Return a slice without its hottest pixels, and with these alone.

    Args:
        unit: Intensities 0..1, shape (s, s).
        heat: Heat map, shape (s, s).

    Returns:
        Two lists of slices, one slice for each of `SHARES`: without the hottest pixels, and with
        these alone. Removed pixels are filled in.

    References:
        Petsiuk et al. 2018 (deletion and insertion); Rong et al. 2022 (filling in).
    """
    masks = [hottest_share(heat, share) for share in SHARES]
    return [imputed(unit, mask) for mask in masks], [imputed(unit, ~mask) for mask in masks]


def imputed(unit: FloatImage, removed: NDArray[np.bool_], seed: int = 0) -> FloatImage:
    """Return a slice whose removed pixels are filled in from their neighbors.

    Args:
        unit: Intensities 0..1, shape (s, s).
        removed: Pixels to fill in, shape (s, s).
        seed: Seed of the noise that is added to them.

    Returns:
        The slice, shape (s, s). A linear system makes each filled pixel the weighted mean of the
        eight around it, so that the network can't see the shape of the hole.

    Raises:
        ValueError: If all pixels are removed.

    References:
        Rong et al. 2022, A consistent and efficient evaluation strategy for attribution methods
        (ROAD), equation 3.
    """
    if removed.all():
        raise ValueError("nothing is left to fill a slice in from")
    count = int(removed.sum())
    number = np.full(np.array(unit.shape) + 2, -1)  # -1: known, or beyond the border
    number[1:-1, 1:-1][removed] = np.arange(count)
    inside = np.pad(np.ones(unit.shape, dtype=np.bool_), 1)
    known = np.pad(unit, 1)
    rows, columns = np.nonzero(np.pad(removed, 1))
    own = np.arange(count)
    total, right = np.zeros(count), np.zeros(count)
    entries = []
    for row, column in NEIGHBORS:
        place = (rows + row, columns + column)
        weight = np.where(inside[place], STRAIGHT if 0 in (row, column) else DIAGONAL, 0.0)
        other = number[place]
        total += weight
        right += np.where(other < 0, weight * known[place], 0.0)
        unknown = other >= 0
        entries.append((-weight[unknown], own[unknown], other[unknown]))
    entries.append((total, own, own))
    values, first, second = (np.concatenate(part) for part in zip(*entries, strict=True))
    system = sparse.csc_array((values, (first, second)), shape=(count, count))
    filled = unit.copy()
    noise = np.random.default_rng(seed).normal(0, IMPUTED_NOISE, count)
    filled[removed] = sparse.linalg.spsolve(system, right) + noise
    return filled


def rank_correlation(first: FloatImage, second: FloatImage) -> float:
    """Return the rank correlation of two maps of one shape; 0 where one of them is constant."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(spearmanr(first.ravel(), second.ravel()).statistic)


def means_of(found: Sequence[Faithfulness]) -> dict[str, float]:
    """Return the mean of each figure."""
    return {name: float(np.mean([getattr(figures, name) for figures in found])) for name in NAMES}
