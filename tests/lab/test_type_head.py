from dataclasses import replace

import numpy as np
import pytest
import torch

from lab.release.type_head import fit_type_head
from meninx._detect.preprocessing import Preprocessing
from meninx._errors import DataError
from meninx._labels import TYPE_NAMES
from meninx._learn.input.dataset import MASKED, TUMOR_FREE, Example, Facts, SliceDataset
from meninx._learn.model.network import CellNetwork

PREPROCESSING = Preprocessing(size=64)


def striped(rng, index):
    """Return a disc whose stripes tell its type."""
    y, x = np.mgrid[-1:1:80j, -1:1:80j]
    waves = (np.sin(30 * x), np.sin(30 * y), np.sin(9 * (x + y)))[index]
    image = (np.hypot(x, y) < 0.9) * (60 + 30 * waves + rng.normal(0, 2, x.shape))
    mask = (np.hypot(x, y) < 0.4).astype(np.float32)
    return Example(image.clip(0).astype(np.float32), mask, Facts(MASKED, TYPE_NAMES[index]))


@pytest.fixture(scope="module")
def examples():
    rng = np.random.default_rng(0)
    return [striped(rng, number % 3) for number in range(60)]


def test_the_head_learns_types_and_nothing_else_changes(examples):
    torch.manual_seed(0)
    network = CellNetwork()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fit_type_head(network, SliceDataset(examples[:45], PREPROCESSING), PREPROCESSING)
    after = network.state_dict()
    assert {name for name in after if not torch.equal(after[name], before[name])} == {
        "type_head.weight",
        "type_head.bias",
    }
    (batch,) = SliceDataset(examples[45:], PREPROCESSING).batches(15)
    x = (batch.image - PREPROCESSING.mean) / PREPROCESSING.std
    with torch.inference_mode():
        said = network(x)[1].argmax(1)
    assert (said == batch.tumor_type).float().mean() > 0.9


def test_a_missing_type_is_an_error(examples):
    healthy = replace(examples[0], mask=None, facts=Facts(TUMOR_FREE))
    with pytest.raises(DataError, match="pituitary"):
        few = SliceDataset([*examples[:2], healthy], PREPROCESSING)
        fit_type_head(CellNetwork(), few, PREPROCESSING)
