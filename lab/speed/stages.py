"""Time the steps of one picture and one series with this code and with an earlier one, by turns.

Time is that of the calling thread on its processor, which other programs hardly change; each code
runs in processes of its own, one thread each. Decisions, logits and peaks of the same files are
compared too. Run, after `git worktree add BEFORE COMMIT`:
python -m lab.speed.stages BEFORE/src [--files FILE ...] [--json FILE] [--markdown]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from meninx._assess.speed import machine, make_inputs

ROOT = Path(__file__).parents[2]
TURNS, PICTURE_RUNS, SERIES_RUNS = 4, 30, 2
# Runs in either code: it takes only what both have.
TIMED = """
import json, sys, time
# Every step is timed by this clock, in the program too.
time.perf_counter = time.thread_time
from meninx._detect.loading import load_detector
from meninx._render.heatmap import overlay, slice_heatmap
from meninx._scoring.loop import score_path
detector = load_detector(threads=1)
def steps(path, drawn):
    began = time.perf_counter()
    (result,) = score_path(detector, path)
    scored = time.perf_counter()
    found = result.findings
    if drawn:
        plane = result.scan.slice(0)
        known = getattr(plane, "intensity_range", None)
        overlay(plane.image, slice_heatmap(found.hottest, plane), *([known] if known else []))
    ended = time.perf_counter()
    times = {**found.milliseconds, "whole": (ended - began) * 1e3}
    if drawn:
        times["heat map"] = (ended - scored) * 1e3
    times["all but the network"] = times["whole"] - times["infer"]
    return times
def answers(path):
    return [
        [found.scan, found.status, found.reason, found.decision, found.logit,
         [list(finding.peak) for finding in found.slices]]
        for found in (result.findings for result in score_path(detector, path))
    ]
picture, series, *files = sys.argv[4:]
runs, series_runs = int(sys.argv[1]), int(sys.argv[2])
print(json.dumps({
    "picture": [steps(picture, True) for _ in range(3 + runs)][3:],
    "series": [steps(series, False) for _ in range(1 + series_runs)][1:],
    "answers": [row for file in files for row in answers(file)] if sys.argv[3] == "1" else [],
}))
"""


def measured(source: Path, picture: Path, series: Path, files: list[Path]) -> dict[str, Any]:
    """Return the times of one process with a code, and its answers to files.

    Args:
        source: Folder of the package `meninx`.
        picture: A picture.
        series: Folder of a series.
        files: Files whose answers are compared; none to leave that out.

    Returns:
        Times of each run by step, ms, and answers.
    """
    numbers = (PICTURE_RUNS, SERIES_RUNS, int(bool(files)))
    command = [sys.executable, "-c", TIMED, *map(str, (*numbers, picture, series, *files))]
    environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def compared(before: list[list[Any]], now: list[list[Any]]) -> dict[str, float]:
    """Return how many answers differ, and by how much logits do."""
    if [row[0] for row in before] != [row[0] for row in now]:
        raise ValueError("the two codes found different scans")
    pairs = [
        (old[4], new[4])
        for old, new in zip(before, now, strict=True)
        if old[4] is not None and new[4] is not None
    ]
    both = list(zip(before, now, strict=True))
    return {
        "scans": len(now),
        "other status, reason or decision": sum(old[1:4] != new[1:4] for old, new in both),
        "other peaks": sum(old[5] != new[5] for old, new in both),
        "largest change of a logit": max((abs(old - new) for old, new in pairs), default=0.0),
    }


def compare(before: Path, files: list[Path]) -> dict[str, Any]:
    """Return the median of each step's time in both codes, ms, and how their answers differ.

    Args:
        before: Folder of the earlier package.
        files: Files whose answers are compared.
    """
    codes = {"before": before, "now": ROOT / "src"}
    times: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in codes}
    answers = {}
    with tempfile.TemporaryDirectory() as folder:
        inputs = make_inputs(Path(folder), 1)
        for turn in range(TURNS):
            for name, source in codes.items():
                found = measured(source, inputs.picture, inputs.series, [] if turn else files)
                answers.setdefault(name, found["answers"])
                for kind in ("picture", "series"):
                    for run in found[kind]:
                        for step, ms in run.items():
                            times[name][f"{kind}: {step}"].append(ms)
    return {
        "machine": machine(),
        "median time of one thread, ms": {
            step: {name: float(np.median(own[step])) for name, own in times.items()}
            for step in times["now"]
        },
        "answers": compared(answers["before"], answers["now"]),
    }


def main() -> None:
    """Print the figures and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("--files", nargs="*", type=Path, default=[])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", action="store_true", help="As docs/log has it.")
    options = parser.parse_args()
    figures = compare(options.before, options.files)
    if options.markdown:
        print("| thread's time, ms | before | now |\n| --- | --- | --- |")
        for step, own in figures["median time of one thread, ms"].items():
            print(f"| {step} | {own['before']:.2f} | {own['now']:.2f} |")
        print("\n| answers | found |\n| --- | --- |")
        for what, count in figures["answers"].items():
            print(f"| {what} | {count:.3g} |")
    else:
        print(json.dumps(figures, indent=2))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
