"""Explain a slice's score by Grad-CAM, as an alternative to the detector's own map of cells.

Legend: s side of the network's input in pixels.
"""

from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from pytorch_grad_cam import GradCAM
from torch import Tensor, nn

from meninx._detect.detector import Detector
from meninx._detect.findings import Findings
from meninx._detect.preprocessing import FloatImage
from meninx._learn.model.network import Backbone, picture_logit
from meninx._render.heatmap import cells_on_input
from meninx._scan.scan import Scan

Method = Literal["cells", "grad-cam"]


class _SliceLogit(nn.Module):
    """A network whose output is the slice's logit, one score per row, as grad-cam expects."""

    def __init__(self, network: Backbone) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        cells, _ = self.network(x)
        return picture_logit(cells, self.network.top_cells)[:, None]


class Attribution:
    """A method that explains the score of slices by a map.

    Args:
        network: The trained network; it is left in evaluation mode.
        method: `cells` for the detector's own map, or `grad-cam` for Grad-CAM at the last stage.

    References:
        Selvaraju et al. 2017 (Grad-CAM); the package grad-cam.
    """

    def __init__(self, network: Backbone, method: Method) -> None:
        self._network = network.eval()
        self._cam = None
        if method == "grad-cam":
            self._cam = GradCAM(_SliceLogit(self._network), [network.stages[3]])

    def __call__(self, x: Tensor) -> FloatImage:
        """Return the map of one slice.

        Args:
            x: The slice with its neighbors, normalized, shape (1, 3, s, s).

        Returns:
            Map 0..1, shape (s, s); that of Grad-CAM is relative to the slice's own maximum.
        """
        if self._cam is not None:
            return np.asarray(self._cam(x, targets=None)[0], dtype=np.float32)
        with torch.inference_mode():
            cells = self._network(x)[0][0].sigmoid().numpy()
        return cells_on_input(cells, x.shape[-1])


def with_attribution(
    detector: Detector, network: Backbone, scan: Scan, findings: Findings, method: Method
) -> Findings:
    """Return findings whose slices have the maps of another method.

    Args:
        detector: Detector that scored the scan.
        network: Network with the detector's weights, in PyTorch.
        scan: The scored scan.
        findings: Findings of the scan.
        method: Method of the maps.

    Returns:
        The findings with maps of shape (s, s) in place of cells; scores and peaks stay.
    """
    explain = Attribution(network, method)
    stack, _ = detector.input_stack(scan, [scan.slice(found.index) for found in findings.slices])
    slices = tuple(
        replace(found, cells=explain(as_input(detector, stack[number : number + 1])))
        for number, found in enumerate(findings.slices)
    )
    return replace(findings, slices=slices)


def as_input(detector: Detector, stack: FloatImage) -> Tensor:
    """Return slices with neighbors, scaled to 0..1, as the network's input.

    Args:
        detector: Detector with the preprocessing to use.
        stack: Slices with their neighbors, 0..1, as `Detector.input_stack` returns them, shape
            (b, 3, s, s).

    Returns:
        Normalized input, shape (b, 3, s, s).
    """
    normalized = detector.card.preprocessing.normalize(stack)
    return torch.from_numpy(np.ascontiguousarray(normalized, dtype=np.float32))
