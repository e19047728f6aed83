"""Split pictures into folds that share no slice and no person."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from meninx._data.person_names import person_key


def connected(keys: Sequence[Iterable[Hashable]]) -> list[int]:
    """Return which items are connected by shared keys, directly or through other items.

    Args:
        keys: Keys of each item, such as its person and its slice; items with a common key connect.

    Returns:
        For each item the position of the first item that it is connected with.
    """
    parent = list(range(len(keys)))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    first: dict[Hashable, int] = {}
    for item, own in enumerate(keys):
        for key in own:
            low, high = sorted((root(first.setdefault(key, item)), root(item)))
            parent[high] = low
    return [root(item) for item in range(len(keys))]


def keys_of(**names: str) -> list[Hashable]:
    """Return the keys of an item, for `connected`.

    Args:
        **names: Names by kind, such as `person="P1"`; empty ones are unknown and connect nothing.

    Returns:
        Keys that differ between kinds of names; spellings of one person have one key.
    """
    return [
        (kind, person_key(name) if kind == "person" else name)
        for kind, name in names.items()
        if name
    ]


def split_into_folds(
    clusters: Sequence[Hashable],
    labels: Sequence[str],
    hashes: Sequence[str],
    folds: int,
    seed: int = 0,
) -> NDArray[np.intp]:
    """Return each picture's fold: clusters stay whole, and labels are spread evenly.

    Clusters are assigned in turn, the largest first, to the fold that lacks their labels most. Ties
    and order depend on content alone, not on file names or their order.

    Args:
        clusters: Cluster of each of the n pictures; a cluster stays in one fold.
        labels: Label of each picture; labels are spread evenly over folds.
        hashes: SHA-256 of each file.
        folds: Number of folds.
        seed: Seed of the split.

    Returns:
        Fold of each picture, 1 to `folds`, shape (n,).
    """
    members: dict[Hashable, list[int]] = defaultdict(list)
    for index, cluster in enumerate(clusters):
        members[cluster].append(index)

    def name(indices: list[int]) -> str:
        return hashlib.sha256(
            f"{seed}:{min(hashes[index] for index in indices)}".encode()
        ).hexdigest()

    wanted = {label: count / folds for label, count in Counter(labels).items()}
    held: list[Counter[str]] = [Counter() for _ in range(folds)]
    result = np.zeros(len(labels), dtype=np.intp)
    for indices in sorted(members.values(), key=lambda own: (-len(own), name(own))):
        own = Counter(labels[index] for index in indices)

        def lack(fold: int, own: Counter[str] = own) -> tuple[float, int]:
            # How much the squared distance from an even split would grow.
            growth = sum(
                ((held[fold][label] + count) / wanted[label]) ** 2
                - (held[fold][label] / wanted[label]) ** 2
                for label, count in own.items()
            )
            return growth, held[fold].total()

        fold = min(range(folds), key=lack)
        held[fold] += own
        result[indices] = fold + 1
    return result


def split_at_random(count: int, folds: int, seed: int = 0) -> NDArray[np.intp]:
    """Return folds drawn picture by picture, which leak; for comparison only.

    Args:
        count: Number of pictures.
        folds: Number of folds.
        seed: Seed of the split.

    Returns:
        Fold of each picture, 1 to `folds`, shape (count,).
    """
    folds_of = np.arange(count) % folds + 1
    return np.asarray(np.random.default_rng(seed).permutation(folds_of), dtype=np.intp)


def mend(groups: Sequence[str], folds: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return folds that share no group, as close as possible to given ones.

    Args:
        groups: Group of each picture; a group stays in one fold.
        folds: Given fold of each picture, shape (n,).

    Returns:
        Each group's most common fold, that of its first picture where several tie, shape (n,).
    """
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    result = folds.copy()
    for indices in members.values():
        # Ties: the fold that appears first.
        result[indices] = Counter(folds[indices].tolist()).most_common(1)[0][0]
    return result
