"""Vary training pictures on the whole batch at once: shape, lesions, contrast.

What may tell tumor from no tumor in training is meant to be the tumor alone. Public collections
differ in scanner, sequence and cropping between the two; everything here makes those say nothing.

Legend: b batch, h height, w width. Intensities are 0..1 with air at 0. A slice comes with its two
neighbors, as channels: what moves or changes it does the same to them.
"""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from meninx.detect.neighbors import OWN_CHANNEL
from meninx.learn.recipe import AugmentationRecipe


@dataclass
class Batch:
    """A batch of slices.

    Args:
        image: Intensities 0..1 of the slices with their neighbors, shape (b, 3, h, w).
        mask: Tumor coverage 0..1, shape (b, 1, h, w).
        depth: Distance to the outside of the head, 0..1 of the deepest point, shape (b, 1, h, w).
        tumor_type: Index in `labels.TYPE_NAMES`, -1 where unknown or none, shape (b,).
        tumor_free: Whether no tumor was there to begin with, shape (b,), bool.
        fair: Whether its source comes with and without tumors, so that the source says nothing,
            shape (b,), bool.
        unmasked: Whether it shows a tumor of which nobody drew the outline, shape (b,), bool.
    """

    image: Tensor
    mask: Tensor
    depth: Tensor
    tumor_type: Tensor
    tumor_free: Tensor
    fair: Tensor
    unmasked: Tensor

    @property
    def tumor(self) -> Tensor:
        """Whether a tumor can be seen, drawn or not, shape (b,), bool."""
        return self.unmasked | (self.mask.flatten(1).amax(1) > 0.5)


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
        batch = vary_neighbors(batch, options)
        batch = vary_shape(batch, options, size)
        batch = paste(batch, options)
        batch = paint(batch, options)
        return vary_contrast(batch, options)


def _uniform(count: int, low: float, high: float) -> Tensor:
    return torch.empty(count).uniform_(low, high)


def _one(low: float, high: float) -> float:
    """Return one number for all of a batch, drawn on the CPU: nothing has to wait for a GPU."""
    return float(torch.empty((), device="cpu").uniform_(low, high))


def _own(image: Tensor) -> Tensor:
    """Return slices without their neighbors, shape (b, 1, h, w)."""
    return image[:, OWN_CHANNEL : OWN_CHANNEL + 1]


def _chosen(count: int, probability: float) -> Tensor:
    return torch.rand(count) < probability


def _each(values: Tensor) -> Tensor:
    """Return one value a picture in a shape that broadcasts over (b, 1, h, w)."""
    return values[:, None, None, None]


def smooth_noise(count: int, cells: int, size: int) -> Tensor:
    """Return smooth random fields of about unit variance, shape (count, 1, size, size)."""
    coarse = torch.randn(count, 1, cells, cells)
    return F.interpolate(coarse, (size, size), mode="bicubic", align_corners=False)


def blurred(image: Tensor, sigma: float) -> Tensor:
    """Return an image smoothed by a Gaussian of `sigma` pixels, 0 lying beyond its border."""
    radius = max(1, math.ceil(2.5 * sigma))
    # As matrices: on a CPU several times faster than convolutions with a single channel.
    rows, columns = (_band(side, sigma, radius, image.dtype) for side in image.shape[-2:])
    return rows @ image @ columns


def _band(side: int, sigma: float, radius: int, dtype: torch.dtype) -> Tensor:
    """Return the symmetric matrix that smooths a vector, shape (side, side)."""
    away = torch.arange(side, dtype=dtype)
    away = away[:, None] - away
    kernel = torch.exp(-0.5 * (away / sigma) ** 2) * (away.abs() <= radius)
    return kernel / kernel[side // 2].sum()


def _affine(angle: Tensor, scale_x: Tensor, scale_y: Tensor) -> Tensor:
    """Return rotation and zoom from output to input coordinates, shape (b, 2, 2)."""
    cos, sin = angle.cos(), angle.sin()
    rows = [
        torch.stack([cos / scale_x, -sin / scale_x], -1),
        torch.stack([sin / scale_y, cos / scale_y], -1),
    ]
    return torch.stack(rows, 1)


def vary_neighbors(batch: Batch, options: AugmentationRecipe) -> Batch:
    """Turn some stacks upside down, and let some slices stand in for their neighbors."""
    count = len(batch.image)
    image = torch.where(_each(_chosen(count, 0.5)), batch.image.flip(1), batch.image)
    alone = _each(_chosen(count, options.stand_in))
    return replace(batch, image=torch.where(alone, _own(image).expand_as(image), image))


def vary_shape(batch: Batch, options: AugmentationRecipe, size: int) -> Batch:
    """Rotate, zoom, mirror, shift and warp, the mask along with the image."""
    count = len(batch.image)
    degrees = _uniform(count, -options.rotation, options.rotation)
    quarter = _chosen(count, options.quarter_turn) * torch.randint(1, 4, (count,)) * 90.0
    zoom = _uniform(count, math.log(options.smallest_scale), math.log(options.largest_scale)).exp()
    aspect = _uniform(count, -options.aspect, options.aspect).exp()
    mirror = 1.0 - 2.0 * _chosen(count, options.flip)
    matrix = _affine((degrees + quarter).deg2rad(), zoom * aspect * mirror, zoom / aspect)
    shift = _uniform(count * 2, -options.shift, options.shift).view(count, 2, 1)
    grid = F.affine_grid(
        torch.cat([matrix, shift], dim=2), [count, 1, size, size], align_corners=False
    )
    if options.warp > 0:
        strength = _uniform(count, 0, options.warp)[:, None, None, None]
        field = torch.cat([smooth_noise(count, 6, size), smooth_noise(count, 6, size)], 1)
        grid = grid + field.permute(0, 2, 3, 1) * strength
    stacked = torch.cat([batch.image, batch.mask, batch.depth], dim=1)
    moved = F.grid_sample(stacked, grid, align_corners=False)
    image, mask, depth = torch.split(moved, [batch.image.shape[1], 1, 1], dim=1)
    return replace(batch, image=image, mask=mask, depth=depth)


def paste(batch: Batch, options: AugmentationRecipe) -> Batch:
    """Put tumors of some pictures into tumor-free ones, and healthy patches anywhere.

    The brightness around the donor's tumor is matched to the place where it goes; the contrast to
    its surroundings is varied and sometimes inverted. A decoy is cut in the same shape from healthy
    tissue and gets no mask.
    """
    count, size = len(batch.image), batch.image.shape[-1]
    area = batch.mask.sum((1, 2, 3))
    donors = torch.nonzero(area > 30).flatten()
    wants_tumor = batch.tumor_free & _chosen(count, options.paste)
    wants_decoy = ~wants_tumor & _chosen(count, options.decoy)
    if not len(donors) or not options.paste + options.decoy:
        return batch
    shape_donor = donors[torch.randint(len(donors), (count,))]
    shape = batch.mask[shape_donor]
    # A decoy's tissue comes from a tumor-free picture where the batch has one.
    healthy = torch.nonzero(batch.tumor_free).flatten()
    pool = healthy if len(healthy) else torch.arange(count)
    tissue_donor = torch.where(wants_tumor, shape_donor, pool[torch.randint(len(pool), (count,))])
    tissue = batch.image[tissue_donor]
    allowed = (batch.depth > 0.12).flatten(1).float() + 1e-6
    target = torch.multinomial(allowed, 1).flatten()
    center = _to_unit(target % size, target // size, size)
    grid_x = torch.linspace(-1, 1, size)[None, None, None, :]
    grid_y = torch.linspace(-1, 1, size)[None, None, :, None]
    mass = shape.sum((1, 2, 3)).clamp_min(1)
    centroid = torch.stack(
        [(shape * grid_x).sum((1, 2, 3)) / mass, (shape * grid_y).sum((1, 2, 3)) / mass], -1
    )
    zoom = _uniform(count, math.log(0.5), math.log(1.4)).exp()
    matrix = _affine(
        _uniform(count, -math.pi, math.pi), zoom * (1.0 - 2.0 * _chosen(count, 0.5)), zoom
    )
    offset = centroid[:, :, None] - matrix @ center[:, :, None]
    grid = F.affine_grid(
        torch.cat([matrix, offset], dim=2), [count, 1, size, size], align_corners=False
    )
    moved = F.grid_sample(torch.cat([tissue, shape], 1), grid, align_corners=False)
    tissue, shape = torch.split(moved, [tissue.shape[1], 1], dim=1)
    shape = shape * (batch.depth > 0.04)
    edge = _one(0.7, 2.5)
    alpha = blurred(shape, edge).clamp(0, 1)
    ring = (blurred(shape, 6.0) - shape).clamp_min(0) * (_own(tissue) > 0.05) + 1e-6
    inner = shape + 1e-6
    around = (_own(tissue) * ring).sum((1, 2, 3)) / ring.sum((1, 2, 3))
    here = (_own(batch.image) * inner).sum((1, 2, 3)) / inner.sum((1, 2, 3))
    gain = _uniform(count, 0.5, 1.6) * (1.0 - 2.0 * _chosen(count, 0.3))
    gain = torch.where(wants_decoy, gain.abs().clamp(0.6, 1.2), gain)
    filled = (_each(here) + _each(gain) * (tissue - _each(around))).clamp(0, 1.3)
    merged = batch.image * (1 - alpha) + filled * alpha
    # A tumor that can't be told from its surroundings is not taught as one.
    change = _own(merged - batch.image).abs()
    contrast = (change * inner).sum((1, 2, 3)) / inner.sum((1, 2, 3))
    kept = (wants_tumor & (contrast > 0.06)) | wants_decoy
    image = torch.where(_each(kept), merged, batch.image)
    mask = torch.where(_each(kept & wants_tumor), torch.maximum(batch.mask, shape), batch.mask)
    # What a decoy hides is no longer there to be found.
    mask = torch.where(_each(wants_decoy), mask * (1 - alpha), mask)
    return replace(batch, image=image, mask=mask)


def _to_unit(column: Tensor, row: Tensor, size: int) -> Tensor:
    """Return pixel positions in -1..1, shape (b, 2), x before y."""
    return torch.stack([(column + 0.5) * 2 / size - 1, (row + 0.5) * 2 / size - 1], -1)


def paint(batch: Batch, options: AugmentationRecipe) -> Batch:
    """Paint lesions of random shape, brightness and texture; some with a rim.

    They stand for what no collection with masks shows: bright edema on FLAIR, dark lesions on T1.
    """
    count, size = len(batch.image), batch.image.shape[-1]
    if not options.paint:
        return batch
    chosen = _chosen(count, options.paint)
    allowed = (batch.depth > 0.2).flatten(1).float() + 1e-6
    target = torch.multinomial(allowed, 1).flatten()
    center = _to_unit(target % size, target // size, size)
    x = torch.linspace(-1, 1, size)[None, None, None, :] - _each(center[:, 0])
    y = torch.linspace(-1, 1, size)[None, None, :, None] - _each(center[:, 1])
    radius = _uniform(count, math.log(0.06), math.log(0.3)).exp()
    stretch = _uniform(count, -0.4, 0.4).exp()
    distance = ((x * _each(stretch)) ** 2 + (y / _each(stretch)) ** 2).sqrt() / _each(radius)
    lobes = _each(_uniform(count, 0.1, 0.5)) * smooth_noise(count, 14, size)
    level = 1 - distance + lobes  # above 0 inside
    softness = _each(_uniform(count, 0.05, 0.35))
    alpha = (level / softness + 0.5).clamp(0, 1) * (batch.depth > 0.08)
    sign = 1.0 - 2.0 * _chosen(count, 0.4)
    strength = _each(_uniform(count, 0.12, 0.55) * sign)
    texture = 1 + _each(_uniform(count, 0, 0.4)) * smooth_noise(count, 40, size)
    rim = ((0.35 - level).abs() < 0.35) & _each(_chosen(count, 0.3))
    change = strength * texture * torch.where(rim, 1.6, 1.0)
    core = (level > 0.5) & _each(_chosen(count, 0.3))
    change = torch.where(core, change * _each(_uniform(count, -0.8, 0.4)), change)
    # Part of the tissue's own texture is lost, as inside a tumor.
    flat = _each(_uniform(count, 0, 0.9))
    weight = alpha + 1e-6
    mean = _each((_own(batch.image) * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3)))
    inside = batch.image * (1 - flat) + mean * flat + change
    merged = (batch.image * (1 - alpha) + inside * alpha).clamp(0, 1.3)
    image = torch.where(_each(chosen), merged, batch.image)
    lesion = (alpha > 0.5).to(batch.mask.dtype)
    mask = torch.where(_each(chosen), torch.maximum(batch.mask, lesion), batch.mask)
    # Noise is of no type.
    return replace(
        batch, image=image, mask=mask, tumor_type=batch.tumor_type.masked_fill(chosen, -1)
    )


def vary_contrast(batch: Batch, options: AugmentationRecipe) -> Batch:
    """Change intensities as other scanners, sequences and exports would."""
    image, mask = batch.image, batch.mask
    count, size = len(image), image.shape[-1]
    head = (batch.depth > 0.01).to(image.dtype)
    # Skull stripping: a ring of uneven depth goes.
    threshold = _each(_uniform(count, 0.10, 0.26)) + 0.03 * smooth_noise(count, 8, size)
    kept = (batch.depth > threshold).to(image.dtype)
    kept = torch.where(_each(_chosen(count, options.strip)), kept, torch.ones_like(kept))
    image, mask = image * kept, mask * kept
    gamma = _uniform(count, -options.gamma, options.gamma).exp()
    image = image.clamp_min(0).pow(_each(gamma))
    image = torch.where(_each(_chosen(count, options.remap)), _remapped(image), image)
    inverted = (1.05 - image).clamp_min(0) * head * kept
    image = torch.where(_each(_chosen(count, options.invert)), inverted, image)
    field = (0.25 * smooth_noise(count, 4, size)).exp()
    image = torch.where(_each(_chosen(count, options.bias)), image * field, image)
    image = torch.where(_each(_chosen(count, options.blur)), blurred(image, _one(0.5, 1.6)), image)
    image = torch.where(_each(_chosen(count, options.resolution)), _coarser(image), image)
    noise = _each(_uniform(count, 0.005, 0.045))
    # Magnitude images: Gaussian noise in both channels (Gudbjartsson and Patz 1995).
    real, imaginary = torch.randn_like(image) * noise, torch.randn_like(image) * noise
    noisy = ((image + real) ** 2 + imaginary**2).sqrt()
    image = torch.where(_each(_chosen(count, options.noise)), noisy, image)
    # A picture is scaled by its own bright end, a volume's slices by the volume's: some are dimmer.
    # Every other row and column is enough to tell that end.
    top = _own(image)[..., ::2, ::2].flatten(1).quantile(0.99, dim=1).clamp_min(0.1)
    bright_end = _each(_uniform(count, options.dimmest, options.brightest))
    image = (image / _each(top) * bright_end).clamp(0, 1)
    image = torch.where(
        _each(_chosen(count, options.jpeg)), _compressed(image, _uniform(count, 15, 90)), image
    )
    return replace(batch, image=image, mask=mask)


def exported_again(image: Tensor) -> Tensor:
    """Return pictures as another export might leave them: coarser, compressed, or both.

    Args:
        image: 0..1, shape (b, c, h, w); sides that are multiples of 8.

    Returns:
        The same shape.
    """
    count = len(image)
    with image.device:
        coarser = torch.where(_each(_chosen(count, 0.5)), _coarser(image, 0.5), image)
        return _compressed(coarser, _uniform(count, 30, 95))


def _coarser(image: Tensor, smallest: float = 0.35) -> Tensor:
    """Return pictures as if taken with coarser pixels, of their own size along each side."""
    height, width = image.shape[-2:]
    sides = (round(height * _one(smallest, 1.0)), round(width * _one(smallest, 1.0)))
    small = F.interpolate(image, sides, mode="area")
    return F.interpolate(small, (height, width), mode="bilinear", align_corners=False)


# Quantization of an 8 x 8 block's frequencies at quality 50 (ISO/IEC 10918-1, table K.1).
JPEG_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56), (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip


def _compressed(image: Tensor, quality: Tensor) -> Tensor:
    """Return pictures as JPEG leaves them.

    Args:
        image: 0..1, shape (b, c, h, w); sides that are multiples of 8.
        quality: 1..100 as libjpeg counts it, shape (b,).

    Returns:
        The shape of the pictures.
    """
    count, channels, height, width = image.shape
    place = torch.arange(8, dtype=image.dtype)
    basis = torch.cos((2 * place + 1) * place[:, None] * math.pi / 16) / 2  # [8, 8]
    basis[0] = math.sqrt(1 / 8)
    blocks = image.view(count, channels, height // 8, 8, width // 8, 8).transpose(3, 4) * 255 - 128
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality) / 100
    table = torch.tensor(JPEG_TABLE, dtype=image.dtype)
    steps = (table * scale[:, None, None]).clamp_min(1)[:, None, None, None]
    frequencies = (basis @ blocks @ basis.T / steps).round() * steps
    decoded = (basis.T @ frequencies @ basis + 128) / 255
    return decoded.transpose(3, 4).reshape(image.shape).clamp(0, 1)


def _remapped(image: Tensor) -> Tensor:
    """Return intensities through a random piecewise linear curve that leaves air dark."""
    count, knots = len(image), 7
    identity = torch.linspace(0, 1, knots)
    heights = identity.lerp(torch.rand(count, knots), _uniform(count, 0.2, 0.75)[:, None])
    heights[:, 0] = 0.0
    position = image.clamp(0, 1).flatten(1) * (knots - 1)
    lower = position.floor().clamp(max=knots - 2)
    index = lower.long()
    low, high = heights.gather(1, index), heights.gather(1, index + 1)
    return (low + (high - low) * (position - lower)).view_as(image)
