"""Measure scoring at scale on this machine: workers, overhead, stops, and the driver's memory.

python -m lab.speed.archive make FOLDER [--series 2000]     phantoms, hostile series mixed in
python -m lab.speed.archive measure FOLDER --json FILE      one worker, two, a loop; three kills
python -m lab.speed.archive month FOLDER --json FILE        a month of it, after `measure`
python -m lab.speed.archive parts FOLDER --json FILE        walk, ledger and size, afterwards
python -m lab.speed.archive memory FOLDER --json FILE       driver at 1,000 and 20,000 series
"""

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset
from PIL import Image

from meninx._archive.store import open_store
from meninx._archive.table import Done, Table
from meninx._archive.units import units_of
from meninx._assess.speed import machine
from meninx._detect.loading import load_detector
from meninx._scan.scan import Scan
from meninx._scoring.loop import score_path
from meninx._synthesis.phantom import grid_of
from meninx._synthesis.phantom_studies import make_study
from meninx._synthesis.writing import dicom_slice, stable_uid

HEADS, HOSTILE_EVERY, SLICES = 20, 25, 3
RUNS = 3
SCANNERS = (("Siemens", "Aera", "1.5"), ("GE", "Signa", "3"), ("Philips", "Ingenia", "3"))
# Columns that differ between runs.
TIMES = ("milliseconds",)


def heads() -> list[Scan]:
    """Return small heads, every other one with a tumor."""
    grid = grid_of(shape=(96, 112, SLICES), spacing=(2.1, 2.1, 30.0))
    kinds = ("glioma", None, "meningioma", None, "pituitary", None)
    sequences = ("T1c", "FLAIR", "T2", "T1")
    return [
        make_study(f"head-{n}", n, kinds[n % 6], sequences[n // 2 % 4], "axial", grid).scan
        for n in range(HEADS)
    ]


def make(folder: Path, count: int) -> None:
    """Write series into folders of twelve months, some of them invalid."""
    drawn = heads()
    for number in range(count):
        place = folder / f"2025-{1 + number % 12:02}" / f"series-{number:05}"
        place.mkdir(parents=True, exist_ok=True)
        if number % HOSTILE_EVERY == 0:
            hostile(place, number)
            continue
        chance = np.random.default_rng(number)
        scan = drawn[number % HEADS]
        maker, model, tesla = SCANNERS[number % len(SCANNERS)]
        for index in range(SLICES):
            dataset = dicom_slice(scan, index, number)
            noise = chance.normal(0, 12, scan.voxels.shape[1::-1])
            pixels = np.clip(dataset.pixel_array + noise, 0, 4095).astype(np.uint16)
            dataset.PixelData = pixels.tobytes()
            dataset.SOPInstanceUID = stable_uid("archive", number, index)
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.StudyDate = f"2025{1 + number % 12:02}15"
            dataset.Manufacturer, dataset.ManufacturerModelName = maker, model
            dataset.MagneticFieldStrength = tesla
            dataset.save_as(place / f"{index}.dcm", enforce_file_format=True)


def hostile(place: Path, number: int) -> None:
    """Write a file that can't be scored: broken, truncated, noise, or no NIfTI."""
    kind = number // HOSTILE_EVERY % 4
    chance = np.random.default_rng(number)
    if kind == 0:
        (place / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + chance.bytes(200))
    elif kind == 1:
        (place / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chance.bytes(50))
    elif kind == 2:
        noise = chance.integers(0, 255, (128, 128), dtype=np.uint8)
        Image.fromarray(noise).save(place / "noise.png")
    else:
        (place / "lies.nii.gz").write_bytes(b"\x1f\x8b" + chance.bytes(100))


def loop(folder: Path) -> float:
    """Return the time of a plain loop over the series' folders in one thread, s."""
    began = time.perf_counter()
    detector = load_detector(threads=1)
    for place in sorted(folder.glob("*/*")):
        for result in score_path(detector, place):
            json.dumps(result.findings.as_json())
    return time.perf_counter() - began


def command(folder: Path, out: Path, workers: int) -> list[str]:
    """Return the command line that scores an archive."""
    return [
        sys.executable,
        "-m",
        "meninx",
        "score-archive",
        str(folder),
        "--out",
        str(out),
        "--workers",
        str(workers),
    ]


def timed(folder: Path, out: Path, workers: int) -> float:
    """Return the time of an uninterrupted run from the shell, s."""
    shutil.rmtree(out, ignore_errors=True)
    began = time.perf_counter()
    status = subprocess.run(command(folder, out, workers), check=False).returncode
    if status not in (0, 1):
        raise SystemExit(f"score-archive ended with {status}")
    return time.perf_counter() - began


def killed(folder: Path, out: Path, longest: float) -> None:
    """Run with three kills of the driver at random moments, then to the end."""
    shutil.rmtree(out, ignore_errors=True)
    chance = random.Random(7)
    for _ in range(3):
        running = subprocess.Popen(command(folder, out, 2))
        time.sleep(chance.uniform(0.15, 0.3) * longest)
        running.send_signal(signal.SIGKILL)
        running.wait()
        time.sleep(3)
    subprocess.run(command(folder, out, 2), check=False)


def rows(out: Path) -> list[dict[str, Any]]:
    """Return the table's rows in order, without columns that differ between runs."""
    table = pyarrow.dataset.dataset(out, format="parquet", exclude_invalid_files=True).to_table()
    found = [
        {name: value for name, value in row.items() if name not in TIMES}
        for row in table.to_pylist()
    ]
    return sorted(found, key=lambda row: row["content_hash"])


def measure(folder: Path) -> dict[str, Any]:
    """Return the time of each way, and whether an interrupted run gives the same table."""
    series = len(list(folder.glob("*/*")))
    out = folder.parent / "out"
    figures: dict[str, Any] = {"machine": machine(), "series": series, "runs of each": RUNS}
    ways = {
        "plain loop, s": lambda: loop(folder),
        "one worker, s": lambda: timed(folder, out / "one", 1),
        "two workers, s": lambda: timed(folder, out / "two", 2),
    }
    # In turns, so that a slow period of the machine affects all ways.
    seconds = [{name: way() for name, way in ways.items()} for _ in range(RUNS)]
    for name in ways:
        figures[name] = statistics.median(run[name] for run in seconds)
        figures[f"{name}, each run"] = [run[name] for run in seconds]
    figures["two workers, times one"] = figures["one worker, s"] / figures["two workers, s"]
    figures["overhead over the loop, share"] = (
        figures["one worker, s"] / figures["plain loop, s"] - 1
    )
    whole = rows(out / "two")
    killed(folder, out / "killed", figures["two workers, s"])
    broken = rows(out / "killed")
    figures["rows, unbroken"], figures["rows, killed three times"] = len(whole), len(broken)
    figures["rows that differ"] = sum(a != b for a, b in zip(whole, broken, strict=False))
    figures["doubled"] = len(broken) - len({row["content_hash"] for row in broken})
    return figures


def month(folder: Path, known: dict[str, Any]) -> dict[str, Any]:
    """Return the time of start and end, and the time of each further series.

    Args:
        folder: Folder of the archive; its first month is scored.
        known: Figures of `measure`, from the same hour.
    """
    first = min(folder.iterdir())
    series = len(list(first.iterdir()))
    figures: dict[str, Any] = {"series of a month": series}
    further, each = known["series"] - series, []
    for name, workers in (("one worker", 1), ("two workers", 2)):
        seconds = timed(first, folder.parent / "out" / "month", workers)
        each.append((known[f"{name}, s"] - seconds) / further)
        figures[f"{name}, a month, s"] = seconds
        figures[f"{name}, to start and end, s"] = seconds - each[-1] * series
        figures[f"{name}, each further series, s"] = each[-1]
    figures["two workers, times one, of further series"] = each[0] / each[1]
    return figures


def memory(folder: Path) -> dict[str, Any]:
    """Return the driver's peak memory over archives of small files, MB."""
    figures: dict[str, Any] = {"machine": machine()}
    for count in (1000, 20000):
        place = folder / str(count)
        for number in range(count):
            file = place / f"{number // 100:03}" / f"{number:05}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"\x89PNG\r\n\x1a\n" + number.to_bytes(4, "big"))
        out = folder / f"out-{count}"
        shutil.rmtree(out, ignore_errors=True)
        began = time.perf_counter()
        pid = os.spawnv(os.P_NOWAIT, sys.executable, command(place, out, 2))
        _, _, used = os.wait4(pid, 0)
        figures[f"driver's peak at {count} series, MB"] = used.ru_maxrss / 1024
        figures[f"{count} series, s"] = time.perf_counter() - began
    return figures


def parts(folder: Path) -> dict[str, Any]:
    """Return the rates of the parts that do not scale with the scoring cores."""
    store, done = open_store(str(folder)), Done([])
    began = time.perf_counter()
    places = list(store.folders())
    figures: dict[str, Any] = {
        "walking, folders a second": len(places) / (time.perf_counter() - began)
    }
    began = time.perf_counter()
    files = sum(len(unit.names) for place in places for unit in units_of(store, place, done))
    figures["sorting, files a second and core"] = files / (time.perf_counter() - began)
    out = folder.parent / "out" / "parts"
    shutil.rmtree(out, ignore_errors=True)
    table = Table(out, "0" * 64)
    slices = [{"index": n, "probability": 0.123456, "peak": [n, n, n]} for n in range(SLICES)]
    row = {"detail": "", "status": "scored", "probability": 0.5, "slices": slices}
    count = 20_000
    began = time.perf_counter()
    for start in range(0, count, 10):
        table.add(
            [
                {
                    "stamp": f"{n:016x}",
                    "folder": f"{n:016x}",
                    "units": 1,
                    "place": f"series-{n}",
                    "content_hash": f"{n:064x}",
                    "rows": json.dumps([row]),
                }
                for n in range(start, start + 10)
            ]
        )
    table.finish()
    figures["ledger, units a second"] = count / (time.perf_counter() - began)
    table.close()
    written = sum(file.stat().st_size for file in (folder.parent / "out/two").rglob("*.parquet"))
    figures["bytes a row"] = written / len(rows(folder.parent / "out/two"))
    return figures


def known_figures(path: Path | None) -> dict[str, Any]:
    """Return the figures of a file; empty without a file."""
    return json.loads(path.read_text()) if path and path.exists() else {}


def write_figures(figures: dict[str, Any], path: Path | None) -> None:
    """Print figures, and write them to a file if given."""
    text = json.dumps(figures, indent=2) + "\n"
    print(text, end="")
    if path:
        path.write_text(text)


def main() -> None:
    """Run a command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("make", "measure", "month", "parts", "memory"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--series", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.what == "make":
        make(options.folder, options.series)
        return
    known = known_figures(options.json)
    ways = {
        "measure": measure,
        "month": partial(month, known=known),
        "parts": parts,
        "memory": memory,
    }
    figures = ways[options.what](options.folder)
    write_figures(known | figures, options.json)


if __name__ == "__main__":
    main()
