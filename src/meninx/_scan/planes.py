"""Find series that have few slices in each of several planes: localizers and radial series."""

from collections.abc import Sequence
from functools import cache

import numpy as np

from meninx._errors import GeometryError, UnsupportedScan
from meninx._scan.frame import Frame
from meninx._scan.geometry import Float64Array, plane_normal
from meninx._scan.slice_stack import POSITION_TOLERANCE_MM

# Normals that differ by more are two planes, degrees; less is a patient who moved.
PLANE_DEGREES = 10.0
# A plane with so many slices may be scored by itself, as of reformatted images in one series; of
# two planes, as in a series of sagittal and coronal slices, fewer are enough.
_ENOUGH_SLICES, _ENOUGH_OF_TWO = 8, 4


def few_slices_per_plane(frames: Sequence[Frame]) -> UnsupportedScan | None:
    """Return why a series in several planes is excluded; None if it is one stack, or has enough.

    Args:
        frames: All frames of one series.

    Returns:
        The refusal, if frames that are not excluded lie in two or more planes, each with few
        positions.
    """
    normals: list[Float64Array] = []
    heights: list[list[float]] = []
    normal_of = cache(plane_normal)  # most slices share one orientation
    for frame in frames:
        if frame.exclusion is not None or frame.orientation is None or frame.position is None:
            continue
        try:
            normal = normal_of(frame.orientation)
        except GeometryError:
            continue  # reported when the stack is placed
        number = _number_of_plane(normal, normals)
        if number == len(normals):
            normals.append(normal)
            heights.append([])
        heights[number].append(float(np.dot(frame.position, normals[number])))
    counts = [_count_of_positions(np.sort(places)) for places in heights]
    enough = _ENOUGH_OF_TWO if len(counts) == 2 else _ENOUGH_SLICES
    if len(counts) < 2 or max(counts) >= enough:
        return None
    return UnsupportedScan(
        f"slices in {len(counts)} planes, at most {max(counts)} in each: a localizer or a radial "
        "series, not a stack; send the series with all slices of one plane",
        reason="geometry",
    )


def _number_of_plane(normal: Float64Array, normals: Sequence[Float64Array]) -> int:
    """Return the index of the plane with this normal, up or down; their number for a new one."""
    smallest = np.cos(np.radians(PLANE_DEGREES))
    equal = (number for number, known in enumerate(normals) if abs(known @ normal) >= smallest)
    return next(equal, len(normals))


def _count_of_positions(heights: Float64Array) -> int:
    """Return the number of distinct positions among sorted heights, mm."""
    return 1 + int(np.count_nonzero(np.diff(heights) > POSITION_TOLERANCE_MM))
