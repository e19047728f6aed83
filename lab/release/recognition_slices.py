"""Slices of known sequence, plane, skull and turn, from which a detector's heads are fitted.

Every slice is seen as one of a volume and as a picture of its own, upright and turned.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lab.release.planes import in_other_planes
from meninx._data.manifest import Manifest, Picture
from meninx._data.stacks import read_stack
from meninx._detect.detector import Detector
from meninx._detect.head_slices import brain_slices
from meninx._detect.recognition import TURNS
from meninx._errors import UnsupportedScan
from meninx._scan.geometry import Plane
from meninx._scan.reading import read_one
from meninx._scan.scan import Scan, Sequence
from meninx._synthesis.head_template import AugmentedHead, template_of
from meninx._synthesis.packed_heads import packed_heads, read_packed_head
from meninx._synthesis.phantom import Phantom, grid_of

# Slices of a scan, at these shares of the slices that show the head.
PLACES = (0.15, 0.5, 0.85)
# Cheng's pictures, one in this number: 233 people have 3,064.
STEP = 6
# Real heads that are simulated in all sequences, T2 among them, which four people have.
SIMULATED_HEADS = 8
# Slices of a simulated head, at some distance, mm, without those at both ends.
SIMULATED_SLICES, SIMULATED_GAP_MM = 5, 22.0
SEQUENCES: tuple[Sequence, ...] = ("T1", "T1c", "T2", "FLAIR")
PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
_FIRST_SEED = 7_000_000
VOLUME, PICTURE, SIMULATED, LOOKED_AT = "volume", "picture", "simulated", "looked at"
# A table of pictures whose sequence and plane were named by looking at them.
_LOOKED_AT = Path(__file__).with_name("looked_at.csv")


class Labels(NamedTuple):
    """The labels of a slice; empty where unknown.

    Args:
        kind: How it is seen: as one of a `volume`, as a `picture`, `simulated` or `looked at`.
        scan: Name of its scan.
        person: Name of its person; of pictures without one, their source and fold.
        site: Hospital or source.
        sequence: MR sequence.
        plane: Anatomic plane.
        skull: Whether the skull is shown: `on` or `stripped`.
        turn: Counterclockwise rotation from upright, degrees.
    """

    kind: str
    scan: str
    person: str
    site: str
    sequence: str = ""
    plane: str = ""
    skull: str = ""
    turn: int = 0


Labeled = tuple[NDArray[np.float32], Labels]


def labeled_slices(detector: Detector, manifest: Manifest, heads: Path) -> Iterator[Labeled]:
    """Yield slices with their labels.

    Args:
        detector: Detector whose input they become.
        manifest: People and pictures, as lab/release/people.py writes them.
        heads: Folder of packed heads.

    Yields:
        Input of the network before normalization, shape (3, s, s), and the labels.
    """
    rng = np.random.default_rng(0)
    for scan, labels in _scans(manifest):
        yield from _of_scan(detector, scan, labels, rng)
    for picture, labels in _pictures(manifest):
        yield from _every_way(_as_picture(detector, read_one(picture)), labels, rng)
    sites = {row.person: row.site for row in manifest.pictures}
    for image, labels in _simulated(heads, sites):
        yield from _every_way(_as_picture(detector, image), labels, rng)


def picture_scan(image: NDArray[np.float32]) -> Scan:
    """Return a slice as a picture without a header."""
    return Scan("picture", np.ascontiguousarray(image.T[:, :, None]))


def _scans(manifest: Manifest) -> Iterator[tuple[Scan, Labels]]:
    """Yield the whole scans of people; those of fine voxels in all planes."""
    stacks: dict[str, list[Picture]] = defaultdict(list)
    for row in manifest.pictures:
        if row.stack:
            stacks[row.stack].append(row)
    for name, members in stacks.items():
        first = members[0]
        labels = Labels(VOLUME, name, first.person, first.site, first.sequence, "axial", "on")
        yield read_stack(members)[0], labels
    for row in manifest.pictures:
        if row.is_volume and not row.tumor:
            scan = read_one(row.picture)
            skull = "stripped" if row.extra["skull"].startswith("stripped") else "on"
            for cut in (scan, *in_other_planes(scan)):
                # The distances of some files are implausible: they are axial.
                plane = cut.view.plane or "axial"
                name = f"{row.id} {plane}"
                yield cut, Labels(VOLUME, name, row.person, row.site, row.sequence, plane, skull)


def _pictures(manifest: Manifest) -> Iterator[tuple[Path, Labels]]:
    """Yield Cheng's pictures, all T1c, and those of fold 1 that were looked at."""
    cheng = [row for row in manifest.pictures if row.source == "cheng-2017"]
    for row in cheng[::STEP]:
        name = f"{row.source}, fold {row.fold}"
        yield row.picture, Labels(PICTURE, row.id, name, row.site, "T1c")
    for row, sequence, plane in looked_at(manifest):
        yield row.picture, Labels(LOOKED_AT, row.id, row.id, row.site, sequence, plane)


def looked_at(manifest: Manifest) -> Iterator[tuple[Picture, str, str]]:
    """Yield the Kaggle pictures of fold 1 with the sequence and plane named by looking at them.

    `CT` and `other` are no MRI of the four sequences; an empty sequence was not decided.
    """
    rows = {row.id: row for row in manifest.fold(1)}
    _, *lines = _LOOKED_AT.read_text(encoding="utf-8").splitlines()
    for name, sequence, plane in (line.split(",") for line in lines):
        if name in rows:
            yield rows[name], sequence, plane


def _simulated(heads: Path, sites: dict[str, str]) -> Iterator[tuple[Scan, Labels]]:
    """Yield slices of augmented heads in every sequence and plane, half of them stripped."""
    chosen = packed_heads(heads)
    for head in chosen[:: max(1, len(chosen) // SIMULATED_HEADS)]:
        template = template_of(read_packed_head(head.path))
        who = head.person
        for number, (sequence, plane) in enumerate(itertools.product(SEQUENCES, PLANES)):
            seed = _FIRST_SEED + number
            phantom = Phantom(seed, None, AugmentedHead(template, seed))
            shape = (176, 192, SIMULATED_SLICES)
            grid = grid_of(plane, shape, (1.25, 1.2, SIMULATED_GAP_MM), 3.0 * (number % 5 - 2))
            strip = number % 2 == 1
            scan, _ = phantom.render(sequence, grid, noise=0.01 * (1 + number % 4), strip=strip)
            skull = "stripped" if strip else "on"
            labels = Labels(SIMULATED, who, who, sites.get(who, who), sequence, plane, skull)
            for place in range(1, SIMULATED_SLICES - 1):
                try:
                    yield picture_scan(scan.slice(place).image), labels
                except UnsupportedScan:
                    continue  # air


def _of_scan(
    detector: Detector, scan: Scan, labels: Labels, rng: np.random.Generator
) -> Iterator[Labeled]:
    """Yield slices of a scan, each with its neighbors, and as a picture, upright and turned."""
    slices = brain_slices(scan)
    wanted = sorted({round(place * (len(slices) - 1)) for place in PLACES})
    stack, _ = detector.input_stack(scan, slices, wanted)
    for number, index in enumerate(wanted):
        yield stack[number], labels
        alone = _as_picture(detector, picture_scan(slices[index].image))
        yield from _every_way(alone, labels._replace(kind=PICTURE), rng)


def _every_way(
    x: NDArray[np.float32], labels: Labels, rng: np.random.Generator
) -> Iterator[Labeled]:
    """Yield a slice in every turn, mirrored or not: what is up does not depend on it."""
    for turn in TURNS:
        mirrored = x[:, :, ::-1] if rng.random() < 0.5 else x
        turned = np.rot90(mirrored, turn // 90, axes=(1, 2))
        yield np.ascontiguousarray(turned), labels._replace(turn=turn)


def _as_picture(detector: Detector, picture: Scan) -> NDArray[np.float32]:
    """Return a picture as the network sees it."""
    stack, _ = detector.input_stack(picture, brain_slices(picture))
    return np.asarray(stack[0])
