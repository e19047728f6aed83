"""Time meninx and detect-tumor 0.1.1 (PyPI) in turns on one picture.

detect-tumor has its own environment in runs/rivals. Run: python -m lab.speed.rivals
[--json FILE] after `make bench`, with nothing else running.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import numpy as np

from meninx._assess.speed import machine, make_inputs

ROOT = Path(__file__).parents[2]
RIVAL = "detect-tumor==0.1.1"
TURNS, RUNS = 5, 20
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
    medians = {name: np.median(part) for name, part in times.items()}
    figures["times as fast"] = float(medians[RIVAL] / medians["meninx"])
    print(json.dumps(figures, indent=2))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
