"""Prepare the slices of a scan for the network: each once, put together when they are inferred."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meninx._detect.neighbors import neighbor_indices, neighbor_indices_at
from meninx._detect.preprocessing import (
    FloatImage,
    Placement,
    Preprocessing,
    crop_window_of,
    sampled,
)
from meninx._scan.scan import Scan, Slice

# Calls a function for each slice, perhaps in several threads.
Mapped = Callable[[Callable[[int], FloatImage], Iterable[int]], Iterable[FloatImage]]


@dataclass(frozen=True, eq=False)
class NetworkInput:
    """The network's input for k slices of a scan.

    A slice is stored once, though the network sees it in up to three channels.

    Args:
        units: Slices cropped, resampled and scaled to 0..1, shape (n, s, s).
        indices: Indices into `units` of the slice below, the slice and the slice above, shape
            (k, 3).
        placement: Placement of the input in the slices' images.
    """

    units: NDArray[np.float32]
    indices: NDArray[np.intp]
    placement: Placement

    def __len__(self) -> int:
        """Return the number of slices."""
        return len(self.indices)

    def stack(self, part: slice = slice(None)) -> NDArray[np.float32]:
        """Return slices with their neighbors, 0..1, shape (b, 3, s, s).

        Args:
            part: Which of the k slices.

        Returns:
            Input of the network before normalization.
        """
        return self.units[self.indices[part]]


def prepared(
    preprocessing: Preprocessing,
    scan: Scan,
    slices: Sequence[Slice],
    wanted: Sequence[int] | None = None,
    mapped: Mapped = map,
) -> NetworkInput:
    """Prepare slices of a scan for the network.

    Args:
        preprocessing: Preprocessing of the detector.
        scan: The scan to score.
        slices: Neighboring slices of it, in order; they share one crop window.
        wanted: Indices into `slices` of those to infer; None for all. Only these and their
            neighbors are prepared.
        mapped: Calls a function for each of these.

    Returns:
        The input for the wanted slices.
    """
    known_range = slices[0].intensity_range if len(slices) == 1 else None
    images = np.stack([scan_slice.image for scan_slice in sampled(slices)])
    crop_window = crop_window_of(images, known_range)
    placement = preprocessing.placement(crop_window, slices[0].image.shape, slices[0].pixel_spacing)
    indices = _neighbor_indices(scan, slices)
    if wanted is not None:
        indices = indices[list(wanted)]
    needed, place = np.unique(indices, return_inverse=True)
    units = np.empty((len(needed), preprocessing.size, preprocessing.size), dtype=np.float32)

    def unit(number: int) -> FloatImage:
        return preprocessing.rescale(slices[number].image, crop_window, placement)

    for row, found in enumerate(mapped(unit, needed.tolist())):
        units[row] = found
    return NetworkInput(units, place.reshape(indices.shape), placement)


def _neighbor_indices(scan: Scan, slices: Sequence[Slice]) -> NDArray[np.intp]:
    """Return the indices of the slice below, the slice and the slice above, shape (n, 3)."""
    if scan.positions_mm is None:
        return neighbor_indices(len(slices), scan.slice_gap_mm)
    positions = np.array([scan.positions_mm[scan_slice.index] for scan_slice in slices])
    return neighbor_indices_at(np.abs(positions - positions[0]))
