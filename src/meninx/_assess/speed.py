"""Time a detector on one picture, a folder and a series; cold and warm.

Times of steps are medians and 95th percentiles of runs in one process, after warm-up runs. Cold
times include the start of a new process.
"""

import multiprocessing
import os
import platform
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from meninx._detect.detector import Detector
from meninx._detect.head_slices import brain_slices
from meninx._detect.loading import load_detector
from meninx._detect.precision import Precision
from meninx._render.heatmap import overlay, slice_heatmap
from meninx._scan.reading import read_scans
from meninx._scan.scan import Scan
from meninx._scoring.loop import score_path
from meninx._synthesis.phantom import grid_of
from meninx._synthesis.phantom_studies import make_study
from meninx._synthesis.writing import write_dicom

_PICTURE_SIDE = 512
# As of the pictures in collections.
_JPEG_QUALITY = 86
# What any program with this network imports.
_LEAST_IMPORTS = "import os; os.environ['ORT_DISABLE_TELEMETRY'] = '1'; import numpy, onnxruntime"
SERIES_SLICES, RENDERED_SLICES = 192, 24
# Extent of a sagittal series, from ear to ear.
HEAD_MM = 172.8
# Number of runs before the timed ones.
WARM_UP = 5
# Largest numbers of runs that take seconds each.
COLD_RUNS, SERIES_RUNS = 5, 3


# Steps of a picture that are sums of others.
ALL_BUT_NETWORK, WHOLE = "all but the network", "file to finding"


@dataclass(frozen=True)
class Inputs:
    """Inputs that are timed.

    Args:
        pictures: Folder of PNG files of 512 x 512 pixels.
        jpeg: One of them as JPEG.
        series: Folder of DICOM slices, `SERIES_SLICES` unless others are asked for.
    """

    pictures: Path
    jpeg: Path
    series: Path

    @property
    def picture(self) -> Path:
        """One of the pictures."""
        return min(self.pictures.iterdir())


@dataclass(frozen=True)
class Spread:
    """Median and 95th percentile of run times.

    Args:
        median: Median time, ms.
        p95: 95th percentile of the time, ms.
    """

    median: float
    p95: float

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> "Spread":
        """Return the spread of the times of some runs."""
        median, p95 = np.percentile(milliseconds, (50, 95))
        return cls(float(median), float(p95))


def machine() -> str:
    """Return a description of the machine: processor, cores, system and Python version."""
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, "
        f"Python {platform.python_version()}"
    )


def make_inputs(folder: Path, pictures: int, slices: int = SERIES_SLICES) -> Inputs:
    """Write synthetic inputs of the sizes that users have.

    Args:
        folder: Output folder.
        pictures: Number of pictures.
        slices: Number of slices of the series.

    Returns:
        Folders of the pictures and of the series.
    """
    rendered = min(slices, RENDERED_SLICES)
    grid = grid_of("axial", (256, 256, rendered), (0.95, 0.95, HEAD_MM / rendered))
    scan = make_study("series", 8_000_000, "glioma", "T1", "axial", grid).scan
    write_dicom(_finer(scan, slices), folder / "series", 0)
    middle = scan.slice(len(scan) // 2).image
    gray = np.clip(middle / np.percentile(middle, 99.5) * 255, 0, 255).astype(np.uint8)
    large = Image.fromarray(gray).resize((_PICTURE_SIDE, _PICTURE_SIDE), Image.Resampling.BICUBIC)
    (folder / "pictures").mkdir(parents=True)
    for number in range(pictures):
        large.save(folder / "pictures" / f"{number:05}.png")
    large.save(folder / "picture.jpg", quality=_JPEG_QUALITY)
    return Inputs(folder / "pictures", folder / "picture.jpg", folder / "series")


def _finer(scan: Scan, slices: int) -> Scan:
    """Return a scan with repeated slices instead of interpolated ones: rendering takes minutes."""
    affine = np.array(scan.affine)
    affine[:3, 2] *= len(scan) / slices
    shown = np.arange(slices) * len(scan) // slices
    return Scan(scan.name, scan.voxels[:, :, shown], affine, scan.sequence)


def time_picture(detector: Detector, path: Path, runs: int) -> dict[str, Spread]:
    """Time one picture from file to finding with heat map.

    Args:
        detector: The detector.
        path: File of the picture.
        runs: Number of runs that count.

    Returns:
        Spread of the time of each step and of the whole.
    """
    steps: dict[str, list[float]] = {}
    for run in range(WARM_UP + runs):
        began = time.perf_counter()
        (result,) = score_path(detector, path)
        scan, found = result.scan, result.findings
        scored = time.perf_counter()
        hottest = found.hottest
        if scan is None or hottest is None:
            raise ValueError(f"{path}: was not scored: {found.message}")
        slice_ = scan.slice(hottest.index)
        overlay(slice_.image, slice_heatmap(hottest, slice_), slice_.intensity_range)
        ended = time.perf_counter()
        if run >= WARM_UP:
            taken = {
                **found.milliseconds,
                "heat map": (ended - scored) * 1e3,
                ALL_BUT_NETWORK: (ended - began) * 1e3 - found.milliseconds["infer"],
                WHOLE: (ended - began) * 1e3,
            }
            for step, milliseconds in taken.items():
                steps.setdefault(step, []).append(milliseconds)
    return {step: Spread.of(times) for step, times in steps.items()}


def pictures_per_second(detector: Detector, folder: Path, workers: int) -> float:
    """Return how many pictures of a folder are scored a second.

    Args:
        detector: The detector; for several workers best loaded with one thread.
        folder: Folder of pictures.
        workers: Number of pictures scored at a time.

    Returns:
        Pictures a second.
    """
    paths = sorted(folder.iterdir())

    def score(path: Path) -> None:
        for _ in score_path(detector, path):
            pass

    score(paths[0])
    began = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(score, paths))
    return len(paths) / (time.perf_counter() - began)


@dataclass(frozen=True)
class SeriesTimes:
    """Times of one series.

    Args:
        whole: Median time in which it is read and scored, seconds.
        times_network: Shortest of these times, divided by the shortest time of its network alone.
    """

    whole: float
    times_network: float


def time_series(detector: Detector, folder: Path, runs: int) -> SeriesTimes:
    """Time a series, and the network alone on its slices, by turns.

    Args:
        detector: The detector.
        folder: Folder of the series.
        runs: Number of runs that count.

    Returns:
        The times.
    """
    (scan,) = read_scans(folder)
    stack, _ = detector.input_stack(scan, brain_slices(scan))
    del scan
    whole, network = [], []
    for run in range(1 + min(runs, SERIES_RUNS)):
        whole_now = _seconds(lambda: list(score_path(detector, folder)))
        network_now = _seconds(lambda: detector.slice_logits(stack))
        if run:
            whole.append(whole_now)
            network.append(network_now)
    return SeriesTimes(float(np.median(whole)), min(whole) / min(network))


def peak_of_scoring(model: Path | None, precision: Precision, path: Path) -> float:
    """Return the peak memory of a new process that reads and scores a picture or a series.

    Args:
        model: Detector file; None for the one that ships with the package.
        precision: Arithmetic of the shipped detector; see `load_detector`.
        path: File of the picture, or folder of the series.

    Returns:
        Peak memory, MB.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_here, (model, precision, path))


def _peak_here(model: Path | None, precision: Precision, path: Path) -> float:
    for _ in score_path(load_detector(model, precision=precision), path):
        pass
    return peak_megabytes()


@dataclass(frozen=True)
class ColdTimes:
    """Times of a new process.

    Args:
        whole: Median time, seconds.
        times_imports: Shortest time, divided by the shortest time of a process that only imports
            NumPy and ONNX Runtime.
    """

    whole: float
    times_imports: float


def time_cold(arguments: Sequence[str], runs: int) -> ColdTimes:
    """Time new processes that run meninx, and ones that import NumPy and ONNX Runtime, by turns.

    Args:
        arguments: Arguments of meninx.
        runs: Number of runs that count.

    Returns:
        The times.
    """

    def run(*command: str) -> float:
        python = [sys.executable, *command]
        return _seconds(lambda: subprocess.run(python, capture_output=True, check=True))

    pairs = [
        (run("-m", "meninx", *arguments), run("-c", _LEAST_IMPORTS))
        for _ in range(1 + min(runs, COLD_RUNS))
    ]
    whole, imports = zip(*pairs[1:], strict=True)
    return ColdTimes(float(np.median(whole)), min(whole) / min(imports))


def peak_megabytes() -> float:
    """Return the peak memory of this process so far, MB."""
    status = Path("/proc/self/status")
    if status.is_file():
        # `getrusage` would begin with the memory of the process that started this one.
        (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii"))
        return int(peak) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes on most systems, bytes on a Mac.
    return peak / (1024**2 if sys.platform == "darwin" else 1024)


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began
