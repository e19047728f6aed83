"""Define the network: a ResNet-18 that judges every cell of a slice.

Legend: b batch, c channels, h and w the input's height and width, m = h / 16, n = w / 16.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from meninx.detect.calibration import TOP_CELLS
from meninx.labels import TYPE_NAMES

# The last stage keeps the resolution of the one before it: a cell of 16 px is about a centimeter of
# a head that fills 192 px, the size of a small tumor.
OUTPUT_STRIDE = 16


class CellNetwork(nn.Module):
    """Judge every cell of a slice: tumor or not, and of which type.

    The heat map is the decision: a picture's score is the mean of its three highest cell logits, so
    nothing outside the cells can raise it.
    """

    def __init__(self) -> None:
        super().__init__()
        backbone = resnet18(weights=None)
        self.stem = nn.Sequential(
            nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False),
            backbone.bn1,
            backbone.relu,
            backbone.maxpool,
        )
        keep_resolution(backbone.layer4[0])
        self.stages = nn.Sequential(
            backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4
        )
        self.dropout = nn.Dropout2d(0.1)
        self.cell_head = nn.Conv2d(512, 1, kernel_size=1)
        self.type_head = nn.Conv2d(512, len(TYPE_NAMES), kernel_size=1)
        # Most cells are healthy: starting near that keeps the first steps calm.
        with torch.no_grad():
            self.cell_head.bias.fill_(-2.0)  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of cells and types.

        Args:
            x: Normalized slices, shape (b, 1, h, w).

        Returns:
            Cell logits, shape (b, m, n), and type logits, shape (b, 3), in the order of
            `labels.TYPE_NAMES`.
        """
        features = self.dropout(self.stages(self.stem(x)))  # [b, 512, m, n]
        cell_logits = self.cell_head(features)  # [b, 1, m, n]
        # The type is read where the tumor is. Detached: naming a tumor must not move it.
        attention = cell_logits.detach().flatten(2).softmax(-1)  # [b, 1, m * n]
        type_logits = (self.type_head(features).flatten(2) * attention).sum(-1)  # [b, 3]
        return cell_logits[:, 0], type_logits


def keep_resolution(block: Any) -> None:
    """Take the stride out of a residual stage's first block."""
    block.conv1.stride = (1, 1)
    block.downsample[0].stride = (1, 1)


def picture_logit(cell_logits: Tensor) -> Tensor:
    """Return one logit a picture.

    Args:
        cell_logits: Shape (b, m, n).

    Returns:
        Mean of the highest `TOP_CELLS` cells, shape (b,).
    """
    return cell_logits.flatten(1).topk(TOP_CELLS, dim=1).values.mean(1)
