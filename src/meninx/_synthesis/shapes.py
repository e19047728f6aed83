"""Shapes and noise in 3-D, from which anatomy is built.

Points are arrays of shape (3, n), LPS mm, float32.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
Point = Sequence[float] | Float32Array


def ellipsoid(points: Float32Array, center: Point, radii: Point) -> Float32Array:
    """Return the signed distance of points to an ellipsoid, negative inside, mm.

    First-order exact near the surface, as needed for partial volume (Quilez 2008).

    Args:
        points: Points, shape (3, n), LPS mm.
        center: Middle of the ellipsoid, LPS mm.
        radii: Radii along x, y and z, mm.

    Returns:
        Signed distance, mm, shape (n,).
    """
    r = np.asarray(radii, dtype=np.float32)[:, None]
    scaled = (points - np.asarray(center, dtype=np.float32)[:, None]) / r
    k0 = np.sqrt((scaled**2).sum(axis=0))
    k1 = np.sqrt(((scaled / r) ** 2).sum(axis=0))
    return np.asarray(k0 * (k0 - 1) / np.maximum(k1, 1e-6))


def capsule(points: Float32Array, start: Point, end: Point, radius: float) -> Float32Array:
    """Return the signed distance of points to a tube with round ends, negative inside, mm."""
    a = np.asarray(start, dtype=np.float32)[:, None]
    axis = np.asarray(end, dtype=np.float32)[:, None] - a
    along = np.clip(((points - a) * axis).sum(axis=0) / (axis**2).sum(), 0, 1)
    return np.asarray(np.sqrt(((points - a - along * axis) ** 2).sum(axis=0)) - radius)


def union(*distances: Float32Array) -> Float32Array:
    """Return the distance to the nearest of several shapes."""
    return np.asarray(np.minimum.reduce(distances))


def smooth_union(first: Float32Array, second: Float32Array, radius: float) -> Float32Array:
    """Return the distance to two shapes melted together over `radius` mm."""
    blend = np.clip(0.5 + 0.5 * (second - first) / radius, 0, 1)
    return np.asarray(second + (first - second) * blend - radius * blend * (1 - blend))


def inside(distance: Float32Array, softness: float) -> Float32Array:
    """Return the share of a voxel inside a shape, 0..1.

    Args:
        distance: Signed distance to the shape, mm.
        softness: Half the width of the transition from outside to inside, mm.

    Returns:
        Share 0..1, in the distance's shape.
    """
    return np.asarray(np.clip(0.5 - distance / (2 * softness), 0, 1))


@cache
def _spectrum(side: int, per_length: int) -> NDArray[np.float64]:
    """Return the weight of each frequency of smooth noise, in the order of `rfftn`."""
    frequency = np.fft.fftfreq(side) * per_length
    half = np.fft.rfftfreq(side) * per_length
    squared = frequency[:, None, None] ** 2 + frequency[None, :, None] ** 2 + half[None, None] ** 2
    return np.asarray(np.exp(-2 * squared))


class SmoothNoise:
    """A smooth random field of unit variance, periodic over a large distance.

    Args:
        rng: Random generator of the field.
        length: Correlation length, mm.
    """

    SIDE = 64  # a power of two, so that the field repeats by a bit mask
    PER_LENGTH = 4  # lattice points per correlation length, enough for linear interpolation

    def __init__(self, rng: np.random.Generator, length: float) -> None:
        white = np.fft.rfftn(rng.standard_normal((self.SIDE,) * 3))
        white *= _spectrum(self.SIDE, self.PER_LENGTH)
        field = np.fft.irfftn(white, s=(self.SIDE,) * 3, axes=(0, 1, 2))
        self._field = (field / field.std()).astype(np.float32).ravel()
        self._step = length / self.PER_LENGTH

    def __call__(self, points: Float32Array) -> Float32Array:
        """Return the field at points of shape (3, n), shape (n,)."""
        position = points / np.float32(self._step)
        lower = np.floor(position)
        above = position - lower
        share = ((1 - above[0], above[0]), (1 - above[1], above[1]), (1 - above[2], above[2]))
        base = lower.astype(np.int32) & (self.SIDE - 1)
        index = (base, (base + 1) & (self.SIDE - 1))
        lines = [
            (index[x][0] * self.SIDE**2 + index[y][1] * self.SIDE, share[0][x] * share[1][y])
            for y in (0, 1)
            for x in (0, 1)
        ]
        result = np.zeros(points.shape[1], dtype=np.float32)
        for z in (0, 1):
            for line, weight in lines:
                corner = self._field.take(line + index[z][2])
                corner *= weight * share[2][z]
                result += corner
        return result
