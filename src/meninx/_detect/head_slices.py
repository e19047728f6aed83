"""Choose the slices of a scan that show enough of the head to be scored."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from meninx._detect.preprocessing import sampled
from meninx._detect.recognition import is_oriented
from meninx._scan.intensity import air_level, intensity_range
from meninx._scan.scan import Scan, Slice
from meninx._scan.warning import ScanWarning

# Slices with less foreground than this share of the maximum show the crown or the neck.
_MIN_HEAD_SHARE = 0.25
# Slices that cover less than this are not a whole head, mm. Without crown and neck, the smallest of
# 65 whole tumor-free heads covers 94 mm, slabs up to 58 mm.
_MIN_COVERED_MM = 80.0
# Sides of the patient towards smaller and larger LPS coordinates.
_SIDES = (
    ("on the right", "on the left"),
    ("in front", "behind"),
    ("below", "above"),
)
# A volume ends within the head if its outermost section shows this share of the largest one. Of 313
# real ones, 312 show at most 0.17 at the four sides, the other has no left half; at the crown, at
# most 0.53 unless it is a slab. Along the slices the second share counts at all sides: usual
# sagittal and coronal series begin and end in the outermost brain, at shares up to 0.5.
_CUT_ASIDE, _CUT_ALONG = 0.3, 0.6
# Noise fills the corners of a section; a head does not fill all four. Side of a corner, as a share.
_NOISE_SHARE, _CORNER = 0.2, 8
# Step between rows and columns of the compared sections.
_THINNED = 2


def brain_slices(scan: Scan) -> list[Slice]:
    """Return the slices of a scan that show enough of the head to be scored.

    Args:
        scan: A volume or a picture.

    Returns:
        Neighboring slices, at least one, in the reader's order: axial ones from the feet to the
        head, in any storage order.
    """
    if len(scan) == 1:
        return [scan.slice(0)]
    shown = _brain_range(scan.view.stack(scan.voxels))
    indices = range(len(scan))[::-1] if scan.view.descending else range(len(scan))
    return [scan.slice(index) for index in indices[shown]]


def _brain_range(volume: NDArray[np.float32]) -> slice:
    """Return the range of slices that show enough of the head to be scored.

    Args:
        volume: Slices along the first axis, shape (n, ...).

    Returns:
        Neighboring slices, at least one.
    """
    areas = _head_areas(volume)
    shown = np.flatnonzero(areas >= _MIN_HEAD_SHARE * areas.max())
    return slice(int(shown[0]), int(shown[-1]) + 1)


def brain_areas(scan: Scan) -> NDArray[np.intp]:
    """Return how many pixels of each slice are brighter than air.

    The level of air is computed from the whole scan: relative to its own intensities, a slice of
    noise alone would be bright nearly everywhere.

    Args:
        scan: A volume or a picture.

    Returns:
        Number of pixels of each slice, by index, shape (n,).
    """
    areas = _head_areas(scan.view.stack(scan.voxels))
    return areas[::-1] if scan.view.descending else areas


def _head_areas(volume: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return how many pixels of each slice are brighter than air; slices have shape (n, ...)."""
    low, high = intensity_range(sampled(volume))
    level = air_level(low, high)
    return np.array([np.count_nonzero(image > level) for image in volume])


def part_of_head(scan: Scan, slices: Sequence[Slice]) -> tuple[ScanWarning, ...]:
    """Return a warning if a scan shows a part of the head only.

    Args:
        scan: A volume or a picture.
        slices: Its scored slices, in the reader's order.

    Returns:
        The warning if the slices cover little of the head, as a single one does, or if the volume
        ends within the head at another side than the neck.
    """
    depths = scan.depths_mm
    if depths is None or scan.slice_gap_mm is None:
        return ()
    covered = abs(depths[slices[-1].index] - depths[slices[0].index]) + scan.slice_gap_mm
    if covered < _MIN_COVERED_MM:
        much = "a part" if scan.geometry_estimated else f"{covered:.0f} mm"
        text = f"the slices cover {much} of the head; what lies beyond them was not looked at"
        return (ScanWarning("part_of_head", text),)
    cut = cut_sides(scan)
    if not cut:
        return ()
    text = (
        f"the head reaches beyond the scan {' and '.join(cut)}; what lies there was not looked at"
    )
    return (ScanWarning("part_of_head", text),)


def cut_sides(scan: Scan) -> list[str]:
    """Return at which sides a volume ends within the head, the neck excepted.

    Blank slices at an end are no part of the scan: some tools enlarge volumes by them.

    Args:
        scan: Volume with geometry.

    Returns:
        The sides in words. Without a known orientation, the side with the largest section counts
        as the neck, and the others have no names.
    """
    shares = _end_shares(scan)
    if not is_oriented(scan):
        others = sorted(shares.values())[:-1]
        return ["at a side"] * any(share >= _CUT_ALONG for share in others)
    along = int(np.argmax(np.abs(np.asarray(scan.affine)[:3, scan.view.slice_axis])))
    limits = {**dict.fromkeys(_SIDES[along], _CUT_ALONG), "below": 1.01, "above": _CUT_ALONG}
    return [side for side, share in shares.items() if share >= limits.get(side, _CUT_ASIDE)]


def _end_shares(scan: Scan) -> dict[str, float]:
    """Return the head area in the outermost section at each side, as a share of the largest."""
    low, high = intensity_range(scan.voxels)
    level = air_level(low, high)
    affine = np.asarray(scan.affine)
    shares: dict[str, float] = {}
    for axis in range(3):
        sections = np.moveaxis(scan.voxels, axis, 0)[:, ::_THINNED, ::_THINNED]
        shown = np.flatnonzero(np.ptp(sections, axis=(1, 2)))
        bright = sections > level
        areas = np.count_nonzero(bright, axis=(1, 2))
        if not areas.any():
            continue
        towards = int(np.argmax(np.abs(affine[:3, axis])))
        ends = [
            0.0 if _is_noise(bright[index]) else areas[index] / areas.max()
            for index in shown[[0, -1]]
        ]
        names = _SIDES[towards][:: 1 if affine[towards, axis] > 0 else -1]
        shares |= dict(zip(names, map(float, ends), strict=True))
    return shares


def _is_noise(bright: NDArray[np.bool_]) -> bool:
    """Return whether the bright pixels of a section, shape (h, w), fill all four corners too."""
    high, wide = (max(1, side // _CORNER) for side in bright.shape)
    corners = (
        bright[rows, columns].mean()
        for rows in (slice(high), slice(-high, None))
        for columns in (slice(wide), slice(-wide, None))
    )
    return bool(min(corners) >= _NOISE_SHARE)
