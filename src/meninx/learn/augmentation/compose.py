"""All transforms of training, in their order.

What may tell tumor from no tumor in training is meant to be the tumor alone. Public collections
differ in scanner, sequence and cropping between the two; everything here makes those say nothing.
"""

from collections.abc import Callable

from meninx.learn.augmentation.batch import Batch
from meninx.learn.augmentation.intensity import (
    RandomBiasField,
    RandomBlur,
    RandomDownsample,
    RandomGamma,
    RandomIntensityCurve,
    RandomInversion,
    RandomJPEG,
    RandomRicianNoise,
    RandomSkullStrip,
    RandomWindow,
)
from meninx.learn.augmentation.lesions import LesionCopyPaste, RandomSyntheticLesion
from meninx.learn.augmentation.spatial import (
    RandomAffineWarp,
    RandomNeighborDropout,
    RandomStackFlip,
)
from meninx.learn.recipe import AugmentationRecipe

Transform = Callable[[Batch], Batch]


def transforms_of(options: AugmentationRecipe, size: int) -> tuple[Transform, ...]:
    """Return a recipe's transforms.

    Args:
        options: How far to vary.
        size: Height and width of what they return, pixels.

    Returns:
        In the order in which they are applied.
    """
    return (
        RandomStackFlip(),
        RandomNeighborDropout(options.stand_in),
        RandomAffineWarp(
            size=size,
            rotation=options.rotation,
            zoom=(options.smallest_scale, options.largest_scale),
            aspect=options.aspect,
            shift=options.shift,
            flip=options.flip,
            quarter_turn=options.quarter_turn,
            warp=options.warp,
        ),
        LesionCopyPaste(options.lesion_copy_paste, options.negative_patch),
        RandomSyntheticLesion(options.synthetic_lesion),
        RandomSkullStrip(options.strip),
        RandomGamma(options.gamma),
        RandomIntensityCurve(options.remap),
        RandomInversion(options.invert),
        RandomBiasField(options.bias),
        RandomBlur(options.blur),
        RandomDownsample(options.resolution),
        RandomRicianNoise(options.noise),
        RandomWindow(options.dimmest, options.brightest),
        RandomJPEG(options.jpeg),
    )


def augment(batch: Batch, options: AugmentationRecipe, size: int) -> Batch:
    """Return a batch varied in shape, lesions and contrast.

    Args:
        batch: Pictures of any one size.
        options: How far to vary.
        size: Height and width to return, pixels.

    Returns:
        A new batch; a picture that received a lesion has it in its mask, and no type.
    """
    # What is drawn at random is drawn where the batch lies.
    with batch.image.device:
        for transform in transforms_of(options, size):
            batch = transform(batch)
    return batch
