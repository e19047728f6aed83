"""Two ResNets: `CellNetwork` scores every cell of a slice, `PooledNetwork` the whole slice.

Legend: b batch, c channels, h and w the input's height and width, m and n those of the map of
cells: h / 8 and w / 8 of `CellNetwork`, h / 32 and w / 32 of `PooledNetwork`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torchvision.models import resnet18, resnet34, resnet50
from torchvision.models.resnet import Bottleneck

from meninx._detect.model_card import DEFAULT_BACKBONE, ModelCard
from meninx._detect.neighbors import CHANNELS
from meninx._detect.pooling import ALL_CELLS, TOP_CELLS
from meninx._errors import ModelError
from meninx._labels import TYPE_NAMES

CELLS, POOLED = "cells", "pooled"
# Side of a cell, pixels of the input: about 8 mm of a head that fills 192 px.
CELL_STRIDE = 8
# Side of the coarse cells, which only the loss uses: the last stage keeps the resolution of stage
# 3.
COARSE_STRIDE = 16
_DECODER_CHANNELS = 128
# torchvision's backbones by the name that a recipe and a detector file have.
_BACKBONES = {"resnet18": resnet18, "resnet34": resnet34, "resnet50": resnet50}
# Types are read from maps averaged with softmax weights of the coarse logits times each factor:
# around the hottest cells, in a wider window, and over the whole slice, which shows its place in
# the head.
_TYPE_WINDOWS = (1.0, 0.3, 0.0)
_DEFAULT_DROPOUT = 0.1


class Backbone(nn.Module):
    """A ResNet for a gray slice and its two neighbors, with heads of 1 x 1.

    Args:
        dropout: Share of feature maps left out in training, 0..1.
        backbone: Name of the ResNet: `resnet18`, `resnet34` or `resnet50`.
    """

    # Number of a slice's highest cells whose mean is its score.
    top_cells = TOP_CELLS

    def __init__(self, dropout: float = _DEFAULT_DROPOUT, backbone: str = DEFAULT_BACKBONE) -> None:
        super().__init__()
        self.backbone_name = backbone
        resnet = _BACKBONES[backbone](weights=None)
        # Number of channels of the last maps of stages 2, 3 and 4.
        last: int = resnet.fc.in_features
        self.stage_channels: tuple[int, ...] = (last // 4, last // 2, last)
        self.stem = nn.Sequential(
            nn.Conv2d(CHANNELS, 64, kernel_size=7, stride=2, padding=3, bias=False),
            resnet.bn1,
            resnet.relu,
            resnet.maxpool,
        )
        self.stages = nn.Sequential(resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4)
        self.dropout = nn.Dropout2d(dropout)
        self.cell_head = nn.Conv2d(self.stage_channels[-1], 1, kernel_size=1)
        self.type_head = nn.Linear(self.type_channels, len(TYPE_NAMES))

    @property
    def type_channels(self) -> int:
        """Number of features from which the type is read."""
        return self.stage_channels[-1]

    def stage_maps(self, x: Tensor, stages: int = 4) -> list[Tensor]:
        """Return the last maps of the first stages.

        Args:
            x: Normalized slices with their neighbors, shape (b, 3, h, w).
            stages: Number of stages, 1..4.

        Returns:
            One map a stage, with 64, 128, 256 and 512 channels; ResNet-50 has four times as many.
        """
        maps, found = self.stem(x), []
        for stage in self.stages[:stages]:
            maps = stage(maps)
            found.append(maps)
        return found

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of cells and types.

        Args:
            x: Normalized slices with their neighbors, shape (b, 3, h, w).

        Returns:
            Cell logits, shape (b, m, n), and type logits, shape (b, 3), in the order of
            `labels.TYPE_NAMES`.
        """
        return self.heads(self.stage_maps(x))

    def heads(self, stage_maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the logits of cells and types from the maps that `stage_maps` returns."""
        features = self.dropout(stage_maps[-1])
        cell_logits = self.cell_head(features)[:, 0]  # [b, m, n]
        return cell_logits, self.type_head(self.type_features(stage_maps, cell_logits))

    def type_features(self, stage_maps: list[Tensor], coarse: Tensor) -> Tensor:
        """Return the features that the type head reads.

        Args:
            stage_maps: Maps of all stages, as `stage_maps` returns them.
            coarse: Logits of a tumor in each coarse cell, shape (b, m, n).

        Returns:
            Mean of the last stage's map over place, shape (b, 512); of ResNet-50 (b, 2048).
        """
        del coarse  # used by `CellNetwork`
        features: Tensor = self.dropout(stage_maps[-1])
        return features.mean((2, 3))


class CellNetwork(Backbone):
    """A network that scores every cell of a slice: tumor or not, and of which type.

    The heat map is the decision: a slice's score is the mean of its eight highest cell logits, so
    nothing outside the cells can raise it. A light decoder adds the maps of the last three stages
    at a stride of 8 pixels, as feature pyramids do.

    Args:
        dropout: Share of feature maps left out in training, 0..1.
        backbone: Name of the ResNet: `resnet18`, `resnet34` or `resnet50`.

    References:
        Lin et al. 2017, Feature pyramid networks for object detection.
    """

    def __init__(self, dropout: float = _DEFAULT_DROPOUT, backbone: str = DEFAULT_BACKBONE) -> None:
        super().__init__(dropout, backbone)
        _keep_resolution(self.stages[3][0])  # type: ignore[index]
        self.laterals = nn.ModuleList(
            nn.Conv2d(channels, _DECODER_CHANNELS, kernel_size=1)
            for channels in self.stage_channels
        )
        self.smooth = nn.Sequential(
            nn.Conv2d(_DECODER_CHANNELS, _DECODER_CHANNELS, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(_DECODER_CHANNELS),
            nn.ReLU(inplace=True),
        )
        self.fine_head = nn.Conv2d(_DECODER_CHANNELS, 1, kernel_size=1)
        # Most cells are tumor-free: a bias near their share keeps the first steps small.
        with torch.no_grad():
            for head in (self.cell_head, self.fine_head):
                head.bias.fill_(-2.0)  # type: ignore[union-attr]

    @property
    def type_channels(self) -> int:
        """Number of features from which the type is read."""
        return len(_TYPE_WINDOWS) * sum(self.stage_channels[1:])

    def heads(self, stage_maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the logits of fine cells and types from the maps that `stage_maps` returns."""
        fine, coarse = self.all_cells(stage_maps)
        return fine, self.type_head(self.type_features(stage_maps, coarse))

    def all_cells(self, stage_maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the logits of a tumor in fine and in coarse cells.

        Args:
            stage_maps: Maps of all stages, as `stage_maps` returns them.

        Returns:
            Logits of fine cells, shape (b, h / 8, w / 8), and of coarse cells, shape
            (b, h / 16, w / 16).
        """
        features = self.dropout(stage_maps[3])
        fine = self.fine_head(self._merged(stage_maps[1], stage_maps[2], features))[:, 0]
        return fine, self.cell_head(features)[:, 0]

    def fine_features(self, stage_maps: list[Tensor]) -> Tensor:
        """Return the features that the last layer of fine cells reads.

        Args:
            stage_maps: Maps of all stages, as `stage_maps` returns them.

        Returns:
            Features, shape (b, 128, h / 8, w / 8).
        """
        return self._merged(stage_maps[1], stage_maps[2], stage_maps[3])

    def _merged(self, second: Tensor, third: Tensor, features: Tensor) -> Tensor:
        """Return the decoder's map of the last three stages."""
        # Both have a stride of 16 pixels, so they are added before they are enlarged.
        deep = self.laterals[1](third) + self.laterals[2](features)
        merged = self.laterals[0](second) + F.interpolate(
            deep, scale_factor=2.0, mode="bilinear", align_corners=False
        )
        smooth: Tensor = self.smooth(merged)
        return smooth

    def type_features(self, stage_maps: list[Tensor], coarse: Tensor) -> Tensor:
        """Return the last two stages' maps, averaged over each of `_TYPE_WINDOWS`.

        Args:
            stage_maps: Maps of all stages, as `stage_maps` returns them.
            coarse: Logits of a tumor in each coarse cell, shape (b, m, n).

        Returns:
            Features, shape (b, 2304), of ResNet-50 (b, 9216): for each window the channels of
            stage 3, then those of stage 4.
        """
        maps = torch.cat([stage_maps[2], self.dropout(stage_maps[3])], dim=1).flatten(2)
        # Detached: learning types must not change the cells.
        hot = coarse.detach().flatten(1)
        windows = torch.stack([(share * hot).softmax(1) for share in _TYPE_WINDOWS], dim=2)
        return (maps @ windows).transpose(1, 2).flatten(1)


class PooledNetwork(Backbone):
    """A network that scores a slice as a whole: a ResNet with global average pooling.

    A linear layer behind an average is an average behind a linear layer, so the cells returned are
    the class activation map, and their mean is the slice's logit.

    Args:
        dropout: Share of feature maps left out in training, 0..1.
        backbone: Name of the ResNet: `resnet18`, `resnet34` or `resnet50`.

    References:
        Zhou et al. 2016, Learning deep features for discriminative localization.
    """

    top_cells = ALL_CELLS


def build_network(
    architecture: str, dropout: float = _DEFAULT_DROPOUT, backbone: str = DEFAULT_BACKBONE
) -> Backbone:
    """Return a network with random weights.

    Args:
        architecture: Name of the architecture: `cells` or `pooled`.
        dropout: Share of feature maps left out in training, 0..1.
        backbone: Name of the ResNet: `resnet18`, `resnet34` or `resnet50`.

    Returns:
        The network, ready to train.
    """
    kind = CellNetwork if architecture == CELLS else PooledNetwork
    return kind(dropout, backbone)


def network_of(card: ModelCard) -> Backbone:
    """Return a network with random weights, of the architecture of a detector file.

    Args:
        card: Card of the file.

    Returns:
        The network.

    Raises:
        ModelError: If this version has no such backbone.
    """
    if card.backbone not in _BACKBONES:
        raise ModelError(
            f"the detector file has the backbone {card.backbone!r}, this version knows "
            f"{', '.join(_BACKBONES)}"
        )
    architecture = POOLED if card.top_cells == ALL_CELLS else CELLS
    return build_network(architecture, backbone=card.backbone)


def backbone_in(weights: Iterable[str]) -> str:
    """Return which ResNet has weights of these names.

    A larger one has all weights of a smaller one and more, so names that are missing do not tell.

    Args:
        weights: Names of a network's weights, `stages.STAGE.BLOCK.LAYER...`.

    Returns:
        `resnet18`, `resnet34`, `resnet50`, or `another network`.
    """
    blocks = {name.split(".")[2] for name in weights if name.startswith("stages.2.")}
    thin = any(name.startswith("stages.0.0.conv3.") for name in weights)
    known = {(2, False): "resnet18", (6, False): "resnet34", (6, True): "resnet50"}
    return known.get((len(blocks), thin), "another network")


def check_backbone(network: Backbone, weights: Iterable[str]) -> None:
    """Check that weights belong to a network's backbone.

    Args:
        network: Network to fill.
        weights: Names of the weights, `stages.STAGE.BLOCK.LAYER...`.

    Raises:
        ModelError: If they belong to another one.
    """
    found = backbone_in(list(weights))
    if found != network.backbone_name:
        raise ModelError(
            f"these are weights of {found}, and network.backbone is {network.backbone_name}; name "
            "other weights with --weights, or set network.backbone in the recipe"
        )


def _keep_resolution(block: Any) -> None:
    """Set the stride of a residual stage's first block to 1; changed in place."""
    strided = block.conv2 if isinstance(block, Bottleneck) else block.conv1
    strided.stride = (1, 1)
    block.downsample[0].stride = (1, 1)


def pair_like(convolution: nn.Conv2d, rank: int) -> nn.Sequential:
    """Return two convolutions with random weights that replace one.

    Args:
        convolution: A convolution of 3 x 3, without bias.
        rank: Channels between the two.

    Returns:
        The first of 3 x 3, the second of 1 x 1 and with a bias.
    """
    out, into = convolution.out_channels, convolution.in_channels
    first = nn.Conv2d(into, rank, 3, stride=convolution.stride[0], padding=1, bias=False)
    return nn.Sequential(first, nn.Conv2d(rank, out, 1))


def take_shape(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Factorize the convolutions of a network that are factorized in given weights.

    Args:
        network: Network to change in place; factorized convolutions get random weights.
        weights: Weights by name, of a network that may have been factorized.
    """
    for name, module in list(network.named_modules()):
        inner = weights.get(f"{name}.0.weight")
        if isinstance(module, nn.Conv2d) and inner is not None:
            parent, _, own = name.rpartition(".")
            setattr(network.get_submodule(parent), own, pair_like(module, len(inner)))


def set_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Set the weights of a network, and factorize it first if they are factorized.

    Args:
        network: Network to change in place.
        weights: Weights by name, of the same architecture, which may have been factorized.

    Raises:
        RuntimeError: If they belong to another architecture.
    """
    take_shape(network, weights)
    network.load_state_dict(weights)


def picture_logit(cell_logits: Tensor, top_cells: int = TOP_CELLS) -> Tensor:
    """Return one logit per picture.

    Args:
        cell_logits: Logits of each picture's cells, shape (b, m, n).
        top_cells: Number of highest cells that count; 0 for the mean of all.

    Returns:
        Mean of those cells, shape (b,).
    """
    flat = cell_logits.flatten(1)
    return flat.topk(top_cells or flat.shape[1], dim=1).values.mean(1)
