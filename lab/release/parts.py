"""Parts of trainings: a network in half precision, from which another machine goes on.

A part holds the averaged weights alone, 23 MB, so that it can be committed. AdamW's moments stay
with the machine; `DetectorTraining` gathers them anew.
"""

from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import Callback
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from meninx._errors import OptionError
from meninx._learn.fit.trainer import last_checkpoint
from meninx._learn.recipe import Recipe

_STAGE, _EPOCHS, _RECIPE = "stage", "epochs", "recipe"
_NETWORK = "network."


@dataclass(frozen=True)
class Part:
    """Where the part of a network lies, and for which stage.

    Args:
        path: Safetensors file.
        stage: Number of the stage that writes it, from 0.
    """

    path: Path
    stage: int

    @property
    def exists(self) -> bool:
        """Whether there is a file of this stage."""
        return self.path.is_file() and stage_of(self.path) == self.stage

    def write(self, weights: dict[str, Tensor], recipe: Recipe, epochs: int) -> None:
        """Write the averaged weights after some epochs of the stage."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        halved = {
            name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
            for name, tensor in weights.items()
        }
        facts = {_STAGE: str(self.stage), _EPOCHS: str(epochs), _RECIPE: recipe.name}
        unfinished = self.path.with_suffix(".unfinished")
        save_file(halved, unfinished, metadata=facts)
        unfinished.replace(self.path)

    def write_checkpoint(self, checkpoint: Path, recipe: Recipe) -> None:
        """Write the averaged weights of a Lightning checkpoint."""
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
        weights = {
            name.removeprefix(_NETWORK): tensor
            for name, tensor in saved["state_dict"].items()
            if name.startswith(_NETWORK)
        }
        self.write(weights, recipe, epochs_of(saved))

    def epochs(self, recipe: Recipe) -> int:
        """Return the finished epochs of this stage in the file; 0 where it has none of this stage.

        Raises:
            OptionError: If the part is of another recipe.
        """
        if not self.exists:
            return 0
        facts = _facts(self.path)
        if facts[_RECIPE] != recipe.name:
            raise OptionError(
                f"{self.path}: part of recipe {facts[_RECIPE]}, expected {recipe.name}; remove it"
            )
        return int(facts[_EPOCHS])

    def weights(self) -> dict[str, Tensor]:
        """Return the averaged weights."""
        return load_file(self.path)


class PartWriter(Callback):
    """A callback that writes the part of each finished epoch when the next one begins.

    Args:
        part: Part to write.
        output: Run folder with the checkpoints.
        recipe: Recipe of the stage.
    """

    def __init__(self, part: Part, output: Path, recipe: Recipe) -> None:
        self._part, self._output, self._recipe = part, output, recipe

    def on_train_epoch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,  # noqa: ARG002
    ) -> None:
        """Write the part of the epoch before."""
        checkpoint = last_checkpoint(self._output)
        if trainer.is_global_zero and checkpoint is not None:
            self._part.write_checkpoint(checkpoint, self._recipe)


def stage_of(path: Path) -> int:
    """Return the number of the stage that a part belongs to; 0 without a file."""
    return int(_facts(path)[_STAGE]) if path.is_file() else 0


def epochs_of(checkpoint: dict[str, object]) -> int:
    """Return the finished epochs of the recipe at a checkpoint, those before a resume included."""
    return int(str(checkpoint["first_epoch"])) + int(str(checkpoint["epoch"])) + 1


def _facts(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return dict(file.metadata())
