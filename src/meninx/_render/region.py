"""Describe the region of a heat map's peak: its side of the head and its size."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from meninx._scan.intensity import foreground
from meninx._scan.scan import Scan

Side = Literal["left", "right", "midline"]
# The region reaches to half of the peak, like the contour of `meninx explain`.
_SHARE_OF_PEAK = 0.5
# Connected parts are found on a grid of at most this many blocks along an axis, finer than the
# detector's cells (at most 28 across a head).
_MAX_CELLS = 64
# A region with at least this share of its voxels on one side of the midline lies on that side.
_MOSTLY = 0.8
# Width of a newborn's head; in scans that show less, the midline is unknown.
MIN_HEAD_MM = 90
# Percentiles of the head's width that exclude noise and ears.
_HEAD_PERCENTILES = (1, 99)


def region_of(heat: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the mask of the region of a heat map.

    Args:
        heat: Heat map, percent, 0..100, shape of the scan's voxels.

    Returns:
        Mask of voxels with at least half of the highest value, shape of the heat map.
    """
    return np.asarray(heat >= max(1, _SHARE_OF_PEAK * int(heat.max())))


@dataclass(frozen=True)
class Region:
    """The region around the hottest voxel of a heat map, which is no contour of a tumor.

    Args:
        side: The patient's side; None if the scan shows less than a head's width, or its geometry
            was estimated.
        extent_mm: Extent from left to right, from front to back and from feet to head, mm; None if
            the geometry was estimated.
        slices: Index of the first and the last slice that show it, from 0.
        others: Number of other regions that reach half of the peak.
    """

    side: Side | None
    extent_mm: tuple[int, int, int] | None
    slices: tuple[int, int]
    others: int

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return a region from JSON: the inverse of `as_json`."""
        first, last = stored["slices"]
        extent = stored["extent_mm"] and tuple(stored["extent_mm"])
        return cls(stored["side"], extent, (first, last), stored["others"])

    def as_json(self) -> Mapping[str, Any]:
        """Return the region as JSON."""
        return {
            "side": self.side,
            "extent_mm": self.extent_mm and list(self.extent_mm),
            "slices": list(self.slices),
            "others": self.others,
        }


def describe_region(scan: Scan, heat: NDArray[np.uint8]) -> Region | None:
    """Return side and size of the region around the peak of a heat map.

    Args:
        scan: The scored scan.
        heat: Heat map of the scan, percent, 0..100, shape of its voxels.

    Returns:
        The region; None without geometry or heat.
    """
    if scan.affine is None or not heat.any():
        return None
    region = region_of(heat)
    peak = np.unravel_index(int(heat.argmax()), heat.shape)
    island, others = _island(region, peak)
    voxels = np.argwhere(island)
    indices = voxels[:, scan.view.slice_axis]
    slices = (int(indices.min()), int(indices.max()))
    if scan.geometry_estimated:
        return Region(None, None, slices, others)
    points = voxels @ scan.affine[:3, :3].T + scan.affine[:3, 3]
    # Voxels extend by half their size beyond their centers, at both ends.
    extent = np.ptp(points, axis=0) + np.abs(scan.affine[:3, :3]).max(axis=1)
    left_right, front_back, feet_head = np.rint(extent).astype(int).tolist()
    side = side_of(points[:, 0], midline_of(scan))
    return Region(side, (left_right, front_back, feet_head), slices, others)


def midline_of(scan: Scan) -> float | None:
    """Return the position of the head's midline.

    Args:
        scan: A scan of the head.

    Returns:
        LPS x, mm, halfway between the head's sides; None without a plausible geometry, or if the
        scan shows less than a head's width.
    """
    if scan.affine is None or scan.geometry_estimated:
        return None
    steps = _steps(scan.voxels.shape)
    head = np.argwhere(_coarse(foreground(scan.voxels), steps)) * steps
    places = head @ scan.affine[0, :3] + scan.affine[0, 3]
    first, last = np.percentile(places, _HEAD_PERCENTILES)
    return float(first + last) / 2 if last - first >= MIN_HEAD_MM else None


def side_of(x: NDArray[np.float64], midline: float | None) -> Side | None:
    """Return on which side of the midline points lie.

    Args:
        x: LPS x of the points, mm.
        midline: LPS x of the midline, mm; None if unknown.

    Returns:
        The patient's side of most points, or `midline`; None if the midline is unknown.
    """
    if midline is None:
        return None
    share = float((x > midline).mean())
    if share >= _MOSTLY:
        return "left"
    return "right" if share <= 1 - _MOSTLY else "midline"


def _steps(shape: tuple[int, ...]) -> NDArray[np.intp]:
    return np.maximum(1, -(-np.array(shape, dtype=np.intp) // _MAX_CELLS), dtype=np.intp)


def _coarse(mask: NDArray[np.bool_], steps: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return the blocks of voxels that contain a voxel of a mask."""
    for axis, step in enumerate(steps):
        mask = np.logical_or.reduceat(mask, np.arange(0, mask.shape[axis], step), axis=axis)
    return mask


def _island(region: NDArray[np.bool_], seed: tuple[np.intp, ...]) -> tuple[NDArray[np.bool_], int]:
    """Return the connected part of a region at a voxel, and the number of other parts.

    Connectivity is found on blocks of voxels: parts less than a block apart are joined.
    """
    steps = _steps(region.shape)
    remaining = _coarse(region, steps)
    start = tuple(int(index) // int(step) for index, step in zip(seed, steps, strict=True))
    blocks = _flood(remaining, start)
    remaining &= ~blocks
    others = 0
    while remaining.any():
        remaining &= ~_flood(remaining, tuple(np.argwhere(remaining)[0]))
        others += 1
    for axis, (step, size) in enumerate(zip(steps, region.shape, strict=True)):
        blocks = np.repeat(blocks, step, axis=axis).take(np.arange(size), axis=axis)
    return region & blocks, others


def _flood(mask: NDArray[np.bool_], start: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the cells of a mask that are connected to a start cell over faces."""
    reached = np.zeros_like(mask)
    reached[start] = True
    count = 0
    while count != (count := int(reached.sum())):
        grown = reached.copy()
        for axis in range(mask.ndim):
            target, source = np.moveaxis(grown, axis, 0), np.moveaxis(reached, axis, 0)
            target[1:] |= source[:-1]
            target[:-1] |= source[1:]
        reached = grown & mask
    return reached
