"""Time meninx beside detect-tumor 0.1.1 (PyPI), and the network of a ResNet-18 in eager PyTorch.

meninx and detect-tumor score one picture by turns; detect-tumor has an environment of its own in
runs/rivals. Run: python -m lab.speed.rivals
[--json FILE] after `make bench`, with nothing else running.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import numpy as np
import torch
from torchvision.models import resnet18

from meninx._assess.speed import WARM_UP, Spread, machine, make_inputs

ROOT = Path(__file__).parents[2]
RIVAL = "detect-tumor==0.1.1"
TURNS, RUNS = 5, 20
EAGER_RUNS = 100
# Side of the pictures that torchvision's own weights were trained on, pixels.
EAGER_SIDE = 224
TIMED = """
import json, sys, time
{prepare}
for _ in range(3):
    answer()
times = []
for _ in range({runs}):
    began = time.perf_counter()
    answer()
    times.append((time.perf_counter() - began) * 1e3)
print(json.dumps(times))
"""
MENINX = """
from meninx import load_detector
from meninx._render.heatmap import overlay, slice_heatmap
from meninx._scoring.loop import score_path
detector = load_detector()
def answer():
    (result,) = score_path(detector, sys.argv[1])
    plane = result.scan.slice(0)
    overlay(plane.image, slice_heatmap(result.findings.hottest, plane))
"""
OTHER = """
from detect_tumor.detector import TumorDetector
detector = TumorDetector()
def answer():
    detector.predict(sys.argv[1])
"""


def rival_python() -> Path:
    """Return the Python of detect-tumor's environment, made on the first call."""
    folder = ROOT / "runs" / "rivals"
    python = folder / "bin" / "python"
    if not python.is_file():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", RIVAL], check=True)
    return python


def milliseconds(python: Path | str, prepare: str, picture: Path) -> list[float]:
    """Return the times of some answers in a new process, after a warm-up, ms."""
    code = TIMED.format(prepare=prepare, runs=RUNS)
    done = subprocess.run([python, "-c", code, picture], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def time_eager_resnet18(runs: int = EAGER_RUNS) -> Spread:
    """Time torchvision's ResNet-18 in eager PyTorch, the network alone, one picture at a time.

    Args:
        runs: Number of runs that count.

    Returns:
        Spread of the forward pass, with as many threads as PyTorch takes by itself.
    """
    network = resnet18(weights=None).eval()
    picture = torch.rand(1, 3, EAGER_SIDE, EAGER_SIDE)
    times = []
    with torch.inference_mode():
        for run in range(WARM_UP + runs):
            began = time.perf_counter()
            network(picture)
            if run >= WARM_UP:
                times.append((time.perf_counter() - began) * 1e3)
    return Spread.of(times)


def main() -> None:
    """Print medians and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rival = rival_python()
    times: dict[str, list[float]] = {"meninx": [], RIVAL: []}
    with tempfile.TemporaryDirectory() as folder:
        picture = make_inputs(Path(folder), 1).picture
        for _ in range(TURNS):
            times["meninx"] += milliseconds(sys.executable, MENINX, picture)
            times[RIVAL] += milliseconds(rival, OTHER, picture)
    figures = {
        "machine": machine(),
        "one picture of 512 px, ms": {
            name: dict(zip(("median", "p95"), np.percentile(part, (50, 95)).tolist(), strict=True))
            for name, part in times.items()
        },
    }
    eager = time_eager_resnet18()
    figures["ResNet-18 of torchvision, eager, network alone, ms"] = dataclasses.asdict(eager)
    medians = {name: np.median(part) for name, part in times.items()}
    figures["times as fast"] = float(medians[RIVAL] / medians["meninx"])
    print(json.dumps(figures, indent=2))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
