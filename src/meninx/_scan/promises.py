"""Compare the instances that headers, DICOMDIRs and folders promise with those received."""

import re
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from meninx._errors import UnsupportedScan
from meninx._scan.completeness import Incomplete
from meninx._scan.frame import IMAGES_OF_ACQUISITION, Frame, Promise
from meninx._scan.kinds import DICOM_SUFFIXES


@dataclass(frozen=True)
class LostFile:
    """A missing or unreadable file that may belong to a series.

    Args:
        name: Name of the file, as the user knows it.
        series_uid: SeriesInstanceUID; empty if the file ends before it.
        is_dicom: Whether its first bytes are those of DICOM.
    """

    name: str
    series_uid: str = ""
    is_dicom: bool = False


@dataclass(frozen=True)
class Listing:
    """The images that a DICOMDIR lists.

    Args:
        name: Name of the DICOMDIR, as the user knows it.
        series: SOPInstanceUIDs of each series, by SeriesInstanceUID.
    """

    name: str
    series: dict[str, frozenset[str]]

    def absence(self, here: Collection[str]) -> str:
        """Return which series are missing altogether.

        Args:
            here: SeriesInstanceUIDs of those of which something is here.

        Returns:
            Words for a message; empty if none is missing.
        """
        absent = [len(images) for uid, images in self.series.items() if uid not in here]
        if not absent:
            return ""
        return (
            f"it lists {sum(absent)} images of {len(absent)} series that are not here; "
            "copy the whole medium"
        )


def incomplete_of(
    frames: Sequence[Frame], lost: Iterable[LostFile], listings: Iterable[Listing]
) -> tuple[Incomplete, ...]:
    """Return what is missing of a series.

    Args:
        frames: All frames of the series, at least one, including excluded ones.
        lost: Unreadable files under the same path.
        listings: DICOMDIRs under the same path.

    Returns:
        A count for each promise of more instances than were received.
    """
    counts = [*_missing_of_headers(frames), *_missing_of_listings(frames, listings)]
    files = {frame.source.name for frame in frames}
    folders, patterns = set(map(_folder, files)), set(map(name_pattern, files))

    def is_missing(file: LostFile) -> bool:
        if file.series_uid:
            return file.series_uid == frames[0].series_uid
        named_alike = (
            file.name.lower().endswith(DICOM_SUFFIXES) or name_pattern(file.name) in patterns
        )
        return _folder(file.name) in folders and (file.is_dicom or named_alike)

    missing = [file for file in lost if file.name not in files and is_missing(file)]
    broken = {frame.source.name for frame in frames if is_broken(frame)}
    if missing or broken:
        expected = len(files) + len(missing)
        counts.append(Incomplete("files of the series", expected, len(files - broken)))
    return tuple(dict.fromkeys(counts))


def is_broken(frame: Frame) -> bool:
    """Return whether a slice is excluded because its file is damaged, not for its content."""
    return frame.exclusion is not None and not isinstance(frame.exclusion, UnsupportedScan)


def name_pattern(name: str) -> tuple[str, str]:
    """Return what a file's name shares with those of the other slices of its series.

    Args:
        name: Name of the file, as the user knows it.

    Returns:
        Folder, and the file's name with `#` in place of each number.
    """
    folder, _, own = name.rpartition("/")
    return folder, re.sub(r"\d+", "#", own)


def _missing_of_headers(frames: Sequence[Frame]) -> Iterable[Incomplete]:
    """Yield the promises of headers for which fewer instances were received.

    A promise counts only if all headers agree: software that copies headers leaves old numbers.
    """
    instances: dict[tuple[str, Hashable], dict[Hashable, Promise]] = defaultdict(dict)
    joined = IMAGES_OF_ACQUISITION if _are_one_acquisition(frames) else None
    for frame in frames:
        for promise in frame.promises:
            key = None if promise.what == joined else promise.key
            instances[promise.what, key][_counted(frame, promise)] = promise
    for (what, _), promises in instances.items():
        count = _agreed_count(promises.values())
        if count is not None and len(promises) < count:
            yield Incomplete(what, count, len(promises))


def _are_one_acquisition(frames: Sequence[Frame]) -> bool:
    """Return whether acquisitions lie between each other, together within the promise of each.

    Slices that are acquired by turns have two AcquisitionNumbers, but GE promises the images of the
    series in each. Time points lie at the same places, slabs one above the other.
    """
    promised = [
        (frame.position, promise)
        for frame in frames
        for promise in frame.promises
        if promise.what == IMAGES_OF_ACQUISITION and frame.position is not None
    ]
    places = set(map(_place, frames))
    if not promised or not len(places) == len(promised) <= min(own.count for _, own in promised):
        return False
    axes = zip(*(place for place, _ in promised), strict=True)
    spreads = [max(values) - min(values) for values in axes]
    along = spreads.index(max(spreads))
    in_order = [own.key for _, own in sorted(promised, key=lambda pair: pair[0][along])]
    changes = sum(before != after for before, after in pairwise(in_order))
    return changes >= len(set(in_order))


def _counted(frame: Frame, promise: Promise) -> Hashable:
    """Return what a promise counts once: a position, to a tenth of a millimeter, or a file."""
    return _place(frame) if promise.of_positions else frame.source.name


def _place(frame: Frame) -> Hashable:
    """Return the position of a slice, to a tenth of a millimeter; its file without one."""
    if frame.position is None:
        return frame.source.name
    return tuple(round(coordinate, 1) for coordinate in frame.position)


def _agreed_count(promises: Collection[Promise]) -> int | None:
    """Return the number of instances that all headers promise; None if they contradict it."""
    totals = {promise.count for promise in promises if not promise.is_least}
    if len(totals) > 1:
        return None
    numbers = [promise.number for promise in promises if promise.number is not None]
    if totals and not all(1 <= number <= max(totals) for number in numbers):
        return None
    return max(promise.count for promise in promises)


def _missing_of_listings(
    frames: Sequence[Frame], listings: Iterable[Listing]
) -> Iterable[Incomplete]:
    received = {frame.instance_uid for frame in frames}
    for listing in listings:
        listed = listing.series.get(frames[0].series_uid, frozenset())
        if not listed <= received:
            yield Incomplete("images listed in DICOMDIR", len(listed), len(listed & received))


def _folder(name: str) -> str:
    return name.rpartition("/")[0]
