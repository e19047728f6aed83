"""Make phantom studies: simulated scans with mask, lesion and plane."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from meninx._scan.geometry import Plane
from meninx._scan.scan import Scan, Sequence
from meninx._synthesis.lesion import KINDS, LesionKind
from meninx._synthesis.phantom import Grid, Phantom, grid_of

PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
SEQUENCES: tuple[Sequence, ...] = ("T1", "T1c", "T2", "FLAIR")


@dataclass(frozen=True)
class PhantomStudy:
    """One simulated scan with its ground truth, rendered on first access.

    Args:
        name: Name of its file or folder.
        person: The person in the scanner.
        sequence: MR sequence.
        lesion: Kind of lesion; None for a tumor-free scan.
        plane: Plane of its slices.
        grid: Voxel grid of the scan.
    """

    name: str
    person: Phantom
    sequence: Sequence
    lesion: LesionKind | None
    plane: Plane
    grid: Grid

    @property
    def seed(self) -> int:
        """Seed of the person."""
        return self.person.seed

    @property
    def scan(self) -> Scan:
        """The rendered scan."""
        return self._rendered[0]

    @property
    def mask(self) -> NDArray[np.uint8]:
        """Segmentation mask in the scan's shape, 1 in the tumor."""
        return self._rendered[1]

    @cached_property
    def _rendered(self) -> tuple[Scan, NDArray[np.uint8]]:
        return self.person.render(self.sequence, self.grid)

    def best_slice(self) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return the slice with most tumor, or the middle one without tumor.

        Only this slice is rendered, because a volume takes tens of times as long.

        Returns:
            Image and tumor mask, shape (h, w) each, turned for a reader.
        """
        areas = self.person.tumor_areas(self.grid)
        index = int(areas.argmax()) if areas.any() else len(areas) // 2
        scan, mask = self.person.render(self.sequence, self.grid, only=index)
        return scan.slice(0).image, scan.view.cut(mask, 0)


def make_studies(
    count: int, seed: int, grid: Callable[[Plane], Grid] = grid_of
) -> Iterator[PhantomStudy]:
    """Yield studies, every second one with a lesion, of all kinds, sequences and planes in turn.

    Args:
        count: Number of studies.
        seed: Seed of the first person, incremented for each following one.
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
    """Return the sequence of a study, shared by one with a lesion and the next, tumor-free one."""
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
        The study.
    """
    return PhantomStudy(
        name, Phantom(seed, lesion), sequence, lesion, plane, grid or grid_of(plane)
    )
