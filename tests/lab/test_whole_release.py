"""The whole of `make detector`, on phantoms: from the collections to the package's files."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.release.single_slice_figures import BY_SEQUENCE
from meninx._detect.detector import Detector
from meninx._scan.reading import read_one
from tests.lab.small_collections import write_collections

ROOT = Path(__file__).parents[2]
RECIPE = "tests/lab/small.toml"
FILES = ("meninx.onnx", "meninx.safetensors", "meninx-int8.onnx")


def run(*command: object, **options: str) -> str:
    """Run a command in the root of the repository; return what it printed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **options},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def module(name: str, *arguments: object) -> str:
    return run(sys.executable, "-m", name, *arguments)


@pytest.mark.slow
def test_one_run_makes_the_detector_and_all_that_belongs_to_it(tmp_path):
    data, runs = tmp_path / "data", tmp_path / "runs"
    data.mkdir()
    (runs / "small").mkdir(parents=True)
    write_collections(data)
    curated, people = runs / "curated.csv", runs / "people.csv"
    module("meninx", "prepare", data / "curated", "--split", "mend", "--output", curated)
    module("lab.release.people", curated, "--data", data, "--output", people)
    module("lab.release.pack", people, "--data", data, "--output", runs, "--recipe", RECIPE)
    packs = [runs / "real.pack", runs / "planes.pack", runs / "small" / "sim.pack"]
    module("lab.release.planes", people, "--output", packs[1], "--recipe", RECIPE)
    module("lab.release.simulate", runs / "heads", "--output", packs[2], "--recipe", RECIPE)
    detectors, weights = tmp_path / "detectors", tmp_path / "weights"
    script = ("sh", "lab/release/detector.sh", RECIPE, runs / "small", runs, detectors, weights)
    # The first call has no time to train; the second does everything.
    assert "not finished: commit the parts" in run(*script, "0", *packs)
    run(*script, "", *packs)

    assert sorted(path.name for path in detectors.iterdir()) == [
        "all-0.onnx",
        "half-a.onnx",
        "half-b.onnx",
    ]
    candidates = json.loads((runs / "small" / "candidates.json").read_text())
    assert list(candidates) == ["first part", "second part"]
    assert {"number", "FLAIR", "alone", "other planes"} <= set(candidates["second part"])
    assert "number" in candidates["second part"]["alone"]

    figures = json.loads((runs / "small" / "people.json").read_text())
    assert figures["single slices"]["FLAIR"]["people"] > 0
    assert figures["single slices"]["answers"][f"{BY_SEQUENCE}, 95%"]["tumor"]["slices"] > 0
    assert set(figures["references"]) == {"FLAIR", "T1", "T1c"}
    fitted = json.loads((runs / "small" / "calibration.json").read_text())

    sums = (weights / "SHA256SUMS").read_text().splitlines()
    expected = [
        f"{hashlib.sha256((weights / name).read_bytes()).hexdigest()}  {name}"
        for name in sorted(FILES)
    ]
    assert sums == expected
    picture = read_one(next((data / "curated" / "pictures").iterdir()))
    for name in ("meninx.onnx", "meninx-int8.onnx"):
        detector = Detector(weights / name)
        assert detector.card.ood_threshold == fitted["ood_threshold"]
        stored = fitted["calibration"]["picture"]["tumor_logits"]
        assert list(detector.card.calibration.picture.tumor_logits) == stored
        assert list(detector.card.heads) == ["sequence", "plane", "skull", "turn"]
        assert detector.score(picture).recognized is not None or detector.score(picture).reason
    recognition = json.loads((runs / "small" / "recognition.json").read_text())
    assert {"sequence", "plane", "skull", "turn", "agreement of both files"} <= set(recognition)
