"""Find stacks that are only a share of their series: others of it lie between or beyond theirs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from meninx._scan.completeness import Incomplete
from meninx._scan.frame import Frame
from meninx._scan.geometry import Float64Array
from meninx._scan.planes import PLANE_DEGREES
from meninx._scan.series_parts import WEIGHTING, levels, normal_of
from meninx._scan.slice_stack import POSITION_TOLERANCE_MM, is_even
from meninx._scan.warning import ScanWarning

# Positions nearer than this share of a gap are one: echoes may round theirs differently.
_SAME_PLACE = 0.1
# A stack with so large a share of the positions lacks single slices, which are said by a warning.
_WHOLE_SHARE = 0.9
# Slices whose gap is at most this multiple of SliceThickness leave no room for others. They are
# coarser than others from this ratio of gaps on.
_TOUCHING, _COARSER = 1.1, 1.5
# Planes tilted by less than this are the same anatomical plane, degrees. Parts in such planes are
# shares of one head if none covers this share of the depth of all.
_SAME_PLANE_DEGREES, _TILTED_SHARE = 45.0, 0.65
# Scanners round the cosines of each slice separately.
_SAME_COSINES = 1e-2


@dataclass(frozen=True)
class Share:
    """What a stack lacks of its series.

    Args:
        incomplete: Count of the slices that the series has elsewhere.
        warnings: Where other slices of the series are, if that proves no loss.
    """

    incomplete: tuple[Incomplete, ...] = ()
    warnings: tuple[ScanWarning, ...] = ()


def shares_of(parts: Sequence[list[Frame]]) -> list[Share]:
    """Return what the parts of one series lack of it.

    Echoes and time points lie in the same places, and parts of other planes are volumes of their
    own. But a part of which the places of the others, in parallel planes, are a continuation is
    only a share of a head: the other slices have another matrix, orientation or contrast. So is a
    part that is continued by slices in tilted planes. A part of thicker slices that lie side by
    side is none: a reformatted volume.

    Args:
        parts: Frames of each part, as `parts_of` returns them.

    Returns:
        One share per part; empty for whole and excluded parts.
    """
    shares = [Share()] * len(parts)
    for numbers in _parallel(parts):
        normal = normal_of(parts[numbers[0]][0])
        if len(numbers) < 2 or normal is None:
            continue
        heights = [_heights(parts[number], normal) for number in numbers]
        tolerance = _tolerance(heights)
        union = _distinct(np.concatenate(heights), tolerance)
        for number, own in zip(numbers, heights, strict=True):
            places = _distinct(own, tolerance)
            if len(places) < len(union):
                others = [parts[other][0] for other in numbers if other != number]
                differences = _differences(parts[number][0], others)
                resampled = _is_resampled(parts[number], places, union)
                shares[number] = _share(places, union, differences, resampled=resampled)
    for number, part in enumerate(parts):
        if not shares[number].incomplete:
            shares[number] = _beside_tilted(part, parts) or shares[number]
    unplaced = [frame for part in parts for frame in part if not frame.is_placed]
    for number, part in enumerate(parts):
        if part[0].is_placed and not part[0].exclusion and not shares[number].incomplete:
            count = sum(frame.shape == part[0].shape for frame in unplaced if not frame.exclusion)
            shares[number] = _beside_unplaced(count, len(part)) or shares[number]
    return shares


def _beside_tilted(part: list[Frame], parts: Sequence[list[Frame]]) -> Share | None:
    """Return what a part lacks if tilted slices of its series continue it; None if they do not."""
    normal = normal_of(part[0])
    tilted = [other for other in parts if normal is not None and _is_tilted(other, normal)]
    if not tilted or normal is None or not _is_usable(part):
        return None
    together = [part, *tilted]
    heights = [_heights(frames, normal) for frames in together]
    tolerance = _tolerance(heights)
    # Where cosines alone were changed, the corners of all slices are still an even stack.
    corners = [
        np.sort(np.array([frame.position for frame in frames]) @ normal) for frames in together
    ]
    if is_even(_distinct(np.concatenate(corners), tolerance)) and _covers_most(heights):
        heights = corners
    if _covers_most(heights):
        return None
    own, others = _distinct(heights[0], tolerance), np.concatenate(heights[1:])
    margin = float(np.median(np.diff(own))) / 2 if len(own) > 1 else tolerance
    is_beyond = (others < own[0] - margin) | (others > own[-1] + margin)
    count = len(own) + len(_distinct(others[is_beyond], tolerance))
    differences = _differences(part[0], [other[0] for other in tilted])
    what = f"slices of the series (the others differ in {differences})"
    return Share(incomplete=(Incomplete(what, count, len(own)),))


def _covers_most(heights: Sequence[Float64Array]) -> bool:
    """Return whether a part covers most of the depth of all, given the heights of its slices."""
    depths = [float(np.ptp(own)) for own in heights]
    return max(depths) >= _TILTED_SHARE * float(np.ptp(np.concatenate(heights)))


def _is_tilted(part: list[Frame], normal: Float64Array) -> bool:
    """Return whether a part lies in another plane than one of this normal, but near to it."""
    own = normal_of(part[0])
    if own is None or not _is_usable(part):
        return False
    is_near = abs(own @ normal) > np.cos(np.radians(_SAME_PLANE_DEGREES))
    return bool(is_near and np.abs(own - np.sign(own @ normal) * normal).max() > _SAME_COSINES)


def _is_usable(part: list[Frame]) -> bool:
    """Return whether all slices of a part have a place, and none is excluded."""
    return all(frame.is_placed and not frame.exclusion for frame in part)


def _beside_unplaced(count: int, placed: int) -> Share | None:
    """Return what a part of so many slices lacks if others have no place; None if none do."""
    if placed < _WHOLE_SHARE * (placed + count):
        what = "slices of the series (the others have no position)"
        return Share(incomplete=(Incomplete(what, placed + count, placed),))
    if not count:
        return None
    text = f"{count} of {placed + count} slices of the series have no position and were left out"
    return Share(warnings=(ScanWarning("missing_slices", text),))


def _parallel(parts: Sequence[list[Frame]]) -> list[list[int]]:
    """Return the indices of parts in parallel planes, in any turn; excluded parts are left out."""
    normals: list[Float64Array] = []
    planes: list[list[int]] = []
    for number, part in enumerate(parts):
        normal = normal_of(part[0])
        if normal is None or not _is_usable(part):
            continue
        smallest = np.cos(np.radians(PLANE_DEGREES))
        equal = (index for index, known in enumerate(normals) if abs(known @ normal) >= smallest)
        plane = next(equal, len(normals))
        if plane == len(normals):
            normals.append(normal)
            planes.append([])
        planes[plane].append(number)
    return planes


def _heights(frames: Sequence[Frame], normal: Float64Array) -> Float64Array:
    """Return the positions of slices' centers along a normal, mm, in increasing order.

    Corners of slices that are turned against each other, by a degree or by half a turn, lie at
    other heights than the slices.
    """
    centers = []
    for frame in frames:
        cosines = np.reshape(frame.orientation or (), (2, 3))
        # The first cosines run along a row, over its columns.
        sides = np.multiply(frame.shape, frame.pixel_spacing or (0.0, 0.0))[::-1]
        centers.append(np.array(frame.position) + sides / 2 @ cosines)
    return np.sort(np.array(centers) @ normal)


def _tolerance(heights: Sequence[Float64Array]) -> float:
    """Return the distance below which two slices of parts share a place, mm."""
    gaps = (float(np.median(np.diff(own))) for own in heights if len(own) > 1)
    return max(POSITION_TOLERANCE_MM, _SAME_PLACE * min(gaps, default=0.0))


def _distinct(heights: Float64Array, tolerance: float) -> Float64Array:
    """Return the first of positions that lie nearer to each other than the tolerance, mm."""
    ordered = np.sort(heights)
    return ordered[np.diff(ordered, prepend=-np.inf) > tolerance]


def _is_resampled(frames: Sequence[Frame], own: Float64Array, union: Float64Array) -> bool:
    """Return whether thick slices lie side by side between finer ones, as reformatted slices do."""
    gaps = np.diff(own)
    is_dense = 0 < gaps.max(initial=0.0) <= _TOUCHING * (frames[0].thickness or 0.0)
    return is_dense and bool(np.median(gaps) >= _COARSER * np.median(np.diff(union)))


def _share(own: Float64Array, union: Float64Array, differences: str, *, resampled: bool) -> Share:
    """Return what a part at these positions lacks of all positions of its series."""
    if is_even(union) and not resampled:
        if len(own) < _WHOLE_SHARE * len(union):
            what = f"slices of the series (the others differ in {differences})"
            return Share(incomplete=(Incomplete(what, len(union), len(own)),))
        text = (
            f"{len(union) - len(own)} of {len(union)} slices of the series differ in "
            f"{differences} and were left out"
        )
        return Share(warnings=(ScanWarning("missing_slices", text),))
    margin = float(np.median(np.diff(own)) if resampled else np.median(np.diff(union)) / 2)
    if union[0] < own[0] - margin or union[-1] > own[-1] + margin:
        text = (
            "the series also has slices that lie beyond these and differ in "
            f"{differences}; they are not part of this scan"
        )
        return Share(warnings=(ScanWarning("part_of_head", text),))
    return Share()


def _differences(frame: Frame, others: Sequence[Frame]) -> str:
    """Return the names of the attributes in which slices of other parts differ from a slice."""
    cosines = np.array([other.orientation for other in others])
    turn = np.abs(cosines - np.array(frame.orientation)).max()
    differing = {
        "Rows or Columns": any(other.shape != frame.shape for other in others),
        "PixelSpacing": any(other.pixel_spacing != frame.pixel_spacing for other in others),
        "ImageOrientationPatient": turn > _SAME_COSINES,
        "ImageType, time point or stack": any(other.contrast != frame.contrast for other in others),
    }
    for index, name in enumerate(WEIGHTING):
        values = {other.weighting[index] for other in others} | {frame.weighting[index]}
        differing[name] = len(set(levels(values).values())) > 1
    names = [name for name, is_different in differing.items() if is_different]
    return " and ".join(names) or "the time of acquisition"
