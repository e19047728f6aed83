"""Make DICOM objects of what readers measured and marked in a study."""

import importlib.util
import io
import logging
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from meninx._version import __version__
from meninx._web.store.database import Measurement, Opinion, Study
from meninx._web.store.settings import Settings
from meninx._web.studies.measurements import measurements_of
from meninx._web.studies.opinions import opinions_of
from meninx._web.studies.study_files import SHOWN, SOURCE

if TYPE_CHECKING:
    from meninx._clinic.measurement_report import Measured

log = logging.getLogger(__name__)


def readers_objects(session: Session, study: Study, settings: Settings) -> Mapping[str, bytes]:
    """Return a structured report for each reader who measured or marked something in a study.

    The reader's account is its observer, as in the JSON and the PDF: all who may see the study see
    whose opinion it is.

    Args:
        session: Database session.
        study: Study that was scored.
        settings: Settings of the server, with the folder of its studies.

    Returns:
        DICOM files by their names; none for series that are not DICOM, or without the extra
        `hospital`.
    """
    marked: list[Measurement | Opinion] = []
    marked += [*measurements_of(session, study), *_marks_of(session, study)]
    if not marked or importlib.util.find_spec("highdicom") is None:
        return {}
    from meninx._clinic.measurement_report import measurement_report

    shown = settings.studies / study.id / SHOWN
    by_reader: dict[str, list[Measured]] = defaultdict(list)
    for reader, mark in _measured_in(shown, marked):
        by_reader[reader].append(mark)
    made: dict[str, bytes] = {}
    for reader, measured in by_reader.items():
        try:
            # Libraries put values of attributes into their warnings.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                report = measurement_report(reader, measured, __version__)
        except Exception as error:  # noqa: BLE001 - false headers make highdicom raise anything
            log.warning("no report of a reader's measurements: %s", type(error).__name__)
            continue
        out = io.BytesIO()
        report.save_as(out, enforce_file_format=True)
        made[f"SR-{report.SOPInstanceUID}.dcm"] = out.getvalue()
    return made


def count_readers(session: Session, study: Study, settings: Settings) -> int:
    """Return the number of readers with measurements or marks in DICOM series of a study."""
    shown = settings.studies / study.id / SHOWN
    marked: list[Measurement | Opinion] = []
    marked += [*measurements_of(session, study), *_marks_of(session, study)]
    return len({mark.user_name for mark in marked if (shown / SOURCE.format(mark.scan)).is_file()})


def _marks_of(session: Session, study: Study) -> list[Opinion]:
    """Return the opinions that mark a box, the oldest first."""
    return [opinion for opinion in reversed(opinions_of(session, study)) if opinion.box]


def _measured_in(
    shown: Path, marked: list[Measurement | Opinion]
) -> Iterator[tuple[str, "Measured"]]:
    """Give the measurements and boxes in DICOM series, each with its reader's name."""
    from meninx._clinic.measurement_report import Measured
    from meninx._clinic.source_series import SourceSeries

    sources: dict[int, SourceSeries | None] = {}
    for mark in marked:
        if mark.scan not in sources:
            path = shown / SOURCE.format(mark.scan)
            text = path.read_text(encoding="utf-8") if path.is_file() else ""
            sources[mark.scan] = SourceSeries.from_json(text) if text else None
        series = sources[mark.scan]
        if series is not None:
            yield mark.user_name, Measured(series=series, made=mark.made, **_place_of(mark))


def _place_of(mark: Measurement | Opinion) -> Mapping[str, Any]:
    """Return name, kind and ends of a measurement or of an opinion's box."""
    if isinstance(mark, Measurement):
        name, kind, ends, opinion = f"measurement {mark.id}", mark.kind, mark.ends, ""
    else:
        name, kind, ends, opinion = f"opinion {mark.id}", "box", mark.box or {}, mark.verdict
    return {"name": name, "kind": kind, "ends": (ends["from"], ends["to"]), "opinion": opinion}
