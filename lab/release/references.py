"""Decide which simulated tumor-free heads may stand among held-out people as references.

A calibrator needs 60 tumor-free references; of most sequences fewer tumor-free people are known.
Heads simulated from held-out templates fill up, but only where the detector's logits of them can't
be told from those of real heads.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meninx._assess.intervals import share_interval
from meninx._detect.findings import Findings

# References of a class that a calibrator should have: p-values then have steps of 1/61.
WANTED = 60
# Real people that a comparison needs; with fewer, that of the other sequences counts.
MIN_COMPARED = 10
# Share of real heads beyond the border with which simulated ones are compared.
BEYOND = 0.1
# Largest difference of medians, in standard deviations of the real ones' logits: with few people
# an interval holds 0 even if the heads differ by more.
MAX_DIFFERENCE = 0.5
DRAWS = 1000


@dataclass(frozen=True)
class Scored:
    """A tumor-free head that was scored.

    Args:
        person: Name of the person, or of that of the head template.
        findings: Findings of a network that did not learn from this person.
    """

    person: str
    findings: Findings


def compared(real: Sequence[Scored], simulated: Sequence[Scored]) -> dict[str, Any]:
    """Compare the logits of simulated tumor-free heads with those of real ones.

    Args:
        real: Real heads of one sequence, at least two.
        simulated: Simulated heads of the same sequence, at least two.

    Returns:
        Numbers of heads; difference of the medians in standard deviations of the real ones, and
        share of simulated heads beyond the logit that a tenth of the real ones exceeds, each with a
        95 % interval over people; `alike`, whether they can't be told apart by these.
    """
    logits = [np.array([head.findings.logit for head in heads]) for heads in (real, simulated)]
    people = [
        np.unique([head.person for head in heads], return_inverse=True)[1]
        for heads in (real, simulated)
    ]
    spread = max(float(logits[0].std(ddof=1)), 1e-9)
    difference = float(np.median(logits[1]) - np.median(logits[0])) / spread
    rng = np.random.default_rng(0)
    drawn = [
        (_drawn_median(rng, logits[1], people[1]) - _drawn_median(rng, logits[0], people[0]))
        / spread
        for _ in range(DRAWS)
    ]
    low, high = (float(value) for value in np.quantile(drawn, (0.025, 0.975)))
    border = np.quantile(logits[0], 1 - BEYOND)
    share = share_interval(logits[1] > border, people[1])
    alike = low <= 0 <= high and abs(difference) <= MAX_DIFFERENCE
    return {
        "real": len(real),
        "simulated": len(simulated),
        "difference of medians": [difference, low, high],
        "beyond the border": [share.value, share.low, share.high],
        "expected beyond it": BEYOND,
        "alike": bool(alike and share.low <= BEYOND <= share.high),
    }


def _drawn_median(
    rng: np.random.Generator, logits: NDArray[np.float64], people: NDArray[np.intp]
) -> float:
    """Return the median of a bootstrap sample of people."""
    drawn = rng.integers(people.max() + 1, size=people.max() + 1)
    return float(np.median(np.concatenate([logits[people == person] for person in drawn])))


def allowed(
    real: Mapping[str, Sequence[Scored]], simulated: Mapping[str, Sequence[Scored]]
) -> tuple[dict[str, list[Scored]], dict[str, Any]]:
    """Return the simulated heads that may be references, by sequence, and the comparison.

    Args:
        real: Scored tumor-free heads of held-out people by sequence.
        simulated: Scored simulated heads by sequence.

    Returns:
        As many simulated heads as a sequence lacks of `WANTED`, none where they can be told from
        real ones; and a row of the comparison for each sequence. A sequence with too few real heads
        to compare takes simulated ones only if they are alike in all sequences that can be
        compared, at least one.
    """
    table = {
        sequence: compared(real[sequence], heads)
        for sequence, heads in simulated.items()
        if len(real.get(sequence, ())) >= MIN_COMPARED and len(heads) > 1
    }
    elsewhere = bool(table) and all(row["alike"] for row in table.values())
    found = {}
    for sequence, heads in simulated.items():
        own = len(real.get(sequence, ()))
        row = table.setdefault(
            sequence, {"real": own, "simulated": len(heads), "alike": elsewhere, "by": "others"}
        )
        found[sequence] = _in_turn(heads)[: max(0, WANTED - own)] if row["alike"] else []
        row["used"] = len(found[sequence])
        row["lacking"] = max(0, WANTED - own - len(found[sequence]))
    return found, table


def _in_turn(heads: Sequence[Scored]) -> list[Scored]:
    """Return heads in an order in which each person comes once before any comes again."""
    count: dict[str, int] = defaultdict(int)
    rank = []
    for head in heads:
        rank.append(count[head.person])
        count[head.person] += 1
    return [heads[place] for place in np.argsort(rank, kind="stable")]
