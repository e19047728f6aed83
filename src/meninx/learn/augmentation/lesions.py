"""Transforms that give slices lesions: real ones of other slices, and synthetic ones."""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from meninx.learn.augmentation.batch import (
    Batch,
    affine,
    axes,
    blurred,
    chosen,
    each,
    log_uniform,
    own,
    random_place,
    smooth_noise,
    uniform,
    uniform_of_batch,
    where,
)

# The least tumor, pixels, that is worth copying.
SMALLEST_TUMOR = 30
# The least change in brightness that is taught as a tumor.
MIN_CONTRAST = 0.06


@dataclass(frozen=True)
class LesionCopyPaste:
    """Copies tumors into tumor-free slices, and patches of healthy tissue anywhere.

    The brightness around the donor's tumor is matched to the place where it goes; the contrast to
    its surroundings is varied by 0.5 to 1.6 and sometimes inverted. A negative patch is cut in the
    same shape from healthy tissue and gets no mask, so that the seam says nothing.

    Args:
        probability: 0..1, that a tumor-free slice receives a tumor.
        negative: 0..1, that another slice receives a negative patch.

    References:
        Ghiasi et al. 2021, Simple copy-paste is a strong data augmentation method for instance
        segmentation.
    """

    probability: float
    negative: float

    def __call__(self, batch: Batch) -> Batch:
        """Return the batch; a slice that received a tumor has it in its mask."""
        count = batch.count
        donors = torch.nonzero(batch.mask.sum((1, 2, 3)) > SMALLEST_TUMOR).flatten()
        wants_tumor = batch.tumor_free & chosen(count, self.probability)
        wants_patch = ~wants_tumor & chosen(count, self.negative)
        if not len(donors) or not self.probability + self.negative:
            return batch
        tissue, shape = self._cut(batch, donors, wants_tumor)
        alpha = blurred(shape, uniform_of_batch(0.7, 2.5)).clamp(0, 1)
        filled = self._matched(batch, tissue, shape, wants_patch)
        merged = batch.image * (1 - alpha) + filled * alpha
        # A tumor that can't be told from its surroundings is not taught as one.
        inner = shape + 1e-6
        change = own(merged - batch.image).abs()
        contrast = (change * inner).sum((1, 2, 3)) / inner.sum((1, 2, 3))
        kept = (wants_tumor & (contrast > MIN_CONTRAST)) | wants_patch
        mask = where(kept & wants_tumor, torch.maximum(batch.mask, shape), batch.mask)
        # What a patch hides is no longer there to be found.
        mask = where(wants_patch, mask * (1 - alpha), mask)
        return replace(batch, image=where(kept, merged, batch.image), mask=mask)

    def _cut(self, batch: Batch, donors: Tensor, wants_tumor: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is pasted and its shape, moved to a random place, turned and zoomed.

        Args:
            batch: Slices b.
            donors: Indices of slices with a tumor.
            wants_tumor: Which slices receive a tumor, shape (b,), bool.

        Returns:
            Tissue, shape (b, 3, h, w), and coverage, shape (b, 1, h, w).
        """
        count = batch.count
        shape_donor = donors[torch.randint(len(donors), (count,))]
        # A patch's tissue comes from a tumor-free slice where the batch has one.
        healthy = torch.nonzero(batch.tumor_free).flatten()
        pool = healthy if len(healthy) else torch.arange(count)
        patch_donor = pool[torch.randint(len(pool), (count,))]
        tissue = batch.image[torch.where(wants_tumor, shape_donor, patch_donor)]
        shape = batch.mask[shape_donor]
        grid = self._grid(batch, shape)
        moved = F.grid_sample(torch.cat([tissue, shape], 1), grid, align_corners=False)
        tissue, shape = torch.split(moved, [tissue.shape[1], 1], dim=1)
        return tissue, shape * (batch.depth > 0.04)

    def _grid(self, batch: Batch, shape: Tensor) -> Tensor:
        """Return where the pixels of a moved shape come from, shape (b, h, w, 2)."""
        count = batch.count
        center = random_place(batch, 0.12)
        x, y = axes(batch.size)
        mass = shape.sum((1, 2, 3)).clamp_min(1)
        centroid = torch.stack(
            [(shape * x).sum((1, 2, 3)) / mass, (shape * y).sum((1, 2, 3)) / mass], -1
        )
        zoom = log_uniform(count, 0.5, 1.4)
        angle = uniform(count, -math.pi, math.pi)
        matrix = affine(angle, zoom * (1.0 - 2.0 * chosen(count, 0.5)), zoom)
        offset = centroid[:, :, None] - matrix @ center[:, :, None]
        size = [count, 1, batch.size, batch.size]
        return F.affine_grid(torch.cat([matrix, offset], dim=2), size, align_corners=False)

    def _matched(self, batch: Batch, tissue: Tensor, shape: Tensor, wants_patch: Tensor) -> Tensor:
        """Return tissue with the brightness of its new place, shape (b, 3, h, w)."""
        count = batch.count
        ring = (blurred(shape, 6.0) - shape).clamp_min(0) * (own(tissue) > 0.05) + 1e-6
        inner = shape + 1e-6
        around = (own(tissue) * ring).sum((1, 2, 3)) / ring.sum((1, 2, 3))
        here = (own(batch.image) * inner).sum((1, 2, 3)) / inner.sum((1, 2, 3))
        gain = uniform(count, 0.5, 1.6) * (1.0 - 2.0 * chosen(count, 0.3))
        gain = torch.where(wants_patch, gain.abs().clamp(0.6, 1.2), gain)
        return (each(here) + each(gain) * (tissue - each(around))).clamp(0, 1.3)


@dataclass(frozen=True)
class RandomSyntheticLesion:
    """Paints lesions of random shape, brightness and texture; some with a rim or a core.

    They stand for what no collection with masks shows: bright edema on FLAIR, dark lesions on T1.
    Radii are 0.06 to 0.3 of half the side, contrasts 0.12 to 0.55 either way.

    Args:
        probability: 0..1, of each slice.
    """

    probability: float

    def __call__(self, batch: Batch) -> Batch:
        """Return the batch; a slice that received a lesion has it in its mask, and no type."""
        count = batch.count
        if not self.probability:
            return batch
        painted = chosen(count, self.probability)
        level = self._level(batch)
        softness = each(uniform(count, 0.05, 0.35))
        alpha = (level / softness + 0.5).clamp(0, 1) * (batch.depth > 0.08)
        change = self._change(batch, level)
        # Part of the tissue's own texture is lost, as inside a tumor.
        flat = each(uniform(count, 0, 0.9))
        weight = alpha + 1e-6
        mean = each((own(batch.image) * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3)))
        inside = batch.image * (1 - flat) + mean * flat + change
        merged = (batch.image * (1 - alpha) + inside * alpha).clamp(0, 1.3)
        lesion = (alpha > 0.5).to(batch.mask.dtype)
        return replace(
            batch,
            image=where(painted, merged, batch.image),
            mask=where(painted, torch.maximum(batch.mask, lesion), batch.mask),
            # Noise is of no type.
            tumor_type=batch.tumor_type.masked_fill(painted, -1),
        )

    def _level(self, batch: Batch) -> Tensor:
        """Return a lobed ellipse at a random place, above 0 inside, shape (b, 1, h, w)."""
        count, size = batch.count, batch.size
        center = random_place(batch, 0.2)
        x, y = axes(size)
        x, y = x - each(center[:, 0]), y - each(center[:, 1])
        radius = log_uniform(count, 0.06, 0.3)
        stretch = uniform(count, -0.4, 0.4).exp()
        distance = ((x * each(stretch)) ** 2 + (y / each(stretch)) ** 2).sqrt() / each(radius)
        lobes = each(uniform(count, 0.1, 0.5)) * smooth_noise(count, 14, size)
        return 1 - distance + lobes

    def _change(self, batch: Batch, level: Tensor) -> Tensor:
        """Return what is added to intensities inside, shape (b, 1, h, w)."""
        count = batch.count
        sign = 1.0 - 2.0 * chosen(count, 0.4)
        strength = each(uniform(count, 0.12, 0.55) * sign)
        texture = 1 + each(uniform(count, 0, 0.4)) * smooth_noise(count, 40, batch.size)
        rim = ((0.35 - level).abs() < 0.35) & each(chosen(count, 0.3))
        change = strength * texture * torch.where(rim, 1.6, 1.0)
        core = (level > 0.5) & each(chosen(count, 0.3))
        return torch.where(core, change * each(uniform(count, -0.8, 0.4)), change)
