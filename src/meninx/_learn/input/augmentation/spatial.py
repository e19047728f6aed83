"""Transforms of place: neighbors, rotation, zoom, shift, elastic deformation."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812

from meninx._learn.input.augmentation.batch import (
    SliceBatch,
    TransformOfSome,
    affine,
    chosen,
    each,
    log_uniform,
    own,
    smooth_noise,
    uniform,
    where,
)


@dataclass(frozen=True)
class RandomStackFlip:
    """Swaps the slice above and the slice below, with a probability of 0.5."""

    def __call__(self, batch: SliceBatch) -> SliceBatch:
        """Return the batch with the neighbors of some slices swapped."""
        return replace(
            batch, image=where(chosen(batch.count, 0.5), batch.image.flip(1), batch.image)
        )


class RandomNeighborDropout(TransformOfSome):
    """Lets a slice stand in for its neighbors, as a single picture does.

    Args:
        probability: Probability that a slice is changed, 0..1.
    """

    def changed(self, batch: SliceBatch) -> torch.Tensor:
        """Return each slice three times."""
        return own(batch.image).expand_as(batch.image)


@dataclass(frozen=True)
class RandomAffineWarp:
    """Rotates, zooms, mirrors, shifts and warps, mask and depth along with the image.

    Args:
        size: Height and width of the result, pixels.
        rotation: Largest rotation either way, degrees.
        zoom: Smallest and largest zoom, above 0.
        aspect: Largest change of the sides' ratio either way, natural logarithm, 0..1.
        shift: Largest shift either way, share of half the picture's side, 0..1.
        flip: Probability of a left-right mirror, 0..1.
        quarter_turn: Probability of a rotation by 90, 180 or 270 degrees, 0..1.
        warp: Largest standard deviation of the elastic displacement, share of half the picture's
            side, 0..1.
    """

    size: int
    rotation: float
    zoom: tuple[float, float]
    aspect: float
    shift: float
    flip: float
    quarter_turn: float
    warp: float

    def __call__(self, batch: SliceBatch) -> SliceBatch:
        """Return the moved batch, of height and width `size`."""
        grid = self._grid(batch.count)
        stacked = torch.cat([batch.image, batch.mask, batch.depth], dim=1)
        moved = F.grid_sample(stacked, grid, align_corners=False)
        image, mask, depth = torch.split(moved, [batch.image.shape[1], 1, 1], dim=1)
        return replace(batch, image=image, mask=mask, depth=depth)

    def _grid(self, count: int) -> torch.Tensor:
        """Return the source of each output pixel, -1..1, shape (b, size, size, 2)."""
        degrees = uniform(count, -self.rotation, self.rotation)
        quarter = chosen(count, self.quarter_turn) * torch.randint(1, 4, (count,)) * 90.0
        zoom = log_uniform(count, *self.zoom)
        aspect = uniform(count, -self.aspect, self.aspect).exp()
        mirror = 1.0 - 2.0 * chosen(count, self.flip)
        matrix = affine((degrees + quarter).deg2rad(), zoom * aspect * mirror, zoom / aspect)
        shift = uniform(count * 2, -self.shift, self.shift).view(count, 2, 1)
        size = [count, 1, self.size, self.size]
        grid = F.affine_grid(torch.cat([matrix, shift], dim=2), size, align_corners=False)
        if not self.warp:
            return grid
        strength = each(uniform(count, 0, self.warp))
        fields = [smooth_noise(count, 6, self.size) for _ in range(2)]
        return grid + torch.cat(fields, 1).permute(0, 2, 3, 1) * strength
