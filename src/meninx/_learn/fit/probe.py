"""Fit a linear probe: the last layer of a network on features of weights that stay as they are."""

import logging
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from meninx._detect.calibrator import sigmoid
from meninx._learn.file.validation import negative_log_likelihood
from meninx._learn.fit.module import DetectorTraining
from meninx._learn.input.dataset import CONTEXT, SliceDataset
from meninx._learn.model.network import CellNetwork
from meninx._learn.recipe import Recipe

# Strengths that hold the layer near the first weights; the one with the best validation counts.
_STRENGTHS = (0.03, 0.3, 3.0, 30.0)
# Largest number of slices: the features of one are 350 kB.
_MOST_SLICES = 1000
_BATCH, _MOST_STEPS = 32, 100
_SMALLEST_SPREAD = 1e-6

Floats = NDArray[np.float64]
_Layer = np.ndarray[tuple[int], np.dtype[np.float64]]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Cells:
    """The features of the cells of n slices.

    Args:
        features: Features of each slice's cells, shape (n, k, c).
        tumor: Whether each slice shows a tumor, shape (n,).
        top_cells: Number of a slice's highest cells whose mean is its logit.
    """

    features: NDArray[np.float32]
    tumor: NDArray[np.bool_]
    top_cells: int

    def pooled(self, layer: Floats) -> Floats:
        """Return the mean features of the cells that a layer scores highest, shape (n, c)."""
        scores = self.features @ layer[:-1].astype(np.float32)
        chosen = np.argpartition(-scores, self.top_cells, axis=1)[:, : self.top_cells]
        highest = np.take_along_axis(self.features, chosen[:, :, None], axis=1)
        return np.asarray(highest.mean(axis=1, dtype=np.float64))

    def loss(self, layer: Floats) -> float:
        """Return the cross-entropy of the slices, both classes with equal weight."""
        logits = self.pooled(layer) @ layer[:-1] + layer[-1]
        return negative_log_likelihood(logits, self.tumor)


def fit_probe(
    module: DetectorTraining, training_set: SliceDataset, validation_set: SliceDataset | None
) -> dict[str, float]:
    """Fit the last layer of a network's cells by logistic regression, all else unchanged.

    A slice's logit is the mean of its highest cells, so it is linear in the mean of their
    features. The layer is held near its first weights, as strongly as the validation wants.

    Args:
        module: Training of a network that scores cells; its last layer is changed in place.
        training_set: Slices to learn from.
        validation_set: Held-out slices that choose the strength; None for the strongest.

    Returns:
        Figures of the fit by name, for epochs.csv.
    """
    network = module.network.eval()
    if not isinstance(network, CellNetwork):
        raise TypeError("a probe needs a network that scores cells")
    head = network.fine_head
    before = _layer_of(head)
    learned = _cells_of(network, training_set, module.recipe)
    chosen_by = learned
    if validation_set is not None:
        chosen_by = _cells_of(network, validation_set, module.recipe)
    layers = [before, *(_regressed(learned, before, strength) for strength in _STRENGTHS)]
    # Without a validation the strongest: nothing else tells how far the layer may move.
    layer = layers[-1] if validation_set is None else min(layers, key=chosen_by.loss)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(layer[:-1]).view_as(head.weight))
        head.bias.copy_(torch.from_numpy(layer[-1:]))  # type: ignore[union-attr]
    if layer is before:
        log.info("linear probe: no fit is better on the validation; the layer stays as it was")
    return {
        "train/loss": learned.loss(layer),
        "val/loss": chosen_by.loss(layer),
        "val/loss before": chosen_by.loss(before),
    }


def _layer_of(head: torch.nn.Conv2d) -> Floats:
    """Return the weights of a convolution of 1 x 1 to one channel, and its bias, shape (c + 1,)."""
    weight, bias = head.weight.detach().flatten(), head.bias.detach()  # type: ignore[union-attr]
    return torch.cat([weight, bias]).double().numpy()


def _cells_of(network: CellNetwork, slices: SliceDataset, recipe: Recipe) -> _Cells:
    """Return the features of each slice's cells; of very many slices, of a random part."""
    preprocessing = recipe.preprocessing
    slices = slices.resized(preprocessing.size)
    indices = torch.nonzero(slices.kind != CONTEXT).flatten()
    if len(indices) > _MOST_SLICES:
        log.info("linear probe: of %d slices %d count", len(indices), _MOST_SLICES)
        order = torch.randperm(
            len(indices), generator=torch.Generator().manual_seed(recipe.training.seed)
        )
        indices = indices[order[:_MOST_SLICES]]
    parts, tumor = [], []
    with torch.inference_mode():
        for chosen in torch.split(indices, _BATCH):
            batch = slices.batch(chosen)
            x = (batch.image - preprocessing.mean) / preprocessing.std
            maps = network.stage_maps(x.to(memory_format=torch.channels_last))
            parts.append(network.fine_features(maps).flatten(2).transpose(1, 2).numpy())
            tumor.append(batch.tumor.numpy())
    return _Cells(np.concatenate(parts), np.concatenate(tumor), network.top_cells)


def _regressed(cells: _Cells, before: Floats, strength: float) -> Floats:
    """Return the ridge logistic regression around given weights, both classes weighing the same.

    Args:
        cells: Cells of the slices to learn from. Which are a slice's highest follows the weights.
        before: Weights and bias that it is held near, shape (c + 1,).
        strength: Weight of the penalty, of weights of standardized features; the bias is free.

    Returns:
        Weights and bias, shape (c + 1,).
    """
    tumor = cells.tumor
    spread = np.maximum(cells.pooled(before).std(axis=0), _SMALLEST_SPREAD)
    weight = np.where(tumor, 0.5 / max(tumor.sum(), 1), 0.5 / max((~tumor).sum(), 1))
    sign = np.where(tumor, 1.0, -1.0)

    def objective(layer: _Layer) -> tuple[float, _Layer]:
        x = cells.pooled(layer)
        margin = sign * (x @ layer[:-1] + layer[-1])
        slope = -weight * sign * sigmoid(-margin)
        away = (layer[:-1] - before[:-1]) * spread
        gradient = np.append(x.T @ slope + strength * away * spread, slope.sum())
        value = (weight * np.logaddexp(0, -margin)).sum() + 0.5 * strength * away @ away
        return float(value), gradient

    found = minimize(
        objective, before.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": _MOST_STEPS}
    )
    return np.asarray(found.x)
