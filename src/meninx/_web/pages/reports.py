"""Make the report of a study as PDF."""

from collections.abc import Mapping
from typing import Any

from meninx._detect.answer_words import EVIDENCE_IN_WORDS, NO_OTHER_TYPES
from meninx._detect.model_card import shipped_measured
from meninx._web.auth.accounts import Reader
from meninx._web.serving import Web, shown_file
from meninx._web.store.database import Measurement, Opinion, Study, now
from meninx._web.store.stored import stored_answer
from meninx._web.studies.measurements import measurement_in_words
from meninx._web.studies.series import (
    SeriesView,
    answer_in_words,
    incomplete_in_words,
    series_views,
    study_words,
    weight_rows,
)


def identity_of(study: Study) -> Mapping[str, str]:
    """Return patient and study as a report's head shows them: values by name, none empty."""
    identity = {
        "Patient": study.patient_name,
        "Patient ID": study.patient_id,
        "Born": study.birth_date,
        "Accession number": study.accession,
        "Study": study.description or study.title,
        "Study date": f"{study.study_date} {study.study_time}".strip(),
    }
    return {name: words for name, words in identity.items() if words}


def report_html(
    web: Web,
    study: Study,
    opinions: list[Opinion],
    measured: list[Measurement],
    reader: Reader,
    detector: str,
) -> str:
    """Return the report of a study as a page to print: every series with its answer.

    Args:
        web: The application.
        study: Study that is reported.
        opinions: Readers' opinions on it.
        measured: Readers' measurements in it.
        reader: Reader that the report is printed for.
        detector: Sentences on what the detector was measured on, as `measured_of` gives them.

    Returns:
        HTML that refers to the pictures by file addresses.
    """
    series = series_views(study)
    answer = stored_answer(study)
    counted = answer.series if answer else ()
    return web.pages.get_template("report.html").render(
        study=study,
        identity=identity_of(study),
        series=series,
        opinions=opinions,
        models=_models(series),
        answer=answer_in_words(study.decision),
        reader=reader,
        detector=detector,
        printed=now(),
        study_incomplete=incomplete_in_words(answer),
        study_words=study_words(answer),
        weights=weight_rows(answer, series),
        no_other=NO_OTHER_TYPES,
        evidence_words=EVIDENCE_IN_WORDS,
        counted=[view.name for view in series if view.finding.scan in counted],
        measured=[_measured(measurement, series[measurement.scan]) for measurement in measured],
        pictures={
            view.number: shown_file(web, study, view.viewer.picture).as_uri()
            for view in series
            if view.viewer is not None and view.viewer.picture
        },
    )


def _measured(measurement: Measurement, series: SeriesView) -> Mapping[str, Any]:
    """Return a measurement in words, with place, reader and time."""
    axis = series.slice_axis
    first, last = sorted(round(measurement.ends[end][axis]) for end in ("from", "to"))
    return {
        "words": measurement_in_words(measurement, series),
        "kind": "length" if measurement.kind == "ruler" else "box",
        "where": f"{series.name}, {series.slices_in_words(first, last)}",
        "user": measurement.user_name,
        "made": measurement.made,
    }


def _models(series: list[SeriesView]) -> Mapping[str, str]:
    """Return the names of the detectors that scored the series, by the hash of their file."""
    models = [view.finding.model for view in series]
    return {model["sha256"]: model["name"] for model in models if model}


def report_pdf(html: str) -> bytes:
    """Return a printed page as PDF."""
    from weasyprint import HTML

    return bytes(HTML(string=html).write_pdf())


def measured_of(web: Web) -> str:
    """Return what the detector was measured on, and its limits; empty for a file of the user's."""
    return "" if web.settings.model is not None else shipped_measured()
