"""The training module: augmentation, loss, schedule and validation."""

import math
from collections.abc import Callable
from typing import Any

import pytorch_lightning as lightning
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from meninx._learn.file.validation import Validation
from meninx._learn.fit.losses import (
    cell_loss,
    cell_targets,
    picture_loss,
    slices_that_count,
    type_loss,
)
from meninx._learn.input.augmentation.batch import SliceBatch
from meninx._learn.input.augmentation.compose import augment
from meninx._learn.model.network import (
    CELLS,
    COARSE_STRIDE,
    CellNetwork,
    build_network,
    picture_logit,
)
from meninx._learn.recipe import Recipe

# Steps in which AdamW's averages, which a part of a training does not keep, become reliable.
_GATHERING = 50
# Where the learning rate of further epochs begins, share of its peak.
_FURTHER_PEAK = 0.1


class DetectorTraining(lightning.LightningModule):
    """A network with its loss, schedule and validation.

    Args:
        recipe: Recipe with all settings.
        type_weights: Weight of each tumor type in the loss, shape (3,); None for equal ones.
        first_epoch: Number of epochs that the weights have already learned for; the schedule, the
            draws and the growth of the pictures go on from there.
    """

    def __init__(
        self, recipe: Recipe, type_weights: Tensor | None = None, first_epoch: int = 0
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.first_epoch = first_epoch
        self.network = build_network(
            recipe.network.architecture, recipe.network.dropout, recipe.network.backbone
        )
        self.network.to(memory_format=torch.channels_last)
        self._frozen = [self.network.stem, self.network.stages]
        if recipe.network.frozen == "nothing":
            self._frozen = []
        self.validation = Validation()
        self.type_weights: Tensor | None
        self.register_buffer("type_weights", type_weights, persistent=False)

    @property
    def recipe_epoch(self) -> int:
        """Number of the current epoch of the recipe, from 0."""
        return self.first_epoch + int(self.current_epoch)

    @property
    def scores_cells(self) -> bool:
        """Whether the network scores cells, and so learns from segmentation masks."""
        return self.recipe.network.architecture == CELLS

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return cell and type logits of normalized slices."""
        cell_logits, type_logits = self.network(x.to(memory_format=torch.channels_last))
        return cell_logits.float(), type_logits.float()

    def _all_cells(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return cell and type logits, and those of coarse cells where the network has them."""
        if not isinstance(self.network, CellNetwork):
            return *self(x), None
        maps = self.network.stage_maps(x.to(memory_format=torch.channels_last))
        fine, coarse = self.network.all_cells(maps)
        types = self.network.type_head(self.network.type_features(maps, coarse))
        return fine.float(), types.float(), coarse.float()

    def _normalized(self, image: Tensor) -> Tensor:
        preprocessing = self.recipe.preprocessing
        return (image - preprocessing.mean) / preprocessing.std

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep from which epoch on this machine trained."""
        checkpoint["first_epoch"] = self.first_epoch

    def on_train_epoch_start(self) -> None:
        """Seed each epoch separately, so that a resumed run draws the same as an unbroken one."""
        seed = self.recipe.training.seed * 100_003 + self.recipe_epoch + 1
        torch.manual_seed(seed + 7_919 * self.global_rank)
        # Frozen parts keep the statistics of their first weights, too.
        for part in self._frozen:
            part.eval()

    def on_after_batch_transfer(self, batch: SliceBatch, dataloader_idx: int) -> SliceBatch:  # noqa: ARG002
        """Return a batch, augmented in training, on its device."""
        if not self.trainer.training:
            return batch
        return augment(batch, self.recipe.augmentation, self.recipe.size_at(self.recipe_epoch))

    def training_step(self, batch: SliceBatch, _: int) -> Tensor:
        """Return the loss of one batch."""
        cell_logits, type_logits, coarse = self._all_cells(self._normalized(batch.image))
        logits = picture_logit(cell_logits, self.network.top_cells)
        options = self.recipe.loss
        # Cells learn from masks. Whole pictures count only if their source has pictures with and
        # without tumors; otherwise the network would learn the source. A pooled network has no
        # cells.
        counted, loss = None, logits.sum() * 0
        if coarse is not None:
            counted = slices_that_count(batch, options.smallest_tumor)
            loss = cell_loss(cell_logits, batch, options)
            loss = loss + options.coarse_weight * cell_loss(coarse, batch, options, COARSE_STRIDE)
        loss = loss + options.picture_weight * picture_loss(
            logits, batch.tumor, counted, options.label_smoothing
        )
        if options.type_weight:
            loss = loss + options.type_weight * type_loss(
                type_logits, batch.tumor_type, self.type_weights, options.label_smoothing
            )
        accuracy = ((logits > 0) == batch.tumor).float().mean()
        for name, value in (("loss", loss), ("accuracy", accuracy)):
            self.log(
                f"train/{name}",
                value,
                prog_bar=name == "loss",
                on_step=False,
                on_epoch=True,
                sync_dist=True,
                batch_size=len(logits),
            )
        return loss

    def validation_step(self, batch: SliceBatch, _: int) -> None:
        """Gather the network's output for pictures without augmentation."""
        cell_logits, type_logits = self(self._normalized(batch.image))
        self.validation.add(
            picture_logit(cell_logits, self.network.top_cells),
            batch.tumor,
            type_logits,
            batch.tumor_type,
            (cell_logits, *cell_targets(batch.mask)) if self.scores_cells else None,
        )

    def on_validation_epoch_end(self) -> None:
        """Log the validation's figures."""
        for name, value in self.validation.figures().items():
            self.log(f"val/{name}", value, prog_bar=name == "score", sync_dist=True)
        self.validation.clear()

    def configure_optimizers(self) -> Any:
        """Return AdamW with a linear warm-up and a cosine that ends at the last step."""
        training = self.recipe.training
        # Not before: the first weights may have replaced convolutions.
        for part in self._frozen:
            part.requires_grad_(requires_grad=False)
        learned = [p for p in self.network.parameters() if p.requires_grad]
        decayed = [p for p in learned if p.ndim > 1]
        plain = [p for p in learned if p.ndim <= 1]
        groups: list[dict[str, Any]] = [
            {"params": decayed},
            {"params": plain, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(
            groups,
            lr=training.learning_rate,
            weight_decay=training.weight_decay,
        )
        steps = int(self.trainer.estimated_stepping_batches)
        epochs = training.epochs + training.further_epochs
        passed = steps * self.first_epoch // max(1, epochs - self.first_epoch)
        total = (passed + steps) * training.epochs // epochs
        factor = cosine_with_warmup(total, training.warmup, passed + steps - total)
        if passed:
            factor = _resumed(factor, passed)
        schedule = LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def cosine_with_warmup(total: int, warmup: float, further: int = 0) -> Callable[[int], float]:
    """Return the learning rate's factor at each step.

    It rises linearly for the first `warmup` share of the `total` steps and falls as half a cosine
    to zero at the last (Loshchilov and Hutter 2017). For `further` steps it falls again, from a
    tenth of the peak.
    """
    rising = max(1, round(total * warmup))

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        if step >= total and further:
            again = min(1.0, (step - total) / max(1, further - 1))
            return _FURTHER_PEAK * 0.5 * (1 + math.cos(math.pi * again))
        passed = min(1.0, (step - rising) / max(1, total - 1 - rising))
        return 0.5 * (1 + math.cos(math.pi * passed))

    return factor


def _resumed(factor: Callable[[int], float], passed: int) -> Callable[[int], float]:
    """Return a schedule after `passed` steps, rising anew while AdamW gathers its moments."""
    return lambda step: factor(passed + step) * min(1.0, (step + 1) / _GATHERING)
