"""Write descriptors of the shipped detector's training slices into its files; no weight changes.

Needed after a change of `meninx._data.descriptors`; a training writes them itself. DATA is the
folder of all collections: files whose SHA-256 is in the detector's card count, and the single heads
of lab/release/pack.py. Run: python -m lab.release.describe DATA
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import onnx
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lab.release.pack import SINGLE_HEADS
from lab.release.ship import WEIGHTS, write_sums
from meninx._data.descriptors import Descriptors, descriptors_of, seen_slices
from meninx._data.facts import sha256_of
from meninx._data.manifest import Picture
from meninx._detect.engine import Engine
from meninx._detect.model_card import SEEN_DIGITS, SeenSlices
from meninx._learn.file.export import SEEN_KEY, SLICES_KEY, recalibrate
from meninx._scan.kinds import PICTURE_SUFFIXES, VOLUME_SUFFIXES


def describe_files(data: Path, seen: set[str]) -> dict[str, Descriptors]:
    """Return the descriptors of the files in a card, by the digits of their SHA-256."""
    files: dict[str, Path] = {}
    for path in sorted(data.rglob("*")):
        if path.name.lower().endswith((*PICTURE_SUFFIXES, *VOLUME_SUFFIXES)):
            files.setdefault(sha256_of(path)[:SEEN_DIGITS], path)
    if missing := seen - set(files):
        raise SystemExit(f"{data}: {len(missing)} of {len(seen)} files of the card are not there")
    rows = [row_of(files[digits]) for digits in sorted(seen)]
    return dict(zip(sorted(seen), descriptors_of(rows, os.cpu_count() or 1), strict=True))


def row_of(path: Path) -> Picture:
    """Return a manifest's row of a file."""
    return Picture(path.name, path, None, False, None, path.name, 1, "")


def rewrite(path: Path, record: SeenSlices) -> None:
    """Write a record into the card of an ONNX file; check that its graph is unchanged."""
    before = onnx.load(path).graph.SerializeToString(deterministic=True)
    recalibrate(path, Engine(path).card.calibration, seen_slices=record)
    if onnx.load(path).graph.SerializeToString(deterministic=True) != before:
        raise SystemExit(f"{path}: the graph changed")


def rewrite_weights(path: Path, record: SeenSlices) -> None:
    """Rewrite the metadata of a safetensors file; check that its tensors are unchanged."""
    weights = load_file(path)
    with safe_open(path, "pt") as opened:
        metadata = opened.metadata()
    save_file(weights, path, metadata | {SLICES_KEY: json.dumps(record.as_json())})
    path.chmod(0o644)  # save_file makes files that only their owner can read
    for name, tensor in load_file(path).items():
        if not np.array_equal(tensor.numpy(), weights[name].numpy()):
            raise SystemExit(f"{path}: {name} changed")


def main() -> None:
    """Rewrite the shipped files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    options = parser.parse_args()
    found = describe_files(options.data, set(Engine(WEIGHTS / "meninx.onnx").card.seen))
    heads = descriptors_of([row_of(options.data / place) for place in SINGLE_HEADS.values()])
    everything = seen_slices([*found.values(), *heads])
    for name in ("meninx.onnx", "meninx-int8.onnx"):
        rewrite(WEIGHTS / name, everything)
        print(f"{name}: {len(found)} files, {len(everything)} slices")
    weights = WEIGHTS / "meninx.safetensors"
    with safe_open(weights, "pt") as opened:
        own = opened.metadata()[SEEN_KEY].split()
    learned = seen_slices([*(found[digits] for digits in own), *heads])
    rewrite_weights(weights, learned)
    print(f"{weights.name}: {len(own)} files, {len(learned)} slices")
    write_sums(WEIGHTS)


if __name__ == "__main__":
    main()
