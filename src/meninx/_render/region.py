"""The region under a heat map: which voxels, on which side of the head, how large."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from meninx._scan.background import foreground
from meninx._scan.scan import Scan

Side = Literal["left", "right", "midline"]
# The region reaches to half of the scan's hottest place, as the contour of `meninx explain` does.
SHARE_OF_PEAK = 0.5
# Islands are separated on a grid of at most this many blocks along an axis: finer than the
# detector's own cells, of which a head has no more than 28.
MAX_CELLS = 64
# A region with at least this share of its voxels on one side of the midline lies on that side.
MOSTLY = 0.8
# A newborn's head is about 90 mm wide: in a scan that shows less the midline is not known.
MIN_HEAD_MM = 90
# Noise around the head and an ear are no part of its width.
HEAD_PERCENTILES = (1, 99)


def region_of(heat: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the region under a heat map.

    Args:
        heat: Heat map, per cent, 0..100, shape of the scan's voxels.

    Returns:
        Mask of the voxels that reach half of the highest value, shape of the heat map.
    """
    return np.asarray(heat >= max(1, SHARE_OF_PEAK * int(heat.max())))


@dataclass(frozen=True)
class Region:
    """The place around the hottest voxel of a heat map; no contour of a tumor.

    Args:
        side: The patient's side; None where the scan shows less than a head's width, or its
            geometry was estimated.
        extent_mm: Extent from left to right, from front to back and from feet to head, mm; None
            where the geometry was estimated.
        slices: Index of the first and of the last slice that show it, from 0.
        others: Number of other places that reach half of the peak.
    """

    side: Side | None
    extent_mm: tuple[int, int, int] | None
    slices: tuple[int, int]
    others: int

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the region that `as_json` gave."""
        first, last = stored["slices"]
        extent = stored["extent_mm"] and tuple(stored["extent_mm"])
        return cls(stored["side"], extent, (first, last), stored["others"])

    def as_json(self) -> Mapping[str, Any]:
        """Return the region as plain values."""
        return {
            "side": self.side,
            "extent_mm": self.extent_mm and list(self.extent_mm),
            "slices": list(self.slices),
            "others": self.others,
        }


def describe_region(scan: Scan, heat: NDArray[np.uint8]) -> Region | None:
    """Return side and size of the hottest place of a heat map.

    Args:
        scan: The scored scan.
        heat: Heat map of the scan, per cent, 0..100, shape of its voxels.

    Returns:
        The region; None without geometry or heat.
    """
    if scan.affine is None or not heat.any():
        return None
    region = region_of(heat)
    peak = np.unravel_index(int(heat.argmax()), heat.shape)
    island, others = _island(region, peak)
    voxels = np.argwhere(island)
    along = voxels[:, scan.view.slice_axis]
    slices = (int(along.min()), int(along.max()))
    if scan.geometry_estimated:
        return Region(None, None, slices, others)
    points = voxels @ scan.affine[:3, :3].T + scan.affine[:3, 3]
    # A voxel reaches half of itself beyond its center, at both ends.
    extent = np.ptp(points, axis=0) + np.abs(scan.affine[:3, :3]).max(axis=1)
    left_right, front_back, feet_head = np.rint(extent).astype(int).tolist()
    side = side_of(points[:, 0], midline_of(scan))
    return Region(side, (left_right, front_back, feet_head), slices, others)


def midline_of(scan: Scan) -> float | None:
    """Return where the middle of the head lies between left and right.

    Args:
        scan: A scan of the head.

    Returns:
        LPS x, mm, halfway between the head's sides; None without a geometry that can be believed,
        or where the scan shows less than a head's width.
    """
    if scan.affine is None or scan.geometry_estimated:
        return None
    steps = _steps(scan.voxels.shape)
    head = np.argwhere(_coarse(foreground(scan.voxels), steps)) * steps
    places = head @ scan.affine[0, :3] + scan.affine[0, 3]
    first, last = np.percentile(places, HEAD_PERCENTILES)
    return float(first + last) / 2 if last - first >= MIN_HEAD_MM else None


def side_of(x: NDArray[np.float64], midline: float | None) -> Side | None:
    """Return on which side of the midline places lie.

    Args:
        x: LPS x of the places, mm.
        midline: LPS x of the middle of the head, mm; None where it is not known.

    Returns:
        The patient's side that holds most of them, or `midline`; None where that is not known.
    """
    if midline is None:
        return None
    share = float((x > midline).mean())
    if share >= MOSTLY:
        return "left"
    return "right" if share <= 1 - MOSTLY else "midline"


def _steps(shape: tuple[int, ...]) -> NDArray[np.intp]:
    return np.maximum(1, -(-np.array(shape, dtype=np.intp) // MAX_CELLS), dtype=np.intp)


def _coarse(mask: NDArray[np.bool_], steps: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which blocks of a mask contain a voxel of it."""
    for axis, step in enumerate(steps):
        mask = np.logical_or.reduceat(mask, np.arange(0, mask.shape[axis], step), axis=axis)
    return mask


def _island(region: NDArray[np.bool_], seed: tuple[np.intp, ...]) -> tuple[NDArray[np.bool_], int]:
    """Return the part of a region that contains a voxel, and the number of its other parts.

    Parts are separated on blocks of voxels: those less than a block apart count as one.
    """
    steps = _steps(region.shape)
    left = _coarse(region, steps)
    start = tuple(int(at) // int(step) for at, step in zip(seed, steps, strict=True))
    blocks = _flood(left, start)
    left &= ~blocks
    others = 0
    while left.any():
        left &= ~_flood(left, tuple(np.argwhere(left)[0]))
        others += 1
    for axis, (step, size) in enumerate(zip(steps, region.shape, strict=True)):
        blocks = np.repeat(blocks, step, axis=axis).take(np.arange(size), axis=axis)
    return region & blocks, others


def _flood(mask: NDArray[np.bool_], start: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the cells of a mask that are connected to one of them over faces."""
    reached = np.zeros_like(mask)
    reached[start] = True
    count = 0
    while count != (count := int(reached.sum())):
        grown = reached.copy()
        for axis in range(mask.ndim):
            ahead, behind = (np.moveaxis(one, axis, 0) for one in (grown, reached))
            ahead[1:] |= behind[:-1]
            ahead[:-1] |= behind[1:]
        reached = grown & mask
    return reached
