"""Data of the viewer: series side by side, with readers' marks and measurements."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from meninx._web.auth.accounts import Reader
from meninx._web.auth.rights import visible_to
from meninx._web.store.database import DONE, Measurement, Opinion, Study
from meninx._web.store.stored_results import Shown
from meninx._web.studies.measurements import measurement_response, measurements_of
from meninx._web.studies.opinions import opinions_of, verdict_in_words
from meninx._web.studies.series import SeriesView, series_views

When = Literal["earlier", "later", "same day", "no date"]
# Largest number of series side by side.
MAX_PANES = 8
# Layouts by their name in the page's address, with the largest number of series of each.
LAYOUTS = {"1": 1, "2": 2, "4": 4, "all": MAX_PANES}
# What each layout is called.
LAYOUT_WORDS = {"1": "One", "2": "Two", "4": "Four", "all": "All"}
# Order in which sequences are hung beside another one.
_HANGING = ("T1c", "FLAIR", "T2", "T1")
# A series of this study by its number, or of another visit by that study's name and its number.
_BESIDE = re.compile(r"(?:(?P<study>[0-9a-f]{24})\.)?(?P<number>\d{1,4})")


def chosen_beside(
    shown: SeriesView, wanted: Sequence[str], visits: Sequence[Study]
) -> list[SeriesView]:
    """Return the series that are shown beside the first one.

    Args:
        shown: First series.
        wanted: Names of series in the page's address: `2`, or `STUDY.2` of another visit.
        visits: Other studies of the same patient.

    Returns:
        Series that exist and have an image, each once, in the order of `wanted`.
    """
    studies = {"": shown.study} | {visit.id: visit for visit in visits}
    chosen: list[SeriesView] = []
    for text in wanted:
        found = _BESIDE.fullmatch(text)
        study = studies.get(found["study"] or "") if found else None
        if study is None or found is None or int(found["number"]) >= len(study.findings):
            continue
        view = SeriesView(study, int(found["number"]))
        if view.viewer and view not in [shown, *chosen]:
            chosen.append(view)
    return chosen[: MAX_PANES - 1]


def hanging(shown: SeriesView, layout: str) -> list[SeriesView]:
    """Return the series that a layout hangs beside the first one.

    Args:
        shown: First series.
        layout: Name of a layout, a key of `LAYOUTS`.

    Returns:
        Series of this study with an image: first the best of each other sequence, in the plane of
        the first series where there is one; then the others.
    """

    def rank(view: SeriesView) -> tuple[int, bool, int]:
        sequence = view.finding.sequence
        order = _HANGING.index(sequence) if sequence in _HANGING else len(_HANGING)
        return order, view.plane != shown.plane, view.number

    others = [view for view in series_views(shown.study) if view.viewer and view != shown]
    seen = {shown.finding.sequence}
    first: list[SeriesView] = []
    further: list[SeriesView] = []
    for view in sorted(others, key=rank):
        (further if view.finding.sequence in seen else first).append(view)
        seen.add(view.finding.sequence)
    return [*first, *further][: LAYOUTS[layout] - 1]


def layouts_of(shown: SeriesView) -> dict[str, str]:
    """Return the layouts that differ for a study, by name, in words."""
    images = sum(view.viewer is not None for view in series_views(shown.study))
    useful = [name for name, most in LAYOUTS.items() if most == 1 or images > most // 2]
    return {name: LAYOUT_WORDS[name] for name in useful}


def other_visits(session: Session, reader: Reader, study: Study) -> list[Study]:
    """Return the other scored studies of a study's patient, the latest first.

    Args:
        session: Database session.
        reader: Reader, who sees the studies of their projects only.
        study: A study.

    Returns:
        Studies; none where the patient is in doubt.
    """
    if not study.patient_key:
        return []
    query = select(Study).where(
        Study.patient_key == study.patient_key,
        Study.id != study.id,
        Study.state == DONE,
        Study.withdrawn.is_(None),
        visible_to(reader),
    )
    return sorted(session.scalars(query), key=_visit_order, reverse=True)


def _visit_order(study: Study) -> tuple[str, str, str]:
    """Return the sort key of a patient's visits: date and time, then the time of arrival."""
    return study.study_date, study.study_time, study.received.isoformat()


def _when(visit: Study, study: Study) -> When:
    """Return when a visit was, seen from another; the time of arrival says nothing of it."""
    for mine, other in (
        (visit.study_date, study.study_date),
        (visit.study_time, study.study_time),
    ):
        if not (mine and other):
            return "same day" if visit.study_date and study.study_date else "no date"
        if mine != other:
            return "earlier" if mine < other else "later"
    return "same day"


def name_in_address(view: SeriesView, shown: SeriesView) -> str:
    """Return the name in the page's address of a series that is shown beside the first one."""
    same = view.study.id == shown.study.id
    return str(view.number) if same else f"{view.study.id}.{view.number}"


def viewer_data(
    session: Session, reader: Reader, panes: Sequence[SeriesView], opinions: Iterable[Opinion]
) -> Mapping[str, Any]:
    """Return the data that a page passes to the viewer.

    Args:
        session: Database session.
        reader: Reader who looks at it.
        panes: Series that are shown, the first one first; each has an image.
        opinions: Opinions on the first series' study.

    Returns:
        JSON object: the study, and a pane for each series.
    """
    own = panes[0].study
    opinions_by_study = {own.id: list(opinions)}
    measured: dict[str, list[Measurement]] = {}
    for view in panes:
        study = view.study
        if study.id not in opinions_by_study:
            opinions_by_study[study.id] = opinions_of(session, study)
        if study.id not in measured:
            measured[study.id] = measurements_of(session, study)
    return {
        "study": own.id,
        "reader": reader.id,
        # Where every series is answered by no tumor, the heat map is there, but not shown at first.
        "claimed": any(view.finding.decision != "no_tumor" for view in panes),
        "panes": [
            _pane(view, view.viewer)
            | {
                "marks": [
                    *_boxes(view, opinions_by_study[view.study.id]),
                    *_measurements(view, measured[view.study.id], reader),
                ]
            }
            for view in panes
            if view.viewer is not None
        ],
    }


def _boxes(view: SeriesView, opinions: Iterable[Opinion]) -> list[dict[str, Any]]:
    """Return the marked boxes of opinions on a series."""
    return [
        {
            "id": f"opinion-{opinion.id}",
            "kind": "box",
            **opinion.box,
            "words": f"{opinion.user_name}: {verdict_in_words(opinion.verdict)}",
        }
        for opinion in opinions
        if opinion.box and opinion.scan == view.number
    ]


def _measurements(
    view: SeriesView, measured: Iterable[Measurement], reader: Reader
) -> list[dict[str, Any]]:
    """Return the measurements in a series."""
    return [
        measurement_response(measurement, view, reader)
        for measurement in measured
        if measurement.scan == view.number
    ]


def _pane(view: SeriesView, shown: Shown) -> dict[str, Any]:
    slices = view.finding.slices
    files = f"/studies/{view.study.id}/files/"
    return {
        "study": view.study.id,
        "number": view.number,
        "name": view.name,
        "sequence": view.finding.sequence,
        "date": view.study.study_date,
        "volume": files + shown.volume,
        "heat": files + shown.heat if shown.heat else None,
        "plane": shown.plane,
        "shape": shown.shape,
        "gray": shown.gray,
        "axis": shown.slice_axis,
        "geometry": shown.geometry,
        "slices": [scored.index for scored in slices],
        "scores": [scored.probability for scored in slices],
        "peaks": [scored.peak for scored in slices],
    }


def _closest_series(study: Study, shown: SeriesView) -> SeriesView | None:
    """Return the series of a study that is most like another one; None where it has no image.

    Args:
        study: Another visit of the patient.
        shown: Series to compare with.

    Returns:
        Series of the same sequence and plane, else of the same sequence, else the one shown first.
    """
    views = [view for view in series_views(study) if view.viewer]

    def resemblance(view: SeriesView) -> tuple[bool, bool, bool]:
        same = view.sequence == shown.sequence
        plane = view.plane == shown.plane
        return same, plane, view.number == study.chosen

    return max(views, key=resemblance, default=None)


def visit_rows(
    study: Study, visits: Sequence[Study], panes: Sequence[SeriesView]
) -> list[Mapping[str, Any]]:
    """Return the patient's other visits as a study's page lists them.

    Args:
        study: Study that is open.
        visits: The patient's other visits.
        panes: Series that are shown, the first one first; empty without an image.

    Returns:
        For each visit the study, when it was, and the name in the page's address of its series
        that is most like the first one; empty where none has an image.
    """
    rows: list[Mapping[str, Any]] = []
    for visit in visits:
        match = _closest_series(visit, panes[0]) if panes else None
        key = name_in_address(match, panes[0]) if match else ""
        rows.append({"study": visit, "when": _when(visit, study), "key": key})
    return rows
