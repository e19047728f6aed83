"""Train the shipped detector: on all people, and on each half of them for its calibration.

Trains all stages of a recipe from packs. A stopped run resumes when it is started again. A GPU
trains all networks at once, a CPU one after the other. The weights of each network's last stage are
copied to RUNS/NAME. Run: python -m lab.release.detector PACK ... --output RUNS [--seeds 2]
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from lab.release.candidates import HALVES, RECIPE, Job, figures, on_half, run_all, scored_halves
from lab.release.packing import unpack
from lab.release.training import WEIGHTS_NAME
from lab.speed.throughput import network_throughput
from meninx._learn.fit.trainer import training_device
from meninx._learn.recipe import Recipe, read_stages

# Folders of the stages.
PARTS = ("first", "second", "third")


def jobs_of(
    packs: Sequence[Path], parts: Sequence[Recipe], output: Path, seeds: int
) -> list[list[Job]]:
    """Return the trainings of each network; a stage starts from the weights of the one before."""
    names = [(f"{stem_of(seed)}-{half}", half, seed) for seed in range(seeds) for half in HALVES]
    # One seed: a network of all people has no held-out people to compare seeds on.
    names.append(("all-0", "", 0))
    return [
        [
            Job(
                packs,
                on_half(recipe, half, recipe.training.epochs, recipe.training.seed + seed),
                output / part / name,
                half,
                output / PARTS[number - 1] / name / WEIGHTS_NAME if number else None,
            )
            for number, (part, recipe) in enumerate(zip(PARTS[: len(parts)], parts, strict=True))
        ]
        for name, half, seed in names
    ]


def stem_of(seed: int) -> str:
    """Return the name of both halves' networks of a seed; the first calibrates what ships."""
    return "half" if seed == 0 else f"half, seed {seed}"


def copy_weights(last: Path, output: Path) -> None:
    """Copy the weights of a network's last stage to the folder of its detector."""
    folder = output / last.name
    folder.mkdir(exist_ok=True)
    shutil.copyfile(last / WEIGHTS_NAME, folder / WEIGHTS_NAME)


def main() -> None:
    """Train all stages of all networks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packs", type=Path, nargs="+")
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="in up to three stages")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--seeds", type=int, default=1, help="networks per half; the first one calibrates"
    )
    parser.add_argument("--at-once", type=int, default=8 if torch.cuda.is_available() else 1)
    options = parser.parse_args()
    recipes = read_stages(options.recipe)
    networks = jobs_of(options.packs, recipes, options.output, options.seeds)
    slices = sum(
        job.recipe.training.epochs * job.recipe.training.pictures_per_epoch
        for jobs in networks
        for job in jobs
        if not (job.folder / WEIGHTS_NAME).is_file()
    )
    hours = slices / network_throughput(recipes[0]) / 3600
    print(
        f"{slices:,} slices to learn from, about {hours:.1f} hours on {training_device()}",
        flush=True,
    )
    unpack(options.packs, options.output / "unpacked")
    run_all(networks, options.at_once)
    for jobs in networks:
        copy_weights(jobs[-1].folder, options.output)
    for part in PARTS[: len(recipes)]:
        for seed in range(options.seeds):
            found = figures(scored_halves(options.output / part, stem_of(seed)))
            print(part, stem_of(seed), json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
