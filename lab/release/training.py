"""Train on packed slices, without a validation fold, and write the weights."""

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import Callback, Timer

from lab.release.packing import without_folds
from lab.release.parts import Part, PartWriter, epochs_of
from meninx._errors import OptionError
from meninx._learn.file.export import load_weights, save_weights
from meninx._learn.fit.module import DetectorTraining
from meninx._learn.fit.trainer import fit, last_checkpoint
from meninx._learn.input.dataset import SliceDataset
from meninx._learn.recipe import Recipe

WEIGHTS_NAME = "weights.safetensors"


class _Deadline(Timer):
    """A timer of this call alone: Lightning's own resumes with the time of earlier calls."""

    def state_dict(self) -> dict[str, Any]:
        """Return no state."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Ignore the state of earlier calls."""


def train_unpacked(
    unpacked: SliceDataset,
    recipe: Recipe,
    output: Path,
    weights: Path | None = None,
    part: Part | None = None,
    ends: float | None = None,
) -> Path | None:
    """Train on packed slices and write the weights.

    A stopped training resumes after its last finished epoch; a finished one is not repeated.

    Args:
        unpacked: Slices, as `packing.unpack` returns them; folds that the recipe leaves out are not
            learned from.
        recipe: Recipe with all settings; its validation fold must be 0.
        output: Run folder; made if missing.
        weights: Safetensors file of the first weights; None for random ones.
        part: Part to go on from, if it is further than the run folder, and to write after each
            epoch; None for neither.
        ends: Time, as `time.time()` gives it, after which no further epoch begins; None for never.

    Returns:
        Safetensors file of the weights in half precision, of which `lab/release/finish.py` makes a
        detector; None if the time was up before.

    Raises:
        OptionError: If the recipe has a validation fold, or the part is of another recipe.
        ModelError: If the weights are those of another network.
    """
    training = recipe.training
    if training.validation_fold:
        raise OptionError(
            f"training.validation_fold: {training.validation_fold}, but packs hold no pictures to "
            "choose an epoch by; set it to 0"
        )
    finished = output / WEIGHTS_NAME
    if finished.is_file():
        return finished
    if ends is not None and time.time() >= ends:
        return None
    lightning.seed_everything(training.seed, workers=True, verbose=False)
    dataset = without_folds(unpacked, {training.test_fold, *training.left_out} - {0})
    output.mkdir(parents=True, exist_ok=True)
    module, checkpoint = _begun(recipe, output, weights, part)
    callbacks: list[Callback] = []
    if part is not None:
        callbacks.append(PartWriter(part, output, recipe))
    if ends is not None:
        left = timedelta(seconds=ends - time.time())
        callbacks.append(_Deadline(left, interval="epoch", verbose=False))
    fit(module, dataset, None, output, checkpoint, callbacks)
    last = last_checkpoint(output)
    if last is not None and _epochs(last) < training.epochs:
        if part is not None:
            part.write_checkpoint(last, recipe)
        return None
    save_weights(module.network, recipe, finished)
    return finished


def _begun(
    recipe: Recipe, output: Path, weights: Path | None, part: Part | None
) -> tuple[DetectorTraining, Path | None]:
    """Return the training with its first weights, and the checkpoint to resume from."""
    checkpoint = last_checkpoint(output)
    done = 0 if part is None else part.epochs(recipe)
    if checkpoint is not None and _epochs(checkpoint) >= done:
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
        return DetectorTraining(recipe, first_epoch=saved["first_epoch"]), checkpoint
    module = DetectorTraining(recipe, first_epoch=done)
    if part is not None and part.exists:
        module.network.load_state_dict(part.weights())
    elif weights is not None:
        load_weights(module.network, weights)
    return module, None


def _epochs(checkpoint: Path) -> int:
    return epochs_of(torch.load(checkpoint, map_location="cpu", weights_only=True))
