"""Sort frames into series and stacks, one stack per scan; independent of the encoding of DICOM."""

import os
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from meninx._errors import GeometryError, InputError
from meninx._scan.completeness import Incomplete
from meninx._scan.frame import Frame
from meninx._scan.geometry import (
    SMALLEST_FIELD_MM,
    Float64Array,
    affine_of_stack,
    field_of_view_fault,
    plane_normal,
)
from meninx._scan.planes import few_slices_per_plane
from meninx._scan.promises import Listing, LostFile, incomplete_of, is_broken
from meninx._scan.scan import Identity
from meninx._scan.sequence import sequence_of
from meninx._scan.series_parts import (
    WEIGHTING,
    are_alike,
    are_even,
    contrast_slabs,
    parts_of,
    weighting_levels,
)
from meninx._scan.series_shares import Share, shares_of
from meninx._scan.slice_gaps import has_stated_gap, lack_between
from meninx._scan.slice_stack import StackSpacing, slice_order, stack_spacing
from meninx._scan.warning import ScanWarning


@dataclass(frozen=True)
class Stack:
    """The frames of one scan.

    Args:
        name: Name of the series, for the user.
        frames: Frames of one shape, orientation and contrast, in any order.
        incomplete: Counts of what is missing of its series.
        warnings: What is doubtful about it, as a part of its series.
    """

    name: str
    frames: tuple[Frame, ...]
    incomplete: tuple[Incomplete, ...] = ()
    warnings: tuple[ScanWarning, ...] = ()

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
        gap = spacing.spacing_mm if spacing else abs(first.spacing or first.thickness or 1.0)
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


def contradictions(frames: Sequence[Frame]) -> tuple[str, ...]:
    """Return the names of attributes that all slices of a stack should share, but do not.

    Args:
        frames: Frames of one stack, in slice order.

    Returns:
        Names for readers.
    """
    acquisitions = {frame.acquisition for frame in frames}
    differing: dict[str, Collection[Hashable]] = {
        "PatientID, its issuer or PatientName": {frame.patient for frame in frames},
        "SeriesNumber": {frame.series_number for frame in frames},
        "FrameOfReferenceUID": {frame.frame_of_reference for frame in frames} - {""},
        "ImageType, time point or stack": set(contrast_slabs(frames)),
        "the sequence that they describe": set(map(sequence_of, acquisitions)) - {"unknown"},
    }
    for name, found in zip(WEIGHTING, weighting_levels(frames), strict=True):
        differing[name] = set(found.values())
    return tuple(name for name, values in differing.items() if len(values) > 1)


def have_repeated_numbers(frames: Sequence[Frame]) -> bool:
    """Return whether slices of one stack share instance numbers.

    Args:
        frames: Frames of one stack.

    Returns:
        Whether some do; a number that all share was set by who exported them, and the frames of an
        enhanced file are numbered in each file.
    """
    numbers = [frame.instance_number for frame in frames if frame.instance_number is not None]
    is_file = len({frame.source.name for frame in frames}) == len(frames)
    return is_file and 1 < len(set(numbers)) < len(numbers)


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
        parts = parts_of(members) if refused is None else [members]
        names = _part_names(parts, place, is_shared=places.count(place) > 1)
        incomplete = (*incomplete_of(members, lost, listings), *share)
        for name, part, own in zip(names, parts, shares_of(parts), strict=True):
            if not share and own == Share():
                own = lack_between(part, members)
            stack = Stack(name, tuple(part), (*incomplete, *own.incomplete), own.warnings)
            stacks.append(stack)
    return _named_apart(stacks)


def _by_series(frames: list[Frame]) -> list[list[Frame]]:
    """Sort frames into series, ordered by folder, series number and series UID."""
    by_key: dict[tuple[Hashable, ...], list[Frame]] = defaultdict(list)
    for frame in frames:
        folder = "" if frame.series_uid else frame.source.name.rpartition("/")[0]
        by_key[*_series_key(frame), folder].append(frame)
    series = [members for group in by_key.values() for members in _by_person(group)]
    return sorted(
        _joined(series),
        key=lambda members: (
            _common_place(members),
            members[0].series_number or 0,
            members[0].series_uid,
            repr(_series_key(members[0])),
            members[0].person,
        ),
    )


def _series_key(frame: Frame) -> tuple[Hashable, ...]:
    """Return what all frames of a series share: patient, study, series UID and number."""
    own = frame.description if not frame.series_uid else ""
    return frame.patient, frame.study_uid, frame.series_uid, frame.series_number, own


def _family(members: list[Frame]) -> Hashable:
    """Return what series share that may be one: their UID, else all but patient and folder."""
    first = members[0]
    if first.series_uid:
        return first.study_uid, first.series_uid
    return first.study_uid, "", first.series_number, first.description


def _by_person(frames: list[Frame]) -> list[list[Frame]]:
    """Split frames of one patient by name, birth date and sex, where these contradict.

    De-identified files of several people may share a number.
    """
    persons = _persons_of(frames)
    contradicting = [
        index
        for index, values in enumerate(zip(*persons, strict=True))
        if len({*values} - {""}) > 1
    ]
    by_person: dict[tuple[str, ...], list[Frame]] = defaultdict(list)
    for frame, person in zip(frames, persons, strict=True):
        by_person[tuple(person[index] for index in contradicting)].append(frame)
    return list(by_person.values())


def _persons_of(frames: Sequence[Frame]) -> list[tuple[str, ...]]:
    """Return what identifies the patient of each frame, with names as the fullest is written.

    Titles and middle names are often left out: names of which one has all words of the other do
    not contradict each other.
    """
    words = {frame.person[1]: frozenset(frame.person[1].split()) for frame in frames}
    fullest = [name for name in words if not any(words[name] < other for other in words.values())]
    fuller = {name: [full for full in fullest if words[name] <= words[full]] for name in words}
    written = {name: found[0] if len(found) == 1 else name for name, found in fuller.items()}
    return [(frame.person[0], written[frame.person[1]], *frame.person[2:]) for frame in frames]


def _joined(series: Iterable[list[Frame]]) -> list[list[Frame]]:
    """Return series; those of one family and person that are one by their places are joined.

    The patient's identity may be written in two ways, and SeriesNumber be missing in some files.
    """
    families: dict[Hashable, list[list[list[Frame]]]] = defaultdict(list)
    for members in series:
        candidates = families[_family(members)]
        alike = (groups for groups in candidates if _may_be_one([*groups, members]))
        found = next(alike, None)
        if found is None:
            candidates.append([members])
        else:
            found.append(members)
    joined: list[list[Frame]] = []
    for groups in (groups for candidates in families.values() for groups in candidates):
        frames = [frame for members in groups for frame in members]
        joined += [frames] if _are_one(groups, frames) else groups
    return joined


def _may_be_one(groups: Sequence[list[Frame]]) -> bool:
    """Return whether nothing that is given of the patient, nor the number, contradicts."""
    numbers = {members[0].series_number for members in groups} - {None}
    frames = [frame for members in groups for frame in members]
    persons = zip(*_persons_of(frames), strict=True)
    return len(numbers) <= 1 and all(len({*values} - {""}) <= 1 for values in persons)


def _are_one(groups: list[list[Frame]], frames: list[Frame]) -> bool:
    """Return whether groups that may be one series are one."""
    is_even = len(groups) > 1 and are_alike(groups) and are_even(frames)
    if frames[0].series_uid:
        return is_even and bool(frames[0].study_uid)
    # Without UIDs, the files of a series in several folders continue each other's numbers.
    return _are_numbered(frames) and (is_even or len({frame.patient for frame in frames}) == 1)


def _are_numbered(frames: Sequence[Frame]) -> bool:
    """Return whether each slice has an instance number of its own."""
    numbers = {frame.instance_number for frame in frames}
    return None not in numbers and len(numbers) == len(frames)


def _shares_of_one_uid(series: list[list[Frame]]) -> list[tuple[Incomplete, ...]]:
    """Return what is missing of each series that only together with another is an even stack.

    Under one SeriesInstanceUID, two patients, studies or numbers are two series; but where the
    slices of one continue those of the other, or lie between them, it is one series with headers
    that contradict each other.
    """
    by_uid: dict[Hashable, list[list[Frame]]] = defaultdict(list)
    for members in series:
        by_uid[members[0].series_uid or _family(members)].append(members)
    shares: dict[int, tuple[Incomplete, ...]] = {}
    for alike in by_uid.values():
        frames = [frame for members in alike for frame in members]
        if len(alike) > 1 and are_alike(alike) and _may_be_shares(alike) and are_even(frames):
            which = "name another patient, study or number"
            if not frames[0].series_uid:
                which = "lie in another folder or name the patient otherwise"
            what = f"slices of the series (the others {which})"
            for members in alike:
                shares[id(members)] = (Incomplete(what, len(frames), len(members)),)
    return [shares.get(id(members), ()) for members in series]


def _may_be_shares(groups: Sequence[list[Frame]]) -> bool:
    """Return whether series may be one whose headers contradict each other.

    Where slices lie between each other, those that each have the gap that they state are two.
    Without UIDs, those of two people are two, and so are those that are each numbered.
    """
    if _lie_between(groups) and all(map(has_stated_gap, groups)):
        return False
    if groups[0][0].series_uid:
        return True
    return _may_be_one(groups) and not all(map(_are_numbered, groups))


def _lie_between(groups: Sequence[list[Frame]]) -> bool:
    """Return whether alike groups of slices, such as every second one, lie between each other."""
    normal = plane_normal(groups[0][0].orientation or ())
    heights = [np.array([frame.position for frame in members]) @ normal for members in groups]
    return bool(max(own.min() for own in heights) < min(own.max() for own in heights))


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
        (*frame.contrast, *frame.weighting, *frame.moments),
        (*other.contrast, *other.weighting, *other.moments),
        strict=True,
    )
    return all(own == its or own in (None, "") or its in (None, "") for own, its in values)


def _common_place(frames: list[Frame]) -> str:
    """Return the file that all frames come from, else the deepest folder that holds them."""
    names = {frame.source.name for frame in frames}
    return names.pop() if len(names) == 1 else os.path.commonpath(names)
