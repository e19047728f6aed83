"""Compare the gaps of a stack with those that its headers state: every second slice may be missing.

A stack without every second slice is even by itself; only its headers say that it was finer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from meninx._scan.completeness import Incomplete
from meninx._scan.frame import Frame
from meninx._scan.series_parts import normal_of
from meninx._scan.series_shares import Share
from meninx._scan.warning import ScanWarning

# Fewer slices have no gap that repeats.
_MIN_SLICES = 3
# Stated and measured distances that differ by less are equal: headers hold rounded numbers.
_ROUNDED_MM, _ROUNDED = 0.05, 0.02
# Below this share of SliceThickness, SpacingBetweenSlices may be the gap between slices, as some
# vendors write it; from the second on, the distance of their centers (DICOM PS3.3 C.8.3.1), which
# is below the thickness where slices overlap. Between the two it may be either.
_GAP_BELOW, _CENTERS_FROM = 0.9, 0.45
# A thinned series fills its range of instance numbers like its places, or a little more of it.
_FILLED = 1.25
# Distances are doubted from these multiples of the stated one, or of SliceThickness alone: gaps of
# half a slice are usual, and thicknesses are rounded.
_DOUBTED, _DOUBTED_THICKNESS = 1.5, 1.8


@dataclass(frozen=True)
class _Stated:
    """What headers say about the distance of slices, mm; 0 if not given.

    Args:
        spacing: SpacingBetweenSlices.
        thickness: SliceThickness.
    """

    spacing: float
    thickness: float

    @property
    def text(self) -> str:
        """The values in words."""
        names = {"SpacingBetweenSlices": self.spacing, "SliceThickness": self.thickness}
        given = [f"{name} is {value:.4g} mm" for name, value in names.items() if value]
        return " and ".join(given) or "no header states a distance"

    @property
    def distances(self) -> list[float]:
        """Distances of slice centers that SpacingBetweenSlices may mean, mm."""
        found = []
        if self.spacing >= _CENTERS_FROM * self.thickness:
            found.append(self.spacing)
        if self.spacing < _GAP_BELOW * self.thickness:
            found.append(self.spacing + self.thickness)
        return found if self.spacing else []

    def is_exceeded_by(self, gap: float, numbers: Sequence[int]) -> bool:
        """Return whether slices are too far apart, mm; if nothing is stated, by their numbers."""
        if self.spacing:
            return gap > _DOUBTED * max(*self.distances, self.thickness)
        return gap > _DOUBTED_THICKNESS * self.thickness if self.thickness else _step(numbers) > 1


def lack_between(frames: Sequence[Frame], series: Sequence[Frame]) -> Share:
    """Return whether slices are missing between all others of a stack.

    Args:
        frames: Frames of the stack, in any order.
        series: All frames of its series, among which echoes and time points share the numbers.

    Returns:
        A count where distances and instance numbers agree that the series was finer, a warning
        where only one of them says so, or where the series was coarser.
    """
    gap = _gap_mm(frames)
    if gap is None:
        return Share()
    stated = _Stated(abs(frames[0].spacing or 0.0), abs(frames[0].thickness or 0.0))
    numbers = sorted({frame.instance_number for frame in series if frame.instance_number})
    if _are_equal(gap, stated.spacing):
        # It may have been computed anew from the slices that were left.
        is_thinned = _step(numbers) > 1 and gap >= _step(numbers) * stated.thickness > 0
        return _doubt(gap, stated) if is_thinned else Share()
    every = _every(gap, stated, numbers)
    is_as_stated = any(_are_equal(gap, distance) for distance in stated.distances)
    if every == 1 and is_as_stated:
        return Share()
    if gap < min(stated.distances, default=0.0) / _DOUBTED:
        text = f"slices lie {gap:.4g} mm apart, but {stated.text}: two series may be mixed"
        return Share(warnings=(ScanWarning("headers_contradict", text),))
    if every == 1 and not stated.is_exceeded_by(gap, numbers):
        return Share()
    if every > 1 and not is_as_stated:
        what = f"slices of the series (they lie {gap:.4g} mm apart, {stated.text})"
        return Share(incomplete=(Incomplete(what, (len(frames) - 1) * every + 1, len(frames)),))
    return _doubt(gap, stated)


def has_stated_gap(frames: Sequence[Frame]) -> bool:
    """Return whether the slices of a stack lie as far apart as SpacingBetweenSlices says.

    Args:
        frames: Frames of the stack, in any order.

    Returns:
        True if no slice between them can be missing; False also where nothing is stated.
    """
    gap = _gap_mm(frames)
    return gap is not None and _are_equal(gap, abs(frames[0].spacing or 0.0))


def _doubt(gap: float, stated: _Stated) -> Share:
    """Return a warning about slices of this distance, mm."""
    text = f"slices lie {gap:.4g} mm apart, but {stated.text}: those between may be missing"
    return Share(warnings=(ScanWarning("missing_slices", text),))


def _gap_mm(frames: Sequence[Frame]) -> float | None:
    """Return the median distance of slices, mm; None for too few, or those without places."""
    normal = normal_of(frames[0])
    is_stack = all(frame.is_placed and not frame.exclusion for frame in frames)
    if len(frames) < _MIN_SLICES or normal is None or not is_stack:
        return None
    heights = np.sort(np.array([frame.position for frame in frames]) @ normal)
    return float(np.median(np.diff(heights))) or None


def _are_equal(gap: float, distance: float) -> bool:
    return abs(gap - distance) <= max(_ROUNDED_MM, _ROUNDED * gap)


def _every(gap: float, stated: _Stated, numbers: Sequence[int]) -> int:
    """Return of how many slices only one is here, by distances and numbers; 1 if they are all."""
    if not stated.spacing:
        step = _step(numbers)
        # Slices hardly ever overlap where their spacing is not stated.
        return step if stated.thickness and gap / step >= (1 - _ROUNDED) * stated.thickness else 1
    filled = len(numbers) / (numbers[-1] - numbers[0] + 1) if numbers else 1.0
    for distance in stated.distances:
        every = round(gap / distance)
        if every > 1 and _are_equal(gap, every * distance) and filled * every <= _FILLED:
            return every
    return 1


def _step(numbers: Sequence[int]) -> int:
    """Return the step between sorted instance numbers; 1 if they have none, or several."""
    steps = set(np.diff(numbers).tolist())
    return int(steps.pop()) if len(steps) == 1 else 1
