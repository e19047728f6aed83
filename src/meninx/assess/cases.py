"""Score labeled scans, of those that a detector may be judged by."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from meninx.assess.volumes import VolumeResult, measure_findings
from meninx.data.facts import file_facts, intensity_facts, sha256_of
from meninx.data.folds import connected, keys_of
from meninx.data.manifest import Manifest, Picture
from meninx.data.prepare import Progress, read_mask, read_stack, silent
from meninx.detect.detector import Detector
from meninx.detect.findings import Findings
from meninx.detect.model_card import SEEN_DIGITS
from meninx.errors import DataError, InputError
from meninx.scan.reading import read_one
from meninx.scan.scan import Scan


@dataclass(frozen=True, eq=False)
class Case:
    """Hold a labeled scan and what was said of it.

    Args:
        picture: The manifest's row.
        findings: Of it, without heat maps.
        facts: What the shortcut probe may look at, by kind.
        peak_inside: Whether the hottest voxel lies in the tumor; None where that can't be told.
        volume: Its slices against its mask; None for pictures and volumes without a mask.
        members: Pictures of its stack; empty for a picture or a volume.
    """

    picture: Picture
    findings: Findings
    facts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    peak_inside: bool | None = None
    volume: VolumeResult | None = None
    members: tuple[Picture, ...] = ()

    def read(self) -> Scan:
        """Read the scan again.

        Returns:
            As it was scored.

        Raises:
            InputError: If that is no longer possible.
        """
        return read_stack(self.members)[0] if self.members else read_one(self.picture.picture)

    @property
    def is_right(self) -> bool:
        """Whether the decision is the label."""
        return self.findings.called == self.picture.tumor

    @property
    def certainty(self) -> float:
        """How far the probability lies from the operating point."""
        return abs((self.findings.probability or 0.0) - (self.findings.threshold or 0.5))


def unseen(
    detector: Detector, manifest: Manifest, *, allow_leaks: bool = False
) -> tuple[list[Picture], int]:
    """Return the pictures that a detector may be judged by.

    Args:
        detector: Whose file says what it was fitted on.
        manifest: Labeled pictures.
        allow_leaks: Judge it by pictures that it was fitted on, too.

    Returns:
        Pictures that share neither slice nor person with any that it was fitted on, and how many
        were left out or, if allowed, are leaking.

    Raises:
        DataError: If none is left.
    """
    seen = set(detector.card.seen)
    pictures = list(manifest.pictures)
    clusters = clusters_of(pictures)
    fitted = {
        cluster
        for picture, cluster in zip(pictures, clusters, strict=True)
        if sha256_of(picture.picture)[:SEEN_DIGITS] in seen
    }
    kept = [one for one, cluster in zip(pictures, clusters, strict=True) if cluster not in fitted]
    left_out = len(pictures) - len(kept)
    if allow_leaks:
        return pictures, left_out
    if not kept:
        raise DataError(
            f"the detector was fitted on all {len(pictures)} pictures, or on others of the same "
            "slice or person: nothing is left to measure it by. Name data that it never saw; "
            "--allow-leaks measures all the same and marks every figure as leaking"
        )
    return kept, left_out


def clusters_of(pictures: Sequence[Picture]) -> list[int]:
    """Return which pictures share a slice or a person, as `data.folds.connected` does."""
    return connected(
        [keys_of(group=one.group, person=one.person, stack=one.stack) for one in pictures]
    )


def score_cases(
    detector: Detector,
    pictures: Sequence[Picture],
    progress: Progress = silent,
    workers: int = 1,
) -> list[Case]:
    """Score labeled pictures.

    Args:
        detector: What is measured; for several workers best loaded with one thread.
        pictures: Rows of a manifest.
        progress: Told how many of how many are done.
        workers: Pictures at a time: reading, scaling and inference leave Python's lock.

    Returns:
        One case a picture, in order.
    """
    cases = []
    units = units_of(pictures)
    with ThreadPoolExecutor(workers) as pool:
        for case in pool.map(lambda unit: score_case(detector, *unit), units):
            cases.append(case)
            progress("scoring", len(cases), len(units))
    return cases


def units_of(pictures: Sequence[Picture]) -> list[tuple[Picture, tuple[Picture, ...]]]:
    """Return what is scored in one go: a picture, a volume, or all pictures of a stack.

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
            sick = [one for one in members if one.tumor]
            row = sick[0] if sick else picture
            units.append((replace(row, id=row.stack, mask=None), members))
    return units


def score_case(detector: Detector, picture: Picture, members: Sequence[Picture] = ()) -> Case:
    """Score one labeled picture, volume or stack and compare it with its mask.

    Args:
        detector: What is measured.
        picture: A manifest's row.
        members: Of its stack, as `units_of` returns them.

    Returns:
        The case; refused or failed if it can't be judged.
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
    volume, peak_inside = None, None
    if not scan.is_volume:
        peak_inside = _peak_in_picture(picture, findings)
    elif mask is not None:
        volume = measure_findings(findings, scan, mask)
    light = replace(findings, slices=(findings.hottest,) if findings.hottest else ())
    return Case(picture, light, facts, peak_inside, volume, tuple(members))


def facts_of(picture: Picture, scan: Scan) -> dict[str, Mapping[str, float]]:
    """Return what the shortcut probe may look at, by kind.

    Args:
        picture: A manifest's row.
        scan: Read from it.

    Returns:
        Intensity statistics of the middle slice and, of a picture, its file's facts.
    """
    facts: dict[str, Mapping[str, float]] = {
        "intensity": intensity_facts(scan.slice(len(scan) // 2).image)
    }
    if not scan.is_volume:
        with Image.open(picture.picture) as opened:
            facts["file"] = file_facts(opened, picture.picture.stat().st_size)
    return facts


def unscored_cases(model: Mapping[str, str], pictures: Sequence[Picture]) -> list[Case]:
    """Return cases that no detector judges, for the shortcut probe to learn from.

    Args:
        model: Of the detector that was fitted on them.
        pictures: Rows of a manifest; unreadable ones are passed over.

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
