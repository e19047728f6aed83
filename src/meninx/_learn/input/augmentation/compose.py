"""All transforms of augmentation, in their order.

Public collections differ in scanner, sequence and cropping between pictures with tumor and
tumor-free ones. The transforms vary all of these, so that only the tumor separates the classes.
"""

from collections.abc import Callable, Mapping

from meninx._data.items import words_of
from meninx._learn.input.augmentation.batch import SliceBatch
from meninx._learn.input.augmentation.intensity import (
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
from meninx._learn.input.augmentation.lesions import LesionCopyPaste, RandomSyntheticLesion
from meninx._learn.input.augmentation.spatial import (
    RandomAffineWarp,
    RandomNeighborDropout,
    RandomStackFlip,
)
from meninx._learn.recipe import AugmentationRecipe

Transform = Callable[[SliceBatch], SliceBatch]
# Keys of a recipe's `[augmentation]` that set each transform.
RECIPE_KEYS: Mapping[type, tuple[str, ...]] = {
    RandomStackFlip: (),
    RandomNeighborDropout: ("stand_in",),
    RandomAffineWarp: words_of(
        "rotation smallest_scale largest_scale aspect shift flip quarter_turn warp"
    ),
    LesionCopyPaste: ("lesion_copy_paste", "negative_patch"),
    RandomSyntheticLesion: ("synthetic_lesion",),
    RandomSkullStrip: ("strip",),
    RandomGamma: ("gamma",),
    RandomIntensityCurve: ("remap",),
    RandomInversion: ("invert",),
    RandomBiasField: ("bias",),
    RandomBlur: ("blur",),
    RandomDownsample: ("resolution",),
    RandomRicianNoise: ("noise",),
    RandomWindow: ("dimmest", "brightest"),
    RandomJPEG: ("jpeg",),
}


def transforms_of(options: AugmentationRecipe, size: int) -> tuple[Transform, ...]:
    """Return a recipe's transforms.

    Args:
        options: Ranges and probabilities of the recipe.
        size: Height and width of the augmented slices, pixels.

    Returns:
        The transforms in the order in which they are applied.
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


def augment(batch: SliceBatch, options: AugmentationRecipe, size: int) -> SliceBatch:
    """Return an augmented batch.

    Args:
        batch: Slices, all of one size.
        options: Ranges and probabilities of the recipe.
        size: Height and width of the augmented slices, pixels.

    Returns:
        A new batch; a slice that received a lesion has it in its mask.
    """
    # Random numbers are drawn on the batch's device, except which slices change.
    with batch.image.device:
        for transform in transforms_of(options, size):
            batch = transform(batch)
    return batch
