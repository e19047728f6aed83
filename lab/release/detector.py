"""Train the shipped detector: on all people, and on each half of them for its calibration.

Trains all stages of a recipe from packs. A stopped run resumes when it is started again. A GPU
trains all networks at once, a CPU one after the other. The weights of each network's last stage are
copied to RUNS/NAME. A network that is not finished leaves its part in lab/release/detectors/, from
which another machine goes on. Run: python -m lab.release.detector PACK ... --output RUNS
--detectors FOLDER [--seeds 2] [--minutes 150]
"""

import argparse
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from lab.release.candidates import (
    HALVES,
    RECIPE,
    SCORED,
    Job,
    add_to_table,
    figures_every_way,
    on_half,
    run_all,
    scored_halves,
)
from lab.release.packing import unpack
from lab.release.parts import Part, stage_of
from lab.release.training import WEIGHTS_NAME
from lab.speed.throughput import network_throughput
from meninx._learn.fit.trainer import training_device
from meninx._learn.recipe import Recipe, read_stages

# Length of a run for which the number of runs is estimated, minutes.
RUN_MINUTES = 150
# Folders of the stages.
STAGES = ("first", "second", "third")


def jobs_of(
    packs: Sequence[Path],
    recipes: Sequence[Recipe],
    output: Path,
    seeds: int,
    detectors: Path,
    ends: float | None = None,
) -> list[list[Job]]:
    """Return the trainings of each network; a stage starts from the weights of the one before.

    Args:
        packs: Packs of training slices.
        recipes: Recipe of each stage.
        output: Folder of the runs.
        seeds: Number of networks of each half.
        detectors: Folder of parts and of finished detectors; these are not trained again.
        ends: Time, as `time.time()` gives it, after which no further epoch begins; None for never.

    Returns:
        Stages of each network.
    """
    names = [(f"{stem_of(seed)}-{half}", half, seed) for seed in range(seeds) for half in HALVES]
    # One seed: a network of all people has no held-out people to compare seeds on.
    names.append(("all-0", "", 0))
    return [
        [
            Job(
                packs,
                on_half(recipe, half, recipe.training.epochs, recipe.training.seed + seed),
                output / STAGES[stage] / name,
                half,
                output / STAGES[stage - 1] / name / WEIGHTS_NAME if stage else None,
                part=Part(detectors / f"{name}.part.safetensors", stage),
                ends=ends,
            )
            for stage, recipe in enumerate(recipes)
        ]
        for name, half, seed in names
        if not (detectors / f"{name}.onnx").is_file()
    ]


def is_done(last: Job) -> bool:
    """Return whether the last stage of a network is trained and, of a half, scored."""
    trained = (last.folder / WEIGHTS_NAME).is_file()
    return trained and (not last.half or (last.folder / SCORED).is_file())


def slices_left(jobs: Sequence[Job]) -> int:
    """Return the number of slices that a network has still to learn from."""
    if (jobs[-1].folder / WEIGHTS_NAME).is_file():
        return 0
    first = stage_of(jobs[0].part.path) if jobs[0].part else 0
    return sum(
        job.recipe.training.pictures_per_epoch
        * (job.recipe.training.epochs - (job.part.epochs(job.recipe) if job.part else 0))
        for job in jobs[first:]
    )


def stem_of(seed: int) -> str:
    """Return the name of both halves' networks of a seed; the first calibrates what ships."""
    return "half" if seed == 0 else f"half, seed {seed}"


def copy_weights(last: Path, output: Path) -> None:
    """Copy the weights of a network's last stage to the folder of its detector."""
    folder = output / last.name
    folder.mkdir(exist_ok=True)
    shutil.copyfile(last / WEIGHTS_NAME, folder / WEIGHTS_NAME)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train all stages of all networks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packs", type=Path, nargs="+")
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="in up to three stages")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--detectors", type=Path, required=True, help="finished networks and parts, to commit"
    )
    parser.add_argument(
        "--seeds", type=int, default=1, help="networks per half; the first one calibrates"
    )
    parser.add_argument("--at-once", type=int, default=8 if torch.cuda.is_available() else 1)
    parser.add_argument(
        "--minutes", type=float, help="stop after the epoch in which they are over; leaves parts"
    )
    options = parser.parse_args(arguments)
    recipes = read_stages(options.recipe)
    ends = None if options.minutes is None else time.time() + 60 * options.minutes
    networks = jobs_of(
        options.packs, recipes, options.output, options.seeds, options.detectors, ends
    )
    slices = sum(map(slices_left, networks))
    if slices:
        speed = network_throughput(recipes[0])
        runs = math.ceil(slices / speed / 60 / RUN_MINUTES)
        print(
            f"{slices:,} slices to learn from, at most {speed:.0f} a second on "
            f"{training_device()}: {slices / speed / 3600:.1f} hours, or {runs} runs of "
            f"{RUN_MINUTES} minutes",
            flush=True,
        )
    # Those that were trained elsewhere need no process.
    if left := [jobs for jobs in networks if not is_done(jobs[-1])]:
        unpack(options.packs, options.output / "unpacked")
        run_all(left, options.at_once)
    finished = [jobs for jobs in networks if (jobs[-1].folder / WEIGHTS_NAME).is_file()]
    for jobs in finished:
        copy_weights(jobs[-1].folder, options.output)
    if len(finished) < len(networks):
        print(
            f"not finished: commit the parts in {options.detectors}, and run this again", flush=True
        )
        return
    last = options.output / STAGES[len(recipes) - 1]
    add_to_table(dict(figures_of_seeds(last, options.seeds)), options.output)


def figures_of_seeds(stage: Path, seeds: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the figures of each seed, by their names in the table of candidates.

    Args:
        stage: Folder of the last stage.
        seeds: Number of networks of each half.
    """
    for seed in range(seeds):
        stem = stem_of(seed)
        folders = [stage / f"{stem}-{half}" for half in HALVES]
        # Networks that were finished on another machine are scored there.
        if all((folder / SCORED).is_file() for folder in folders):
            name = f"{stage.name} part, another seed" if seed else f"{stage.name} part"
            yield name, figures_every_way(scored_halves(stage, stem))


if __name__ == "__main__":
    main()
