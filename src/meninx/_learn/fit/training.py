"""Train a detector from data and a recipe into one run folder."""

import dataclasses
import json
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path

import pytorch_lightning as lightning
import torch

from meninx._assess.plots import plot_training
from meninx._data.descriptors import (
    Descriptors,
    copied_rows,
    descriptors_of,
    descriptors_of_scan,
    seen_slices,
)
from meninx._data.facts import sha256_of
from meninx._data.manifest import Manifest, Picture
from meninx._data.progress import Progress
from meninx._detect.answer_words import never_answered
from meninx._detect.calibration import Calibration, reference_of
from meninx._detect.calibrator import Calibrator
from meninx._detect.decision import DEFAULT_COVERAGE
from meninx._detect.loading import shipped_detector
from meninx._detect.model_card import DEFAULT_BACKBONE
from meninx._errors import DataError, OptionError
from meninx._labels import TYPE_NAMES
from meninx._learn.file.build_detector import build_detector
from meninx._learn.file.export import Origin, TrainingData
from meninx._learn.file.provenance import check_same_run, origin_of, write_provenance
from meninx._learn.fit.epochs import read_epochs
from meninx._learn.fit.initialization import initialize
from meninx._learn.fit.losses import type_weights
from meninx._learn.fit.module import DetectorTraining
from meninx._learn.fit.probe import fit_probe
from meninx._learn.fit.trainer import fit, last_checkpoint
from meninx._learn.input.dataset import Example, SliceDataset, examples_of
from meninx._learn.input.simulation import simulated_examples
from meninx._learn.model.network import CELLS, Backbone, CellNetwork
from meninx._learn.recipe import Recipe
from meninx._processes import is_first_process, process_count, usable_cores
from meninx._scan.reading import read_one
from meninx._synthesis.packed_heads import PACKED_HEAD_SUFFIX, RealHead, read_packed_head

DETECTOR_NAME = "detector.onnx"
# Interval of lines of progress in the log, s.
_SECONDS_BETWEEN_LINES = 10.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """Result of a training.

    Args:
        folder: Run folder.
        detector: ONNX file of the best detector in it.
        figures: Figures of the validation at the best epoch, by name.
        copies: Number of pictures in each fold that are copies of slices that the first weights had
            learned from.
        copies_known: Whether the weights record all slices that they learned from.
    """

    folder: Path
    detector: Path
    figures: dict[str, float]
    copies: Mapping[int, int] = field(default_factory=dict)
    copies_known: bool = True


def train(
    manifest: Manifest,
    recipe: Recipe,
    output: Path,
    *,
    resume: bool = False,
    weights: Path | None = None,
    sha256: str | None = None,
    heads: Sequence[Path] = (),
) -> Run:
    """Train a detector.

    Each of several processes trains on its share, and the first one writes.

    Args:
        manifest: Pictures and their folds.
        recipe: Recipe with all settings.
        output: Run folder; made if missing.
        resume: Whether to continue after the last finished epoch of `output`.
        weights: File of the first weights: safetensors of another run, or torchvision's where the
            recipe names `imagenet`; None for the weights that the recipe names.
        sha256: SHA-256 that the file of weights must have; None to accept any.
        heads: Real, whole, tumor-free heads in T1, for augmented heads.

    Returns:
        The run folder, the detector and its validation figures.

    Raises:
        ModelError: If the weights do not fit the network.
        OptionError: If a run is resumed with other settings than its own.
        DataError: If the training or the validation pictures are missing or of one class only.
    """
    training = recipe.training
    _check_first_weights(recipe, weights)
    lightning.seed_everything(training.seed, workers=True, verbose=False)
    learned, held_out = read_examples(manifest, recipe, heads)
    output.mkdir(parents=True, exist_ok=True)
    checkpoint = last_checkpoint(output) if resume else None
    if resume:
        check_same_run(output, recipe, manifest.sha256, process_count())
        _warn_of_unhashed(manifest)
    training_set = SliceDataset(learned, recipe.training_canvas)
    validation_set = SliceDataset(held_out, recipe.preprocessing) if held_out else None
    del learned, held_out
    balanced = type_weights(training_set.tumor_type, len(TYPE_NAMES))
    module = DetectorTraining(recipe, balanced if recipe.loss.balance_types else None)
    if checkpoint is None:
        before = initialize(module.network, recipe.network.initialization, weights, sha256)
    else:
        before = origin_of(output)
    if is_first_process():
        write_provenance(output, recipe, manifest, before, process_count())
    if recipe.network.frozen == "features":
        probe = fit_probe(module, training_set, validation_set)
        (output / "probe.json").write_text(json.dumps(probe, indent=2) + "\n", encoding="utf-8")
    else:
        fit(module, training_set, validation_set, output, checkpoint)
    if not is_first_process():
        return Run(output, output / DETECTOR_NAME, {})
    log.info("describing pictures")
    described = descriptors_of(manifest.pictures, usable_cores(), _logged_progress())
    copied = copied_rows(manifest.pictures, described, before.seen_slices)
    # The types of the first weights are those of their features, too.
    inherited = recipe.network.frozen != "nothing" and _had_types(module.network, before)
    has_types = bool((training_set.tumor_type >= 0).any())
    types = TYPE_NAMES if has_types or inherited else ()
    training_data = dataclasses.replace(
        _training_data(manifest, recipe, before, described, heads, types),
        inherited_types=bool(types) and not has_types,
    )
    figures = _finish(
        module,
        training_set,
        validation_set,
        output,
        training_data,
        heads,
        _detector_of_features(recipe, weights),
    )
    copies = Counter(compress((picture.fold for picture in manifest.pictures), copied))
    return Run(output, output / DETECTOR_NAME, figures, copies, before.seen_slices.complete)


def _warn_of_unhashed(manifest: Manifest) -> None:
    """Say that a manifest without hashes can't tell whether its files have changed."""
    count = sum(not picture.sha256 for picture in manifest.pictures)
    if count:
        log.warning(
            "the manifest has no sha256 of %d of %d pictures: whether they are still those that "
            "the run began with is not known; `meninx prepare` writes it",
            count,
            len(manifest.pictures),
        )


def _logged_progress() -> Progress:
    """Return a function that writes a line into the log every few seconds."""
    last = time.monotonic()

    def report(what: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            log.info("%s: %d of %d", what, done, total)

    return report


def _check_first_weights(recipe: Recipe, weights: Path | None) -> None:
    """Check that the backbone has the weights that are asked for, and what is frozen has any."""
    network = recipe.network
    if (network.initialization, weights) == ("meninx", None) and (
        network.backbone != DEFAULT_BACKBONE
    ):
        raise OptionError(
            f"network.backbone is {network.backbone}, and the shipped weights are those of "
            f"{DEFAULT_BACKBONE}: begin with --init imagenet or random, or name --weights"
        )
    if network.frozen == "nothing" or weights is not None:
        return
    if network.initialization == "random" or (
        network.frozen == "features" and network.initialization == "imagenet"
    ):
        raise OptionError(
            f"{network.frozen} can't be frozen with weights from {network.initialization}: begin "
            "with --init meninx, or name --weights"
        )


def _detector_of_features(recipe: Recipe, weights: Path | None) -> Path | None:
    """Return the detector file of the first weights, if its features stay as they are."""
    network = recipe.network
    if network.frozen == "nothing" or network.initialization == "imagenet":
        return None
    path = shipped_detector("fp32") if weights is None else weights.with_suffix(".onnx")
    return path if path.is_file() else None


def _training_data(
    manifest: Manifest,
    recipe: Recipe,
    before: Origin,
    described: Sequence[Descriptors],
    heads: Sequence[Path],
    types: tuple[str, ...],
) -> TrainingData:
    """Return the record of what a detector learned from, chose its epoch by or was calibrated on.

    Args:
        manifest: Pictures and their folds.
        recipe: Recipe of the training.
        before: Provenance of the first weights.
        described: Descriptors of each picture of the manifest.
        heads: Real heads for augmented heads.
        types: Tumor types that the detector could learn.

    Returns:
        The record for the detector file.
    """
    out = {recipe.training.test_fold, *recipe.training.left_out}
    if not recipe.sampling.real:
        out = set(manifest.folds)
    fitted = [picture.fold not in out for picture in manifest.pictures]
    return TrainingData(
        manifest.sha256,
        (*before.seen, *hashes_of(list(compress(manifest.pictures, fitted)), heads)),
        bool(manifest.leaks),
        before.license,
        types,
        seen_slices(
            [*compress(described, fitted), *map(descriptors_of_head, heads)], before.seen_slices
        ),
    )


def _had_types(network: Backbone, before: Origin) -> bool:
    """Return whether the first weights had learned types."""
    return isinstance(network, CellNetwork) and bool(before.seen)


def descriptors_of_head(head: Path) -> Descriptors:
    """Return the descriptors of a head's slices, shape (n, 32); a head may be packed."""
    packed = head.suffix == PACKED_HEAD_SUFFIX
    return descriptors_of_scan(read_packed_head(head) if packed else read_one(head))


def hashes_of(pictures: Sequence[Picture], heads: Sequence[Path]) -> list[str]:
    """Return the SHA-256 of every file that was learned from."""
    files = [picture.picture for picture in pictures]
    for head in heads:
        files += [head] if head.is_file() else sorted(p for p in head.rglob("*") if p.is_file())
    return [sha256_of(path) for path in files]


def read_examples(
    manifest: Manifest, recipe: Recipe, heads: Sequence[Path] = ()
) -> tuple[list[Example], list[Example]]:
    """Return the training examples, and those held out to choose the epoch and calibrate.

    Args:
        manifest: Pictures and their folds.
        recipe: Recipe with all settings.
        heads: Real heads for augmented heads.

    Returns:
        Training examples and validation examples; the test fold is in neither. The second list is
        empty where the recipe has no validation fold.

    Raises:
        DataError: If a list is empty or of one class only.
        OptionError: If the recipe needs augmented heads, and no real heads are given.
    """
    sampling = recipe.sampling
    _check_heads(recipe, heads)
    training, cells = recipe.training, recipe.network.architecture == CELLS
    fold, unmasked = training.validation_fold, not cells or recipe.sampling.unmasked > 0
    if fold and not unmasked and not any(picture.mask for picture in manifest.fold(fold)):
        raise DataError(
            f"no picture of fold {fold} has a mask, and the recipe {recipe.name} learns from masks"
            f"{_hint_without_masks(manifest)}"
        )
    log.info("reading pictures")
    rest = manifest.without_fold(fold, training.test_fold, *training.left_out)
    learned = list(examples_of(rest, unmasked=unmasked)) if sampling.real else []
    held_out = list(examples_of(manifest.fold(fold), unmasked=unmasked))
    if fold:
        _check_held_out(manifest, fold, learned, held_out, needs_masks=not unmasked)
    if sampling.simulated > 0:
        log.info("simulating heads")
        learned += simulated_examples(
            sampling.phantoms,
            sampling.augmented_heads,
            tuple(RealHead(head) for head in heads),
            sampling.treated,
        )
    if len({example.is_tumor for example in learned}) < 2:
        raise DataError(
            f"without fold {fold} only one class is left to learn from, expected tumors and "
            "tumor-free pictures; choose another training.validation_fold"
        )
    log.info("%d pictures to learn from, %d to validate on", len(learned), len(held_out))
    return learned, held_out


def _check_heads(recipe: Recipe, heads: Sequence[Path]) -> None:
    """Check that a recipe with augmented heads has real heads."""
    sampling = recipe.sampling
    if sampling.simulated > 0 and sampling.augmented_heads and not heads:
        raise OptionError(
            "this recipe needs real heads for augmented heads: name at least one whole, tumor-free "
            "head in T1 with --heads, or set sampling.augmented_heads to 0"
        )


def _check_held_out(
    manifest: Manifest,
    fold: int,
    learned: Sequence[Example],
    held_out: Sequence[Example],
    *,
    needs_masks: bool,
) -> None:
    """Check that a fold can choose the epoch and calibrate."""
    if not learned or not held_out:
        hint = _hint_without_masks(manifest) if needs_masks else ""
        raise DataError(
            f"fold {fold} leaves {len(learned)} pictures to learn from and {len(held_out)} "
            f"to validate on; choose another training.validation_fold{hint}"
        )
    kinds = {example.is_tumor for example in held_out}
    has_masks = any(example.mask is not None for example in held_out)
    if len(kinds) < 2 or (needs_masks and not has_masks):
        wanted = "tumors with masks" if needs_masks else "tumors"
        raise DataError(
            f"fold {fold} must hold {wanted} and tumor-free pictures, to choose the epoch by and "
            "to calibrate with; choose another training.validation_fold, or learn from labels "
            "alone with --recipe finetune"
        )


def _hint_without_masks(manifest: Manifest) -> str:
    """Return a hint for a manifest without masks, else an empty text."""
    if any(picture.mask for picture in manifest.pictures):
        return ""
    return "; no tumor here has one: --recipe probe, finetune and seed learn from labels alone"


def _finish(
    module: DetectorTraining,
    training_set: SliceDataset,
    validation_set: SliceDataset | None,
    output: Path,
    training_data: TrainingData,
    heads: Sequence[Path],
    features_of: Path | None = None,
) -> dict[str, float]:
    """Calibrate the weights on the validation fold, write the detector file and curves."""
    recipe = module.recipe
    figures: dict[str, float] = {}
    calibration = Calibration()
    if validation_set is not None:
        figures, calibrator = _validated(module, validation_set)
        calibration = Calibration(calibrator, calibrator)
        reference = reference_of(calibrator, "pictures")
        if never := never_answered(reference, DEFAULT_COVERAGE):
            log.warning(never)
    build_detector(
        module.network,
        recipe,
        training_set.resized(recipe.preprocessing.size),
        output / DETECTOR_NAME,
        training_data,
        calibration=calibration,
        heads=heads,
        features_of=features_of,
    )
    (output / "validation.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    plot_training(read_epochs(output / "epochs.csv"), output / "curves")
    return figures


def _validated(
    module: DetectorTraining, validation_set: SliceDataset
) -> tuple[dict[str, float], Calibrator]:
    """Return the figures and the calibrator on held-out pictures."""
    validation = module.validation
    validation.clear()
    with torch.inference_mode():
        for batch in validation_set.batches(64):
            module.validation_step(batch, 0)
    figures, calibrator = validation.figures(), validation.calibrator()
    validation.clear()
    return figures, calibrator
