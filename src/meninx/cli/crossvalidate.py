"""Train and test by turns: `meninx crossvalidate DATA --recipe NAME`."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from meninx.cli.data_options import (
    ALLOW_LEAKS_OPTION,
    LABEL_OPTION,
    LabelOption,
    cores,
    load_manifest,
    progress_of,
)
from meninx.cli.evaluate import show
from meninx.cli.extras import needs_extra
from meninx.cli.train import find_recipe, log_to


def crossvalidate(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="Class folders, volumes beside their masks, or a manifest."
        ),
    ],
    recipe: Annotated[str, typer.Option(help="Name of a shipped recipe, or a TOML file.")] = "seed",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Instead of the recipe's.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder; by default runs/cv-RECIPE-DATE. Finished folds in it are taken as they "
            "are, an unfinished one goes on.",
            show_default=False,
        ),
    ] = None,
    label: Annotated[LabelOption, LABEL_OPTION] = None,
    allow_leaks: Annotated[bool, ALLOW_LEAKS_OPTION] = False,
) -> None:
    """Train one detector a fold and pool what each says of the fold that it never saw.

    For each fold the next one chooses the epoch and calibrates; the others are learned from. Needs
    the extra `train`.
    """
    from dataclasses import replace

    with needs_extra("train"):
        from meninx.assess.cases import score_cases
        from meninx.assess.evaluation import evaluate_cases
        from meninx.assess.evaluation_report import Setting, claim_answers, write_evaluation
        from meninx.learn.crossvalidation import train_folds
        from meninx.learn.recipe import read_recipe
    from meninx.detect.detector import load_detector

    path = find_recipe(recipe)
    chosen = read_recipe(path)
    if epochs is not None:
        chosen = replace(chosen, training=replace(chosen.training, epochs=epochs))
    folder = output or Path("runs") / f"cv-{path.stem}-{datetime.now():%Y%m%d-%H%M%S}"
    log_to(folder / "training.log", first=True)
    manifest = load_manifest(data, folder, label, allow_leaks=allow_leaks)
    cases, detectors = [], {}
    for fold, file in train_folds(manifest, chosen, folder):
        detector = load_detector(file, threads=1)
        detectors[detector.model["sha256"]] = detector
        with progress_of() as progress:
            cases += score_cases(detector, manifest.fold(fold), progress, cores())
    models = [detector.model for detector in detectors.values()]
    result = evaluate_cases(cases, models, leaking=bool(manifest.leaks))
    how = (
        f"{len(manifest.folds)}-fold cross-validation with the recipe {chosen.name}: each case was "
        "judged by the detector that neither learned from its fold nor chose its epoch by it."
    )
    cards = [detector.card for detector in detectors.values()]
    setting = Setting(str(data), how, claim_answers(result, cards, str(data), None))
    write_evaluation(result, detectors, setting, folder)
    show(result, folder)
