"""Describe each series of a study, in the words of pages and reports."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from meninx._detect.answer_words import (
    ANSWERS,
    borders_in_words,
    measured_on,
    prevalence_in_words,
    scale_in_figures,
    slice_in_words,
    weight_in_words,
    what_would_change_it,
    why_referred,
)
from meninx._detect.findings import Findings, StudyFindings
from meninx._labels import TUMOR_TYPES
from meninx._render.region import Region, side_of
from meninx._scan.completeness import incomplete_message
from meninx._web.store.database import Study
from meninx._web.store.stored_results import Shown, StoredSeries, claimed_regions

_DISPLAY = {kind.name: kind.display for kind in TUMOR_TYPES}
SIDES = {"left": "left side", "right": "right side", "midline": "across the midline"}
_DIRECTIONS = ("left to right", "front to back", "feet to head")


@dataclass(frozen=True)
class SeriesView:
    """One series of a study, in the words of pages and reports.

    Args:
        study: Study that it belongs to.
        number: Index in the study, from 0.
    """

    study: Study
    number: int

    @cached_property
    def stored(self) -> StoredSeries:
        """Its data in the database."""
        return StoredSeries.from_json(self.study.findings[self.number])

    @property
    def finding(self) -> Findings:
        """Its findings."""
        return self.stored.findings

    @property
    def viewer(self) -> Shown | None:
        """What the viewer shows of it; None where no image could be read."""
        return self.stored.shown

    @property
    def thumb(self) -> str:
        """Name of a small picture of it; empty where there is none."""
        return (self.viewer.thumb if self.viewer else "") or self.stored.preview

    @property
    def name(self) -> str:
        """How the series is called: its description, its file's name, or its place in the study."""
        identity = self.stored.identity
        return identity.description or identity.file or self.finding.scan

    @property
    def sequence(self) -> str:
        """Its MR sequence in words."""
        named, scored_as = self.finding.sequence, self.finding.scored_as
        if named != scored_as:
            return f"looks like {scored_as}"
        return "unknown sequence" if named == "unknown" else named

    @property
    def plane(self) -> str | None:
        """Plane of its slices; None where it is not known."""
        return self.viewer.plane if self.viewer else None

    @property
    def slice_axis(self) -> int:
        """Axis along which its slices follow each other; the last where no image could be read."""
        return self.viewer.slice_axis if self.viewer else 2

    @property
    def slices(self) -> int:
        """Number of its slices; 0 where no image could be read."""
        return self.viewer.slices if self.viewer else 0

    @property
    def gap(self) -> str:
        """Distance between its slices in words; empty where it is not known."""
        spacing = self.viewer.spacing_mm if self.viewer else None
        if not spacing or self.slices < 2:
            return ""
        return f"{spacing[self.slice_axis]:.1f} mm from slice to slice"

    @property
    def facts(self) -> str:
        """Sequence, plane and number of slices, as far as they are known."""
        words = [self.sequence]
        if self.plane:
            words.append(self.plane)
        if self.slices:
            words.append(f"{self.slices} slice{'s' if self.slices > 1 else ''}")
        return ", ".join(words)

    @property
    def answer(self) -> str:
        """The answer in words, or the status where there is no answer."""
        return answer_in_words(self.finding.decision or self.finding.status)

    @property
    def incomplete(self) -> str:
        """What did not come of it, in words; empty where nothing is known to be missing."""
        return incomplete_in_words(self.finding)

    @property
    def types(self) -> Mapping[str, float]:
        """Probability of each tumor type by its display name, where types were measured."""
        shown = self.finding.shown_types
        return {_DISPLAY.get(name, name): share for name, share in shown.items()}

    @property
    def words(self) -> Mapping[str, str]:
        """What is said of its answer; see `words_of`."""
        return words_of(self.finding)

    @property
    def hottest(self) -> str:
        """The hottest slice, as a sentence; empty where none was scored."""
        hottest = self.finding.hottest
        if hottest is None or self.slices < 2:
            return ""
        return f"Hottest: {self.slices_in_words(hottest.index, hottest.index)}. "

    @property
    def regions(self) -> Mapping[int, Region]:
        """The hot regions that are claimed, the hottest first, by their numbers."""
        return claimed_regions(self.stored)

    @property
    def place(self) -> str:
        """Side and size of the hottest place in words; empty where nothing is claimed."""
        if not self.regions:
            return ""
        others = len(self.regions) - 1
        words = [self.region_in_words(next(iter(self.regions.values())))]
        if others:
            words.append(f"{others} other place{'s' if others > 1 else ''}")
        return "; ".join(words)

    def region_in_words(self, region: Region) -> str:
        """Return side, size and slices of a region; a picture's has neither side nor size."""
        words = []
        if self.viewer and self.viewer.affine:
            words.append(SIDES.get(region.side or "", "side not known"))
            words.append(_size(region.extent_mm) if region.extent_mm else "size not known")
        words.append(self.slices_in_words(*region.slices))
        return "; ".join(words)

    def slices_in_words(self, first: int, last: int) -> str:
        """Return a run of slices as people count them, from 1."""
        where = "slice " if first == last else f"slices {first + 1} to "
        return where + slice_in_words(last, self.slices)

    def box_in_words(self, box: Mapping[str, Sequence[int]]) -> str:
        """Return side, size and slices of a marked box.

        Args:
            box: Corners `from` and `to`, voxel indices [i, j, k] of this series, both inside the
                box.

        Returns:
            Side, size in mm and slices, as far as they are known.
        """
        first, last = np.minimum(box["from"], box["to"]), np.maximum(box["from"], box["to"])
        axis, shown = self.slice_axis, self.viewer
        words = [self.slices_in_words(int(first[axis]), int(last[axis]))]
        if shown is not None and shown.affine and shown.spacing_mm:
            affine = np.array(shown.affine)
            corners = np.stack([first, last])
            choices = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1]), axis=-1).reshape(-1, 3)
            points = np.take_along_axis(corners, choices, axis=0) @ affine[:3, :3].T + affine[:3, 3]
            side = side_of(points[:, 0], shown.midline_mm)
            extent = (np.array(last) - first + 1) * shown.spacing_mm
            across = " x ".join(f"{extent[n]:.0f}" for n in range(3) if n != axis)
            words = [SIDES.get(side or "", "side not known"), f"{across} mm", *words]
        return "; ".join(words)


def _size(extent_mm: Sequence[int]) -> str:
    sizes = ", ".join(
        f"{size} mm {direction}" for size, direction in zip(extent_mm, _DIRECTIONS, strict=True)
    )
    return f"about {sizes}"


def answer_in_words(decision: str | None) -> str:
    """Return a decision, or a status where there is none, in words."""
    return ANSWERS[decision or "failed"]


def words_of(found: Findings | StudyFindings) -> Mapping[str, str]:
    """Return what pages and reports say of an answer.

    Args:
        found: Findings of a scan or a study.

    Returns:
        `probability`, `borders`, `why` it is referred, what it was `measured` on and what would
        `change` it; empty where there is nothing to say.
    """
    probability, _ = scale_in_figures(found)
    why = why_referred(found)
    return {
        "probability": probability,
        "prevalence": prevalence_in_words(found),
        "borders": borders_in_words(found),
        "why": why[:1].upper() + why[1:],
        "measured": measured_on(found),
        "change": what_would_change_it(found),
    }


def study_words(answer: StudyFindings | None) -> Mapping[str, str]:
    """Return what is said of a study's answer, with `warnings`; empty words where there is none."""
    if answer is None:
        return defaultdict(str)
    return {**words_of(answer), "warnings": "; ".join(warning.text for warning in answer.warnings)}


def weight_rows(
    answer: StudyFindings | None, series: Sequence[SeriesView]
) -> list[tuple[str, str, str, str]]:
    """Return the series that weigh in a study's answer: name, sequence, share and evidence."""
    weighed = answer.weighed if answer else ()
    names = {view.finding.scan: view.name for view in series}
    return [
        (names.get(weight.scan, weight.scan), weight.sequence, *weight_in_words(weight))
        for weight in weighed
        if len(weighed) > 1
    ]


def incomplete_in_words(found: Findings | StudyFindings | None) -> str:
    """Return what did not come of a scan or study, as a sentence; else empty."""
    words = incomplete_message(found.incomplete) if found else ""
    return words[:1].upper() + words[1:]


def series_views(study: Study) -> list[SeriesView]:
    """Return the series of a study, in their order."""
    return [SeriesView(study, number) for number in range(len(study.findings))]
