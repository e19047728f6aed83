"""Draw heat maps over slices; `result` decides whether they may be shown."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meninx._detect.findings import Findings, SliceFinding
from meninx._detect.preprocessing import FloatImage, Placement
from meninx._scan.intensity import intensity_range
from meninx._scan.scan import Scan, Slice

RGBImage = NDArray[np.uint8]
# Largest product of matrices, multiplications, that OpenBLAS computes in the calling thread. Its
# other threads spin afterwards: on two cores the next slice's network then takes twice as long.
_ONE_THREAD = 262_144

# From 0 to 1: dark red, orange, pale yellow. Lightness increases monotonically, for print and color
# blindness.
_COLOR_STOPS = np.array([[80, 0, 60], [190, 30, 50], [245, 125, 20], [255, 245, 160]], np.float32)
# Cells below this heat are not tinted, so that the anatomy stays visible.
_FAINTEST = 0.15
_MAX_OPAQUE = 0.6
# Sides of a drawn slice, pixels.
SHORTEST_PANEL, LONGEST_PANEL = 288, 1536


def cells_on_input(cells: NDArray[np.float32], size: int) -> FloatImage:
    """Return cells, shape (m, n), enlarged to the network's input, shape (size, size)."""
    plain = Image.fromarray(np.ascontiguousarray(cells, dtype=np.float32))
    return np.asarray(plain.resize((size, size), Image.Resampling.BICUBIC))


def heatmap_of(
    cells: NDArray[np.float32], placement: Placement | None, shape: tuple[int, int]
) -> FloatImage:
    """Return the heat map on the pixels of a slice.

    Args:
        cells: Heat of each cell, 0..1, shape (m, n).
        placement: Placement of the network's input in the image.
        shape: Height and width of the image.

    Returns:
        Heat 0..1, shape (h, w); 0 outside the network's input.

    Raises:
        ValueError: If the findings were stored without their maps.
    """
    return _Enlargement.of(cells.shape, placement, shape).heatmap(cells)


@dataclass(frozen=True, eq=False)
class _Enlargement:
    """The way from cells to the pixels of a slice, the same for all slices of a scan.

    Cells are enlarged to the network's input, and what the crop fills of it to the image. Both are
    linear along each axis: two products take a third of the time of resampling whole images.

    Args:
        down: Weights of rows of cells in the image's rows, shape (rows, m).
        across: Weights of columns of cells in the image's columns, shape (n, columns).
        crop: Rows and columns of the image that the network saw.
        shape: Height and width of the image.
    """

    down: FloatImage
    across: FloatImage
    crop: tuple[slice, slice]
    shape: tuple[int, int]

    @classmethod
    def of(
        cls, counts: tuple[int, ...], placement: Placement | None, shape: tuple[int, int]
    ) -> "_Enlargement":
        """Return the way for cells, given their numbers of rows and columns."""
        if placement is None:
            raise ValueError("the heat maps were not stored; score the scan again")
        top, left = round(placement.top), round(placement.left)
        bottom = min(shape[0], round(placement.top + placement.height))
        right = min(shape[1], round(placement.left + placement.width))
        rows, columns = placement.filled
        return cls(
            _weights(counts[0], placement.input_size, rows, bottom - top),
            _weights(counts[1], placement.input_size, columns, right - left).T,
            (slice(top, bottom), slice(left, right)),
            shape,
        )

    def heatmap(self, cells: NDArray[np.float32]) -> FloatImage:
        """Return the heat of a slice, 0..1, 0 outside the network's input."""
        heat = np.zeros(self.shape, dtype=np.float32)
        seen = heat[self.crop]
        rows = max(1, _ONE_THREAD // max(1, self.across.size))
        for first in range(0, len(self.down), rows):
            part = slice(first, first + rows)
            np.clip(self.down[part] @ cells @ self.across, 0, 1, out=seen[part])
        return heat


def _weights(count: int, size: int, filled: slice, pixels: int) -> FloatImage:
    """Return the weights of cells in the pixels of an image, along one axis.

    Args:
        count: Number of cells.
        size: Side of the network's input, pixels.
        filled: Pixels of the input that the crop fills.
        pixels: Number of pixels of the crop in the image.

    Returns:
        Weights, shape (pixels, count).
    """
    on_input = Image.fromarray(np.eye(count, dtype=np.float32)).resize(
        (count, size), Image.Resampling.BICUBIC
    )
    crop = (0, filled.start, count, filled.stop)
    return np.asarray(on_input.resize((count, pixels), Image.Resampling.BILINEAR, box=crop))


def slice_heatmap(finding: SliceFinding, scan_slice: Slice) -> FloatImage:
    """Return the heat map of a slice on its pixels.

    Args:
        finding: Finding of the slice.
        scan_slice: The slice.

    Returns:
        Heat 0..1, shape (h, w) of its image.
    """
    height, width = scan_slice.image.shape
    return heatmap_of(finding.cells, finding.placement, (height, width))


def heat_volume(scan: Scan, findings: Findings) -> NDArray[np.uint8]:
    """Return the heat map of a scan on its voxels.

    Args:
        scan: The scored scan.
        findings: Findings of the scan, with the cells of its slices.

    Returns:
        Heat in percent, 0..100, shape of the scan's voxels; 0 in slices that were not scored.
    """
    heat = np.zeros(scan.voxels.shape, dtype=np.uint8)
    if not findings.slices:
        return heat
    first = findings.slices[0]
    height, width = scan.slice(first.index).image.shape
    enlargement = _Enlargement.of(first.cells.shape, first.placement, (height, width))
    for finding in findings.slices:
        percent = enlargement.heatmap(finding.cells) * 100
        scan.view.put(np.rint(percent).astype(np.uint8), heat, finding.index)
    return heat


def gray_picture(image: FloatImage, known_range: tuple[float, float] | None = None) -> RGBImage:
    """Return a slice as gray RGB, its robust intensity range mapped to 0..255.

    Args:
        image: Intensities, shape (h, w).
        known_range: Robust intensity range of the image; None to compute it.

    Returns:
        RGB picture, shape (h, w, 3), uint8.
    """
    return _rgb(_gray(image, known_range))


def _rgb(gray: NDArray[np.uint8]) -> RGBImage:
    """Return a gray picture with three channels."""
    picture = np.empty((*gray.shape, 3), dtype=np.uint8)
    for channel in range(3):  # half the time of copying a broadcast view
        picture[:, :, channel] = gray
    return picture


def _gray(image: FloatImage, known_range: tuple[float, float] | None = None) -> NDArray[np.uint8]:
    low, high = known_range or intensity_range(image)
    gray = image - np.float32(low)
    gray *= np.float32(255 / max(high - low, 1e-6))
    return np.clip(gray, 0, 255, out=gray).astype(np.uint8)


def overlay(
    image: FloatImage, heatmap: FloatImage, known_range: tuple[float, float] | None = None
) -> RGBImage:
    """Return a slice with its heat map as overlay.

    Args:
        image: Intensities, shape (h, w).
        heatmap: Heat 0..1, shape (h, w).
        known_range: Robust intensity range of the image; None to compute it.

    Returns:
        RGB picture, shape (h, w, 3), uint8.
    """
    drawn = gray_picture(image, known_range)
    warm = heatmap > _FAINTEST
    rows, columns = np.flatnonzero(warm.any(axis=1)), np.flatnonzero(warm.any(axis=0))
    if rows.size:
        # Only the box with heat, and by Pillow: many times faster than indexing in NumPy.
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        colors, opacities = _tints()
        level = Image.fromarray((np.minimum(heatmap[box], 1) * 255 + 0.5).astype(np.uint8))
        opacity = level.point(opacities)
        level.putpalette(colors)
        tinted = Image.fromarray(drawn[box])
        tinted.paste(level.convert("RGB"), mask=opacity)
        drawn[box] = np.asarray(tinted)
    return drawn


@cache
def _tints() -> tuple[list[int], list[int]]:
    """Return the palette (R, G, B in turn) and the opacities, 0..255, of 256 levels of heat."""
    heat = np.linspace(0, 1, 256)
    stops = np.linspace(0, 1, len(_COLOR_STOPS))
    color = np.stack([np.interp(heat, stops, channel) for channel in _COLOR_STOPS.T], axis=1)
    opacity = np.clip((heat - _FAINTEST) / (1 - _FAINTEST), 0, 1) ** 0.5 * _MAX_OPAQUE
    return color.round().astype(int).ravel().tolist(), (opacity * 255).round().astype(int).tolist()


def panel_size(scan_slice: Slice) -> tuple[int, int]:
    """Return the width and height of a drawn slice, with square pixels and large enough."""
    height_mm = scan_slice.image.shape[0] * scan_slice.pixel_spacing[0]
    width_mm = scan_slice.image.shape[1] * scan_slice.pixel_spacing[1]
    finest = max(scan_slice.image.shape[0] / height_mm, scan_slice.image.shape[1] / width_mm)
    pixels_per_mm = max(finest, SHORTEST_PANEL / min(height_mm, width_mm))
    # Limited, because a header may contain any spacing.
    width = min(LONGEST_PANEL, max(1, round(width_mm * pixels_per_mm)))
    return width, min(LONGEST_PANEL, max(1, round(height_mm * pixels_per_mm)))
