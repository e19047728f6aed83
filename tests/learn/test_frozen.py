"""Trainings that keep a part of their first weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from meninx._data.manifest import read_manifest
from meninx._detect.loading import load_detector, shipped_detector
from meninx._errors import OptionError
from meninx._learn.file.export import load_weights
from meninx._learn.fit import training
from meninx._learn.fit.probe import _Cells, _regressed
from meninx._learn.fit.training import train
from meninx._learn.model.network import CellNetwork
from meninx._learn.recipe import changed_recipe, read_recipe
from meninx._synthesis.phantom_studies import make_studies
from meninx._synthesis.writing import write_studies
from tests.conftest import coarse_grid

PROBE = Path(__file__).parents[2] / "recipes" / "probe.toml"


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frozen")
    list(write_studies(make_studies(20, 7, coarse_grid), folder, "png"))
    return read_manifest(folder)


def tiny(recipe):
    return replace(
        recipe,
        preprocessing=replace(recipe.preprocessing, size=64),
        training=replace(
            recipe.training,
            epochs=1,
            pictures_per_epoch=8,
            batch_size=4,
            precision="32-true",
            ema_decay=0.0,
        ),
        loss=replace(recipe.loss, hard_cells=8),
    )


def changed_parts(module):
    """Return the parts of a network whose weights or statistics are no longer the shipped ones."""
    before = CellNetwork()
    load_weights(before, shipped_detector("fp32").with_suffix(".safetensors"))
    first, now = before.state_dict(), module.network.state_dict()
    moved = [name for name in first if not torch.allclose(first[name], now[name], atol=1e-6)]
    return {name.split(".")[0] for name in moved}


def modules_of(monkeypatch):
    """Return a list to which each training's module is added instead of a file being written."""
    kept = []
    monkeypatch.setattr(training, "_finish", lambda module, *_: kept.append(module) or {})
    return kept


def test_a_probe_fits_the_last_layer_alone_and_is_no_worse_on_the_validation(
    manifest, tmp_path, monkeypatch
):
    kept = modules_of(monkeypatch)
    train(manifest, tiny(read_recipe(PROBE)), tmp_path)
    assert changed_parts(kept[0]) <= {"fine_head"}
    figures = training.json.loads((tmp_path / "probe.json").read_text())
    assert figures["val/loss"] <= figures["val/loss before"]


def test_a_frozen_backbone_keeps_weights_and_statistics(manifest, tmp_path, monkeypatch):
    kept = modules_of(monkeypatch)
    recipe = changed_recipe(tiny(read_recipe(PROBE)), frozen="backbone")
    train(manifest, recipe, tmp_path)
    changed = changed_parts(kept[0])
    assert "fine_head" in changed
    assert not changed & {"stem", "stages"}


def test_nothing_is_frozen_that_has_no_weights(manifest, tmp_path):
    recipe = tiny(read_recipe(PROBE))
    for changed, message in (
        (changed_recipe(recipe, "random"), "features can't be frozen with weights from random"),
        (changed_recipe(recipe, "imagenet"), "weights from imagenet"),
    ):
        with pytest.raises(OptionError, match=message):
            train(manifest, changed, tmp_path)
    pooled = replace(recipe, network=replace(recipe.network, architecture="pooled"))
    with pytest.raises(OptionError, match="those of the architecture cells"):
        changed_recipe(pooled, frozen="features")


def test_the_layer_learns_what_separates_the_highest_cells():
    """One feature marks tumors, in one cell of nine; another is as high in both classes."""
    rng = np.random.default_rng(0)
    tumor = np.arange(60) % 2 == 0
    features = rng.normal(0, 0.3, (60, 9, 3)).astype(np.float32)
    features[tumor, 4, 1] += 2
    features[:, 2, 0] += 2
    cells = _Cells(features, tumor, top_cells=2)
    before = np.array([1.0, 0.5, 0.0, -1.0])
    layer = _regressed(cells, before, 0.03)
    assert layer[1] > abs(layer[0])
    assert cells.loss(layer) < 0.5 * cells.loss(before)
    held = _regressed(cells, before, 1e6)
    assert held[:3] == pytest.approx(before[:3], abs=1e-3)


@pytest.mark.slow
def test_a_probe_makes_a_detector(manifest, tmp_path):
    run = train(manifest, read_recipe(PROBE), tmp_path)
    detector = load_detector(run.detector, threads=1)
    assert detector.card.name == "probe"
    assert detector.card.license
    assert set(run.figures) >= {"picture", "score"}
