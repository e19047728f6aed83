"""Compare candidates for the shipped detector on held-out people.

Each candidate is trained on each half of the people (people.py) and scored on the other half. One
criterion, fixed before the first training (docs/protocol.md), decides. Several trainings share one
GPU. Run: python -m lab.release.candidates PACK ... --output RUNS
"""

import argparse
import dataclasses
import json
import multiprocessing
import signal
import sys
import tomllib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file

from lab.release.packing import subset, unpack, without_folds
from lab.release.parts import Part, stage_of
from lab.release.planes import plane_of
from lab.release.training import WEIGHTS_NAME, train_unpacked
from meninx._assess.metrics import auroc
from meninx._detect.preprocessing import Preprocessing
from meninx._learn.file.export import load_weights
from meninx._learn.fit.trainer import training_device
from meninx._learn.input.dataset import CONTEXT, TUMOR_FREE, SliceDataset
from meninx._learn.model.network import CellNetwork
from meninx._learn.recipe import Recipe, read_recipe

RECIPE = Path(__file__).parents[2] / "recipes" / "meninx.toml"
CANDIDATES = Path(__file__).with_suffix(".toml")
# Folds of lab/release/people.py that each half leaves out.
HALVES = {"a": (5, 6), "b": (5, 7)}
PEOPLE_FOLD = {"a": 6, "b": 7}
SEQUENCES = ("FLAIR", "T1", "T1c")
# Source of slices that are no scans of people.
SIMULATED = "simulated"
# How the held-out people are scored: their scans as they were taken, with neighbors; each slice
# alone; and heads cut in the other two planes.
TAKEN, ALONE, OTHER_PLANES = "taken", "alone", "other planes"
# Smallest area of the head, as a share of the largest slice, and of a tumor, as a share of the
# slice, for a slice to count; the same as for volumes.
MIN_HEAD, MIN_TUMOR = 0.5, 0.0008
HOTTEST_SLICES = 3
# Key of a candidate for the sources that it does not learn from; its other keys are the recipe's.
UNSEEN = "unseen"
# Weight of the AUROC of scans in the criterion.
PENALTY = 0.5
# File in a run folder with the scores of its held-out people.
SCORED = "scored.json"


def with_changes(recipe: Recipe, changes: dict[str, dict[str, Any]]) -> Recipe:
    """Return a recipe with some of its tables' values changed."""
    parts = {
        table: dataclasses.replace(getattr(recipe, table), **values)
        for table, values in changes.items()
    }
    return dataclasses.replace(recipe, **parts)


def on_half(recipe: Recipe, half: str, epochs: int, seed: int = 0) -> Recipe:
    """Return a recipe that leaves one half of the people out; an empty name leaves out none."""
    left_out = HALVES.get(half, ())
    return with_changes(
        recipe, {"training": {"left_out": left_out, "epochs": epochs, "seed": seed}}
    )


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


# Scans by sequence, each with the labels and scores of its slices.
Scores = dict[str, list[dict[str, Any]]]


def without_neighbors(dataset: SliceDataset) -> SliceDataset:
    """Return the same slices, each of which stands in for its neighbors, as in a single picture."""
    facts = [dataclasses.replace(fact, below=0, above=0) for fact in dataset.facts]
    return SliceDataset.of_planes(dataset.image, dataset.mask, dataset.depth, facts)


def scored_every_way(weights: Path, dataset: SliceDataset, size: int) -> dict[str, Scores]:
    """Return the scores of the scans of a data set, as taken, alone and in other planes."""
    cells = cell_logits(weights, dataset, size)
    alone = cell_logits(weights, without_neighbors(dataset), size)
    return {
        TAKEN: scores_of_scans(dataset, cells, other_planes=False),
        ALONE: scores_of_scans(dataset, alone, other_planes=False),
        OTHER_PLANES: scores_of_scans(dataset, cells, other_planes=True),
    }


def scores_of_scans(dataset: SliceDataset, cells: np.ndarray, *, other_planes: bool) -> Scores:
    """Return the labels and scores of the slices of every scan, by sequence.

    Args:
        dataset: Slices n.
        cells: Their fine cells, shape (n, m, m).
        other_planes: Whether to return those cut in other planes, or those as they were taken.
    """
    flat = np.sort(cells.reshape(len(cells), -1), axis=1)
    scores = flat[:, -CellNetwork.top_cells :].mean(1)
    heads = (dataset.depth > 0).flatten(1).float().mean(1).numpy()
    covered = (dataset.mask > 127).flatten(1).float().mean(1).numpy()
    stacks: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for index, fact in enumerate(dataset.facts):
        if fact.kind == CONTEXT or not fact.person or fact.source == SIMULATED:
            continue
        if bool(plane_of(fact.source)) == other_planes:
            stacks[fact.source, fact.person, fact.sequence].append(index)
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for (source, person, sequence), members in stacks.items():
        own = np.array(members)
        has_tumor = any(dataset.facts[index].kind != TUMOR_FREE for index in members)
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
                "source": source,
                "person": person,
                "tumor": has_tumor,
                "slices": (covered[own][counted] > 0).tolist(),
                "scores": scores[own][counted].astype(float).tolist(),
                "scan": float(np.sort(scores[own])[-HOTTEST_SLICES:].mean()),
                "peaks": peaks,
            }
        )
    return dict(found)


def figures_every_way(halves: Sequence[dict[str, Scores]]) -> dict[str, Any]:
    """Return a candidate's figures over the people of both halves.

    Returns:
        Those of scans as they were taken, with the criterion `number`; and the same of slices
        alone and of heads in other planes under keys of their own.
    """
    ways = {way: figures([half[way] for half in halves]) for way in (TAKEN, ALONE, OTHER_PLANES)}
    return ways.pop(TAKEN) | ways


def figures(halves: Sequence[Scores]) -> dict[str, Any]:
    """Return figures over the people of both halves; the criterion `number` if any has a tumor."""
    result: dict[str, Any] = {}
    within_all, scans_all = [], []
    for sequence in SEQUENCES:
        pooled, within, scans, peaks = [], [], [], []
        for half in halves:
            tumors = [scan for scan in half.get(sequence, []) if scan["tumor"]]
            if not tumors:
                continue
            pooled.append(
                auroc(
                    np.concatenate([scan["slices"] for scan in tumors]),
                    np.concatenate([scan["scores"] for scan in tumors]),
                )
            )
            within += [auroc(np.array(scan["slices"]), np.array(scan["scores"])) for scan in tumors]
            peaks += [peak for scan in tumors for peak in scan["peaks"]]
            # Tumors in T1c are compared with all sequences of tumor-free people, who have hardly
            # any T1c.
            free = [
                scan["scan"]
                for name in half
                for scan in half[name]
                if not scan["tumor"] and (name == sequence or sequence == "T1c")
            ]
            values = np.array([scan["scan"] for scan in tumors] + free)
            scans.append(auroc(np.arange(len(values)) < len(tumors), values))
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
    if within_all:
        result["number"] = float(np.mean(within_all) - PENALTY * (1 - np.mean(scans_all)))
    return result


@dataclasses.dataclass(frozen=True)
class Job:
    """One training.

    Args:
        packs: Packs of training slices.
        recipe: Recipe with all settings.
        folder: Run folder; packs are unpacked beside it.
        half: Name of the half that it leaves out and is scored on; empty for all people.
        weights: File of the first weights; None for random ones.
        unseen: Further sources that it does not learn from; their held-out people are scored too.
        part: Part of the network to go on from and to write; None for none.
        ends: Time, as `time.time()` gives it, after which no further epoch begins; None for never.
    """

    packs: Sequence[Path]
    recipe: Recipe
    folder: Path
    half: str = ""
    weights: Path | None = None
    unseen: Sequence[str] = ()
    part: Part | None = None
    ends: float | None = None


def train(job: Job) -> bool:
    """Train one network; return whether it is finished: the time may be up before."""
    job.folder.mkdir(parents=True, exist_ok=True)
    if torch.cuda.is_available():
        # Progress bars of several trainings would overwrite each other.
        sys.stdout = sys.stderr = (job.folder / "training.log").open("a", buffering=1)
        torch.set_num_threads(2)
    whole = _unpacked(job)
    # Slices cut in another plane belong to the same source.
    sources = [fact.source.partition(", ")[0] for fact in whole.facts]
    if missing := set(job.unseen) - set(sources):
        raise SystemExit(f"no such source: {', '.join(missing)}")
    learned = subset(whole, [source not in job.unseen for source in sources])
    weights = train_unpacked(learned, job.recipe, job.folder, job.weights, job.part, job.ends)
    return weights is not None


def score(job: Job) -> None:
    """Score the half of the people that a trained network left out, unless that was done."""
    if not job.half or (job.folder / SCORED).is_file():
        return
    whole = _unpacked(job)
    folds = {fact.fold for fact in whole.facts} - {PEOPLE_FOLD[job.half]}
    own = without_folds(whole, folds)
    found = scored_every_way(job.folder / WEIGHTS_NAME, own, job.recipe.preprocessing.size)
    (job.folder / SCORED).write_text(json.dumps(found))


def _unpacked(job: Job) -> SliceDataset:
    return unpack(job.packs, job.folder.parents[1] / "unpacked")


def train_stages(jobs: Sequence[Job]) -> None:
    """Train the stages of one network, from the one that its part belongs to; score the last."""
    first = stage_of(jobs[0].part.path) if jobs[0].part else 0
    for job, following in zip(jobs[first:], [*jobs[first + 1 :], None], strict=True):
        if not train(job):
            return
        if following and following.part and not following.part.exists:
            weights = load_file(job.folder / WEIGHTS_NAME)
            following.part.write(weights, following.recipe, epochs=0)
    score(jobs[-1])


def run_all(networks: Sequence[Sequence[Job]], at_once: int) -> None:
    """Train networks, several at a time, each in its own process, stage after stage."""
    # The processes of a pool outlive a parent that is terminated without leaving the `with`.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(at_once, len(networks)), maxtasksperchild=1) as pool:
        pool.map(train_stages, networks, chunksize=1)


def main() -> None:
    """Compare the candidates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packs", type=Path, nargs="+")
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=3, help="of each candidate")
    parser.add_argument("--at-once", type=int, default=8 if torch.cuda.is_available() else 1)
    parser.add_argument("--only", nargs="*", help="candidates; all by default")
    parser.add_argument("--seed", type=int, default=0, help="of the trainings; 0 chose the recipe")
    options = parser.parse_args()
    base = read_recipe(options.recipe)
    table = tomllib.loads(CANDIDATES.read_text(encoding="utf-8"))
    seed = options.seed
    folder = options.output / "candidates"
    jobs, names = [], {}
    for name in options.only or table:
        changes = dict(table[name])
        unseen = changes.pop(UNSEEN, ())
        recipe = with_changes(base, changes)
        names[name] = f"{name}, seed {seed}" if seed else name
        for half in HALVES:
            halved = on_half(recipe, half, options.epochs, seed)
            jobs.append(
                Job(options.packs, halved, folder / f"{names[name]}-{half}", half, unseen=unseen)
            )
    unpack(options.packs, options.output / "unpacked")
    run_all([[job] for job in jobs], options.at_once)
    found = {name: figures_every_way(scored_halves(folder, name)) for name in names.values()}
    add_to_table(found, options.output)


def add_to_table(found: dict[str, dict[str, Any]], output: Path) -> None:
    """Print figures by name, and add them to the table of candidates in a run folder."""
    for name, own in found.items():
        print(name, json.dumps(own), flush=True)
    path = output / "candidates.json"
    before = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(before | found, indent=1) + "\n", encoding="utf-8")


def scored_halves(output: Path, name: str) -> list[dict[str, Scores]]:
    """Return the scores of the two networks of a name, each on its held-out people."""
    return [json.loads((output / f"{name}-{half}" / SCORED).read_text()) for half in HALVES]


if __name__ == "__main__":
    main()
