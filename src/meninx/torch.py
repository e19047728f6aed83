"""The detector's network in PyTorch, for those who build on it; needs the extra `train`.

It is a `torch.nn.Module` with the weights of a detector file: its features, its cells, and a start
for a training loop of your own.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from meninx._detect.detector import Detector
from meninx._detect.head_slices import brain_slices
from meninx._detect.loading import load_detector, shipped_detector
from meninx._errors import ModelError
from meninx._learn.file.export import load_weights
from meninx._learn.model.network import Backbone, network_of, picture_logit
from meninx._scan.scan import Scan

__all__ = ["SliceClassifier", "features", "inputs", "load_network", "slice_logits"]


def load_network(path: str | Path | None = None) -> Backbone:
    """Load the network of a detector file.

    Args:
        path: Detector file, with its weights beside it (`detector.safetensors`, as a run folder
            has them); None for the shipped one.

    Returns:
        The network in evaluation mode. Of x, shape (b, 3, s, s), it returns the logit of a tumor
        in each cell, shape (b, m, n), and the logits of the types, shape (b, 3); `stage_maps(x)`
        returns the maps of its four stages.

    Raises:
        ModelError: If a file is missing or damaged.
    """
    file = shipped_detector("fp32") if path is None else Path(path)
    weights = file.with_suffix(".safetensors")
    if not weights.is_file():
        raise ModelError(f"{weights}: the weights of the detector file are missing beside it")
    network = network_of(load_detector(file, threads=1).card)
    load_weights(network, weights)
    return network.eval()


class SliceClassifier(nn.Module):
    """The network of a detector file as a classifier of slices, of one logit each.

    Args:
        path: Detector file, with its weights beside it; None for the shipped one.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        super().__init__()
        self.network = load_network(path)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logit of a tumor in each slice, before the calibration.

        Args:
            x: Slices, as `inputs` returns them, shape (n, 3, s, s).

        Returns:
            Logits, shape (n, 1).
        """
        return slice_logits(self.network, x)[:, None]


def inputs(scan: Scan, detector: Detector) -> Tensor:
    """Return a scan as its detector's network takes it.

    Args:
        scan: A volume or a picture.
        detector: Detector whose preprocessing counts.

    Returns:
        Each slice that shows enough of the head, with the slices 5 mm below and above, cropped,
        resampled and normalized, shape (n, 3, s, s).
    """
    stack, _ = detector.input_stack(scan, brain_slices(scan))
    return torch.from_numpy(detector.card.preprocessing.normalize(stack))


def features(network: Backbone, x: Tensor) -> Tensor:
    """Return the mean of the last stage's maps over place.

    Args:
        network: Network of `load_network`.
        x: Slices, as `inputs` returns them, shape (n, 3, s, s).

    Returns:
        Features, shape (n, 512); of ResNet-50 (n, 2048).
    """
    maps = network.stage_maps(x)[-1]
    return maps.mean((2, 3))


def slice_logits(network: Backbone, x: Tensor) -> Tensor:
    """Return the logit of a tumor in each slice: the mean of its highest cells.

    Args:
        network: Network of `load_network`.
        x: Slices, as `inputs` returns them, shape (n, 3, s, s).

    Returns:
        Logits before the calibration, shape (n,).
    """
    cell_logits, _ = network(x)
    return picture_logit(cell_logits, network.top_cells)
