"""Draw synthetic outliers for the out-of-distribution model: pictures of no brain, and ghosting.

Leaves represent photographs, clouds textures, bodies and limbs other organs, and shuffled slices
damaged files. All are drawn at random; no photograph or scan of another organ is used.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from meninx._synthesis.shapes import Float32Array

SIDE = 192
# Range of the shifted share of the signal; many good scans have ghosting below the lower bound.
_GHOST_SHARES = (0.2, 0.7)


def synthetic_outliers(
    count: int, known: Sequence[Float32Array], seed: int = 0
) -> Iterator[Float32Array]:
    """Yield pictures of no brain, of every kind in turn.

    Args:
        count: Number of pictures.
        known: Slices of the head, to be shuffled; each of shape (h, w).
        seed: Seed of the random generator.

    Yields:
        Intensities 0..255, shape (192, 192).

    References:
        Hendrycks et al. 2019, Deep anomaly detection with outlier exposure; Baradad et al. 2021,
        Learning to see by looking at noise, for leaves and clouds.
    """
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        kind = number % 5
        if kind == 4:
            picture = _shuffled(rng, known[int(rng.integers(len(known)))])
        else:
            picture = (_leaves, _clouds, _body, _limbs)[kind](rng)
        yield _finished(rng, picture, framed=kind < 2)


def with_ghosting(
    count: int, known: Sequence[Float32Array], seed: int = 0
) -> Iterator[Float32Array]:
    """Yield slices with ghosting: shifted copies added to the slice.

    Periodic motion or an unstable scanner causes such copies; here they are shifted by 1/2 to 1/5
    of the field of view.

    Args:
        count: Number of slices.
        known: Slices of the head to choose from, each of shape (h, w).
        seed: Seed of the random generator.

    Yields:
        Intensities, in the shape of the chosen slice.

    References:
        Wood and Henkelman 1985, MR image artifacts from periodic motion.
    """
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        picture = known[int(rng.integers(len(known)))]
        axis, share = int(rng.integers(2)), rng.uniform(*_GHOST_SHARES)
        shift = picture.shape[axis] // int(rng.integers(2, 6))
        copies = [np.roll(picture, step, axis) for step in (shift, -shift)]
        yield np.asarray(picture * (1 - share) + share * np.mean(copies, axis=0), np.float32)


def _grid() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows, columns = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    return rows, columns


def _oval(
    center: tuple[float, float], radius: tuple[float, float], turn: float, corners: float = 2.0
) -> NDArray[np.bool_]:
    """Return the mask of an oval, or of a rounded box if `corners` is above 2."""
    rows, columns = _grid()
    y, x = rows - center[0], columns - center[1]
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    inside = np.abs(along / radius[0]) ** corners + np.abs(across / radius[1]) ** corners
    return np.asarray(inside < 1)


def _clouds(rng: np.random.Generator) -> Float32Array:
    """Return noise with power decreasing with frequency, like natural images."""
    space = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE)))
    space[0, 0] = 1 / SIDE
    power = space ** -rng.uniform(0.0, 2.2)
    noise = np.fft.fft2(rng.normal(size=(SIDE, SIDE))) * power
    values = np.fft.ifft2(noise).real
    return _spread(values)


def _leaves(rng: np.random.Generator) -> Float32Array:
    """Return overlapping shapes of all sizes, each with its own texture."""
    picture = np.full((SIDE, SIDE), rng.uniform(0, 255))
    for _ in range(int(rng.integers(3, 120))):
        size = 0.05 + 0.9 * rng.random() ** 3
        radius = (size, size * rng.uniform(0.2, 1.0))
        place = (rng.uniform(-1, 1), rng.uniform(-1, 1))
        leaf = _oval(place, radius, rng.uniform(0, np.pi), rng.choice((1.0, 2.0, 2.0, 8.0)))
        texture = rng.normal(0, rng.choice((0, 5, 20)), leaf.sum())
        rows, columns = _grid()
        shade = rng.uniform(-80, 80) * rows[leaf] + rng.uniform(-80, 80) * columns[leaf]
        picture[leaf] = rng.uniform(0, 255) + texture + shade * (rng.random() < 0.5)
    return picture.astype(np.float32)


def _body(rng: np.random.Generator) -> Float32Array:
    """Return a trunk: skin, fat, muscle, spine and organs, alone or in pairs."""
    picture = np.zeros((SIDE, SIDE))
    size = (rng.uniform(0.7, 0.98), rng.uniform(0.45, 0.75))
    corners = rng.uniform(2.0, 3.0)
    for shrink in np.cumsum((0, *rng.uniform(0.02, 0.12, int(rng.integers(1, 4))))):
        inner = (size[0] - shrink, size[1] - shrink)
        picture[_oval((0, 0), inner, 0, corners)] = rng.uniform(20, 255)
    for _ in range(int(rng.integers(2, 16))):
        radius = tuple(rng.uniform(0.02, 0.38, 2))
        place = (rng.uniform(-0.9, 0.9) * size[1] * 0.8, rng.uniform(-0.8, 0.8) * size[0])
        turn, level = rng.uniform(0, np.pi), rng.uniform(0, 255)
        whole = _oval((0, 0), (size[0] - 0.1, size[1] - 0.1), 0, corners)
        picture[_oval(place, radius, turn) & whole] = level
        if rng.random() < 0.5:
            picture[_oval((place[0], -place[1]), radius, -turn) & whole] = level
    return picture.astype(np.float32)


def _limbs(rng: np.random.Generator) -> Float32Array:
    """Return one to three cross sections of limbs: muscle around bone, with fasciae."""
    picture = np.zeros((SIDE, SIDE))
    count = int(rng.integers(1, 4))
    reach = 0.9 / count
    for number in range(count):
        middle = (rng.uniform(-0.05, 0.05), -0.95 + (2 * number + 1) * 0.95 / count)
        flat = rng.uniform(0.7, 1.0)
        for share in (1.0, rng.uniform(0.75, 0.95), rng.uniform(0.15, 0.45), rng.uniform(0.1, 0.3)):
            picture[_oval(middle, (reach * share, reach * share * flat), 0)] = rng.uniform(0, 255)
        for _ in range(int(rng.integers(0, 9))):
            place = tuple(np.array(middle) + rng.uniform(-0.6, 0.6, 2) * reach)
            stripe = (reach * rng.uniform(0.01, 0.1), reach * rng.uniform(0.05, 0.4))
            picture[_oval(place, stripe, rng.uniform(0, np.pi))] = rng.uniform(0, 255)
    return picture.astype(np.float32)


def _shuffled(rng: np.random.Generator, picture: Float32Array) -> Float32Array:
    """Return a slice with shuffled tiles, or a small part of it enlarged."""
    square = np.asarray(Image.fromarray(_spread(picture)).resize((SIDE, SIDE)))
    if rng.random() < 0.5:
        side = int(rng.integers(24, 64))
        row, column = rng.integers(SIDE // 4, 3 * SIDE // 4 - side // 2, 2)
        part = Image.fromarray(square[row : row + side, column : column + side])
        return np.asarray(part.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    side = SIDE // int(rng.choice((3, 4, 6, 8)))
    count = SIDE // side
    grid = square.reshape(count, side, count, side).swapaxes(1, 2)
    tiles = grid.reshape(-1, side, side)[rng.permutation(count * count)]
    return np.asarray(tiles.reshape(count, count, side, side).swapaxes(1, 2).reshape(SIDE, SIDE))


def _finished(rng: np.random.Generator, picture: Float32Array, *, framed: bool) -> Float32Array:
    """Return a picture with blur and noise, and sometimes a round frame."""
    if framed and rng.random() < 0.5:
        frame = _oval((0, 0), (rng.uniform(0.6, 0.95), rng.uniform(0.6, 0.95)), 0)
        picture = np.where(frame, picture, 0)
    soft = Image.fromarray(np.clip(picture, 0, 255).astype(np.float32).round().astype(np.uint8))
    soft = soft.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 1.5))))
    grain = rng.normal(0, rng.uniform(0, 8), (SIDE, SIDE))
    return np.asarray(np.clip(np.asarray(soft) + grain, 0, 255), dtype=np.float32)


def _spread(values: NDArray[np.floating]) -> Float32Array:
    low, high = np.percentile(values, (0.5, 99.5))
    return np.asarray(np.clip((values - low) / max(high - low, 1e-6), 0, 1) * 255, np.float32)
