"""Train one detector a fold, each judged by the fold that it never saw."""

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path

from meninx.data.manifest import Manifest
from meninx.errors import DataError
from meninx.learn.provenance import check_same_run
from meninx.learn.recipe import Recipe
from meninx.learn.training import DETECTOR_NAME, train

LEAST_FOLDS = 3

log = logging.getLogger(__name__)


def recipe_of_fold(recipe: Recipe, folds: tuple[int, ...], test_fold: int) -> Recipe:
    """Return the recipe that leaves one fold out for testing.

    Args:
        recipe: All other choices.
        folds: All folds, ascending.
        test_fold: Left out; the fold after it chooses the epoch.

    Returns:
        The recipe.
    """
    validation_fold = folds[(folds.index(test_fold) + 1) % len(folds)]
    training = dataclasses.replace(
        recipe.training, test_fold=test_fold, validation_fold=validation_fold
    )
    return dataclasses.replace(recipe, training=training)


def train_folds(manifest: Manifest, recipe: Recipe, output: Path) -> Iterator[tuple[int, Path]]:
    """Train one detector a fold; those that an earlier call finished are taken as they are.

    Args:
        manifest: With three folds or more: to learn from, to choose the epoch by, to test on.
        recipe: All choices but the folds.
        output: Gets one run folder a fold.

    Yields:
        Each fold and the detector that never saw it.

    Raises:
        DataError: If there are too few folds.
        OptionError: If `output` holds runs of other settings.
    """
    if len(manifest.folds) < LEAST_FOLDS:
        raise DataError(
            f"{len(manifest.folds)} folds, expected at least {LEAST_FOLDS}: one to test on, one to "
            "choose the epoch by, the rest to learn from"
        )
    for fold in manifest.folds:
        own = recipe_of_fold(recipe, manifest.folds, fold)
        folder = output / f"fold-{fold}"
        check_same_run(folder, own, manifest.sha256)
        if not (folder / DETECTOR_NAME).is_file():
            log.info("fold %d of %d", fold, len(manifest.folds))
            train(manifest, own, folder, resume=(folder / "checkpoints" / "last.ckpt").is_file())
        yield fold, folder / DETECTOR_NAME
