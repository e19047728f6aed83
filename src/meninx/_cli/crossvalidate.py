"""Cross-validate a recipe: `meninx crossvalidate DATA --recipe NAME`."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meninx._cli.console import log_to
from meninx._cli.evaluation_table import print_evaluation
from meninx._cli.extras import needs_extra
from meninx._cli.labeled_data import load_manifest
from meninx._cli.options import (
    AllowLeaksOption,
    DataArgument,
    EpochsOption,
    HeadsOption,
    LabelOption,
    RecipeOption,
    SplitOption,
)
from meninx._cli.progress import progress_of
from meninx._cli.writable import check_folder
from meninx._errors import OptionError
from meninx._learn.recipe_files import find_recipe
from meninx._processes import usable_cores

if TYPE_CHECKING:
    from meninx._detect.detector import Detector
    from meninx._learn.recipe import Recipe


def crossvalidate(
    data: DataArgument,
    recipe: RecipeOption = "seed",
    epochs: EpochsOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Run folder; by default runs/cv-RECIPE-DATE. Finished folds in it are kept, an "
            "unfinished fold is resumed.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Initial weights of every fold: detector.safetensors of a run without DATA.",
            show_default=False,
        ),
    ] = None,
    heads: HeadsOption = None,
    merge: Annotated[
        bool,
        typer.Option(
            "--merge",
            help="Write the mean of the folds' weights as detector.onnx into --output; needs the "
            "same initial weights, --weights.",
        ),
    ] = False,
    label: LabelOption = None,
    split: SplitOption = None,
    allow_leaks: AllowLeaksOption = False,
) -> None:
    """Train a detector per fold, and pool their answers.

    Each answers for the fold that was held out from it.

    For each held-out fold, the next fold chooses the epoch and calibrates, and the others are the
    training data. With validation_fold = 0 in the recipe, all others are the training data, and
    each detector is calibrated by the others' out-of-fold answers. Needs the extra `train`.
    """
    with needs_extra("train"):
        from meninx._assess.claim import claim_answers
        from meninx._assess.evaluation import evaluate_cases
        from meninx._assess.evaluation_report import Setting, write_evaluation
        from meninx._learn.fit.crossvalidation import (
            calibrate_out_of_fold,
            score_out_of_fold,
            train_folds,
            unseen_out_of_fold,
        )
        from meninx._learn.fit.merging import merge as merge_runs
        from meninx._learn.recipe import changed_recipe, read_recipe

    path = find_recipe(recipe)
    chosen = changed_recipe(read_recipe(path), epochs=epochs)
    folder = output or Path("runs") / f"cv-{path.stem}-{datetime.now():%Y%m%d-%H%M%S}"
    check_folder(folder, "--output")
    log_to(folder / "training.log", first=True)
    manifest = load_manifest(data, folder, label, split, allow_leaks=allow_leaks)
    if merge:
        _check_mergeable(weights, chosen)
    given = tuple(heads or ())
    files = train_folds(manifest, chosen, folder, weights=weights, heads=given)
    with progress_of() as progress:
        pictures, copies = unseen_out_of_fold(manifest, files, progress, usable_cores())
        cases = score_out_of_fold(pictures, files, progress, usable_cores())
    if not chosen.training.validation_fold:
        calibrator = calibrate_out_of_fold(cases, files)
        with progress_of() as progress:
            cases = score_out_of_fold(pictures, files, progress, usable_cores())
        if merge:
            runs = [file.parent for file in files.values()]
            merge_runs(manifest, chosen, runs, folder, calibrator, given)
    detectors = _load_detectors(files.values())
    models = [detector.model for detector in detectors.values()]
    result = evaluate_cases(cases, models, copies=copies, leaking=bool(manifest.leaks))
    how = (
        f"{len(manifest.folds)}-fold cross-validation with the recipe {chosen.name}: each case was "
        "scored by the detector that was neither trained nor validated on its fold."
    )
    answers = claim_answers(result, list(detectors.values()), str(data), None)
    setting = Setting(str(data), how, answers)
    write_evaluation(result, detectors, setting, folder)
    print_evaluation(result, folder)


def _load_detectors(files: Iterable[Path]) -> "dict[str, Detector]":
    """Return the detectors of the folds by their SHA-256."""
    from meninx._detect.loading import load_detector

    loaded = [load_detector(file, threads=1) for file in files]
    return {detector.model["sha256"]: detector for detector in loaded}


def _check_mergeable(weights: Path | None, recipe: "Recipe") -> None:
    """Check that the weights of the folds may be averaged."""
    if weights is None or recipe.training.validation_fold:
        raise OptionError(
            "--merge needs --weights and a recipe with validation_fold = 0, so that all folds "
            "begin alike; add them, or leave --merge out"
        )
