"""Convert a slice to the network's input, and network pixels back to pixels of the slice.

Training and prediction share this code; its parameters are stored in the detector file.
Legend: b batch, h height, w width; `image` is indexed [row, column].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meninx._scan.intensity import Float32Array, air_level, intensity_range

FloatImage = NDArray[np.float32]
Slices = TypeVar("Slices", Float32Array, Sequence[Any])


@dataclass(frozen=True)
class Placement:
    """The position of the network's input in the image of a slice.

    Args:
        top, left: Corner of the crop, in image pixels (edges, not centers).
        height, width: Size of the crop, in image pixels.
        offset_row, offset_column: First network pixel filled by the crop.
        rows, columns: Number of network pixels filled by the crop.
        input_size: Side of the network's square input, pixels.
    """

    top: float
    left: float
    height: float
    width: float
    offset_row: int
    offset_column: int
    rows: int
    columns: int
    input_size: int

    @property
    def filled(self) -> tuple[slice, slice]:
        """Rows and columns of the network's input that the crop fills."""
        return (
            slice(self.offset_row, self.offset_row + self.rows),
            slice(self.offset_column, self.offset_column + self.columns),
        )

    def to_image(self, row: float, column: float) -> tuple[float, float]:
        """Return the image coordinates of a network pixel's center.

        Args:
            row: Row in the network's input, pixel centers at whole numbers.
            column: Column in the network's input, pixel centers at whole numbers.

        Returns:
            Row and column in the image, pixel centers at whole numbers.
        """
        return (
            self.top + (row - self.offset_row + 0.5) / self.rows * self.height - 0.5,
            self.left + (column - self.offset_column + 0.5) / self.columns * self.width - 0.5,
        )


@dataclass(frozen=True)
class CropWindow:
    """The crop and the intensity window shared by all slices of a scan.

    With a window per slice, slices without tumor would be brightened until healthy tissue resembles
    one; with a crop per slice, the crown would be enlarged.

    Args:
        low, high: Intensities mapped to 0 and 1.
        rows, columns: First and last edge of the head in the image, pixels.
    """

    low: float
    high: float
    rows: tuple[float, float]
    columns: tuple[float, float]


# Number of slices from which a volume's crop window is computed: percentiles over all slices would
# take longer than the rest of preprocessing.
_WINDOW_SLICES = 16


def sampled(slices: Slices) -> Slices:
    """Return the slices from which a volume's crop window is computed, evenly spread."""
    return slices[:: max(1, len(slices) // _WINDOW_SLICES)]


def crop_window_of(
    images: Float32Array, known_range: tuple[float, float] | None = None
) -> CropWindow:
    """Return the crop window of a scan.

    Args:
        images: All slices, shape (n, h, w); n = 1 for a picture. Evenly spread slices are used.
        known_range: Robust intensity range of these slices; None to compute it.

    Returns:
        The window, for all slices of the scan.
    """
    images = sampled(images)
    low, high = known_range or intensity_range(images)
    head = np.asarray(images > air_level(low, high)).any(axis=0)
    rows, columns = _extent(np.asarray(head))
    return CropWindow(low, high, rows, columns)


@dataclass(frozen=True)
class Preprocessing:
    """The steps from an image to the network's input: crop, resample, rescale, normalize.

    Args:
        size: Height and width of the input, pixels.
        margin: Margin around the head, as a share of its longer side.
        mean, std: Mean and standard deviation for normalizing intensities of 0..1.
    """

    # For pydantic, which reads this class as a part of recipes but is not imported here.
    __pydantic_config__: ClassVar = {"extra": "forbid", "strict": True}

    size: int = 192
    margin: float = 0.03
    mean: float = 0.3
    std: float = 0.25

    def placement(
        self, crop_window: CropWindow, shape: tuple[int, ...], pixel_spacing: tuple[float, float]
    ) -> Placement:
        """Return the placement of a slice in the network's input.

        The crop window's longer side, in mm, fills the input, so pixels become square and the
        head's size does not depend on the field of view.

        Args:
            crop_window: Crop window of the scan.
            shape: Height and width of its slices, pixels.
            pixel_spacing: Distance between rows and between columns, mm.

        Returns:
            The placement, the same for all slices of the scan.
        """
        rows, columns = crop_window.rows, crop_window.columns
        pad = self.margin * max(rows[1] - rows[0], columns[1] - columns[0])
        top, bottom = max(rows[0] - pad, 0.0), min(rows[1] + pad, float(shape[0]))
        left, right = max(columns[0] - pad, 0.0), min(columns[1] + pad, float(shape[1]))
        height_mm = (bottom - top) * pixel_spacing[0]
        width_mm = (right - left) * pixel_spacing[1]
        scale = self.size / max(height_mm, width_mm)
        filled_rows = min(self.size, max(1, round(height_mm * scale)))
        filled_columns = min(self.size, max(1, round(width_mm * scale)))
        return Placement(
            top=top,
            left=left,
            height=bottom - top,
            width=right - left,
            offset_row=(self.size - filled_rows) // 2,
            offset_column=(self.size - filled_columns) // 2,
            rows=filled_rows,
            columns=filled_columns,
            input_size=self.size,
        )

    def resample(self, image: FloatImage, placement: Placement) -> FloatImage:
        """Return an image resampled to the network's input, 0 outside the image.

        Args:
            image: Intensities or a mask, shape (h, w).
            placement: Placement of the scan, as `placement` returns it.

        Returns:
            Values in the unit of the image, shape (size, size); of a mask, the covered share of
            each pixel.
        """
        left, top = placement.left, placement.top
        box = (left, top, left + placement.width, top + placement.height)
        resized = Image.fromarray(np.ascontiguousarray(image, dtype=np.float32)).resize(
            (placement.columns, placement.rows), Image.Resampling.BILINEAR, box=box
        )
        canvas = np.zeros((self.size, self.size), dtype=np.float32)
        canvas[placement.filled] = np.asarray(resized)
        return canvas

    def rescale(
        self, image: FloatImage, crop_window: CropWindow, placement: Placement
    ) -> FloatImage:
        """Return an image cropped, resampled and rescaled to 0..1.

        Args:
            image: Intensities, shape (h, w), any unit; finite.
            crop_window: Crop window of its scan.
            placement: Placement of its scan.

        Returns:
            Values 0..1, shape (size, size).
        """
        width = max(crop_window.high - crop_window.low, float(np.finfo(np.float32).tiny))
        scaled = image - np.float32(crop_window.low)
        scaled /= np.float32(width)
        placed = self.resample(scaled, placement)
        return np.clip(placed, 0.0, 1.0, out=placed)

    def normalize(self, unit: FloatImage) -> FloatImage:
        """Return intensities of 0..1 as the network expects them."""
        x = np.subtract(unit, self.mean, dtype=np.float32)
        return np.divide(x, self.std, out=x)


def _extent(mask: NDArray[np.bool_]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the row and column range that a mask covers; the whole image for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return (0.0, float(mask.shape[0])), (0.0, float(mask.shape[1]))
    return (float(rows[0]), float(rows[-1]) + 1), (float(columns[0]), float(columns[-1]) + 1)
