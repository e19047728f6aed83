from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from scipy import ndimage

from meninx._learn.input.augmentation.batch import SliceBatch, TransformOfSome, blurred
from meninx._learn.input.augmentation.compose import augment
from meninx._learn.input.augmentation.intensity import RandomInversion, RandomSkullStrip
from meninx._learn.input.augmentation.lesions import LesionCopyPaste, RandomSyntheticLesion
from meninx._learn.recipe import AugmentationRecipe


@pytest.fixture
def batch():
    """Six heads of 96 px; the first three have a tumor."""
    torch.manual_seed(0)
    y, x = torch.meshgrid(torch.arange(96), torch.arange(96), indexing="ij")
    distance = (((x - 48) / 36) ** 2 + ((y - 48) / 42) ** 2).sqrt()
    depth = (1 - distance).clamp_min(0)
    image = (distance < 1).float() * (0.4 + 0.05 * torch.randn(6, 3, 96, 96))
    mask = torch.zeros(6, 1, 96, 96)
    mask[:3] = (((x - 60) ** 2 + (y - 40) ** 2) < 100).float()
    image = (image + 0.4 * mask).clamp(0, 1)
    return SliceBatch(
        image,
        mask,
        depth.expand(6, 1, 96, 96).clone(),
        torch.tensor([0, 1, 2, -1, -1, -1]),
        torch.tensor([False] * 3 + [True] * 3),
        torch.tensor([False] * 3 + [True] * 3),
        torch.zeros(6, dtype=torch.bool),
    )


def test_the_same_seed_gives_the_same_pictures(batch):
    results = []
    for _ in range(2):
        torch.manual_seed(5)
        results.append(augment(batch, AugmentationRecipe(), 64))
    assert torch.equal(results[0].image, results[1].image)
    assert torch.equal(results[0].mask, results[1].mask)


def test_pictures_stay_in_range_and_finite(batch):
    for seed in range(20):
        torch.manual_seed(seed)
        varied = augment(batch, AugmentationRecipe(), 64)
        assert varied.image.shape == (6, 3, 64, 64)
        assert varied.mask.shape == (6, 1, 64, 64)
        assert varied.image.isfinite().all()
        assert varied.image.min() >= 0
        assert varied.image.max() <= 1
        assert varied.mask.min() >= 0
        assert varied.mask.max() <= 1


def test_without_tumors_to_copy_tumor_free_pictures_stay_tumor_free(batch):
    options = replace(AugmentationRecipe(), lesion_copy_paste=0.0, synthetic_lesion=0.0)
    for seed in range(10):
        torch.manual_seed(seed)
        assert augment(batch, options, 64).mask[3:].max() == 0


def test_copied_tumors_are_visible_in_tumor_free_pictures(batch):
    torch.manual_seed(1)
    pasted = LesionCopyPaste(1.0, 0.0)(batch)
    changed = (pasted.image - batch.image).abs()
    assert torch.equal(pasted.image[:3], batch.image[:3])
    for index in range(3, 6):
        inside = pasted.mask[index] > 0.5
        assert inside.sum() > 30
        assert changed[index][:, inside[0]].mean() > 0.05
        # Far from the tumor nothing happens.
        far = blurred(pasted.mask[index : index + 1], 4.0)[0] < 1e-4
        assert changed[index][:, far[0]].max() < 1e-3


def test_negative_patches_change_pictures_and_are_no_tumors(batch):
    torch.manual_seed(2)
    patched = LesionCopyPaste(0.0, 1.0)(batch)
    assert patched.mask[3:].max() == 0
    assert (patched.image[3:] - batch.image[3:]).abs().max() > 0.02


def test_synthetic_lesions_are_in_the_mask(batch):
    torch.manual_seed(3)
    synthetic = RandomSyntheticLesion(1.0)(batch)
    assert (synthetic.tumor_type == -1).all()
    for index in range(3, 6):
        inside = synthetic.mask[index] > 0.5
        assert (synthetic.image[index] - batch.image[index]).abs()[:, inside[0]].mean() > 0.03


def test_stripping_takes_the_outside_and_its_mask(batch):
    torch.manual_seed(4)
    stripped = RandomSkullStrip(1.0)(replace(batch, mask=torch.ones_like(batch.mask)))
    rim = (batch.depth > 0) & (batch.depth < 0.02)
    assert stripped.image[rim.expand_as(stripped.image)].max() == 0
    assert stripped.mask[rim].max() == 0
    # What is gone stays air when the head is inverted.
    inverted = RandomInversion(1.0)(stripped)
    assert inverted.image[rim.expand_as(inverted.image)].max() == 0
    left = inverted.image[inverted.kept.expand_as(inverted.image) > 0]
    assert (left > 0).float().mean() > 0.99


def test_nothing_asked_nothing_moved(batch):
    same = RandomSyntheticLesion(0.0)(LesionCopyPaste(0.0, 0.0)(batch))
    assert torch.equal(same.image, batch.image)
    assert torch.equal(same.mask, batch.mask)


def test_blurring_is_a_gaussian_with_darkness_beyond_the_border():
    image = torch.rand(2, 1, 40, 52)
    expected = ndimage.gaussian_filter(
        image.numpy(), (0, 0, 1.7, 1.7), mode="constant", truncate=2.5, radius=(0, 0, 5, 5)
    )
    torch.testing.assert_close(blurred(image, 1.7), torch.from_numpy(expected), atol=1e-5, rtol=0)


class Whitens(TransformOfSome):
    given: ClassVar[list[int]] = []

    def changed(self, batch):
        self.given.append(batch.count)
        return torch.ones_like(batch.image)


def test_only_the_slices_that_are_changed_are_computed(batch):
    torch.manual_seed(0)
    white = [
        (Whitens(0.3)(batch).image == torch.ones_like(batch.image)).flatten(1).all(1)
        for _ in range(20)
    ]
    assert [int(mask.sum()) for mask in white if mask.any()] == Whitens.given
    assert 0.15 < torch.stack(white).float().mean() < 0.45
    image = Whitens(0.3)(batch).image
    kept = (image != 1).flatten(1).any(1)
    assert kept.any()
    assert torch.equal(image[kept], batch.image[kept])
    assert Whitens(0.0)(batch) is batch


@pytest.mark.parametrize(
    "transform",
    [LesionCopyPaste(0.5, 0.3), RandomSyntheticLesion(0.5)],
    ids=["copy and paste", "synthetic"],
)
def test_lesions_do_not_change_the_other_slices(batch, transform):
    every = []
    for seed in range(10):
        torch.manual_seed(seed)
        varied = transform(batch)
        moved = (varied.image != batch.image).flatten(1).any(1)
        assert torch.equal(varied.mask[~moved], batch.mask[~moved])
        assert torch.equal(varied.tumor_type[~moved], batch.tumor_type[~moved])
        every.append(moved)
    # Each place is changed sometimes, and left alone sometimes.
    share = torch.stack(every).float().mean(0)
    assert ((share > 0) & (share < 1)).all()
