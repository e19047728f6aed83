"""Train a detector per fold, score each fold by the detector that left it out, and calibrate."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from meninx._assess.cases import NO_COPIES, Case, Copies, score_cases, unseen
from meninx._data.manifest import Manifest, Picture
from meninx._data.progress import Progress, silent
from meninx._detect.calibrator import Calibrator
from meninx._detect.loading import load_detector
from meninx._errors import DataError
from meninx._learn.file.export import recalibrate
from meninx._learn.file.provenance import check_same_run
from meninx._learn.file.validation import fit_calibrator, with_refusals
from meninx._learn.fit.training import DETECTOR_NAME, train
from meninx._learn.recipe import Recipe
from meninx._processes import process_count

_MIN_FOLDS = 3

log = logging.getLogger(__name__)


def recipe_of_fold(recipe: Recipe, folds: tuple[int, ...], test_fold: int) -> Recipe:
    """Return the recipe that leaves one fold out for testing.

    Args:
        recipe: Recipe with all other settings.
        folds: All folds, ascending.
        test_fold: Fold to leave out. The fold after it chooses the epoch, unless the recipe has no
            validation fold.

    Returns:
        The recipe of that fold.
    """
    training = dataclasses.replace(recipe.training, test_fold=test_fold)
    if not training.validation_fold:
        # Pictures are calibrated out of fold, and volumes once, after merging.
        sampling = dataclasses.replace(recipe.sampling, calibration_phantoms=0)
        return dataclasses.replace(recipe, training=training, sampling=sampling)
    validation_fold = folds[(folds.index(test_fold) + 1) % len(folds)]
    training = dataclasses.replace(training, validation_fold=validation_fold)
    return dataclasses.replace(recipe, training=training)


def train_folds(
    manifest: Manifest,
    recipe: Recipe,
    output: Path,
    *,
    weights: Path | None = None,
    heads: Sequence[Path] = (),
) -> dict[int, Path]:
    """Train a detector per fold; finished ones of an earlier call are kept.

    Args:
        manifest: Pictures with at least three folds: to learn from, to choose the epoch, to test
            on.
        recipe: Recipe with all settings but the folds.
        output: Output folder, for a run folder per fold.
        weights: File of weights that all folds start from; they must not have been fitted on the
            manifest. None for the weights that the recipe names.
        heads: Real heads for augmented heads.

    Returns:
        For each fold the file of the detector that left it out.

    Raises:
        DataError: If there are too few folds.
        OptionError: If `output` holds runs of other settings.
    """
    if len(manifest.folds) < _MIN_FOLDS:
        raise DataError(
            f"{len(manifest.folds)} folds, expected at least {_MIN_FOLDS}: one to test on, one to "
            "choose the epoch by, the rest to learn from"
        )
    detectors = {}
    for fold in manifest.folds:
        own = recipe_of_fold(recipe, manifest.folds, fold)
        folder = output / f"fold-{fold}"
        check_same_run(folder, own, manifest.sha256, process_count())
        if not (folder / DETECTOR_NAME).is_file():
            log.info("fold %d of %d", fold, len(manifest.folds))
            train(
                manifest,
                own,
                folder,
                resume=(folder / "checkpoints" / "last.ckpt").is_file(),
                weights=weights,
                heads=heads,
            )
        detectors[fold] = folder / DETECTOR_NAME
    return detectors


def unseen_out_of_fold(
    manifest: Manifest,
    detectors: Mapping[int, Path],
    progress: Progress = silent,
    workers: int = 1,
) -> tuple[dict[int, list[Picture]], Copies]:
    """Return the pictures of each fold that neither its detector nor its first weights learned.

    Args:
        manifest: Manifest that the detectors were trained on.
        detectors: Detector files by the fold that each left out.
        progress: Called with a step, the amount done, and the total.
        workers: Number of pictures described at a time.

    Returns:
        Pictures by fold, and the number of copies that were left out.
    """
    pictures, copies = {}, NO_COPIES
    for fold, path in detectors.items():
        chosen = unseen(
            load_detector(path, threads=1).card,
            manifest,
            allow_leaks=bool(manifest.leaks),
            fold=fold,
            may_be_empty=True,
            workers=workers,
            progress=progress,
        )
        pictures[fold] = chosen.pictures
        copies += chosen.copies
    return pictures, copies


def score_out_of_fold(
    pictures: Mapping[int, Sequence[Picture]],
    detectors: Mapping[int, Path],
    progress: Progress = silent,
    workers: int = 1,
) -> list[Case]:
    """Score every picture by the detector that left its fold out.

    Args:
        pictures: Pictures by fold, as `unseen_out_of_fold` returns them.
        detectors: Detector files by the fold that each left out.
        progress: Called with a step, the amount done, and the total.
        workers: Number of pictures scored at a time.

    Returns:
        One case per picture, by fold.
    """
    cases: list[Case] = []
    for fold, path in detectors.items():
        detector = load_detector(path, threads=1)
        cases += score_cases(detector, pictures[fold], progress, workers)
    return cases


def calibrate_out_of_fold(cases: Sequence[Case], detectors: Mapping[int, Path]) -> Calibrator:
    """Fit the calibrator of pictures out of fold, and write it into each fold's detector.

    Args:
        cases: Cases of all folds, as `score_out_of_fold` returns them, scored by detectors without
            a calibrator.
        detectors: Detector files by the fold that each left out. Each gets the calibrator that fits
            the answers of the other folds, so that its own fold stays held out.

    Returns:
        The calibrator fitted on all folds, for a detector that is merged from these.
    """
    for own, path in detectors.items():
        card = load_detector(path).card
        calibrator = fit_pictures([case for case in cases if case.picture.fold != own])
        recalibrate(path, dataclasses.replace(card.calibration, picture=calibrator))
    return fit_pictures(cases)


def fit_pictures(cases: Sequence[Case]) -> Calibrator:
    """Fit the calibrator of pictures.

    Args:
        cases: Cases of held-out pictures.

    Returns:
        The calibrator, with the number of refused pictures.
    """
    scored = [case for case in cases if case.findings.logit is not None]
    logits = np.array([case.findings.logit for case in scored], dtype=np.float64)
    calibrator = fit_calibrator(logits, np.array([case.picture.tumor for case in scored]))
    return with_refusals(calibrator, [case.findings for case in cases])
