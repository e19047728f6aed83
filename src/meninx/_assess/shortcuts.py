"""Measure how well a label is predicted by shortcuts, without the brain."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from meninx._assess.intervals import Figure, bootstrap_weights, bounded_interval
from meninx._assess.metrics import auroc, weighted_auroc

FOLDS = 5
# AUROC of a random score.
CHANCE = 0.5
Features = Sequence[Mapping[str, float]]


@dataclass(frozen=True, eq=False)
class Probe:
    """A shortcut probe's predictions.

    Args:
        name: Name of the features that it used.
        probability: Probability of a tumor for each predicted case, by a fit without its cluster,
            0..1, shape (n,).
        auroc: AUROC of these probabilities, with its 95 % interval; NaN if no fit learned anything,
            so that all cases of a fold have one probability.
    """

    name: str
    probability: NDArray[np.float64]
    auroc: Figure


def best_probe(probes: Sequence[Probe]) -> Probe | None:
    """Return the probe with the highest AUROC; None if none learned anything."""
    learned = [probe for probe in probes if np.isfinite(probe.auroc.value)]
    return max(learned, key=lambda probe: probe.auroc.value, default=None)


def probe_shortcuts(
    features: Mapping[str, Features],
    tumor: NDArray[np.bool_],
    cluster: NDArray[np.intp],
    counted: int | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Probe]:
    """Measure how well a tumor is predicted by each kind of features, and by all together.

    Args:
        features: Features of n cases, numbers by name, for each kind such as `file` and
            `intensity`.
        tumor: Whether each case has a tumor, shape (n,).
        cluster: Cluster of each case, the same for one slice or patient, shape (n,). A cluster
            stays in one fold.
        counted: Number of first cases that count in the AUROC; None for all. The others are only
            learned from: with few cases a probe is weak.
        progress: Called with the number of fits that are done, and of all.

    Returns:
        One probe per kind, and one of all kinds, named `both` or `all`; none where a class has too
        few clusters to learn from and to test on.
    """
    kinds = list(features)
    combinations = {kind: [kind] for kind in kinds}
    if len(kinds) > 1:
        combinations["both" if len(kinds) == 2 else "all"] = kinds
    folds = min(FOLDS, len(np.unique(cluster[tumor])), len(np.unique(cluster[~tumor])))
    if folds < 2:
        return []
    part = slice(counted)
    weights = bootstrap_weights(cluster[part])
    split = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    splits = list(split.split(cluster, tumor, cluster))
    probes = []
    for number, (name, kinds_used) in enumerate(combinations.items()):
        columns = np.concatenate([_matrix(features[kind]) for kind in kinds_used], axis=1)
        report = partial(_report, progress, number * folds, len(combinations) * folds)
        probability = _out_of_fold(columns, tumor, splits, report)
        if all(np.ptp(probability[tested]) == 0 for _, tested in splits):
            probes.append(Probe(name, probability[part], Figure(math.nan, math.nan, math.nan)))
            continue
        probability = probability[part]
        draws = np.concatenate(
            [weighted_auroc(tumor[part], probability, some) for some in np.array_split(weights, 10)]
        )
        value = auroc(tumor[part], probability)
        interval = bounded_interval(value, draws, len(np.unique(cluster[part])))
        probes.append(Probe(name, probability, Figure(value, *interval)))
    return probes


def _report(progress: Callable[[int, int], None], before: int, total: int, done: int) -> None:
    progress(before + done, total)


def _matrix(rows: Features) -> NDArray[np.float64]:
    """Return features as numbers, shape (n, features); NaN where a case lacks one."""
    names = sorted({name for row in rows for name in row})
    return np.array([[row.get(name, np.nan) for name in names] for row in rows], dtype=float)


def _out_of_fold(
    columns: NDArray[np.float64],
    tumor: NDArray[np.bool_],
    splits: Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]],
    progress: Callable[[int], None],
) -> NDArray[np.float64]:
    """Return each case's probability by a fit on the other folds, shape (n,)."""
    probability = np.full(len(tumor), float(tumor.mean()))
    for number, (learned, tested) in enumerate(splits):
        progress(number)
        if len(np.unique(tumor[learned])) < 2:
            continue
        # Class weights would not change the AUROC and take ten times as long.
        model = HistGradientBoostingClassifier(
            max_iter=100,
            max_leaf_nodes=15,
            min_samples_leaf=5,
            early_stopping=False,
            random_state=0,
        )
        # Threads wait for each other after every small step: where another program holds one of
        # two cores, a fit takes a hundred times as long with both as with one.
        with threadpool_limits(1, user_api="openmp"):
            model.fit(columns[learned], tumor[learned])
            probability[tested] = model.predict_proba(columns[tested])[:, 1]
    progress(len(splits))
    return probability
