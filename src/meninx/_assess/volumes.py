"""Compare the findings of volumes with segmentation masks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from meninx._assess.metrics import auroc
from meninx._detect.findings import Findings, SliceFinding
from meninx._detect.head_slices import brain_areas
from meninx._render.heatmap import heatmap_of
from meninx._scan.scan import Scan

# Slices with less brain than this share of the fullest one are left out.
_MIN_BRAIN_SHARE = 0.5
# Slices with a tumor that covers less than this share are left out: their label is doubtful.
MIN_TUMOR = 0.0008
# Smallest probability at which a pixel of the heat map counts as marked.
_MARKED = 0.5

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class VolumeResult:
    """Comparison of one volume's findings with its mask; n slices count.

    Args:
        name: Name of the scan.
        tumor: Whether each slice shows tumor, shape (n,).
        score: Probability of a tumor in each slice, 0..1, shape (n,).
        baseline: Score of each slice from its position and brightness alone, shape (n,).
        peak_inside: Whether the hottest voxel lies in the mask, for each slice with tumor.
        tumor_share: Share of the head that the tumor covers in each slice, 0..1, shape (n,).
        under_heat: Share of the tumor's volume that the heat map marks, 0..1; NaN without a tumor.
    """

    name: str
    tumor: NDArray[np.bool_]
    score: NDArray[np.float64]
    baseline: NDArray[np.float64]
    peak_inside: NDArray[np.bool_]
    tumor_share: NDArray[np.float64]
    under_heat: float = float("nan")


def measure_findings(findings: Findings, scan: Scan, mask: NDArray[np.bool_]) -> VolumeResult:
    """Compare the findings of a volume with its mask.

    Args:
        findings: Findings of the volume, with the cells of its slices.
        scan: The volume.
        mask: Segmentation mask of the tumor, in the shape of the scan's voxels.

    Returns:
        Comparison over the slices with at least half as much brain as the fullest one, in order.
        Slices that the tumor covers by less than 0.08 % are left out.
    """
    axis = scan.view.slice_axis
    in_plane = tuple({0, 1, 2} - {axis})
    brain = brain_areas(scan)
    covered = mask.mean(axis=in_plane)
    found = {finding.index: finding for finding in findings.slices}
    indices = [index for index in counted_slices(scan, mask) if index in found]
    tumor = covered[indices] > 0
    means = scan.voxels.mean(axis=in_plane)
    under = sum(
        _tumor_under_heat(finding, scan.view.cut(mask, finding.index))
        for finding in findings.slices
        if covered[finding.index] > 0
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
                for index, has_tumor in zip(indices, tumor, strict=True)
                if has_tumor
            ]
        ),
        tumor_share=mask.sum(axis=in_plane)[indices] / np.maximum(brain[indices], 1),
        under_heat=under / max(int(mask.sum()), 1) if mask.any() else float("nan"),
    )


def counted_slices(scan: Scan, mask: NDArray[np.bool_]) -> list[int]:
    """Return the indices of the slices of a volume that count in figures of slices.

    Args:
        scan: The volume.
        mask: Segmentation mask of the tumor, in the shape of the scan's voxels.

    Returns:
        Ascending indices of the slices with at least half as much brain as the fullest one, without
        those that the tumor covers by less than 0.08 %.
    """
    brain = brain_areas(scan)
    covered = mask.mean(axis=tuple({0, 1, 2} - {scan.view.slice_axis}))
    counted = (brain >= _MIN_BRAIN_SHARE * brain.max()) & ((covered == 0) | (covered >= MIN_TUMOR))
    return np.flatnonzero(counted).tolist()


def _tumor_under_heat(finding: SliceFinding, mask: NDArray[np.bool_]) -> int:
    """Return how many tumor pixels of a slice the heat map marks."""
    heat = heatmap_of(finding.cells, finding.placement, (mask.shape[0], mask.shape[1]))
    return int(np.count_nonzero(mask & (heat >= _MARKED)))


def heat_share(results: Sequence[VolumeResult]) -> float:
    """Return the share of the tumor's volume that the heat map marks, mean over patients."""
    return float(np.nanmean([result.under_heat for result in results]))


def pooled_auroc(results: Sequence[VolumeResult], column: str = "score") -> float:
    """Return the AUROC over the slices of all volumes together.

    Args:
        results: Results of the volumes.
        column: Score to measure: `score` or `baseline`.

    Returns:
        AUROC 0..1; NaN where all slices are of one class.
    """
    return auroc(
        np.concatenate([result.tumor for result in results]),
        np.concatenate([getattr(result, column) for result in results]),
    )


def within_auroc(results: Sequence[VolumeResult], column: str = "score") -> float:
    """Return the AUROC among the slices of a patient, mean over patients.

    Args:
        results: Results of the volumes, one a patient; a volume whose slices are all of one class
            does not count.
        column: Score to measure: `score` or `baseline`.

    Returns:
        AUROC 0..1; NaN where no volume counts.
    """
    own = [auroc(result.tumor, getattr(result, column)) for result in results]
    return float(np.nanmean(own))


def peak_share(results: Sequence[VolumeResult]) -> float:
    """Return the share of tumor slices whose hottest voxel lies in the tumor."""
    return float(np.concatenate([result.peak_inside for result in results]).mean())


def bootstrap_interval(
    results: Sequence[Result],
    figure: Callable[[Sequence[Result]], float],
    cluster: NDArray[np.intp] | None = None,
    draws: int = 500,
    seed: int = 0,
) -> tuple[float, float]:
    """Return a 95 % percentile interval of a figure, patients drawn with replacement.

    Slices and volumes of one patient are correlated, so patients are resampled (Efron and
    Tibshirani 1993).

    Args:
        results: Results of n volumes.
        figure: Function that computes the figure from results.
        cluster: Patient of each volume, shape (n,); None if no two are of one.
        draws: Number of bootstrap samples.
        seed: Seed of the draws.

    Returns:
        Lower and upper end.
    """
    rng = np.random.default_rng(seed)
    _, member = np.unique(
        np.arange(len(results)) if cluster is None else cluster, return_inverse=True
    )
    patients = [np.flatnonzero(member == patient) for patient in range(member.max() + 1)]
    figures = []
    for _ in range(draws):
        drawn = rng.integers(len(patients), size=len(patients))
        figures.append(figure([results[place] for patient in drawn for place in patients[patient]]))
    low, high = np.nanpercentile(figures, (2.5, 97.5))
    return float(low), float(high)
