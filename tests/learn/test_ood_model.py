import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from meninx._assess.metrics import auroc
from meninx._detect.calibration import Calibration
from meninx._detect.detector import Detector
from meninx._detect.engine import Engine
from meninx._detect.preprocessing import Preprocessing
from meninx._learn.file import ood_model
from meninx._learn.file.export import TrainingData, export_detector, recalibrate
from meninx._learn.file.ood_model import early_features, fit_ood_model, network_features
from meninx._learn.input.dataset import SIMULATED, TUMOR_FREE, Example, Facts, SliceDataset
from meninx._learn.model.network import CellNetwork
from meninx._learn.recipe import NetworkRecipe, Recipe
from meninx._scan.scan import Scan
from meninx._synthesis import simulated_scans
from meninx._synthesis.outliers import with_ghosting

SIZE = 64
PREPROCESSING = Preprocessing(size=SIZE)


def blob(rng, kind=TUMOR_FREE):
    """Return a soft bright disc somewhere in a dark picture."""
    y, x = np.mgrid[-1:1:90j, -1:1:100j]
    away = np.hypot(x - rng.normal(0, 0.1), y - rng.normal(0, 0.1)) / rng.uniform(0.5, 0.8)
    image = np.clip(1.2 - away, 0, 1) * rng.uniform(80, 120) + rng.uniform(0, 4, x.shape)
    return Example(image.astype(np.float32), None, Facts(kind))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return CellNetwork().eval()


@pytest.fixture(scope="module", autouse=True)
def few():
    """Draw fewer outliers than a real run does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ood_model, "OUTLIERS", 100)
        patch.setattr(ood_model, "GHOSTED", 100)
        patch.setattr(simulated_scans, "BRAINLESS_HEADS", 2)
        yield


@pytest.fixture(scope="module")
def known(network):
    rng = np.random.default_rng(0)
    kinds = (TUMOR_FREE, SIMULATED)
    examples = [blob(rng, kinds[number % 2]) for number in range(ood_model.MIN_EXAMPLES)]
    return fit_ood_model(
        network_features(network), SliceDataset(examples, PREPROCESSING), PREPROCESSING
    )


def features_of(network, slices):
    features = network_features(network)
    return np.concatenate(
        [
            ood_model._batch_features(features, batch.image, PREPROCESSING)
            for batch in slices.batches(64)
        ]
    )


def exported(network, known, path):
    recipe = Recipe("tiny", PREPROCESSING, NetworkRecipe())
    export_detector(network, recipe, Calibration(), path, TrainingData("abc"), known)
    return path


@pytest.fixture(scope="module")
def detector_file(network, known, tmp_path_factory):
    return exported(network, known, tmp_path_factory.mktemp("detector") / "d.onnx")


def test_the_file_measures_what_was_learned(network, known, detector_file):
    engine = Engine(detector_file)
    x = np.random.default_rng(1).normal(size=(3, 3, SIZE, SIZE)).astype(np.float32)
    with torch.inference_mode():
        features = early_features(network.stage_maps(torch.from_numpy(x))).numpy()
    z = (features - known.center) / known.scale
    distance = np.linalg.norm(z @ known.whitening, axis=1)
    logits = np.clip(z, -30, 30) @ known.weights + known.bias
    expected = np.maximum(distance, logits.max(1))
    found = engine.run(x)
    # Whitening is stored in half precision.
    np.testing.assert_allclose(found.ood_scores, expected, rtol=0.02)
    assert engine.card.ood_threshold == known.threshold
    assert found.cell_logits.shape == (3, SIZE // 8, SIZE // 8)


def test_features_are_mean_and_deviation_of_three_stages(network):
    x = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features = early_features(network.stage_maps(x))
        first = network.stages[0](network.stem(x))
    assert features.shape == (2, 2 * (64 + 128 + 256))
    assert torch.allclose(features[:, :64], first.mean((2, 3)), atol=1e-5)
    assert torch.allclose(features[:, 64:128], first.std((2, 3), correction=0), atol=1e-3)


def test_all_measures_are_one_at_their_threshold(network, known):
    """About 1 % of the known slices that were not fitted lie beyond."""
    rng = np.random.default_rng(5)
    slices = SliceDataset([blob(rng) for _ in range(200)], PREPROCESSING)
    z = (features_of(network, slices) - known.center) / known.scale
    distance = np.linalg.norm(z @ known.whitening, axis=1)
    logits = np.clip(z, -30, 30) @ known.weights + known.bias
    assert np.mean(distance > 1) < 0.06
    assert (np.mean(logits > 1, axis=0) < 0.06).all()
    assert (np.abs(np.median(logits, axis=0)) < 0.3).all()
    assert known.weights.shape == (896, 2)
    assert known.whitening.shape == (len(known.center),) * 2 == (896, 896)


def test_ghosted_slices_are_separated_from_the_originals(network, known):
    rng = np.random.default_rng(7)
    whole = [blob(rng) for _ in range(60)]
    spoiled = [
        Example(image, None, Facts(SIMULATED))
        for image in with_ghosting(60, [example.image for example in whole], seed=1)
    ]
    logits = []
    for part in (whole, spoiled):
        features = features_of(network, SliceDataset(part, PREPROCESSING))
        z = np.clip((features - known.center) / known.scale, -30, 30)
        logits.append((z @ known.weights + known.bias)[:, 1])
    truth = np.repeat([False, True], 60)
    # Weights are random here: how many lie beyond the threshold is measured on the shipped ones.
    assert auroc(truth, np.concatenate(logits)) > 0.75


def test_contrasts_that_no_scanner_gives_are_not_learned(network):
    rng = np.random.default_rng(6)
    facts = Facts(SIMULATED, plausible=False)
    odd = [replace(blob(rng), facts=facts) for _ in range(ood_model.MIN_EXAMPLES)]
    assert (
        fit_ood_model(network_features(network), SliceDataset(odd, PREPROCESSING), PREPROCESSING)
        is None
    )


def test_what_is_unlike_all_that_was_learned_is_refused(detector_file, tmp_path):
    path = shutil.copy(detector_file, tmp_path / "d.onnx")
    detector = Detector(path)
    rng = np.random.default_rng(2)
    answers = [detector.score(Scan("x", blob(rng).image.T[..., None])).status for _ in range(20)]
    assert answers.count("scored") >= 18
    strange = rng.uniform(0, 100, (90, 100, 1)).astype(np.float32)
    found = detector.score(Scan("x", strange))
    assert (found.status, found.reason) == ("refused", "not_brain_mri")
    assert found.probability is None
    recalibrate(path, Calibration(), ood_threshold=1e9)
    assert Detector(path).score(Scan("x", strange)).status == "scored"


def test_too_few_slices_describe_nothing(network, tmp_path):
    rng = np.random.default_rng(3)
    nine = SliceDataset([blob(rng) for _ in range(9)], PREPROCESSING)
    few = fit_ood_model(network_features(network), nine, PREPROCESSING)
    assert few is None
    path = exported(network, few, tmp_path / "d.onnx")
    assert [output.name for output in onnx.load(path).graph.output] == [
        "cell_logits",
        "type_logits",
    ]
    assert Engine(path).card.ood_threshold is None
    strange = rng.uniform(0, 100, (90, 100, 1)).astype(np.float32)
    assert Detector(path).score(Scan("x", strange)).status == "scored"
