"""Render a synthetic head as a Scan, with the mask of its lesion."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from meninx._scan.geometry import Plane, affine_of_stack
from meninx._scan.scan import Scan, Sequence
from meninx._synthesis.anatomy import Anatomy, Head
from meninx._synthesis.contrast import TIMINGS, random_signals, signal, varied_tissues
from meninx._synthesis.lesion import Lesion, LesionKind
from meninx._synthesis.shapes import Float32Array

# Share of gliomas without contrast enhancement, such as low-grade ones.
_NOT_ENHANCING = 0.3
# Brightest tissue of 12-bit scanners, below full scale.
_FULL_SCALE = 1800.0
# Points rendered at once: arrays of this size fit into the cache, which is twice as fast.
BLOCK = 32768
# Brain extraction leaves a rim of the meninges.
_BRAIN_EXTRACTION_MM = 1.0
# Row and column direction cosines of each plane, as scanners write them (LPS).
ORIENTATIONS = {
    "axial": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "coronal": (1.0, 0.0, 0.0, 0.0, 0.0, -1.0),
    "sagittal": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
}
# Middle of a scan's volume, LPS mm from the origin in the middle of the brain.
SCAN_CENTER = (0.0, 4.0, -4.0)


@dataclass(frozen=True)
class Grid:
    """The voxel grid of a scan.

    Args:
        shape: Number of columns, rows and slices.
        affine: Affine from voxel index to LPS mm, shape (4, 4).
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    def points(self, shift: float = 0.0, only: int | None = None) -> Float32Array:
        """Return the centers of voxels.

        Args:
            shift: Offset along k, as a share of a voxel.
            only: Index of a slice; None for all.

        Returns:
            Shape (3, n), LPS mm.
        """
        columns, rows, slices = (np.arange(side) for side in self.shape)
        along = slices if only is None else slices[only : only + 1]
        axes = (columns, rows, along + shift)
        index = np.stack(np.meshgrid(*axes, indexing="ij")).reshape(3, -1)
        return np.asarray(self.affine[:3, :3] @ index + self.affine[:3, 3:], dtype=np.float32)


def grid_of(
    plane: Plane = "axial",
    shape: tuple[int, int, int] = (160, 192, 24),
    spacing: tuple[float, float, float] = (1.3, 1.25, 6.0),
    tilt_degrees: float = 0.0,
) -> Grid:
    """Return the grid of a scan centered on the brain.

    Args:
        plane: Plane of its slices.
        shape: Number of columns, rows and slices.
        spacing: Distance between columns, rows and slices, mm.
        tilt_degrees: Rotation about the patient's left-right axis, degrees; not 0 for an oblique
            series.

    Returns:
        The grid.
    """
    cosines = np.array(ORIENTATIONS[plane]).reshape(2, 3)
    turn = np.deg2rad(tilt_degrees)
    rotation = np.array(
        [[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]]
    )
    orientation = (cosines @ rotation.T).ravel()
    affine = affine_of_stack((0, 0, 0), orientation, (spacing[1], spacing[0]), spacing[2])
    middle = (np.array(shape) - 1) / 2
    affine[:3, 3] = np.array(SCAN_CENTER) - affine[:3, :3] @ middle
    return Grid(shape, affine)


class Phantom:
    """A synthetic person.

    Args:
        seed: Seed of anatomy, tissues and lesion; the same seed makes the same person.
        lesion: Kind of lesion; None for a tumor-free person.
        head: Anatomy of the head; None for a new one made of shapes.
        treated: Whether a glioma was treated (`Lesion`).
    """

    def __init__(
        self,
        seed: int,
        lesion: LesionKind | None = None,
        head: Anatomy | None = None,
        *,
        treated: bool = False,
    ) -> None:
        self.seed = seed
        self.head = head or Head(seed)
        self.lesion = Lesion(lesion, self.head, seed, treated=treated) if lesion else None
        self._tissues = varied_tissues(np.random.default_rng((seed, 3)))
        if lesion == "glioma" and np.random.default_rng((seed, 8)).random() < _NOT_ENHANCING:
            self._tissues["tumor_solid"] = replace(self._tissues["tumor_solid"], uptake=0.0)

    def signals(self, sequence: Sequence) -> dict[str, float]:
        """Return the signal of every tissue in a sequence; in a random contrast for `unknown`."""
        if sequence == "unknown":
            return random_signals(np.random.default_rng((self.seed, 4)))
        timing = TIMINGS[sequence]
        return {name: signal(tissue, timing) for name, tissue in self._tissues.items()}

    def render(
        self,
        sequence: Sequence,
        grid: Grid,
        *,
        noise: float = 0.02,
        samples: int = 2,
        strip: bool = False,
        only: int | None = None,
    ) -> tuple[Scan, NDArray[np.uint8]]:
        """Return a scan of the person, and the mask of the lesion.

        Args:
            sequence: MR sequence.
            grid: Voxel grid of the scan.
            noise: Standard deviation of each channel's noise, relative to white matter's signal.
            samples: Number of points averaged across each slice, for partial volume effects.
            strip: Whether to apply brain extraction: voxels outside the skull's cavity are 0.
            only: Index of a single slice to render, with the same voxels as in the whole scan; None
                for all slices.

        Returns:
            The scan, and a mask of its shape: 1 if most of the voxel is tumor or edema.
        """
        signals = self.signals(sequence)
        shape = grid.shape if only is None else (*grid.shape[:2], 1)
        image = np.zeros(int(np.prod(shape)), dtype=np.float32)
        tumor = np.zeros_like(image)
        softness = _softness(grid)
        for shift in _shifts(samples):
            part, mask = self._sampled(grid.points(shift, only), signals, softness)
            image += part / samples
            tumor += mask / samples
        rng = np.random.default_rng((self.seed, 5))
        points = grid.points(only=only)
        image *= _bias_field(rng, points)
        noise_values = rng.normal(0, noise * max(signals["white"], 0.05), (2, *grid.shape))
        rendered = slice(None) if only is None else slice(only, only + 1)
        image = _with_rician_noise(image, noise_values[..., rendered])
        if strip:
            brain = self.head.cavity_distance(points) < _BRAIN_EXTRACTION_MM
            image, tumor = image * brain, tumor * brain
        image *= _FULL_SCALE / max(max(signals["white"], signals["gray"]) * 2.2, 0.2)
        voxels = np.rint(np.clip(image, 0, 4095)).astype(np.float32).reshape(shape)
        affine = grid.affine.copy()
        affine[:3, 3] += affine[:3, 2] * (only or 0)
        scan = Scan(f"phantom-{self.seed}", voxels, affine, sequence, slice_axis=2)
        return scan, (tumor.reshape(shape) > 0.5).astype(np.uint8)

    def tumor_areas(self, grid: Grid, samples: int = 2) -> NDArray[np.int64]:
        """Return the number of tumor pixels of each slice, without rendering.

        Args:
            grid: Voxel grid of the scan.
            samples: Number of points averaged across each slice.

        Returns:
            Shape (n_slices,).
        """
        if self.lesion is None:
            return np.zeros(grid.shape[2], dtype=np.int64)
        share = np.zeros(int(np.prod(grid.shape)), dtype=np.float32)
        softness = _softness(grid)
        for shift in _shifts(samples):
            points = grid.points(shift)
            parts = [self._tumor_share(block, softness) for block in _blocks(points)]
            share += np.concatenate(parts) / samples
        return np.asarray((share.reshape(grid.shape) > 0.5).sum(axis=(0, 1)))

    def _sampled(
        self, points: Float32Array, signals: dict[str, float], softness: float
    ) -> tuple[Float32Array, Float32Array]:
        """Return signal and share of tumor at points, shape (n,) each."""
        parts = [self._sampled_block(block, signals, softness) for block in _blocks(points)]
        return np.concatenate([part[0] for part in parts]), np.concatenate([p[1] for p in parts])

    def _sampled_block(
        self, points: Float32Array, signals: dict[str, float], softness: float
    ) -> tuple[Float32Array, Float32Array]:
        """Return signal and share of tumor at points, shape (n,) each."""
        before = points if self.lesion is None else self.lesion.displaced(points)
        image = self.head.signal_at(before, signals, softness)
        tumor = np.zeros_like(image)
        if self.lesion is not None:
            texture = self.lesion.texture(points)
            for tissue, share in self.lesion.shares(points, softness):
                image += share * (signals[tissue] * texture - image)
                tumor += share * (1 - tumor)
        return image, tumor

    def _tumor_share(self, points: Float32Array, softness: float) -> Float32Array:
        """Return the share of tumor at points, shape (n,)."""
        tumor = np.zeros(points.shape[1], dtype=np.float32)
        if self.lesion is not None:
            for _, share in self.lesion.shares(points, softness):
                tumor += share * (1 - tumor)
        return tumor


def _softness(grid: Grid) -> float:
    """Return half the width of the transition between tissues, mm."""
    return float(max(0.5 * np.linalg.norm(grid.affine[:3, :2], axis=0).mean(), 0.3))


def _shifts(samples: int) -> list[float]:
    """Return the offsets of the points averaged across a slice, as shares of its thickness."""
    return [(sample + 0.5) / samples - 0.5 for sample in range(samples)]


def _blocks(points: Float32Array) -> Iterator[Float32Array]:
    for start in range(0, points.shape[1], BLOCK):
        yield points[:, start : start + BLOCK]


def _bias_field(rng: np.random.Generator, points: Float32Array) -> Float32Array:
    """Return the smooth sensitivity of the receiver coils, 1 +- about 15 %."""
    x, y, z = points / np.float32(100)
    a = rng.normal(0, 0.06, 6)
    field = a[0] * x + a[1] * y + a[2] * z + a[3] * x * y + a[4] * (x**2 - 0.3) + a[5] * y * z
    return np.asarray(np.exp(field), dtype=np.float32)


def _with_rician_noise(image: Float32Array, channels: NDArray[np.float64]) -> Float32Array:
    """Return a magnitude image with Gaussian noise in both channels (Gudbjartsson, Patz 1995)."""
    real, imaginary = channels.reshape(2, -1).astype(np.float32)
    return np.asarray(np.hypot(image + real, imaginary), dtype=np.float32)
