"""Decide whether two pictures show the same slice, whichever way one was made from the other.

A signature puts a picture on a square and describes it free of rotation and mirroring: the head's
second moments give a frame in which every affine copy differs by a rotation alone, and the spectrum
along rings of that frame does not depend on the rotation. Signatures propose pairs;
`near_duplicate_score` aligns one picture with the other and compares fine structure, which
neighboring slices do not share.

Legend: s side of the square, 128; y before x everywhere.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Array = NDArray[np.float32]
SIDE = 128
RINGS, ANGLES, HARMONICS = 32, 128, 33
# Rings reach two standard deviations of the head: an ellipse's outline.
REACH = 2.0
# Share of the intensity range above which a pixel belongs to the head.
_HEAD_LEVEL = 0.10
# A pair is aligned if its ring spectra agree this well and its rings at some angle,
MIN_SPECTRUM, MIN_RINGS = 0.95, 0.45
# or if, mirrored or turned by quarters, the whole frames do: other contrast moves the head's frame.
MIN_WHOLE = 0.80
# Correlation of coarse structure below which fine structure is not aligned.
_MIN_COARSE = 0.7
# Correlation of fine structure after half of the steps below which the refinement stops.
_MIN_FINE = 0.75
# Smallest correlation of fine structure of two pictures of one slice. Among 3,843 pictures the
# highest pair of neighboring slices has 0.92; 95 % of copies that were mirrored, rotated by up to
# 40 degrees, brightened, resized or saved as JPEG of quality 10 have at least 0.96.
SAME_SLICE = 0.935
# Share of the square that a head must fill, and gray levels that a picture must have, to
# distinguish people: among slices of 79 people, 54 pairs of two people reach `SAME_SLICE`. 49 of
# them are crowns below this share, 5 are noise of 2 to 9 levels; all other pairs are below 0.91.
MIN_HEAD, MIN_LEVELS = 0.20, 32
# Number of pixels on which gray levels are counted, about.
_COUNTED = 192 * 192
# Number of pairs that are aligned per picture: enough to connect a large group.
MAX_CANDIDATES = 12
# Number of pictures whose structure is cached; about 300 kB each.
_DETAILS_KEPT = 256

_HALF = SIDE // 2
_CENTER = (SIDE - 1) / 2
_RADII = (np.arange(RINGS) + 0.5) / RINGS * REACH
_TURNS = np.arange(ANGLES) * 2 * np.pi / ANGLES
_RING_POINTS = np.stack(
    [_RADII[:, None] * np.sin(_TURNS), _RADII[:, None] * np.cos(_TURNS)]
).reshape(2, -1)
_QUARTERS = [
    np.linalg.matrix_power(np.array([[0.0, -1.0], [1.0, 0.0]]), turn) @ np.diag([1.0, mirror])
    for mirror in (1.0, -1.0)
    for turn in range(4)
]


@dataclass(frozen=True, eq=False)
class Signature:
    """A description of a picture for finding copies.

    Args:
        thumbnail: Picture on a square, shape (s, s), bytes.
        spectrum: Magnitudes along rings, of unit length; free of rotation and mirroring.
        rings: Fourier coefficients of coarse structure along rings, shape (32, 33).
        whole: Coarse structure of the whole frame, shape (24, 24), of unit length.
        coarse: Coarse structure at half the resolution, shape (64, 64).
        center: Center of the head, pixels, shape (2,).
        frame: Matrix from the unit frame to the square, shape (2, 2).
        is_distinctive: Whether it shows enough to distinguish people; the crown of a head does
            not.
    """

    thumbnail: NDArray[np.uint8] = field(repr=False)
    spectrum: Array = field(repr=False)
    rings: NDArray[np.complex64] = field(repr=False)
    whole: Array = field(repr=False)
    coarse: NDArray[np.float16] = field(repr=False)
    center: NDArray[np.float64] = field(repr=False)
    frame: NDArray[np.float64] = field(repr=False)
    is_distinctive: bool = True


class _Affine(NamedTuple):
    """A map from points of one picture to another's: matrix @ point + offset, y before x."""

    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]

    def at(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where points lie in the other picture, both of shape (2, n)."""
        return self.matrix @ points + self.offset[:, None]

    @classmethod
    def around(
        cls,
        matrix: NDArray[np.float64],
        here: NDArray[np.float64],
        there: NDArray[np.float64],
    ) -> "_Affine":
        """Return the map that brings the point `here` to the point `there`."""
        return cls(matrix, there - matrix @ here)


@dataclass(frozen=True, eq=False)
class _Detail:
    """Structure with its slopes, on a grid that may be coarser than the square's.

    Args:
        values: Structure, shape (n, n).
        slope_y: Change a pixel down, shape (n, n).
        slope_x: Change a pixel to the right, shape (n, n).
        head: Mask of the head, 0..1, shape (n, n).
    """

    values: Array
    slope_y: Array
    slope_x: Array
    head: Array

    @classmethod
    def of(cls, values: Array, thumbnail: Array) -> "_Detail":
        """Return structure with its slopes; `thumbnail` has the same shape, 0..1."""
        slope_y, slope_x = (np.asarray(slope, dtype=np.float32) for slope in np.gradient(values))
        width = 2 * len(values) / SIDE
        head = ndimage.gaussian_filter(thumbnail, width) > _HEAD_LEVEL - 0.02
        return cls(values, slope_y, slope_x, np.asarray(head, dtype=np.float32))


def signature_of(image: Array) -> Signature:
    """Return a picture's signature.

    Args:
        image: Intensities, shape (h, w), any unit.

    Returns:
        The signature: identical for a brightened copy, nearly so for a resized or compressed one.
    """
    square = _on_square(image)
    smooth = ndimage.gaussian_filter(square, 1.0)
    head = smooth > _HEAD_LEVEL
    center, frame = _moments(head)
    coarse = _coarse(square)
    rings = _along_rings(coarse, center, frame) * np.sqrt(_RADII)[:, None]
    rings = _unit(rings - rings.mean())
    bands = _along_rings(ndimage.gaussian_filter(square, 1.3), center, frame)
    bands = bands - bands.mean(axis=1, keepdims=True)
    spectrum = np.abs(np.fft.rfft(bands[::2] + bands[1::2], axis=1)[:, 1:17])
    whole = np.asarray(Image.fromarray(coarse).resize((24, 24), Image.Resampling.BOX))
    return Signature(
        thumbnail=np.rint(square * 255).astype(np.uint8),
        spectrum=_unit(np.sqrt(spectrum * np.sqrt(_RADII[::2])[:, None]).ravel()),
        rings=np.fft.rfft(rings, axis=1)[:, :HARMONICS].astype(np.complex64),
        whole=_unit(whole - whole.mean()),
        coarse=_halved(coarse).astype(np.float16),
        center=center,
        frame=frame,
        is_distinctive=bool(head.mean() >= MIN_HEAD) and gray_levels(image) >= MIN_LEVELS,
    )


def ring_agreement(first: Signature, second: Signature) -> float:
    """Return how well the rings of two pictures agree at the best angle, mirrored or not, -1..1."""
    return _best_turn(first, second)[0]


def near_duplicate_score(first: Signature, second: Signature) -> float:
    """Return the correlation of two pictures' fine structure, aligned with each other.

    Each of the two proposals, of the heads' frames and of the whole frames, is refined by
    Gauss-Newton steps on an affine map.

    Args:
        first: Signature of a picture.
        second: Signature of a possible copy.

    Returns:
        Correlation, -1..1; at least `SAME_SLICE` for pictures of the same slice.

    References:
        Lucas and Kanade 1981; Baker and Matthews 2004.
    """
    best = -1.0
    if ring_agreement(first, second) >= MIN_RINGS:
        best = _laid_over(first, second, _map_of_frames(first, second))
    if best < SAME_SLICE:
        proposal, agreement = _map_of_quarters(first, second)
        if agreement >= MIN_RINGS:
            best = max(best, _laid_over(first, second, proposal))
    return best


def quarter_turns(whole: Array) -> list[Array]:
    """Return whole frames in their eight mirrorings and quarter turns.

    Args:
        whole: Whole frames, shape (n, 24, 24).

    Returns:
        Eight arrays of the same shape.
    """
    mirrored = whole[:, :, ::-1]
    return [np.rot90(side, turn, axes=(1, 2)) for side in (whole, mirrored) for turn in range(4)]


def gray_levels(image: Array) -> int:
    """Return about how many gray levels a picture of shape (h, w) has."""
    step = max(1, round((image.size / _COUNTED) ** 0.5))
    return len(np.unique(image[::step, ::step]))


def _unit(values: NDArray[np.floating]) -> Array:
    return np.asarray(values / (np.linalg.norm(values) + 1e-9), dtype=np.float32)


def _on_square(image: Array) -> Array:
    """Return a picture on the square, its robust range spread over 0..1."""
    method = Image.Resampling.BOX if min(image.shape) >= SIDE else Image.Resampling.BILINEAR
    resized = Image.fromarray(np.ascontiguousarray(image, dtype=np.float32)).resize(
        (SIDE, SIDE), method
    )
    return robust_range(np.asarray(resized, dtype=np.float32))


def robust_range(values: Array) -> Array:
    """Return intensities with the 1st percentile at 0 and the 99th at 1, cut off there."""
    low, high = np.percentile(values, (1, 99))
    spread = max(float(high - low), 1e-6)
    return np.asarray(np.clip((values - low) / spread, 0, 1), dtype=np.float32)


def structure_of(square: Array, fine: float, coarse: float, surround: float, floor: float) -> Array:
    """Return detail between two widths, divided by its strength around: free of brightness.

    Args:
        square: Intensities 0..1, shape (s, s).
        fine: Width below which detail is noise, pixels.
        coarse: Width above which it is brightness, pixels.
        surround: Width around a pixel in which strength is measured, pixels.
        floor: Strength that is added, so that air stays flat.

    Returns:
        Structure, shape (s, s).
    """
    band = ndimage.gaussian_filter(square, fine) - ndimage.gaussian_filter(square, coarse)
    strength = np.sqrt(np.maximum(ndimage.gaussian_filter(band * band, surround), 0))
    return np.asarray(band / (strength + floor), dtype=np.float32)


def _coarse(square: Array) -> Array:
    return structure_of(square, 1.8, 7.0, 10.0, 0.03)


def _fine(square: Array) -> Array:
    return structure_of(square, 0.8, 4.0, 6.0, 0.02)


def _moments(head: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the center of a head and the symmetric root of its second moments."""
    if not head.any():
        head = np.ones_like(head)
    y, x = np.nonzero(head)
    center = np.array([y.mean(), x.mean()])
    # One pixel more each way: a head that is a single line would have a singular frame.
    moments = np.cov(np.stack([y, x]), bias=True) + np.eye(2)
    values, vectors = np.linalg.eigh(moments)
    return center, vectors @ np.diag(np.sqrt(values)) @ vectors.T


def _along_rings(image: Array, center: NDArray[np.float64], frame: NDArray[np.float64]) -> Array:
    points = _Affine(frame, center).at(_RING_POINTS)
    return np.asarray(
        ndimage.map_coordinates(image, points, order=1).reshape(RINGS, ANGLES), dtype=np.float32
    )


def _best_turn(first: Signature, second: Signature) -> tuple[float, float, bool]:
    """Return the rings' best agreement, its angle, and whether it is that of the mirror image."""
    plain = np.fft.irfft((first.rings * second.rings.conj()).sum(axis=0), ANGLES)
    mirror = np.fft.irfft((first.rings * second.rings).sum(axis=0), ANGLES)
    mirrored = bool(mirror.max() > plain.max())
    agreement = mirror if mirrored else plain
    return float(agreement.max()), float(_TURNS[int(agreement.argmax())]), mirrored


def _map_of_frames(first: Signature, second: Signature) -> _Affine:
    """Return the map from one square to the other by the heads' frames."""
    _, turn, mirrored = _best_turn(first, second)
    sin, cos = np.sin(turn), np.cos(turn)
    rotation = (
        np.array([[-cos, sin], [sin, cos]]) if mirrored else np.array([[cos, -sin], [sin, cos]])
    )
    matrix = second.frame @ rotation @ np.linalg.inv(first.frame)
    return _Affine.around(matrix, first.center, second.center)


def _map_of_quarters(first: Signature, second: Signature) -> tuple[_Affine, float]:
    """Return the best mirroring and quarter turn of the whole square, and how well it agrees."""
    agreement = _turned_wholes(second.whole) @ first.whole.ravel()
    best = int(agreement.argmax())
    middle = np.full(2, _CENTER)
    return _Affine.around(_QUARTERS[best], middle, middle), float(agreement[best])


def _turned_wholes(whole: Array) -> Array:
    """Return a whole frame as each of `_QUARTERS` maps it, shape (8, pixels)."""
    size = len(whole)
    points = np.indices((size, size)).reshape(2, -1) - (size - 1) / 2
    turned = []
    for matrix in _QUARTERS:
        y, x = np.rint(matrix @ points + (size - 1) / 2).astype(int)
        turned.append(whole[y, x])
    return np.stack(turned)


@lru_cache(maxsize=_DETAILS_KEPT)
def _coarse_detail(signature: Signature) -> _Detail:
    return _Detail.of(
        signature.coarse.astype(np.float32), _halved(_unit_range(signature.thumbnail))
    )


@lru_cache(maxsize=_DETAILS_KEPT)
def _fine_detail(signature: Signature) -> _Detail:
    square = _unit_range(signature.thumbnail)
    return _Detail.of(_fine(square), square)


def _unit_range(thumbnail: NDArray[np.uint8]) -> Array:
    return np.asarray(thumbnail / 255, dtype=np.float32)


def _halved(square: Array) -> Array:
    """Return the mean of every two by two pixels."""
    return np.asarray(square.reshape(_HALF, 2, _HALF, 2).mean(axis=(1, 3)), dtype=np.float32)


def _laid_over(first: Signature, second: Signature, proposal: _Affine) -> float:
    """Return the correlation of fine structure after refining a map of the squares."""
    fixed, moving = _coarse_detail(first), _coarse_detail(second)
    # Centers of pixels of half the resolution lie between two pixels of the square.
    between = np.full(2, 0.5)
    matrix, offset = proposal
    half = _Affine(matrix, (offset + matrix @ between - between) / 2)
    half = _refined(fixed, moving, half, steps=6)
    if _correlation(fixed, moving, half) < _MIN_COARSE:
        return -1.0
    whole = _Affine(half.matrix, 2 * half.offset + between - half.matrix @ between)
    fixed, moving = _fine_detail(first), _fine_detail(second)
    whole = _refined(fixed, moving, whole, steps=3)
    halfway = _correlation(fixed, moving, whole)
    if halfway < _MIN_FINE:
        return halfway
    return _correlation(fixed, moving, _refined(fixed, moving, whole, steps=3))


@lru_cache(maxsize=2)
def _grid(size: int) -> NDArray[np.float64]:
    """Return every second pixel, which is enough to align pictures, shape (2, n)."""
    return np.asarray(np.indices((size, size))[:, 1::2, 1::2].reshape(2, -1), dtype=np.float64)


def _refined(fixed: _Detail, moving: _Detail, start: _Affine, steps: int) -> _Affine:
    """Return a map after a few Gauss-Newton steps on the squared difference."""
    size = len(fixed.values)
    grid, center = _grid(size), (size - 1) / 2
    wanted = fixed.values[1::2, 1::2].ravel()
    unit = (grid - center) / center
    found_map = start
    for _ in range(steps):
        points = found_map.at(grid)
        inside = ((points > 0) & (points < size - 1)).all(axis=0)
        found, y, x = (
            ndimage.map_coordinates(part, points, order=1) * inside
            for part in (moving.values, moving.slope_y, moving.slope_x)
        )
        gain = float((wanted * found).sum() / ((found * found).sum() + 1e-6))
        jacobian = gain * np.stack([y * unit[0], y * unit[1], y, x * unit[0], x * unit[1], x])
        normal = jacobian @ jacobian.T
        damping = (1e-3 * np.trace(normal) / 6 + 1e-9) * np.eye(6)
        step = np.linalg.solve(normal + damping, jacobian @ ((wanted - gain * found) * inside))
        largest = float(np.abs(step).max())
        # Further than a few pixels a linear step can't be trusted.
        step = step * min(1.0, 4.0 / max(largest, 1e-9))
        turn = np.array([[step[0], step[1]], [step[3], step[4]]]) / center
        shift = np.array([step[2], step[5]]) - turn @ np.full(2, center)
        found_map = _Affine(found_map.matrix + turn, found_map.offset + shift)
        if largest < 0.05:
            break
    return found_map


def _correlation(fixed: _Detail, moving: _Detail, laid: _Affine) -> float:
    """Return the correlation of two pictures' detail where either shows the head."""
    size = len(fixed.values)
    points = laid.at(_grid(size))
    inside = ((points > 0) & (points < size - 1)).all(axis=0)
    here = fixed.head[1::2, 1::2].ravel() > 0.5
    there = ndimage.map_coordinates(moving.head, points, order=1) > 0.5
    counted = inside & (here | there)
    # An overlap in a corner alone is no evidence.
    if counted.sum() < 0.25 * max(int(here.sum()), 1) or counted.sum() < 50:
        return -1.0
    first = fixed.values[1::2, 1::2].ravel()[counted]
    second = ndimage.map_coordinates(moving.values, points[:, counted], order=1)
    first, second = first - first.mean(), second - second.mean()
    return float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second) + 1e-9))
