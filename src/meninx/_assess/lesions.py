"""Measure heat maps of volumes as segmentations: Dice, and each lesion marked or not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from meninx._detect.findings import Findings, SliceFinding
from meninx._detect.preprocessing import Preprocessing
from meninx._render.heatmap import heat_volume
from meninx._scan.scan import Scan

# Heat from which on a voxel is marked: points of a FROC curve. Dice is that of the middle one.
THRESHOLDS = (0.3, 0.5, 0.7)
_MIDDLE = THRESHOLDS.index(0.5)
# Strata of lesions by volume, ml: names, and the smallest volume of each.
STRATA = {"under 1 ml": 0.0, "1 to 10 ml": 1.0, "over 10 ml": 10.0}
_HALF = 0.5
_TOUCHING = np.ones((3, 3, 3), dtype=bool)
Marks = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class LesionResult:
    """A volume's heat map against its mask; l lesions, t thresholds.

    Args:
        dice: Dice of mask and voxels marked at 0.5, 0..1; NaN without a tumor.
        bound: Largest Dice that whole cells could have, 0..1; NaN without a tumor.
        sizes_ml: Volume of each lesion, ml, shape (l,); NaN where the voxel size is estimated.
        marked: Whether any voxel of each lesion is marked at each threshold, shape (t, l).
        false_marks: Number of marked places that touch no lesion, at each threshold, shape (t,).
    """

    dice: float
    bound: float
    sizes_ml: NDArray[np.float64]
    marked: Marks
    false_marks: NDArray[np.intp]


def measure_lesions(findings: Findings, scan: Scan, mask: Marks) -> LesionResult:
    """Compare the heat map of a volume with its mask, lesion by lesion.

    Args:
        findings: Findings of the volume, with the cells of its slices.
        scan: The volume.
        mask: Segmentation mask of the tumor, in the shape of the scan's voxels. Its connected
            parts are the lesions.

    Returns:
        The comparison.
    """
    lesions, count = ndimage.label(mask, _TOUCHING)
    heat = heat_volume(scan, findings)
    marked = [heat >= round(100 * threshold) for threshold in THRESHOLDS]
    hit = [np.isin(np.arange(1, count + 1), lesions[marks]) for marks in marked]
    spacing = scan.spacing_mm
    unknown = spacing is None or scan.geometry_estimated
    voxel_ml = float("nan") if unknown else float(np.prod(spacing or ())) / 1000
    voxels = np.bincount(lesions.ravel(), minlength=count + 1)[1:].astype(np.float64)
    return LesionResult(
        dice=_dice(marked[_MIDDLE], mask),
        bound=_bound(findings.slices, scan, mask),
        sizes_ml=voxels * voxel_ml,
        marked=np.array(hit, dtype=bool).reshape(len(THRESHOLDS), count),
        false_marks=np.array([_without(marks, mask) for marks in marked], dtype=np.intp),
    )


def _dice(first: Marks, second: Marks) -> float:
    """Return the Dice coefficient; NaN where the second is empty."""
    if not second.any():
        return float("nan")
    return 2 * float((first & second).sum()) / float(first.sum() + second.sum())


def _without(marks: Marks, mask: Marks) -> int:
    """Return the number of connected marked places that touch no tumor."""
    places, count = ndimage.label(marks, _TOUCHING)
    return count - len(set(np.unique(places[mask])) - {0})


def _bound(slices: Sequence[SliceFinding], scan: Scan, mask: Marks) -> float:
    """Return the Dice of the cells that the tumor covers by half, on the network's input."""
    both, cells_marked, pixels = 0, 0, 0
    for finding in slices:
        if finding.placement is None:
            return float("nan")
        own = scan.view.cut(mask, finding.index).astype(np.float32)
        size, side = finding.placement.input_size, len(finding.cells)
        tumor = Preprocessing(size=size).resample(own, finding.placement) >= _HALF
        stride = size // side
        covered = tumor.reshape(side, stride, side, stride).mean(axis=(1, 3))
        chosen = np.kron(covered >= _HALF, np.ones((stride, stride))).astype(bool)
        both += int((chosen & tumor).sum())
        cells_marked += int(chosen.sum())
        pixels += int(tumor.sum())
    return 2 * both / (cells_marked + pixels) if pixels else float("nan")


def lesion_measures(
    results: Sequence[LesionResult],
) -> dict[str, Callable[[Sequence[LesionResult]], float]]:
    """Return the figures that some volumes have, as functions of volumes drawn.

    Args:
        results: Results of all volumes.

    Returns:
        Functions by name: Dice and its bound, lesions marked at each threshold with the false
        marks beside (FROC), and the lesions of each stratum that some volume has.
    """

    def mean(name: str) -> Callable[[Sequence[LesionResult]], float]:
        return lambda drawn: _mean(np.array([getattr(result, name) for result in drawn]))

    def found(place: int, low: float, high: float) -> Callable[[Sequence[LesionResult]], float]:
        def share(drawn: Sequence[LesionResult]) -> float:
            parts = [result.marked[place][_within(result, low, high)] for result in drawn]
            return _mean(np.concatenate(parts).astype(np.float64))

        return share

    def false(place: int) -> Callable[[Sequence[LesionResult]], float]:
        return lambda drawn: float(np.mean([result.false_marks[place] for result in drawn]))

    measures = {
        "Dice of voxels with a heat of 0.5 and more": mean("dice"),
        "Dice, upper bound of whole cells": mean("bound"),
    }
    for place, threshold in enumerate(THRESHOLDS):
        measures[f"lesions marked, heat of {threshold:g}"] = found(place, -np.inf, np.inf)
        measures[f"false marks a volume, heat of {threshold:g}"] = false(place)
    limits = [*STRATA.values(), np.inf]
    for (name, low), high in zip(STRATA.items(), limits[1:], strict=True):
        measures[f"lesions marked, {name}"] = found(_MIDDLE, low, high)
    return {name: measure for name, measure in measures.items() if np.isfinite(measure(results))}


def _within(result: LesionResult, low: float, high: float) -> Marks:
    """Return which lesions belong to a stratum; those of unknown size to that of all alone."""
    if low == -np.inf:
        return np.ones(len(result.sizes_ml), dtype=bool)
    return np.asarray((result.sizes_ml >= low) & (result.sizes_ml < high))


def _mean(values: NDArray[np.float64]) -> float:
    """Return the mean of the finite values; NaN where there are none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
