"""Measure time and memory over thousands of pictures, and over longer series.

Run: python -m lab.speed.growth [--pictures N] [--json FILE], with nothing else running.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from meninx._assess.speed import machine
from meninx._detect.detector import Detector
from meninx._detect.loading import load_detector
from meninx._scan.scan import Scan
from meninx._scoring.loop import score_path
from meninx._synthesis.phantom import grid_of
from meninx._synthesis.phantom_studies import make_study
from meninx._synthesis.writing import write_dicom

# Number of different pictures; the others are links to them.
DIFFERENT = 20
SERIES = (48, 96, 192, 384)


def resident_megabytes() -> float:
    """Return the resident memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2


def write_pictures(folder: Path, count: int) -> None:
    """Write pictures of 256 px, most of them as links to a few."""
    scan = make_study("pictures", 8_100_000, "glioma", "T1c", "axial").scan
    middle = len(scan) // 2
    for number in range(DIFFERENT):
        image = scan.slice(middle - DIFFERENT // 2 + number).image
        gray = np.clip(image / np.percentile(image, 99.5) * 255, 0, 255).astype(np.uint8)
        Image.fromarray(gray).resize((256, 256)).save(folder / f"{number:05}.png")
    for number in range(DIFFERENT, count):
        os.link(folder / f"{number % DIFFERENT:05}.png", folder / f"{number:05}.png")


def folder_figures(detector: Detector, folder: Path, count: int) -> list[dict[str, float]]:
    """Return pictures, seconds and memory at ten points of a folder."""
    rows, began = [], time.perf_counter()
    for done, _ in enumerate(score_path(detector, folder), start=1):
        if done % max(1, count // 10) == 0:
            seconds = time.perf_counter() - began
            rows.append({"pictures": done, "s": seconds, "MB": resident_megabytes()})
            print(f"{done} pictures: {seconds:.0f} s, {rows[-1]['MB']:.0f} MB", flush=True)
    return rows


def series_figures(detector: Detector, folder: Path) -> list[dict[str, float]]:
    """Return slices, seconds and memory of DICOM series of several lengths."""
    grid = grid_of("sagittal", (256, 256, 24), (0.95, 0.95, 7.2))
    scan = make_study("series", 8_000_000, "glioma", "T1", "sagittal", grid).scan
    rows = []
    for slices in SERIES:
        affine = np.array(scan.affine)
        affine[:3, 2] *= 24 / slices
        finer = Scan(scan.name, np.repeat(scan.voxels, slices // 24, axis=2), affine, scan.sequence)
        path = folder / f"series-{slices}"
        write_dicom(finer, path, 0)
        list(score_path(detector, path))
        began = time.perf_counter()
        list(score_path(detector, path))
        seconds = time.perf_counter() - began
        rows.append({"slices": slices, "s": seconds, "MB": resident_megabytes()})
        print(f"{slices} slices: {seconds:.2f} s, {rows[-1]['MB']:.0f} MB", flush=True)
    return rows


def main() -> None:
    """Print and write both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    detector = load_detector()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "pictures"
        folder.mkdir()
        write_pictures(folder, options.pictures)
        figures = {
            "machine": machine(),
            "folder": folder_figures(detector, folder, options.pictures),
            "series": series_figures(detector, Path(temporary)),
        }
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
