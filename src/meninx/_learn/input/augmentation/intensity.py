"""Transforms of intensity, as other scanners, sequences and exports give them."""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from meninx._learn.input.augmentation.batch import (
    SliceBatch,
    TransformOfSome,
    blurred,
    chosen,
    each,
    own,
    smooth_noise,
    uniform,
    uniform_of_batch,
    where,
)

# Depth from which on a pixel belongs to the head.
_HEAD_DEPTH = 0.01


@dataclass(frozen=True)
class RandomSkullStrip:
    """Removes an outer ring with most of the skull, to 0.10..0.26 of the largest depth, unevenly.

    Args:
        probability: Probability that a slice is changed, 0..1.
    """

    probability: float

    def __call__(self, batch: SliceBatch) -> SliceBatch:
        """Return the batch, with the pixels that were kept."""
        count = batch.count
        threshold = each(uniform(count, 0.10, 0.26)) + 0.03 * smooth_noise(count, 8, batch.size)
        kept = (batch.depth > threshold).to(batch.image.dtype)
        kept = where(chosen(count, self.probability), kept, torch.ones_like(kept))
        return replace(batch, image=batch.image * kept, mask=batch.mask * kept, kept=kept)


@dataclass(frozen=True)
class RandomGamma:
    """Raises intensities to a power.

    Args:
        largest: Largest natural logarithm of the exponent either way, 0 and more; 0.6 gives
            exponents of 0.55..1.82.
    """

    largest: float

    def __call__(self, batch: SliceBatch) -> SliceBatch:
        """Return the batch, brighter or darker in the middle of its range."""
        gamma = uniform(batch.count, -self.largest, self.largest).exp()
        return replace(batch, image=batch.image.clamp_min(0).pow(each(gamma)))


class RandomIntensityCurve(TransformOfSome):
    """Maps intensities through a random piecewise linear curve that leaves air dark.

    The curve has 7 knots; 0.2..0.75 of each knot's height is random, the rest is the identity. It
    need not be monotone.

    Args:
        probability: Probability that a slice is changed, 0..1.
    """

    KNOTS = 7

    def changed(self, batch: SliceBatch) -> Tensor:
        """Return contrasts that no scanner gives."""
        image = batch.image
        count, knots = len(image), self.KNOTS
        identity = torch.linspace(0, 1, knots)
        heights = identity.lerp(torch.rand(count, knots), uniform(count, 0.2, 0.75)[:, None])
        heights[:, 0] = 0.0
        position = image.clamp(0, 1).flatten(1) * (knots - 1)
        lower = position.floor().clamp(max=knots - 2)
        index = lower.long()
        low, high = heights.gather(1, index), heights.gather(1, index + 1)
        return (low + (high - low) * (position - lower)).view_as(image)


class RandomInversion(TransformOfSome):
    """Inverts the head's intensities to 1.05 - intensity; air stays dark.

    Args:
        probability: Probability that a slice is changed, 0..1.
    """

    def changed(self, batch: SliceBatch) -> Tensor:
        """Return inverted heads."""
        head = (batch.depth > _HEAD_DEPTH).to(batch.image.dtype)
        if batch.kept is not None:
            head = head * batch.kept
        return (1.05 - batch.image).clamp_min(0) * head


class RandomBiasField(TransformOfSome):
    """Multiplies by a smooth bias field, exp of noise of standard deviation 0.25, over 4 x 4 knots.

    Args:
        probability: Probability that a slice is changed, 0..1.
    """

    def changed(self, batch: SliceBatch) -> Tensor:
        """Return unevenly bright slices."""
        return batch.image * (0.25 * smooth_noise(batch.count, 4, batch.size)).exp()


class RandomBlur(TransformOfSome):
    """Smooths by a Gaussian with a standard deviation of 0.5..1.6 pixels, one for a whole batch.

    Args:
        probability: Probability that a slice is changed, 0..1.
    """

    def changed(self, batch: SliceBatch) -> Tensor:
        """Return soft slices."""
        return blurred(batch.image, uniform_of_batch(0.5, 1.6))


class RandomDownsample(TransformOfSome):
    """Keeps 0.35..1 of the pixels along each side, with separate draws for rows and columns.

    Args:
        probability: Probability that a slice is changed, 0..1.
    """

    def changed(self, batch: SliceBatch) -> Tensor:
        """Return coarser slices."""
        return coarser(batch.image, 0.35)


class RandomRicianNoise(TransformOfSome):
    """Adds Gaussian noise to both channels of a magnitude image, standard deviation 0.005..0.045.

    Args:
        probability: Probability that a slice is changed, 0..1.

    References:
        Gudbjartsson and Patz 1995, The Rician distribution of noisy MRI data.
    """

    def changed(self, batch: SliceBatch) -> Tensor:
        """Return noisy slices."""
        image = batch.image
        noise = each(uniform(batch.count, 0.005, 0.045))
        real, imaginary = torch.randn_like(image) * noise, torch.randn_like(image) * noise
        return ((image + real) ** 2 + imaginary**2).sqrt()


@dataclass(frozen=True)
class RandomWindow:
    """Scales the 99th percentile to a random bright end, and clips at 0 and 1.

    A picture is scaled by its own bright end, the slices of a volume by that of the volume, so that
    some are dimmer.

    Args:
        dimmest: Smallest bright end, 0..1.
        brightest: Largest bright end, `dimmest` and more; above 1 the brightest pixels are clipped.
    """

    dimmest: float
    brightest: float

    def __call__(self, batch: SliceBatch) -> SliceBatch:
        """Return the batch, 0..1."""
        # Every other row and column is enough for a percentile.
        top = own(batch.image)[..., ::2, ::2].flatten(1).quantile(0.99, dim=1).clamp_min(0.1)
        bright_end = each(uniform(batch.count, self.dimmest, self.brightest))
        return replace(batch, image=(batch.image / each(top) * bright_end).clamp(0, 1))


class RandomJPEG(TransformOfSome):
    """Compresses as JPEG with a quality of 15..90.

    Args:
        probability: Probability that a slice is changed, 0..1.
    """

    def changed(self, batch: SliceBatch) -> Tensor:
        """Return slices with blocks and rings."""
        return compressed(batch.image, uniform(batch.count, 15, 90))


def exported_again(image: Tensor) -> Tensor:
    """Return pictures as another export may give them: coarser, compressed, or both.

    Args:
        image: Intensities 0..1, shape (b, c, h, w); h and w are multiples of 8.

    Returns:
        Intensities 0..1, shape (b, c, h, w).
    """
    count = len(image)
    with image.device:
        small = where(chosen(count, 0.5), coarser(image, 0.5), image)
        return compressed(small, uniform(count, 30, 95))


def coarser(image: Tensor, smallest: float) -> Tensor:
    """Return pictures as if taken with coarser pixels, with a size of its own along each side.

    Args:
        image: Intensities, shape (b, c, h, w).
        smallest: Smallest share of the pixels that is kept along a side, 0..1.

    Returns:
        Intensities, shape (b, c, h, w).
    """
    height, width = image.shape[-2:]
    sides = (
        round(height * uniform_of_batch(smallest, 1.0)),
        round(width * uniform_of_batch(smallest, 1.0)),
    )
    small = F.interpolate(image, sides, mode="area")
    return F.interpolate(small, (height, width), mode="bilinear", align_corners=False)


# Quantization of an 8 x 8 block's frequencies at quality 50 (ISO/IEC 10918-1, table K.1).
_JPEG_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)


def compressed(image: Tensor, quality: Tensor) -> Tensor:
    """Return pictures with the losses of JPEG compression.

    Args:
        image: Intensities 0..1, shape (b, c, h, w); h and w are multiples of 8.
        quality: Quality of libjpeg, 1..100, shape (b,).

    Returns:
        Intensities 0..1, shape (b, c, h, w).
    """
    count, channels, height, width = image.shape
    place = torch.arange(8, dtype=image.dtype)
    basis = torch.cos((2 * place + 1) * place[:, None] * math.pi / 16) / 2  # [8, 8]
    basis[0] = math.sqrt(1 / 8)
    blocks = image.view(count, channels, height // 8, 8, width // 8, 8).transpose(3, 4) * 255 - 128
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality) / 100
    table = torch.tensor(_JPEG_TABLE, dtype=image.dtype)
    steps = (table * scale[:, None, None]).clamp_min(1)[:, None, None, None]
    frequencies = (basis @ blocks @ basis.T / steps).round() * steps
    decoded = (basis.T @ frequencies @ basis + 128) / 255
    return decoded.transpose(3, 4).reshape(image.shape).clamp(0, 1)
