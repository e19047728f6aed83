"""Train a detector: data and a recipe in, one run folder out."""

import dataclasses
import json
import logging
import math
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
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
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from meninx.assess.plots import plot_training
from meninx.data.facts import sha256_of
from meninx.data.manifest import Manifest
from meninx.detect.detector import Detector
from meninx.errors import DataError
from meninx.labels import TYPE_NAMES
from meninx.learn.augmentation import Batch, augment
from meninx.learn.dataset import (
    UNMASKED,
    Example,
    ShareSampler,
    SliceDataset,
    examples_of,
    to_batch,
)
from meninx.learn.epochs import EpochTable, read_epochs
from meninx.learn.export import Origin, export_detector, recalibrate
from meninx.learn.initialization import initialize
from meninx.learn.losses import cell_loss, cell_targets, picture_loss, type_loss, type_weights
from meninx.learn.network import CELLS, build_network, picture_logit
from meninx.learn.provenance import check_same_run, write_provenance
from meninx.learn.recipe import Recipe
from meninx.learn.simulation import simulated_examples
from meninx.learn.study_point import with_study_point
from meninx.learn.validation import Validation

# Training canvases are a little finer than the network's input, so that zooming in finds detail.
CANVAS_ZOOM = 7 / 6
MONITOR = "val/score"
DETECTOR_NAME = "detector.onnx"

log = logging.getLogger(__name__)


class DetectorTraining(lightning.LightningModule):
    """Hold a network's loss, schedule and validation.

    Args:
        recipe: All choices.
        type_weights: Of the tumor types in the loss, shape (3,); None for equal ones.
    """

    def __init__(self, recipe: Recipe, type_weights: Tensor | None = None) -> None:
        super().__init__()
        self.recipe = recipe
        self.network = build_network(recipe.network.architecture, recipe.network.dropout)
        self.validation = Validation()
        self.type_weights: Tensor | None
        self.register_buffer("type_weights", type_weights, persistent=False)

    @property
    def judges_cells(self) -> bool:
        """Whether the network learns from outlines."""
        return self.recipe.network.architecture == CELLS

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return cell and type logits of normalized slices."""
        cell_logits, type_logits = self.network(x.to(memory_format=torch.channels_last))
        return cell_logits.float(), type_logits.float()

    def _normalized(self, image: Tensor) -> Tensor:
        preprocessing = self.recipe.preprocessing
        return (image - preprocessing.mean) / preprocessing.std

    def on_train_epoch_start(self) -> None:
        """Seed each epoch on its own, so that a resumed run draws what an unbroken one would."""
        seed = self.recipe.training.seed * 100_003 + self.current_epoch + 1
        torch.manual_seed(seed + 7_919 * self.global_rank)

    def on_before_batch_transfer(
        self,
        batch: dict[str, Tensor],
        dataloader_idx: int,  # noqa: ARG002
    ) -> Batch:
        """Return collated items as pictures, varied in training, before a GPU gets them."""
        made = to_batch(batch)
        if not self.trainer.training:
            return made
        return augment(made, self.recipe.augmentation, self.recipe.preprocessing.size)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Return the loss of one batch."""
        cell_logits, type_logits = self(self._normalized(batch.image))
        logits = picture_logit(cell_logits, self.network.top_cells)
        options = self.recipe.loss
        # Cells are taught by outlines; whole pictures only where a source comes with and without
        # tumors: elsewhere the source would be learned. A pooled network has nothing else.
        counted = batch.fair if self.judges_cells else torch.ones_like(batch.fair)
        loss = cell_loss(cell_logits, batch, options) if self.judges_cells else logits.sum() * 0
        if counted.any():
            loss = loss + options.picture_weight * picture_loss(
                logits[counted], batch.tumor[counted], options.label_smoothing
            )
        loss = loss + options.type_weight * type_loss(
            type_logits, batch.tumor_type, self.type_weights, options.label_smoothing
        )
        accuracy = ((logits > 0) == batch.tumor).float().mean()
        for name, value in (("loss", loss), ("accuracy", accuracy)):
            self.log(
                f"train/{name}", value, prog_bar=name == "loss", on_step=False, on_epoch=True,
                sync_dist=True, batch_size=len(logits),
            )  # fmt: skip
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Keep what the network says of pictures that nothing was done to."""
        cell_logits, type_logits = self(self._normalized(batch.image))
        self.validation.add(
            picture_logit(cell_logits, self.network.top_cells),
            batch.tumor,
            type_logits,
            batch.tumor_type,
            (cell_logits, *cell_targets(batch.mask)) if self.judges_cells else None,
        )

    def on_validation_epoch_end(self) -> None:
        """Log the validation's figures."""
        for name, value in self.validation.figures().items():
            self.log(f"val/{name}", value, prog_bar=name == "score", sync_dist=True)
        self.validation.clear()

    def configure_optimizers(self) -> Any:
        """Return AdamW with a linear warm-up and a cosine that ends at the last step."""
        training = self.recipe.training
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        plain = [p for p in self.network.parameters() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [
            {"params": decayed},
            {"params": plain, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(
            groups,
            lr=training.learning_rate,
            weight_decay=training.weight_decay,
        )
        total = int(self.trainer.estimated_stepping_batches)
        schedule = LambdaLR(optimizer, cosine_with_warmup(total, training.warmup))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def cosine_with_warmup(total: int, warmup: float) -> Callable[[int], float]:
    """Return the learning rate's factor at each step.

    It rises linearly for the first `warmup` share of the `total` steps and falls as half a cosine
    to zero at the last (Loshchilov and Hutter 2017).
    """
    rising = max(1, round(total * warmup))

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        passed = min(1.0, (step - rising) / max(1, total - 1 - rising))
        return 0.5 * (1 + math.cos(math.pi * passed))

    return factor


def precision_for(wanted: str) -> str:
    """Return the arithmetic to train in.

    Args:
        wanted: From the recipe; `auto` is bf16 where the device has it, else 16-bit floats on CUDA
            and 32-bit on a CPU, where emulated bf16 is slower than none.

    Returns:
        One of Lightning's names.
    """
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    has_mkldnn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    native = has_mkldnn and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return "bf16-mixed" if native else "32-true"


@dataclass(frozen=True)
class Run:
    """Say what a training wrote.

    Args:
        folder: The run folder.
        detector: The best detector in it, one ONNX file.
        figures: The validation's figures at the best epoch.
    """

    folder: Path
    detector: Path
    figures: dict[str, float]


def train(
    manifest: Manifest,
    recipe: Recipe,
    output: Path,
    *,
    resume: bool = False,
    weights: Path | None = None,
    sha256: str | None = None,
) -> Run:
    """Train a detector.

    Under `torchrun` every process trains on its share, and the first one writes.

    Args:
        manifest: The pictures and their folds.
        recipe: All choices.
        output: Run folder; made if missing.
        resume: Go on from the last finished epoch of `output`.
        weights: A file to start from: safetensors of another run, or torchvision's where the recipe
            says `imagenet`; None for what the recipe says.
        sha256: What the file of weights must have; None to take any.

    Returns:
        Where the detector is, and its validation figures.

    Raises:
        ModelError: If the weights do not fit the network.
        OptionError: If a run is to be resumed with other settings than its own.
        DataError: If a side of the split is empty, or has one class only.
    """
    training = recipe.training
    lightning.seed_everything(training.seed, workers=True, verbose=False)
    learned, held_out = read_examples(manifest, recipe)
    output.mkdir(parents=True, exist_ok=True)
    if resume:
        check_same_run(output, recipe, manifest.sha256)
    if is_first_process():
        write_provenance(output, recipe, manifest)
    size = recipe.preprocessing.size
    canvas = dataclasses.replace(recipe.preprocessing, size=32 * round(size * CANVAS_ZOOM / 32))
    training_set = SliceDataset(learned, canvas)
    validation_set = SliceDataset(held_out, recipe.preprocessing)
    del learned, held_out
    balanced = type_weights(training_set.tumor_type, len(TYPE_NAMES))
    module = DetectorTraining(recipe, balanced if recipe.loss.balance_types else None)
    if not resume:
        # A resumed run takes its weights from its checkpoint.
        initialize(module.network, recipe.network.initialization, weights, sha256)
    _fit(module, training_set, validation_set, output, resume)
    figures = {}
    if is_first_process():
        fitted = manifest.without_fold(training.test_fold)
        origin = Origin(
            manifest.sha256,
            tuple(picture.sha256 or sha256_of(picture.picture) for picture in fitted),
            bool(manifest.leaks),
        )
        figures = _finish(module, validation_set, output, origin)
    return Run(output, output / DETECTOR_NAME, figures)


def read_examples(manifest: Manifest, recipe: Recipe) -> tuple[list[Example], list[Example]]:
    """Return what is learned from and what is held out to choose the epoch and calibrate.

    Args:
        manifest: The pictures and their folds.
        recipe: All choices.

    Returns:
        Two lists; the test fold is in neither.

    Raises:
        DataError: If a side is empty or has one class only.
    """
    training, cells = recipe.training, recipe.network.architecture == CELLS
    fold, unmasked = training.validation_fold, not cells or recipe.sampling.unmasked > 0
    log.info("reading pictures")
    rest = manifest.without_fold(fold, training.test_fold)
    learned = list(examples_of(rest, unmasked=unmasked))
    held_out = list(examples_of(manifest.fold(fold), unmasked=unmasked))
    if not learned or not held_out:
        hint = ""
        if cells and not any(picture.mask for picture in manifest.pictures):
            hint = " (no tumor here has a mask: a recipe for labels alone is --recipe seed)"
        raise DataError(
            f"fold {fold} leaves {len(learned)} pictures to learn from and {len(held_out)} "
            f"to validate on; choose another training.validation_fold{hint}"
        )
    kinds = {_is_tumor(example) for example in held_out}
    drawn = any(example.mask is not None for example in held_out)
    if len(kinds) < 2 or (cells and not drawn):
        wanted = "tumors with masks" if cells else "tumors"
        raise DataError(
            f"fold {fold} must hold {wanted} and tumor-free pictures, to choose the epoch by and "
            "to calibrate with; choose another training.validation_fold, or learn from labels "
            "alone with --recipe seed"
        )
    if recipe.sampling.simulated > 0:
        log.info("simulating %d phantoms", recipe.sampling.phantoms)
        learned += simulated_examples(recipe.sampling.phantoms)
    if len({_is_tumor(example) for example in learned}) < 2:
        raise DataError(f"without fold {fold} only one class is left to learn from")
    log.info("%d pictures to learn from, %d to validate on", len(learned), len(held_out))
    return learned, held_out


def _is_tumor(example: Example) -> bool:
    return example.mask is not None or example.kind == UNMASKED


def is_first_process() -> bool:
    """Return whether this process, of those that `torchrun` started, is the one that writes."""
    return int(os.environ.get("RANK", "0")) == 0


def _processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def _fit(
    module: DetectorTraining,
    training_set: SliceDataset,
    validation_set: SliceDataset,
    output: Path,
    resume: bool,
) -> None:
    """Train, and leave the best epoch's weights in the module."""
    recipe, training, processes = module.recipe, module.recipe.training, _processes()
    sampler = ShareSampler(
        training_set.kind, recipe.sampling, training.pictures_per_epoch, training.seed,
        rank=int(os.environ.get("RANK", "0")), processes=processes,
    )  # fmt: skip
    batch = min(training.batch_size, len(sampler))
    # Opening a loader draws a number, at another moment in a resumed run than in an unbroken one:
    # with a generator of its own, augmentation draws the same in both.
    loader = DataLoader(
        training_set, batch_size=batch, sampler=sampler, drop_last=True,
        generator=torch.Generator().manual_seed(training.seed),
    )  # fmt: skip
    best = ModelCheckpoint(
        output / "checkpoints", "best", monitor=MONITOR, mode="max", enable_version_counter=False
    )
    last = ModelCheckpoint(
        output / "checkpoints", "last", save_on_train_epoch_end=True, enable_version_counter=False
    )
    callbacks: list[Callback] = [
        best,
        last,
        EarlyStopping(MONITOR, mode="max", patience=training.patience),
        LearningRateMonitor("epoch"),
        TQDMProgressBar(refresh_rate=10),
        EpochTable(output / "epochs.csv"),
    ]
    if training.ema_decay:
        callbacks.append(EMAWeightAveraging(decay=training.ema_decay))
    trainer = lightning.Trainer(
        max_epochs=training.epochs,
        accelerator="auto",
        devices=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
        num_nodes=max(1, processes // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))),
        strategy="ddp" if processes > 1 else "auto",
        # The sampler deals one common draw to all processes; each validates on everything.
        use_distributed_sampler=False,
        precision=precision_for(training.precision),  # type: ignore[arg-type]
        gradient_clip_val=training.gradient_clip or None,
        callbacks=callbacks,
        logger=TensorBoardLogger(output, name="", version="tensorboard"),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=min(10, len(loader)),
    )
    checkpoint = output / "checkpoints" / "last.ckpt"
    resume = resume and checkpoint.is_file()
    if resume:
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
        sampler.epoch = int(saved["epoch"]) + 1
    with warnings.catch_warnings():
        # All pictures lie in memory: workers would only copy them.
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        # That a resumed run finds its checkpoints is what it is for.
        warnings.filterwarnings("ignore", ".*Checkpoint directory .* is not empty.*")
        # Lightning's own use of a PyTorch function that is about to change.
        warnings.filterwarnings("ignore", ".*LeafSpec.*")
        trainer.fit(
            module,
            loader,
            DataLoader(validation_set, batch_size=64),
            ckpt_path=checkpoint if resume else None,
        )
    saved = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
    module.load_state_dict(saved["state_dict"])
    module.eval()


def _finish(
    module: DetectorTraining, validation_set: SliceDataset, output: Path, origin: Origin
) -> dict[str, float]:
    """Calibrate the best weights on the validation fold, write the detector file and curves."""
    recipe, validation = module.recipe, module.validation
    validation.clear()
    with torch.inference_mode():
        for items in DataLoader(validation_set, batch_size=64):
            module.validation_step(to_batch(items), 0)
    figures = validation.figures()
    calibration = validation.calibration()
    validation.clear()
    detector = output / DETECTOR_NAME
    export_detector(module.network, recipe, calibration, detector, origin)
    studies = recipe.sampling.calibration_phantoms
    if studies:
        log.info("choosing the operating point of volumes on %d phantoms", studies)
        recalibrate(detector, with_study_point(Detector(detector), studies))
    (output / "validation.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    plot_training(read_epochs(output / "epochs.csv"), output / "curves")
    return figures
