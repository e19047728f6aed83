"""Fit linear heads on features, and choose when they are certain, on people held out.

Legend: n slices, f features, k kinds.
"""

import dataclasses
import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

# Directions of most variance that the heads read: 5,504 features take much longer to fit. They know
# no label, so they are the same for all folds.
DIRECTIONS = 800
# Slices from which these directions are computed.
_SAMPLED = 2500
# Inverse strength of the L2 penalty, and the largest number of steps: more change little.
PENALTY, STEPS = 0.1, 100
FOLDS = 5
_SMALLEST_SCALE = 1e-3
# Directions with less than this share of the largest variance are rounding errors.
_SMALLEST_SHARE = 1e-7
# Thresholds that are tried. Less is never certain, however few errors were seen.
THRESHOLDS = (*np.arange(0.80, 0.99, 0.01).round(2), *np.arange(0.99, 0.9999, 0.001).round(3))
NEVER = 1.01


@dataclasses.dataclass(frozen=True, eq=False)
class Directions:
    """Standardized features in the directions of most variance.

    Each is divided by the root of its spread. With none of it, the fit takes many more steps; with
    all of it, noise counts as much as what tells kinds apart.

    Args:
        center: Mean of the features, shape (f,).
        matrix: Features to directions, shape (f, d).
    """

    center: NDArray[np.float32]
    matrix: NDArray[np.float32]

    def of(self, features: NDArray[np.float16]) -> NDArray[np.float32]:
        """Return features of shape (n, f) in these directions, shape (n, d)."""
        parts = np.array_split(features, max(1, len(features) // 1000))
        return np.concatenate([(part - self.center) @ self.matrix for part in parts])


def directions_of(features: NDArray[np.float16]) -> Directions:
    """Return the directions of most variance of features, shape (n, f)."""
    rng = np.random.default_rng(0)
    count = min(_SAMPLED, len(features))
    sampled = features[rng.choice(len(features), count, replace=False)].astype(np.float32)
    center, scale = sampled.mean(axis=0), sampled.std(axis=0) + _SMALLEST_SCALE
    sampled = (sampled - center) / scale
    # Of fewer slices than features: the products of slices have the same directions.
    squares, places = np.linalg.eigh(sampled @ sampled.T)
    kept = min(DIRECTIONS, int(np.count_nonzero(squares > _SMALLEST_SHARE * squares[-1])))
    sizes = np.sqrt(squares[::-1][:kept])
    vectors = sampled.T @ (places[:, ::-1][:, :kept] / sizes)
    spread = sizes / np.sqrt(count)
    matrix = vectors / np.sqrt(spread) / scale[:, None]
    return Directions(center, matrix.astype(np.float32))


@dataclasses.dataclass(frozen=True, eq=False)
class LinearHead:
    """A linear head.

    Args:
        kinds: Names of its kinds, in alphabetical order.
        weights: Weight of each input for each kind, shape (d, k).
        bias: Bias of each kind, shape (k,).
    """

    kinds: tuple[str, ...]
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]

    def probabilities(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the probability of each kind, shape (n, k)."""
        logits = inputs @ self.weights + self.bias
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))

    def on_features(self, directions: Directions) -> "LinearHead":
        """Return the same head, reading features in place of directions."""
        weights = directions.matrix @ self.weights
        return LinearHead(self.kinds, weights, self.bias - directions.center @ weights)


def fit_head(inputs: NDArray[np.float32], truth: NDArray[np.str_]) -> LinearHead:
    """Fit a head by logistic regression in which kinds weigh the same.

    Args:
        inputs: Features in the directions of most variance, shape (n, d).
        truth: Kind of each slice, shape (n,).

    Returns:
        The head.
    """
    model = LogisticRegression(C=PENALTY, max_iter=STEPS, class_weight="balanced")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(inputs, truth)
    coefficients, bias = model.coef_, model.intercept_
    if len(model.classes_) == 2:
        # One logit for two kinds: half for one, half against the other.
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        bias = np.concatenate([-bias, bias]) / 2
    return LinearHead(tuple(map(str, model.classes_)), coefficients.T, bias)


def by_people(people: NDArray[np.str_]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield fitted and held-out slices, in folds parted by person."""
    yield from GroupKFold(FOLDS).split(people, groups=people)


def by_sites(
    sites: NDArray[np.str_], people: NDArray[np.str_]
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield fitted and held-out slices by site; sites of a single person are one."""
    single = [site for site in np.unique(sites) if len(np.unique(people[sites == site])) == 1]
    parts = np.where(np.isin(sites, single), "", sites)
    for part in np.unique(parts):
        yield np.flatnonzero(parts != part), np.flatnonzero(parts == part)


def certain_from(likeliest: NDArray[np.float64], wrong: NDArray[np.bool_], allowed: float) -> float:
    """Return the smallest threshold above which at most a share is wrong.

    Args:
        likeliest: Largest probability of each case, shape (n,).
        wrong: Whether its kind is wrong, shape (n,).
        allowed: Share of named cases that may be wrong, 0..1.

    Returns:
        The threshold, 0..1; `NEVER` where none suffices.
    """
    for threshold in THRESHOLDS:
        named = likeliest >= threshold
        if named.any() and wrong[named].mean() < allowed:
            return float(threshold)
    return NEVER
