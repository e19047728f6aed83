"""All results of a study: as JSON, and as rows of a CSV table with a row a series."""

import csv
import io
from collections.abc import Iterable
from typing import Any

from sqlalchemy.orm import Session

from meninx._web.auth.accounts import Reader
from meninx._web.store.database import IDENTITY, Opinion, Study
from meninx._web.studies.measurements import measurement_response, measurements_of
from meninx._web.studies.opinions import opinion_response, opinions_of, verdict_in_words
from meninx._web.studies.regions import region_rows
from meninx._web.studies.results import listed_series, public_findings
from meninx._web.studies.series import SeriesView, series_views

# Excel takes a CSV file for UTF-8 by this mark alone.
_BYTE_ORDER_MARK = "\ufeff"
# Spreadsheets compute a text that begins so, and a header may hold any text.
_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")
_OF_STUDY = ("study", "project", "title", *IDENTITY, "received", "finished", "state")
_OF_SERIES = (
    "study_decision",
    "study_probability",
    "series",
    "series_uid",
    "series_name",
    "file",
    "sequence",
    "plane",
    "slices",
    "status",
    "reason",
    "decision",
    "probability",
    "place",
    "regions",
    "opinions",
    "study_opinions",
)


def study_export(session: Session, reader: Reader, study: Study) -> dict[str, Any]:
    """Return all results of a study as JSON.

    Args:
        session: Database session.
        reader: Reader who gets them.
        study: A study.

    Returns:
        JSON object: identity, dates, the study's answer, series with their files, findings,
        regions, measurements and opinions.
    """
    views, opinions = series_views(study), opinions_of(session, study)
    names = [view.name for view in views]
    return {
        "use": "research only, not for diagnosis",
        **_head(study),
        "withdrawn": study.withdrawn.isoformat() if study.withdrawn else None,
        "decision": study.decision,
        "probability": study.probability,
        "answer": study.answer,
        "series": listed_series(study),
        "files": sorted(study.file_names.values()),
        "findings": public_findings(study),
        "regions": region_rows(study, opinions),
        "measurements": [
            measurement_response(measurement, views[measurement.scan], reader)
            for measurement in measurements_of(session, study)
        ],
        "opinions": [
            opinion_response(opinion)
            | {"series": names[opinion.scan] if opinion.scan < len(names) else None}
            for opinion in opinions
        ],
    }


def _head(study: Study) -> dict[str, Any]:
    """Return identity, dates and state of a study."""
    return {
        "study": study.id,
        "project": study.project,
        "title": study.title,
        **{name: getattr(study, name) for name in IDENTITY},
        "received": study.received.isoformat(),
        "finished": study.finished.isoformat() if study.finished else None,
        "state": study.state,
    }


def csv_export(session: Session, studies: Iterable[Study]) -> str:
    """Return the results of studies as CSV: a row for each series, or one before it is scored.

    Args:
        session: Database session.
        studies: Studies in the order of the rows.

    Returns:
        The table, with a byte order mark; a text that a spreadsheet would compute has a `'` before.
    """
    out = io.StringIO()
    out.write(_BYTE_ORDER_MARK)
    table = csv.DictWriter(out, (*_OF_STUDY, *_OF_SERIES), restval="")
    table.writeheader()
    for study in studies:
        for row in _rows(study, opinions_of(session, study)):
            table.writerow({name: _harmless(value) for name, value in row.items()})
    return out.getvalue()


def _rows(study: Study, opinions: list[Opinion]) -> list[dict[str, Any]]:
    own = [opinion for opinion in opinions if opinion.about == "study"]
    head = _head(study) | {
        "study_decision": study.decision,
        "study_probability": study.probability,
        "study_opinions": _said(own),
    }
    rows = [head | _series_row(view, opinions) for view in series_views(study)]
    return rows or [head | {"file": "; ".join(sorted(study.file_names.values()))}]


def _series_row(view: SeriesView, opinions: Iterable[Opinion]) -> dict[str, Any]:
    finding, identity = view.finding, view.stored.identity
    about = [
        opinion
        for opinion in opinions
        if opinion.scan == view.number and opinion.about in ("series", "region")
    ]
    return {
        "series": view.number + 1,
        "series_uid": identity.uid,
        "series_name": view.name,
        "file": identity.file,
        "sequence": finding.sequence,
        "plane": view.plane,
        "slices": view.slices or None,
        "status": finding.status,
        "reason": finding.reason,
        "decision": finding.decision,
        "probability": finding.as_json()["probability"],
        "place": view.place,
        "regions": len(view.regions),
        "opinions": _said(about),
    }


def _said(opinions: Iterable[Opinion]) -> str:
    """Return opinions in a few words, the newest first."""
    return "; ".join(
        f"{opinion.user_name}: {verdict_in_words(opinion.verdict)}"
        + (f" (region {opinion.region_number})" if opinion.region_number else "")
        for opinion in opinions
    )


def _harmless(value: object) -> object:
    """Return a cell that no spreadsheet computes."""
    if isinstance(value, str) and value.startswith(_FORMULA_SIGNS):
        return f"'{value}"
    return value
