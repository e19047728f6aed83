"""What heads recognize of people, and of sites, from which they did not learn.

Legend: n slices or scans, d inputs of a head, k kinds of a head.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lab.release.linear_heads import by_people, by_sites, certain_from, fit_head
from lab.release.recognition_slices import PICTURE, VOLUME
from meninx._detect.recognition import PLANE, SEQUENCE, SKULL, TURN, TURNS, Head

QUESTIONS = (SEQUENCE, PLANE, SKULL, TURN)
# Share of named scans and pictures of people held out whose kind may be wrong: a quarter of 1 %,
# and of one in 500 for turns, because other sites have harder ones.
WRONG, WRONGLY_TURNED = 0.0025, 0.0005
PEOPLE, SITES = "people held out", "sites held out"


@dataclasses.dataclass(frozen=True, eq=False)
class Slices:
    """Features and labels of n slices.

    Args:
        features: Features of the detector, shape (n, f), half precision.
        labels: A column for each field of `Labels`, shape (n,) each.
    """

    features: NDArray[np.float16]
    labels: dict[str, NDArray[np.str_]]

    def __getitem__(self, which: NDArray[Any]) -> "Slices":
        columns = {name: column[which] for name, column in self.labels.items()}
        return Slices(self.features[which], columns)

    def __len__(self) -> int:
        return len(self.features)


class Answers(NamedTuple):
    """Answers of a head to n slices or scans of known kind.

    Args:
        truth: Their kinds, shape (n,).
        person: Their people, shape (n,).
        likeliest: The likeliest kinds, shape (n,).
        certainty: What is compared with the threshold, 0..1, shape (n,).
    """

    truth: NDArray[np.str_]
    person: NDArray[np.str_]
    likeliest: NDArray[np.str_]
    certainty: NDArray[np.float64]


def asked(question: str, slices: Slices) -> NDArray[np.bool_]:
    """Return the slices of which a question is asked: upright ones, but for the turn itself."""
    known = slices.labels[question] != ""
    return np.asarray(known if question == TURN else known & (slices.labels[TURN] == "0"))


def held_out(
    question: str,
    learned: Slices,
    inputs: NDArray[np.float32],
    parts: Iterable[tuple[NDArray[np.intp], NDArray[np.intp]]],
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Return the kinds of a head, and their probabilities by heads fitted on other slices.

    Args:
        question: Name of the head.
        learned: Slices of people.
        inputs: Their features in the directions of most variance, shape (n, d).
        parts: Fitted and held-out slices.

    Returns:
        Kinds and probabilities, shape (n, k); NaN where nothing is known or asked, and for a kind
        that none of the fitted slices has.
    """
    truth, known = learned.labels[question], asked(question, learned)
    kinds = tuple(map(str, np.unique(truth[known])))
    probabilities = np.full((len(learned), len(kinds)), np.nan)
    for fitted, others in parts:
        chosen = fitted[known[fitted]]
        head = fit_head(inputs[chosen], truth[chosen])
        answered = others[known[others] & np.isin(truth[others], head.kinds)]
        rows = np.zeros((len(answered), len(kinds)))
        rows[:, [kinds.index(kind) for kind in head.kinds]] = head.probabilities(inputs[answered])
        probabilities[answered] = rows
    return kinds, probabilities


def answers_of(
    question: str, slices: Slices, kinds: tuple[str, ...], shares: NDArray[np.float64]
) -> Answers:
    """Return the answers that follow from probabilities, shape (n, k)."""
    truth, people = slices.labels[question], slices.labels["person"]
    likeliest = shares.argmax(axis=1)
    certainty = shares.max(axis=1)
    if question == TURN and slices.labels["kind"][0] != VOLUME:
        certainty = _two_looks(kinds, shares)
    return Answers(truth, people, np.array(kinds)[likeliest], certainty)


def _two_looks(kinds: tuple[str, ...], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how certain the turn of pictures is, as `recognition.is_turned` decides.

    Args:
        kinds: Names of the turns.
        shares: Their probabilities, shape (n, 4); four rows each are one picture in all `TURNS`.

    Returns:
        Probability of upright; where another turn is likely, the smaller one of its probability
        and that of upright once it is undone, shape (n,).
    """
    ordered = shares[:, [kinds.index(str(turn)) for turn in TURNS]]
    pictures = ordered.reshape(-1, len(TURNS), len(TURNS))
    certainty = np.zeros(pictures.shape[:2])
    for picture, looks in enumerate(pictures):
        for stored, look in enumerate(looks):
            turn = int(look.argmax())
            after = looks[(stored - turn) % len(TURNS), 0]
            certainty[picture, stored] = min(look[turn], after) if turn else look[0]
    return certainty.ravel()


def cases_of(
    slices: Slices, shares: NDArray[np.float64]
) -> Iterator[tuple[str, Slices, NDArray[np.float64]]]:
    """Yield each kind of input with its probabilities; `volume` stands for whole scans.

    A scan has the mean of its slices. What was not asked is left out.
    """
    known = np.isfinite(shares).all(axis=1)
    for kind in map(str, np.unique(slices.labels["kind"])):
        own = np.flatnonzero(known & (slices.labels["kind"] == kind))
        if not own.size:
            continue
        if kind != VOLUME:
            yield kind, slices[own], shares[own]
            continue
        _, first, scan = np.unique(
            slices.labels["scan"][own], return_index=True, return_inverse=True
        )
        means = [shares[own[scan == number]].mean(axis=0) for number in range(len(first))]
        yield kind, slices[own[first]], np.stack(means)


def figures(answers: Answers) -> dict[str, Any]:
    """Return balanced accuracy, numbers, and the answers to each kind."""
    table = {
        kind: {
            answer: int(((answers.truth == kind) & (answers.likeliest == answer)).sum())
            for answer in map(str, np.unique(answers.likeliest))
        }
        for kind in map(str, np.unique(answers.truth))
    }
    right = answers.likeliest == answers.truth
    recalls = [float(right[answers.truth == kind].mean()) for kind in table]
    return {
        "balanced accuracy": float(np.mean(recalls)),
        "people": len(np.unique(answers.person)),
        "cases": len(right),
        "answers": table,
    }


def at_threshold(answers: Answers, threshold: float) -> dict[str, Any]:
    """Return what a threshold names, how much of that is wrong, and what it costs."""
    named = answers.certainty >= threshold
    wrong = answers.likeliest != answers.truth
    found: dict[str, Any] = {
        "threshold": threshold,
        "named": float(named.mean()),
        "wrong of named": float(wrong[named].mean()) if named.any() else None,
        "right but not named": float((~named)[~wrong].mean()),
    }
    if "180" in answers.likeliest:
        upright = answers.truth == "0"
        found["upright"] = int(upright.sum())
        found["upright, wrongly turned"] = int((named & wrong & upright).sum())
        if not upright.all():
            found["turned, turned back"] = float((named & ~wrong)[~upright].mean())
    return found


def held_out_figures(
    learned: Slices, inputs: NDArray[np.float32]
) -> tuple[dict[str, Any], dict[str, Head]]:
    """Return the figures of held-out people and sites, and the heads' kinds and thresholds.

    Args:
        learned: Slices of people.
        inputs: Their features in the directions of most variance, shape (n, d).

    Returns:
        Figures by question, and the heads by name, with the thresholds of people held out.
    """
    table: dict[str, Any] = {}
    heads: dict[str, Head] = {}
    schemes = {
        PEOPLE: list(by_people(learned.labels["person"])),
        SITES: list(by_sites(learned.labels["site"], learned.labels["person"])),
    }
    for question in QUESTIONS:
        answers: dict[str, dict[str, Answers]] = {}
        for scheme, parts in schemes.items():
            kinds, shares = held_out(question, learned, inputs, parts)
            for case, slices, own in cases_of(learned, shares):
                answers.setdefault(case, {})[scheme] = answers_of(question, slices, kinds, own)
        allowed = WRONGLY_TURNED if question == TURN else WRONG
        certain = {
            case: certain_from(
                own[PEOPLE].certainty, own[PEOPLE].likeliest != own[PEOPLE].truth, allowed
            )
            for case, own in answers.items()
        }
        if question == TURN:
            # No turned volume was measured.
            certain[VOLUME] = certain[PICTURE]
        heads[question] = Head(kinds, certain[PICTURE], certain[VOLUME])
        table[question] = {
            case: {
                scheme: figures(found) | at_threshold(found, certain.get(case, certain[PICTURE]))
                for scheme, found in own.items()
            }
            for case, own in answers.items()
        }
    return table, heads
