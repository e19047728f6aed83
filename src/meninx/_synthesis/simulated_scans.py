"""Simulate scans and slices from shapes and from head templates, with masks.

Every function has its own range of seeds, so that no two simulate the same person.
"""

from collections.abc import Iterator
from collections.abc import Sequence as Several
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meninx._errors import UnsupportedScan
from meninx._scan.geometry import Plane
from meninx._scan.reading import read_one
from meninx._scan.scan import Scan, Sequence
from meninx._synthesis.head_template import AugmentedHead, HeadTemplate, template_of
from meninx._synthesis.lesion import KINDS
from meninx._synthesis.packed_heads import PACKED_HEAD_SUFFIX, read_packed_head
from meninx._synthesis.phantom import SCAN_CENTER, Grid, Phantom, grid_of
from meninx._synthesis.phantom_studies import PLANES, make_studies

# First seeds of people for each purpose, far from each other and from those of demos and tests.
FIRST_TRAINING_SEED = 1_000_000
_FIRST_CALIBRATION_SEED = 2_000_000
FIRST_AUGMENTED_SEED = 3_000_000
_FIRST_TUMOR_FREE_SEED = 6_000_000
_FIRST_BRAINLESS_SEED = 4_000_000
BRAINLESS_HEADS, BRAINLESS_PER_HEAD, BRAINLESS_TEMPLATES = 80, 4, 8
# Slices are simulated in short stacks of neighbors.
STACKS_PER_HEAD, SLICES_PER_STACK = 3, 4
# Number of stacks per head with a lesion that lie beside the lesion, for tumor-free slices.
_BESIDE_LESION = 1
_STACK_GAPS_MM = (3.0, 7.0)
# Shares of the kinds of lesion: gliomas vary most, and are the usual finding except in T1c.
_KIND_SHARES = tuple(0.6 if kind == "glioma" else 0.2 for kind in KINDS)
# Share of stacks with brain extraction, as in many research collections.
_STRIPPED = 0.35
# Sequences in which lesions have less contrast are more frequent.
SEQUENCES: tuple[Sequence, ...] = (
    *("T1", "T1c", "T2", "FLAIR"),
    *("T1", "T2", "unknown", "unknown"),
)
# Range of slices along their normal, mm from the middle of the brain: the whole head, to the jaw. A
# network takes tissue for a tumor if it never saw it tumor-free.
_HEAD_REACH = {"sagittal": (-66.0, 66.0), "coronal": (-88.0, 88.0), "axial": (-75.0, 60.0)}
# Ranges outside it on both sides, mm, with skin, face, neck or air.
_BRAINLESS_REACH = {
    "sagittal": ((-95.0, -72.0), (72.0, 95.0)),
    "coronal": ((-115.0, -95.0), (90.0, 115.0)),
    "axial": ((-130.0, -80.0), (66.0, 90.0)),
}


@lru_cache(maxsize=2)
def _template(path: Path) -> HeadTemplate:
    scan = read_packed_head(path) if path.suffix == PACKED_HEAD_SUFFIX else read_one(path)
    return template_of(scan)


def simulated_stacks(
    template: Path | None, seeds: Several[int], treated: float = 0.0
) -> Iterator[tuple[Scan, NDArray[np.uint8]]]:
    """Yield short stacks of slices, in random sequences, planes and positions.

    Args:
        template: File of a real head in T1; None for heads made of shapes.
        seeds: Seeds, one per head; every second head has a lesion.
        treated: Share of gliomas that were treated: rings, cavities, blood; 0..1.

    Yields:
        Scans of `SLICES_PER_STACK` slices with the tumor mask in the same shape: up to
        `STACKS_PER_HEAD` per head, without blank ones.
    """
    for number, seed in enumerate(seeds):
        rng = np.random.default_rng((seed, 9))
        kind = KINDS[int(rng.choice(len(KINDS), p=_KIND_SHARES))] if number % 2 == 0 else None
        head = AugmentedHead(_template(template), seed) if template else None
        after = bool(np.random.default_rng((seed, 14)).random() < treated)
        phantom = Phantom(seed, kind, head, treated=after)
        for part in range(STACKS_PER_HEAD):
            through = kind is not None and part >= _BESIDE_LESION
            try:
                yield _stack_of(phantom, rng, through_lesion=through)
            except UnsupportedScan:
                continue  # blank: outside the brain, after brain extraction


def calibration_studies(count: int, heads: Several[Path] = ()) -> Iterator[tuple[Scan, bool]]:
    """Yield whole simulated scans for calibration, half of them with a lesion.

    Args:
        count: Number of scans.
        heads: Files of real heads for half of the scans; empty to make all of shapes.

    Yields:
        The scan, of all sequences and planes, and whether it shows a lesion.
    """
    augmented = count // 4 * 2 if heads else 0
    for study in make_studies(count - augmented, _FIRST_CALIBRATION_SEED):
        yield study.scan, study.lesion is not None
    # Ordered by head, so that each template is computed once.
    for number in sorted(range(augmented), key=lambda number: number // 2 % len(heads)):
        pair, has_lesion = number // 2, number % 2 == 0
        seed = _FIRST_CALIBRATION_SEED + count + number
        head = AugmentedHead(_template(heads[pair % len(heads)]), seed)
        phantom = Phantom(seed, KINDS[pair % len(KINDS)] if has_lesion else None, head)
        sequence = SEQUENCES[pair // len(heads) % 4]
        plane = PLANES[pair // (4 * len(heads)) % len(PLANES)]
        scan, _ = phantom.render(sequence, grid_of(plane), strip=pair // 2 % 2 == 1)
        yield scan, has_lesion


def tumor_free_studies(sequence: Sequence, heads: Several[Path], each: int) -> Iterator[Scan]:
    """Yield whole, axial, tumor-free scans of augmented heads.

    Args:
        sequence: MR sequence.
        heads: Files of real heads.
        each: Number of scans per head.

    Yields:
        The scans.
    """
    for which, path in enumerate(heads):
        for number in range(each):
            seed = _FIRST_TUMOR_FREE_SEED + number * len(heads) + which
            phantom = Phantom(seed, None, AugmentedHead(_template(path), seed))
            yield phantom.render(sequence, grid_of("axial"))[0]


def _stack_of(
    phantom: Phantom, rng: np.random.Generator, *, through_lesion: bool
) -> tuple[Scan, NDArray[np.uint8]]:
    """Return a few neighboring slices of a head, in a random sequence, plane and position."""
    sequence = SEQUENCES[int(rng.integers(len(SEQUENCES)))]
    grid = _stack_grid(rng, phantom, through_lesion=through_lesion)
    strip = bool(rng.random() < _STRIPPED)
    noise = float(rng.uniform(0.01, 0.05))
    return phantom.render(sequence, grid, noise=noise, strip=strip)


def brainless_slices(heads: Several[Path] = ()) -> Iterator[NDArray[np.float32]]:
    """Yield slices of simulated heads that show crown, face or neck, and no brain.

    Args:
        heads: Files of real heads for half of the slices; empty to make all of shapes.

    Yields:
        Intensities, shape (h, w), in every sequence and plane.
    """
    # A few heads in order, because a template takes as long as all of its slices.
    chosen = heads[:: max(1, len(heads) // BRAINLESS_TEMPLATES)][:BRAINLESS_TEMPLATES]
    for number in range(BRAINLESS_HEADS):
        seed = _FIRST_BRAINLESS_SEED + number
        rng = np.random.default_rng((seed, 9))
        head = None
        if chosen and number % 2:
            head = AugmentedHead(_template(chosen[number * len(chosen) // BRAINLESS_HEADS]), seed)
        phantom = Phantom(seed, None, head)
        for _ in range(BRAINLESS_PER_HEAD):
            plane = PLANES[int(rng.integers(len(PLANES)))]
            sides = _BRAINLESS_REACH[plane]
            offset = rng.uniform(*sides[int(rng.integers(len(sides)))])
            grid = grid_of(plane, (176, 192, 1), (1.2, 1.2, 3.0), float(rng.normal(0, 6)))
            sequence = SEQUENCES[int(rng.integers(4))]
            noise = float(rng.uniform(0.01, 0.05))
            try:
                scan, _ = phantom.render(sequence, _moved(grid, float(offset)), noise=noise)
            except UnsupportedScan:
                continue  # air
            yield scan.slice(0).image


def _moved(grid: Grid, offset: float) -> Grid:
    """Return a grid shifted along its normal by an offset, mm."""
    affine = grid.affine.copy()
    affine[:3, 3] += grid.affine[:3, 2] / np.linalg.norm(grid.affine[:3, 2]) * offset
    return Grid(grid.shape, affine)


def _stack_grid(rng: np.random.Generator, phantom: Phantom, *, through_lesion: bool) -> Grid:
    """Return the grid of a few slices in a random plane, tilt and position."""
    planes: tuple[Plane, ...] = ("axial", "axial", "coronal", "sagittal")
    plane = planes[int(rng.integers(len(planes)))]
    gap = float(rng.uniform(*_STACK_GAPS_MM))
    pixel = float(rng.uniform(1.0, 1.4))
    shape = (176, 192, SLICES_PER_STACK)
    grid = grid_of(plane, shape, (pixel, pixel, gap), float(rng.normal(0, 6)))
    normal = grid.affine[:3, 2] / np.linalg.norm(grid.affine[:3, 2])
    if through_lesion and phantom.lesion is not None:
        site = phantom.lesion.site
        offset = float((np.array(site.center) - SCAN_CENTER) @ normal)
        offset += rng.uniform(-0.7, 0.7) * site.radius
    else:
        offset = float(rng.uniform(*_HEAD_REACH[plane]))
    return _moved(grid, offset)
