"""Find the hot regions of a heat map: their sides of the head, sizes and places."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from meninx._detect.findings import Findings
from meninx._scan.intensity import foreground
from meninx._scan.scan import Scan

Side = Literal["left", "right", "midline"]
Voxel = tuple[int, int, int]
Point = tuple[float, float, float]
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
    """A hot region of a heat map, which is no contour of a tumor.

    Args:
        side: The patient's side; None if the scan shows less than a head's width, or has no
            geometry that can be believed.
        extent_mm: Extent from left to right, from front to back and from feet to head, mm; None
            without such a geometry.
        slices: Index of the first and the last slice that show it, from 0.
        peak: Hottest voxel [i, j, k].
        point_mm: Place of the peak in the patient, LPS mm; None without such a geometry.
        box: First and last voxel of the smallest box around it.
        score: Highest heat in it, 0..1, which is no probability.
    """

    side: Side | None
    extent_mm: Voxel | None
    slices: tuple[int, int]
    peak: Voxel
    point_mm: Point | None
    box: tuple[Voxel, Voxel]
    score: float

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return a region from JSON: the inverse of `as_json`."""
        extent, point = stored["extent_mm"], stored["point_mm"]
        return cls(
            side=stored["side"],
            extent_mm=None if extent is None else _voxel(extent),
            slices=(stored["slices"][0], stored["slices"][1]),
            peak=_voxel(stored["peak"]),
            point_mm=None if point is None else (point[0], point[1], point[2]),
            box=(_voxel(stored["box"]["from"]), _voxel(stored["box"]["to"])),
            score=stored["score"],
        )

    def as_json(self) -> dict[str, Any]:
        """Return the region as JSON."""
        first, last = self.box
        return {
            "side": self.side,
            "extent_mm": self.extent_mm and list(self.extent_mm),
            "slices": list(self.slices),
            "peak": list(self.peak),
            "point_mm": self.point_mm and list(self.point_mm),
            "box": {"from": list(first), "to": list(last)},
            "score": self.score,
        }


@dataclass(frozen=True, eq=False)
class Island:
    """The voxels of a region.

    Args:
        first: First voxel [i, j, k] of `mask` in the scan.
        mask: The region's voxels inside its blocks, shape of those.
        peak: Its hottest voxel in the scan.
    """

    first: Voxel
    mask: NDArray[np.bool_]
    peak: Voxel

    @property
    def voxels(self) -> NDArray[np.intp]:
        """Indices of its voxels in the scan, shape (n, 3)."""
        found: NDArray[np.intp] = np.argwhere(self.mask) + np.array(self.first)
        return found


def _voxel(indices: Iterable[int]) -> Voxel:
    i, j, k = (int(index) for index in indices)
    return i, j, k


def suspected_regions(findings: Findings, regions: Sequence[Region]) -> dict[int, Region]:
    """Return the hot regions that a reader is asked about, by their numbers.

    None where the answer is that nothing is there, and none whose slices are each below the border
    of *no tumor*: heat, on one scale for all scans, is found there in tumor-free heads, too.

    Args:
        findings: Findings of the scan.
        regions: All regions of its heat map, the hottest first.

    Returns:
        The regions, the hottest first, by their position among all regions, from 1.
    """
    if findings.decision not in ("tumor", "refer"):
        return {}
    below = findings.borders.no_tumor_below if findings.borders else 0.0
    scored = {found.index: found.probability for found in findings.slices}

    def is_suspected(region: Region) -> bool:
        first, last = region.slices
        own = [scored[index] for index in range(first, last + 1) if index in scored]
        return not own or max(own) >= below

    return {number: region for number, region in enumerate(regions, 1) if is_suspected(region)}


def regions_of(scan: Scan, heat: NDArray[np.uint8]) -> tuple[Region, ...]:
    """Return the connected regions of a heat map from half of its peak on, with side and size.

    Args:
        scan: The scored scan, a volume or a picture.
        heat: Heat map of the scan, percent, 0..100, shape of its voxels.

    Returns:
        The regions, the hottest first; none without heat.
    """
    midline = midline_of(scan)
    return tuple(_describe(scan, heat, island, midline) for island in islands_of(heat))


def _describe(scan: Scan, heat: NDArray[np.uint8], island: Island, midline: float | None) -> Region:
    """Return side, size and place of one region."""
    voxels = island.voxels
    first, last = voxels.min(axis=0), voxels.max(axis=0)
    axis = scan.view.slice_axis
    side, extent, point = None, None, None
    if scan.affine is not None and not scan.geometry_estimated:
        points = voxels @ scan.affine[:3, :3].T + scan.affine[:3, 3]
        # Voxels extend by half their size beyond their centers, at both ends.
        size = np.ptp(points, axis=0) + np.abs(scan.affine[:3, :3]).max(axis=1)
        side, extent = side_of(points[:, 0], midline), _voxel(np.rint(size))
        x, y, z = np.round(scan.affine[:3, :3] @ island.peak + scan.affine[:3, 3], 1).tolist()
        point = (x, y, z)
    return Region(
        side=side,
        extent_mm=extent,
        slices=(int(first[axis]), int(last[axis])),
        peak=island.peak,
        point_mm=point,
        box=(_voxel(first), _voxel(last)),
        score=int(heat[island.peak]) / 100,
    )


def islands_of(heat: NDArray[np.uint8]) -> Iterator[Island]:
    """Yield the connected parts of a heat map's region, the hottest first.

    Connectivity is found on blocks of voxels: parts less than a block apart are joined.

    Args:
        heat: Heat map, percent, 0..100, shape of the scan's voxels.

    Yields:
        The parts; none without heat.
    """
    region, steps = region_of(heat), _steps(heat.shape)
    remaining = _coarse(region, steps)
    while remaining.any():
        hot = _hottest(heat, remaining, steps)
        blocks = _flood(remaining, _voxel(np.array(hot) // steps))
        remaining &= ~blocks
        inside = np.argwhere(blocks)
        low, high = inside.min(axis=0), inside.max(axis=0) + 1
        block = blocks[tuple(slice(*ends) for ends in zip(low, high, strict=True))]
        first = low * steps
        part = region[tuple(slice(*ends) for ends in zip(first, high * steps, strict=True))]
        for axis, (step, size) in enumerate(zip(steps, part.shape, strict=True)):
            block = np.repeat(block, step, axis=axis).take(np.arange(size), axis=axis)
        yield Island(_voxel(first), part & block, hot)


def _hottest(heat: NDArray[np.uint8], blocks: NDArray[np.bool_], steps: NDArray[np.intp]) -> Voxel:
    """Return the hottest voxel in some blocks."""
    peaks = heat
    for axis, step in enumerate(steps):
        peaks = np.maximum.reduceat(peaks, np.arange(0, peaks.shape[axis], step), axis=axis)
    hottest = np.unravel_index(int(np.where(blocks, peaks, 0).argmax()), blocks.shape)
    first = np.array(hottest) * steps
    part = heat[tuple(slice(low, low + step) for low, step in zip(first, steps, strict=True))]
    return _voxel(first + np.array(np.unravel_index(int(part.argmax()), part.shape)))


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
