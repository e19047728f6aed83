"""Draw heat maps: cells enlarged over their slice. Whether one may be shown, `result` decides."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meninx._detect.findings import Findings, SliceFinding
from meninx._detect.preprocessing import FloatImage, Placement
from meninx._scan.background import intensity_range
from meninx._scan.scan import Scan, Slice

RGBImage = NDArray[np.uint8]

# From nothing to certain: dark red over orange to pale yellow. Lightness rises all the way, so that
# it reads the same in print and to color-blind people.
COLOR_STOPS = np.array([[80, 0, 60], [190, 30, 50], [245, 125, 20], [255, 245, 160]], np.float32)
# Below this probability a cell is not tinted, so that the anatomy under it stays visible.
FAINTEST = 0.15
MAX_OPAQUE = 0.6
# Sides of a drawn slice, pixels.
SHORTEST_PANEL, LONGEST_PANEL = 288, 1536


def cells_on_input(cells: NDArray[np.float32], size: int) -> FloatImage:
    """Return cells of shape (m, n) enlarged to the network's input, shape (size, size)."""
    plain = Image.fromarray(np.ascontiguousarray(cells, dtype=np.float32))
    return np.asarray(plain.resize((size, size), Image.Resampling.BICUBIC))


def heatmap_of(
    cells: NDArray[np.float32], placement: Placement | None, shape: tuple[int, int]
) -> FloatImage:
    """Return the heat map on a slice's own pixels.

    Args:
        cells: Probability of each cell, shape (m, n).
        placement: Where the network's input lies in the image.
        shape: Height and width of the image.

    Returns:
        Probability 0..1, shape (h, w); 0 outside what the network saw.

    Raises:
        ValueError: If the findings were stored without their maps.
    """
    if placement is None:
        raise ValueError("the heat maps were not stored; score the scan again")
    on_input = Image.fromarray(cells_on_input(cells, placement.input_size))
    top, left = round(placement.top), round(placement.left)
    bottom = min(shape[0], round(placement.top + placement.height))
    right = min(shape[1], round(placement.left + placement.width))
    seen = (
        placement.offset_column,
        placement.offset_row,
        placement.offset_column + placement.columns,
        placement.offset_row + placement.rows,
    )
    fitted = on_input.resize((right - left, bottom - top), Image.Resampling.BILINEAR, box=seen)
    heatmap = np.zeros(shape, dtype=np.float32)
    heatmap[top:bottom, left:right] = np.clip(np.asarray(fitted), 0, 1)
    return heatmap


def slice_heatmap(found: SliceFinding, one: Slice) -> FloatImage:
    """Return the heat map of a slice on its own pixels.

    Args:
        found: Findings of the slice.
        one: The slice.

    Returns:
        Probability 0..1, shape (h, w) of its image.
    """
    return heatmap_of(found.cells, found.placement, (one.image.shape[0], one.image.shape[1]))


def heat_volume(scan: Scan, findings: Findings) -> NDArray[np.uint8]:
    """Return the heat map of every slice on the scan's own voxels.

    Args:
        scan: The scored scan.
        findings: Findings of the scan, with the cells of its slices.

    Returns:
        Probability in per cent, 0..100, shape of the scan's voxels; 0 in slices that were not
        scored.
    """
    heat = np.zeros(scan.voxels.shape, dtype=np.uint8)
    for found in findings.slices:
        slice_heat = slice_heatmap(found, scan.slice(found.index))
        scan.view.put(np.rint(slice_heat * 100).astype(np.uint8), heat, found.index)
    return heat


def gray_picture(image: FloatImage) -> RGBImage:
    """Return a slice as gray RGB, its robust intensity range spread over 0..255."""
    return np.repeat(_gray(image)[..., None], 3, axis=2)


def _gray(image: FloatImage) -> NDArray[np.uint8]:
    low, high = intensity_range(image)
    gray = (image - np.float32(low)) * np.float32(255 / max(high - low, 1e-6))
    clipped: NDArray[np.uint8] = np.clip(gray, 0, 255).astype(np.uint8)
    return clipped


def overlay(image: FloatImage, heatmap: FloatImage) -> RGBImage:
    """Return a slice with its heat map over it.

    Args:
        image: Intensities, shape (h, w).
        heatmap: Probability 0..1, shape (h, w).

    Returns:
        RGB picture, shape (h, w, 3), uint8.
    """
    colors, opacities = _tints()
    level = Image.fromarray((np.clip(heatmap, 0, 1) * 255 + 0.5).astype(np.uint8))
    opacity = level.point(opacities)
    level = level.convert("P")
    level.putpalette(colors)
    # Pillow's loops over the box that has heat are many times faster than indexing by numpy.
    drawn = Image.fromarray(_gray(image)).convert("RGB")
    warm = opacity.getbbox()
    if warm is not None:
        drawn.paste(level.crop(warm).convert("RGB"), warm, opacity.crop(warm))
    return np.array(drawn)


@cache
def _tints() -> tuple[list[int], list[int]]:
    """Return, for 256 levels of heat, the color, R, G and B in turn, and its opacity, 0..255."""
    heat = np.linspace(0, 1, 256)
    stops = np.linspace(0, 1, len(COLOR_STOPS))
    color = np.stack([np.interp(heat, stops, channel) for channel in COLOR_STOPS.T], axis=1)
    opacity = np.clip((heat - FAINTEST) / (1 - FAINTEST), 0, 1) ** 0.5 * MAX_OPAQUE
    return color.round().astype(int).ravel().tolist(), (opacity * 255).round().astype(int).tolist()


def panel_size(one: Slice) -> tuple[int, int]:
    """Return the width and height of a slice drawn with square pixels, large enough to read."""
    height_mm = one.image.shape[0] * one.pixel_spacing[0]
    width_mm = one.image.shape[1] * one.pixel_spacing[1]
    finest = max(one.image.shape[0] / height_mm, one.image.shape[1] / width_mm)
    pixels_per_mm = max(finest, SHORTEST_PANEL / min(height_mm, width_mm))
    # A header may claim any spacing, so the sides are bounded.
    width = min(LONGEST_PANEL, max(1, round(width_mm * pixels_per_mm)))
    return width, min(LONGEST_PANEL, max(1, round(height_mm * pixels_per_mm)))
