"""Sort frames into series and stacks, one stack per scan; independent of the encoding of DICOM."""

import os
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from meninx._errors import GeometryError, InputError
from meninx._scan.completeness import Incomplete
from meninx._scan.frame import Frame
from meninx._scan.geometry import (
    COSINE_TOLERANCE,
    SMALLEST_FIELD_MM,
    Float64Array,
    affine_of_stack,
    field_of_view_fault,
    plane_normal,
)
from meninx._scan.planes import few_slices_per_plane
from meninx._scan.promises import Listing, LostFile, incomplete_of, is_broken
from meninx._scan.scan import Identity
from meninx._scan.slice_stack import POSITION_TOLERANCE_MM, StackSpacing, slice_order, stack_spacing

# Echo and inversion times of one image, written slice by slice, differ in their last digit; those
# of two echoes or inversions by milliseconds.
TIME_JITTER_MS, TIME_JITTER = 0.1, 0.001
# Echo or inversion times whose slices interleave are two contrasts from this ratio on.
_CONTRAST_TIME_RATIO = 1.05
# Pixel spacings are decimal strings, rounded for each slice; relative difference.
_PIXEL_SPACING_JITTER = 0.001
# In an even stack no gap is 1.5 times the others: a slice would be missing there.
_MAX_GAP_RATIO = 1.5


@dataclass(frozen=True)
class Stack:
    """The frames of one scan.

    Args:
        name: Name of the series, for the user.
        frames: Frames of one shape, orientation and contrast, in any order.
        incomplete: Counts of what is missing of its series.
    """

    name: str
    frames: tuple[Frame, ...]
    incomplete: tuple[Incomplete, ...] = ()

    @property
    def contradictions(self) -> tuple[str, ...]:
        """Names of attributes that all its slices should share, but do not."""
        echoes, inversions = _time_levels(list(self.frames))
        differing: dict[str, Collection[Hashable]] = {
            "PatientID, its issuer or PatientName": {frame.patient for frame in self.frames},
            "SeriesNumber": {frame.series_number for frame in self.frames},
            "EchoTime": set(echoes.values()),
            "InversionTime": set(inversions.values()),
        }
        return tuple(name for name, values in differing.items() if len(values) > 1)

    @property
    def identity(self) -> Identity:
        """UIDs and patient of the scan; instances in slice order if the frames form a stack."""
        first = self.frames[0]
        try:
            frames, *_ = self.placed()
        except InputError:
            frames = self.frames
        uids = tuple(dict.fromkeys(frame.instance_uid for frame in frames))
        return Identity(
            first.study_uid,
            first.series_uid,
            uids,
            first.patient,
            first.series_number,
            first.description,
        )

    def placed(self) -> tuple[tuple[Frame, ...], Float64Array | None, StackSpacing | None]:
        """Return the frames ordered along the normal of their plane, and their geometry.

        Returns:
            Frames, the affine (voxel [column, row, slice] to LPS mm) and their spacing. A single
            frame has no spacing, and without geometry no affine.

        Raises:
            InputError: If the series is excluded.
            GeometryError: If the slices form no stack.
        """
        first = self.frames[0]
        if first.exclusion is not None:
            raise first.exclusion
        if not all(frame.is_placed for frame in self.frames):
            if len(self.frames) == 1:
                return self.frames, None, None
            raise GeometryError(
                f"{len(self.frames)} slices, some without a readable ImagePositionPatient or "
                "ImageOrientationPatient; expected both in each: export the series from the "
                "scanner or the PACS, not from a viewer"
            )
        pixel_spacing = _checked_pixel_spacing(first)
        positions = np.array([frame.position for frame in self.frames])
        orientation = np.array([frame.orientation for frame in self.frames]).mean(axis=0)
        order = slice_order(positions, orientation)
        across = float(max(np.multiply(first.shape, pixel_spacing)))
        spacing = _checked_stack_spacing(positions[order], orientation, across)
        gap = spacing.spacing_mm if spacing else abs(first.thickness or 1.0)
        affine = affine_of_stack(positions[order[0]], orientation, pixel_spacing, gap)
        return tuple(self.frames[index] for index in order), affine, spacing


def _checked_pixel_spacing(frame: Frame) -> tuple[float, float]:
    """Return the pixel spacing of a slice, mm; raise if it is missing or not above 0."""
    if frame.pixel_spacing is None and frame.stored_spacing:
        raise GeometryError(
            f"PixelSpacing {frame.stored_spacing!r}, expected two numbers such as 0.9\\0.9; "
            "the header was changed: export the series again"
        )
    if frame.pixel_spacing is None:
        raise GeometryError(
            "no PixelSpacing, so nothing says how large a pixel is; export the series from the "
            "scanner or the PACS, not from a viewer"
        )
    if min(frame.pixel_spacing) <= 0:
        raise GeometryError(
            f"PixelSpacing {frame.pixel_spacing}, expected two numbers above 0; the header was "
            "changed: export the series again"
        )
    return frame.pixel_spacing


def _checked_stack_spacing(
    positions: Float64Array, orientation: Float64Array, across_mm: float
) -> StackSpacing | None:
    """Return the spacing of ordered slices of this longer side, mm; None for a single slice."""
    if len(positions) == 1:
        return None
    try:
        return stack_spacing(positions, orientation)
    except GeometryError as error:
        # If a pixel is far too small, all slices share a position: report the pixel instead.
        fault = field_of_view_fault(across_mm) if across_mm < SMALLEST_FIELD_MM / 10 else None
        raise GeometryError(fault or str(error)) from error


def coinciding(frames: Iterable[Frame]) -> list[list[Frame]]:
    """Return the frames that share a position with others: copies, echoes or time points.

    Args:
        frames: Frames of one orientation; those without a position are ignored.

    Returns:
        Lists of two or more frames, one per position.
    """
    placed = [frame for frame in frames if frame.is_placed]
    normal = _normal_of(placed[0]) if len(placed) > 1 else None
    if normal is None:
        return []
    heights = np.array([frame.position for frame in placed]) @ normal
    order = np.argsort(heights, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(heights[order]) > POSITION_TOLERANCE_MM) + 1)
    return [[placed[index] for index in part] for part in parts if len(part) > 1]


def _normal_of(frame: Frame) -> Float64Array | None:
    """Return the normal of a frame's plane; None if its cosines make none, as `placed` reports."""
    try:
        return plane_normal(frame.orientation or ())
    except GeometryError:
        return None


def stacks_of(
    frames: Iterable[Frame], lost: Iterable[LostFile] = (), listings: Iterable[Listing] = ()
) -> list[Stack]:
    """Sort frames into scans.

    A series is identified by patient, study, UID and number, because careless exports share or
    empty the UIDs; see `_joined` for what is joined nevertheless. It is split by matrix,
    orientation and contrast, and by acquisition if slices coincide otherwise. The result does not
    depend on the order of the frames.

    Args:
        frames: Frames of any number of series, in any order.
        lost: Unreadable files under the same path.
        listings: DICOMDIRs under the same path.

    Returns:
        Stacks, ordered by folder, series number, series UID and contrast.
    """
    unique = _without_copies(frames)
    # A truncated header may lack the UID of its series.
    broken = [frame for frame in unique if is_broken(frame)]
    lost = list(lost)
    lost += [LostFile(frame.source.name, frame.series_uid, is_dicom=True) for frame in broken]
    series = _by_series(unique)
    shares = _shares_of_one_uid(series)
    places = [_common_place(members) for members in series]
    stacks = []
    for members, place, share in zip(series, places, shares, strict=True):
        refused = few_slices_per_plane(members)
        if refused is not None:
            members = [replace(frame, exclusion=frame.exclusion or refused) for frame in members]
        parts = _split(members) if refused is None else [members]
        names = _part_names(parts, place, is_shared=places.count(place) > 1)
        incomplete = (*incomplete_of(members, lost, listings), *share)
        for name, part in zip(names, parts, strict=True):
            stacks.append(Stack(name, tuple(part), incomplete))
    return _named_apart(stacks)


def _by_series(frames: list[Frame]) -> list[list[Frame]]:
    """Sort frames into series, ordered by folder, series number and series UID."""
    by_series: dict[tuple[Hashable, ...], list[Frame]] = defaultdict(list)
    for frame in frames:
        by_series[_series_key(frame)].append(frame)
    return sorted(
        _joined(by_series.values()),
        key=lambda members: (
            _common_place(members),
            members[0].series_number or 0,
            members[0].series_uid,
            repr(_series_key(members[0])),
        ),
    )


def _series_key(frame: Frame) -> tuple[Hashable, ...]:
    """Return what all frames of a series share: patient, study, series UID and number."""
    own = frame.description if not frame.series_uid else ""
    return frame.patient, frame.study_uid, frame.series_uid, frame.series_number, own


def _joined(series: Iterable[list[Frame]]) -> list[list[Frame]]:
    """Return series; those under one UID that only together are an even stack are one.

    The patient's identity may be written in two ways, and SeriesNumber be missing in some files.
    """
    by_uid: dict[tuple[str, str], list[list[Frame]]] = defaultdict(list)
    for members in series:
        by_uid[members[0].study_uid, members[0].series_uid].append(members)
    joined: list[list[Frame]] = []
    for (study_uid, series_uid), groups in by_uid.items():
        frames = [frame for members in groups for frame in members]
        is_one = len(groups) > 1 and study_uid and series_uid and _may_be_one(groups)
        joined += [frames] if is_one and _are_alike(groups) and _are_even(frames) else groups
    return joined


def _may_be_one(groups: Sequence[list[Frame]]) -> bool:
    """Return whether neither name nor number of a patient, nor of a series, contradict."""
    firsts = [members[0] for members in groups]
    numbers = {frame.series_number for frame in firsts} - {None}
    given = [{keys[at] for keys in (frame.person for frame in firsts)} - {""} for at in range(2)]
    return len(numbers) <= 1 and all(len(keys) <= 1 for keys in given)


def _shares_of_one_uid(series: list[list[Frame]]) -> list[tuple[Incomplete, ...]]:
    """Return what is missing of each series whose slices lie evenly between those of another.

    Under one SeriesInstanceUID, two patients, studies or numbers are two series; but where their
    slices interleave, it is one series with headers that contradict each other.
    """
    by_uid: dict[str, list[list[Frame]]] = defaultdict(list)
    for members in series:
        by_uid[members[0].series_uid].append(members)
    shares: list[tuple[Incomplete, ...]] = []
    for members in series:
        alike = by_uid[members[0].series_uid]
        is_share = bool(members[0].series_uid) and len(alike) > 1 and _are_alike(alike)
        if is_share and _interleave_evenly(alike):
            what = "slices of the series: those between name another patient, study or number"
            count = sum(map(len, alike))
            shares.append((Incomplete(what, count, len(members)),))
        else:
            shares.append(())
    return shares


def _are_alike(groups: list[list[Frame]]) -> bool:
    """Return whether all frames of groups have a place, and one shape, pixel and orientation."""
    frames = [frame for group in groups for frame in group]
    if not all(frame.is_placed and frame.pixel_spacing for frame in frames):
        return False
    if _normal_of(frames[0]) is None:
        return False
    sides = np.array([frame.pixel_spacing for frame in frames])
    directions: list[Float64Array] = []
    shapes = {(frame.shape, _direction(frame, directions)) for frame in frames}
    return len(shapes) == 1 and bool(
        np.ptp(sides, axis=0).max() <= _PIXEL_SPACING_JITTER * sides.max()
    )


def _are_even(frames: list[Frame]) -> bool:
    """Return whether frames of one orientation lie at different places with even gaps."""
    normal = plane_normal(frames[0].orientation or ())
    gaps = np.diff(np.sort(np.array([frame.position for frame in frames]) @ normal))
    return bool(
        gaps.min() > POSITION_TOLERANCE_MM and gaps.max() < _MAX_GAP_RATIO * np.median(gaps)
    )


def _part_names(parts: list[list[Frame]], place: str, *, is_shared: bool) -> list[str]:
    """Return the names of a series' parts, given whether other series share its place.

    Number and part are named only if needed to distinguish the scans.
    """
    first = parts[0][0]
    number = first.series_uid if first.series_number is None else first.series_number
    words = [f"series {number}"] * is_shared
    names = []
    for index, part in enumerate(parts, 1):
        labels = words + [f"part {index} of {len(parts)}"] * (len(parts) > 1)
        name = f"{place} ({', '.join(labels)})" if labels else place
        if len(part) == 1 and len(parts) > 1 and is_broken(part[0]):
            name = part[0].source.name
        names.append(name)
    return names


def _named_apart(stacks: list[Stack]) -> list[Stack]:
    """Return stacks with unique names: two patients may share a folder and a number."""
    names = [stack.name for stack in stacks]
    seen: dict[str, int] = defaultdict(int)
    renamed = []
    for stack in stacks:
        count = names.count(stack.name)
        seen[stack.name] += 1
        own = f"{stack.name} ({seen[stack.name]} of {count} of this name)"
        renamed.append(replace(stack, name=own) if count > 1 else stack)
    return renamed


def _without_copies(frames: Iterable[Frame]) -> list[Frame]:
    """Return frames in a fixed order, one per instance: exports often hold a slice twice.

    The largest file is used, because a copy may be truncated.
    """
    ordered = sorted(
        frames,
        key=lambda frame: (frame.instance_uid, frame.number, -frame.source.size, frame.source.name),
    )
    # Careless anonymizers give all slices one UID: only frames at one position are copies.
    unique: dict[tuple[Hashable, ...], list[Frame]] = defaultdict(list)
    kept = []
    for frame in ordered:
        identity = frame.instance_uid or frame.source.name
        others = unique[*_series_key(frame), identity, frame.number, frame.position]
        if not any(_agree(frame, other) for other in others):
            others.append(frame)
            kept.append(frame)
    return kept


def _agree(frame: Frame, other: Frame) -> bool:
    """Return whether nothing tells two images of one position apart: no value given in both."""
    values = zip(
        (*frame.contrast, *frame.times, *frame.moments),
        (*other.contrast, *other.times, *other.moments),
        strict=True,
    )
    return all(own == its or own in (None, "") or its in (None, "") for own, its in values)


def _common_place(frames: list[Frame]) -> str:
    """Return the file that all frames come from, else the deepest folder that holds them."""
    names = {frame.source.name for frame in frames}
    return names.pop() if len(names) == 1 else os.path.commonpath(names)


def _split(frames: list[Frame]) -> list[list[Frame]]:
    """Split one series' frames into stacks, in a fixed order."""
    groups: dict[tuple[Hashable, ...], list[Frame]] = defaultdict(list)
    directions: list[Float64Array] = []
    echoes, inversions = _time_levels(frames)
    for frame in frames:
        reason = frame.exclusion.reason if frame.exclusion else ""
        spacing = tuple(round(value, 3) for value in frame.pixel_spacing or ())
        key: tuple[Hashable, ...] = (
            reason,
            frame.shape,
            spacing,
            _direction(frame, directions),
            frame.contrast,
            echoes.get(frame.times[0]),
            inversions.get(frame.times[1]),
        )
        groups[key].append(frame)
    parts: list[list[Frame]] = []
    for group in _interleaved_joined([groups[key] for key in sorted(groups, key=repr)], directions):
        parts += _by_acquisition(group) if coinciding(group) else [group]
    return parts


def _interleaved_joined(
    groups: list[list[Frame]], directions: list[Float64Array]
) -> list[list[Frame]]:
    """Join groups that form one stack by their positions: their contrast differs only by jitter.

    Args:
        groups: Frames of one series, by contrast.
        directions: Distinct orientations so far.

    Returns:
        The groups; those whose slices interleave are joined.
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
    if not _are_alike(groups):
        return False
    # Two echo or inversion times are two contrasts, wherever their slices lie.
    frames = [frame for group in groups for frame in group]
    for number in range(2):
        times = [time for frame in frames if (time := frame.times[number]) is not None]
        if times and max(times) > _CONTRAST_TIME_RATIO * min(times):
            return False
    return _interleave_evenly(groups)


def _interleave_evenly(groups: list[list[Frame]]) -> bool:
    """Return whether the slices of groups interleave, with even gaps between them."""
    frames = [frame for group in groups for frame in group]
    heights = np.array([frame.position for frame in frames]) @ plane_normal(
        frames[0].orientation or ()
    )
    owners = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    changes = int((np.diff(owners[np.argsort(heights, kind="stable")]) != 0).sum())
    # Groups one above the other are slabs, each with its own contrast.
    return changes >= len(groups) and _are_even(frames)


def _time_levels(
    frames: list[Frame],
) -> tuple[dict[float | None, int], dict[float | None, int]]:
    """Return the levels of the echo times and of the inversion times of frames."""
    return _levels(frame.times[0] for frame in frames), _levels(frame.times[1] for frame in frames)


def _levels(values: Iterable[float | None]) -> dict[float | None, int]:
    """Return the number of each time's level; times that differ only by jitter share a level."""
    levels: dict[float | None, int] = {}
    last, level = None, 0
    for value in sorted({value for value in values if value is not None}):
        if last is not None and value - last > max(TIME_JITTER_MS, TIME_JITTER * value):
            level += 1
        levels[value] = level
        last = value
    return levels


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
    """Split coinciding frames by acquisition number or time, if that separates them."""
    for number in range(len(frames[0].moments)):
        parts = _by_moment(frames, number)
        if len(parts) > 1 and not any(coinciding(part) for part in parts):
            return parts
    return _by_rank(frames) or [frames]


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
