"""Merge detectors that started from the same weights into one, by the mean of their weights."""

import dataclasses
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytorch_lightning as lightning
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.optim.swa_utils import update_bn

from meninx._data.descriptors import seen_slices
from meninx._data.manifest import Manifest
from meninx._detect.calibration import Calibration
from meninx._detect.calibrator import Calibrator
from meninx._detect.detector import Detector
from meninx._learn.file.build_detector import build_detector
from meninx._learn.file.export import TrainingData
from meninx._learn.fit.trainer import training_loader
from meninx._learn.fit.training import (
    DETECTOR_NAME,
    read_examples,
)
from meninx._learn.input.augmentation.compose import augment
from meninx._learn.input.dataset import SliceDataset
from meninx._learn.model.network import build_network, set_weights
from meninx._learn.recipe import Recipe

# Number of batches on which the channel statistics of the mean network are measured: they are not
# the mean of the statistics of the networks.
STATISTICS_BATCHES = 100

log = logging.getLogger(__name__)


def merge(
    manifest: Manifest,
    recipe: Recipe,
    folders: Sequence[Path],
    output: Path,
    calibrator: Calibrator,
    heads: Sequence[Path] = (),
) -> Path:
    """Write the mean of several runs' weights as one detector.

    Args:
        manifest: Manifest that the runs were trained on, a fold left out of each.
        recipe: Recipe of the runs.
        folders: Run folders. All runs must have started from the same weights.
        output: Output folder of `detector.onnx` and `detector.safetensors`.
        calibrator: Calibrator of pictures, fitted out of fold on the runs' own answers.
        heads: Real heads of the runs.

    Returns:
        Path of the ONNX file.

    References:
        Wortsman et al. 2022, Model soups; Izmailov et al. 2018, Averaging weights leads to wider
        optima and better generalization.
    """
    training = dataclasses.replace(recipe.training, test_fold=0, validation_fold=0)
    whole = dataclasses.replace(recipe, training=training)
    lightning.seed_everything(training.seed, workers=True, verbose=False)
    network = build_network(
        recipe.network.architecture, recipe.network.dropout, recipe.network.backbone
    )
    weights = [
        load_file(folder / DETECTOR_NAME.replace(".onnx", ".safetensors")) for folder in folders
    ]
    set_weights(network, _mean_weights(weights))
    examples, _ = read_examples(manifest, whole, heads)
    learned = SliceDataset(examples, recipe.training_canvas)
    log.info("measuring the merged network's statistics")
    network.train()
    update_bn(_inputs(learned, whole), network)
    detectors = [Detector(folder / DETECTOR_NAME) for folder in folders]
    seen = {value for detector in detectors for value in detector.card.seen}
    path = output / DETECTOR_NAME
    licenses = sorted({detector.card.license for detector in detectors} - {""})
    training_data = TrainingData(
        manifest.sha256,
        tuple(sorted(seen)),
        bool(manifest.leaks),
        "; ".join(licenses),
        detectors[0].card.types,
        seen_slices([], *(detector.card.seen_slices for detector in detectors)),
    )
    return build_detector(
        network,
        recipe,
        learned.resized(recipe.preprocessing.size),
        path,
        training_data,
        calibration=Calibration(calibrator, calibrator),
        heads=heads,
    )


def _mean_weights(weights: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of several networks' weights, by name, as 32-bit floats."""
    return {
        name: torch.stack([state[name].float() for state in weights]).mean(0) for name in weights[0]
    }


def _inputs(learned: SliceDataset, recipe: Recipe) -> Iterator[Tensor]:
    """Yield normalized batches as training sees them, shape (b, 3, h, w)."""
    loader = training_loader(learned, recipe)
    endless = itertools.chain.from_iterable(itertools.repeat(loader))
    preprocessing = recipe.preprocessing
    for drawn in itertools.islice(endless, STATISTICS_BATCHES):
        batch = augment(drawn, recipe.augmentation, recipe.training_size)
        yield (batch.image - preprocessing.mean) / preprocessing.std
