"""Time the network that a detector's speed is compared with, in the same run."""

import time

import torch
from torchvision.models import resnet18

from meninx._assess.speed import WARM_UP, Spread

# Side of the pictures that torchvision's own weights were trained on, pixels.
SIDE = 224


def time_eager_resnet18(runs: int) -> Spread:
    """Time torchvision's ResNet-18 in eager PyTorch, the network alone, one picture at a time.

    Args:
        runs: Number of runs that count.

    Returns:
        Spread of the forward pass, with as many threads as PyTorch takes by itself.
    """
    network = resnet18(weights=None).eval()
    picture = torch.rand(1, 3, SIDE, SIDE)
    times = []
    with torch.inference_mode():
        for run in range(WARM_UP + runs):
            began = time.perf_counter()
            network(picture)
            if run >= WARM_UP:
                times.append((time.perf_counter() - began) * 1e3)
    return Spread.of(times)
