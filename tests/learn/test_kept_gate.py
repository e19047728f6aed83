"""The out-of-distribution model of detectors that learned from few pictures."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from meninx._detect.calibration import Calibration
from meninx._detect.detector import Detector
from meninx._detect.engine import Engine
from meninx._detect.gate import NO_OOD_MODEL
from meninx._detect.loading import shipped_detector
from meninx._learn.file.build_detector import build_detector
from meninx._learn.file.export import TrainingData, load_weights
from meninx._learn.file.ood_model import early_features, ood_model_in
from meninx._learn.fit.training import _detector_of_features
from meninx._learn.input.dataset import TUMOR_FREE, Example, Facts, SliceDataset
from meninx._learn.model.network import CellNetwork
from meninx._learn.recipe import NetworkRecipe, Recipe, SamplingRecipe
from meninx._scan.scan import Scan
from meninx._synthesis.outliers import synthetic_outliers
from tests.learn.test_ood_model import PREPROCESSING, blob


@pytest.fixture(scope="module")
def shipped():
    network = CellNetwork().eval()
    load_weights(network, shipped_detector("fp32").with_suffix(".safetensors"))
    return network


def slices_of(images, preprocessing):
    return SliceDataset(
        [Example(image, None, Facts(TUMOR_FREE)) for image in images], preprocessing
    )


def test_the_shipped_model_measures_the_same_outside_its_file(shipped):
    engine = Engine(shipped_detector("fp32"))
    preprocessing = engine.card.preprocessing
    kept = ood_model_in(shipped_detector("fp32"), preprocessing)
    rng = np.random.default_rng(0)
    images = synthetic_outliers(2, [blob(rng).image for _ in range(4)])
    stack = slices_of(images, preprocessing).batch(torch.arange(2)).image
    x = ((stack - preprocessing.mean) / preprocessing.std).float()
    with torch.inference_mode():
        features = early_features(shipped.stage_maps(x)).double().numpy()
    own = engine.run(x.numpy()).ood_scores / engine.card.ood_threshold
    np.testing.assert_allclose(kept.scores(features), own, rtol=0.02)
    assert ood_model_in(shipped_detector("fp32"), replace(preprocessing, size=64)) is None


@pytest.mark.parametrize(
    ("frozen", "initialization", "kept"),
    [
        ("features", "meninx", True),
        ("backbone", "meninx", True),
        ("nothing", "meninx", False),
        ("backbone", "imagenet", False),
    ],
)
def test_only_unchanged_features_keep_their_model(frozen, initialization, kept):
    recipe = Recipe("r", network=NetworkRecipe(frozen=frozen, initialization=initialization))
    assert (_detector_of_features(recipe, None) is not None) == kept


def test_weights_of_a_run_bring_the_detector_beside_them(tmp_path):
    recipe = Recipe("r", network=NetworkRecipe(frozen="features", initialization="meninx"))
    weights = tmp_path / "detector.safetensors"
    assert _detector_of_features(recipe, weights) is None
    (tmp_path / "detector.onnx").touch()
    assert _detector_of_features(recipe, weights) == tmp_path / "detector.onnx"


def test_a_detector_of_few_pictures_says_that_it_knows_no_other_pictures(tmp_path, caplog):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    slices = SliceDataset([blob(rng) for _ in range(3)], PREPROCESSING)
    with caplog.at_level("INFO"):
        path = build_detector(
            CellNetwork(),
            Recipe("tiny", PREPROCESSING, sampling=SamplingRecipe(calibration_phantoms=0)),
            slices,
            tmp_path / "detector.onnx",
            TrainingData("abc"),
            calibration=Calibration(),
        )
    assert "3 slices are too few to fit one, which needs 500" in caplog.text
    assert "fitting the out-of-distribution" not in caplog.text
    detector = Detector(path)
    assert detector.card.to_metadata()["out-of-distribution model"].startswith("none")
    scan = Scan("a.png", blob(rng).image.T[:, :, None], None, "unknown")
    assert NO_OOD_MODEL in detector.score(scan).warnings
