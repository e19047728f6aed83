import numpy as np
import onnx
import pytest
import torch

from meninx.detect.calibration import Calibration
from meninx.detect.detector import Detector
from meninx.detect.engine import Engine
from meninx.detect.preprocessing import Preprocessing
from meninx.learn import gate
from meninx.learn.dataset import SIMULATED, TUMOR_FREE, Example
from meninx.learn.export import Origin, export_detector, recalibrate
from meninx.learn.gate import learn_familiarity, staged
from meninx.learn.network import CellNetwork
from meninx.learn.recipe import NetworkRecipe, Recipe
from meninx.scan.scan import Scan

SIZE = 64
PREPROCESSING = Preprocessing(size=SIZE)


def blob(rng, kind=TUMOR_FREE):
    """Return a soft bright disc somewhere in a dark picture."""
    y, x = np.mgrid[-1:1:90j, -1:1:100j]
    away = np.hypot(x - rng.normal(0, 0.1), y - rng.normal(0, 0.1)) / rng.uniform(0.5, 0.8)
    image = np.clip(1.2 - away, 0, 1) * rng.uniform(80, 120) + rng.uniform(0, 4, x.shape)
    return Example(image.astype(np.float32), None, None, kind)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return CellNetwork().eval()


@pytest.fixture(scope="module")
def known(network):
    rng = np.random.default_rng(0)
    kinds = (TUMOR_FREE, SIMULATED)
    examples = [blob(rng, kinds[number % 2]) for number in range(gate.LEAST_EXAMPLES)]
    return learn_familiarity(network, examples, PREPROCESSING)


def exported(network, known, path):
    recipe = Recipe("tiny", PREPROCESSING, NetworkRecipe())
    export_detector(network, recipe, Calibration(), path, Origin("abc"), known)
    return path


def test_the_file_measures_what_was_learned(network, known, tmp_path):
    engine = Engine(exported(network, known, tmp_path / "d.onnx"))
    x = np.random.default_rng(1).normal(size=(3, 1, SIZE, SIZE)).astype(np.float32)
    with torch.inference_mode():
        means = staged(network, torch.from_numpy(x))[1].numpy()
    expected = np.linalg.norm((means - known.mean) @ known.whitening, axis=1)
    found = engine.run(x)
    # Whitening is stored in half precision.
    np.testing.assert_allclose(found.distance, expected, rtol=0.02)
    assert engine.card.farthest == known.threshold
    assert found.cell_logits.shape == (3, SIZE // 16, SIZE // 16)


def test_distances_of_known_slices_are_those_of_white_noise(network, known):
    """Of f features without correlation the squared length is f in the mean."""
    rng = np.random.default_rng(5)
    examples = [blob(rng) for _ in range(60)]
    again = learn_familiarity(network, examples * 10, PREPROCESSING)
    assert known.whitening.shape == (len(known.mean),) * 2 == (448, 448)
    assert 0.3 < known.threshold / np.sqrt(448) < 3
    assert again is not None


def test_what_is_unlike_all_that_was_learned_is_refused(network, known, tmp_path):
    path = exported(network, known, tmp_path / "d.onnx")
    detector = Detector(path)
    rng = np.random.default_rng(2)
    answers = [detector.score(Scan("x", blob(rng).image.T[..., None])).status for _ in range(20)]
    assert answers.count("scored") >= 18
    strange = rng.uniform(0, 100, (90, 100, 1)).astype(np.float32)
    found = detector.score(Scan("x", strange))
    assert (found.status, found.reason) == ("refused", "not_brain_mri")
    assert found.probability is None
    recalibrate(path, Calibration(), farthest=1e9)
    assert Detector(path).score(Scan("x", strange)).status == "scored"


def test_too_few_slices_describe_nothing(network, tmp_path):
    rng = np.random.default_rng(3)
    few = learn_familiarity(network, [blob(rng) for _ in range(9)], PREPROCESSING)
    assert few is None
    path = exported(network, few, tmp_path / "d.onnx")
    assert [output.name for output in onnx.load(path).graph.output] == [
        "cell_logits", "type_logits",
    ]  # fmt: skip
    assert Engine(path).card.farthest is None
    strange = rng.uniform(0, 100, (90, 100, 1)).astype(np.float32)
    assert Detector(path).score(Scan("x", strange)).status == "scored"
