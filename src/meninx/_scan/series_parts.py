"""Split the frames of one series into parts of one matrix, orientation, contrast and time."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from itertools import groupby, pairwise

import numpy as np

from meninx._errors import GeometryError
from meninx._scan.frame import Frame
from meninx._scan.geometry import COSINE_TOLERANCE, Float64Array, plane_normal
from meninx._scan.slice_stack import POSITION_TOLERANCE_MM, is_even

# Echo times, inversion times and b-values of one image, written slice by slice, differ in their
# last digit; those of two echoes or inversions by milliseconds.
TIME_JITTER_MS, TIME_JITTER = 0.1, 0.001
# Echo times, inversion times or b-values of one stack are two contrasts from this ratio on.
_CONTRAST_RATIO = 1.05
# Attributes in `Frame.weighting`, in their order.
WEIGHTING = ("EchoTime", "InversionTime", "DiffusionBValue")
# Pixel spacings are decimal strings, rounded for each slice; relative difference.
_PIXEL_SPACING_JITTER = 0.001


def parts_of(frames: list[Frame]) -> list[list[Frame]]:
    """Split the frames of one series, each part into a stack of its own, in a fixed order."""
    groups: dict[tuple[Hashable, ...], list[Frame]] = defaultdict(list)
    directions: list[Float64Array] = []
    weightings = weighting_levels(frames)
    for frame in frames:
        reason = frame.exclusion.reason if frame.exclusion else ""
        spacing = tuple(round(value, 3) for value in frame.pixel_spacing or ())
        key: tuple[Hashable, ...] = (
            reason,
            frame.shape,
            spacing,
            _direction(frame, directions),
            frame.contrast,
            *(found.get(value) for found, value in zip(weightings, frame.weighting, strict=True)),
        )
        groups[key].append(frame)
    parts: list[list[Frame]] = []
    for group in _joined([groups[key] for key in sorted(groups, key=repr)], directions):
        parts += _by_acquisition(group) if coinciding(group) else [group]
    return parts


def coinciding(frames: Iterable[Frame]) -> list[list[Frame]]:
    """Return the frames that share a position with others: copies, echoes or time points.

    Args:
        frames: Frames of one orientation; those without a position are ignored.

    Returns:
        Lists of two or more frames, one per position.
    """
    placed = [frame for frame in frames if frame.is_placed]
    normal = normal_of(placed[0]) if len(placed) > 1 else None
    if normal is None:
        return []
    heights = np.array([frame.position for frame in placed]) @ normal
    order = np.argsort(heights, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(heights[order]) > POSITION_TOLERANCE_MM) + 1)
    return [[placed[index] for index in part] for part in parts if len(part) > 1]


def normal_of(frame: Frame) -> Float64Array | None:
    """Return the normal of a frame's plane; None if its cosines make none, as `placed` reports."""
    try:
        return plane_normal(frame.orientation or ())
    except GeometryError:
        return None


def are_alike(groups: list[list[Frame]]) -> bool:
    """Return whether all frames of groups have a place, and one shape, pixel and orientation."""
    frames = [frame for group in groups for frame in group]
    if not all(frame.is_placed and frame.pixel_spacing for frame in frames):
        return False
    if normal_of(frames[0]) is None:
        return False
    sides = np.array([frame.pixel_spacing for frame in frames])
    directions: list[Float64Array] = []
    shapes = {(frame.shape, _direction(frame, directions)) for frame in frames}
    return len(shapes) == 1 and bool(
        np.ptp(sides, axis=0).max() <= _PIXEL_SPACING_JITTER * sides.max()
    )


def are_even(frames: list[Frame]) -> bool:
    """Return whether frames of one orientation lie at different places with even gaps."""
    normal = plane_normal(frames[0].orientation or ())
    return is_even(np.sort(np.array([frame.position for frame in frames]) @ normal))


def _joined(groups: list[list[Frame]], directions: list[Float64Array]) -> list[list[Frame]]:
    """Join groups of one weighting that only together are one stack, by their positions.

    Args:
        groups: Frames of one series, by contrast.
        directions: Distinct orientations so far.

    Returns:
        The groups; those whose slices lie between each other, or one group above the other, are
        joined.
    """
    by_direction: dict[tuple[Hashable, ...], list[list[Frame]]] = defaultdict(list)
    for group in groups:
        first = group[0]
        reason = first.exclusion.reason if first.exclusion else ""
        by_direction[reason, first.shape, _direction(first, directions)].append(group)
    joined: list[list[Frame]] = []
    for similar in by_direction.values():
        together = len(similar) > 1 and _are_one_stack(similar)
        joined += [[frame for group in similar for frame in group]] if together else similar
    return joined


def _are_one_stack(groups: list[list[Frame]]) -> bool:
    """Return whether groups of one orientation are only together an evenly spaced stack."""
    if not are_alike(groups):
        return False
    # Two echo or inversion times are two contrasts, wherever their slices lie.
    frames = [frame for group in groups for frame in group]
    for number in range(len(WEIGHTING)):
        values = [value for frame in frames if (value := frame.weighting[number]) is not None]
        if values and max(values) > _CONTRAST_RATIO * min(values):
            return False
    return are_even(frames)


def contrast_slabs(frames: Sequence[Frame]) -> list[tuple[Hashable, ...]]:
    """Return the contrasts of slabs, one above the other, that make up a stack.

    Args:
        frames: Frames of one stack, in slice order.

    Returns:
        A contrast for each slab; empty if slices of one lie between those of another, as where
        values alternate from slice to slice.
    """
    slabs = [contrast for contrast, _ in groupby(frame.contrast for frame in frames)]
    return slabs if len(slabs) == len(set(slabs)) else []


def weighting_levels(frames: Iterable[Frame]) -> list[dict[float | None, int]]:
    """Return the levels of the echo times, inversion times and b-values of frames."""
    return [levels(values) for values in zip(*(frame.weighting for frame in frames), strict=True)]


def levels(values: Iterable[float | None]) -> dict[float | None, int]:
    """Return the level of each value, from 0; values that differ only by jitter share a level."""
    found: dict[float | None, int] = {}
    last, level = None, 0
    for value in sorted({value for value in values if value is not None}):
        if last is not None and value - last > max(TIME_JITTER_MS, TIME_JITTER * value):
            level += 1
        found[value] = level
        last = value
    return found


def _direction(frame: Frame, directions: list[Float64Array]) -> int:
    """Return the index of a frame's orientation in `directions`, appending a new orientation."""
    if frame.orientation is None:
        return -1
    cosines = np.array(frame.orientation)
    for index, direction in enumerate(directions):
        # Scanners round the cosines of each slice separately.
        if np.abs(cosines - direction).max() < 10 * COSINE_TOLERANCE:
            return index
    directions.append(cosines)
    return len(directions) - 1


def _by_acquisition(frames: list[Frame]) -> list[list[Frame]]:
    """Split coinciding frames by acquisition number or time, if that separates them.

    A time point may be acquired in several packages of slices, each with a number of its own; so
    parts that each have all places come first.
    """
    places = len(frames) - sum(len(place) - 1 for place in coinciding(frames))
    apart: list[list[Frame]] = []
    for number in range(len(frames[0].moments)):
        parts = _by_moment(frames, number)
        if len(parts) > 1 and not any(coinciding(part) for part in parts):
            if all(len(part) == places for part in parts):
                return parts
            apart = apart or parts
    return _by_rank(frames) or apart or [frames]


def _by_moment(frames: list[Frame], number: int) -> list[list[Frame]]:
    """Split frames by the moment of this index, in its order; one part if it is unusable."""
    parts: dict[float | str | None, list[Frame]] = defaultdict(list)
    for frame in frames:
        parts[frame.moments[number]].append(frame)
    # Times are unusable if one is missing, or if nearly every slice has its own.
    if number > 0 and (len(parts) > len(frames) / 2 or None in parts):
        return [frames]
    return [parts[moment] for moment in sorted(parts, key=_in_order)]


def _in_order(moment: float | str | None) -> tuple[bool, float, str]:
    number = moment if isinstance(moment, float | int) else 0.0
    return moment is not None, float(number), str(moment)


def _by_rank(frames: list[Frame]) -> list[list[Frame]]:
    """Split frames by their rank in time at each position, for slices with individual times.

    Args:
        frames: Frames of one series, some of which coincide.

    Returns:
        One list per time point. Empty if a time is missing, positions have different numbers of
        frames, or time points overlap.
    """
    if any(frame.moments[1] is None for frame in frames):
        return []
    places = [sorted(part, key=lambda frame: str(frame.moments[1])) for part in coinciding(frames)]
    counts = {len(place) for place in places}
    if len(counts) != 1 or counts.pop() * len(places) != len(frames):
        return []
    points = [list(point) for point in zip(*places, strict=True)]
    return points if _follow_in_time(points) else []


def _follow_in_time(points: list[list[Frame]]) -> bool:
    """Return whether each time point ends before the next begins."""
    spans = [sorted(str(frame.moments[1]) for frame in point) for point in points]
    return all(earlier[-1] < later[0] for earlier, later in pairwise(spans))
