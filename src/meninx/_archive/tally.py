"""Count a table's rows by origin, in batches: memory does not grow with the table."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from meninx._detect.calibration import Calibration

COLUMNS = (
    "status",
    "reason",
    "decision",
    "logit",
    "kind",
    "month",
    "scanner",
    "field_strength",
    "sequence",
    "gone",
)
DIMENSIONS = ("month", "scanner", "field_strength", "sequence")
KINDS = ("volume", "picture")
# Bins of log odds; values outside are counted in the outermost bins.
EDGES = np.linspace(-14, 14, 281)
Counts = NDArray[np.int64]


@dataclass
class RowCounts:
    """Counts of the rows of a subset of an archive, such as a month or a scanner.

    Args:
        statuses: Number of rows with each status.
        decisions: Number of scored rows with each decision.
        kinds: Number of rows of each kind of scan with each status.
        scores: Histogram of log odds of each kind of scan, bins between `EDGES`, shape (280,).
    """

    statuses: Counter[str] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)
    scores: dict[str, Counts] = field(
        default_factory=lambda: {kind: np.zeros(len(EDGES) - 1, np.int64) for kind in KINDS}
    )

    @property
    def count(self) -> int:
        """Number of rows."""
        return self.statuses.total()

    @property
    def readable(self) -> int:
        """Number of rows that were scored or refused."""
        return self.statuses["scored"] + self.statuses["refused"]

    def add(
        self, status: str, decision: str | None, kind: str | None, score_bin: int | None
    ) -> None:
        """Count a row; `score_bin` is the bin of its score."""
        self.statuses[status] += 1
        if decision is not None:
            self.decisions[decision] += 1
        if kind is not None:
            self.kinds[kind, status] += 1
            if score_bin is not None:
                self.scores[kind][score_bin] += 1


@dataclass
class Tally:
    """Counts of a whole table and of its subsets.

    Args:
        whole: Counts of all rows.
        reasons: Number of rows with each reason, by status and reason.
        parts: Counts of each subset, by dimension and its value as text.
    """

    whole: RowCounts = field(default_factory=RowCounts)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    parts: dict[tuple[str, str], RowCounts] = field(default_factory=dict)

    @classmethod
    def of(cls, batches: Iterable[pa.RecordBatch], calibration: Calibration) -> "Tally":
        """Return the counts of batches with `COLUMNS`; rows marked as gone are left out.

        `calibration` scales logits to log odds.
        """
        tally = cls()
        units = {kind: calibration.of(volume=kind == "volume").unit for kind in KINDS}
        for batch in batches:
            for row in batch.to_pylist():
                if not row["gone"]:
                    tally._add(row, units)
        return tally

    def with_dimension(self, dimension: str) -> RowCounts:
        """Return the counts of the rows that have a value in a dimension."""
        parts = [part for (other, _), part in self.parts.items() if other == dimension]
        return RowCounts(
            sum((part.statuses for part in parts), Counter()),
            sum((part.decisions for part in parts), Counter()),
            sum((part.kinds for part in parts), Counter()),
            {kind: np.sum([part.scores[kind] for part in parts], axis=0) for kind in KINDS},
        )

    def _add(self, row: dict[str, Any], units: dict[str, float]) -> None:
        status, reason, decision, logit, kind = (row[name] for name in COLUMNS[:5])
        score_bin = None if logit is None or kind is None else _bin(logit / units[kind])
        counted = (status, decision, kind, score_bin)
        if reason is not None:
            self.reasons[(status, reason)] += 1
        self.whole.add(*counted)
        for dimension in DIMENSIONS:
            value = row[dimension]
            if value is not None and value != "":
                name = f"{value:g} T" if isinstance(value, float) else str(value)
                self.parts.setdefault((dimension, name), RowCounts()).add(*counted)


def binned(values: NDArray[np.float64]) -> Counts:
    """Return the histogram of log odds, bins between `EDGES`, shape (280,)."""
    clipped = np.clip(values, EDGES[0] + 1e-9, EDGES[-1] - 1e-9)
    return np.histogram(clipped, EDGES)[0].astype(np.int64)


def _bin(value: float) -> int:
    return int(np.clip(np.searchsorted(EDGES, value, side="right") - 1, 0, len(EDGES) - 2))
