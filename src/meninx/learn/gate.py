"""Learn what the detector's own features look like on slices that it knows.

Legend: b batch, f features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf
from torch import Tensor, nn
from torch.utils.data import DataLoader

from meninx.detect.preprocessing import Preprocessing
from meninx.learn.dataset import SIMULATED, Example, SliceDataset, to_batch
from meninx.learn.network import Backbone

# The first three stages: the last one is taught to see tumors and little else, and measured worse.
STAGES = 3
# Fewer slices describe no kind: 448 features have 100,000 covariances.
LEAST_EXAMPLES = 500
# Real and simulated ones, of each: more move the whitening by less than its spread.
MOST_EXAMPLES = 3000
# Share of known slices within the threshold: of 100 good ones 1 is refused.
KEPT = 0.99


@dataclass(frozen=True, eq=False)
class Familiarity:
    """Hold where known slices lie in the space of features.

    Args:
        mean: Shape (f,).
        whitening: Shape (f, f); the distance of features z is |(z - mean) @ whitening|, that of
            Mahalanobis.
        threshold: Distance within which 99 % of known slices lie.
    """

    mean: NDArray[np.float32]
    whitening: NDArray[np.float32]
    threshold: float


class DetectorGraph(nn.Module):
    """Hold what a detector file computes: cells, types and, if it is known, the distance.

    Args:
        network: Trained.
        familiarity: Of its features; None to leave the distance out.
    """

    def __init__(self, network: Backbone, familiarity: Familiarity | None) -> None:
        super().__init__()
        self.network = network
        self.measures = familiarity is not None
        self.mean: Tensor
        self.whitening: Tensor
        if familiarity is not None:
            self.register_buffer("mean", torch.from_numpy(familiarity.mean))
            self.register_buffer("whitening", torch.from_numpy(familiarity.whitening))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return cell logits, type logits and the distance of normalized slices.

        Args:
            x: Shape (b, 1, h, w).

        Returns:
            Shapes (b, m, n), (b, 3) and (b,).
        """
        maps, means = staged(self.network, x)
        cells, types = self.network.heads(maps)
        if not self.measures:
            return cells, types
        away = (means - self.mean) @ self.whitening  # [b, f]
        return cells, types, away.square().sum(1).sqrt()


def staged(network: Backbone, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the last maps, and the features of the first stages.

    Args:
        network: Of which.
        x: Normalized slices, shape (b, 1, h, w).

    Returns:
        Maps of shape (b, 512, m, n), and the mean over place of each earlier map, shape (b, f).
    """
    maps, means = network.stem(x), []
    for stage in network.stages:
        maps = stage(maps)
        means.append(maps.mean((2, 3)))
    return network.dropout(maps), torch.cat(means[:STAGES], dim=1)


def learn_familiarity(
    network: Backbone, examples: Sequence[Example], preprocessing: Preprocessing
) -> Familiarity | None:
    """Learn where the features of known slices lie.

    Args:
        network: Trained; its mode is left at evaluation.
        examples: That it learned from.
        preprocessing: Of the detector.

    Returns:
        Mean and whitening of real and simulated slices together; None for too few.

    References:
        Lee et al. 2018, A simple unified framework for detecting out-of-distribution samples;
        Ledoit and Wolf 2004, A well-conditioned estimator for large-dimensional covariance
        matrices.
    """
    real = _thinned([one for one in examples if one.kind != SIMULATED])
    chosen = [*real, *_thinned([one for one in examples if one.kind == SIMULATED])]
    if len(chosen) < LEAST_EXAMPLES:
        return None
    network.eval()
    features = []
    with torch.inference_mode():
        for items in DataLoader(SliceDataset(chosen, preprocessing), batch_size=64):
            image = to_batch(items).image
            x = (image - preprocessing.mean) / preprocessing.std
            features.append(staged(network, x)[1].double().numpy())
    known = np.concatenate(features)
    # Distances of what was fitted are too small to set a threshold by: the other half does.
    fitted = LedoitWolf().fit(known[::2])
    # Of the symmetric square root; any other differs by a rotation, which no length sees.
    values, vectors = np.linalg.eigh(fitted.covariance_)
    whitening = vectors / np.sqrt(values)
    # Of real slices where there are some: contrasts that no scanner gives reach further.
    judged = known[1 : len(real) or len(known) : 2]
    distance = np.linalg.norm((judged - fitted.location_) @ whitening, axis=1)
    return Familiarity(
        mean=fitted.location_.astype(np.float32),
        whitening=whitening.astype(np.float32),
        threshold=float(np.quantile(distance, KEPT)),
    )


def _thinned(examples: Sequence[Example]) -> Sequence[Example]:
    return examples[:: max(1, -(-len(examples) // MOST_EXAMPLES))]
