"""Compare candidates for the shipped detector by people that they never saw.

Each candidate is trained twice, once on each half of the people (release/people.py), and judged
by the other half; one number decides, as docs/evidence.md wrote down before the first training.
Several trainings share one GPU. Run: python release/candidates.py PACK ... --output RUNS
"""

import argparse
import dataclasses
import json
import multiprocessing
import sys
import tomllib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from meninx.assess.metrics import auroc
from meninx.detect.preprocessing import Preprocessing
from meninx.learn.dataset import CONTEXT, TUMOR_FREE, SliceDataset
from meninx.learn.export import load_weights
from meninx.learn.network import CellNetwork
from meninx.learn.packing import unpack
from meninx.learn.recipe import Recipe, read_recipe
from meninx.learn.training import train_unpacked, training_device

RECIPE = Path(__file__).parents[1] / "recipes" / "meninx.toml"
CANDIDATES = Path(__file__).with_suffix(".toml")
# Of release/people.py: what each half leaves out.
HALVES = {"a": (5, 6), "b": (5, 7)}
PEOPLE_FOLD = {"a": 6, "b": 7}
SEQUENCES = ("FLAIR", "T1", "T1c")
# Slices that count, as for volumes: half of the fullest one's head, tumor on 0.08 % or on nothing.
MIN_HEAD, MIN_TUMOR = 0.5, 0.0008
HOTTEST_SLICES = 3
# Weight of tumor-free people's scans against those with tumor in the number that decides.
PENALTY = 0.5
JUDGED = "judged.json"


def changed(recipe: Recipe, changes: dict[str, dict[str, Any]]) -> Recipe:
    """Return a recipe with some of its tables' values changed."""
    parts = {
        table: dataclasses.replace(getattr(recipe, table), **values)
        for table, values in changes.items()
    }
    return dataclasses.replace(recipe, **parts)


def on_half(recipe: Recipe, half: str, epochs: int, seed: int = 0) -> Recipe:
    """Return a recipe that leaves one half of the people out; an empty name leaves out none."""
    left_out = HALVES.get(half, ())
    return changed(recipe, {"training": {"left_out": left_out, "epochs": epochs, "seed": seed}})


def cell_logits(weights: Path, dataset: SliceDataset, size: int) -> np.ndarray:
    """Return the fine cells of every example, shape (n, m, m)."""
    device, preprocessing = training_device(), Preprocessing()
    network = CellNetwork()
    load_weights(network, weights)
    network.to(device).eval()
    found = []
    with torch.inference_mode():
        for batch in dataset.to(device).batches(128):
            image = batch.image
            if image.shape[-1] != size:
                image = F.interpolate(image, (size, size), mode="bilinear", antialias=True)
            x = (image - preprocessing.mean) / preprocessing.std
            found.append(network(x)[0].float().cpu().numpy())
    return np.concatenate(found)


def judged(dataset: SliceDataset, cells: np.ndarray) -> dict[str, list[dict[str, Any]]]:
    """Return, for every scan, its slices' labels and scores, by sequence."""
    flat = np.sort(cells.reshape(len(cells), -1), axis=1)
    scores = flat[:, -CellNetwork.top_cells :].mean(1)
    heads = (dataset.depth > 0).flatten(1).float().mean(1).numpy()
    covered = (dataset.mask > 127).flatten(1).float().mean(1).numpy()
    stacks: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for index, one in enumerate(dataset.facts):
        if one.kind != CONTEXT and one.person and one.source != "simulated":
            stacks[one.source, one.person, one.sequence].append(index)
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for (source, person, sequence), members in stacks.items():
        own = np.array(members)
        sick = any(dataset.facts[index].kind != TUMOR_FREE for index in members)
        counted = heads[own] >= MIN_HEAD * heads[own].max()
        counted &= (covered[own] == 0) | (covered[own] >= MIN_TUMOR)
        peaks = []
        for index in own[counted & (covered[own] > 0)]:
            row, column = divmod(int(cells[index].argmax()), cells.shape[2])
            side = dataset.mask.shape[1] / cells.shape[1]
            place = (int((row + 0.5) * side), int((column + 0.5) * side))
            peaks.append(bool(dataset.mask[index, place[0], place[1]] > 127))
        found[sequence].append(
            {
                "source": source, "person": person, "tumor": sick,
                "slices": (covered[own][counted] > 0).tolist(),
                "scores": scores[own][counted].astype(float).tolist(),
                "scan": float(np.sort(scores[own])[-HOTTEST_SLICES:].mean()), "peaks": peaks,
            }
        )  # fmt: skip
    return dict(found)


def figures(halves: Sequence[dict[str, list[dict[str, Any]]]]) -> dict[str, Any]:
    """Return a candidate's figures over the people of both halves, and the one that decides."""
    result: dict[str, Any] = {}
    within_all, scans_all = [], []
    for sequence in SEQUENCES:
        pooled, within, scans, peaks = [], [], [], []
        for half in halves:
            sick = [one for one in half.get(sequence, []) if one["tumor"]]
            if not sick:
                continue
            pooled.append(
                auroc(
                    np.concatenate([one["slices"] for one in sick]),
                    np.concatenate([one["scores"] for one in sick]),
                )
            )
            within += [auroc(np.array(one["slices"]), np.array(one["scores"])) for one in sick]
            peaks += [peak for one in sick for peak in one["peaks"]]
            # Tumor-free people have hardly a T1c: every other sequence of theirs stands against it.
            free = [one["scan"] for name in half for one in half[name]
                    if not one["tumor"] and (name == sequence or sequence == "T1c")]  # fmt: skip
            values = np.array([one["scan"] for one in sick] + free)
            scans.append(auroc(np.arange(len(values)) < len(sick), values))
        if not pooled:
            continue
        result[sequence] = {
            "pooled": float(np.mean(pooled)),
            "within": float(np.nanmean(within)),
            "peak": float(np.mean(peaks)),
            "scans": float(np.mean(scans)),
        }
        within_all.append(0.5 * (result[sequence]["pooled"] + result[sequence]["within"]))
        scans_all.append(result[sequence]["scans"])
    result["number"] = float(np.mean(within_all) - PENALTY * (1 - np.mean(scans_all)))
    return result


@dataclasses.dataclass(frozen=True)
class Job:
    """One training.

    Args:
        packs: What it learns from.
        recipe: All choices.
        folder: Run folder; packs are unpacked beside it.
        half: That it leaves out and is judged by; empty for all people.
        weights: To start from; None for random ones.
    """

    packs: Sequence[Path]
    recipe: Recipe
    folder: Path
    half: str = ""
    weights: Path | None = None


def trained(job: Job) -> None:
    """Train one network, and judge it by the people of the half that it left out."""
    job.folder.mkdir(parents=True, exist_ok=True)
    if torch.cuda.is_available():
        # Several trainings at a time would write over each other's bars.
        sys.stdout = sys.stderr = (job.folder / "training.log").open("a", buffering=1)
        torch.set_num_threads(2)
    whole = unpack(job.packs, job.folder.parents[1] / "unpacked")
    weights = train_unpacked(whole, job.recipe, job.folder, job.weights)
    if job.half and not (job.folder / JUDGED).is_file():
        folds = {one.fold for one in whole.facts} - {PEOPLE_FOLD[job.half]}
        own = whole.without_folds(folds)
        found = judged(own, cell_logits(weights, own, job.recipe.preprocessing.size))
        (job.folder / JUDGED).write_text(json.dumps(found))


def run_all(jobs: Sequence[Job], at_once: int) -> None:
    """Run trainings, several at a time, each in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(at_once, len(jobs)), maxtasksperchild=1) as pool:
        pool.map(trained, jobs, chunksize=1)


def main() -> None:
    """Compare the candidates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packs", type=Path, nargs="+")
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=3, help="of each candidate")
    parser.add_argument("--at-once", type=int, default=8 if torch.cuda.is_available() else 1)
    parser.add_argument("--only", nargs="*", help="candidates; all by default")
    options = parser.parse_args()
    base = read_recipe(options.recipe)
    table = tomllib.loads(CANDIDATES.read_text(encoding="utf-8"))
    recipes = {name: changed(base, table[name]) for name in options.only or table}
    folder = options.output / "candidates"
    jobs = [
        Job(options.packs, on_half(recipe, half, options.epochs), folder / f"{name}-{half}", half)
        for name, recipe in recipes.items()
        for half in HALVES
    ]
    unpack(options.packs, options.output / "unpacked")  # once, before processes ask for it
    run_all(jobs, options.at_once)
    found = {name: figures(judged_halves(folder, name)) for name in recipes}
    for name, own in found.items():
        print(name, json.dumps(own))
    (options.output / "candidates.json").write_text(json.dumps(found, indent=1))


def judged_halves(output: Path, name: str) -> list[dict[str, Any]]:
    """Return how the two networks of a name were judged, each by people that it never saw."""
    return [json.loads((output / f"{name}-{half}" / JUDGED).read_text()) for half in HALVES]


if __name__ == "__main__":
    main()
