"""What pages and reports show of each series of a study."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from meninx.detect.answer_words import (
    ANSWERS,
    borders_in_words,
    measured_on,
    prevalence_in_words,
    scale_in_figures,
    weight_in_words,
    what_would_change_it,
    why_referred,
)
from meninx.detect.calibration import PREVALENCE, Borders, Reference
from meninx.detect.findings import Findings, SeriesWeight, StudyFindings
from meninx.labels import TUMOR_TYPES
from meninx.render.region import side_of
from meninx.scan.completeness import Incomplete, incomplete_message
from meninx.scan.warning import ScanWarning
from meninx.web.database import Study

DISPLAY = {one.name: one.display for one in TUMOR_TYPES}
SIDES = {"left": "left side", "right": "right side", "midline": "across the midline"}
DIRECTIONS = ("left to right", "front to back", "feet to head")


@dataclass(frozen=True)
class SeriesView:
    """One series of a study, in the words of pages and reports.

    Args:
        study: Study that it belongs to.
        number: Index in the study, from 0.
    """

    study: Study
    number: int

    @property
    def finding(self) -> Mapping[str, Any]:
        """Its stored finding: the public JSON with what the viewer needs."""
        return cast("Mapping[str, Any]", self.study.findings[self.number])

    @property
    def viewer(self) -> Mapping[str, Any]:
        """What the viewer needs; empty where no image could be read."""
        return self.finding.get("viewer") or {}

    @property
    def thumb(self) -> str:
        """Name of a small picture of it; empty where there is none."""
        return str(self.viewer.get("thumb") or self.finding.get("preview") or "")

    @property
    def name(self) -> str:
        """How the series is called: its description, its file's name, or its place in the study."""
        identity = self.finding.get("series") or {}
        return str(identity.get("description") or identity.get("file") or self.finding["scan"])

    @property
    def sequence(self) -> str:
        """Its MR sequence in words."""
        sequence = self.finding.get("sequence", "unknown")
        return "unknown sequence" if sequence == "unknown" else str(sequence)

    @property
    def slices(self) -> int:
        """Number of its slices; 0 where no image could be read."""
        return int(self.viewer["shape"][self.viewer["slice_axis"]]) if self.viewer else 0

    @property
    def gap(self) -> str:
        """Distance between its slices in words; empty where it is not known."""
        spacing = self.viewer.get("spacing_mm")
        if not spacing or self.slices < 2:
            return ""
        return f"{spacing[self.viewer['slice_axis']]:.1f} mm from slice to slice"

    @property
    def facts(self) -> str:
        """Sequence, plane and number of slices, as far as they are known."""
        words = [self.sequence]
        if self.viewer.get("plane"):
            words.append(self.viewer["plane"])
        if self.slices:
            words.append(f"{self.slices} slice{'s' if self.slices > 1 else ''}")
        return ", ".join(words)

    @property
    def answer(self) -> str:
        """The answer in words, or the status where there is no answer."""
        return answer_in_words(self.finding["decision"] or self.finding["status"])

    @property
    def incomplete(self) -> str:
        """What did not come of it, in words; empty where nothing is known to be missing."""
        return incomplete_in_words(self.finding)

    @property
    def types(self) -> Mapping[str, float]:
        """Probability of each tumor type by its display name, where types were measured."""
        shown = self.finding.get("types") or {}
        return {DISPLAY.get(name, name): share for name, share in shown.items()}

    @property
    def words(self) -> Mapping[str, str]:
        """What is said of its answer; see `words_of`."""
        return words_of(stored_findings(self.finding))

    @property
    def hottest(self) -> str:
        """The hottest slice, as a sentence; empty where none was scored."""
        slices = self.finding.get("slices") or []
        if not slices or self.slices < 2:
            return ""
        index = max(slices, key=lambda one: one["probability"])["index"]
        return f"Hottest: {self.slices_in_words(index, index)}. "

    @property
    def place(self) -> str:
        """Side and size of the hottest place in words; empty where nothing is claimed."""
        region = self.viewer.get("region")
        if not region or self.finding["decision"] not in ("tumor", "refer"):
            return ""
        words = [SIDES.get(region["side"], "side not known")]
        words.append(_size(region["extent_mm"]) if region["extent_mm"] else "size not known")
        words.append(self.slices_in_words(*region["slices"]))
        if region["others"]:
            count = region["others"]
            words.append(f"{count} other place{'s' if count > 1 else ''}")
        return "; ".join(words)

    def slices_in_words(self, first: int, last: int) -> str:
        """Return a run of slices as people count them, from 1."""
        where = f"slice {first + 1}" if first == last else f"slices {first + 1} to {last + 1}"
        return f"{where} of {self.slices}"

    def box_in_words(self, box: Mapping[str, Sequence[int]]) -> str:
        """Return side, size and slices of a marked box.

        Args:
            box: Corners `from` and `to`, voxel indices [i, j, k] of this series, both inside the
                box.

        Returns:
            Side, size in mm and slices, as far as they are known.
        """
        first, last = np.minimum(box["from"], box["to"]), np.maximum(box["from"], box["to"])
        axis = self.viewer.get("slice_axis", 2)
        words = [self.slices_in_words(int(first[axis]), int(last[axis]))]
        if self.viewer.get("affine") and self.viewer.get("spacing_mm"):
            affine = np.array(self.viewer["affine"])
            corners = np.stack([first, last])
            choices = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1]), axis=-1).reshape(-1, 3)
            points = np.take_along_axis(corners, choices, axis=0) @ affine[:3, :3].T + affine[:3, 3]
            side = side_of(points[:, 0], self.viewer.get("midline_mm"))
            extent = (np.array(last) - first + 1) * self.viewer["spacing_mm"]
            across = " x ".join(f"{extent[one]:.0f}" for one in range(3) if one != axis)
            words = [SIDES.get(side or "", "side not known"), f"{across} mm", *words]
        return "; ".join(words)


def _size(extent_mm: Sequence[int]) -> str:
    sizes = ", ".join(
        f"{size} mm {direction}" for size, direction in zip(extent_mm, DIRECTIONS, strict=True)
    )
    return f"about {sizes}"


def answer_in_words(decision: str | None) -> str:
    """Return a decision, or a status where there is none, in words."""
    return ANSWERS[decision or "failed"]


def stored_findings(stored: Mapping[str, Any]) -> Findings:
    """Return a stored finding of a scan, without its slices."""
    return Findings(
        scan=stored["scan"],
        sequence=stored.get("sequence", "unknown"),
        types=stored.get("types") or {},
        warnings=tuple(ScanWarning(**warning) for warning in stored.get("warnings") or ()),
        is_volume=bool(stored.get("viewer")) and _is_volume(stored["viewer"]),
        **_answer_of(stored),
    )


def stored_study(stored: Mapping[str, Any]) -> StudyFindings:
    """Return the stored answer about a study."""
    weights = stored.get("weights") or ()
    return StudyFindings(
        study=stored.get("study", ""),
        series=tuple(stored["series"]),
        weighed=tuple(SeriesWeight(**weight) for weight in weights),
        **_answer_of(stored),
    )


def _is_volume(viewer: Mapping[str, Any]) -> bool:
    return bool(viewer["shape"][viewer["slice_axis"]] > 1)


def _answer_of(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return what findings of scans and studies have in common, from their public JSON."""
    borders, reference = stored.get("borders"), stored.get("reference")
    same = ("status", "reason", "message", "decision", "probability", "coverage")
    return {name: stored.get(name) for name in same} | {
        "borders": None if borders is None else Borders(**borders),
        "reference": None if reference is None else Reference(**reference),
        "p_values": stored.get("p_values") or {},
        "prevalence": stored.get("prevalence") or PREVALENCE,
        "incomplete": tuple(Incomplete(**count) for count in stored.get("incomplete") or ()),
    }


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
        "prevalence": prevalence_in_words(found.prevalence) if probability else "",
        "borders": borders_in_words(found),
        "why": why[:1].upper() + why[1:],
        "measured": measured_on(found),
        "change": what_would_change_it(found),
    }


def study_words(study: Study) -> Mapping[str, str]:
    """Return what is said of a study's answer; empty words where there is none."""
    return words_of(stored_study(study.answer)) if study.answer else defaultdict(str)


def weight_rows(study: Study, series: Sequence[SeriesView]) -> list[tuple[str, str, str, str]]:
    """Return the series that weigh in a study's answer: name, sequence, share and evidence."""
    weighed = stored_study(study.answer).weighed if study.answer else ()
    names = {view.finding["scan"]: view.name for view in series}
    return [
        (names.get(weight.scan, weight.scan), weight.sequence, *weight_in_words(weight))
        for weight in weighed
        if len(weighed) > 1
    ]


def incomplete_in_words(answer: Mapping[str, Any] | None) -> str:
    """Return what did not come of a stored finding's scan or study, as a sentence; else empty."""
    counts = (answer or {}).get("incomplete") or ()
    words = incomplete_message(tuple(Incomplete(**count) for count in counts))
    return words[:1].upper() + words[1:]


def series_views(study: Study) -> list[SeriesView]:
    """Return the series of a study, in their order."""
    return [SeriesView(study, number) for number in range(len(study.findings))]
