"""The API for measurements: /api/v1/studies/.../measurements."""

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import Field

from meninx._web.api.routes import ERRORS, Body, Id
from meninx._web.serving import MayRead, ReaderNeeded, SessionNeeded, study_of
from meninx._web.studies.measurements import (
    Kind,
    add_measurement,
    delete_measurement,
    measurement_response,
    measurements_of,
)
from meninx._web.studies.series import SeriesView

measurement_api = APIRouter(prefix="/api/v1/studies/{study_id}/measurements", responses=ERRORS)
Coordinate = Annotated[float, Field(ge=-1, le=100_000, allow_inf_nan=False)]
Place = tuple[Coordinate, Coordinate, Coordinate]


class NewMeasurement(Body):
    """A length or a box to be stored."""

    scan: int = Field(default=0, ge=0, le=10_000)
    kind: Kind = "ruler"
    start: Place = Field(alias="from")
    end: Place = Field(alias="to")


@measurement_api.get("")
def measurements(study_id: Id, reader: MayRead, session: SessionNeeded) -> list[dict[str, Any]]:
    """Return the measurements in a study, the oldest first."""
    study = study_of(session, reader, study_id)
    return [
        measurement_response(measurement, SeriesView(study, measurement.scan), reader)
        for measurement in measurements_of(session, study)
    ]


@measurement_api.post("", status_code=201)
def measure(
    study_id: Id, new: NewMeasurement, reader: ReaderNeeded, session: SessionNeeded
) -> dict[str, Any]:
    """Store a length or a box, in voxels of a scan; only its author can delete it."""
    study = study_of(session, reader, study_id)
    ends = {"from": new.start, "to": new.end}
    made = add_measurement(session, reader, study, new.scan, new.kind, ends)
    return measurement_response(made, SeriesView(study, new.scan), reader)


@measurement_api.delete("/{number}", status_code=204)
def remove(
    study_id: Id,
    number: Annotated[int, Path(ge=1, le=2**31 - 1)],
    reader: ReaderNeeded,
    session: SessionNeeded,
) -> None:
    """Delete a measurement of one's own."""
    delete_measurement(session, reader, study_of(session, reader, study_id), number)
