"""The hot regions of a study's heat maps, each with what readers say of it."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from meninx._web.store.database import Opinion, Study
from meninx._web.studies.opinions import opinion_response
from meninx._web.studies.series import series_views

Status = Literal["open", "accepted", "corrected", "rejected", "doubtful"]
_STATUSES: Mapping[str, Status] = {"no_tumor": "rejected", "cannot_tell": "doubtful"}


def region_rows(study: Study, opinions: Iterable[Opinion]) -> list[dict[str, Any]]:
    """Return the regions of all series, as the API, the viewer and the exports get them.

    Args:
        study: A study.
        opinions: Opinions on it, the newest first.

    Returns:
        JSON objects, by series, the hottest first; none where nothing is claimed.
    """
    said: dict[tuple[int, int | None], list[Opinion]] = {}
    for opinion in opinions:
        if opinion.about == "region":
            said.setdefault((opinion.scan, opinion.region_number), []).append(opinion)
    return [
        {
            "scan": view.number,
            "region": number,
            **region.as_json(),
            "words": view.region_in_words(region),
            "status": status_of(said.get((view.number, number), ())),
            "opinions": [
                opinion_response(opinion) for opinion in said.get((view.number, number), ())
            ],
        }
        for view in series_views(study)
        for number, region in view.regions.items()
    ]


def status_of(opinions: Iterable[Opinion]) -> Status:
    """Return what the latest opinion makes of a region.

    Args:
        opinions: Opinions on the region, the newest first.

    Returns:
        `accepted` as a tumor, `corrected` if with another box, `rejected`, `doubtful`, or `open`.
    """
    latest = next(iter(opinions), None)
    if latest is None:
        return "open"
    if latest.verdict == "tumor":
        return "corrected" if latest.box else "accepted"
    return _STATUSES[latest.verdict]
