"""Hold training pictures in memory, as the detector will see them.

Legend: n pictures, s side of the canvas in pixels.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from meninx.data.manifest import Picture
from meninx.data.prepare import read_mask, read_one
from meninx.detect.detector import brain_slices
from meninx.detect.preprocessing import Framing, Preprocessing, foreground, framing_of
from meninx.errors import DataError
from meninx.labels import TYPE_NAMES
from meninx.learn.augmentation import Batch
from meninx.learn.recipe import SamplingRecipe
from meninx.scan.raster import read_gray

MASKED, TUMOR_FREE, SIMULATED, UNMASKED = 0, 1, 2, 3


@dataclass(frozen=True)
class Example:
    """Hold one slice to learn from.

    Args:
        image: Intensities, shape (h, w), any unit.
        mask: Tumor, shape (h, w), 0 or 1; None for a slice without tumor.
        tumor_type: One of `labels.TYPE_NAMES`, None where unknown or none.
        kind: `MASKED`, `TUMOR_FREE`, `SIMULATED` or `UNMASKED`, a tumor without its outline.
        framing: That it shares with the other slices of its volume; None for its own.
        pixel_spacing: Distance between rows and between columns, mm.
        plausible: Whether a scanner could have taken it; some simulated contrasts are none.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.float32] | None
    tumor_type: str | None
    kind: int
    framing: Framing | None = None
    pixel_spacing: tuple[float, float] = (1.0, 1.0)
    plausible: bool = True


def examples_of(pictures: Iterable[Picture], *, unmasked: bool = False) -> Iterator[Example]:
    """Read pictures to learn from.

    Args:
        pictures: Of a manifest; of a volume, every slice that shows enough of the head.
        unmasked: Whether tumors without a mask are wanted: they say nothing about cells.

    Yields:
        One example a picture or slice.

    Raises:
        DataError: If a mask is empty, of another size than its picture, or of a tumor-free one.
        InputError: If a picture can't be read.
    """
    for picture in pictures:
        if picture.tumor and picture.mask is None and not unmasked:
            continue
        if picture.is_volume:
            yield from _slices_of(picture)
            continue
        mask = None
        if picture.mask is not None:
            mask = _read_mask(picture)
        image = read_gray(picture.picture)
        if mask is not None and mask.shape != image.shape:
            raise DataError(
                f"{picture.mask}: the mask has {mask.shape[1]} x {mask.shape[0]} pixels, its "
                f"picture {image.shape[1]} x {image.shape[0]}"
            )
        kind = TUMOR_FREE
        if picture.tumor:
            kind = UNMASKED if mask is None else MASKED
        yield Example(image, mask, picture.tumor_type, kind)


def _slices_of(picture: Picture) -> Iterator[Example]:
    """Yield the slices of a volume; of one with an outline, each with its own part of it."""
    scan = read_one(picture.picture)
    mask = read_mask(picture.mask, scan) if picture.mask is not None else None
    slices = brain_slices(scan)
    framing = framing_of(np.stack([one.image for one in slices]))
    for one in slices:
        truth = None if mask is None else scan.view.cut(mask, one.index).astype(np.float32)
        kind, kind_of_tumor = TUMOR_FREE, None
        if picture.tumor and (truth is None or truth.any()):
            kind, kind_of_tumor = UNMASKED if truth is None else MASKED, picture.tumor_type
        yield Example(
            one.image, truth if kind == MASKED else None, kind_of_tumor, kind, framing,
            one.pixel_spacing,
        )  # fmt: skip


def _read_mask(picture: Picture) -> NDArray[np.float32]:
    """Return a picture's mask, whatever value stands for tumor in it, shape (h, w), 0 or 1."""
    if picture.mask is None or not picture.tumor:
        raise DataError(f"{picture.id}: a mask, but no tumor; correct the manifest")
    try:
        with Image.open(picture.mask) as opened:
            values = np.asarray(opened.convert("RGB") if opened.mode == "P" else opened)
    except OSError as error:
        raise DataError(f"{picture.mask}: the mask can't be read: {error}") from error
    covered = values[..., :3].any(axis=2) if values.ndim == 3 else values > 0
    if not covered.any():
        raise DataError(f"{picture.mask}: the mask of a tumor is empty; correct the manifest")
    return np.asarray(covered, dtype=np.float32)


class SliceDataset(Dataset[dict[str, Tensor]]):
    """Keep examples as bytes on one square canvas each.

    Args:
        examples: What to learn from; read once.
        preprocessing: Of the detector, its size being the canvas side s.
    """

    def __init__(self, examples: Iterable[Example], preprocessing: Preprocessing) -> None:
        images, masks, depths, types, kinds = [], [], [], [], []
        for example in examples:
            framing = example.framing or framing_of(example.image[None])
            placement = preprocessing.placement(framing, example.image.shape, example.pixel_spacing)
            unit = preprocessing.to_unit(example.image, framing, placement)
            mask = np.zeros_like(unit)
            if example.mask is not None:
                mask = preprocessing.resample(example.mask, placement)
            images.append(_as_bytes(unit))
            masks.append(_as_bytes(mask))
            depths.append(_as_bytes(depth_in_head(unit)))
            types.append(TYPE_NAMES.index(example.tumor_type) if example.tumor_type else -1)
            kinds.append(example.kind)
        self.image = torch.from_numpy(np.stack(images))  # [n, s, s]
        self.mask = torch.from_numpy(np.stack(masks))
        self.depth = torch.from_numpy(np.stack(depths))
        self.tumor_type = torch.tensor(types)
        self.kind = torch.tensor(kinds)

    def __len__(self) -> int:
        """Return the number of examples n."""
        return len(self.image)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return one example's canvases as bytes, its type's index and its kind."""
        names = ("image", "mask", "depth", "tumor_type", "kind")
        return {name: getattr(self, name)[index] for name in names}


def to_batch(items: dict[str, Tensor]) -> Batch:
    """Return collated items as a batch of intensities 0..1."""
    unmasked = items["kind"] == UNMASKED
    planes = {name: items[name][:, None].float() / 255 for name in ("image", "mask", "depth")}
    return Batch(
        **planes,
        tumor_type=items["tumor_type"],
        tumor_free=(planes["mask"].flatten(1).amax(1) < 0.5) & ~unmasked,
        fair=items["kind"] != MASKED,
        unmasked=unmasked,
    )


def depth_in_head(unit: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how deep in the head each pixel lies.

    Args:
        unit: Intensities 0..1, shape (s, s).

    Returns:
        Distance to the outside, 1 at the deepest point, 0 outside, shape (s, s).
    """
    head = ndimage.binary_opening(foreground(unit), iterations=1)
    head = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(head, 8), iterations=6))
    distance = ndimage.distance_transform_edt(head)[8:-8, 8:-8]
    return (distance / max(float(distance.max()), 1.0)).astype(np.float32)


def _as_bytes(unit: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8)


class ShareSampler(Sampler[int]):
    """Draw each epoch's pictures so that every kind has its share.

    The draw depends on the seed and the epoch alone, so a resumed run draws what an unbroken one
    would have drawn.

    Args:
        kinds: Of each example, shape (n,).
        shares: From the recipe; a kind that has no example gives its share to the others.
        count: Pictures an epoch, over all processes.
        seed: Of the recipe.
        rank: Number of this process; each takes its turn of one common draw.
        processes: How many train together.
    """

    def __init__(
        self,
        kinds: Tensor,
        shares: SamplingRecipe,
        count: int,
        seed: int,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        share = torch.tensor([shares.masked, shares.tumor_free, shares.simulated, shares.unmasked])
        counts = torch.bincount(kinds, minlength=4)
        # Tumors with and without an outline stand in for each other, so that where a collection has
        # one kind alone, tumors keep their share.
        for kind, other in ((MASKED, UNMASKED), (UNMASKED, MASKED)):
            if not counts[kind] and share[other]:
                share[other] += share[kind]
        per_kind = counts.clamp_min(1)
        self.weights = (share / per_kind)[kinds]
        self.count = count
        self.seed = seed
        # Counted here: after a resume, Lightning tells samplers an epoch that is one behind.
        self.epoch = 0
        self.rank, self.processes = rank, processes

    def __len__(self) -> int:
        """Return the pictures an epoch has in this process."""
        return self.count // self.processes

    def __iter__(self) -> Iterator[int]:
        """Draw one epoch's indices; the next call draws the next epoch's."""
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        self.epoch += 1
        drawn = torch.multinomial(self.weights, self.count, replacement=True, generator=generator)
        return iter(drawn[self.rank :: self.processes][: len(self)].tolist())
