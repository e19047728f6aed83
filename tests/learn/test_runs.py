"""Whole runs as a user starts them: stopped by force, over processes, from other weights."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision.models import resnet18, resnet34

from lab.release.training import train_unpacked
from meninx._assess.cases import Copies, unseen
from meninx._assess.evaluation import evaluate
from meninx._data.facts import sha256_of
from meninx._data.manifest import read_manifest, write_manifest
from meninx._data.prepare import prepare
from meninx._detect.calibrator import Calibrator
from meninx._detect.engine import Engine
from meninx._detect.loading import load_detector, shipped_detector
from meninx._detect.model_card import DESCRIPTOR_BYTES, SeenSlices
from meninx._errors import DataError, ModelError, OptionError
from meninx._labels import TYPE_NAMES
from meninx._learn.file.export import Origin, save_weights
from meninx._learn.file.provenance import origin_of
from meninx._learn.fit import training
from meninx._learn.fit.crossvalidation import (
    calibrate_out_of_fold,
    recipe_of_fold,
    score_out_of_fold,
    train_folds,
    unseen_out_of_fold,
)
from meninx._learn.fit.from_data import train as train_on_data
from meninx._learn.fit.initialization import fill_from_shipped, initialize
from meninx._learn.fit.losses import cell_loss, picture_loss, type_loss, type_weights
from meninx._learn.fit.merging import merge
from meninx._learn.fit.module import DetectorTraining
from meninx._learn.fit.training import read_examples, train
from meninx._learn.input.augmentation.batch import SliceBatch
from meninx._learn.input.dataset import MASKED, TUMOR_FREE, UNMASKED, Facts, SliceDataset
from meninx._learn.input.sampling import ShareSampler, weights_of
from meninx._learn.model.network import CellNetwork, PooledNetwork, build_network
from meninx._learn.recipe import (
    LossRecipe,
    NetworkRecipe,
    Recipe,
    SamplingRecipe,
    read_recipe,
    read_stages,
)
from meninx._synthesis.phantom_studies import make_studies
from meninx._synthesis.writing import write_studies
from tests.commands import meninx
from tests.conftest import coarse_grid

POOLED = """
name = "pooled"
[preprocessing]
size = 64
[network]
architecture = "pooled"
dropout = 0.0
[training]
epochs = {epochs}
pictures_per_epoch = 24
batch_size = {batch}
precision = "32-true"
ema_decay = {ema}
test_fold = 1
[sampling]
unmasked = 0.5
tumor_free = 0.5
calibration_phantoms = 0
[loss]
picture_weight = 0.3
"""
# Nothing random but the draw, so that two ways of training can be compared.
STILL = """
[augmentation]
rotation = 0.0
smallest_scale = 1.0
largest_scale = 1.0
aspect = 0.0
shift = 0.0
flip = 0.0
quarter_turn = 0.0
warp = 0.0
lesion_copy_paste = 0.0
synthetic_lesion = 0.0
negative_patch = 0.0
gamma = 0.0
dimmest = 1.0
brightest = 1.0
remap = 0.0
invert = 0.0
strip = 0.0
bias = 0.0
blur = 0.0
noise = 0.0
resolution = 0.0
jpeg = 0.0
stand_in = 0.0
"""


@pytest.fixture(scope="module")
def labeled(tmp_path_factory):
    """Fifteen phantoms with labels and no outlines."""
    folder = tmp_path_factory.mktemp("labeled")
    list(write_studies(make_studies(15, 500, coarse_grid), folder, "png"))
    pictures = [replace(picture, mask=None) for picture in read_manifest(folder).pictures]
    write_manifest(pictures, folder / "manifest.csv")
    return folder


@pytest.fixture(scope="module")
def pooled(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "pooled.toml"
    path.write_text(POOLED.format(epochs=3, batch=8, ema=0.9))
    return path


@pytest.fixture(scope="module")
def trained(labeled, pooled, tmp_path_factory):
    """A run of that recipe that nothing broke off."""
    return train(
        read_manifest(labeled), read_recipe(pooled), tmp_path_factory.mktemp("run") / "run"
    )


def tiny_stage(recipe):
    """A recipe's network, optimizer and average of weights, on pictures that take no time."""
    return replace(
        recipe,
        preprocessing=replace(recipe.preprocessing, size=64),
        network=replace(recipe.network, initialization="meninx"),
        training=replace(
            recipe.training,
            epochs=2,
            pictures_per_epoch=8,
            size=64,
            batch_size=4,
            precision="32-true",
        ),
        sampling=replace(
            recipe.sampling,
            phantoms=1,
            augmented_heads=0,
            calibration_phantoms=0,
            strata={},
            unmasked=0.5,
        ),
        loss=replace(recipe.loss, hard_cells=8),
    )


# A linear probe has no epochs.
SHIPPED = sorted(
    path for path in (Path(__file__).parents[2] / "recipes").glob("*.toml") if path.stem != "probe"
)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_recipe_resumes_after_its_last_epoch(labeled, path, tmp_path, monkeypatch, caplog):
    # From the shipped weights, whose convolutions are factorized: these must be made again first.
    recipe = tiny_stage(read_stages(path)[-1])
    begin = DetectorTraining.on_train_epoch_start
    # What comes after training is not resumed, and takes longer.
    monkeypatch.setattr(training, "_finish", lambda *_: {})

    def stop_in_the_second(module):
        if module.current_epoch == 1:
            raise InterruptedError
        begin(module)

    monkeypatch.setattr(DetectorTraining, "on_train_epoch_start", stop_in_the_second)
    with pytest.raises(InterruptedError):
        train(read_manifest(labeled), recipe, tmp_path)
    before = losses(tmp_path)
    monkeypatch.setattr(DetectorTraining, "on_train_epoch_start", begin)
    train(read_manifest(labeled), recipe, tmp_path, resume=True)
    assert "the manifest has no sha256 of 15 of 15 pictures" in caplog.text
    assert len(before) == 1
    assert losses(tmp_path)[:1] == before
    assert len(losses(tmp_path)) == 2


def test_nothing_resumes_on_pictures_that_were_replaced(labeled, tmp_path):
    pictures, _ = prepare(labeled / "manifest.csv", folds=3)
    for row in pictures:
        shutil.copy(row.picture, tmp_path)
    write_manifest(
        [replace(row, picture=tmp_path / row.picture.name) for row in pictures],
        tmp_path / "manifest.csv",
    )
    tumors = [tmp_path / row.picture.name for row in pictures if row.tumor]
    healthy = next(row.picture for row in pictures if not row.tumor)
    for path in tumors:
        shutil.copy(healthy, path)
    with pytest.raises(DataError, match=f"{len(tumors)} of 15 files are not those"):
        train_on_data(tmp_path, tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


def losses(run):
    with (run / "epochs.csv").open() as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file)]


@pytest.mark.slow
def test_labels_alone_make_a_detector(labeled, trained, tmp_path):
    run = trained
    detector = load_detector(run.detector)
    assert detector.card.top_cells == 0
    manifest = read_manifest(labeled)
    assert len(detector.card.seen) == len(manifest.without_fold(1))
    names = {path.name for path in run.folder.iterdir()}
    assert {"curves.png", "curves.svg", "manifest.csv", "epochs.csv", "run.json"} <= names
    facts = json.loads((run.folder / "run.json").read_text())
    assert facts["manifest_sha256"] == manifest.sha256
    assert "torch" in facts["packages"]
    assert set(run.figures) == {"picture", "loss", "accuracy", "type", "score"}
    with pytest.raises(DataError, match="probe, finetune and seed"):
        train(manifest, Recipe(sampling=SamplingRecipe(phantoms=0)), tmp_path / "other")


@pytest.mark.slow
def test_a_detector_that_never_saw_a_type_names_none(labeled, trained, pooled, tmp_path, sick):
    card = load_detector(trained.detector).card
    assert (card.types, card.license) == (TYPE_NAMES, "")
    manifest, recipe = read_manifest(labeled), read_recipe(pooled)
    untyped = tuple(replace(picture, tumor_type=None) for picture in manifest.pictures)
    short = replace(recipe, training=replace(recipe.training, epochs=1))
    run = train(replace(manifest, pictures=untyped), short, tmp_path / "run")
    detector = load_detector(run.detector)
    assert detector.card.types == ()
    assert detector.score(sick.scan).types == {}
    assert evaluate(detector, manifest, fold=1).types is None


@pytest.mark.slow
def test_what_first_weights_have_seen_stays_seen(labeled, pooled, trained, tmp_path):
    manifest, recipe = read_manifest(labeled), read_recipe(pooled)
    weights = trained.detector.with_suffix(".safetensors")
    card = load_detector(trained.detector).card
    first = Origin(card.seen, "", card.seen_slices)
    assert card.seen_slices.complete
    assert len(card.seen_slices) == len(manifest.without_fold(1))
    assert initialize(PooledNetwork(), "random", weights) == first
    other = replace(recipe, training=replace(recipe.training, epochs=1, test_fold=2))
    second = train(manifest, other, tmp_path / "second", weights=weights)
    # The second never looked at fold 2, the first did.
    everything = {sha256_of(picture.picture)[:16] for picture in manifest.pictures}
    assert set(load_detector(second.detector).card.seen) == everything
    assert origin_of(tmp_path / "second") == first
    # Of the fold that the second leaves out, the first weights had learned all pictures.
    assert second.copies_known
    assert second.copies[2] == len(manifest.fold(2))
    assert len(load_detector(second.detector).card.seen_slices) == len(everything)
    with pytest.raises(DataError, match="learned from all 15"):
        unseen(load_detector(second.detector).card, manifest)


def test_resuming_before_the_first_epoch_takes_the_weights_that_were_asked_for(
    labeled, pooled, tmp_path
):
    with pytest.raises(ModelError, match="there is no such file"):
        train(
            read_manifest(labeled),
            read_recipe(pooled),
            tmp_path / "run",
            resume=True,
            weights=tmp_path / "gone.safetensors",
        )


@pytest.mark.slow
def test_another_seed_gives_another_run(labeled, pooled, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_finish", lambda *_: {})  # the curve alone is compared
    recipe = read_recipe(pooled)
    other = replace(recipe, training=replace(recipe.training, seed=1, epochs=1))
    train(read_manifest(labeled), other, tmp_path)
    assert losses(tmp_path)[0] != losses(trained.folder)[0]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run_also_where_it_was_killed(
    labeled, pooled, trained, tmp_path
):
    command = ("train", labeled, "--recipe", pooled, "--output", tmp_path / "killed")
    with subprocess.Popen(
        [sys.executable, "-m", "meninx", *map(str, command)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            table = tmp_path / "killed/epochs.csv"
            if table.is_file() and len(table.read_text().splitlines()) >= 2:
                break
            time.sleep(0.02)
        time.sleep(0.1)  # into the next epoch
        os.kill(process.pid, signal.SIGKILL)
    assert not (tmp_path / "killed/detector.onnx").exists()
    resumed = meninx(*command, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    whole, again = (
        load_file(folder / "detector.safetensors")
        for folder in (trained.folder, tmp_path / "killed")
    )
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert losses(trained.folder) == losses(tmp_path / "killed")


@pytest.mark.slow
def test_two_processes_train_like_one_with_twice_the_batch(labeled, tmp_path):
    # Slow enough that the curve is still falling, and batches large enough that a process's half
    # of one has nearly the same statistics for batch normalization.
    slow = "\nlearning_rate = 1e-4\nwarmup = 0.0\ntest_fold = 1"
    for name, batch in (("whole", 32), ("half", 16)):
        text = POOLED.format(epochs=3, batch=batch, ema=0.0) + STILL
        text = text.replace("pictures_per_epoch = 24", "pictures_per_epoch = 96")
        (tmp_path / f"{name}.toml").write_text(text.replace("\ntest_fold = 1", slow))
        recipe = read_recipe(tmp_path / f"{name}.toml")
        # The curves alone are wanted of these, and no detector file.
        learned, _ = read_examples(read_manifest(labeled), recipe)
        dataset = SliceDataset(learned, recipe.training_canvas)
        alone = replace(recipe, training=replace(recipe.training, validation_fold=0))
        train_unpacked(dataset, alone, tmp_path / name)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
            "-m",
            "meninx",
            "train",
            str(labeled),
            "--recipe",
            str(tmp_path / "half.toml"),
            "--output",
            str(tmp_path / "two"),
        ],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    two, whole, half = (losses(tmp_path / name) for name in ("two", "whole", "half"))
    np.testing.assert_allclose(two, whole, rtol=0.25, atol=0.005)
    # Without sharing, each process would have gone as one with half the batch goes.
    assert np.all(np.array(half) < 0.7 * np.array(whole))
    assert (tmp_path / "two/detector.onnx").is_file()


def test_processes_share_one_draw():
    kinds = torch.tensor([TUMOR_FREE] * 5 + [UNMASKED] * 3)
    shares = SamplingRecipe(masked=0.3, unmasked=0.2, tumor_free=0.5)
    weights = weights_of([Facts(int(kind)) for kind in kinds], shares)
    whole = list(ShareSampler(weights, 40, 0))
    parts = [list(ShareSampler(weights, 40, 0, rank, 2)) for rank in range(2)]
    assert parts[0] == whole[::2]
    assert parts[1] == whole[1::2]


def drawn_kinds(kinds, shares):
    weights = weights_of([Facts(int(kind)) for kind in kinds], shares)
    return kinds[list(ShareSampler(weights, 4000, 0))]


def test_tumors_keep_their_share_without_masks():
    kinds = torch.tensor([TUMOR_FREE] * 30 + [UNMASKED] * 5)
    shares = SamplingRecipe(masked=0.3, unmasked=0.2, tumor_free=0.5)
    drawn = drawn_kinds(kinds, shares)
    assert (drawn == UNMASKED).float().mean() == pytest.approx(0.5, abs=0.03)
    drawn = drawn_kinds(torch.tensor([MASKED] * 3 + [TUMOR_FREE] * 3), SamplingRecipe())
    assert (drawn == MASKED).float().mean() == pytest.approx(0.5, abs=0.06)


def test_a_pooled_networks_map_is_its_answer():
    network = PooledNetwork().eval()
    x = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        cells, types = network(x)
        pooled = network.stage_maps(x)[-1].mean((2, 3))
        expected = pooled @ network.cell_head.weight[:, :, 0, 0].T + network.cell_head.bias
    torch.testing.assert_close(cells.flatten(1).mean(1, keepdim=True), expected)
    assert cells.shape == (2, 2, 3)
    assert types.shape == (2, 3)


def test_unknown_masks_teach_no_cells():
    mask = torch.zeros(2, 1, 64, 64)
    empty = torch.zeros(2)
    batch = SliceBatch(
        mask,
        mask,
        mask,
        torch.tensor([-1, -1]),
        empty.bool(),
        empty.bool(),
        torch.tensor([True, True]),
    )
    logits = torch.randn(2, 8, 8, requires_grad=True)
    assert cell_loss(logits, batch, LossRecipe()) == 0
    assert batch.tumor.all()


def test_losses_by_hand():
    logits, tumor = torch.tensor([2.0, -1.0]), torch.tensor([True, False])
    plain = torch.log1p(torch.exp(torch.tensor([-2.0, -1.0]))).mean()
    assert picture_loss(logits, tumor) == pytest.approx(float(plain))
    assert picture_loss(logits, tumor, smoothing=0.1) == pytest.approx(float(plain + 0.05 * 1.5))
    assert type_weights(torch.tensor([0, 0, 0, 1, -1]), 3).tolist() == pytest.approx([2 / 3, 2, 0])
    assert type_loss(torch.randn(2, 3), torch.tensor([-1, -1]), None) == 0


def test_the_shipped_weights_start_a_network():
    network = CellNetwork()
    origin = fill_from_shipped(network)
    card = load_detector().card
    assert origin.seen
    assert set(origin.seen) <= set(card.seen)  # some calibrated it alone
    assert origin.seen_slices.complete
    assert 10_000 < len(origin.seen_slices) < len(card.seen_slices)
    assert origin.license == card.license
    assert "CC BY-NC-SA" in card.license
    network.eval()
    size = load_detector().card.preprocessing.size
    x = np.random.default_rng(0).normal(0, 1, (2, 3, size, size)).astype(np.float32)
    with torch.no_grad():
        cells, types = network(torch.from_numpy(x))
    expected = Engine(shipped_detector("fp32")).run(x)
    # Small tensors, biases and scales, are in half precision in one of the two files alone.
    np.testing.assert_allclose(cells, expected[0], atol=1e-2)
    np.testing.assert_allclose(types, expected[1], atol=1e-2)
    pooled = PooledNetwork()
    fill_from_shipped(pooled)
    torch.testing.assert_close(pooled.stem[0].weight, network.stem[0].weight)


def test_imagenet_weights_from_a_file(tmp_path):
    source = resnet18(weights=None)
    torch.save(source.state_dict(), tmp_path / "resnet18.pth")
    save_file(source.state_dict(), tmp_path / "resnet18.safetensors")
    for name in ("resnet18.pth", "resnet18.safetensors"):
        network = PooledNetwork()
        initialize(network, "imagenet", tmp_path / name)
        gray = source.conv1.weight.sum(1, keepdim=True)
        found = network.stem[0].weight.sum(1, keepdim=True)
        torch.testing.assert_close(found, gray, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(network.stages[3][1].conv2.weight, source.layer4[1].conv2.weight)
    with pytest.raises(ModelError, match="expected abc"):
        initialize(network, "imagenet", tmp_path / "resnet18.pth", "abc")
    with pytest.raises(OptionError, match="names no file"):
        initialize(network, "random", None, "abc")
    (tmp_path / "bad.pth").write_bytes(b"words")
    with pytest.raises(ModelError, match="no fitting ResNet"):
        initialize(network, "imagenet", tmp_path / "bad.pth")


def test_weights_of_another_backbone_are_refused_by_name(labeled, tmp_path):
    # A ResNet-34 has every weight of a ResNet-18: without the check it was loaded in part.
    save_file(resnet34(weights=None).state_dict(), tmp_path / "resnet34.safetensors")
    with pytest.raises(ModelError, match=r"weights of resnet34, and network\.backbone is resnet18"):
        initialize(PooledNetwork(), "imagenet", tmp_path / "resnet34.safetensors")
    network = PooledNetwork(backbone="resnet34")
    initialize(network, "imagenet", tmp_path / "resnet34.safetensors")
    with pytest.raises(ModelError, match=r"weights of resnet18, and network\.backbone is resnet34"):
        fill_from_shipped(network)
    recipe = Recipe(network=NetworkRecipe(backbone="resnet50", initialization="meninx"))
    with pytest.raises(OptionError, match="shipped weights are those of resnet18: begin with"):
        train(read_manifest(labeled), recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_imagenet_without_network_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(ModelError, match="--weights FILE --sha256 HEX"):
        initialize(PooledNetwork(), "imagenet")


def test_every_fold_is_tested_once_and_never_chosen_by():
    recipes = [recipe_of_fold(Recipe(), (1, 2, 3), fold).training for fold in (1, 2, 3)]
    assert [(r.test_fold, r.validation_fold) for r in recipes] == [(1, 2), (2, 3), (3, 1)]


def test_two_folds_are_too_few(labeled, tmp_path):
    manifest = read_manifest(labeled)
    two = replace(manifest, pictures=(*manifest.fold(1), *manifest.fold(2)))
    with pytest.raises(DataError, match="2 folds, expected at least 3"):
        train_folds(two, Recipe(), tmp_path)


def test_a_recipe_that_holds_nothing_out_learns_from_all_other_folds():
    recipe = Recipe(training=replace(Recipe().training, validation_fold=0))
    own = recipe_of_fold(recipe, (1, 2, 3), 2).training
    assert (own.test_fold, own.validation_fold) == (2, 0)


NOTHING_HELD_OUT = POOLED.replace("test_fold = 1", "validation_fold = 0")


def test_folds_are_calibrated_by_the_others_and_merge(labeled, tmp_path, monkeypatch):
    whole = read_manifest(labeled)
    manifest = replace(whole, pictures=(*whole.fold(1), *whole.fold(2), *whole.fold(3)))
    monkeypatch.setattr("meninx._learn.fit.merging.STATISTICS_BATCHES", 10)
    (tmp_path / "r.toml").write_text(NOTHING_HELD_OUT.format(epochs=1, batch=8, ema=0.0))
    recipe = read_recipe(tmp_path / "r.toml")
    first = build_network("pooled")
    before = SeenSlices(bytes(DESCRIPTOR_BYTES), complete=True)
    save_weights(first, recipe, tmp_path / "first.safetensors", Origin(("ab" * 8,), "CC0", before))
    files = train_folds(manifest, recipe, tmp_path, weights=tmp_path / "first.safetensors")
    assert sorted(files) == list(manifest.folds)
    pictures, copies = unseen_out_of_fold(manifest, files)
    assert copies == Copies(len(manifest.pictures), 0, known=True)
    cases = score_out_of_fold(pictures, files)
    assert len(cases) == len(manifest.pictures)
    calibrator = calibrate_out_of_fold(cases, files)
    calibrators = [load_detector(path).card.calibration.picture for path in files.values()]
    assert all(calibrator != Calibrator() for calibrator in calibrators)
    assert len({calibrator.temperature for calibrator in calibrators}) > 1
    merged = merge(manifest, recipe, [path.parent for path in files.values()], tmp_path, calibrator)
    card = load_detector(merged).card
    assert card.calibration.picture == calibrator
    assert card.license == "CC0"
    # What any of them has seen, the merged one has: all pictures, and what the first weights saw.
    assert len(card.seen) == 1 + len({sha256_of(picture.picture) for picture in manifest.pictures})
    assert card.seen_slices.complete
    assert len(card.seen_slices) == 1 + len(manifest.pictures)
    assert before.descriptors in card.seen_slices.descriptors
    weights = [load_file(path.with_suffix(".safetensors")) for path in files.values()]
    mean = torch.stack([tensors["cell_head.weight"].float() for tensors in weights]).mean(0)
    found = load_file(merged.with_suffix(".safetensors"))["cell_head.weight"].float()
    torch.testing.assert_close(found, mean, atol=1e-3, rtol=1e-2)
    assert not torch.equal(weights[0]["cell_head.weight"], weights[1]["cell_head.weight"])
