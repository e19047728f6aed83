"""Make phantom studies: a scan with its mask, lesion and plane."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meninx.scan.geometry import Plane
from meninx.scan.scan import Scan, Sequence
from meninx.synthesis.lesion import KINDS, LesionKind
from meninx.synthesis.phantom import Grid, Phantom, grid_of

PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
SEQUENCES: tuple[Sequence, ...] = ("T1", "T1c", "T2", "FLAIR")


@dataclass(frozen=True)
class PhantomStudy:
    """One synthetic scan with its truth.

    Args:
        name: Name of its file or folder.
        scan: The rendered scan.
        mask: Segmentation mask in the scan's shape, 1 in the tumor.
        lesion: Kind of lesion; None for a tumor-free scan.
        plane: Plane of its slices.
        seed: Seed of the person.
    """

    name: str
    scan: Scan
    mask: NDArray[np.uint8]
    lesion: LesionKind | None
    plane: Plane
    seed: int


def make_studies(
    count: int, seed: int, grid: Callable[[Plane], Grid] = grid_of
) -> Iterator[PhantomStudy]:
    """Yield studies, every other one with a lesion, of all kinds, sequences and planes in turn.

    Args:
        count: Number of studies.
        seed: Seed of the first person; the next ones count up from it.
        grid: Function that returns the voxel grid of a plane; a usual clinical grid by default.

    Yields:
        Studies with a lesion and tumor-free studies, in turn.
    """
    for number in range(count):
        lesion = KINDS[(number // 2) % len(KINDS)] if number % 2 == 0 else None
        plane = PLANES[(number // 4) % len(PLANES)]
        yield make_study(
            f"phantom-{seed + number:04d}",
            seed + number,
            lesion,
            _sequence(number),
            plane,
            grid(plane),
        )


def _sequence(number: int) -> Sequence:
    """Return the sequence of a study: one with a lesion and the tumor-free next one share it."""
    order: tuple[Sequence, ...] = ("T1c", "FLAIR", "T2", "T1")
    return order[(number // 2) % len(order)]


def make_study(
    name: str,
    seed: int,
    lesion: LesionKind | None,
    sequence: Sequence,
    plane: Plane,
    grid: Grid | None = None,
) -> PhantomStudy:
    """Make one study.

    Args:
        name: Name of its file or folder.
        seed: Seed of the person.
        lesion: Kind of lesion; None for a tumor-free person.
        sequence: MR sequence.
        plane: Plane of its slices.
        grid: Voxel grid; a usual clinical grid by default.

    Returns:
        The study, rendered.
    """
    scan, mask = Phantom(seed, lesion).render(sequence, grid or grid_of(plane))
    return PhantomStudy(name, scan, mask, lesion, plane, seed)
