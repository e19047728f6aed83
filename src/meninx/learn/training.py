"""Train a detector: data and a recipe in, one run folder out."""

import dataclasses
import json
import logging
import math
import platform
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
import torch.nn.functional as F  # noqa: N812
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

from meninx.data.manifest import read_manifest
from meninx.detect.detector import Detector
from meninx.errors import DataError, OptionError
from meninx.learn.augmentation import augment
from meninx.learn.dataset import ShareSampler, SliceDataset, examples_of, to_batch
from meninx.learn.epochs import EpochTable
from meninx.learn.export import export_detector, load_weights, recalibrate
from meninx.learn.network import OUTPUT_STRIDE, CellNetwork, picture_logit
from meninx.learn.recipe import Recipe
from meninx.learn.simulation import simulated_examples
from meninx.learn.study_point import with_study_point
from meninx.learn.validation import Validation

# Training canvases are a little finer than the network's input, so that zooming in finds detail.
CANVAS_ZOOM = 7 / 6
# A cell counts as tumor above the one coverage, as healthy below the other, and not at all between.
TUMOR_COVERAGE, HEALTHY_COVERAGE = 0.3, 0.02
MONITOR = "val/score"

log = logging.getLogger(__name__)


def cell_targets(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return which cells are tumor and which are healthy; the rest counts as neither.

    A tumor too small to fill 30 % of any cell still has one: the cell that it covers most.

    Args:
        mask: Coverage 0..1, shape (b, 1, h, w).

    Returns:
        Two boolean tensors, shape (b, m, n).
    """
    coverage = F.avg_pool2d(mask, OUTPUT_STRIDE)[:, 0]  # [b, m, n]
    most = coverage.flatten(1).amax(1)[:, None, None]
    threshold = torch.where(most > 0.06, most.clamp(max=TUMOR_COVERAGE), TUMOR_COVERAGE)
    return coverage >= threshold, coverage < HEALTHY_COVERAGE


class CellTraining(lightning.LightningModule):
    """Hold a network's loss, schedule and validation.

    Args:
        recipe: All choices.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.network = CellNetwork()
        self.validation = Validation()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return cell and type logits of normalized slices."""
        cell_logits, type_logits = self.network(x.to(memory_format=torch.channels_last))
        return cell_logits.float(), type_logits.float()

    def _normalized(self, image: Tensor) -> Tensor:
        preprocessing = self.recipe.preprocessing
        return (image - preprocessing.mean) / preprocessing.std

    def on_train_epoch_start(self) -> None:
        """Seed each epoch on its own, so that a resumed run draws what an unbroken one would."""
        torch.manual_seed(self.recipe.training.seed * 100_003 + self.current_epoch + 1)

    def training_step(self, items: dict[str, Tensor], _: int) -> Tensor:
        """Return the loss of one batch: tumor cells, healthy cells, the hardest of those, type."""
        batch = augment(to_batch(items), self.recipe.augmentation, self.recipe.preprocessing.size)
        cell_logits, type_logits = self(self._normalized(batch.image))
        tumor, healthy = cell_targets(batch.mask)
        per_cell = F.binary_cross_entropy_with_logits(
            cell_logits, tumor.float(), reduction="none"
        )  # [b, m, n]
        options = self.recipe.loss
        weight = healthy.float() + options.tumor_cell * tumor.float()
        healthy_losses = (per_cell * healthy).flatten(1)
        loss = (per_cell * weight).sum() / weight.sum()
        loss = loss + options.hard_weight * healthy_losses.topk(options.hard_cells).values.mean()
        if batch.fair.any():
            # Only where a source comes with and without tumors: elsewhere it would be learned.
            has_tumor = tumor.flatten(1).any(1).float()
            loss = loss + options.picture_weight * F.binary_cross_entropy_with_logits(
                picture_logit(cell_logits)[batch.fair], has_tumor[batch.fair]
            )
        if (batch.tumor_type >= 0).any():
            loss = loss + options.type_weight * F.cross_entropy(
                type_logits, batch.tumor_type, ignore_index=-1
            )
        self.log("train/loss", loss, prog_bar=True, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, items: dict[str, Tensor], _: int) -> None:
        """Keep what the network says of pictures that nothing was done to."""
        batch = to_batch(items)
        cell_logits, type_logits = self(self._normalized(batch.image))
        tumor, healthy = cell_targets(batch.mask)
        self.validation.add(
            cell_logits, tumor, healthy, picture_logit(cell_logits), type_logits, batch.tumor_type
        )

    def on_validation_epoch_end(self) -> None:
        """Log the validation's figures."""
        for name, value in self.validation.figures().items():
            self.log(f"val/{name}", value, prog_bar=name == "score")
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
    data: Path,
    recipe: Recipe,
    output: Path,
    *,
    resume: bool = False,
    weights: Path | None = None,
) -> Run:
    """Train a detector.

    Args:
        data: A manifest or the folder that holds one.
        recipe: All choices.
        output: Run folder; made if missing.
        resume: Go on from the last finished epoch of `output`.
        weights: Safetensors of another run to start from; None to start from random ones.

    Returns:
        Where the detector is, and its validation figures.

    Raises:
        ModelError: If the weights do not fit the network.
        OptionError: If a run is to be resumed with other settings than its own.
        DataError: If the manifest is faulty, or a side of the split is empty.
    """
    manifest = read_manifest(data)
    fold = recipe.training.validation_fold
    lightning.seed_everything(recipe.training.seed, workers=True, verbose=False)
    size = recipe.preprocessing.size
    canvas = dataclasses.replace(recipe.preprocessing, size=32 * round(size * CANVAS_ZOOM / 32))
    log.info("reading pictures")
    learned = list(examples_of(manifest.without_fold(fold)))
    if recipe.sampling.simulated > 0:
        log.info("simulating %d phantoms", recipe.sampling.phantoms)
        learned += simulated_examples(recipe.sampling.phantoms)
    held_out = list(examples_of(manifest.fold(fold)))
    if not learned or not held_out:
        raise DataError(
            f"{data}: fold {fold} leaves {len(learned)} pictures to learn from and {len(held_out)} "
            "to validate on; choose another training.validation_fold"
        )
    if not any(example.mask is not None for example in held_out) or all(
        example.mask is not None for example in held_out
    ):
        raise DataError(
            f"{data}: fold {fold} must hold tumors with masks and tumor-free pictures, to choose "
            "the epoch by and to calibrate with; choose another training.validation_fold"
        )
    output.mkdir(parents=True, exist_ok=True)
    if resume:
        _check_same_run(output, recipe, manifest.sha256)
    _write_provenance(output, recipe, manifest.sha256)
    training_set = SliceDataset(learned, canvas)
    validation_set = SliceDataset(held_out, recipe.preprocessing)
    del learned, held_out
    module = CellTraining(recipe)
    if weights is not None:
        load_weights(module.network, weights)
    return _fit(module, training_set, validation_set, output, manifest.sha256, resume)


def _fit(
    module: CellTraining,
    training_set: SliceDataset,
    validation_set: SliceDataset,
    output: Path,
    manifest_sha256: str,
    resume: bool,
) -> Run:
    recipe, training = module.recipe, module.recipe.training
    sampler = ShareSampler(
        training_set.kind, recipe.sampling, training.pictures_per_epoch, training.seed
    )
    batch = min(training.batch_size, training.pictures_per_epoch)
    loader = DataLoader(training_set, batch_size=batch, sampler=sampler, drop_last=True)
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
        devices=1,
        precision=precision_for(training.precision),  # type: ignore[arg-type]
        gradient_clip_val=training.gradient_clip or None,
        callbacks=callbacks,
        logger=TensorBoardLogger(output, name="", version="tensorboard"),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=min(10, len(loader)),
    )
    checkpoint = output / "checkpoints" / "last.ckpt"
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
            ckpt_path=checkpoint if resume and checkpoint.is_file() else None,
        )
    saved = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
    module.load_state_dict(saved["state_dict"])
    module.eval()
    return _finish(module, validation_set, recipe, output, manifest_sha256)


def _finish(
    module: CellTraining,
    validation_set: SliceDataset,
    recipe: Recipe,
    output: Path,
    manifest_sha256: str,
) -> Run:
    """Calibrate the best weights on the validation fold and write the detector file."""
    validation = module.validation
    with torch.inference_mode():
        for items in DataLoader(validation_set, batch_size=64):
            module.validation_step(items, 0)
    figures = validation.figures()
    calibration = validation.calibration()
    validation.clear()
    detector = output / "detector.onnx"
    export_detector(module.network, recipe, calibration, detector, manifest_sha256)
    studies = recipe.sampling.calibration_phantoms
    log.info("choosing the operating point of volumes on %d phantoms", studies)
    recalibrate(detector, with_study_point(Detector(detector), studies))
    (output / "validation.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return Run(output, detector, figures)


def _check_same_run(output: Path, recipe: Recipe, manifest_sha256: str) -> None:
    """Check that a run goes on as it began.

    Another fold would validate on what was trained on; more epochs would revive the old schedule.

    Args:
        output: The run folder.
        recipe: Of now.
        manifest_sha256: Of now.

    Raises:
        OptionError: If the recipe or the manifest is another one.
    """
    path = output / "run.json"
    if not path.is_file():
        return
    facts = json.loads(path.read_text(encoding="utf-8"))
    before, now = facts["recipe"], json.loads(json.dumps(dataclasses.asdict(recipe)))
    changed = [key for key in now if before.get(key) != now[key]]
    if facts["manifest_sha256"] != manifest_sha256:
        changed.append("the manifest")
    if changed:
        raise OptionError(
            f"{output}: this run began with other settings ({', '.join(changed)}); resume it with "
            "its own, or start a new one with another --output"
        )


def _write_provenance(output: Path, recipe: Recipe, manifest_sha256: str) -> None:
    """Write the recipe and what it ran on."""
    packages = ("meninx", "torch", "torchvision", "pytorch-lightning", "numpy", "onnx")
    facts = {
        "recipe": dataclasses.asdict(recipe),
        "manifest_sha256": manifest_sha256,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
    }
    (output / "run.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
