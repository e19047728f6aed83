import numpy as np
import pytest
import torch

from lab.evidence.faithfulness import (
    NAMES,
    SHARES,
    Faithfulness,
    deleted_and_inserted,
    hottest_inside,
    hottest_share,
    imputed,
    means_of,
    randomized,
    rank_correlation,
    rank_overlap,
)
from meninx._learn.model.network import CellNetwork

HEAT = np.array([[0.9, 0.8, 0.1], [0.7, 0.2, 0.0], [0.0, 0.0, 0.05]], dtype=np.float32)


def truth_of(*places):
    truth = np.zeros(HEAT.shape, dtype=bool)
    for place in places:
        truth[place] = True
    return truth


def test_place_and_overlap_by_hand():
    assert hottest_inside(HEAT, truth_of((0, 0)))
    assert not hottest_inside(HEAT, truth_of((0, 1), (1, 0)))
    # Three hottest pixels: (0, 0), (0, 1), (1, 0); two of them are in this lesion of three.
    assert rank_overlap(HEAT, truth_of((0, 0), (1, 0), (2, 2))) == pytest.approx(2 / 3)
    assert rank_overlap(HEAT, truth_of((0, 0))) == 1
    assert rank_overlap(HEAT, truth_of((2, 0))) == 0


def test_ties_fall_anywhere_and_not_on_the_first_rows():
    flat = np.zeros((50, 50), dtype=np.float32)
    top = hottest_share(flat, 0.2)
    assert top.sum() == 500
    assert 150 < top[:25].sum() < 350


def test_filling_in_continues_what_is_around():
    """A plane solves the linear system: away from the border each pixel is its neighbors' mean."""
    rows, columns = np.mgrid[0:40, 0:40]
    plane = (0.2 + 0.01 * rows + 0.005 * columns).astype(np.float32)
    hole = np.zeros(plane.shape, dtype=bool)
    hole[12:25, 10:30] = True
    filled = imputed(plane, hole)
    assert np.array_equal(filled[~hole], plane[~hole])
    assert np.abs(filled - plane)[hole].max() < 0.05  # noise of 0.01 is added
    assert np.abs(filled - plane)[hole].mean() < 0.015
    assert np.array_equal(imputed(plane, np.zeros_like(hole)), plane)
    with pytest.raises(ValueError, match="nothing is left"):
        imputed(plane, np.ones_like(hole))


def test_deletion_takes_the_hottest_and_insertion_leaves_them():
    """A bright square on black: without it the slice is dark, alone it stays as it is."""
    unit = np.zeros((40, 40), dtype=np.float32)
    heat = np.random.default_rng(0).uniform(0, 0.1, unit.shape).astype(np.float32)
    unit[16:22, 16:22], heat[15:23, 15:23] = 1.0, 1.0
    without, alone = deleted_and_inserted(unit, heat)
    assert len(without) == len(alone) == len(SHARES)
    assert heat[heat == 1].size == 64 == 0.04 * unit.size
    after = SHARES.index(0.05)
    assert without[after][16:22, 16:22].max() < 0.1
    assert np.array_equal(alone[after][15:23, 15:23], unit[15:23, 15:23])
    assert without[0][16:22, 16:22].max() > 0.3  # half of it is still there


def test_maps_are_compared_by_rank():
    assert rank_correlation(HEAT, HEAT**3) == pytest.approx(1)
    assert rank_correlation(HEAT, -HEAT) == pytest.approx(-1)
    assert rank_correlation(HEAT, np.zeros_like(HEAT)) == 0


def test_means_are_of_each_figure():
    found = [Faithfulness(*(float(n + k) for k in range(len(NAMES)))) for n in (0, 2)]
    assert means_of(found) == {name: 1.0 + k for k, name in enumerate(NAMES)}


def test_random_stages_change_only_the_copy():
    network = CellNetwork().eval()
    x = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    last, every = randomized(network, 1), randomized(network, 4)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
    changed = [
        {
            name.split(".")[1]
            for name, value in copy.state_dict().items()
            if name.startswith("stages.")
            and name.endswith("conv1.weight")
            and not torch.equal(value, before[name])
        }
        for copy in (last, every)
    ]
    assert changed == [{"3"}, {"0", "1", "2", "3"}]
    assert torch.equal(randomized(network, 4)(x)[0], every(x)[0])
