import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from meninx._data.manifest import Picture, read_manifest
from meninx._data.volume_masks import read_mask, tumor_area
from meninx._detect.calibration import Calibration
from meninx._detect.calibrator import Calibrator, sigmoid
from meninx._detect.engine import Engine
from meninx._detect.findings import Findings
from meninx._detect.head_slices import brain_slices
from meninx._detect.loading import load_detector
from meninx._detect.pooling import slice_logits
from meninx._detect.preprocessing import Preprocessing, crop_window_of
from meninx._errors import DataError, ModelError, OptionError
from meninx._learn.file.export import (
    Origin,
    TrainingData,
    export_detector,
    load_weights,
    recalibrate,
    save_weights,
)
from meninx._learn.file.provenance import check_same_run
from meninx._learn.file.validation import (
    Validation,
    best_threshold,
    fit_calibrator,
    fit_scale,
    with_refusals,
)
from meninx._learn.fit.checkpoints import DirectCheckpointIO
from meninx._learn.fit.epochs import read_epochs
from meninx._learn.fit.losses import cell_targets
from meninx._learn.fit.module import DetectorTraining, cosine_with_warmup
from meninx._learn.fit.training import train
from meninx._learn.input.dataset import Facts, SliceDataset, examples_of
from meninx._learn.input.sampling import ShareSampler, weights_of
from meninx._learn.model.network import CellNetwork, PooledNetwork, picture_logit
from meninx._learn.recipe import Recipe, SamplingRecipe, TrainingRecipe, changed_recipe
from meninx._scan.reading import read_one
from meninx._synthesis.phantom_studies import make_studies
from meninx._synthesis.writing import write_studies
from tests import exporting
from tests.conftest import coarse_grid
from tests.exporting import SharedExporter

KNOWN = Calibration(Calibrator(1.5, 0.4, 0.3), Calibrator(1.2, 0.6, 0.5))
OTHER = Calibration(Calibrator(1.0, 0.1, 0.05), Calibrator(2.0, 0.2, 0.1))
TINY = Recipe(
    name="tiny",
    preprocessing=Preprocessing(size=64),
    training=TrainingRecipe(
        epochs=3, pictures_per_epoch=12, batch_size=4, validation_fold=5, precision="32-true"
    ),
    sampling=SamplingRecipe(
        masked=0.5, tumor_free=0.5, simulated=0.2, phantoms=1, calibration_phantoms=2
    ),
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Ten phantoms as pictures, in five folds."""
    folder = tmp_path_factory.mktemp("pictures")
    list(write_studies(make_studies(10, 100, coarse_grid), folder, "png"))
    return folder


def test_the_learning_rate_rises_and_ends_at_zero():
    factor = cosine_with_warmup(100, 0.1)
    values = [factor(step) for step in range(100)]
    assert values[0] == pytest.approx(0.1)
    assert values[9] == pytest.approx(1)
    assert values[99] == pytest.approx(0, abs=1e-12)
    assert all(later < earlier for earlier, later in pairwise(values[10:]))


def test_further_epochs_begin_low_and_leave_the_schedule_as_it_was():
    plain, longer = cosine_with_warmup(100, 0.1), cosine_with_warmup(100, 0.1, further=30)
    assert [longer(step) for step in range(100)] == [plain(step) for step in range(100)]
    again = [longer(step) for step in range(100, 130)]
    assert again[0] == pytest.approx(0.1)
    assert again == sorted(again, reverse=True)
    assert again[-1] == pytest.approx(0)


def test_small_tumors_have_a_cell_too_and_borders_count_as_neither():
    mask = torch.zeros(3, 1, 64, 64)
    mask[0, 0, :16, :16] = 1  # four full cells
    mask[1, 0, 10:13, 10:13] = 1  # 14 % of one cell
    mask[0, 0, 16:17, :8] = 1  # an eighth of a fifth one
    tumor, healthy = cell_targets(mask)
    assert tumor.sum((1, 2)).tolist() == [4, 1, 0]
    assert healthy.sum((1, 2)).tolist() == [59, 63, 64]


def test_torch_and_numpy_score_slices_alike():
    cells = torch.randn(5, 4, 6)
    np.testing.assert_allclose(picture_logit(cells), slice_logits(cells.numpy()), rtol=1e-6)


def test_onnx_equals_torch_but_for_the_rounding_of_weights(tmp_path):
    torch.manual_seed(0)
    network = CellNetwork().eval()
    # Weights that half precision holds exactly leave only the order of additions.
    for parameter in network.parameters():
        parameter.data = parameter.data.half().float()
    path = tmp_path / "d.onnx"
    export_detector(network, TINY, KNOWN, path, TrainingData("abc"))
    engine = Engine(path)
    x = np.random.default_rng(0).normal(size=(3, 3, 64, 64)).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(x))
    for found, wanted in zip(engine.run(x)[:2], expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-3)
    assert path.stat().st_size < 25e6
    assert engine.card.calibration == KNOWN
    assert engine.card.preprocessing == TINY.preprocessing
    recalibrate(path, OTHER)
    assert Engine(path).card.calibration == OTHER
    np.testing.assert_array_equal(Engine(path).run(x)[0], engine.run(x)[0])


def test_a_graph_that_tests_share_is_that_of_the_exporter(tmp_path, monkeypatch):
    """Other tests trace a graph once and fill in weights, by tests/exporting.py."""
    (tmp_path / "traced").mkdir()
    monkeypatch.setattr("torch.onnx.export", SharedExporter(tmp_path / "traced"))
    for name in ("first", "shared"):
        network = PooledNetwork()
        export_detector(network, TINY, KNOWN, tmp_path / f"{name}.onnx", TrainingData("abc"))
    assert len(list((tmp_path / "traced").iterdir())) == 1
    monkeypatch.setattr("torch.onnx.export", exporting.EXPORT)
    export_detector(network, TINY, KNOWN, tmp_path / "own.onnx", TrainingData("abc"))
    shared, own = (onnx.load(tmp_path / f"{name}.onnx").graph for name in ("shared", "own"))
    # Numbers in the nodes' names alone may differ.
    nodes = [
        [(node.op_type, list(node.attribute)) for node in graph.node] for graph in (shared, own)
    ]
    assert nodes[0] == nodes[1]
    assert list(shared.initializer) == list(own.initializer)
    x = np.random.default_rng(0).normal(size=(3, 3, 64, 64)).astype(np.float32)
    answers = [Engine(tmp_path / f"{name}.onnx").run(x) for name in ("shared", "own")]
    np.testing.assert_array_equal(answers[0].cell_logits, answers[1].cell_logits)
    np.testing.assert_array_equal(answers[0].type_logits, answers[1].type_logits)


def test_the_sampler_draws_by_share_epoch_and_seed():
    kinds = torch.tensor([0] * 900 + [1] * 90 + [2] * 10)
    shares = SamplingRecipe(masked=0.5, tumor_free=0.3, simulated=0.2, phantoms=1)
    weights = weights_of([Facts(int(kind)) for kind in kinds], shares)
    sampler = ShareSampler(weights, 4000, seed=1)
    first, second = list(sampler), list(sampler)
    assert first != second
    sampler.epoch = 0
    assert list(sampler) == first
    shares = np.bincount(kinds[first].numpy()) / 4000
    np.testing.assert_allclose(shares, [0.5, 0.3, 0.2], atol=0.04)
    assert list(sampler) == second


def test_tumors_without_a_mask_teach_no_cells(pictures):
    manifest = read_manifest(pictures)
    blind = [replace(picture, mask=None) for picture in manifest.pictures]
    assert len(list(examples_of(manifest.pictures))) == 10
    assert len(list(examples_of(blind))) == 5


@pytest.mark.parametrize("value", [1, 7, 255])
def test_any_value_marks_a_tumor_in_a_mask(tmp_path, value):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (90, 80), np.uint8)).save(tmp_path / "p.png")
    mask = np.zeros((90, 80), np.uint8)
    mask[20:40, 30:50] = value
    Image.fromarray(mask).save(tmp_path / "m.png")
    picture = Picture("p", tmp_path / "p.png", tmp_path / "m.png", True, "glioma", "g", 1, "s")
    (example,) = examples_of([picture])
    assert example.mask.sum() == 400


def test_masks_that_do_not_fit_are_data_errors(tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (90, 80), np.uint8)).save(tmp_path / "p.png")
    picture = Picture("p", tmp_path / "p.png", tmp_path / "m.png", True, "glioma", "g", 1, "s")
    Image.fromarray(np.zeros((90, 80), np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(DataError, match="is empty"):
        list(examples_of([picture]))
    mask = np.zeros((80, 90), np.uint8)
    mask[20:40, 30:50] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    with pytest.raises(DataError, match="90 x 80 pixels, its picture 80 x 90"):
        list(examples_of([picture]))
    with pytest.raises(DataError, match="labeled tumor-free, but its mask"):
        list(examples_of([replace(picture, tumor=False)]))


def test_the_dataset_holds_what_the_detector_sees(pictures):
    dataset = SliceDataset(examples_of(read_manifest(pictures).pictures), Preprocessing(size=64))
    assert dataset.image.shape == (10, 64, 64)
    assert dataset.image.dtype == torch.uint8
    assert (dataset.mask.flatten(1).amax(1) > 0).sum() == 5
    assert dataset.depth.amax() == 255


def test_slices_of_a_volume_are_learned_as_the_detector_sees_them(tmp_path):
    (study,) = make_studies(1, 700, coarse_grid)
    (row,) = write_studies([study], tmp_path, "nifti")
    del row
    (picture,) = read_manifest(tmp_path).pictures
    examples = list(examples_of([picture]))
    preprocessing = Preprocessing(size=64)
    dataset = SliceDataset(examples, preprocessing)
    slices = brain_slices(read_one(picture.picture))
    images = np.stack([slice_.image for slice_ in slices])
    crop_window = crop_window_of(images)
    placement = preprocessing.placement(crop_window, images.shape[1:], slices[0].pixel_spacing)
    for image, learned in zip(images, dataset.image.numpy() / 255, strict=True):
        seen = preprocessing.rescale(image, crop_window, placement)
        np.testing.assert_allclose(learned, seen, atol=0.51 / 255)
    mask = read_mask(picture.mask, read_one(picture.picture))
    sick = set(np.flatnonzero(tumor_area(study.scan, mask)))
    learned = {
        slice_.index for slice_, e in zip(slices, examples, strict=True) if e.mask is not None
    }
    assert learned == sick & {slice_.index for slice_ in slices}


def test_the_threshold_separates_with_the_widest_margin():
    logits = np.array([-3.0, -2.0, 4.0, 5.0])
    tumor = np.array([False, False, True, True])
    assert best_threshold(logits, tumor) == 1.0
    assert best_threshold(np.array([0.0, 1, 2, 3]), np.array([False, True, False, True])) in (
        0.5,
        2.5,
    )


def test_temperature_of_logits_that_are_too_sure():
    rng = np.random.default_rng(0)
    tumor = rng.random(4000) < 0.5
    honest = rng.normal(np.where(tumor, 1, -1), 1.0) * 2  # the log-odds of two unit Gaussians
    plain = fit_calibrator(honest, tumor)
    assert (plain.temperature, plain.unit) == pytest.approx((1, 1), abs=0.15)
    assert plain.offset == pytest.approx(0, abs=0.1)
    calibrator = fit_calibrator(honest * 3, tumor)
    assert calibrator.temperature == pytest.approx(3, abs=0.4)
    found = honest * 3 >= calibrator.sensitive
    assert found[tumor].mean() == pytest.approx(0.95, abs=0.002)
    called = honest * 3 >= calibrator.specific
    assert called[~tumor].mean() == pytest.approx(0.05, abs=0.002)
    assert 0.5 - 0.06 < calibrator.probability(calibrator.balanced) < 0.5 + 0.06


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_scale_with_an_offset_is_that_of_one_half_whatever_the_share_of_tumors(share):
    rng = np.random.default_rng(1)
    tumor = rng.random(20_000) < share
    # Log odds of two unit Gaussians, moved and stretched as a network's logits are.
    moved = rng.normal(np.where(tumor, 1, -1), 1.0) * 2 * 0.7 + 3
    temperature, offset = fit_scale(moved, tumor)
    assert temperature == pytest.approx(0.7, abs=0.05)
    assert offset == pytest.approx(-3 / 0.7, abs=0.3)


def test_a_scale_of_classes_that_do_not_overlap_stays_finite():
    logits = np.array([-2.0, -1.0, 3.0, 4.0, 5.0])
    temperature, offset = fit_scale(logits, logits > 0)
    probabilities = sigmoid(logits / temperature + offset)
    assert (np.diff(probabilities) > 0).all()
    # Platt: of three tumors four in five are right, of two tumor-free scans three in four.
    assert 0.6 < probabilities[2] < probabilities[4] < 0.95


def test_validation_figures_by_hand():
    validation = Validation()
    cells = torch.tensor([[[3.0, 0], [1, 2]], [[0.0, 1], [2, 5]], [[0.0, 0], [1, 1]]])
    tumor = torch.tensor([[[1, 0], [0, 0]], [[0, 0], [1, 0]], [[0, 0], [0, 0]]]).bool()
    logits = torch.tensor([3.0, 5.0, 1.0])
    has_tumor = tumor.flatten(1).any(1)
    types = torch.tensor([0, 2, -1])
    validation.add(logits, has_tumor, torch.eye(3), types, (cells, tumor, ~tumor))
    figures = validation.figures()
    assert figures["within"] == pytest.approx((1 + 2 / 3) / 2)
    assert figures["peak"] == 0.5
    assert figures["picture"] == 1
    assert figures["type"] == 0.5


@pytest.fixture(scope="module")
def whole(pictures, tmp_path_factory):
    """A run of TINY that nothing broke off."""
    return train(read_manifest(pictures), TINY, tmp_path_factory.mktemp("whole") / "run")


@pytest.mark.slow
def test_a_run_resumed_ends_where_the_unbroken_one_does(pictures, whole, tmp_path):

    class StopsError(Exception):
        pass

    begin = DetectorTraining.on_train_epoch_start

    def stop_in_the_third(module):
        if module.current_epoch == 2:
            raise StopsError
        begin(module)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DetectorTraining, "on_train_epoch_start", stop_in_the_third)
        with pytest.raises(StopsError):
            train(read_manifest(pictures), TINY, tmp_path / "parts")
    assert not (tmp_path / "parts" / "detector.onnx").exists()
    other = replace(TINY, training=replace(TINY.training, validation_fold=4))
    with pytest.raises(OptionError, match="processes = 1"):
        check_same_run(tmp_path / "parts", TINY, read_manifest(pictures).sha256, 2)
    with pytest.raises(OptionError, match=r"settings .training\.validation_fold"):
        train(read_manifest(pictures), other, tmp_path / "parts", resume=True)
    resumed = train(read_manifest(pictures), TINY, tmp_path / "parts", resume=True)
    tables = [(run.folder / "epochs.csv").read_text().splitlines() for run in (whole, resumed)]
    assert len(tables[0]) == len(tables[1]) == 4
    x = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)
    np.testing.assert_allclose(
        Engine(whole.detector).run(x)[0], Engine(resumed.detector).run(x)[0], atol=1e-5
    )
    # A finished run goes on, and its learning rate does not rise to the peak again.
    longer = changed_recipe(TINY, further_epochs=1)
    train(read_manifest(pictures), longer, tmp_path / "parts", resume=True)
    rows = read_epochs(tmp_path / "parts" / "epochs.csv")
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2, 3]
    assert float(rows[-1]["learning_rate"]) <= 0.1 * TINY.training.learning_rate
    with pytest.raises(OptionError, match="further_epochs"):
        more = changed_recipe(TINY, further_epochs=2)
        check_same_run(tmp_path / "parts", more, read_manifest(pictures).sha256, 1)


@pytest.mark.slow
def test_a_run_folder_holds_all_that_rebuilds_it(pictures, whole, sick):
    names = {path.name for path in whole.folder.iterdir()}
    assert {
        "detector.onnx",
        "detector.safetensors",
        "run.json",
        "epochs.csv",
        "validation.json",
        "tensorboard",
        "checkpoints",
    } <= names
    facts = json.loads((whole.folder / "run.json").read_text())
    assert facts["recipe"]["name"] == "tiny"
    assert facts["manifest_sha256"] == read_manifest(pictures).sha256
    assert load_detector(whole.detector).score(sick.scan).status == "scored"


def test_an_empty_fold_is_a_data_error(pictures, tmp_path):
    recipe = replace(TINY, training=replace(TINY.training, validation_fold=9))
    with pytest.raises(DataError, match="no picture of fold 9"):
        train(read_manifest(pictures), replace(recipe, sampling=SamplingRecipe()), tmp_path)


def test_weights_of_a_run_start_another(tmp_path):
    network, other = CellNetwork(), CellNetwork()
    origin = Origin(("abc",), "CC0")
    save_weights(network, TINY, tmp_path / "d.safetensors", origin)
    assert load_weights(other, tmp_path / "d.safetensors") == origin
    for first, second in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.allclose(first, second, atol=1e-3)
    (tmp_path / "bad.safetensors").write_bytes(b"words")
    with pytest.raises(ModelError, match="not the weights of this network"):
        load_weights(other, tmp_path / "bad.safetensors")


def test_a_checkpoint_is_whole_or_the_one_before(tmp_path):
    path, writer = tmp_path / "run" / "last.ckpt", DirectCheckpointIO()
    writer.save_checkpoint({"epoch": 1, "state_dict": {"a": torch.ones(3)}}, path)
    with pytest.raises(Exception, match="pickle"):  # breaks off amid the file
        writer.save_checkpoint({"epoch": 2, "loss": lambda: 0}, path)
    saved = torch.load(path, weights_only=True)
    assert saved["epoch"] == 1
    assert torch.equal(saved["state_dict"]["a"], torch.ones(3))
    writer.save_checkpoint({"epoch": 2}, str(path))
    assert torch.load(path, weights_only=True) == {"epoch": 2}


def test_a_scale_knows_how_many_of_its_scans_are_refused():
    found = [Findings("a", status) for status in ("scored", "refused", "scored", "failed")]
    calibrator = with_refusals(Calibrator(1.5), found)
    assert (calibrator.temperature, calibrator.judged, calibrator.refused) == (1.5, 3, 1)
