"""Say how wrong a network is: on cells, on whole pictures, on tumor types.

Legend: b batch, m and n rows and columns of cells.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from meninx.learn.augmentation import Batch
from meninx.learn.network import OUTPUT_STRIDE
from meninx.learn.recipe import LossRecipe

# A cell counts as tumor above the one coverage, as healthy below the other, and not at all between.
TUMOR_COVERAGE, HEALTHY_COVERAGE = 0.3, 0.02


def cell_targets(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return which cells are tumor and which are healthy; the rest counts as neither.

    A tumor too small to fill 30 % of any cell still has one: the cell that it covers most.

    Args:
        mask: Coverage 0..1, shape (b, 1, h, w).

    Returns:
        Two boolean tensors, shape (b, m, n).
    """
    coverage = F.avg_pool2d(mask, OUTPUT_STRIDE)[:, 0]  # [b, m, n]
    most = coverage.flatten(1).amax(1)[:, None, None]
    threshold = torch.where(most > 0.06, most.clamp(max=TUMOR_COVERAGE), TUMOR_COVERAGE)
    return coverage >= threshold, coverage < HEALTHY_COVERAGE


def cell_loss(cell_logits: Tensor, batch: Batch, options: LossRecipe) -> Tensor:
    """Return the loss of tumor cells, healthy cells and once more the hardest of those.

    Args:
        cell_logits: Shape (b, m, n).
        batch: Whose masks are the truth; pictures without an outline do not count.
        options: Weights.

    Returns:
        One number.
    """
    known = ~batch.unmasked
    tumor, healthy = (cells[known] for cells in cell_targets(batch.mask))
    per_cell = F.binary_cross_entropy_with_logits(
        cell_logits[known], tumor.float(), reduction="none"
    )  # [b, m, n]
    weight = healthy.float() + options.tumor_cell * tumor.float()
    hardest = (per_cell * healthy).flatten(1).topk(options.hard_cells).values
    if not len(hardest):
        return cell_logits.sum() * 0
    return (per_cell * weight).sum() / weight.sum() + options.hard_weight * hardest.mean()


def picture_loss(logits: Tensor, tumor: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the cross-entropy of whole pictures.

    Args:
        logits: Shape (b,).
        tumor: Whether each shows one, shape (b,), bool.
        smoothing: Share of the label that is spread over both classes (Szegedy et al. 2016).

    Returns:
        One number.
    """
    target = tumor.float() * (1 - smoothing) + 0.5 * smoothing
    return F.binary_cross_entropy_with_logits(logits, target)


def type_loss(
    type_logits: Tensor, tumor_type: Tensor, weights: Tensor | None, smoothing: float = 0.0
) -> Tensor:
    """Return the cross-entropy of tumor types, those unknown left out.

    Args:
        type_logits: Shape (b, 3).
        tumor_type: Index, -1 where unknown or none, shape (b,).
        weights: Of the types, shape (3,); None for equal ones.
        smoothing: Share of the label that is spread over all types.

    Returns:
        One number, 0 where no type is known.
    """
    if not (tumor_type >= 0).any():
        return type_logits.sum() * 0
    return F.cross_entropy(
        type_logits, tumor_type, weights, ignore_index=-1, label_smoothing=smoothing
    )


def type_weights(tumor_type: Tensor, types: int) -> Tensor:
    """Return weights by which every type that occurs weighs as much as the others in all.

    Args:
        tumor_type: Index, -1 where unknown or none, shape (n,).
        types: How many there are.

    Returns:
        Mean 1 over the pictures, shape (types,).
    """
    counts = torch.bincount(tumor_type[tumor_type >= 0], minlength=types).float()
    present = (counts > 0).sum().clamp_min(1)
    return torch.where(counts > 0, counts.sum() / (counts * present).clamp_min(1), 0.0)
