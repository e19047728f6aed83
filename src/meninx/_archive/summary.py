"""The summary of an archive: summary.html, drift.html and summary.json beside the table."""

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meninx._archive.drift import MIN_SCANS, DriftWarning, Reference, warnings_of
from meninx._archive.run import RunProgress
from meninx._archive.table import Table
from meninx._archive.tally import COLUMNS, DIMENSIONS, EDGES, KINDS, RowCounts, Tally
from meninx._assess.intervals import wilson
from meninx._assess.offline_page import embedded, render_page
from meninx._assess.plots import BLUE, GREEN, ORANGE, PINK, drawing
from meninx._detect.calibrator import sigmoid
from meninx._detect.detector import Detector
from meninx._errors import counted

_DIMENSION_NAMES = {
    "month": "month",
    "scanner": "scanner",
    "field_strength": "field strength",
    "sequence": "sequence",
}
# Most reasons on a terminal why places are out of reach, and most places for each.
MAX_NAMED, MAX_REASONS = 8, 20
# Most names in summary.json of scans whose content is gone.
MAX_GONE = 1000
DECISIONS = ("no_tumor", "refer", "tumor")


@dataclass(frozen=True)
class Summary:
    """The summary of an archive and of the run over it.

    Args:
        tally: Counts of the table.
        counts: Number of units and of contents in the ledger.
        progress: Counts of this run.
        seconds: Duration of this run, s.
        warnings: Warnings of subsets whose scores or refusals differ.
        folder: Folder of the pages.
        gone: Number of rows marked as gone, and the names of some.
    """

    tally: Tally
    counts: dict[str, int]
    progress: RunProgress
    seconds: float
    warnings: list[DriftWarning]
    folder: Path
    gone: tuple[int, list[str]] = (0, [])

    @property
    def not_scored(self) -> int:
        """Number of refused or failed rows of the table."""
        return self.tally.whole.count - self.tally.whole.statuses["scored"]

    @property
    def incomplete(self) -> int:
        """Number of scored rows that are referred because the scan or its study is incomplete."""
        return self.tally.reasons["scored", "incomplete"]

    @property
    def out_of_reach(self) -> list[str]:
        """Lines with the places that this run could not reach, by reason."""
        lines = []
        for reason, places in list(self.progress.places.items())[:MAX_REASONS]:
            more = f" and {len(places) - MAX_NAMED} more" if len(places) > MAX_NAMED else ""
            lines.append(f"out of reach: {', '.join(places[:MAX_NAMED])}{more}: {reason}")
        if len(self.progress.places) > MAX_REASONS:
            lines.append("out of reach: others, named in summary.json")
        return lines

    @property
    def split(self) -> str:
        """Line about series whose parts have rows of their own; empty if there are none."""
        count = self.progress.split
        if not count:
            return ""
        return (
            f"{count} series have several rows, each for the files of some folders; "
            "run again, and do not use these rows if that does not join them"
        )

    @property
    def gone_lines(self) -> list[str]:
        """Lines about rows whose content the archive no longer has."""
        lines = []
        count, names = self.gone
        if count:
            named = ", ".join(names[:MAX_NAMED])
            more = f" and {count - MAX_NAMED} more" if count > MAX_NAMED else ""
            lines.append(
                f"{counted(count, 'scan')} no longer in the archive, or with other content now, "
                f"marked `gone` and not counted: {named}{more}"
            )
        if self.progress.is_list:
            lines.append("not looked for: what a list does not name may still be there")
        elif not self.progress.gone:
            lines.append("not looked for in this run, which did not reach all of the archive")
        return lines

    @property
    def copies(self) -> int:
        """Number of units with the same content as another."""
        return self.counts["units"] - self.counts["contents"]

    def lines(self) -> list[str]:
        """Return the summary for a terminal."""
        whole = self.tally.whole
        statuses = ", ".join(
            f"{whole.statuses[name]} {name}" for name in ("scored", "refused", "failed")
        )
        answers = ", ".join(
            f"{whole.decisions[name]} {name.replace('_', ' ')}" for name in DECISIONS
        )
        incomplete = f"; {self.incomplete} came incomplete" if self.incomplete else ""
        unreached = self.progress.unreached
        out_of_reach = f", {unreached} places out of reach" if unreached else ""
        lines = [
            f"{counted(whole.count, 'scan')} in the table: {statuses}",
            f"answers: {answers}{incomplete}",
            f"this run: {self.progress.rows} new in {self.seconds:.0f} s{out_of_reach}",
        ]
        lines += self.out_of_reach
        if self.progress.split:
            lines.append(f"not joined: {self.split}")
        lines += [f"gone: {line}" for line in self.gone_lines]
        lines += [f"moved: {warn.dimension} {warn.value}: {warn.what}" for warn in self.warnings]
        return [*lines, f"see {self.folder / 'summary.html'} and {self.folder / 'drift.html'}"]

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        whole = self.tally.whole
        return {
            "rows": whole.count,
            "statuses": dict(sorted(whole.statuses.items())),
            "reasons": {
                f"{status}: {reason}": count
                for (status, reason), count in self.tally.reasons.most_common()
            },
            "decisions": dict(sorted(whole.decisions.items())),
            "incomplete": self.incomplete,
            "copies": self.copies,
            "this_run": {
                "rows": self.progress.rows,
                "seconds": round(self.seconds, 1),
                "unreached": self.progress.unreached,
                "out_of_reach": self.progress.places,
            },
            "not_joined": self.progress.split,
            "gone": {
                "rows": self.gone[0],
                "scans": self.gone[1],
                "looked_for": self.progress.gone,
            },
            "drift": [asdict(warn) for warn in self.warnings],
        }


def write_pages(table: Table, detector: Detector, progress: RunProgress, seconds: float) -> Summary:
    """Write the pages beside the table.

    Args:
        table: Table, closed or not; its written rows count.
        detector: Detector of the scores.
        progress: Counts of this run.
        seconds: Duration of this run, s.

    Returns:
        The summary.
    """
    calibration = detector.card.calibration
    tally = Tally.of(table.batches(COLUMNS), calibration)
    summary = Summary(
        tally,
        table.counts(),
        progress,
        seconds,
        warnings_of(tally, calibration),
        table.aside,
        table.gone(MAX_GONE),
    )
    (table.aside / "summary.json").write_text(json.dumps(summary.as_json(), indent=2) + "\n")
    pages = {
        "summary.html": render_page(
            "archive.html",
            summary=summary,
            whole=tally.whole,
            decisions=DECISIONS,
            reasons=tally.reasons.most_common(),
            model=detector.model,
        ),
        "drift.html": render_page(
            "drift.html",
            summary=summary,
            pictures=_pictures(tally, detector),
            least=MIN_SCANS,
            dimensions=[
                (_DIMENSION_NAMES[name], _rows(tally, name, summary.warnings))
                for name in DIMENSIONS
            ],
            model=detector.model,
        ),
    }
    for name, page in pages.items():
        (table.aside / name).write_text(page, encoding="utf-8")
    return summary


def _rows(tally: Tally, dimension: str, warnings: list[DriftWarning]) -> list[dict[str, Any]]:
    """Return the rows of a dimension for the page."""
    rows = []
    for (name, value), part in sorted(tally.parts.items()):
        if name != dimension:
            continue
        share = part.statuses["refused"] / max(part.readable, 1)
        rows.append(
            {
                "value": value,
                "part": part,
                "refused": share,
                "interval": wilson(share, part.readable),
                "median": {kind: _median(part, kind) for kind in KINDS},
                "warnings": [
                    warn.what for warn in warnings if (warn.dimension, warn.value) == (name, value)
                ],
            }
        )
    return rows


def _median(part: RowCounts, kind: str) -> float | None:
    """Return the median probability of a kind of scan, to the bin; None without scores."""
    counts = part.scores[kind]
    if not counts.sum():
        return None
    index = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2))
    center = (EDGES[index] + EDGES[index + 1]) / 2
    return float(sigmoid(center))


def _pictures(tally: Tally, detector: Detector) -> list[tuple[str, str]]:
    """Return plots as data URLs, each with its caption."""
    pictures = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            reference = Reference.of(detector.card.calibration.of(volume=kind == "volume"))
            scores = tally.whole.scores[kind]
            if reference is not None and scores.sum():
                stem = Path(folder) / kind
                _draw_scores(stem, scores, reference)
                pictures.append(
                    (
                        embedded(stem.with_suffix(".png")),
                        f"Scores of {kind}s beside the detector's held-out scans.",
                    )
                )
        months = [
            (value, part) for (name, value), part in sorted(tally.parts.items()) if name == "month"
        ]
        if len(months) > 1:
            stem = Path(folder) / "months"
            _draw_months(stem, months)
            pictures.append((embedded(stem.with_suffix(".png")), "Answers and refusals by month."))
    return pictures


def _draw_scores(stem: Path, scores: np.ndarray[Any, Any], reference: Reference) -> None:
    lines = (
        ("this archive", scores, BLUE, "-"),
        ("held-out tumors", reference.tumors, ORANGE, "--"),
        ("held-out, no tumor", reference.tumor_free, GREEN, "-."),
    )
    with drawing(stem) as axes:
        for name, counts, color, dash in lines:
            share = np.cumsum(counts) / max(counts.sum(), 1)
            axes.plot(EDGES[1:], share, dash, color=color, label=f"{name} ({counts.sum()})")
        axes.set(xlabel="log odds of a tumor", ylabel="share with less", ylim=(-0.02, 1.02))
        axes.legend(fontsize=9)


def _draw_months(stem: Path, months: list[tuple[str, RowCounts]]) -> None:
    count = np.array([max(part.count, 1) for _, part in months])
    lines = {
        "tumor": ([part.decisions["tumor"] for _, part in months], ORANGE, "-"),
        "refer": ([part.decisions["refer"] for _, part in months], PINK, "--"),
        "no tumor": ([part.decisions["no_tumor"] for _, part in months], GREEN, "-."),
        "refused": ([part.statuses["refused"] for _, part in months], BLUE, ":"),
    }
    with drawing(stem, (7.0, 3.6)) as axes:
        for name, (counts, color, dash) in lines.items():
            share = np.array(counts) / count
            axes.plot(
                range(len(months)), share, dash, marker="o", markersize=3, color=color, label=name
            )
        step = max(1, len(months) // 12)
        axes.set_xticks(
            range(0, len(months), step),
            [value for value, _ in months[::step]],
            rotation=45,
            ha="right",
        )
        axes.set(ylabel="share of scans", ylim=(-0.02, 1.02))
        axes.legend(fontsize=9, ncols=4)
