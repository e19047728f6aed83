"""Files of a study: for the viewer, and exports as JSON, CSV, DICOM and PDF."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

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
from meninx._web.studies.exports import csv_export, study_export
from meninx._web.studies.measurements import measurements_of
from meninx._web.studies.opinions import opinions_of
from meninx._web.studies.sending import send_file, send_slices
from meninx._web.studies.slice_files import SLICES

export_pages = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@export_pages.get("/studies/{study_id}/files/{name}")
def study_file(
    request: Request,
    study_id: str,
    name: str,
    reader: ReaderNeeded,
    session: SessionNeeded,
    web: WebNeeded,
    near: Annotated[int | None, Query(ge=0)] = None,
    most: Annotated[int, Query(ge=1, le=64)] = 1,
) -> Response:
    """Send a volume, slices of it, a heat map or a picture, unless the browser has it."""
    path = shown_file(web, study_of(session, reader, study_id), name)
    if path.suffix == SLICES:
        return send_slices(request, path, near, most)
    return send_file(request, path)


@export_pages.get("/studies/{study_id}/finding.json")
def finding_json(study_id: str, reader: ReaderNeeded, session: SessionNeeded) -> JSONResponse:
    """Send all results of a study as JSON."""
    study = study_of(session, reader, study_id)
    record(session, reader.name, "exported JSON", study.id)
    name = f'attachment; filename="{study.id}.json"'
    return JSONResponse(study_export(session, reader, study), headers={"Content-Disposition": name})


@export_pages.get("/studies/{study_id}/finding.csv")
def finding_csv(study_id: str, reader: ReaderNeeded, session: SessionNeeded) -> Response:
    """Send all results of a study as CSV, a row for each series."""
    study = study_of(session, reader, study_id)
    record(session, reader.name, "exported CSV", study.id)
    return csv_response(csv_export(session, [study]), f"{study.id}.csv")


def csv_response(table: str, name: str) -> Response:
    """Return a table as a file to download."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(table, media_type="text/csv; charset=utf-8", headers=headers)


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
