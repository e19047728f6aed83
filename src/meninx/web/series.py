"""Say what pages and reports show of each series of a study."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from meninx.detect.findings import types_for_reader
from meninx.labels import TUMOR_TYPES
from meninx.web.database import Study

DISPLAY = {one.name: one.display for one in TUMOR_TYPES}


@dataclass(frozen=True)
class SeriesView:
    """One series of a study, in the words of pages and reports.

    Args:
        number: Index in the study, from 0.
        finding: What is stored of it: the public JSON with what the viewer needs.
    """

    number: int
    finding: Mapping[str, Any]

    @property
    def types(self) -> Mapping[str, float]:
        """Probability of each tumor type by its display name, where types were measured."""
        shown = types_for_reader(
            self.finding.get("types") or {},
            self.finding.get("sequence", "unknown"),
            self.finding.get("decision"),
        )
        return {DISPLAY.get(name, name): share for name, share in shown.items()}


def series_of(study: Study) -> list[SeriesView]:
    """Return the series of a study, in their order."""
    return [SeriesView(number, finding) for number, finding in enumerate(study.findings)]
