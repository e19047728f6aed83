import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from lab.release.head_graph import FEATURES, GRID, add_features, add_heads, without_heads
from meninx._detect.loading import load_detector, shipped_detector
from meninx._detect.runtimes import OnnxNetwork

KINDS = 5


@pytest.fixture(scope="module", params=["onnxruntime", "onnxruntime-int8"])
def plain(request):
    model = onnx.load(shipped_detector(request.param))
    without_heads(model)
    return model


@pytest.fixture(scope="module")
def x():
    size = load_detector().card.preprocessing.size
    return np.random.default_rng(0).normal(0, 1, (2, 3, size, size)).astype(np.float32)


def copied(model):
    return onnx.ModelProto.FromString(model.SerializeToString())


def run(model, x):
    return OnnxNetwork(model.SerializeToString(), threads=1).run(x)


def test_heads_leave_weights_and_outputs_as_they_are(plain, x):
    side = x.shape[-1] // 16
    reading = copied(plain)
    add_features(reading, side)
    features = run(reading, x)[FEATURES]
    rng = np.random.default_rng(1)
    weights = rng.normal(0, 0.01, (features.shape[1], KINDS)).astype(np.float32)
    bias = rng.normal(0, 1, KINDS).astype(np.float32)
    model = copied(plain)
    add_heads(model, side, weights, bias)
    onnx.checker.check_model(model)
    before, after = run(plain, x), run(model, x)
    assert set(after) == {*before, "recognition"}
    assert all(np.array_equal(before[name], after[name]) for name in before)
    expected = features @ weights.astype(np.float16).astype(np.float32) + bias
    np.testing.assert_allclose(after["recognition"], expected, rtol=1e-3, atol=1e-3)
    own = {tensor.name: tensor for tensor in model.graph.initializer}
    for tensor in plain.graph.initializer:
        assert own[tensor.name] == tensor
    without_heads(model)
    assert model.SerializeToString() == plain.SerializeToString()


def test_the_grid_averages_the_last_map_as_adaptive_pooling_does():
    model = onnx.load(shipped_detector())
    without_heads(model)
    add_features(model, 13)
    (pooling,) = (t for t in model.graph.initializer if t.name == "recognition_grid")
    maps = np.random.default_rng(0).normal(0, 1, (1, 2, 13, 13)).astype(np.float32)
    expected = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(maps), GRID).flatten(1)
    found = (maps.reshape(1, 2, -1) @ numpy_helper.to_array(pooling)).reshape(1, -1)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)
