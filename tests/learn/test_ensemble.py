"""Detectors of several runs as one: their mean, calibrated, with its gain and cost."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import meninx
from meninx._assess.ensembles import EnsembleGain
from meninx._data.facts import sha256_of
from meninx._data.manifest import read_manifest, write_manifest
from meninx._detect.calibration import Calibration
from meninx._detect.calibrator import Calibrator
from meninx._detect.engine import Engine
from meninx._detect.loading import load_detector
from meninx._detect.preprocessing import Preprocessing
from meninx._learn.file.export import TrainingData, export_detector
from meninx._learn.file.ood_model import OodModel
from meninx._learn.model.network import CellNetwork
from meninx._learn.recipe import NetworkRecipe, Recipe
from meninx._synthesis.phantom_studies import make_studies
from meninx._synthesis.writing import write_studies
from tests.commands import meninx as run
from tests.conftest import coarse_grid

SIZE = 64
UNITS = (2.0, 0.5)
# Early features of a ResNet-18: mean and deviation of 64, 128 and 256 channels.
FEATURES = 896


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Phantoms in fold 5, which calibrates, and in fold 1, which no member has seen."""
    folder = tmp_path_factory.mktemp("data")
    list(write_studies(make_studies(12, 500, coarse_grid), folder, "png"))
    counts = {True: 0, False: 0}
    rows = []
    for picture in read_manifest(folder).pictures:
        counts[picture.tumor] += 1
        rows.append(replace(picture, fold=1 if counts[picture.tumor] % 2 else 5))
    write_manifest(rows, folder / "manifest.csv")
    return folder


@pytest.fixture(scope="module")
def members(data, tmp_path_factory):
    """Two runs: networks with random weights; the first one knows what is out of distribution."""
    manifest = read_manifest(data)
    seen = [sha256_of(picture.picture) for picture in manifest.fold(5)]
    files = []
    for number, unit in enumerate(UNITS):
        torch.manual_seed(number)
        folder = tmp_path_factory.mktemp(f"run{number}")
        write_manifest(manifest.pictures, folder / "manifest.csv")
        facts = {"recipe": {"training": {"validation_fold": 5}}}
        (folder / "run.json").write_text(json.dumps(facts))
        scale = Calibrator(unit=unit, tumor_logits=(1.0, 2.0), tumor_free_logits=(-1.0, 0.0))
        near = OodModel(
            np.zeros(FEATURES, np.float32),
            np.ones(FEATURES, np.float32),
            np.eye(FEATURES, dtype=np.float32) * 1e-3,
            np.zeros((FEATURES, 1), np.float32),
            np.zeros(1, np.float32),
        )
        export_detector(
            CellNetwork().eval(),
            Recipe(f"seed {number}", Preprocessing(size=SIZE), NetworkRecipe()),
            Calibration(scale, scale),
            folder / "detector.onnx",
            TrainingData(manifest.sha256, tuple(seen), license=("CC0", "")[number]),
            None if number else near,
        )
        files.append(folder / "detector.onnx")
    return files


@pytest.fixture(scope="module")
def ensemble(members, tmp_path_factory):
    folder = tmp_path_factory.mktemp("joined") / "ensemble"
    done = run(
        "export", members[0], "--with", members[1], "--format", "ensemble", "--output", folder
    )
    assert done.returncode == 0, done.stderr
    assert "the mean of 2 detectors, calibrated on their validation fold" in done.stderr
    assert "pictures and volumes share a calibrator, and it has none by sequence" in done.stderr
    return folder / "detector.onnx"


def test_it_scores_as_the_mean_of_its_members_in_common_units(members, ensemble):
    x = np.random.default_rng(0).normal(size=(3, 3, SIZE, SIZE)).astype(np.float32)
    found = Engine(ensemble).run(x)
    single = [Engine(file).run(x) for file in members]
    cells = np.mean([own.cell_logits / unit for own, unit in zip(single, UNITS, strict=True)], 0)
    np.testing.assert_allclose(found.cell_logits, cells, atol=1e-4)
    types = np.mean([own.type_logits for own in single], 0)
    np.testing.assert_allclose(found.type_logits, types, atol=1e-4)
    # Of the members that can tell, the one that is farthest from what it knows.
    assert (single[0].ood_scores > 0).all()
    np.testing.assert_allclose(found.ood_scores, single[0].ood_scores, rtol=1e-4)


def test_its_card_joins_those_of_its_members_and_has_calibrators_of_its_own(
    data, members, ensemble
):
    card = load_detector(ensemble).card
    single = [load_detector(file) for file in members]
    assert card.members == tuple(member.model["sha256"] for member in single)
    assert card.name == "seed 0 + seed 1"
    assert card.network_title == "ResNet-18 + ResNet-18"
    assert card.license == "CC0"
    assert card.seen == single[0].card.seen
    assert card.calibration.picture.judged == len(read_manifest(data).fold(5))
    assert card.calibration.picture.tumor_logits
    assert card.calibration.picture != single[0].card.calibration.picture


def test_an_evaluation_states_gain_and_cost(data, members, ensemble, tmp_path):
    result = meninx.evaluate(ensemble, data, output=tmp_path / "report")
    gain = result.ensemble
    assert isinstance(gain, EnsembleGain)
    assert gain.cases == len(result.cases) == len(read_manifest(data).fold(1))
    alone = [meninx.evaluate(file, data).figures["auroc"].value for file in members]
    assert list(gain.aurocs.values()) == pytest.approx(alone)
    assert gain.gain.value == pytest.approx(result.figures["auroc"].value - max(alone))
    assert gain.gain.low <= gain.gain.value <= gain.gain.high
    assert "times as long" in result.ensemble_text
    assert "the mean of 2 detectors" in (tmp_path / "report" / "report.html").read_text()
    assert f"best member here, {gain.best}" in (tmp_path / "report" / "report.html").read_text()
    written = json.loads((tmp_path / "report" / "metrics.json").read_text())["ensemble"]
    assert written["best_member"] == gain.best
    assert written["milliseconds"] > 0

    lonely = tmp_path / "detector.onnx"
    shutil.copyfile(ensemble, lonely)
    text = meninx.evaluate(lonely, data).ensemble_text
    assert "what it gains was not measured" in text
    assert "copy the folder members" in text


def test_what_can_not_be_joined_or_calibrated_is_refused(members, ensemble, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(members[1].parent, other)
    facts = {"recipe": {"training": {"validation_fold": 4}}}
    (other / "run.json").write_text(json.dumps(facts))
    alone = tmp_path / "alone.onnx"
    shutil.copyfile(members[1], alone)
    output = tmp_path / "out"
    for further, why in (
        (members[0], "are the same detector, byte for byte"),
        (other / "detector.onnx", "validation folds are [4, 5], expected the same one"),
        (alone, "run.json is missing"),
        (ensemble, "an ensemble itself"),
    ):
        done = run(
            "export", members[0], "--with", further, "--format", "ensemble", "--output", output
        )
        assert done.returncode == 2
        assert why in done.stderr
        assert not list(output.rglob("*.onnx"))
    done = run("export", members[0], "--format", "ensemble", "--output", output)
    assert "--format ensemble and --with FILE belong together" in done.stderr
