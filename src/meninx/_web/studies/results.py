"""Store the detector's results in a study, and return them."""

from dataclasses import asdict, replace
from typing import Any

from meninx._web.store.database import DONE, Study
from meninx._web.store.stored_results import (
    StoredSeries,
    StudyResult,
    series_identities,
    stored_series,
)

# Order of the worklist: the referred and the positive, then studies without an answer, then the
# negative.
_PRIORITIES = {"refer": 0, "tumor": 1, "failed": 2, "refused": 3, "no_tumor": 4}
WAITING = 9
# Subtracted for an urgent study: all of them precede the others.
_URGENT = 10


def public_findings(study: Study) -> list[dict[str, Any]]:
    """Return a study's findings, as `meninx predict --json` has them."""
    return [series.findings.as_json() for series in stored_series(study)]


def listed_series(study: Study) -> list[dict[str, Any]]:
    """Return the series of a study: from its findings once it is done, before from its headers."""
    return [asdict(identity) for identity in series_identities(study)] or list(study.series)


def store_result(study: Study, result: StudyResult, *, deidentify: bool) -> None:
    """Store the detector's findings of each series, and its answer from all of them, in a study.

    Args:
        study: Study that was scored.
        result: Series and answer, as `scoring.score_study` returns them.
        deidentify: Whether identity from headers and names of files is left out.
    """
    series = [
        _without_identity(scored) if deidentify else _with_file_name(study, scored)
        for scored in result.series
    ]
    study.findings, study.chosen = [stored.as_json() for stored in series], result.chosen
    study.answer = None if result.answer is None else result.answer.as_json() | {"study": study.id}
    shown = result.series[result.chosen].findings if result.series else None
    answer = result.answer or shown
    study.decision = (answer.decision or answer.status) if answer else "failed"
    # As the public JSON has it: both are compared.
    study.probability = answer.as_json()["probability"] if answer else None
    study.priority = priority_of(study)


def priority_of(study: Study) -> int:
    """Return the place of a study in the worklist: urgent ones first, then by answer."""
    done = study.state == DONE and study.decision is not None
    place = _PRIORITIES[study.decision or ""] if done else WAITING
    return place - _URGENT if study.urgent else place


def _without_identity(series: StoredSeries) -> StoredSeries:
    findings = replace(series.findings, identity={})
    return replace(series, findings=findings, identity=series.identity.without_names())


def _with_file_name(study: Study, series: StoredSeries) -> StoredSeries:
    """Return a series with its uploaded file's name in place of the stored one's."""
    name = study.file_names.get(series.identity.file, "")
    return replace(series, identity=replace(series.identity, file=name))
