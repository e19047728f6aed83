"""Sort DICOM frames into series and stacks. Nothing here knows how DICOM is encoded."""

import os
from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np

from meninx.errors import GeometryError, InputError, UnsupportedScan
from meninx.scan.geometry import (
    COSINE_TOLERANCE,
    POSITION_TOLERANCE_MM,
    FloatArray,
    affine_of_stack,
    plane_normal,
    slice_order,
    slice_spacing,
)
from meninx.scan.scan import Identity, Sequence
from meninx.scan.sequence import Acquisition
from meninx.scan.source import Source

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class SeriesFacts:
    """Hold where a series comes from, as far as it names no person; empty where not given.

    Args:
        month: When it was taken, as 2026-01.
        scanner: Manufacturer and model.
        field_strength: Of the magnet, T.
        sequence: The MR contrast.
    """

    month: str = ""
    scanner: str = ""
    field_strength: float | None = None
    sequence: Sequence = "unknown"


@dataclass(frozen=True)
class Frame:
    """Hold what a header says of one slice.

    Args:
        source: The file that holds its pixels.
        number: In the file, from 0.
        study_uid: StudyInstanceUID.
        series_uid: SeriesInstanceUID.
        instance_uid: SOPInstanceUID.
        series_number: As scanners count; None if not given.
        shape: Rows and columns.
        pixel_spacing: Distance between rows and between columns, mm; None without geometry.
        position: Center of the first pixel, LPS mm; None without geometry.
        orientation: Row, then column direction cosines; None without geometry.
        thickness: SpacingBetweenSlices, else SliceThickness, mm, for a slice that stands alone.
        contrast: What makes it another image of the same place: echo, time point, magnitude or
            phase, stack.
        acquisition_number: Tells time points apart where `contrast` does not.
        acquisition: What tells the sequence.
        slope: RescaleSlope.
        intercept: RescaleIntercept.
        set_aside: Why it is nothing to detect tumors in; None if it is.
    """

    source: Source
    number: int
    study_uid: str
    series_uid: str
    instance_uid: str
    series_number: int | None
    shape: tuple[int, int]
    pixel_spacing: tuple[float, float] | None
    position: Triple | None
    orientation: tuple[float, ...] | None
    thickness: float | None
    contrast: tuple[Hashable, ...]
    acquisition_number: int | None
    acquisition: Acquisition
    slope: float = 1.0
    intercept: float = 0.0
    set_aside: UnsupportedScan | None = None


@dataclass(frozen=True)
class Stack:
    """Hold the frames of one scan.

    Args:
        name: Of the series, for the user.
        frames: All of one shape, orientation and contrast; in any order.
    """

    name: str
    frames: tuple[Frame, ...]

    @property
    def identity(self) -> Identity:
        """What the hospital's systems call it; instances in slice order if they have one."""
        first = self.frames[0]
        try:
            frames, _ = self.ordered()
        except InputError:
            frames = self.frames
        uids = tuple(dict.fromkeys(frame.instance_uid for frame in frames))
        return Identity(first.study_uid, first.series_uid, uids)

    def ordered(self) -> tuple[tuple[Frame, ...], FloatArray | None]:
        """Return the frames along the normal of their plane, and the affine.

        Returns:
            Frames and the affine (voxel [column, row, slice] to LPS mm); None for a single frame
            without geometry.

        Raises:
            UnsupportedScan: If the series was set aside.
            GeometryError: If the slices form no stack.
        """
        first = self.frames[0]
        if first.set_aside is not None:
            raise first.set_aside
        if any(not frame.position or not frame.orientation for frame in self.frames):
            if len(self.frames) == 1:
                return self.frames, None
            raise GeometryError(
                f"{len(self.frames)} slices, some without ImagePositionPatient or "
                "ImageOrientationPatient; expected both in each: export the series from the "
                "scanner or the PACS, not from a viewer"
            )
        if first.pixel_spacing is None:
            raise GeometryError(
                "no PixelSpacing, so nothing says how large a pixel is; export the series from the "
                "scanner or the PACS, not from a viewer"
            )
        if min(first.pixel_spacing) <= 0:
            raise GeometryError(
                f"PixelSpacing {first.pixel_spacing}, expected two numbers above 0; the header was "
                "changed: export the series again"
            )
        positions = np.array([frame.position for frame in self.frames])
        orientation = np.array([frame.orientation for frame in self.frames]).mean(axis=0)
        order = slice_order(positions, orientation)
        if len(order) > 1:
            gap = slice_spacing(positions[order], orientation)
        else:
            gap = abs(first.thickness or 1.0)
        affine = affine_of_stack(positions[order[0]], orientation, first.pixel_spacing, gap)
        return tuple(self.frames[index] for index in order), affine


def stacks_of(frames: Iterable[Frame]) -> list[Stack]:
    """Sort frames into scans.

    A series is split by matrix, orientation and contrast, and by acquisition where slices would
    coincide otherwise. The result does not depend on the order of the frames.

    Args:
        frames: Of any number of series, in any order.

    Returns:
        Stacks, ordered by place, series number, series UID and contrast.
    """
    by_series: dict[str, list[Frame]] = defaultdict(list)
    for frame in _without_copies(frames):
        by_series[frame.series_uid].append(frame)
    numbered = sorted(
        (_common_place(members), members[0].series_number or 0, uid)
        for uid, members in by_series.items()
    )
    series = [(by_series[uid], _split(by_series[uid])) for _, _, uid in numbered]
    places = [place for place, _, _ in numbered]
    stacks = []
    for (members, parts), place in zip(series, places, strict=True):
        number = members[0].series_number
        # Only what is needed to tell the scans apart.
        shared = places.count(place) > 1
        words = [f"series {number if number is not None else members[0].series_uid}"] * shared
        for index, part in enumerate(parts, 1):
            told = words + [f"part {index} of {len(parts)}"] * (len(parts) > 1)
            name = f"{place} ({', '.join(told)})" if told else place
            stacks.append(Stack(name, tuple(part)))
    return stacks


def _without_copies(frames: Iterable[Frame]) -> list[Frame]:
    """Return frames in a fixed order, one of each instance: exports often hold a slice twice.

    The largest file wins: a copy may be cut off.
    """
    ordered = sorted(
        frames,
        key=lambda frame: (
            frame.instance_uid, frame.number, -frame.source.size, frame.source.name
        ),
    )  # fmt: skip
    # A careless anonymizer gives all slices one UID: only what lies in one place is a copy.
    unique = {
        (frame.series_uid, frame.instance_uid or frame.source.name, frame.number, frame.position):
        frame for frame in reversed(ordered)
    }  # fmt: skip
    return list(reversed(unique.values()))


def _common_place(frames: list[Frame]) -> str:
    """Return the file that all frames come from, else the deepest folder that holds them."""
    names = {frame.source.name for frame in frames}
    return names.pop() if len(names) == 1 else os.path.commonpath(names)


def _split(frames: list[Frame]) -> list[list[Frame]]:
    """Split one series' frames into stacks, in a fixed order."""
    groups: dict[tuple[Hashable, ...], list[Frame]] = defaultdict(list)
    directions: list[FloatArray] = []
    for frame in frames:
        reason = frame.set_aside.reason if frame.set_aside else ""
        spacing = tuple(round(value, 3) for value in frame.pixel_spacing or ())
        key: tuple[Hashable, ...] = (
            reason,
            frame.shape,
            spacing,
            _direction(frame, directions),
            frame.contrast,
        )
        groups[key].append(frame)
    parts: list[list[Frame]] = []
    for key in sorted(groups, key=repr):
        parts += _by_acquisition(groups[key]) if _coincide(groups[key]) else [groups[key]]
    return parts


def _direction(frame: Frame, known: list[FloatArray]) -> int:
    """Return the number of the frame's orientation among those met before, adding a new one."""
    if frame.orientation is None:
        return -1
    cosines = np.array(frame.orientation)
    for index, other in enumerate(known):
        # Scanners round the cosines of each slice on their own.
        if np.abs(cosines - other).max() < 10 * COSINE_TOLERANCE:
            return index
    known.append(cosines)
    return len(known) - 1


def _coincide(frames: list[Frame]) -> bool:
    """Return whether two frames lie in one place."""
    placed = [frame for frame in frames if frame.position and frame.orientation]
    if len(placed) < 2 or placed[0].orientation is None:
        return False
    heights = np.array([frame.position for frame in placed]) @ plane_normal(placed[0].orientation)
    return bool((np.diff(np.sort(heights)) <= POSITION_TOLERANCE_MM).any())


def _by_acquisition(frames: list[Frame]) -> list[list[Frame]]:
    """Split frames that coincide by acquisition, if that parts them; else leave them together."""
    parts: dict[int, list[Frame]] = defaultdict(list)
    for frame in frames:
        parts[frame.acquisition_number or 0].append(frame)
    split = [parts[number] for number in sorted(parts)]
    return [frames] if any(_coincide(part) for part in split) else split
