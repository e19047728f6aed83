"""Make DICOM objects of what readers measured and marked in a study."""

import importlib.util
import io
import logging
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from meninx._version import __version__
from meninx._web.store.database import Study
from meninx._web.store.settings import Settings
from meninx._web.store.stored_results import claimed_regions, stored_series
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
    marks = _marks_of(session, study)
    if not marks or importlib.util.find_spec("highdicom") is None:
        return {}
    from meninx._clinic.measurement_report import measurement_report

    shown = settings.studies / study.id / SHOWN
    by_reader: dict[str, list[Measured]] = defaultdict(list)
    for reader, mark in _measured_in(shown, marks):
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
    marks = _marks_of(session, study)
    return len({mark.reader for mark in marks if (shown / SOURCE.format(mark.scan)).is_file()})


@dataclass(frozen=True)
class _Mark:
    """A place in a series that a reader measured, marked or answered.

    Args:
        reader: Name of the account.
        scan: Number of the series, from 0.
        made: Time, UTC.
        name: What it is, unique in the study.
        kind: `ruler` or `box`.
        ends: Voxels `from` and `to`.
        opinion: Reader's answer about it; empty for a measurement.
    """

    reader: str
    scan: int
    made: datetime
    name: str
    kind: Any
    ends: Mapping[str, Any]
    opinion: str = ""


def _marks_of(session: Session, study: Study) -> list[_Mark]:
    """Return measurements, marked boxes and answered regions, the oldest of each first."""
    measured = [
        _Mark(made.user_name, made.scan, made.made, f"measurement {made.id}", made.kind, made.ends)
        for made in measurements_of(session, study)
    ]
    series = stored_series(study)
    for opinion in reversed(opinions_of(session, study)):
        name, box = f"opinion {opinion.id}", opinion.box
        if opinion.region_number is not None:
            name += f" on region {opinion.region_number}"
            regions = claimed_regions(series[opinion.scan])
            box = box or regions[opinion.region_number].as_json()["box"]
        if box is not None:
            said = opinion.user_name, opinion.scan, opinion.made
            measured.append(_Mark(*said, name, "box", box, opinion.verdict))
    return measured


def _measured_in(shown: Path, marks: Iterable[_Mark]) -> Iterator[tuple[str, "Measured"]]:
    """Give the measurements and boxes in DICOM series, each with its reader's name."""
    from meninx._clinic.measurement_report import Measured
    from meninx._clinic.source_series import SourceSeries

    sources: dict[int, SourceSeries | None] = {}
    for mark in marks:
        if mark.scan not in sources:
            path = shown / SOURCE.format(mark.scan)
            text = path.read_text(encoding="utf-8") if path.is_file() else ""
            sources[mark.scan] = SourceSeries.from_json(text) if text else None
        series = sources[mark.scan]
        if series is not None:
            ends = mark.ends["from"], mark.ends["to"]
            yield (
                mark.reader,
                Measured(mark.name, mark.kind, series, ends, mark.made, mark.opinion),
            )
