"""Check a heat map: occluding its peak must lower the score."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meninx._detect.detector import Detector
from meninx._detect.findings import Findings
from meninx._detect.head_slices import brain_slices
from meninx._detect.neighbors import OWN_CHANNEL
from meninx._detect.preprocessing import FloatImage
from meninx._scan.scan import Scan

# A map is shown if the heat of its peak exceeds the median by this much ...
MIN_CONTRAST = 0.15
# ... and if the slice's logit falls by this much when the peak is occluded by the surrounding
# tissue or by the other side of the head; a single fill may itself look like a lesion to the
# network.
_MIN_DROP = 0.5
# Occluded are the cells connected to the peak with at least this share of its heat, at most this
# share of all cells.
FILLED_LEVEL, MAX_FILLED = 0.5, 0.35
# Occludes marked cells of an input of shape (3, s, s).
Fill = Callable[[FloatImage, NDArray[np.bool_]], FloatImage]


@dataclass(frozen=True)
class HeatmapCheck:
    """The measurements that decide whether a heat map is shown.

    Args:
        contrast: Heat of the hottest cell minus that of the median cell, 0..1.
        drop: Decrease of the slice's logit when the peak is occluded, the larger of both fills.
    """

    contrast: float
    drop: float

    @property
    def passed(self) -> bool:
        """Whether the map may be shown."""
        return self.failure is None

    @property
    def failure(self) -> str | None:
        """Why the map may not be shown, in words; None if it may."""
        if self.contrast < MIN_CONTRAST:
            return "no place stands out"
        if self.drop < _MIN_DROP:
            return f"occluding its peak lowers the logit by under {_MIN_DROP:g}"
        return None


def check_heatmap(detector: Detector, scan: Scan, findings: Findings) -> HeatmapCheck:
    """Check the heat map of a scan's hottest slice, by a second inference.

    Args:
        detector: Detector that scored the scan.
        scan: The scored scan.
        findings: Findings of the scan, with the cells of its hottest slice.

    Returns:
        The measurements.

    Raises:
        ValueError: If no slice was scored.

    References:
        Samek et al. 2017, Evaluating the visualization of what a deep neural network has learned.
    """
    hottest = findings.hottest
    if hottest is None:
        raise ValueError(f"{findings.scan}: nothing was scored, so there is no heat map")
    # All scored slices: the findings may have been reduced to the hottest slice.
    slices = brain_slices(scan)
    place = next(n for n, scan_slice in enumerate(slices) if scan_slice.index == hottest.index)
    (unit,), _ = detector.input_stack(scan, slices, [place])
    # The logit of a volume is averaged over depth; that of a picture is the slice's own.
    before = None if scan.is_volume else findings.logit
    # The other side of the head is not visible in sagittal slices.
    fills = (filled_in,) if scan.view.plane == "sagittal" else (filled_in, mirrored_in)
    return check_cells(hottest.cells, unit, detector.slice_logits, before, fills)


def check_cells(
    cells: NDArray[np.float32],
    unit: FloatImage,
    logits_of: Callable[[FloatImage], FloatImage],
    before: float | None = None,
    fills: Sequence[Fill] | None = None,
) -> HeatmapCheck:
    """Check the heat map of one slice.

    Args:
        cells: Heat of each cell, 0..1, shape (m, n).
        unit: The network's input, scaled to 0..1: the slice and its neighbors, shape (3, s, s).
        logits_of: Function that returns the logits, shape (b,), of inputs of shape (b, 3, s, s).
        before: Logit of `unit`; None to compute it.
        fills: Ways to occlude the peak, at least one; None for `filled_in` and `mirrored_in`.

    Returns:
        The measurements.
    """
    place = hot_place(cells)
    changed = [fill(unit, place) for fill in fills or (filled_in, mirrored_in)]
    original = [] if before is not None else [unit]
    logits = list(map(float, logits_of(np.stack([*original, *changed]))))
    if before is None:
        before = logits.pop(0)
    drop = before - min(logits)
    return HeatmapCheck(
        contrast=float(cells.max() - np.median(cells)), drop=drop if math.isfinite(drop) else 0.0
    )


def hot_place(cells: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the cells connected to the hottest cell that are at least half as hot.

    Args:
        cells: Heat of each cell, 0..1, shape (m, n).

    Returns:
        Mask of connected cells, at most 35 % of the map, shape (m, n), bool.
    """
    warm = cells >= FILLED_LEVEL * cells.max()
    place = np.zeros(cells.shape, dtype=np.bool_)
    place[np.unravel_index(int(cells.argmax()), cells.shape)] = True
    while True:
        grown = warm & (place | _beside(place))
        if (grown == place).all() or grown.mean() > MAX_FILLED:
            return place
        place = grown


def _beside(place: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the cells that share a side with marked ones."""
    padded = np.pad(place, 1)
    return np.asarray(
        padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:], dtype=np.bool_
    )


def filled_in(unit: FloatImage, place: NDArray[np.bool_]) -> FloatImage:
    """Return an input with marked cells filled with the mean of the surrounding tissue.

    Args:
        unit: A slice and its neighbors, scaled to 0..1, shape (3, s, s).
        place: Mask of cells, shape (m, n), bool.

    Returns:
        The changed input, shape (3, s, s); the neighbors are filled too.
    """
    own = unit[OWN_CHANNEL]
    size = (own.shape[1], own.shape[0])
    alpha = _enlarged(place, size)
    near = _beside(place) & ~place
    ring = np.asarray(Image.fromarray(near).resize(size, Image.Resampling.NEAREST)) > 0
    tissue = own[ring & (own > 0.05)]
    level = float(tissue.mean()) if tissue.size else float(own.mean())
    return np.asarray(unit * (1 - alpha) + np.float32(level) * alpha, dtype=np.float32)


def mirrored_in(unit: FloatImage, place: NDArray[np.bool_]) -> FloatImage:
    """Return an input with marked cells replaced by the other side of the head.

    Args:
        unit: A slice and its neighbors, cropped to the head and scaled to 0..1, shape (3, s, s).
        place: Mask of cells, shape (m, n), bool.

    Returns:
        The changed input, shape (3, s, s). Cells across the midline are replaced by each other.
    """
    alpha = _enlarged(place, (unit.shape[2], unit.shape[1]))
    return np.asarray(unit * (1 - alpha) + unit[:, :, ::-1] * alpha, dtype=np.float32)


def _enlarged(place: NDArray[np.bool_], size: tuple[int, int]) -> FloatImage:
    """Return a mask of cells enlarged to weights of pixels, 0..1; `size` is width and height."""
    mask = Image.fromarray(place.astype(np.float32))
    return np.asarray(mask.resize(size, Image.Resampling.BILINEAR))
