"""Score labeled scans that a detector was not fitted on."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Protocol

import numpy as np
from PIL import Image

from meninx._assess.lesions import LesionResult, measure_lesions
from meninx._assess.volumes import VolumeResult, measure_findings
from meninx._data.descriptors import copied_rows, descriptors_of
from meninx._data.facts import file_facts, intensity_facts, sha256_of
from meninx._data.folds import connected, keys_of
from meninx._data.manifest import Manifest, Picture
from meninx._data.progress import Progress, silent
from meninx._data.stacks import read_stack
from meninx._data.volume_masks import read_mask
from meninx._detect.detector import Detector
from meninx._detect.findings import Findings
from meninx._detect.model_card import SEEN_DIGITS, SeenSlices
from meninx._errors import DataError, InputError
from meninx._scan.kinds import PICTURE_SUFFIXES
from meninx._scan.reading import read_one
from meninx._scan.scan import Scan


class Record(Protocol):
    """What is recorded of what a model learned from: a detector's card, or what its user named."""

    @property
    def seen(self) -> tuple[str, ...]:
        """First digits of the SHA-256 of each file."""

    @property
    def seen_slices(self) -> SeenSlices:
        """Descriptors of the slices in these files."""

    @property
    def leaking(self) -> bool:
        """Whether it learned from folds that share slices or persons."""


@dataclass(frozen=True, eq=False)
class Case:
    """A labeled scan and its findings.

    Args:
        picture: The manifest's row.
        findings: Findings of the scan, without heat maps.
        facts: Features of the shortcut probe, by kind: `intensity`, and `file` of pictures.
        peak_inside: Whether the hottest voxel lies in the tumor; None without a mask.
        volume: Comparison of its slices with its mask; None for pictures and for volumes without
            a mask.
        members: Pictures of its stack; empty for a picture or a volume.
        lesions: Comparison of its heat map with its mask, which is empty for a tumor-free volume;
            None for pictures and for volumes with a tumor but no mask.
    """

    picture: Picture
    findings: Findings
    facts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    peak_inside: bool | None = None
    volume: VolumeResult | None = None
    members: tuple[Picture, ...] = ()
    lesions: LesionResult | None = None

    def read(self) -> Scan:
        """Read the scan again.

        Returns:
            The scan as it was scored.

        Raises:
            InputError: If its files can no longer be read.
        """
        return read_stack(self.members)[0] if self.members else read_one(self.picture.picture)

    @property
    def is_right(self) -> bool:
        """Whether the answer of the operating point is the label."""
        return self.findings.called == self.picture.tumor

    @property
    def certainty(self) -> float:
        """Distance of the probability from the decision threshold, 0..1."""
        return abs((self.findings.probability or 0.0) - (self.findings.threshold or 0.5))


@dataclass(frozen=True)
class Copies:
    """Copies of pictures that a detector, or the files it started from, learned from.

    Args:
        held_out: Number of pictures that the detector was not fitted on, by their bytes, group and
            person.
        found: Number of these that are copies, or share a group or person with copies.
        known: Whether all slices that were learned from are described. If not, further pictures
            may be copies.
    """

    held_out: int = 0
    found: int = 0
    known: bool = True

    def __add__(self, other: "Copies") -> "Copies":
        """Return the copies among both sets of pictures."""
        return Copies(
            self.held_out + other.held_out, self.found + other.found, self.known and other.known
        )

    @property
    def text(self) -> str:
        """A sentence for the user; empty without copies."""
        if not self.known:
            return (
                "It is not recorded which slices the model, or the files it started from, learned "
                "from: whether these cases are copies of them is not known."
            )
        if not self.found:
            return ""
        return (
            f"{self.found} of {self.held_out} held-out pictures are copies of what this model "
            "or those it started from learned from, or share a slice or person with copies"
        )


NO_COPIES = Copies()


@dataclass(frozen=True)
class Selection:
    """The pictures of a manifest on which a detector can be measured.

    Args:
        pictures: Pictures that share neither slice nor person with any that it was fitted on.
        left_out: Number of the other pictures in the manifest.
        copies: Copies that were found by descriptors.
    """

    pictures: list[Picture]
    left_out: int
    copies: Copies


def unseen(
    record: Record,
    manifest: Manifest,
    *,
    allow_leaks: bool = False,
    fold: int | None = None,
    workers: int = 1,
    may_be_empty: bool = False,
    progress: Progress = silent,
) -> Selection:
    """Return the pictures that neither a model nor the files it started from were fitted on.

    Args:
        record: What the model learned from, such as a detector's card.
        manifest: Labeled pictures.
        allow_leaks: Whether to return the pictures that it was fitted on, too.
        fold: The only fold to return pictures of and to count copies in; None for all.
        workers: Number of pictures described at a time.
        may_be_empty: Whether a selection without pictures is returned and no error.
        progress: Called with a step, the amount done, and the total.

    Returns:
        The pictures, and how many are left out or, with `allow_leaks`, leaking.

    Raises:
        DataError: If no picture is left, unless `may_be_empty`.
    """
    pictures = list(manifest.pictures)
    clusters = clusters_of(pictures)
    fitted, copied = _learned_clusters(record, pictures, clusters, workers, progress)
    inside = [fold in (None, picture.fold) for picture in pictures]
    held_out = [cluster for cluster in compress(clusters, inside) if cluster not in fitted]
    found = sum(cluster in copied for cluster in held_out)
    excluded = fitted | copied
    kept = [
        picture
        for picture, cluster, wanted in zip(pictures, clusters, inside, strict=True)
        if wanted and (allow_leaks or cluster not in excluded)
    ]
    if not kept and not may_be_empty:
        raise _nothing_unseen(sum(inside), fold)
    left_out = sum(cluster in excluded for cluster in clusters)
    complete = record.seen_slices.complete
    return Selection(kept, left_out, Copies(len(held_out), found, complete))


def _nothing_unseen(count: int, fold: int | None) -> DataError:
    where = "" if fold is None else f" of fold {fold}"
    return DataError(
        f"the model learned from all {count} pictures{where}, from copies of them or from others "
        "of the same slice or person: none is left to measure it by. Name data that it did not "
        "learn from; --allow-leaks measures it on these and marks every figure as leaking"
    )


def _learned_clusters(
    card: Record,
    pictures: Sequence[Picture],
    clusters: Sequence[int],
    workers: int,
    progress: Progress,
) -> tuple[set[int], set[int]]:
    """Return the clusters of files that a detector was fitted on, and other clusters of copies."""
    seen = set(card.seen)
    by_bytes = [sha256_of(picture.picture)[:SEEN_DIGITS] in seen for picture in pictures]
    fitted = set(compress(clusters, by_bytes))
    remaining = [cluster not in fitted for cluster in clusters]
    rest = list(compress(pictures, remaining))
    copied = copied_rows(rest, descriptors_of(rest, workers, progress), card.seen_slices)
    return fitted, set(compress(compress(clusters, remaining), copied))


def clusters_of(pictures: Sequence[Picture]) -> list[int]:
    """Return the cluster number of each picture; pictures of one slice or person share it."""
    return connected(
        [
            keys_of(group=picture.group, person=picture.person, stack=picture.stack)
            for picture in pictures
        ]
    )


def score_cases(
    detector: Detector,
    pictures: Sequence[Picture],
    progress: Progress = silent,
    workers: int = 1,
) -> list[Case]:
    """Score labeled pictures.

    Args:
        detector: Detector to measure; for several workers best loaded with one thread.
        pictures: Rows of a manifest.
        progress: Called with a step, the amount done, and the total.
        workers: Number of pictures scored at a time, in threads: reading, resampling and inference
            release Python's lock.

    Returns:
        One case a picture, in order.
    """
    cases = []
    units = units_of(pictures)
    with ThreadPoolExecutor(workers) as pool:
        for case in pool.map(lambda unit: _score_case(detector, *unit), units):
            cases.append(case)
            progress("scoring", len(cases), len(units))
    return cases


def units_of(pictures: Sequence[Picture]) -> list[tuple[Picture, tuple[Picture, ...]]]:
    """Return the units of scoring: a picture, a volume, or all pictures of a stack.

    Args:
        pictures: Rows of a manifest.

    Returns:
        Rows, each with the members of its stack; a stack's row stands for the whole scan.
    """
    stacks: dict[str, list[Picture]] = {}
    for picture in pictures:
        if picture.stack:
            stacks.setdefault(picture.stack, []).append(picture)
    units: list[tuple[Picture, tuple[Picture, ...]]] = []
    for picture in pictures:
        if not picture.stack:
            units.append((picture, ()))
        elif picture.stack in stacks:
            members = tuple(stacks.pop(picture.stack))
            with_tumor = [member for member in members if member.tumor]
            row = with_tumor[0] if with_tumor else picture
            units.append((replace(row, id=row.stack, mask=None), members))
    return units


def _score_case(detector: Detector, picture: Picture, members: Sequence[Picture] = ()) -> Case:
    """Score one labeled picture, volume or stack and compare it with its mask.

    Args:
        detector: Detector to measure.
        picture: Row of a manifest.
        members: Pictures of its stack, as `units_of` returns them; empty for a picture or a volume.

    Returns:
        The case; its findings are refused or failed if the scan can't be scored.
    """
    mask = None
    try:
        if members:
            scan, mask = read_stack(members)
        else:
            scan = read_one(picture.picture)
        findings = detector.score(scan)
        if scan.is_volume and picture.mask is not None:
            mask = read_mask(picture.mask, scan)
    except InputError as error:
        return Case(picture, Findings.of_error(error, detector.model))
    if findings.status != "scored":
        return Case(picture, findings)
    facts = facts_of(picture, scan)
    volume, peak_inside, lesions = None, None, None
    if not scan.is_volume:
        peak_inside = _peak_in_picture(picture, findings)
    elif mask is not None:
        volume = measure_findings(findings, scan, mask)
        lesions = measure_lesions(findings, scan, mask)
    elif not picture.tumor:
        lesions = measure_lesions(findings, scan, np.zeros(scan.voxels.shape, dtype=bool))
    light = replace(findings, slices=(findings.hottest,) if findings.hottest else ())
    return Case(picture, light, facts, peak_inside, volume, tuple(members), lesions)


def facts_of(picture: Picture, scan: Scan) -> dict[str, Mapping[str, float]]:
    """Return the features of the shortcut probe, by kind.

    Args:
        picture: Row of a manifest.
        scan: The scan of that row.

    Returns:
        Intensity statistics of the middle slice and, for a picture, facts of its file.
    """
    facts: dict[str, Mapping[str, float]] = {
        "intensity": intensity_facts(scan.slice(len(scan) // 2).image)
    }
    if not scan.is_volume and picture.picture.name.lower().endswith(PICTURE_SUFFIXES):
        with Image.open(picture.picture) as opened:
            facts["file"] = file_facts(opened, picture.picture.stat().st_size)
    return facts


def unscored_cases(model: Mapping[str, str], pictures: Sequence[Picture]) -> list[Case]:
    """Return cases that are not scored, for the shortcut probe to learn from.

    Args:
        model: Name and SHA-256 of the detector that was fitted on them.
        pictures: Rows of a manifest; unreadable ones are skipped.

    Returns:
        Cases with facts and without a probability.
    """
    cases = []
    for picture in pictures:
        try:
            scan = read_one(picture.picture)
        except InputError:
            continue
        findings = Findings(picture.id, "refused", reason="fitted_on", model=model)
        cases.append(Case(picture, findings, facts_of(picture, scan)))
    return cases


def _peak_in_picture(picture: Picture, findings: Findings) -> bool | None:
    """Return whether a picture's hottest pixel lies in its mask."""
    if picture.mask is None or findings.hottest is None:
        return None
    column, row, _ = findings.hottest.peak
    with Image.open(picture.mask) as opened:
        values = np.asarray(opened.convert("L"))
    return bool(values[row, column] > 0) if row < len(values) and column < values.shape[1] else None
