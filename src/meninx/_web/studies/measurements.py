"""Lengths and boxes that readers measure in images; only their authors delete them."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from meninx._errors import LimitExceeded, OptionError
from meninx._web.auth.accounts import Reader
from meninx._web.store.audit import record
from meninx._web.store.database import Measurement, Study
from meninx._web.store.stored_results import Shown
from meninx._web.studies.marks import check_box, check_markable, check_place
from meninx._web.studies.series import SeriesView

Kind = Literal["ruler", "box"]
Ends = Mapping[str, Sequence[float]]
_MAX_MEASUREMENTS = 1000


def add_measurement(
    session: Session,
    reader: Reader,
    study: Study,
    scan: int,
    kind: Kind,
    ends: Ends,
) -> Measurement:
    """Store a measurement.

    Args:
        session: Database session.
        reader: Reader who measured.
        study: Study that the measurement belongs to.
        scan: Number of the series, from 0.
        kind: `ruler`, a length between two places, or `box`, of whole voxels.
        ends: Corners `from` and `to`, voxel indices [i, j, k]; those of a length may lie between
            voxel centers.

    Returns:
        The stored measurement.

    Raises:
        OptionError: If the study is withdrawn, there is no such series or image, or an end lies
            outside the image.
        LimitExceeded: If the study has `_MAX_MEASUREMENTS` already.
    """
    check_markable(study)
    if scan >= len(study.findings):
        raise OptionError(f"the study has no scan {scan}")
    shown = SeriesView(study, scan).viewer
    checked = _checked_box(shown, ends) if kind == "box" else _checked_ruler(shown, ends)
    query = select(func.count()).where(Measurement.study_id == study.id)
    if (session.scalar(query) or 0) >= _MAX_MEASUREMENTS:
        raise LimitExceeded(f"a study holds at most {_MAX_MEASUREMENTS} measurements; delete some")
    made = Measurement(
        study_id=study.id,
        scan=scan,
        user_name=reader.name,
        kind=kind,
        ends={name: list(end) for name, end in checked.items()},
    )
    session.add(made)
    session.flush()
    record(session, reader.name, f"measured: {kind}", study.id)
    return made


def _checked_box(shown: Shown | None, ends: Ends) -> Ends:
    """Return the corners of a box as whole voxels, in the image."""
    box = {name: [round(at) for at in end] for name, end in ends.items()}
    check_box(shown, box)
    return box


def _checked_ruler(shown: Shown | None, ends: Ends) -> Ends:
    """Return the ends of a length: two places in the image."""
    for end in ends.values():
        check_place(shown, end)
    if ends["from"] == ends["to"]:
        raise OptionError("both ends are in one place; measure between two")
    return ends


def measurements_of(session: Session, study: Study) -> list[Measurement]:
    """Return the measurements in a study, the oldest first."""
    query = select(Measurement).where(Measurement.study_id == study.id)
    return list(session.scalars(query.order_by(Measurement.id)))


def delete_measurement(session: Session, reader: Reader, study: Study, number: int) -> None:
    """Delete a measurement of the reader's own.

    Args:
        session: Database session.
        reader: Reader who deletes it, its author.
        study: Study that the measurement belongs to.
        number: Id of the measurement.

    Raises:
        OptionError: If the study has no such measurement, or another reader made it.
    """
    found = session.get(Measurement, number)
    if found is None or found.study_id != study.id or found.user_name != reader.name:
        raise OptionError("no such measurement of your own in this study")
    session.delete(found)
    record(session, reader.name, "measurement deleted", study.id)


def measurement_in_words(measurement: Measurement, series: SeriesView) -> str:
    """Return a measurement with its unit.

    Args:
        measurement: A measurement.
        series: Series that it was made in.

    Returns:
        Length, or sides of the box, in mm; in pixels where the series has no geometry.
    """
    shown = series.viewer
    spacing = shown.spacing_mm if shown else None
    unit = "mm" if spacing else "pixels"
    sides = np.subtract(measurement.ends["to"], measurement.ends["from"]) * (spacing or [1, 1, 1])
    if measurement.kind == "ruler":
        return f"{np.linalg.norm(sides):.1f} {unit}"
    sides = sides + (spacing or [1, 1, 1])
    axis = series.slice_axis
    return " x ".join(f"{sides[n]:.0f}" for n in range(3) if n != axis) + f" {unit}"


def measurement_response(
    measurement: Measurement, series: SeriesView, reader: Reader
) -> dict[str, Any]:
    """Return a measurement as the API and the viewer get it.

    Args:
        measurement: A measurement.
        series: Series that it was made in.
        reader: Reader who gets it, for `own`.

    Returns:
        JSON object.
    """
    return {
        "id": measurement.id,
        "scan": measurement.scan,
        "kind": measurement.kind,
        "from": measurement.ends["from"],
        "to": measurement.ends["to"],
        "words": measurement_in_words(measurement, series),
        "user": measurement.user_name,
        "made": measurement.made.isoformat(),
        "own": measurement.user_name == reader.name,
    }
