"""Define the networks: two ResNet-18, one that judges every cell and one that judges the whole.

Legend: b batch, c channels, h and w the input's height and width, m and n those of the map of
cells, h / 16 and w / 16 or h / 32 and w / 32.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from meninx.detect.calibration import ALL_CELLS, TOP_CELLS
from meninx.labels import TYPE_NAMES

CELLS, POOLED = "cells", "pooled"
ARCHITECTURES = (CELLS, POOLED)
# The last stage keeps the resolution of the one before it: a cell of 16 px is about a centimeter of
# a head that fills 192 px, the size of a small tumor.
OUTPUT_STRIDE = 16
DEFAULT_DROPOUT = 0.1


class Backbone(nn.Module):
    """Hold what both networks share: ResNet-18 for gray pictures, with two heads of 1 x 1.

    Args:
        dropout: Share of feature maps left out in training.
    """

    # How many of a slice's highest cells make its score.
    top_cells = TOP_CELLS

    def __init__(self, dropout: float = DEFAULT_DROPOUT) -> None:
        super().__init__()
        backbone = resnet18(weights=None)
        self.stem = nn.Sequential(
            nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False),
            backbone.bn1,
            backbone.relu,
            backbone.maxpool,
        )
        self.stages = nn.Sequential(
            backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4
        )
        self.dropout = nn.Dropout2d(dropout)
        self.cell_head = nn.Conv2d(512, 1, kernel_size=1)
        self.type_head = nn.Conv2d(512, len(TYPE_NAMES), kernel_size=1)

    def features(self, x: Tensor) -> Tensor:
        """Return the last feature maps, shape (b, 512, m, n), of slices of shape (b, 1, h, w)."""
        maps: Tensor = self.dropout(self.stages(self.stem(x)))
        return maps

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of cells and types.

        Args:
            x: Normalized slices, shape (b, 1, h, w).

        Returns:
            Cell logits, shape (b, m, n), and type logits, shape (b, 3), in the order of
            `labels.TYPE_NAMES`.
        """
        return self.heads(self.features(x))

    def heads(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of cells and types, of feature maps of shape (b, 512, m, n)."""
        cell_logits = self.cell_head(features)  # [b, 1, m, n]
        type_maps = self.type_head(features)  # [b, 3, m, n]
        return cell_logits[:, 0], self.type_logits(type_maps, cell_logits)

    def type_logits(self, type_maps: Tensor, cell_logits: Tensor) -> Tensor:
        """Return the type logits of a slice.

        Args:
            type_maps: Logits of each type in each cell, shape (b, 3, m, n).
            cell_logits: Logits of a tumor in each cell, shape (b, 1, m, n).

        Returns:
            Here the mean of the maps, shape (b, 3).
        """
        del cell_logits  # of use where cells are judged
        return type_maps.mean((2, 3))


class CellNetwork(Backbone):
    """Judge every cell of a slice: tumor or not, and of which type.

    The heat map is the decision: a picture's score is the mean of its three highest cell logits, so
    nothing outside the cells can raise it.

    Args:
        dropout: Share of feature maps left out in training.
    """

    def __init__(self, dropout: float = DEFAULT_DROPOUT) -> None:
        super().__init__(dropout)
        keep_resolution(self.stages[3][0])  # type: ignore[index]
        # Most cells are healthy: starting near that keeps the first steps calm.
        with torch.no_grad():
            self.cell_head.bias.fill_(-2.0)  # type: ignore[union-attr]

    def type_logits(self, type_maps: Tensor, cell_logits: Tensor) -> Tensor:
        """Return the type logits of a slice.

        Args:
            type_maps: Logits of each type in each cell, shape (b, 3, m, n).
            cell_logits: Logits of a tumor in each cell, shape (b, 1, m, n).

        Returns:
            The maps read where the tumor is, shape (b, 3).
        """
        # Detached: naming a tumor must not move it.
        attention = cell_logits.detach().flatten(2).softmax(-1)  # [b, 1, m * n]
        return (type_maps.flatten(2) * attention).sum(-1)


class PooledNetwork(Backbone):
    """Judge a slice as a whole: ResNet-18 with global average pooling.

    A linear layer behind an average is an average behind a linear layer, so the cells returned are
    the class activation map, and their mean is the slice's logit.

    Args:
        dropout: Share of feature maps left out in training.

    References:
        Zhou et al. 2016, Learning deep features for discriminative localization.
    """

    top_cells = ALL_CELLS


def build_network(architecture: str, dropout: float = DEFAULT_DROPOUT) -> Backbone:
    """Return a network with random weights.

    Args:
        architecture: One of `ARCHITECTURES`.
        dropout: Share of feature maps left out in training.

    Returns:
        The network, ready to train.
    """
    return CellNetwork(dropout) if architecture == CELLS else PooledNetwork(dropout)


def network_of(top_cells: int) -> Backbone:
    """Return a network with random weights, of the kind that a detector's file holds.

    Args:
        top_cells: As its card says.

    Returns:
        The network.
    """
    return build_network(POOLED if top_cells == ALL_CELLS else CELLS)


def keep_resolution(block: Any) -> None:
    """Take the stride out of a residual stage's first block."""
    block.conv1.stride = (1, 1)
    block.downsample[0].stride = (1, 1)


def picture_logit(cell_logits: Tensor, top_cells: int = TOP_CELLS) -> Tensor:
    """Return one logit a picture.

    Args:
        cell_logits: Shape (b, m, n).
        top_cells: How many of the highest cells count; 0 for the mean of all.

    Returns:
        Mean of those cells, shape (b,).
    """
    flat = cell_logits.flatten(1)
    return flat.topk(top_cells or flat.shape[1], dim=1).values.mean(1)
