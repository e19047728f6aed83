"""The whole of `make detector`, on phantoms: from the collections to the package's files."""

import hashlib
import json
from pathlib import Path

import pytest

from lab.release import held_out_people, pack, people, planes, simulate, whole
from lab.release.single_slice_figures import BY_SEQUENCE
from meninx._data.manifest import write_manifest
from meninx._data.prepare import prepare
from meninx._detect.detector import Detector
from meninx._learn.file import ood_model
from meninx._scan.reading import read_one
from meninx._synthesis import simulated_scans
from tests.lab.small_collections import write_collections

RECIPE = Path(__file__).with_name("small.toml")
FILES = ("meninx.onnx", "meninx.safetensors", "meninx-int8.onnx")


@pytest.fixture
def small(monkeypatch):
    """Make what the gate learns to refuse, and simulated references, few."""
    monkeypatch.setattr(ood_model, "OUTLIERS", 150)
    monkeypatch.setattr(ood_model, "GHOSTED", 100)
    monkeypatch.setattr(simulated_scans, "BRAINLESS_HEADS", 4)
    monkeypatch.setattr(held_out_people, "MAX_EACH", 1)


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_one_run_makes_the_detector_and_all_that_belongs_to_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    data, runs = tmp_path / "data", tmp_path / "runs"
    data.mkdir()
    (runs / "small").mkdir(parents=True)
    write_collections(data)
    curated, manifest, heads = runs / "curated.csv", runs / "people.csv", runs / "heads"
    rows, _ = prepare(data / "curated", split="mend")
    write_manifest(rows, curated)
    packs = [str(runs / "real.pack"), str(runs / "planes.pack"), str(runs / "small" / "sim.pack")]
    for step, arguments in (
        (people, (curated, "--data", data, "--output", manifest)),
        (pack, (manifest, "--data", data, "--output", runs, "--recipe", RECIPE)),
        (planes, (manifest, "--output", packs[1], "--recipe", RECIPE)),
        (simulate, (heads, "--output", packs[2], "--recipe", RECIPE)),
    ):
        step.main([str(argument) for argument in arguments])
    detectors, weights = tmp_path / "detectors", tmp_path / "weights"
    options = [
        *("--recipe", str(RECIPE), "--output", str(runs / "small"), "--people", str(manifest)),
        *("--heads", str(heads), "--detectors", str(detectors), "--weights", str(weights)),
    ]
    # The first call has no time to train; the second does everything.
    whole.main([*packs, *options, "--minutes", "0"])
    assert "half-a, half-b, all-0: not finished" in capsys.readouterr().out
    whole.main([*packs, *options])

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
