"""Find pictures that are copies of each other, byte by byte or nearly so."""

import multiprocessing
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from meninx._data.folds import connected
from meninx._data.near_duplicates import (
    MAX_CANDIDATES,
    MIN_RINGS,
    MIN_SPECTRUM,
    MIN_WHOLE,
    SAME_SLICE,
    Signature,
    near_duplicate_score,
    quarter_turns,
    ring_agreement,
)

Kind = Literal["exact", "near"]
# Number of rows of the table of all pairs in memory at once.
BLOCK = 512
# Fewer pairs or pictures than this take less time than starting processes.
WORTH_PROCESSES = 500


@dataclass(frozen=True)
class DuplicateGroup:
    """Pictures that show the same slice.

    Args:
        kind: `exact` where all files are byte-identical, else `near`.
        members: Positions in the list that was searched, ascending.
        near_duplicate_score: Lowest score of the pairs that connect the group, 0..1; 1 for exact
            copies.
    """

    kind: Kind
    members: tuple[int, ...]
    near_duplicate_score: float


@dataclass(frozen=True)
class Duplicates:
    """The duplicates that a search found.

    Args:
        groups: Exact groups first, then near ones, which include their exact copies.
        cluster: For each picture the position of the first that shows its slice, shape (n,).
    """

    groups: tuple[DuplicateGroup, ...]
    cluster: NDArray[np.intp]


def find_duplicates(
    hashes: Sequence[str],
    signatures: Sequence[Signature | None],
    progress: Callable[[int, int], None] | None = None,
    workers: int = 1,
    *,
    persons: Sequence[str] = (),
    within_persons: bool = True,
) -> Duplicates:
    """Find exact and near duplicates.

    Matrix products compare every picture with every other and propose pairs, which takes a second
    for thousands. Aligning a pair decides; the number of pairs per picture is bounded.

    Args:
        hashes: SHA-256 of each file.
        signatures: Signature of each picture; None where it can't be compared.
        progress: Called, if given, with the number of pairs decided and of all.
        workers: Processes that share the work; more than 1 only where the calling script is
            guarded by `if __name__ == "__main__"`.
        persons: Name of the person in each picture, empty where unknown; with none all are unknown.
        within_persons: Whether to look for near copies among the pictures of one known person.

    Returns:
        Groups of pictures that show the same slice; chains count as one group.
    """
    keys: list[list[Hashable]] = [[value] for value in hashes]
    exact = connected(keys)
    firsts = [index for index in sorted(set(exact)) if signatures[index] is not None]
    known = [signature for index in firsts if (signature := signatures[index]) is not None]
    owners = [persons[index] if persons else "" for index in firsts]
    pairs = candidate_pairs(known, owners, within_persons=within_persons)
    links: list[tuple[int, float]] = []
    for pair, score in _near_copies(known, pairs, workers, progress):
        for member in pair:
            keys[firsts[member]].append(pair)
        links.append((firsts[pair[0]], score))
    cluster = connected(keys)
    groups = (*_exact_groups(exact), *_near_groups(cluster, links))
    return Duplicates(groups, np.array(cluster, dtype=np.intp))


def _near_copies(
    signatures: Sequence[Signature],
    pairs: Sequence[tuple[int, int]],
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> Iterable[tuple[tuple[int, int], float]]:
    """Yield the pairs that show the same slice, each with its score."""
    scores = _scores(signatures, pairs, workers)
    for done, (pair, score) in enumerate(zip(pairs, scores, strict=True), 1):
        if progress is not None:
            progress(done, len(pairs))
        if score >= SAME_SLICE:
            yield pair, score


def _exact_groups(exact: Sequence[int]) -> list[DuplicateGroup]:
    return [DuplicateGroup("exact", own, 1.0) for own in _members_of(exact) if len(own) > 1]


def _near_groups(
    cluster: Sequence[int], links: Iterable[tuple[int, float]]
) -> list[DuplicateGroup]:
    """Return the clusters that near copies connect; `links` has a member and score of each pair."""
    weakest: dict[int, float] = {}
    for member, score in links:
        weakest[cluster[member]] = min(score, weakest.get(cluster[member], 1.0))
    return [
        DuplicateGroup("near", own, weakest[own[0]])
        for own in _members_of(cluster)
        if own[0] in weakest
    ]


def _members_of(cluster: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the members of each cluster, ascending, in the order of their first ones.

    Args:
        cluster: For each item the position of the first item of its cluster.

    Returns:
        Positions of the members of each cluster.
    """
    members: dict[int, list[int]] = {}
    for index, first in enumerate(cluster):
        members.setdefault(first, []).append(index)
    return [tuple(own) for own in members.values()]


def candidate_pairs(
    signatures: Sequence[Signature], persons: Sequence[str] = (), *, within_persons: bool = True
) -> list[tuple[int, int]]:
    """Return pairs that may show the same slice, each once, lower position first.

    Pictures of two known people are compared only if both are distinctive: crowns of two heads look
    the same, and a few such pairs would connect all people.

    Args:
        signatures: Signatures of the n pictures.
        persons: Name of the person in each picture, empty where unknown; with none all are unknown.
        within_persons: Whether to look for near copies among the pictures of one known person.

    Returns:
        Pairs, at most `MAX_CANDIDATES` times n by each of the two descriptions.
    """
    if len(signatures) < 2:
        return []
    spectra = np.stack([signature.spectrum for signature in signatures])
    whole = np.stack([signature.whole for signature in signatures])
    turned = [side.reshape(len(whole), -1) for side in quarter_turns(whole)]
    allowed = _comparable(signatures, persons or [""] * len(signatures), within_persons)
    by_spectrum = set(_closest(spectra, [spectra], MIN_SPECTRUM, allowed))
    by_whole = set(_closest(whole.reshape(len(whole), -1), turned, MIN_WHOLE, allowed))
    agreeing = {
        (first, second)
        for first, second in by_spectrum - by_whole
        if ring_agreement(signatures[first], signatures[second]) >= MIN_RINGS
    }
    return sorted(agreeing | by_whole)


def _comparable(
    signatures: Sequence[Signature], persons: Sequence[str], within_persons: bool
) -> Callable[[slice], NDArray[np.bool_]]:
    """Return a function from a block of rows to the rows that each may be compared with."""
    distinctive = np.array([signature.is_distinctive for signature in signatures])
    unknown = np.array([not person for person in persons])
    numbers = {person: number for number, person in enumerate(persons)}
    number = np.array([numbers[person] for person in persons])

    def allowed(block: slice) -> NDArray[np.bool_]:
        both_unknown = unknown[block, None] & unknown
        same = (number[block, None] == number) & ~both_unknown
        different = ((distinctive[block, None] & distinctive) | both_unknown) & ~same
        return np.asarray(different | same if within_persons else different)

    return allowed


def _closest(
    rows: NDArray[np.float32],
    sides: Sequence[NDArray[np.float32]],
    minimum: float,
    allowed: Callable[[slice], NDArray[np.bool_]],
) -> Iterable[tuple[int, int]]:
    """Yield pairs of each row and its closest allowed rows, of a product of at least `minimum`."""
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        product = block @ sides[0].T
        for side in sides[1:]:
            np.maximum(product, block @ side.T, out=product)
        product[~allowed(slice(start, start + BLOCK))] = -1.0
        for row, values in enumerate(product, start):
            values[row] = -1.0
            close = np.flatnonzero(values >= minimum)
            if len(close) > MAX_CANDIDATES:
                close = close[np.argsort(-values[close], kind="stable")[:MAX_CANDIDATES]]
            for column in close.tolist():
                yield min(row, column), max(row, column)


def _scores(
    signatures: Sequence[Signature], pairs: Sequence[tuple[int, int]], workers: int
) -> Iterable[float]:
    """Yield the near-duplicate score of each pair, in order."""
    if workers < 2 or len(pairs) < WORTH_PROCESSES:
        for first, second in pairs:
            yield near_duplicate_score(signatures[first], signatures[second])
        return
    blocks = [pairs[start : start + BLOCK] for start in range(0, len(pairs), BLOCK)]
    with process_pool(workers) as pool:
        for values in pool.map(
            _scores_of_block,
            (
                (block, {index: signatures[index] for pair in block for index in pair})
                for block in blocks
            ),
        ):
            yield from values


def _scores_of_block(
    work: tuple[Sequence[tuple[int, int]], dict[int, Signature]],
) -> list[float]:
    pairs, signatures = work
    return [near_duplicate_score(signatures[first], signatures[second]) for first, second in pairs]


def process_pool(workers: int) -> ProcessPoolExecutor:
    """Return a pool of processes that share nothing with this one.

    Args:
        workers: Number of processes.

    Returns:
        A pool of spawned processes; forking would copy locks that other threads hold.
    """
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))
