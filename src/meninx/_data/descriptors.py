"""Describe a slice in 32 bytes, to find copies of it without the picture itself.

A detector file holds a descriptor of each slice that it learned from. The signatures of
`near_duplicates` are more accurate but contain the picture. A descriptor is the signs of low
frequencies of fine structure in a frame of the head, independent of size, borders, brightness and
contrast. Mirroring or turning a slice by quarters changes signs or exchanges bits, so one
descriptor covers all eight cases.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft, ndimage

from meninx._data.manifest import Picture
from meninx._data.near_duplicates import MIN_LEVELS, SIDE, gray_levels, robust_range, structure_of
from meninx._data.progress import Progress, silent
from meninx._detect.head_slices import brain_slices
from meninx._detect.model_card import DESCRIPTOR_BYTES, MAX_DESCRIPTORS, SeenSlices
from meninx._errors import InputError
from meninx._scan.raster import read_gray
from meninx._scan.reading import read_one
from meninx._scan.scan import Scan

Array = NDArray[np.float32]
Descriptors = NDArray[np.uint8]
# Side of the frame, pixels, and frequencies along each of its axes: one bit each.
FRAME, FREQUENCIES = 40, 16
# Reach of the frame, standard deviations of the head. An ellipse's outline is at 2: within it,
# people differ more, which allows a larger distance of copies.
REACH = 1.5
# Largest distance of a copy, bits of 256. 0.3 % of other people's slices are as close to one of
# 13,569 slices (docs/results.md, from lab/evidence/copies.py).
MAX_DISTANCE = 55
# Share of the picture that a head must fill: crowns of two heads look alike.
MIN_HEAD = 0.10
# Widths and floor of `structure_of`, pixels of the frame.
_STRUCTURE = (0.6, 3.0, 4.0, 0.03)
# Smallest number and share of copied slices in a copied volume or stack: a volume of 150 slices has
# a slice that resembles another person's by chance.
MIN_SLICES, MIN_SHARE = 2, 0.1
# Distance between the described slices of a volume, mm: neighbors are alike.
_STEP_MM = 3.0
# Number of bins in which the head's threshold is sought.
_LEVELS = 64
# Number of rows of the table of distances in memory at once.
BLOCK = 256


def descriptor_of(image: Array) -> Descriptors | None:
    """Return a slice's descriptor.

    Args:
        image: Intensities, shape (h, w), any unit.

    Returns:
        Bits, shape (32,); None for a slice that shows too little to distinguish people.
    """
    head = _head_of(image)
    if head.mean() < MIN_HEAD or gray_levels(image) < MIN_LEVELS:
        return None
    structure = structure_of(robust_range(_framed(image, head)), *_STRUCTURE)
    waves = fft.dctn(structure, norm="ortho")[:FREQUENCIES, :FREQUENCIES]
    return np.packbits(waves.ravel() > 0)


def descriptors_of(
    pictures: Sequence[Picture], workers: int = 1, progress: Progress = silent
) -> list[Descriptors]:
    """Return the descriptors of a manifest's rows.

    Args:
        pictures: Rows of a manifest.
        workers: Number of files read at a time, in threads.
        progress: Called with the step, the number of rows described, and of all.

    Returns:
        For each row the descriptors of its distinctive slices, shape (n, 32): at most one of a
        picture, one every few mm of a volume. An unreadable file has none.
    """
    found = []
    with ThreadPoolExecutor(workers) as pool:
        for own in pool.map(_of_row, pictures):
            found.append(own)
            progress("describing pictures", len(found), len(pictures))
    return found


def descriptors_of_scan(scan: Scan) -> Descriptors:
    """Return the descriptors of slices a few mm apart, shape (n, 32)."""
    slices = brain_slices(scan)
    step = max(1, round(_STEP_MM / scan.slice_gap_mm)) if scan.slice_gap_mm else 1
    return _stacked(descriptor_of(chosen.image) for chosen in slices[::step])


def are_copies(own: Descriptors, known: Descriptors) -> NDArray[np.bool_]:
    """Return which slices are copies of known slices, also if mirrored or turned by quarters.

    Args:
        own: Descriptors, shape (n, 32).
        known: Descriptors to compare with, shape (m, 32).

    Returns:
        Whether any is close enough, shape (n,).
    """
    return closest_distances(own, known) <= MAX_DISTANCE


def closest_distances(own: Descriptors, known: Descriptors) -> NDArray[np.intp]:
    """Return the distance of each slice from the closest known slice, bits.

    Args:
        own: Descriptors, shape (n, 32).
        known: Descriptors to compare with, shape (m, 32).

    Returns:
        Smallest distance over all mirrorings and quarter turns, shape (n,); 256 where none is
        known.
    """
    closest = np.full(len(own), 8 * DESCRIPTOR_BYTES, dtype=np.intp)
    if not len(known):
        return closest
    words = np.ascontiguousarray(known).view(np.uint64)
    for turned in _turned(own):
        for start in range(0, len(own), BLOCK):
            rows = np.ascontiguousarray(turned[start : start + BLOCK]).view(np.uint64)
            distance = np.zeros((len(rows), len(words)), dtype=np.uint16)
            for word in range(words.shape[1]):
                distance += np.bitwise_count(rows[:, word, None] ^ words[:, word])
            block = closest[start : start + BLOCK]
            np.minimum(block, distance.min(axis=1), out=block)
    return closest


def copied_rows(
    pictures: Sequence[Picture], described: Sequence[Descriptors], seen: SeenSlices
) -> list[bool]:
    """Return which rows of a manifest are copies of slices that a detector learned from.

    Args:
        pictures: Rows of a manifest.
        described: Descriptors of each, as `descriptors_of` returns them.
        seen: The record of slices in the detector file.

    Returns:
        Whether each row is a copy. A volume, or the pictures of a stack, are copies where several
        of their slices are.
    """
    known = descriptors_in(seen)
    found = are_copies(np.concatenate([_none(), *described]), known)
    ends = np.cumsum([len(own) for own in described])
    hits = [int(part.sum()) for part in np.split(found, ends)[: len(described)]]
    copied = [False] * len(pictures)
    for members in _units_of(pictures):
        count = sum(len(described[index]) for index in members)
        alone = len(members) == 1 and not pictures[members[0]].is_volume
        needed = 1 if alone else max(min(MIN_SLICES, count), MIN_SHARE * count, 1)
        if sum(hits[index] for index in members) >= needed:
            for index in members:
                copied[index] = True
    return copied


def _units_of(pictures: Sequence[Picture]) -> Iterable[list[int]]:
    """Return the positions of each unit's rows: a picture, a volume, or the pictures of a stack."""
    units: dict[str, list[int]] = {}
    for index, picture in enumerate(pictures):
        name = f"stack {picture.stack}" if picture.stack else str(index)
        units.setdefault(name, []).append(index)
    return units.values()


def descriptors_in(seen: SeenSlices) -> Descriptors:
    """Return the descriptors that a detector file holds, shape (n, 32)."""
    return np.frombuffer(seen.descriptors, dtype=np.uint8).reshape(-1, DESCRIPTOR_BYTES)


def seen_slices(described: Iterable[Descriptors], *before: SeenSlices) -> SeenSlices:
    """Return the record of slices for a detector file.

    Args:
        described: Descriptors of the slices that it learned from.
        *before: Records of the detector files whose weights it started from.

    Returns:
        All descriptors, each once. If there are more than a file may hold, every nth is kept and
        the record is incomplete.
    """
    both = np.concatenate([_none(), *map(descriptors_in, before), *described])
    kept = np.unique(both, axis=0)
    step = -(-len(kept) // MAX_DESCRIPTORS) or 1
    whole = step == 1 and all(part.complete for part in before)
    return SeenSlices(kept[::step].tobytes(), whole)


def _of_row(picture: Picture) -> Descriptors:
    try:
        if picture.is_volume:
            return descriptors_of_scan(read_one(picture.picture))
        return _stacked([descriptor_of(read_gray(picture.picture))])
    except (InputError, OSError):
        return _none()


def _stacked(found: Iterable[Descriptors | None]) -> Descriptors:
    return np.concatenate([_none(), *(own[None] for own in found if own is not None)])


def _none() -> Descriptors:
    return np.empty((0, DESCRIPTOR_BYTES), dtype=np.uint8)


def _turned(bits: Descriptors) -> Iterator[Descriptors]:
    """Yield the descriptors of each mirroring and quarter turn of the slices.

    Mirroring an axis changes the sign of its odd waves; exchanging the axes exchanges waves.
    """
    waves = np.unpackbits(bits, axis=1).reshape(-1, FREQUENCIES, FREQUENCIES)
    odd = np.arange(FREQUENCIES, dtype=np.uint8) % 2
    for axes in (waves, waves.transpose(0, 2, 1)):
        for rows in (axes, axes ^ odd[:, None]):
            for turned in (rows, rows ^ odd):
                yield np.packbits(turned.reshape(-1, FREQUENCIES**2), axis=1)


def _head_of(image: Array) -> NDArray[np.bool_]:
    """Return a mask of the head on the square, shape (128, 128)."""
    resized = Image.fromarray(np.ascontiguousarray(image, dtype=np.float32)).resize(
        (SIDE, SIDE), Image.Resampling.BILINEAR
    )
    # The square root makes the threshold nearly independent of gamma.
    square = ndimage.gaussian_filter(np.sqrt(robust_range(np.asarray(resized))), 1.0)
    return np.asarray(square > _otsu(square))


def _framed(image: Array, head: NDArray[np.bool_]) -> Array:
    """Return the middle of the head on a square, shape (40, 40)."""
    (top, bottom), (left, right) = (
        _edges(head.sum(axis=1 - axis), length) for axis, length in enumerate(image.shape)
    )
    height, width = image.shape
    # The frame of a head that is cut off extends beyond the picture.
    outside = [max(0, math.ceil(gap)) for gap in (-top, -left, bottom - height, right - width)]
    if any(outside):
        above, before, below, after = outside
        image = np.pad(image, ((above, below), (before, after)), constant_values=image.min())
        top, left, bottom, right = top + above, left + before, bottom + above, right + before
    framed = Image.fromarray(np.ascontiguousarray(image, dtype=np.float32)).resize(
        (FRAME, FRAME), Image.Resampling.BILINEAR, box=(left, top, right, bottom)
    )
    return np.asarray(framed, dtype=np.float32)


def _edges(counts: NDArray[np.intp], length: int) -> tuple[float, float]:
    """Return the ends of the frame along an axis of `length` pixels."""
    share, places = counts / counts.sum(), np.arange(SIDE) + 0.5
    middle = float(share @ places)
    reach = REACH * math.sqrt(float(share @ (places - middle) ** 2) + 1)
    return (middle - reach) * length / SIDE, (middle + reach) * length / SIDE


def _otsu(values: Array) -> float:
    """Return the threshold of Otsu (1979) for intensities of 0..1."""
    counts, edges = np.histogram(values, bins=_LEVELS, range=(0, 1))
    share = counts / counts.sum()
    below, mean = np.cumsum(share), np.cumsum(share * (edges[:-1] + edges[1:]) / 2)
    apart = below * (1 - below)
    between = (mean[-1] * below - mean) ** 2 / np.where(apart > 0, apart, np.inf)
    return float(edges[int(between.argmax()) + 1])
