"""Run Lightning's trainer on a network: device, precision, callbacks and checkpoints."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import (
    Callback,
    EarlyStopping,
    EMAWeightAveraging,
    LearningRateMonitor,
    ModelCheckpoint,
    TQDMProgressBar,
)
from pytorch_lightning.loggers import TensorBoardLogger

from meninx._errors import OptionError
from meninx._learn.fit.checkpoints import DirectCheckpointIO
from meninx._learn.fit.epochs import EpochTable
from meninx._learn.fit.module import DetectorTraining
from meninx._learn.input.dataset import SliceDataset
from meninx._learn.input.sampling import ShareSampler, TrainingLoader, weights_of
from meninx._learn.input.visible import with_visible_masks
from meninx._learn.model.network import take_shape
from meninx._learn.recipe import Recipe, TrainingRecipe
from meninx._processes import local_process_count, local_rank, process_count, rank

# Validation figure that chooses the epoch.
_MONITOR = "val/score"


def precision_for(wanted: str) -> str:
    """Return the arithmetic to train in.

    Args:
        wanted: Precision of the recipe. `auto` is bf16 where the device has it, else 16-bit floats
            on CUDA and 32-bit floats on a CPU, where emulated bf16 is slower.

    Returns:
        Precision by Lightning's name.

    Raises:
        OptionError: If 16-bit floats are wanted of a CPU, where Lightning would take bf16 instead.
    """
    if wanted == "16-mixed" and not torch.cuda.is_available():
        raise OptionError("precision 16-mixed needs a GPU; use bf16-mixed, 32-true or auto")
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    has_mkldnn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    native = has_mkldnn and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return "bf16-mixed" if native else "32-true"


def trainer_for(
    training: TrainingRecipe, callbacks: list[Callback], **options: Any
) -> lightning.Trainer:
    """Return Lightning's trainer on this machine's device, in one or several processes.

    Args:
        training: The recipe's part about training.
        callbacks: Callbacks of the trainer; the recipe adds its own.
        **options: Further options of the trainer.

    Returns:
        The trainer.
    """
    processes, here = process_count(), local_process_count()
    if training.ema_decay:
        callbacks = [*callbacks, EMAWeightAveraging(decay=training.ema_decay)]
    return lightning.Trainer(
        accelerator="auto",
        devices=here,
        num_nodes=max(1, processes // here),
        strategy="ddp" if processes > 1 else "auto",
        # The sampler splits one common draw among the processes; each validates on all pictures.
        use_distributed_sampler=False,
        precision=precision_for(training.precision),  # type: ignore[arg-type]
        gradient_clip_val=training.gradient_clip or None,
        callbacks=callbacks,
        enable_model_summary=False,
        benchmark=torch.cuda.is_available(),
        **options,
    )


class EpochProgress(TQDMProgressBar):
    """A progress bar per epoch, without the version number of the TensorBoard log."""

    def get_metrics(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Return the figures behind the bar."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics


def fit(
    module: DetectorTraining,
    training_set: SliceDataset,
    validation_set: SliceDataset | None,
    output: Path,
    checkpoint: Path | None,
    further: Sequence[Callback] = (),
) -> None:
    """Train, and load the weights of the best epoch, or of the last one without a validation.

    Args:
        module: Training of a network; its weights are changed in place.
        training_set: Slices to learn from.
        validation_set: Held-out slices that choose the epoch; None for the last epoch.
        output: Run folder.
        checkpoint: Checkpoint to resume from; None to begin.
        further: Further callbacks.
    """
    training = module.recipe.training
    visible = with_visible_masks(training_set, module.recipe.loss.smallest_contrast)
    loader = training_loader(visible, module.recipe)
    loader.sampler.epoch = module.first_epoch
    if checkpoint is not None:
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
        loader.sampler.epoch += int(saved["epoch"]) + 1
        # Before Lightning copies the network for its moving average: the copy must be factorized
        # too, to fit the average in the checkpoint.
        take_shape(module, saved["state_dict"])
    kept = last = _checkpoint(output, "last", save_on_train_epoch_end=True)
    callbacks: list[Callback] = [last]
    if validation_set is not None:
        kept = _checkpoint(output, "best", monitor=_MONITOR, mode="max")
        # Before `last`, which saves the state of the other callbacks for a resumed run.
        callbacks.insert(0, kept)
        callbacks.append(EarlyStopping(_MONITOR, mode="max", patience=training.patience))
    callbacks += [
        LearningRateMonitor("epoch"),
        EpochProgress(refresh_rate=10),
        EpochTable(output / "epochs.csv"),
        *further,
    ]
    trainer = trainer_for(
        training,
        callbacks,
        max_epochs=training.epochs + training.further_epochs - module.first_epoch,
        plugins=DirectCheckpointIO(),
        logger=TensorBoardLogger(output, name="", version="tensorboard"),
        num_sanity_val_steps=0,
        log_every_n_steps=min(10, len(loader)),
    )
    with warnings.catch_warnings():
        # A resumed run finds its checkpoints, as it should.
        warnings.filterwarnings("ignore", ".*Checkpoint directory .* is not empty.*")
        # A recipe may have no validation fold.
        warnings.filterwarnings("ignore", ".*have no `val_dataloader`.*")
        # Lightning uses a PyTorch function that is deprecated.
        warnings.filterwarnings("ignore", ".*LeafSpec.*")
        try:
            trainer.fit(
                module,
                loader,
                None if validation_set is None else validation_set.batches(64),
                ckpt_path=checkpoint,
            )
        except SystemExit as stop:
            # Lightning ends the process itself, without a word, where a user interrupts it.
            raise KeyboardInterrupt from stop
    saved = torch.load(kept.best_model_path, map_location="cpu", weights_only=True)
    module.load_state_dict(saved["state_dict"])
    module.eval()


def training_loader(training_set: SliceDataset, recipe: Recipe) -> TrainingLoader:
    """Return this process's share of each epoch's pictures, in GPU memory where available."""
    training = recipe.training
    sampler = ShareSampler(
        weights_of(training_set.facts, recipe.sampling),
        training.pictures_per_epoch,
        training.seed,
        rank=rank(),
        processes=process_count(),
    )
    return TrainingLoader(training_set.to(training_device()), sampler, training.batch_size)


def training_device() -> torch.device:
    """Return the device on which this process trains: its GPU, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", local_rank())
    return torch.device("cpu")


def _checkpoint(output: Path, name: str, **options: Any) -> ModelCheckpoint:
    return ModelCheckpoint(output / "checkpoints", name, enable_version_counter=False, **options)


def last_checkpoint(output: Path) -> Path | None:
    """Return the checkpoint of the last finished epoch; None where there is none."""
    path = output / "checkpoints" / "last.ckpt"
    return path if path.is_file() else None
