"""Measure a detector on volumes whose tumors are drawn voxel by voxel."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meninx.assess.metrics import auroc
from meninx.detect.detector import Detector, brain_areas
from meninx.detect.findings import Findings, SliceFinding
from meninx.render.heatmap import heatmap_of
from meninx.scan.scan import Scan

# Slices with less brain than this share of the fullest one say little and are left out.
MIN_BRAIN = 0.5
# A slice whose tumor covers less than this share of it is neither with nor without one.
MIN_TUMOR = 0.0008
# Probability from which on a place of the heat map counts as marked.
MARKED = 0.5


@dataclass(frozen=True, eq=False)
class VolumeResult:
    """Hold what was measured on the slices of one volume; n slices count.

    Args:
        name: Of the scan.
        tumor: Whether each slice shows tumor, shape (n,).
        score: The detector's probability, shape (n,).
        baseline: A score that never looks at the brain's inside: how central the slice is, and
            how bright, shape (n,).
        peak_inside: Whether the hottest voxel lies in the mask, for each slice with tumor.
        tumor_share: Part of the head that the tumor covers in each slice, 0..1, shape (n,).
        under_heat: Share of the tumor's volume that the heat map marks; not a number without one.
    """

    name: str
    tumor: NDArray[np.bool_]
    score: NDArray[np.float64]
    baseline: NDArray[np.float64]
    peak_inside: NDArray[np.bool_]
    tumor_share: NDArray[np.float64]
    under_heat: float = float("nan")


def measure_volume(detector: Detector, scan: Scan, mask: NDArray[np.bool_]) -> VolumeResult:
    """Score a volume and compare with its mask.

    Args:
        detector: What is measured.
        scan: The volume.
        mask: Tumor, shape of the scan's voxels.

    Returns:
        As `measure_findings`.
    """
    return measure_findings(detector.score(scan), scan, mask)


def measure_findings(findings: Findings, scan: Scan, mask: NDArray[np.bool_]) -> VolumeResult:
    """Compare the findings of a volume with its mask.

    Args:
        findings: Of the volume, with the cells of its slices.
        scan: The volume.
        mask: Tumor, shape of the scan's voxels.

    Returns:
        Slices with at least half of the fullest slice's brain, in order; those of which the tumor
        covers more than nothing but less than 0.08 % are left out.
    """
    axis = scan.view.slice_axis
    others = tuple(other for other in range(3) if other != axis)
    brain = brain_areas(scan)
    covered = mask.mean(axis=others)
    counted = (brain >= MIN_BRAIN * brain.max()) & ((covered == 0) | (covered >= MIN_TUMOR))
    found = {one.index: one for one in findings.slices}
    indices = [int(index) for index in np.flatnonzero(counted) if int(index) in found]
    tumor = covered[indices] > 0
    means = scan.voxels.mean(axis=others)
    under = sum(
        _tumor_under_heat(one, scan.view.cut(mask, one.index))
        for one in findings.slices
        if covered[one.index] > 0
    )
    return VolumeResult(
        name=scan.name,
        tumor=tumor,
        score=np.array([found[index].probability for index in indices]),
        baseline=-np.abs(np.array(indices) - np.median(indices)) / len(brain)
        + 1e-3 * (means[indices] / max(float(np.abs(means).max()), 1e-9)),
        peak_inside=np.array(
            [
                bool(mask[found[index].peak])
                for index, sick in zip(indices, tumor, strict=True)
                if sick
            ]
        ),
        tumor_share=mask.sum(axis=others)[indices] / np.maximum(brain[indices], 1),
        under_heat=under / max(int(mask.sum()), 1) if mask.any() else float("nan"),
    )


def _tumor_under_heat(found: SliceFinding, mask: NDArray[np.bool_]) -> int:
    """Return how many tumor pixels of a slice the heat map marks."""
    heat = heatmap_of(found.cells, found.placement, (mask.shape[0], mask.shape[1]))
    return int(np.count_nonzero(mask & (heat >= MARKED)))


def heat_share(results: Sequence[VolumeResult]) -> float:
    """Return the share of a tumor's volume that the heat map marks, mean over patients."""
    return float(np.nanmean([result.under_heat for result in results]))


def pooled_auroc(results: Sequence[VolumeResult], column: str = "score") -> float:
    """Return the AUROC over the slices of all volumes together.

    Args:
        results: One a volume.
        column: `score` or `baseline`.

    Returns:
        0..1; not a number where no volume has both kinds of slices.
    """
    return auroc(
        np.concatenate([result.tumor for result in results]),
        np.concatenate([getattr(result, column) for result in results]),
    )


def within_auroc(results: Sequence[VolumeResult], column: str = "score") -> float:
    """Return the mean over patients of the AUROC among each one's own slices.

    Args:
        results: One a volume; a volume without both kinds of slices does not count.
        column: `score` or `baseline`.

    Returns:
        0..1; not a number where no volume has both kinds of slices.
    """
    own = [auroc(result.tumor, getattr(result, column)) for result in results]
    return float(np.nanmean(own))


def peak_share(results: Sequence[VolumeResult]) -> float:
    """Return the share of tumor slices whose hottest voxel lies in the tumor."""
    return float(np.concatenate([result.peak_inside for result in results]).mean())


def bootstrap_interval(
    results: Sequence[VolumeResult],
    figure: Callable[[Sequence[VolumeResult]], float],
    draws: int = 500,
    seed: int = 0,
) -> tuple[float, float]:
    """Return a 95 % percentile interval of a figure, patients drawn with replacement.

    Slices of one patient are alike, so they are drawn together (Efron and Tibshirani 1993).

    Args:
        results: One a patient.
        figure: Computes it from results.
        draws: Samples.
        seed: Of the draws.

    Returns:
        The interval's ends.
    """
    rng = np.random.default_rng(seed)
    figures = [
        figure([results[index] for index in rng.integers(len(results), size=len(results))])
        for _ in range(draws)
    ]
    low, high = np.nanpercentile(figures, (2.5, 97.5))
    return float(low), float(high)
