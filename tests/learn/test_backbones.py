"""Networks on each backbone: the same maps, and a detector file that says which one it has."""

import numpy as np
import pytest
import torch

import meninx.torch
from meninx._detect.calibration import Calibration
from meninx._detect.engine import Engine
from meninx._detect.preprocessing import Preprocessing
from meninx._errors import ModelError
from meninx._learn.file.export import TrainingData, export_detector
from meninx._learn.file.ood_model import OodModel, early_features
from meninx._learn.fit.module import DetectorTraining
from meninx._learn.model.network import CellNetwork, PooledNetwork, build_network, network_of
from meninx._learn.recipe import NetworkRecipe, Recipe

SIZE = 64
CHANNELS = {"resnet18": 64, "resnet34": 64, "resnet50": 256}


@pytest.mark.parametrize("backbone", CHANNELS)
def test_each_backbone_gives_cells_types_and_features_of_its_width(backbone):
    recipe = Recipe(network=NetworkRecipe(backbone=backbone))
    network = DetectorTraining(recipe).network.eval()
    x = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    channels = CHANNELS[backbone]
    with torch.inference_mode():
        maps = network.stage_maps(x)
        cells, types = network.heads(maps)
        pooled_cells, _ = build_network("pooled", backbone=backbone).eval()(x)
    assert [each.shape[1] for each in maps] == [channels, 2 * channels, 4 * channels, 8 * channels]
    # The last stage keeps the resolution of the third one.
    assert [each.shape[2] for each in maps] == [16, 8, 4, 4]
    assert (cells.shape, types.shape) == ((2, 8, 8), (2, 3))
    assert pooled_cells.shape == (2, 2, 2)
    assert early_features(maps).shape == (2, 2 * 7 * channels)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A detector of a ResNet-50 with an out-of-distribution model of random numbers."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    count = 2 * 7 * CHANNELS["resnet50"]

    def drawn(*shape):
        return rng.normal(0, 0.01, shape).astype(np.float32)

    ood_model = OodModel(
        drawn(count), np.ones(count, np.float32), drawn(count, count), drawn(count, 2), drawn(2)
    )
    path = tmp_path_factory.mktemp("deep") / "detector.onnx"
    recipe = Recipe("deep", Preprocessing(size=SIZE), NetworkRecipe(backbone="resnet50"))
    network = CellNetwork(backbone="resnet50").eval()
    export_detector(network, recipe, Calibration(), path, TrainingData("abc"), ood_model)
    return path


def test_a_detector_file_names_its_backbone_and_its_network_is_read_again(exported):
    engine = Engine(exported)
    assert engine.card.backbone == "resnet50"
    assert engine.card.network_title == "ResNet-50"
    network = meninx.torch.load_network(exported)
    x = np.random.default_rng(1).normal(size=(2, 3, SIZE, SIZE)).astype(np.float32)
    with torch.inference_mode():
        cells, types = network(torch.from_numpy(x))
    found = engine.run(x)
    np.testing.assert_allclose(found.cell_logits, cells, atol=0.02, rtol=0.01)
    np.testing.assert_allclose(found.type_logits, types, atol=0.02, rtol=0.01)
    assert found.ood_scores.shape == (2,)
    assert (found.ood_scores > 0).all()
    assert meninx.torch.features(network, torch.from_numpy(x)).shape == (2, 2048)


def test_a_file_of_an_unknown_backbone_is_refused(exported):
    card = Engine(exported).card
    assert isinstance(network_of(card), CellNetwork)
    object.__setattr__(card, "backbone", "vit")
    with pytest.raises(ModelError, match="backbone 'vit', this version knows resnet18, "):
        network_of(card)
    object.__setattr__(card, "backbone", "resnet34")
    object.__setattr__(card, "top_cells", 0)
    assert isinstance(network_of(card), PooledNetwork)
