"""Draw heat maps over slices; `result` decides whether they may be shown."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meninx._detect.findings import Findings, SliceFinding
from meninx._detect.preprocessing import FloatImage, Placement
from meninx._scan.background import intensity_range
from meninx._scan.scan import Scan, Slice

RGBImage = NDArray[np.uint8]

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
    for finding in findings.slices:
        slice_heat = slice_heatmap(finding, scan.slice(finding.index))
        scan.view.put(np.rint(slice_heat * 100).astype(np.uint8), heat, finding.index)
    return heat


def gray_picture(image: FloatImage) -> RGBImage:
    """Return a slice as gray RGB, its robust intensity range mapped to 0..255."""
    return np.repeat(_gray(image)[..., None], 3, axis=2)


def _gray(image: FloatImage) -> NDArray[np.uint8]:
    low, high = intensity_range(image)
    gray = (image - np.float32(low)) * np.float32(255 / max(high - low, 1e-6))
    clipped: NDArray[np.uint8] = np.clip(gray, 0, 255).astype(np.uint8)
    return clipped


def overlay(image: FloatImage, heatmap: FloatImage) -> RGBImage:
    """Return a slice with its heat map as overlay.

    Args:
        image: Intensities, shape (h, w).
        heatmap: Heat 0..1, shape (h, w).

    Returns:
        RGB picture, shape (h, w, 3), uint8.
    """
    colors, opacities = _tints()
    level = Image.fromarray((np.clip(heatmap, 0, 1) * 255 + 0.5).astype(np.uint8))
    opacity = level.point(opacities)
    level = level.convert("P")
    level.putpalette(colors)
    # Pillow, limited to the box with heat, is many times faster than indexing in NumPy.
    drawn = Image.fromarray(_gray(image)).convert("RGB")
    warm = opacity.getbbox()
    if warm is not None:
        drawn.paste(level.crop(warm).convert("RGB"), warm, opacity.crop(warm))
    return np.array(drawn)


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
