"""Check whether slices follow each other as they do in the head.

Volumes made from pictures may keep the order of acquisition (1, 3, 5, ..., 2, 4, 6) or that of file
names (1, 10, 11, ..., 2). The measure is the way through all slices, as a sum of differences of
consecutive ones: in a head, no other order makes it much shorter.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from meninx._errors import GeometryError
from meninx._scan.background import is_mask
from meninx._scan.intensity import Float32Array, air_level, intensity_range
from meninx._scan.plausibility import MIN_SIDE, averaged, scaled_to_one
from meninx._scan.scan import Scan
from meninx._scan.warning import ScanWarning

# Ratio of the way as stored to a shorter one. In 137 cuts of real volumes along all axes it is at
# most 1.01; in the same slices in order of acquisition 1.24 or more, of file names 1.12 or more.
_DOUBTED_EXCESS, _REFUSED_EXCESS = 1.1, 1.2
# Slices with less than this share of the largest head area at either end are left out, and scans
# with fewer slices between.
_HEAD_SHARE, _FEWEST = 0.25, 8
# Slices are averaged to about this many pixels per side; of more slices, every n-th is compared.
_COMPARED_SIDE, _MOST_COMPARED = 32, 64
# Slices around the mirror image of another one that count as mirrored too.
_MIRROR_TOLERANCE = 2
_MESSAGE = (
    "the slices do not follow each other as they do in a head: in another order, neighbors would "
    "differ {saved:.0f} % less. They may be stored in the order of acquisition or of file names; "
)


def with_slice_order_checked(scan: Scan, *, has_positions: bool = False) -> Scan:
    """Check the order of the slices of a volume.

    Args:
        scan: Volume; pictures, masks, incomplete scans, and volumes of few or small slices are not
            checked.
        has_positions: Whether each slice has a position of its own, as in DICOM: then the head may
            have moved, and nothing is refused.

    Returns:
        The same scan, or one with the warning `order_doubtful`.

    Raises:
        GeometryError: If slices without positions certainly lie in another order than in the head.
    """
    # Blank slices are in no order; an incomplete scan is referred anyway.
    if not scan.is_volume or scan.incomplete or is_mask(scan.voxels):
        return scan
    excess = order_excess(np.moveaxis(scan.voxels, scan.view.slice_axis, 0))
    if excess < _DOUBTED_EXCESS:
        return scan
    message = _MESSAGE.format(saved=100 * (1 - 1 / excess))
    if excess >= _REFUSED_EXCESS and not has_positions:
        raise GeometryError(f"{message}sort them by their position, or export the series again")
    text = f"{message}or the head moved between them. They were read as stored"
    return replace(scan, warnings=(*scan.warnings, ScanWarning("order_doubtful", text)))


def order_excess(slices: Float32Array) -> float:
    """Return how much longer the way through slices is than in another order.

    Args:
        slices: Intensities, shape (n, h, w).

    Returns:
        Ratio of the sum of differences between consecutive slices as stored and as a greedy search
        orders them, 1 if there are too few slices or pixels. Below 1 if the search fails.
    """
    low, high = intensity_range(slices)
    if min(slices.shape[1:]) < MIN_SIDE or len(slices) < _FEWEST or not high > low:
        return 1.0
    level = air_level(low, high)
    areas = np.array([np.count_nonzero(image[::4, ::4] > level) for image in slices])
    inside = np.flatnonzero(areas >= _HEAD_SHARE * areas.max())
    head = slices[inside[0] : inside[-1] + 1]
    chosen = head[:: -(-len(head) // _MOST_COMPARED)]
    if len(chosen) < _FEWEST:
        return 1.0
    rows, columns = (max(1, round(side / _COMPARED_SIDE)) for side in chosen.shape[1:])
    means = averaged(scaled_to_one(chosen, low, high), rows, columns)
    vectors = means.reshape(len(chosen), -1)
    # Slices at an end may be darker than the others: only what they show is compared.
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    apart = np.stack([np.abs(vectors - vector).mean(axis=1) for vector in vectors])
    stored = float(np.diag(apart, 1).sum())
    return stored / max(_short_way(_without_mirrored(apart)), 1e-9)


def _without_mirrored(apart: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return differences that keep mirrored slices apart: sagittal ones of the left and the right.

    Args:
        apart: Difference of each pair of slices, shape (n, n).

    Returns:
        A copy, with the largest difference between slices that lie on the two sides of the most
        alike slices' middle.
    """
    first, second = np.indices(apart.shape)
    far = np.abs(first - second) > _MIRROR_TOLERANCE
    means = {
        total: apart[far & (first + second == total)].mean()
        for total in range(len(apart) // 2, len(apart) * 3 // 2)
    }
    middle = min(means, key=means.__getitem__)
    mirrored = far & (np.abs(first + second - middle) <= _MIRROR_TOLERANCE)
    return np.where(mirrored, apart.max(), apart)


def _short_way(apart: NDArray[np.float32]) -> float:
    """Measure a short way through all slices, found by joining the closest ends first.

    Args:
        apart: Difference of each pair of slices, shape (n, n).

    Returns:
        Sum of the differences along it.
    """
    count = len(apart)
    first, second = np.triu_indices(count, 1)
    closest = np.argsort(apart[first, second], kind="stable")
    # The other end of the piece of way that ends at a slice; None inside of a piece.
    ends: list[int | None] = list(range(count))
    joined = np.zeros(count, dtype=int)
    length = 0.0
    for own, other in zip(first[closest].tolist(), second[closest].tolist(), strict=True):
        far, farther = ends[own], ends[other]
        if joined[own] > 1 or joined[other] > 1 or far == other or far is None or farther is None:
            continue
        length += float(apart[own, other])
        joined[[own, other]] += 1
        ends[own] = ends[other] = None
        ends[far], ends[farther] = farther, far
    return length
