"""Files of a study: for the viewer, and exports as JSON, DICOM and PDF."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from meninx._web.auth.accounts import Reader
from meninx._web.pages.reports import measured_of, report_html, report_pdf
from meninx._web.serving import (
    ReaderNeeded,
    SessionNeeded,
    WebNeeded,
    shown_file,
    study_of,
    zipped_objects,
)
from meninx._web.store.audit import record
from meninx._web.store.database import Study
from meninx._web.studies.measurements import measurement_response, measurements_of
from meninx._web.studies.opinions import opinion_response, opinions_of
from meninx._web.studies.results import public_findings
from meninx._web.studies.sending import send_file
from meninx._web.studies.series import series_views

export_pages = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@export_pages.get("/studies/{study_id}/files/{name}")
def study_file(
    request: Request,
    study_id: str,
    name: str,
    reader: ReaderNeeded,
    session: SessionNeeded,
    web: WebNeeded,
) -> Response:
    """Send a volume, a heat map or a picture to the viewer, unless the browser has it."""
    return send_file(request, shown_file(web, study_of(session, reader, study_id), name))


@export_pages.get("/studies/{study_id}/finding.json")
def finding_json(study_id: str, reader: ReaderNeeded, session: SessionNeeded) -> JSONResponse:
    """Send the findings as a file."""
    study = study_of(session, reader, study_id)
    name = f'attachment; filename="{study.id}.json"'
    return JSONResponse(study_export(session, reader, study), headers={"Content-Disposition": name})


def study_export(session: SessionNeeded, reader: Reader, study: Study) -> dict[str, Any]:
    """Return all results of a study, and record that they were exported."""
    record(session, reader.name, "exported JSON", study.id)
    series = series_views(study)
    names = [view.name for view in series]
    return {
        "use": "research only, not for diagnosis",
        "study": study.id,
        "findings": public_findings(study),
        "measurements": [
            measurement_response(measurement, series[measurement.scan], reader)
            for measurement in measurements_of(session, study)
        ],
        "opinions": [
            opinion_response(opinion)
            | {"series": names[opinion.scan] if opinion.scan < len(names) else None}
            for opinion in opinions_of(session, study)
        ],
    }


@export_pages.get("/studies/{study_id}/objects.zip")
def objects_zip(
    study_id: str, reader: ReaderNeeded, session: SessionNeeded, web: WebNeeded
) -> Response:
    """Send the DICOM objects of the findings, as a zip."""
    study = study_of(session, reader, study_id)
    record(session, reader.name, "exported DICOM", study.id)
    return zipped_objects(web, session, study)


@export_pages.get("/studies/{study_id}/report.pdf")
def report(study_id: str, reader: ReaderNeeded, session: SessionNeeded, web: WebNeeded) -> Response:
    """Send a report of all series, as PDF."""
    study = study_of(session, reader, study_id)
    record(session, reader.name, "exported PDF", study.id)
    html = report_html(
        web,
        study,
        opinions_of(session, study),
        measurements_of(session, study),
        reader,
        measured_of(web),
    )
    name = f'attachment; filename="{study.id}.pdf"'
    return Response(
        report_pdf(html), media_type="application/pdf", headers={"Content-Disposition": name}
    )
