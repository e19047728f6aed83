"""A batch of slices, and the random draws that all transforms share.

Legend: b batch, h height, w width. Intensities are 0..1 with air at 0. A slice comes with its two
neighbors as channels, which are moved and changed in the same way.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from meninx._detect.neighbors import OWN_CHANNEL


@dataclass
class SliceBatch:
    """A batch of slices.

    Args:
        image: Intensities 0..1 of the slices with their neighbors, shape (b, 3, h, w).
        mask: Tumor coverage 0..1, shape (b, 1, h, w).
        depth: Distance to the outside of the head, 1 at the deepest point, shape (b, 1, h, w).
        tumor_type: Index in `labels.TYPE_NAMES`, -1 where unknown or none, shape (b,).
        tumor_free: Whether the slice was tumor-free before augmentation, shape (b,), bool.
        fair: Whether its source has pictures with and without tumor, so that the source does not
            reveal the label, shape (b,), bool.
        unmasked: Whether it shows a tumor without a segmentation mask, shape (b,), bool.
        kept: Pixels that skull stripping left, 0 or 1, shape (b, 1, h, w); None for all.
    """

    image: Tensor
    mask: Tensor
    depth: Tensor
    tumor_type: Tensor
    tumor_free: Tensor
    fair: Tensor
    unmasked: Tensor
    kept: Tensor | None = None

    @property
    def tumor(self) -> Tensor:
        """Whether a slice shows a tumor, with or without a mask, shape (b,), bool."""
        return self.unmasked | (self.mask.flatten(1).amax(1) > 0.5)

    @property
    def count(self) -> int:
        """Number of slices b."""
        return len(self.image)

    def some(self, places: Tensor) -> "SliceBatch":
        """Return some of the slices.

        Args:
            places: Indices of n slices, shape (n,).

        Returns:
            A batch of n slices.
        """
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        taken = {name: part[places] for name, part in parts.items() if part is not None}
        return replace(self, **taken)

    @property
    def size(self) -> int:
        """Height and width, pixels."""
        return self.image.shape[-1]


def uniform(count: int, low: float, high: float) -> Tensor:
    """Return a random value per slice, shape (count,)."""
    return torch.empty(count).uniform_(low, high)


def log_uniform(count: int, low: float, high: float) -> Tensor:
    """Return a random factor per slice, uniform in its logarithm, shape (count,)."""
    return uniform(count, math.log(low), math.log(high)).exp()


def uniform_of_batch(low: float, high: float) -> float:
    """Return one value for a whole batch, drawn on the CPU to avoid waiting for a GPU."""
    return float(torch.empty((), device="cpu").uniform_(low, high))


def chosen(count: int, probability: float) -> Tensor:
    """Return at random which slices a transform changes, shape (count,), bool."""
    return torch.rand(count) < probability


def chosen_places(count: int, probability: float) -> Tensor:
    """Return at random the places of slices that a transform changes, shape (n,), ascending.

    Drawn on the CPU to avoid waiting for a GPU: their number is the size of the next tensors.
    """
    with torch.device("cpu"):
        places = torch.nonzero(chosen(count, probability)).flatten()
    return places.to(torch.get_default_device(), non_blocking=True)


def each(values: Tensor) -> Tensor:
    """Return one value per slice in a shape that broadcasts over (b, 1, h, w)."""
    return values[:, None, None, None]


def where(slices: Tensor, changed: Tensor, unchanged: Tensor) -> Tensor:
    """Return changed slices where `slices` is true, else unchanged ones.

    Args:
        slices: Whether to take each slice from `changed`, shape (b,), bool.
        changed: Changed slices, shape (b, c, h, w).
        unchanged: Slices before the change, shape (b, c, h, w).

    Returns:
        Slices, shape (b, c, h, w).
    """
    return torch.where(each(slices), changed, unchanged)


@dataclass(frozen=True)
class TransformOfSome(ABC):
    """A transform that changes the image of some slices.

    Args:
        probability: Probability that a slice is changed, 0..1.
    """

    probability: float

    def __call__(self, batch: SliceBatch) -> SliceBatch:
        """Return the batch, some of its slices changed."""
        places = chosen_places(batch.count, self.probability)
        if not len(places):
            return batch
        # Most transforms change few slices: computing only these saves half of the time.
        changed = self.changed(batch.some(places))
        return replace(batch, image=batch.image.index_copy(0, places, changed))

    @abstractmethod
    def changed(self, batch: SliceBatch) -> Tensor:
        """Return the chosen slices changed, shape (n, c, h, w)."""


def own(image: Tensor) -> Tensor:
    """Return slices without their neighbors, shape (b, 1, h, w)."""
    return image[:, OWN_CHANNEL : OWN_CHANNEL + 1]


def smooth_noise(count: int, cells: int, size: int) -> Tensor:
    """Return smooth random fields of about unit variance, shape (count, 1, size, size)."""
    coarse = torch.randn(count, 1, cells, cells)
    return F.interpolate(coarse, (size, size), mode="bicubic", align_corners=False)


def blurred(image: Tensor, sigma: float) -> Tensor:
    """Return an image smoothed by a Gaussian of `sigma` pixels, with 0 beyond its border."""
    radius = max(1, math.ceil(2.5 * sigma))
    # On a CPU, products of matrices are several times faster than convolutions of single channels.
    rows, columns = (_band(side, sigma, radius, image.dtype) for side in image.shape[-2:])
    return rows @ image @ columns


def _band(side: int, sigma: float, radius: int, dtype: torch.dtype) -> Tensor:
    """Return the symmetric matrix that smooths a vector, shape (side, side)."""
    away = torch.arange(side, dtype=dtype)
    away = away[:, None] - away
    kernel = torch.exp(-0.5 * (away / sigma) ** 2) * (away.abs() <= radius)
    return kernel / kernel[side // 2].sum()


def affine(angle: Tensor, scale_x: Tensor, scale_y: Tensor) -> Tensor:
    """Return rotation and zoom from output to input coordinates, shape (b, 2, 2)."""
    cos, sin = angle.cos(), angle.sin()
    rows = [
        torch.stack([cos / scale_x, -sin / scale_x], -1),
        torch.stack([sin / scale_y, cos / scale_y], -1),
    ]
    return torch.stack(rows, 1)


def random_place(batch: SliceBatch, shallowest: float) -> Tensor:
    """Return a random point within each head.

    Args:
        batch: Slices with their depth.
        shallowest: Smallest depth of a point, 0..1.

    Returns:
        x and y of the point, -1..1 over the slice, shape (b, 2).
    """
    allowed = (batch.depth > shallowest).flatten(1).float() + 1e-6
    target = torch.multinomial(allowed, 1).flatten()
    column, row, size = target % batch.size, target // batch.size, batch.size
    return torch.stack([(column + 0.5) * 2 / size - 1, (row + 0.5) * 2 / size - 1], -1)


def axes(size: int) -> tuple[Tensor, Tensor]:
    """Return x and y over a slice, -1..1, shapes (1, 1, 1, size) and (1, 1, size, 1)."""
    line = torch.linspace(-1, 1, size)
    return line[None, None, None, :], line[None, None, :, None]
