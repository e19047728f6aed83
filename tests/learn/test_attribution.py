"""Maps of cells and of Grad-CAM, each against what can be worked out."""

from typing import get_args

import numpy as np
import pytest
import torch

from meninx._detect.head_slices import brain_slices
from meninx._detect.loading import load_detector, shipped_detector
from meninx._learn.file.export import load_weights
from meninx._learn.model.attribution import (
    Attribution,
    Method,
    as_input,
    with_attribution,
)
from meninx._learn.model.network import CellNetwork, PooledNetwork, network_of, picture_logit
from meninx._render.heatmap import cells_on_input

SIDE = 96


@pytest.fixture(scope="module")
def x():
    return torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return CellNetwork().eval()


def grad_cam_by_hand(network, x):
    """Selvaraju et al. 2017, equations 1 and 2, on the last stage's maps."""
    *earlier, last = (maps.detach() for maps in network.stage_maps(x))
    maps = last.requires_grad_(True)
    cells, _ = network.heads([*earlier, maps])
    picture_logit(cells, network.top_cells).sum().backward()
    weights = maps.grad.mean((2, 3), keepdim=True)
    return (weights * maps).sum(1).clamp_min(0)[0].detach().numpy()


@pytest.mark.parametrize("kind", [CellNetwork, PooledNetwork])
def test_grad_cam_is_what_its_paper_says(kind, x):
    for seed in range(20):  # of random networks some have no evidence at all
        torch.manual_seed(seed)
        network = kind().eval()
        expected = grad_cam_by_hand(network, x)
        if expected.max() > 0:
            break
    found = Attribution(network, "grad-cam")(x)
    side = SIDE // expected.shape[0]
    middles = found[side // 2 :: side, side // 2 :: side]
    assert np.corrcoef(middles.ravel(), expected.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("method", get_args(Method))
def test_every_method_gives_a_map_of_the_input_s_size(method, network, x):
    heat = Attribution(network, method)(x)
    assert heat.shape == (SIDE, SIDE)
    assert heat.dtype == np.float32
    assert np.isfinite(heat).all()
    assert heat.min() >= -0.2  # bicubic enlargement may swing a little below the cells
    assert heat.max() <= 1.2


def test_the_cells_are_those_of_the_detector(sick):
    detector = load_detector()
    network = network_of(detector.card).eval()
    load_weights(network, shipped_detector("fp32").with_suffix(".safetensors"))
    stack, _ = detector.input_stack(sick.scan, brain_slices(sick.scan))
    middle = len(stack) // 2
    x = as_input(detector, stack[middle : middle + 1])
    cells = torch.sigmoid(network(x)[0])[0].detach().numpy()
    assert np.allclose(Attribution(network, "cells")(x), cells_on_input(cells, x.shape[-1]))

    found = detector.score(sick.scan)
    other = with_attribution(detector, network, sick.scan, found, "grad-cam")
    assert other.probability == found.probability
    assert [slice_.peak for slice_ in other.slices] == [slice_.peak for slice_ in found.slices]
    assert {slice_.cells.shape for slice_ in other.slices} == {stack.shape[2:]}
    assert not np.allclose(other.hottest.cells, other.hottest.cells.mean())
