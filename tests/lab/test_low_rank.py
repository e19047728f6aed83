"""Two convolutions have nearly the outputs of the one that they replace."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lab.release.low_rank import RANK_STEP, factorize
from meninx._detect.calibration import Calibration
from meninx._learn.file.export import TrainingData, export_detector, load_weights
from meninx._learn.model.network import CellNetwork, take_shape
from meninx._learn.recipe import Recipe

RANK = 8


@pytest.fixture
def slices() -> Tensor:
    """Return smooth noise, shape (6, 3, 96, 96)."""
    torch.manual_seed(0)
    return nn.functional.interpolate(torch.randn(6, 3, 24, 24), scale_factor=4, mode="bilinear")


def thin_network() -> CellNetwork:
    """Return a network whose convolutions answer in a space of few dimensions."""
    torch.manual_seed(1)
    network = CellNetwork().eval()
    for module in network.stages.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            out = module.out_channels
            mixing = torch.randn(out, RANK) @ torch.randn(RANK, out) / (RANK * out) ** 0.5
            with torch.no_grad():
                module.weight.copy_(torch.einsum("de,echw->dchw", mixing, module.weight))
        if isinstance(module, nn.BatchNorm2d):
            # As after training: no two channels alike, one of them switched off.
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.normal_(module.bias)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            module.weight.data[0] = 0.0
    return network


def parameters(network: nn.Module) -> int:
    """Return how many numbers a network has."""
    return sum(p.numel() for p in network.parameters())


def test_answers_stay_where_convolutions_have_a_low_rank(slices: Tensor) -> None:
    network = thin_network()
    with torch.inference_mode():
        before = network(slices)
    size = parameters(network)
    factorize(network, slices, kept=0.9999)
    with torch.inference_mode():
        after = network(slices)
    assert parameters(network) < size / 5
    spread = before[0].std()
    assert (after[0] - before[0]).abs().max() < 0.05 * spread
    assert (after[1] - before[1]).abs().max() < 0.05 * before[1].std()


def test_a_factorized_network_can_be_trained_on(slices: Tensor) -> None:
    network = thin_network()
    factorize(network, slices, kept=0.9)
    network.train()(slices)[0].sum().backward()
    gradient = network.stages[3][1].conv2[0].weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_ranks_are_whole_vectors_and_strides_stay(slices: Tensor) -> None:
    network = thin_network()
    factorize(network, slices, kept=0.99)
    pairs = [
        m
        for m in network.stages.modules()
        if isinstance(m, nn.Sequential) and len(m) == 2 and isinstance(m[1], nn.Conv2d)
    ]
    assert len(pairs) > 10
    assert {pair[0].out_channels % RANK_STEP for pair in pairs} == {0}
    assert network.stages[1][0].conv1[0].stride == (2, 2)


def test_a_convolution_stays_where_two_would_cost_as_much(slices: Tensor) -> None:
    network = CellNetwork().eval()
    before = network.stages[0][0].conv1.weight.clone()
    factorize(network, slices, kept=1.0)
    after = network.stages[0][0].conv1
    assert isinstance(after, nn.Conv2d)
    assert torch.equal(after.weight, before)


def test_factorized_weights_are_loaded_into_a_whole_network(slices: Tensor, tmp_path: Path) -> None:
    network = thin_network()
    factorize(network, slices, kept=0.9)
    export_detector(network, Recipe(), Calibration(), tmp_path / "d.onnx", TrainingData("0" * 64))
    other = CellNetwork().eval()
    load_weights(other, tmp_path / "d.safetensors")
    with torch.inference_mode():
        wanted, got = network(slices)[0], other(slices)[0]
    # Files hold weights in half precision.
    assert (got - wanted).abs().max() < 0.02 * wanted.std()


def test_a_network_takes_the_shape_of_weights_once_only(slices: Tensor) -> None:
    network, other = thin_network(), CellNetwork()
    factorize(network, slices, kept=0.9)
    weights = network.state_dict()
    take_shape(other, weights)
    shaped = other.state_dict()
    take_shape(other, weights)
    assert {k: v.shape for k, v in other.state_dict().items()} == {
        k: v.shape for k, v in weights.items()
    }
    assert all(torch.equal(shaped[name], tensor) for name, tensor in other.state_dict().items())
