"""Transforms that add lesions: real ones of other slices, and synthetic ones."""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from meninx._learn.input.augmentation.batch import (
    SliceBatch,
    affine,
    axes,
    blurred,
    chosen,
    chosen_places,
    each,
    log_uniform,
    own,
    random_place,
    smooth_noise,
    uniform,
    uniform_of_batch,
    where,
)

# Area of the smallest tumor that is copied, pixels.
_MIN_TUMOR_AREA = 30
# Smallest mean change of intensity that counts as a tumor.
MIN_CONTRAST = 0.06


@dataclass(frozen=True)
class LesionCopyPaste:
    """Copies tumors into tumor-free slices, and patches of tumor-free tissue into any slice.

    The tumor is turned by any angle, mirrored in half of the cases and zoomed by 0.5..1.4. The
    brightness around it is matched to its new place; its contrast is multiplied by 0.5..1.6, and
    inverted in 30 % of the cases. A negative patch has the shape of a tumor, tumor-free tissue, a
    contrast of 0.6..1.2 and no mask, so that the seam is no sign of a tumor.

    Args:
        probability: Probability that a tumor-free slice receives a tumor, 0..1.
        negative: Probability that any other slice receives a negative patch, 0..1.

    References:
        Ghiasi et al. 2021, Simple copy-paste is a strong data augmentation method for instance
        segmentation.
    """

    probability: float
    negative: float

    def __call__(self, batch: SliceBatch) -> SliceBatch:
        """Return the batch; a slice that received a tumor has it in its mask."""
        donors = torch.nonzero(batch.mask.sum((1, 2, 3)) > _MIN_TUMOR_AREA).flatten()
        wants_tumor = batch.tumor_free & chosen(batch.count, self.probability)
        wants_patch = ~wants_tumor & chosen(batch.count, self.negative)
        places = torch.nonzero(wants_tumor | wants_patch).flatten()
        if not len(donors) or not len(places):
            return batch
        some, wants_tumor = batch.some(places), wants_tumor[places]
        image, mask = self._pasted(some, wants_tumor, *self._cut(batch, donors, some, wants_tumor))
        return replace(
            batch,
            image=batch.image.index_copy(0, places, image),
            mask=batch.mask.index_copy(0, places, mask),
        )

    def _cut(
        self, batch: SliceBatch, donors: Tensor, some: SliceBatch, wants_tumor: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the tissue to paste and its shape, moved to a random place, turned and zoomed.

        Args:
            batch: All slices.
            donors: Indices of slices with a tumor, shape (d,).
            some: The slices n that receive a tumor or a negative patch.
            wants_tumor: Whether each of these receives a tumor, shape (n,), bool.

        Returns:
            Tissue, shape (n, 3, h, w), and its coverage 0..1, shape (n, 1, h, w).
        """
        count = some.count
        shape_donor = donors[torch.randint(len(donors), (count,))]
        # A patch's tissue comes from a tumor-free slice where the batch has one.
        tumor_free = torch.nonzero(batch.tumor_free).flatten()
        pool = tumor_free if len(tumor_free) else torch.arange(batch.count)
        patch_donor = pool[torch.randint(len(pool), (count,))]
        tissue = batch.image[torch.where(wants_tumor, shape_donor, patch_donor)]
        shape = batch.mask[shape_donor]
        grid = self._grid(some, shape)
        moved = F.grid_sample(torch.cat([tissue, shape], 1), grid, align_corners=False)
        tissue, shape = torch.split(moved, [tissue.shape[1], 1], dim=1)
        return tissue, shape * (some.depth > 0.04)

    def _pasted(
        self, some: SliceBatch, wants_tumor: Tensor, tissue: Tensor, shape: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return slices with a tumor or a negative patch in them, and their masks.

        Args:
            some: The slices n.
            wants_tumor: Whether each receives a tumor, not a negative patch, shape (n,), bool.
            tissue: What is pasted, shape (n, 3, h, w).
            shape: Its coverage 0..1, shape (n, 1, h, w).

        Returns:
            Images, shape (n, 3, h, w), and masks, shape (n, 1, h, w).
        """
        alpha = blurred(shape, uniform_of_batch(0.7, 2.5)).clamp(0, 1)
        filled = self._matched(some, tissue, shape, ~wants_tumor)
        merged = some.image * (1 - alpha) + filled * alpha
        # A tumor that hardly differs from its surroundings is not pasted.
        inner = shape + 1e-6
        change = own(merged - some.image).abs()
        contrast = (change * inner).sum((1, 2, 3)) / inner.sum((1, 2, 3))
        kept = ~wants_tumor | (contrast > MIN_CONTRAST)
        tumor_mask = where(kept, torch.maximum(some.mask, shape), some.mask)
        # A tumor under a patch is hidden, so it leaves the mask.
        mask = where(wants_tumor, tumor_mask, some.mask * (1 - alpha))
        return where(kept, merged, some.image), mask

    def _grid(self, batch: SliceBatch, shape: Tensor) -> Tensor:
        """Return the source of each pixel of the moved shape, -1..1, shape (b, h, w, 2)."""
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

    def _matched(
        self, batch: SliceBatch, tissue: Tensor, shape: Tensor, wants_patch: Tensor
    ) -> Tensor:
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
    """Adds lesions of random shape, brightness and texture; some with a rim or a core.

    They stand for lesions that no collection with masks has: bright edema on FLAIR, dark lesions on
    T1. Radii are 0.06..0.3 of half the side, contrasts 0.12..0.55 either way; 30 % have a rim and
    30 % a core.

    Args:
        probability: Probability that a slice receives a lesion, 0..1.
    """

    probability: float

    def __call__(self, batch: SliceBatch) -> SliceBatch:
        """Return the batch; a slice that received a lesion has it in its mask, and no type."""
        places = chosen_places(batch.count, self.probability)
        if not len(places):
            return batch
        image, lesion = self._with_lesions(batch.some(places))
        mask = torch.maximum(batch.mask[places], lesion)
        return replace(
            batch,
            image=batch.image.index_copy(0, places, image),
            mask=batch.mask.index_copy(0, places, mask),
            # A synthetic lesion has no type.
            tumor_type=batch.tumor_type.index_fill(0, places, -1),
        )

    def _with_lesions(self, batch: SliceBatch) -> tuple[Tensor, Tensor]:
        """Return slices with a lesion each, and where it is, shapes (b, 3, h, w), (b, 1, h, w)."""
        level = self._level(batch)
        softness = each(uniform(batch.count, 0.05, 0.35))
        alpha = (level / softness + 0.5).clamp(0, 1) * (batch.depth > 0.08)
        change = self._change(batch, level)
        # The tissue's own texture is partly lost, as inside a tumor.
        flat = each(uniform(batch.count, 0, 0.9))
        weight = alpha + 1e-6
        mean = each((own(batch.image) * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3)))
        inside = batch.image * (1 - flat) + mean * flat + change
        merged = (batch.image * (1 - alpha) + inside * alpha).clamp(0, 1.3)
        return merged, (alpha > 0.5).to(batch.mask.dtype)

    def _level(self, batch: SliceBatch) -> Tensor:
        """Return a lobed ellipse at a random place, positive inside, shape (b, 1, h, w)."""
        count, size = batch.count, batch.size
        center = random_place(batch, 0.2)
        x, y = axes(size)
        x, y = x - each(center[:, 0]), y - each(center[:, 1])
        radius = log_uniform(count, 0.06, 0.3)
        stretch = uniform(count, -0.4, 0.4).exp()
        distance = ((x * each(stretch)) ** 2 + (y / each(stretch)) ** 2).sqrt() / each(radius)
        lobes = each(uniform(count, 0.1, 0.5)) * smooth_noise(count, 14, size)
        return 1 - distance + lobes

    def _change(self, batch: SliceBatch, level: Tensor) -> Tensor:
        """Return the change of intensity inside the lesion, shape (b, 1, h, w)."""
        count = batch.count
        sign = 1.0 - 2.0 * chosen(count, 0.4)
        strength = each(uniform(count, 0.12, 0.55) * sign)
        texture = 1 + each(uniform(count, 0, 0.4)) * smooth_noise(count, 40, batch.size)
        rim = ((0.35 - level).abs() < 0.35) & each(chosen(count, 0.3))
        change = strength * texture * torch.where(rim, 1.6, 1.0)
        core = (level > 0.5) & each(chosen(count, 0.3))
        return torch.where(core, change * each(uniform(count, -0.8, 0.4)), change)
