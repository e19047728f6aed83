"""Count the slices whose pixels were lost: blank, blank in part, or copies of another slice.

Copies that were interrupted leave zeros, and some tools repeat a slice in place of a lost one.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from meninx._scan.background import Mask, is_mask
from meninx._scan.completeness import Incomplete
from meninx._scan.intensity import Float32Array, air_level, intensity_range
from meninx._scan.scan import Scan

# Step between rows and columns in the first test for blank slices.
_THINNED = 8
# Slices with this share of the largest head area lie inside the head.
_FULL_SHARE = 0.25
# A head does not end at a slice with this share of the largest area: 0.17 at most beside the blank
# slices of 53 real volumes, along any axis.
_ABRUPT_SHARE = 0.6
# A head is cut off between a slice of at least the second share and one of less than the first.
_EMPTY_SHARE, _CUT_SHARE = 0.05, 0.4
# Number of equal slices in a row from which all but one were lost.
_REPEATED = 4
# Rows of a slice were lost if slices below and above it show at least this share of their head in
# them, and if the head beside them is this wide, as a share of its widest row. In all real volumes,
# cut along all axes, whatever fulfills the first has a width of 0.12 at most: a head tapers.
_LOST_SHARE, _STRAIGHT_EDGE = 0.05, 0.25


def with_lost_slices_counted(scan: Scan) -> Scan:
    """Mark a volume as incomplete if slices were lost: blank in the head, or copies of another.

    A slice is also lost if only some of its rows or columns are blank, but show head in slices
    below and above it.

    Args:
        scan: A volume; blank slices before and after the head are background, unless a full slice
            is beside them at one end.

    Returns:
        The same scan if no slice was lost; else an incomplete one.
    """
    return _with_cut_counted(_with_blank_counted(_with_repeated_counted(scan)))


def _with_repeated_counted(scan: Scan) -> Scan:
    """Count the slices that repeat the one before them, unless the whole volume was so enlarged."""
    slices = np.moveaxis(scan.voxels, scan.view.slice_axis, 0)
    thinned = np.ascontiguousarray(slices[:, ::_THINNED, ::_THINNED])
    same = (thinned[1:] == thinned[:-1]).all(axis=(1, 2)) & (np.ptp(thinned, axis=(1, 2))[1:] > 0)
    same[same] = [
        np.array_equal(slices[index], slices[index + 1]) for index in np.flatnonzero(same)
    ]
    runs = np.diff(np.flatnonzero(np.concatenate(([True], ~same, [True]))))
    lost = runs[(runs >= _REPEATED) & (runs > 2 * np.median(runs))] - 1
    if not lost.size or is_mask(scan.voxels):
        return scan
    count = Incomplete("slices (others repeat one)", len(slices), len(slices) - int(lost.sum()))
    return replace(scan, incomplete=(*scan.incomplete, count))


def _with_blank_counted(scan: Scan) -> Scan:
    """Count the blank slices inside the head or beside a full slice."""
    slices = np.moveaxis(scan.voxels, scan.view.slice_axis, 0)
    thinned = np.ascontiguousarray(slices[:, ::_THINNED, ::_THINNED])
    blank = thinned.max(axis=(1, 2)) == thinned.min(axis=(1, 2))
    blank[blank] = [np.ptp(image) == 0 for image in slices[blank]]
    # Masks are blank between two lesions.
    if not blank.any() or is_mask(scan.voxels):
        return scan
    low, high = intensity_range(slices)
    areas = np.count_nonzero(slices > air_level(low, high), axis=(1, 2))
    head = np.flatnonzero(areas >= _FULL_SHARE * areas.max())
    lost = int(blank[head[0] : head[-1]].sum())
    lost += _blank_at_one_end(blank, areas / areas.max(), int(head[0]), int(head[-1]))
    if not lost:
        return scan
    count = Incomplete("slices (others are blank)", len(slices), len(slices) - lost)
    return replace(scan, incomplete=(*scan.incomplete, count))


def _blank_at_one_end(blank: Mask, shares: NDArray[np.float64], first: int, last: int) -> int:
    """Return the number of blank slices beyond the only end at which the head is cut off.

    Args:
        blank: Whether each slice is blank, shape (n,).
        shares: Head area of each slice as a share of the largest, shape (n,).
        first: First slice inside the head.
        last: Last slice inside the head.

    Returns:
        Their number; 0 if no end is cut off, or both: a tool then enlarged the volume of a slab.
    """
    before, after = slice(first - 1, None, -1) if first else slice(0), slice(last + 1, None)
    ends = ((before, first), (after, last))
    cut = [
        beyond
        for beyond, end in ends
        if (shares[beyond][:1] < _EMPTY_SHARE).any() and shares[end] >= _CUT_SHARE
    ]
    if len(cut) != 1 or not blank[cut[0]][:1].any():
        return 0
    end = first if cut[0] == before else last
    return int(blank[cut[0]].sum()) if shares[end] >= _ABRUPT_SHARE else 0


def _with_cut_counted(scan: Scan) -> Scan:
    """Count the slices in which a part of the rows or columns is blank, straight through the head.

    Only slices between others of which both show head there are counted: a tool that removes the
    face from a volume cuts off the front of all slices up to one.
    """
    slices = np.moveaxis(scan.voxels, scan.view.slice_axis, 0)
    if is_mask(scan.voxels):
        return scan
    low, high = intensity_range(slices)
    cut = np.zeros(len(slices), dtype=bool)
    for turned in (slices, slices.swapaxes(1, 2)):
        cut |= _cut_slices(turned, air_level(low, high))
    if not cut.any():
        return scan
    count = Incomplete(
        "slices (others are blank in part)", len(slices), len(slices) - int(cut.sum())
    )
    return replace(scan, incomplete=(*scan.incomplete, count))


def _cut_slices(slices: Float32Array, level: float) -> Mask:
    """Return which slices lost rows.

    Args:
        slices: Intensities, shape (n, h, w).
        level: Intensity up to which pixels are air.

    Returns:
        Mask, shape (n,).
    """
    thinned = slices[:, :, ::_THINNED]
    blank = (thinned == thinned[:, :, :1]).all(axis=2)
    if not blank.any():
        return np.zeros(len(slices), dtype=bool)
    widths = np.count_nonzero(thinned > level, axis=2)
    areas = widths.sum(axis=1)
    full = areas >= max(_FULL_SHARE * areas.max(), 1)
    shares = np.where(full[:, None], widths / np.maximum(areas, 1)[:, None], 0)
    cut = np.zeros(len(slices), dtype=bool)
    for index in np.flatnonzero(full & blank.any(axis=1)):
        edges = np.flatnonzero(blank[index, 1:] != blank[index, :-1])
        beside = np.maximum(widths[index, edges], widths[index, edges + 1])
        if (beside < _STRAIGHT_EDGE * widths[index].max()).all():
            continue
        rows = np.flatnonzero(blank[index])
        rows = rows[np.ptp(slices[index, rows], axis=1) == 0]
        there = shares[:, rows].sum(axis=1)
        sides = (there[:index].max(initial=0), there[index + 1 :].max(initial=0))
        cut[index] = min(sides) >= _LOST_SHARE
    return cut
