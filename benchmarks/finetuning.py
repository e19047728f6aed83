"""Compare learning from 50 pictures of one's own: from given weights, and from scratch.

Each fold of a collection in turn is all that is learned from; the other folds are the test.
Run: python benchmarks/finetuning.py DATA --weights FILE --output RUNS [--json FILE]
DATA needs folds that share no slice (`meninx prepare`); FILE must come from a run that saw none.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np

from meninx.assess.cases import Case, clusters_of, score_cases
from meninx.assess.intervals import bootstrap_weights, bounded_interval
from meninx.assess.metrics import weighted_auroc
from meninx.cli.train import find_recipe
from meninx.data.manifest import Manifest, read_manifest
from meninx.detect.detector import load_detector
from meninx.learn.recipe import Recipe, read_recipe, with_initialization
from meninx.learn.training import DETECTOR_NAME, train


def whole(recipe: Recipe) -> Recipe:
    """Return a recipe that learns from all it is given; the last epoch counts."""
    training = dataclasses.replace(recipe.training, validation_fold=0, test_fold=0)
    sampling = dataclasses.replace(recipe.sampling, calibration_phantoms=0)
    return dataclasses.replace(recipe, training=training, sampling=sampling)


def answers(
    manifest: Manifest, recipe: Recipe, weights: Path | None, output: Path
) -> list[list[Case]]:
    """Return, for each fold that was learned from, the cases of all others."""
    cases = []
    for fold in manifest.folds:
        own = dataclasses.replace(manifest, pictures=manifest.fold(fold))
        folder = output / f"from-fold-{fold}"
        if not (folder / DETECTOR_NAME).is_file():
            train(own, recipe, folder, weights=weights)
        detector = load_detector(folder / DETECTOR_NAME, threads=1)
        cases.append(score_cases(detector, manifest.without_fold(fold), workers=2))
    return cases


def auroc_of(
    manifest: Manifest, parts: list[list[Case]]
) -> tuple[list[float], tuple[float, float, float]]:
    """Return the AUROC of each part, and their mean with its interval."""
    cluster = np.array(clusters_of(manifest.pictures))
    # Parts overlap: each draw of slices serves all of them.
    weights = dict(
        zip((one.id for one in manifest.pictures), bootstrap_weights(cluster).T, strict=True)
    )
    values, drawn = [], []
    for part in parts:
        tumor = np.array([case.picture.tumor for case in part])
        score = np.array([case.findings.probability or 0.0 for case in part])
        values.append(float(weighted_auroc(tumor, score, np.ones(len(tumor)))))
        own = np.stack([weights[case.picture.id] for case in part], axis=1)
        drawn.append(weighted_auroc(tumor, score, own))
    mean = float(np.mean(values))
    low, high = bounded_interval(mean, np.mean(drawn, axis=0), len(np.unique(cluster)))
    return values, (mean, low, high)


def main() -> None:
    """Print a table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    manifest = read_manifest(options.data)
    finetune = whole(with_initialization(read_recipe(find_recipe("finetune")), "random"))
    seed = whole(read_recipe(find_recipe("seed")))
    ways = {
        "fine-tuned": (finetune, options.weights),
        "the same from scratch": (finetune, None),
        "seed recipe from scratch": (seed, None),
    }
    table = {}
    for name, (recipe, weights) in ways.items():
        parts = answers(manifest, recipe, weights, options.output / name.replace(" ", "-"))
        values, (mean, low, high) = auroc_of(manifest, parts)
        table[name] = {"folds": values, "mean": [mean, low, high]}
        told = " ".join(f"{value:.3f}" for value in values)
        print(f"{name}: {mean:.3f} [{low:.3f}, {high:.3f}], folds {told}", flush=True)
    if options.json:
        pictures = [len(manifest.fold(fold)) for fold in manifest.folds]
        options.json.write_text(json.dumps({"learned from": pictures, "auroc": table}, indent=2))


if __name__ == "__main__":
    main()
