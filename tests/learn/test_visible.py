"""Places of a mask count in T1 and T1c where the tumor differs from the mirrored side."""

import numpy as np
import torch
from scipy import ndimage

from meninx._learn.fit.losses import cell_targets
from meninx._learn.input.dataset import MASKED, Facts, SliceDataset, depth_in_head
from meninx._learn.input.visible import UNSEEN, mirrored_contrast, with_visible_masks

SIDE = 128


def head(tilt=0.0, shift=0):
    """Return a noisy head with ventricles and a dark tumor on one side; and its tumor's mask.

    The lower half of the mask has no contrast.
    """
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    image = 120.0 * (np.hypot(x / 0.7, y / 0.85) < 1)
    image[np.hypot((np.abs(x) - 0.15) / 0.08, y / 0.2) < 1] = 40
    mask = np.zeros((SIDE, SIDE))
    mask[50:80, 86:100] = 255
    image[50:65, 86:100] = 70
    image, mask = (np.roll(plane, shift, axis=1) for plane in (image, mask))
    image = ndimage.rotate(image, tilt, reshape=False, order=1)
    mask = ndimage.rotate(mask, tilt, reshape=False, order=1)
    image += np.random.default_rng(0).normal(0, 4, image.shape) * (image > 10)
    depth = depth_in_head((image / 255).clip(0, 1).astype(np.float32))
    return tuple(
        np.rint(plane.clip(0, 255)).astype(np.uint8) for plane in (image, mask, depth * 255)
    )


def test_only_what_differs_from_the_other_side_is_seen():
    for tilt, shift in ((0, 0), (6, 0), (-6, 5), (0, -8)):
        image, mask, depth = head(tilt, shift)
        contrast = mirrored_contrast(image, mask, depth)
        inner = ndimage.binary_erosion(mask > 127, iterations=4)
        dark = ndimage.gaussian_filter(image.astype(float), 2) < 95
        assert np.median(contrast[inner & dark]) > 5
        assert np.median(contrast[inner & ~dark]) < 2


def test_nothing_is_known_where_both_sides_are_tumor():
    image, mask, depth = head()
    both = np.maximum(mask, mask[:, ::-1])
    contrast = mirrored_contrast(image, both, depth)
    assert np.isinf(contrast[ndimage.binary_erosion(both > 127, iterations=4)]).all()


def dataset(sequences, image, mask, depth):
    planes = [
        torch.from_numpy(np.stack([plane] * len(sequences))) for plane in (image, mask, depth)
    ]
    return SliceDataset.of_planes(
        *planes, [Facts(MASKED, sequence=sequence) for sequence in sequences]
    )


def test_what_is_not_seen_makes_no_cell_a_tumor_and_none_tumor_free():
    image, mask, depth = head()
    plain = dataset(("FLAIR", "T1"), image, mask, depth)
    assert with_visible_masks(plain, 0) is plain
    found = with_visible_masks(plain, 3.0)
    assert torch.equal(found.mask[0], plain.mask[0])
    assert found.mask[1].max() == 255
    changed = found.mask[1] != plain.mask[1]
    assert set(found.mask[1][changed].tolist()) == {UNSEEN}
    tumor, free = cell_targets(found.batch(torch.arange(2)).mask, marked=True)
    assert tumor[1].sum() < tumor[0].sum()
    assert torch.equal(free[0], free[1])
    assert bool((tumor[1] <= tumor[0]).all())


def test_a_slice_whose_tumor_cannot_be_seen_is_neither_tumor_nor_tumor_free():
    image, _, depth = head()
    hidden = np.zeros_like(image)
    hidden[72:88, 84:100] = 255
    found = with_visible_masks(dataset(("T1c",), image, hidden, depth), 3.0)
    batch = found.batch(torch.arange(1))
    assert found.mask.max() == UNSEEN
    assert not batch.fair.any()
    tumor, free = cell_targets(batch.mask, marked=True)
    assert not tumor.any()
    assert not free[0, 9:11, 11:12].any()
