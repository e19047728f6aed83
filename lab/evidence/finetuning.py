"""Compare training on 50 pictures: from given weights, and from scratch.

Each fold of a collection in turn is the training data. The test pictures are those whose slice the
weights were not trained on, by a JSON file with the folds of each slice.
Run: python -m lab.evidence.finetuning MANIFEST --weights FILE --overlap JSON --fold 1 --output RUNS
"""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np

from meninx._assess.cases import Case, clusters_of, score_cases
from meninx._assess.intervals import bootstrap_weights, bounded_interval
from meninx._assess.metrics import weighted_auroc
from meninx._cli.options import find_recipe
from meninx._data.manifest import Manifest, Picture, read_manifest
from meninx._detect.loading import load_detector
from meninx._learn.fit.training import DETECTOR_NAME, train
from meninx._learn.recipe import Recipe, changed_recipe, read_recipe

WAYS = ("fine-tuned", "the same from scratch", "seed recipe from scratch")


def whole(recipe: Recipe) -> Recipe:
    """Return a recipe without held-out folds, whose last epoch is used."""
    training = dataclasses.replace(recipe.training, validation_fold=0, test_fold=0)
    sampling = dataclasses.replace(recipe.sampling, calibration_phantoms=0)
    return dataclasses.replace(recipe, training=training, sampling=sampling)


def parted(manifest: Manifest, overlap: Path, fold: int) -> tuple[list[Picture], Manifest]:
    """Return the test pictures, and the other pictures without their slices."""
    folds = json.loads(overlap.read_text(encoding="utf-8"))
    unseen = [name for name, found in folds.items() if found in ([], [fold])]
    cluster = clusters_of(manifest.pictures)
    named = [
        any(picture.picture.as_posix().endswith(f"/{name}") for name in unseen)
        for picture in manifest.pictures
    ]
    held = {own for own, chosen in zip(cluster, named, strict=True) if chosen}
    # Slices with a copy in the training data of the weights are no test, and no slice is in both.
    known = {own for own, chosen in zip(cluster, named, strict=True) if not chosen}
    both = zip(manifest.pictures, cluster, strict=True)
    test = [picture for picture, own in both if own in held - known]
    both = zip(manifest.pictures, cluster, strict=True)
    rest = tuple(picture for picture, own in both if own not in held)
    return test, dataclasses.replace(manifest, pictures=rest)


def answers(
    test: list[Picture],
    rest: Manifest,
    recipe: Recipe,
    weights: Path | None,
    output: Path,
    parts: int,
) -> list[list[Case]]:
    """Return, for each part that was learned from, the cases of the test."""
    cases = []
    for fold in rest.folds[:parts]:
        own = dataclasses.replace(rest, pictures=rest.fold(fold))
        folder = output / f"from-fold-{fold}"
        if not (folder / DETECTOR_NAME).is_file():
            train(own, recipe, folder, weights=weights)
        cases.append(score_cases(load_detector(folder / DETECTOR_NAME, threads=1), test, workers=2))
    return cases


def auroc_of(test: list[Picture], parts: list[list[Case]]) -> dict[str, list[float]]:
    """Return the AUROC of each part, and their mean with its interval over slices."""
    cluster = np.array(clusters_of(test))
    weights = bootstrap_weights(cluster)
    tumor = np.array([picture.tumor for picture in test])
    values, drawn = [], []
    for part in parts:
        score = np.array([case.findings.probability or 0.0 for case in part])
        values.append(float(weighted_auroc(tumor, score, np.ones(len(tumor)))))
        drawn.append(weighted_auroc(tumor, score, weights))
    mean = float(np.mean(values))
    interval = bounded_interval(mean, np.mean(drawn, axis=0), len(np.unique(cluster)))
    return {"parts": values, "mean": [mean, *interval]}


def main() -> None:
    """Print a table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--overlap", type=Path, required=True)
    parser.add_argument("--fold", type=int, required=True, help="that the weights never saw")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--parts", type=int, default=5, help="how many folds to learn from in turn")
    parser.add_argument("--ways", nargs="*", default=list(WAYS), help="which of them to compare")
    options = parser.parse_args()
    test, rest = parted(read_manifest(options.data), options.overlap, options.fold)
    learned = [len(rest.fold(fold)) for fold in rest.folds[: options.parts]]
    tumors = sum(picture.tumor for picture in test)
    print(f"learned from {learned} pictures, tested on {len(test)}, {tumors} of tumors", flush=True)
    finetune = whole(changed_recipe(read_recipe(find_recipe("finetune")), "random"))
    seed = whole(read_recipe(find_recipe("seed")))
    given = ((finetune, options.weights), (finetune, None), (seed, None))
    ways = dict(zip(WAYS, given, strict=True))
    table = {}
    for name in options.ways:
        recipe, weights = ways[name]
        output = options.output / name.replace(" ", "-")
        table[name] = auroc_of(test, answers(test, rest, recipe, weights, output, options.parts))
        mean, low, high = table[name]["mean"]
        parts = " ".join(f"{value:.3f}" for value in table[name]["parts"])
        print(f"{name}: {mean:.3f} [{low:.3f}, {high:.3f}], each {parts}", flush=True)
    if options.json:
        report = {"learned from": learned, "tested on": len(test), "auroc": table}
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
