"""Measure heat maps of volumes as segmentations: Dice, and each lesion marked or not."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from meninx._detect.findings import Findings, SliceFinding
from meninx._detect.preprocessing import Preprocessing
from meninx._render.heatmap import heat_volume
from meninx._scan.scan import Scan

# Heats in percent from which on a voxel is marked: points of a FROC curve.
PERCENTS = np.arange(95, 0, -5)
_HALF = 0.5
_TOUCHING = np.ones((3, 3, 3), dtype=bool)
Marks = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class LesionResult:
    """A volume's heat map against its mask; l lesions, t thresholds.

    Args:
        dice: Dice of mask and voxels with a heat of 0.5 and more, 0..1; NaN without a tumor.
        bound: Largest Dice that whole cells could have, 0..1; NaN without a tumor.
        sizes_ml: Volume of each lesion, ml, shape (l,); NaN where the voxel size is estimated.
        marked: Whether any voxel of each lesion is marked at each of `PERCENTS`, shape (t, l).
        false_marks: Number of connected marked places that touch no lesion, shape (t,).
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
    hottest = np.atleast_1d(ndimage.maximum(heat, lesions, np.arange(1, count + 1)))
    spacing = scan.spacing_mm
    unknown = spacing is None or scan.geometry_estimated
    voxel_ml = float("nan") if unknown else float(np.prod(spacing or ())) / 1000
    voxels = np.bincount(lesions.ravel(), minlength=count + 1)[1:].astype(np.float64)
    return LesionResult(
        dice=_dice(heat >= 100 * _HALF, mask),
        bound=_bound(findings.slices, scan, mask),
        sizes_ml=voxels * voxel_ml,
        marked=hottest[None, :] >= PERCENTS[:, None],
        false_marks=_false_marks(heat, mask),
    )


def _dice(first: Marks, second: Marks) -> float:
    """Return the Dice coefficient; NaN where the second is empty."""
    if not second.any():
        return float("nan")
    return 2 * float((first & second).sum()) / float(first.sum() + second.sum())


def _false_marks(heat: NDArray[np.uint8], mask: Marks) -> NDArray[np.intp]:
    """Return how many connected marked places touch no tumor, at each heat, shape (t,)."""
    counts = np.zeros(len(PERCENTS), dtype=np.intp)
    warm = heat >= PERCENTS.min()
    if not warm.any():
        return counts
    (box,) = ndimage.find_objects(warm, max_label=1)
    # Most of a volume is cold: only the box around what is marked at the lowest heat is searched.
    heat, mask = heat[box], mask[box]
    for place, percent in enumerate(PERCENTS):
        places, count = ndimage.label(heat >= percent, _TOUCHING)
        counts[place] = count - len(set(np.unique(places[mask])) - {0})
    return counts


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
