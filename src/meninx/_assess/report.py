"""Write findings as one offline HTML page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from meninx._assess.offline_page import embedded, render_page
from meninx._detect import answer_words
from meninx._detect.findings import Findings
from meninx._detect.model_card import ModelCard


@dataclass(frozen=True)
class ReportEntry:
    """One scan of a report.

    Args:
        findings: Findings of the scan.
        picture: PNG file of its hottest slice; None if it was not scored.
        withheld: Why no heat map is shown, in words; None if it is shown.
    """

    findings: Findings
    picture: Path | None
    withheld: str | None = None


def write_report(
    entries: Sequence[ReportEntry], card: ModelCard, model_sha256: str, path: Path
) -> None:
    """Write a report as one HTML file with its pictures embedded.

    Args:
        entries: Scans of the report.
        card: Card of the detector.
        model_sha256: SHA-256 of the detector's file.
        path: HTML file to write.
    """
    page = render_page(
        "findings.html",
        rows=[
            (entry.findings, embedded(entry.picture) if entry.picture else None, entry.withheld)
            for entry in entries
        ],
        counts={
            "tumor": sum(entry.findings.decision == "tumor" for entry in entries),
            "referred": sum(entry.findings.decision == "refer" for entry in entries),
            "no tumor": sum(entry.findings.decision == "no_tumor" for entry in entries),
            "refused": sum(entry.findings.status == "refused" for entry in entries),
            "not readable": sum(entry.findings.status == "failed" for entry in entries),
        },
        card=card,
        sha256=model_sha256,
        words=answer_words,
    )
    path.write_text(page, encoding="utf-8")
