"""The losses: of cells, of whole pictures and of tumor types.

Legend: b batch, m and n rows and columns of cells.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from meninx._learn.input.augmentation.batch import SliceBatch
from meninx._learn.input.visible import UNSEEN
from meninx._learn.model.network import CELL_STRIDE
from meninx._learn.recipe import LossRecipe

# Smallest coverage of a tumor cell; coverage below which a cell is tumor-free. Others do not count.
TUMOR_COVERAGE, TUMOR_FREE_COVERAGE = 0.4, 0.02
# Coverage of a pixel from which on its tumor can be seen, a little above that of places that can't.
SEEN = 1.2 * UNSEEN / 255


def cell_targets(
    mask: Tensor, stride: int = CELL_STRIDE, *, marked: bool = False
) -> tuple[Tensor, Tensor]:
    """Return which cells are tumor and which are tumor-free; the others do not count.

    A tumor that fills 40 % of no cell still has one tumor cell: the one that it covers most.

    Args:
        mask: Tumor coverage 0..1, shape (b, 1, h, w).
        stride: Side of a cell, pixels.
        marked: Whether places of a tumor that can't be seen are marked (`visible.UNSEEN`): they
            make no cell a tumor, nor tumor-free.

    Returns:
        Masks of tumor cells and of tumor-free cells, shape (b, m, n), bool.
    """
    coverage = F.avg_pool2d(mask, stride)[:, 0]  # [b, m, n]
    seen = F.avg_pool2d(mask * (mask > SEEN), stride)[:, 0] if marked else coverage
    most = seen.flatten(1).amax(1)[:, None, None]
    threshold = torch.where(most > 0.06, most.clamp(max=TUMOR_COVERAGE), TUMOR_COVERAGE)
    return seen >= threshold, coverage < TUMOR_FREE_COVERAGE


def cell_loss(
    cell_logits: Tensor, batch: SliceBatch, options: LossRecipe, stride: int = CELL_STRIDE
) -> Tensor:
    """Return the loss of all cells, with the hardest tumor-free cells counted twice.

    Args:
        cell_logits: Logits of cells, shape (b, m, n).
        batch: Slices with their masks; slices with a tumor but no mask do not count.
        options: Weights of the parts.
        stride: Side of a cell, pixels.

    Returns:
        Loss, a scalar, 0 and more.
    """
    known = (~batch.unmasked).float()[:, None, None]  # [b, 1, 1]
    marked = options.smallest_contrast > 0
    targets = cell_targets(batch.mask, stride, marked=marked)
    tumor, free = (cells.float() * known for cells in targets)
    per_cell = F.binary_cross_entropy_with_logits(cell_logits, tumor, reduction="none")  # [b, m, n]
    weight = free + options.tumor_cell * tumor
    # The hardest cells have the same area for every size of cell.
    count = max(1, options.hard_cells * CELL_STRIDE**2 // stride**2)
    hardest = (per_cell * free).flatten(1).topk(count).values
    slices = known.sum().clamp_min(1)
    mean_hardest = hardest.sum() / (slices * count)
    return (per_cell * weight).sum() / weight.sum().clamp_min(1) + (
        options.hard_weight * mean_hardest
    )


def slices_that_count(batch: SliceBatch, smallest_tumor: float) -> Tensor:
    """Return which slices count in the picture loss.

    Args:
        batch: Slices b.
        smallest_tumor: Share of the head that a tumor must cover, 0..1.

    Returns:
        Mask of the slices of fair sources whose tumor, if there is one, is large enough, shape
        (b,), bool.
    """
    area = batch.mask.sum((1, 2, 3))
    head = (batch.depth > 0).sum((1, 2, 3)).clamp_min(1)
    seen = ~batch.tumor | batch.unmasked | (area >= smallest_tumor * head)
    return batch.fair & seen


def picture_loss(
    logits: Tensor, tumor: Tensor, counted: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Return the cross-entropy of whole pictures.

    Args:
        logits: Logit of each picture, shape (b,).
        tumor: Whether each picture shows a tumor, shape (b,), bool.
        counted: Whether each picture counts, shape (b,), bool; None for all.
        smoothing: Share of the label that is spread over both classes, 0..1 (Szegedy et al. 2016).

    Returns:
        Loss, a scalar; 0 where no picture counts.
    """
    target = tumor.float() * (1 - smoothing) + 0.5 * smoothing
    weight = torch.ones_like(logits) if counted is None else counted.float()
    losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (losses * weight).sum() / weight.sum().clamp_min(1)


def type_loss(
    type_logits: Tensor, tumor_type: Tensor, weights: Tensor | None, smoothing: float = 0.0
) -> Tensor:
    """Return the cross-entropy of tumor types, unknown ones left out.

    Args:
        type_logits: Logits of the types, shape (b, 3).
        tumor_type: Index of the type, -1 where unknown or none, shape (b,).
        weights: Weight of each type, shape (3,); None for equal ones.
        smoothing: Share of the label that is spread over all types, 0..1.

    Returns:
        Loss, a scalar; 0 where no type is known.
    """
    if not (tumor_type >= 0).any():
        return type_logits.sum() * 0
    return F.cross_entropy(
        type_logits, tumor_type, weights, ignore_index=-1, label_smoothing=smoothing
    )


def type_weights(tumor_type: Tensor, types: int) -> Tensor:
    """Return weights with which all occurring types have the same total weight.

    Args:
        tumor_type: Index of the type, -1 where unknown or none, shape (n,).
        types: Number of types.

    Returns:
        Weight of each type, mean 1 over the pictures of known type, shape (types,).
    """
    counts = torch.bincount(tumor_type[tumor_type >= 0], minlength=types).float()
    present = (counts > 0).sum().clamp_min(1)
    return torch.where(counts > 0, counts.sum() / (counts * present).clamp_min(1), 0.0)
