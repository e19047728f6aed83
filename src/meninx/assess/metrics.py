"""Compute figures of merit."""

import numpy as np
from numpy.typing import NDArray


def auroc(tumor: NDArray[np.bool_], score: NDArray[np.floating]) -> float:
    """Return the area under the ROC curve: how often a tumor scores above a healthy case.

    Args:
        tumor: Labels, shape (n,).
        score: Higher meaning more likely tumor, shape (n,); ties count half.

    Returns:
        0..1; not a number where one class is missing.

    References:
        Mann and Whitney 1947; Hanley and McNeil 1982.
    """
    positives = int(tumor.sum())
    negatives = len(tumor) - positives
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    # Ranks from 1, equal scores sharing their mean rank.
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    rank_sum = float(mean_rank[inverse][tumor].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)
