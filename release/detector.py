"""Train the shipped detector: on all people, and on each half of them for its calibration.

Trains both stages of recipes/meninx.toml from packs. A run that was stopped goes on when it is
started again. A GPU takes all trainings at once, a CPU one after the other. Run: python
release/detector.py PACK ... --output RUNS [--seeds 2]
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from candidates import HALVES, RECIPE, Job, figures, on_half, run_all, scored_halves

from meninx.learn.packing import unpack
from meninx.learn.recipe import Recipe, read_stages
from meninx.learn.throughput import network_throughput
from meninx.learn.training import WEIGHTS_NAME, training_device

PARTS = ("first", "second")


def jobs_of(
    packs: Sequence[Path], parts: Sequence[Recipe], output: Path, seeds: int
) -> list[list[Job]]:
    """Return the trainings of each part; the second part starts from the first's weights."""
    found: list[list[Job]] = []
    names = [(f"half-{half}", half, 0) for half in HALVES]
    names += [(f"all-{seed}", "", seed) for seed in range(seeds)]
    for number, (part, recipe) in enumerate(zip(PARTS, parts, strict=True)):
        found.append(
            [
                Job(
                    packs,
                    on_half(recipe, half, recipe.training.epochs, recipe.training.seed + seed),
                    output / part / name,
                    half,
                    output / PARTS[0] / name / WEIGHTS_NAME if number else None,
                )
                for name, half, seed in names
            ]
        )
    return found


def main() -> None:
    """Train both parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packs", type=Path, nargs="+")
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="in two stages")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--seeds", type=int, default=1, help="networks of all people; the first ships"
    )
    parser.add_argument("--at-once", type=int, default=8 if torch.cuda.is_available() else 1)
    options = parser.parse_args()
    recipes = read_stages(options.recipe)
    parts = jobs_of(options.packs, recipes, options.output, options.seeds)
    slices = sum(
        job.recipe.training.epochs * job.recipe.training.pictures_per_epoch
        for jobs in parts for job in jobs if not (job.folder / WEIGHTS_NAME).is_file()
    )  # fmt: skip
    hours = slices / network_throughput(recipes[0]) / 3600
    print(f"{slices:,} slices to go, about {hours:.1f} hours on {training_device()}", flush=True)
    unpack(options.packs, options.output / "unpacked")
    for part, jobs in zip(PARTS, parts, strict=True):
        run_all(jobs, options.at_once)
        print(part, json.dumps(figures(scored_halves(options.output / part, "half"))), flush=True)


if __name__ == "__main__":
    main()
