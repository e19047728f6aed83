"""Train on packed slices, without a validation fold, and write the weights."""

from pathlib import Path

import pytorch_lightning as lightning

from lab.release.packing import without_folds
from meninx._errors import OptionError
from meninx._learn.file.export import load_weights, save_weights
from meninx._learn.fit.module import DetectorTraining
from meninx._learn.fit.trainer import fit, last_checkpoint
from meninx._learn.input.dataset import SliceDataset
from meninx._learn.recipe import Recipe

WEIGHTS_NAME = "weights.safetensors"


def train_unpacked(
    unpacked: SliceDataset, recipe: Recipe, output: Path, weights: Path | None = None
) -> Path:
    """Train on packed slices and write the weights.

    A stopped training resumes after its last finished epoch; a finished one is not repeated.

    Args:
        unpacked: Slices, as `packing.unpack` returns them; folds that the recipe leaves out are not
            learned from.
        recipe: Recipe with all settings; its validation fold must be 0.
        output: Run folder; made if missing.
        weights: Safetensors file of the first weights; None for random ones.

    Returns:
        Safetensors file of the weights in half precision. `lab/release/finish.py` makes a
        detector of them.

    Raises:
        OptionError: If the recipe has a validation fold.
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
    lightning.seed_everything(training.seed, workers=True, verbose=False)
    dataset = without_folds(unpacked, {training.test_fold, *training.left_out} - {0})
    output.mkdir(parents=True, exist_ok=True)
    module = DetectorTraining(recipe)
    checkpoint = last_checkpoint(output)
    if weights is not None and checkpoint is None:
        load_weights(module.network, weights)
    fit(module, dataset, None, output, checkpoint)
    save_weights(module.network, recipe, finished)
    return finished
