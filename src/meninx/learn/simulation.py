"""Make training slices of synthetic heads: negatives and positives from one source."""

import logging
from collections.abc import Iterator

import numpy as np

from meninx.errors import UnsupportedScan
from meninx.learn.dataset import SIMULATED, Example
from meninx.phantom.lesion import KINDS
from meninx.phantom.phantom import SCAN_CENTER, Grid, Phantom, grid_of
from meninx.phantom.writing import make_studies
from meninx.scan.geometry import Plane
from meninx.scan.scan import Scan, Sequence

# Training people are numbered from here, far from those of demos, tests and calibration, so that
# "unseen seed" means what it says.
FIRST_TRAINING_SEED = 1_000_000
FIRST_CALIBRATION_SEED = 2_000_000
SLICES_PER_HEAD = 8
# Share of slices that look as after brain extraction, as research collections often are.
STRIPPED = 0.35
SEQUENCES: tuple[Sequence, ...] = ("T1", "T1c", "T2", "FLAIR", "unknown", "unknown")
# How far slices lie from the middle of the brain along their normal, mm: the whole head, to the
# jaw. Scans show more than brain, and what was never shown as healthy looks like a tumor.
HEAD_REACH = {"sagittal": (-66.0, 66.0), "coronal": (-88.0, 88.0), "axial": (-75.0, 60.0)}

log = logging.getLogger(__name__)


def simulated_examples(heads: int) -> Iterator[Example]:
    """Yield slices of synthetic heads, every other one with a lesion, in random planes.

    Args:
        heads: How many people; each gives `SLICES_PER_HEAD` slices.

    Yields:
        Slices with and without a lesion.
    """
    for number in range(heads):
        seed = FIRST_TRAINING_SEED + number
        yield from _slices_of(seed, sick=number % 2 == 0)
        if (number + 1) % 50 == 0:
            log.info("simulated %d of %d phantoms", number + 1, heads)


def calibration_studies(count: int) -> Iterator[tuple[Scan, bool]]:
    """Yield whole synthetic scans that nothing was trained on, half of them with a lesion.

    Args:
        count: How many.

    Yields:
        The scan, and whether it shows a lesion; every sequence and plane comes up.
    """
    for study in make_studies(count, FIRST_CALIBRATION_SEED):
        yield study.scan, study.lesion is not None


def _slices_of(seed: int, *, sick: bool) -> Iterator[Example]:
    rng = np.random.default_rng((seed, 9))
    kind = KINDS[int(rng.integers(len(KINDS)))] if sick else None
    phantom = Phantom(seed, kind)
    for number in range(SLICES_PER_HEAD):
        sequence = SEQUENCES[int(rng.integers(len(SEQUENCES)))]
        # Three of four slices of a sick head cut the lesion; the others are its own negatives.
        through_lesion = sick and number % 4 != 3
        grid = _slice_grid(rng, phantom, through_lesion=through_lesion)
        strip = bool(rng.random() < STRIPPED)
        noise = float(rng.uniform(0.01, 0.05))
        try:
            scan, mask = phantom.render(sequence, grid, noise=noise, strip=strip)
        except UnsupportedScan:
            continue  # blank: stripped, and beside the brain
        image = scan.slice(0).image
        truth = scan.view.cut(mask, 0).astype(np.float32)
        yield Example(image, truth if truth.any() else None, None, SIMULATED)


def _slice_grid(rng: np.random.Generator, phantom: Phantom, *, through_lesion: bool) -> Grid:
    """Return the grid of a single slice in a random plane, tilt and place."""
    planes: tuple[Plane, ...] = ("axial", "axial", "coronal", "sagittal")
    plane = planes[int(rng.integers(len(planes)))]
    thickness = float(rng.uniform(1.0, 6.0))
    pixel = float(rng.uniform(1.0, 1.4))
    grid = grid_of(plane, (176, 192, 1), (pixel, pixel, thickness), float(rng.normal(0, 6)))
    normal = grid.affine[:3, 2] / np.linalg.norm(grid.affine[:3, 2])
    if through_lesion and phantom.lesion is not None:
        site = phantom.lesion.site
        offset = float((np.array(site.center) - SCAN_CENTER) @ normal)
        offset += rng.uniform(-0.7, 0.7) * site.radius
    else:
        offset = float(rng.uniform(*HEAD_REACH[plane]))
    affine = grid.affine.copy()
    affine[:3, 3] += normal * offset
    return Grid(grid.shape, affine)
