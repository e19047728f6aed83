"""Audit a data set for copies, leaks and shortcuts, which make a detector's figures too good."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meninx._assess.offline_page import embedded_image, render_page
from meninx._assess.shortcuts import CHANCE, Probe, best_probe, probe_shortcuts
from meninx._data.duplicates import DuplicateGroup
from meninx._data.facts import intensity_facts
from meninx._data.items import Item
from meninx._data.missing import check_classes
from meninx._data.progress import Progress, silent
from meninx._data.survey import Survey, survey
from meninx._data.volume_masks import read_mask, tumor_area
from meninx._detect.head_slices import brain_slices
from meninx._scan.raster import read_gray
from meninx._scan.reading import read_one

# Number of pictures of a group on the page; the JSON names all.
MAX_SHOWN = 6
# Features of each probe in words; the probe `both` has no others.
_PROBED = {
    "file": "the file's format and size",
    "intensity": "brightness",
    "position": "the position",
}
PANEL, PANEL_QUALITY = 180, 80


@dataclass(frozen=True, eq=False)
class Audit:
    """Result of an audit.

    Args:
        survey: Items of the data, their facts and duplicates.
        probes: Shortcut probes, which predict the label without the brain; empty where there is one
            class.
        across_splits: Duplicate groups whose members lie in different splits or folds.
        across_labels: Duplicate groups whose members are labeled differently.
        probed: Unit that the probes scored: `pictures` or `slices`.
    """

    survey: Survey
    probes: tuple[Probe, ...]
    across_splits: tuple[DuplicateGroup, ...]
    across_labels: tuple[DuplicateGroup, ...]
    probed: str

    def files(self, group: DuplicateGroup) -> list[str]:
        """Return the paths of a group's members, relative to the data."""
        return [self.survey.names[index] for index in group.members]

    @property
    def verdict(self) -> str:
        """Result of the shortcut probes in words; empty without probes."""
        intervals = [probe.auroc for probe in self.probes if np.isfinite(probe.auroc.low)]
        if self.probes and best_probe(self.probes) is None:
            return (
                "Whether there are shortcuts is not known: from so few cases the probes learned "
                "nothing."
            )
        if not intervals:
            return ""
        found = self._predictive_features
        if found or any(figure.low > CHANCE for figure in intervals):
            return (
                f"Shortcuts: the label can be predicted from {' or '.join(found) or 'both'} alone, "
                "without the brain. A detector may learn that instead; meninx evaluate holds it "
                "against these."
            )
        highest = max(figure.high for figure in intervals)
        remains = (
            f" An AUROC of up to {highest:.2f} without the brain remains possible."
            if highest > CHANCE
            else ""
        )
        return f"No shortcut shown: no interval lies above {CHANCE}, which is chance.{remains}"

    @property
    def _predictive_features(self) -> list[str]:
        """Features that predict the label better than chance, in words."""
        return [
            _PROBED[probe.name]
            for probe in self.probes
            if probe.auroc.low > CHANCE and probe.name in _PROBED
        ]

    @property
    def corrupt(self) -> list[tuple[str, str]]:
        """Files that can't be read, with the reason."""
        return [
            (self.survey.names[index], facts.error)
            for index, facts in enumerate(self.survey.facts)
            if facts.error is not None
        ]

    @property
    def formats(self) -> Counter[str]:
        """How many files there are of each format and mode."""
        return Counter(facts.kind for facts in self.survey.facts if facts.kind)

    @property
    def labels(self) -> Counter[str]:
        """How many items there are of each label."""
        return Counter(label_of_item(item) for item in self.survey.items)

    @property
    def redundant(self) -> dict[str, int]:
        """Number of redundant files: byte-identical to another, and all that show its slice.

        `near` counts all but one of each slice, so it includes `exact`.
        """
        groups = self.survey.duplicates.groups
        exact = sum(len(group.members) - 1 for group in groups if group.kind == "exact")
        slices = len(set(self.survey.duplicates.cluster.tolist()))
        return {"exact": exact, "near": len(self.survey.items) - slices}

    def as_json(self) -> dict[str, Any]:
        """Return the audit as the public JSON has it."""

        def as_json(group: DuplicateGroup) -> dict[str, Any]:
            score = round(group.near_duplicate_score, 4)
            return {
                "kind": group.kind,
                "files": self.files(group),
                "near_duplicate_score": score,
            }

        return {
            "items": len(self.survey.items),
            "distinct": len(set(self.survey.duplicates.cluster.tolist())),
            "labels": dict(self.labels),
            "groups": [as_json(group) for group in self.survey.duplicates.groups],
            "across_splits": [as_json(group) for group in self.across_splits],
            "across_labels": [as_json(group) for group in self.across_labels],
            "corrupt": [{"file": file, "message": message} for file, message in self.corrupt],
            "formats": dict(self.formats),
            "shortcuts": {
                probe.name: {"auroc": probe.auroc.as_json(), "cases": len(probe.probability)}
                for probe in self.probes
            },
            "notes": list(self.survey.notes),
            "probed": self.probed,
            "verdict": self.verdict,
        }


def label_of_item(item: Item) -> str:
    """Return an item's label for readers."""
    if item.tumor is None:
        return "outlined"
    return item.tumor_type or ("tumor" if item.tumor else "no tumor")


def audit(
    data: Path,
    labels: Mapping[str, str] | None = None,
    progress: Progress = silent,
    workers: int = 1,
) -> Audit:
    """Audit a data set.

    Args:
        data: A folder of class folders or volumes, or a table.
        labels: Label of each further folder name.
        progress: Called with a step, the amount done, and the total.
        workers: Number of processes that share the work.

    Returns:
        Copies, leaks and shortcuts of the data.

    Raises:
        DataError: If there are no pictures or volumes, a folder's name has no known label, or
            nothing is left of one of two classes.
    """
    found = survey(data, labels, progress, workers)
    check_classes(found.items, [facts.error for facts in found.facts])
    groups = found.duplicates.groups
    places = [item.split or str(item.fold or "") for item in found.items]
    names = [label_of_item(item) for item in found.items]

    def differing(values: list[str]) -> tuple[DuplicateGroup, ...]:
        return tuple(g for g in groups if len({values[index] for index in g.members}) > 1)

    features, tumor, cluster, probed = _cases(found, progress)
    probes: Sequence[Probe] = ()
    if len(tumor):
        probes = probe_shortcuts(
            features,
            tumor,
            cluster,
            progress=lambda done, total: progress("probing shortcuts", done, total),
        )
    return Audit(found, tuple(probes), differing(places), differing(names), probed)


def _cases(
    found: Survey, progress: Progress
) -> tuple[dict[str, list[Mapping[str, float]]], NDArray[np.bool_], NDArray[np.intp], str]:
    """Return features, label and cluster of the probed pictures, or slices of volumes with masks.

    The last value names the unit: `pictures` or `slices`.
    """
    clusters = found.clusters
    readable = [
        index
        for index, (item, facts) in enumerate(zip(found.items, found.facts, strict=True))
        if facts.signature is not None and item.tumor is not None
    ]
    if readable:
        return (
            {
                "file": [found.facts[index].file for index in readable],
                "intensity": [found.facts[index].intensity for index in readable],
            },
            np.array([bool(found.items[index].tumor) for index in readable]),
            np.array([clusters[index] for index in readable]),
            "pictures",
        )
    return _slice_cases(found, clusters, progress)


def _slice_cases(
    found: Survey, clusters: Sequence[int], progress: Progress
) -> tuple[dict[str, list[Mapping[str, float]]], NDArray[np.bool_], NDArray[np.intp], str]:
    """Return the same as `_cases`, of the slices of volumes with masks."""
    position: list[Mapping[str, float]] = []
    intensity: list[Mapping[str, float]] = []
    tumor, cluster = [], []
    with_mask = [index for index, item in enumerate(found.items) if item.mask is not None]
    for done, index in enumerate(with_mask):
        progress("reading volumes", done, len(with_mask))
        scan = read_one(found.items[index].path)
        mask = found.items[index].mask
        area = tumor_area(scan, read_mask(mask, scan)) if mask is not None else np.zeros(len(scan))
        slices = brain_slices(scan)
        for number, slice_ in enumerate(slices):
            position.append(
                {"share of the way through the brain": number / max(1, len(slices) - 1)}
            )
            intensity.append(intensity_facts(slice_.image))
            tumor.append(bool(area[slice_.index]))
            cluster.append(clusters[index])
    features = {"position": position, "intensity": intensity}
    return features, np.array(tumor, dtype=bool), np.array(cluster, dtype=np.intp), "slices"


def write_audit(result: Audit, path: Path, name: str) -> None:
    """Write an audit as one offline page that shows the copies side by side.

    Args:
        result: The audit.
        path: HTML file to write.
        name: Name of the data, as the user knows it.
    """
    panels: dict[int, str] = {}

    def panel(index: int) -> str:
        if index not in panels:
            panels[index] = _panel(result.survey.items[index].path)
        return panels[index]

    data, groups = result.survey, result.survey.duplicates.groups
    shown = [
        (
            group,
            [
                (data.names[index], label_of_item(data.items[index]), panel(index))
                for index in group.members[:MAX_SHOWN]
                if data.facts[index].signature is not None
            ],
            len(group.members),
            group in result.across_labels,
            group in result.across_splits,
        )
        for group in groups
    ]
    page = render_page("audit.html", audit=result, groups=shown, name=name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def _panel(path: Path) -> str:
    """Return a small gray picture for a page."""
    image = read_gray(path)
    low, high = np.percentile(image, (0.5, 99.5))
    gray = np.clip((image - low) / max(float(high - low), 1e-6), 0, 1) * 255
    picture = Image.fromarray(gray.astype(np.uint8))
    picture.thumbnail((PANEL, PANEL))
    return embedded_image(picture, PANEL_QUALITY)
