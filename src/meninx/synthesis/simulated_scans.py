"""Scans and slices simulated from shapes and from real heads, with their truth.

Every function draws from people of its own range of seeds.
"""

from collections.abc import Iterator
from collections.abc import Sequence as Several
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meninx.errors import UnsupportedScan
from meninx.scan.geometry import Plane
from meninx.scan.reading import read_one
from meninx.scan.scan import Scan, Sequence
from meninx.synthesis.head_template import AugmentedHead, HeadTemplate, template_of
from meninx.synthesis.lesion import KINDS
from meninx.synthesis.packed_heads import PACKED_HEAD_SUFFIX, read_packed_head
from meninx.synthesis.phantom import SCAN_CENTER, Grid, Phantom, grid_of
from meninx.synthesis.phantom_studies import PLANES, make_studies

# Training people are numbered from here, far from those of demos, tests and calibration, so that
# "unseen seed" means what it says.
FIRST_TRAINING_SEED = 1_000_000
FIRST_CALIBRATION_SEED = 2_000_000
FIRST_AUGMENTED_SEED = 3_000_000
FIRST_TUMOR_FREE_SEED = 6_000_000
FIRST_BRAINLESS_SEED = 4_000_000
BRAINLESS_HEADS, BRAINLESS_PER_HEAD, BRAINLESS_TEMPLATES = 80, 4, 8
# Slices come in short stacks: neighbors of each other, as in a scan.
STACKS_PER_HEAD, SLICES_PER_STACK = 3, 4
# Of the stacks of a head with a lesion, so many lie beside it: its own negatives.
BESIDE_LESION = 1
STACK_GAPS_MM = (3.0, 7.0)
# Gliomas vary most and are what sequences other than T1 with contrast are looked at for.
KIND_SHARES = tuple(0.6 if kind == "glioma" else 0.2 for kind in KINDS)
# Share of slices that look as after brain extraction, as research collections often are.
STRIPPED = 0.35
# Those in which lesions are hardest to tell from healthy tissue come up more often.
SEQUENCES: tuple[Sequence, ...] = (
    "T1", "T1c", "T2", "FLAIR", "T1", "T2", "unknown", "unknown",
)  # fmt: skip
# How far slices lie from the middle of the brain along their normal, mm: the whole head, to the
# jaw. Scans show more than brain, and what was never shown as healthy looks like a tumor.
HEAD_REACH = {"sagittal": (-66.0, 66.0), "coronal": (-88.0, 88.0), "axial": (-75.0, 60.0)}
# Beyond it there is skin, face, neck or air: how far, mm, on both sides.
BRAINLESS_REACH = {
    "sagittal": ((-95.0, -72.0), (72.0, 95.0)),
    "coronal": ((-115.0, -95.0), (90.0, 115.0)),
    "axial": ((-130.0, -80.0), (66.0, 90.0)),
}


@lru_cache(maxsize=2)
def _template(path: Path) -> HeadTemplate:
    scan = read_packed_head(path) if path.suffix == PACKED_HEAD_SUFFIX else read_one(path)
    return template_of(scan)


def simulated_stacks(
    template: Path | None, seeds: Several[int]
) -> Iterator[tuple[Scan, NDArray[np.uint8]]]:
    """Yield short stacks of slices, in random sequences, planes and places.

    Args:
        template: A real head in T1; None for heads made of shapes.
        seeds: One a head; every other head gets a lesion, or a head's looks would tell.

    Yields:
        Up to `STACKS_PER_HEAD` scans of `SLICES_PER_STACK` slices a head, fewer where some show
        nothing, and the tumor's mask of the same shape.
    """
    for number, seed in enumerate(seeds):
        rng = np.random.default_rng((seed, 9))
        kind = KINDS[int(rng.choice(len(KINDS), p=KIND_SHARES))] if number % 2 == 0 else None
        head = AugmentedHead(_template(template), seed) if template else None
        phantom = Phantom(seed, kind, head)
        for part in range(STACKS_PER_HEAD):
            through = kind is not None and part >= BESIDE_LESION
            try:
                yield _stack_of(phantom, rng, through_lesion=through)
            except UnsupportedScan:
                continue  # blank: stripped, and beside the brain


def calibration_studies(count: int, heads: Several[Path] = ()) -> Iterator[tuple[Scan, bool]]:
    """Yield whole simulated scans that nothing was trained on, half of them with a lesion.

    Args:
        count: How many.
        heads: Real heads that half of them are made from; none to make all of shapes.

    Yields:
        The scan, and whether it shows a lesion; every sequence and plane comes up.
    """
    augmented = count // 4 * 2 if heads else 0
    for study in make_studies(count - augmented, FIRST_CALIBRATION_SEED):
        yield study.scan, study.lesion is not None
    # By head: each is prepared once.
    for number in sorted(range(augmented), key=lambda number: number // 2 % len(heads)):
        pair, sick = number // 2, number % 2 == 0
        seed = FIRST_CALIBRATION_SEED + count + number
        head = AugmentedHead(_template(heads[pair % len(heads)]), seed)
        phantom = Phantom(seed, KINDS[pair % len(KINDS)] if sick else None, head)
        sequence = SEQUENCES[pair // len(heads) % 4]
        plane = PLANES[pair // (4 * len(heads)) % len(PLANES)]
        scan, _ = phantom.render(sequence, grid_of(plane), strip=pair // 2 % 2 == 1)
        yield scan, sick


def tumor_free_studies(sequence: Sequence, heads: Several[Path], each: int) -> Iterator[Scan]:
    """Yield whole simulated scans without lesion, axial, of heads that nothing was trained on.

    Args:
        sequence: The MR contrast.
        heads: Real heads that they are made from.
        each: Scans of each head.

    Yields:
        Scans of seeds of their own.
    """
    for which, path in enumerate(heads):
        for number in range(each):
            seed = FIRST_TUMOR_FREE_SEED + number * len(heads) + which
            phantom = Phantom(seed, None, AugmentedHead(_template(path), seed))
            yield phantom.render(sequence, grid_of("axial"))[0]


def _stack_of(
    phantom: Phantom, rng: np.random.Generator, *, through_lesion: bool
) -> tuple[Scan, NDArray[np.uint8]]:
    """Return a few neighboring slices of a head, in a random sequence, plane and place."""
    sequence = SEQUENCES[int(rng.integers(len(SEQUENCES)))]
    grid = _stack_grid(rng, phantom, through_lesion=through_lesion)
    strip = bool(rng.random() < STRIPPED)
    noise = float(rng.uniform(0.01, 0.05))
    return phantom.render(sequence, grid, noise=noise, strip=strip)


def brainless_slices(heads: Several[Path] = ()) -> Iterator[NDArray[np.float32]]:
    """Yield slices of simulated heads that show crown, face or neck, and no brain.

    Args:
        heads: Real heads that half of them are made from; none to make all of shapes.

    Yields:
        Intensities, shape (h, w), in every sequence and plane.
    """
    # A few heads, one after the other: preparing one takes as long as all its slices.
    chosen = heads[:: max(1, len(heads) // BRAINLESS_TEMPLATES)][:BRAINLESS_TEMPLATES]
    for number in range(BRAINLESS_HEADS):
        seed = FIRST_BRAINLESS_SEED + number
        rng = np.random.default_rng((seed, 9))
        head = None
        if chosen and number % 2:
            head = AugmentedHead(_template(chosen[number * len(chosen) // BRAINLESS_HEADS]), seed)
        phantom = Phantom(seed, None, head)
        for _ in range(BRAINLESS_PER_HEAD):
            plane = PLANES[int(rng.integers(len(PLANES)))]
            sides = BRAINLESS_REACH[plane]
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
    """Return a grid moved along its normal by so many mm."""
    affine = grid.affine.copy()
    affine[:3, 3] += grid.affine[:3, 2] / np.linalg.norm(grid.affine[:3, 2]) * offset
    return Grid(grid.shape, affine)


def _stack_grid(rng: np.random.Generator, phantom: Phantom, *, through_lesion: bool) -> Grid:
    """Return the grid of a few slices in a random plane, tilt and place."""
    planes: tuple[Plane, ...] = ("axial", "axial", "coronal", "sagittal")
    plane = planes[int(rng.integers(len(planes)))]
    gap = float(rng.uniform(*STACK_GAPS_MM))
    pixel = float(rng.uniform(1.0, 1.4))
    shape = (176, 192, SLICES_PER_STACK)
    grid = grid_of(plane, shape, (pixel, pixel, gap), float(rng.normal(0, 6)))
    normal = grid.affine[:3, 2] / np.linalg.norm(grid.affine[:3, 2])
    if through_lesion and phantom.lesion is not None:
        site = phantom.lesion.site
        offset = float((np.array(site.center) - SCAN_CENTER) @ normal)
        offset += rng.uniform(-0.7, 0.7) * site.radius
    else:
        offset = float(rng.uniform(*HEAD_REACH[plane]))
    return _moved(grid, offset)
