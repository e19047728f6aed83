"""Write findings as one offline HTML page that a reader understands."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, select_autoescape

from meninx.detect.findings import Findings
from meninx.detect.model_card import ModelCard


@dataclass(frozen=True)
class Entry:
    """Hold one scan of a report.

    Args:
        findings: Of the scan.
        picture: Its heat map, a PNG; None if it was not scored.
    """

    findings: Findings
    picture: Path | None


def write_report(entries: Sequence[Entry], card: ModelCard, model_sha256: str, path: Path) -> None:
    """Write a report. Pictures are inside it, so that the one file can be passed on.

    Args:
        entries: One a scan.
        card: Of the detector.
        model_sha256: Of the detector's file.
        path: The HTML file.
    """
    environment = Environment(
        loader=PackageLoader("meninx.assess"), autoescape=select_autoescape(), trim_blocks=True
    )
    page = environment.get_template("findings.html").render(
        rows=[(entry.findings, _embedded(entry.picture)) for entry in entries],
        counts={
            "tumor": sum(entry.findings.decision == "tumor" for entry in entries),
            "no tumor": sum(entry.findings.decision == "no_tumor" for entry in entries),
            "refused": sum(entry.findings.status == "refused" for entry in entries),
            "not readable": sum(entry.findings.status == "failed" for entry in entries),
        },
        card=card,
        sha256=model_sha256,
    )
    path.write_text(page, encoding="utf-8")


def _embedded(picture: Path | None) -> str | None:
    if picture is None:
        return None
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()
