"""Time commands and a series on this machine.

Cold figures start a new process each time; the series is read and scored in one process, after one
run that does not count. Run: make bench, or python -m lab.speed.speed [--json FILE]
With MENINX_DATA the real 192-slice series is timed too.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from meninx._assess.speed import peak_megabytes
from meninx._detect.loading import load_detector
from meninx._scoring.loop import score_path
from meninx._synthesis.phantom_studies import make_studies
from meninx._synthesis.writing import write_studies

RUNS = 7


def median_seconds(action: Callable[[], object], runs: int = RUNS) -> float:
    """Return the median time of an action, after one run that does not count."""
    action()
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def command(*arguments: str) -> Callable[[], object]:
    """Return an action that runs Python in a new process."""
    return lambda: subprocess.run([sys.executable, *arguments], capture_output=True, check=True)


def installed_megabytes() -> float | None:
    """Return the size of a base install, measured in an environment without torch."""
    packages = Path(sys.prefix) / "lib"
    if any(packages.glob("python*/site-packages/torch")):
        return None
    files = (path for path in Path(sys.prefix).rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files) / 1e6


def measure() -> dict[str, float | None]:
    """Return all figures, in seconds and megabytes."""
    figures: dict[str, float | None] = {
        "import meninx, s": median_seconds(command("-c", "import meninx")),
        "meninx --help, s": median_seconds(command("-m", "meninx", "--help")),
    }
    with tempfile.TemporaryDirectory() as folder:
        (picture,) = write_studies(make_studies(1, 0), Path(folder), "png")
        cold = command("-m", "meninx", "predict", "--json", str(picture))
        figures["meninx predict, one PNG, cold, s"] = median_seconds(cold)
    if "MENINX_DATA" in os.environ:
        series = Path(os.environ["MENINX_DATA"]) / "dicom" / "healthy-child-t1"
        detector = load_detector()
        score: Callable[[], object] = lambda: list(score_path(detector, series))  # noqa: E731
        figures["192 DICOM slices, read and scored, s"] = median_seconds(score, 3)
    figures["peak memory, MB"] = peak_megabytes()
    figures["base install, MB"] = installed_megabytes()
    return figures


def main() -> None:
    """Print a table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = measure()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(machine)
    for name, value in figures.items():
        print(f"{name:40} {'not measured here' if value is None else f'{value:.2f}'}")
    if options.json:
        text = json.dumps({"machine": machine, "figures": figures}, indent=2)
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
