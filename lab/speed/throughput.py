"""Measure how fast this machine trains, and how fast the network alone would let it.

Run: python -m lab.speed.throughput [RECIPE.toml] [--precision 32-true] [--json FILE]; on several
GPUs: torchrun --standalone --nproc-per-node 2 -m lab.speed.throughput ...
"""

import argparse
import json
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch

from meninx._assess.speed import machine
from meninx._learn.fit.module import DetectorTraining
from meninx._learn.fit.trainer import precision_for, trainer_for, training_device
from meninx._learn.input.dataset import SliceDataset
from meninx._learn.input.preview import synthetic_examples
from meninx._learn.input.sampling import ShareSampler, TrainingLoader
from meninx._learn.recipe import PRECISIONS, Recipe, changed_recipe, read_recipe
from meninx._processes import is_first_process, local_rank, process_count

RECIPE = Path(__file__).parents[2] / "recipes" / "finetune.toml"
# Steps that fill caches and choose algorithms, and steps that count.
WARM_UP, STEPS = 2, 8
AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@dataclass(frozen=True)
class Throughput:
    """How fast a recipe is trained here.

    Args:
        device: Name of the GPU, or the CPU's number of threads.
        processes: Number of processes that train together.
        precision: Arithmetic, by Lightning's name.
        size: Side of the network's input, pixels.
        batch_size: Pictures a step and process.
        training: Pictures a second of all processes, drawn, augmented and learned from.
        network: Pictures a second of all processes if nothing but the network's forward and
            backward pass took time.
    """

    device: str
    processes: int
    precision: str
    size: int
    batch_size: int
    training: float
    network: float

    def as_json(self) -> dict[str, Any]:
        """Return the figures by name."""
        return {
            "device": self.device,
            "processes": self.processes,
            "precision": self.precision,
            "size in pixels": self.size,
            "batch of a process": self.batch_size,
            "pictures a second": self.training,
            "pictures a second of the network alone": self.network,
        }


def training_throughput(recipe: Recipe, steps: int = STEPS) -> Throughput:
    """Train a recipe's network for a few steps on synthetic slices, and measure.

    Args:
        recipe: Recipe with all settings; its data and shares do not matter.
        steps: Number of steps that count.

    Returns:
        What was measured.
    """
    # At the recipe's own size: the first epochs of some recipes have smaller pictures.
    training, processes = replace(recipe.training, smaller_sizes=()), process_count()
    recipe = replace(recipe, training=training)
    dataset = SliceDataset(list(synthetic_examples()), recipe.training_canvas)
    count = (WARM_UP + steps) * training.batch_size * processes
    sampler = ShareSampler(torch.ones(len(dataset)) / len(dataset), count, 0)
    loader = TrainingLoader(dataset.to(training_device()), sampler, training.batch_size)
    clock = _Clock(WARM_UP + steps - 1)
    trainer = trainer_for(
        training,
        [clock],
        max_steps=WARM_UP + steps,
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
    )
    trainer.fit(DetectorTraining(recipe), loader)
    return Throughput(
        device=_device_name(),
        processes=processes,
        precision=precision_for(training.precision),
        size=recipe.training_size,
        batch_size=training.batch_size,
        training=steps * training.batch_size * processes / clock.seconds,
        network=network_throughput(recipe) * processes,
    )


def network_throughput(recipe: Recipe, steps: int = STEPS // 2) -> float:
    """Return how many pictures a second the forward and backward pass alone allow in one process.

    Args:
        recipe: Recipe with all settings.
        steps: Number of steps that count.

    Returns:
        Pictures a second.
    """
    device, size = training_device(), recipe.training_size
    network = DetectorTraining(recipe).network.to(device).train()
    x = torch.rand(recipe.training.batch_size, 3, size, size, device=device)
    x = x.contiguous(memory_format=torch.channels_last)
    began = 0.0
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            _wait()
            began = time.perf_counter()
        with _autocast(device, precision_for(recipe.training.precision)):
            logits = network(x)[0]
        logits.float().sum().backward()
    _wait()
    return steps * len(x) / (time.perf_counter() - began)


class _Clock(lightning.Callback):
    """The time from the end of the last step that does not count to the end of the last one.

    A GPU is waited for at these two alone: meanwhile the next batch may be prepared.

    Args:
        last: Number of the last step, from 0.
    """

    def __init__(self, last: int) -> None:
        self._last = last
        self.seconds = self._began = 0.0

    def on_train_batch_end(self, *arguments: Any) -> None:
        """Look at the clock; the last argument is the number of the step."""
        step = arguments[-1]
        if step == WARM_UP - 1:
            _wait()
            self._began = time.perf_counter()
        elif step == self._last:
            _wait()
            self.seconds = time.perf_counter() - self._began


def _autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    dtype = AUTOCAST.get(precision)
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


def _wait() -> None:
    """Wait until a GPU has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _device_name() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name(local_rank())
    return f"CPU, {torch.get_num_threads()} threads"


def main() -> None:
    """Print the figures and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path, nargs="?", default=RECIPE)
    parser.add_argument("--precision", choices=PRECISIONS, help="that of the recipe by default")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    recipe = changed_recipe(read_recipe(options.recipe), precision=options.precision)
    found = training_throughput(recipe)
    if is_first_process():
        figures = {"machine": machine(), "recipe": recipe.name, **found.as_json()}
        print(json.dumps(figures, indent=2))
        if options.json:
            options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
