"""Make phantoms as studies: a scan, its truth, and how it was cut."""

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
class Study:
    """Hold one synthetic study before it is written.

    Args:
        name: Of its file or folder.
        scan: The pixels.
        mask: Of its shape, 1 in the tumor.
        lesion: What is in it; None for a healthy one.
        plane: How it was cut.
        seed: Of the person.
    """

    name: str
    scan: Scan
    mask: NDArray[np.uint8]
    lesion: LesionKind | None
    plane: Plane
    seed: int


def make_studies(count: int, seed: int, grid: Callable[[Plane], Grid] = grid_of) -> Iterator[Study]:
    """Yield studies, half of them with a lesion, in turn of every kind, sequence and plane.

    Args:
        count: How many.
        seed: The first person's; the next ones follow.
        grid: The voxels of a scan in a plane; usual clinical ones by default.

    Yields:
        Sick and healthy people in turn.
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
    """Return the sequence of a study: pairs of a sick and a healthy one share it."""
    order: tuple[Sequence, ...] = ("T1c", "FLAIR", "T2", "T1")
    return order[(number // 2) % len(order)]


def make_study(
    name: str,
    seed: int,
    lesion: LesionKind | None,
    sequence: Sequence,
    plane: Plane,
    grid: Grid | None = None,
) -> Study:
    """Make one study.

    Args:
        name: Of its file or folder.
        seed: Of the person.
        lesion: What grows in the head; None for a healthy one.
        sequence: The MR contrast.
        plane: How it is cut.
        grid: Where its voxels lie; a usual clinical one by default.

    Returns:
        The study, rendered.
    """
    scan, mask = Phantom(seed, lesion).render(sequence, grid or grid_of(plane))
    return Study(name, scan, mask, lesion, plane, seed)
