"""Time `audit` and `evaluate` on thousands of pictures, and count the copies that audit finds.

Copies of MENINX_DATA/curated are made in every way that audit promises to see through, in a folder
that is removed again. Run: python -m lab.evidence.evidence [--json FILE] [--pictures N]
"""

import argparse
import csv
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageEnhance, ImageOps

from meninx._detect.loading import load_detector

SMOOTH = Image.Resampling.BILINEAR


def saved_again(picture: Image.Image, quality: int) -> Image.Image:
    """Return a picture after JPEG compression."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "mirrored": ImageOps.mirror,
    "turned by 90 degrees": lambda picture: picture.rotate(90, expand=True),
    "rotated by 7 degrees": lambda picture: picture.rotate(7, SMOOTH),
    "rotated by 15 degrees": lambda picture: picture.rotate(-15, SMOOTH),
    "brightened by 30 %": lambda picture: ImageEnhance.Brightness(picture).enhance(1.3),
    "gamma 0.7": lambda picture: picture.point([int(255 * (v / 255) ** 0.7) for v in range(256)]),
    "resized to 224 x 224": lambda picture: picture.resize((224, 224)),
    "half the size": lambda picture: picture.resize((picture.width // 2, picture.height // 2)),
    "JPEG quality 20": lambda picture: saved_again(picture, 20),
    "mirrored, rotated, brightened, resized, quality 60": lambda picture: saved_again(
        ImageEnhance.Brightness(ImageOps.mirror(picture).rotate(10, SMOOTH))
        .enhance(1.2)
        .resize((224, 224)),
        60,
    ),
}


def make_copies(curated: Path, folder: Path, count: int) -> dict[str, tuple[str, str]]:
    """Write originals and copies as class folders; return each copy's kind and original."""
    with (curated / "manifest.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    made = {}
    for name in ("yes", "no"):
        (folder / name).mkdir(parents=True)
    for row in rows[:count]:
        label = "yes" if row["tumor"] == "1" else "no"
        (folder / label / f"{row['id']}.jpg").write_bytes((curated / row["picture"]).read_bytes())
    kinds = list(COPIES)
    for number, row in enumerate(rows[: max(0, count - len(rows))]):
        label = "yes" if row["tumor"] == "1" else "no"
        kind = kinds[number % len(kinds)]
        with Image.open(curated / row["picture"]) as picture:
            name = f"{label}/{row['id']}-copy.png"
            COPIES[kind](picture.convert("L")).save(folder / name)
        made[name] = (kind, f"{label}/{row['id']}.jpg")
    return made


def memory_of_tree(root: int) -> int:
    """Return the memory of a process and all below it, kB, shared pages counted once (PSS)."""
    parents, total = {}, 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
            parents[int(folder.name)] = int(stat.rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
    for process in parents:
        above = process
        while above != root and above in parents:
            above = parents[above]
        if above == root:
            try:
                rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
                total += int(rollup.split("\nPss:", 1)[1].split()[0])
            except (OSError, IndexError):
                continue
    return total


def timed(arguments: list[str]) -> tuple[float, float, str]:
    """Run meninx; return seconds, the peak memory of all its processes in MB, and its output."""
    began, peak = time.perf_counter(), 0
    with tempfile.TemporaryFile("w+") as output:
        with subprocess.Popen([sys.executable, "-m", "meninx", *arguments], stdout=output) as run:
            while run.poll() is None:
                peak = max(peak, memory_of_tree(run.pid))
                time.sleep(0.5)
        if run.returncode:
            raise SystemExit(f"meninx {arguments[0]} ended with {run.returncode}")
        seconds = time.perf_counter() - began
        output.seek(0)
        return seconds, peak / 1024, output.read()


def main() -> None:
    """Print figures and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--pictures", type=int, default=7000)
    parser.add_argument("--model", action="append", default=[], help="detectors to evaluate")
    options = parser.parse_args()
    curated = Path(os.environ["MENINX_DATA"]) / "curated"
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for count in (options.pictures // 4, options.pictures):
            made = make_copies(curated, folder / f"n{count}", count)
            seconds, memory, output = timed(
                ["audit", str(folder / f"n{count}"), "--json", "--output", str(folder / "a.html")]
            )
            figures[f"audit of {count} pictures, s"] = round(seconds, 1)
            figures[f"audit of {count} pictures, MB"] = round(memory)
        groups = [set(group["files"]) for group in json.loads(output)["groups"]]
        for kind in COPIES:
            own = [(copy, original) for copy, (k, original) in made.items() if k == kind]
            found = sum(
                any({copy, original} <= group for group in groups) for copy, original in own
            )
            figures[f"copies found: {kind}"] = f"{found} of {len(own)}"
        for model in options.model or ["meninx"]:
            seconds, memory, _ = timed(
                ["evaluate", model, str(curated), "--allow-leaks", "--output", str(folder / "e")]
            )
            name = "the shipped detector" if model == "meninx" else load_detector(model).card.name
            figures[f"evaluate {name} on 3,843 pictures, s"] = round(seconds, 1)
            figures[f"evaluate {name} on 3,843 pictures, MB"] = round(memory)
    for name, value in figures.items():
        print(f"{name}: {value}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
