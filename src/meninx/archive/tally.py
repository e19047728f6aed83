"""Count a table's rows by where they come from, a batch at a time: memory stays flat."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from meninx.detect.calibration import Calibration

COLUMNS = (
    "status", "reason", "decision", "logit", "kind", "month", "scanner", "field_strength",
    "sequence",
)  # fmt: skip
DIMENSIONS = ("month", "scanner", "field_strength", "sequence")
KINDS = ("volume", "picture")
# Scores are counted on the scale of log odds; what lies beyond goes into the outermost bins.
EDGES = np.linspace(-14, 14, 281)
Counts = NDArray[np.int64]


@dataclass
class Part:
    """Count the rows of one part of an archive.

    Args:
        statuses: How often each.
        decisions: How often each, of what was scored.
        kinds: How often each kind of scan with each status.
        scores: Of each kind of scan: how many lie between each two of `EDGES`.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)
    scores: dict[str, Counts] = field(
        default_factory=lambda: {kind: np.zeros(len(EDGES) - 1, np.int64) for kind in KINDS}
    )

    @property
    def count(self) -> int:
        """How many rows there are."""
        return self.statuses.total()

    @property
    def judged(self) -> int:
        """How many could be read: scored or refused."""
        return self.statuses["scored"] + self.statuses["refused"]

    def add(self, status: str, decision: str | None, kind: str | None, place: int | None) -> None:
        """Count one row; `place` is the bin of its score."""
        self.statuses[status] += 1
        if decision is not None:
            self.decisions[decision] += 1
        if kind is not None:
            self.kinds[kind, status] += 1
            if place is not None:
                self.scores[kind][place] += 1


@dataclass
class Tally:
    """Count a table.

    Args:
        whole: All rows.
        reasons: How often each, by status.
        parts: By dimension and its value, as text.
    """

    whole: Part = field(default_factory=Part)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    parts: dict[tuple[str, str], Part] = field(default_factory=dict)

    @classmethod
    def of(cls, batches: Iterable[pa.RecordBatch], calibration: Calibration) -> "Tally":
        """Return the counts of batches with `COLUMNS`; the detector's scales give log odds."""
        tally = cls()
        temperatures = {kind: calibration.of(volume=kind == "volume").temperature for kind in KINDS}
        for batch in batches:
            for row in batch.to_pylist():
                tally._add(row, temperatures)
        return tally

    def known(self, dimension: str) -> Part:
        """Return the rows of which it is known where in a dimension they belong."""
        parts = [part for (other, _), part in self.parts.items() if other == dimension]
        return Part(
            sum((part.statuses for part in parts), Counter()),
            sum((part.decisions for part in parts), Counter()),
            sum((part.kinds for part in parts), Counter()),
            {kind: np.sum([part.scores[kind] for part in parts], axis=0) for kind in KINDS},
        )

    def _add(self, row: dict[str, Any], temperatures: dict[str, float]) -> None:
        status, reason, decision, logit, kind = (row[name] for name in COLUMNS[:5])
        place = None if logit is None or kind is None else _bin(logit / temperatures[kind])
        told = (status, decision, kind, place)
        if reason is not None:
            self.reasons[(status, reason)] += 1
        self.whole.add(*told)
        for dimension in DIMENSIONS:
            value = row[dimension]
            if value is not None and value != "":
                name = f"{value:g} T" if isinstance(value, float) else str(value)
                self.parts.setdefault((dimension, name), Part()).add(*told)


def binned(values: NDArray[np.float64]) -> Counts:
    """Return how many log odds lie between each two of `EDGES`."""
    clipped = np.clip(values, EDGES[0] + 1e-9, EDGES[-1] - 1e-9)
    return np.histogram(clipped, EDGES)[0].astype(np.int64)


def _bin(value: float) -> int:
    return int(np.clip(np.searchsorted(EDGES, value, side="right") - 1, 0, len(EDGES) - 2))
