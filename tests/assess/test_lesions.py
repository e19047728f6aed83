"""Heat maps of volumes as segmentations."""

from dataclasses import replace

import numpy as np
import pytest

from meninx import Scan
from meninx._assess.lesions import PERCENTS, measure_lesions
from meninx._detect.findings import Findings, SliceFinding
from meninx._detect.preprocessing import Placement

SIDE, CELL = 64, 8


@pytest.fixture
def scan():
    voxels = np.random.default_rng(0).random((SIDE, SIDE, 6), dtype=np.float32)
    return Scan("volume", voxels, np.diag([-2.0, -2.0, 5.0, 1.0]))


def findings_of(scan, hot):
    """Return findings whose marked cells are given by slice, as (row, column)."""
    placement = Placement(0, 0, SIDE, SIDE, 0, 0, SIDE, SIDE, SIDE)
    slices = []
    for index in range(len(scan)):
        cells = np.zeros((SIDE // CELL, SIDE // CELL), np.float32)
        for row, column, heat in hot.get(index, ()):
            cells[row, column] = heat
        slices.append(SliceFinding(index, 0.5, (0, 0, index), cells, placement))
    return Findings("volume", "scored", probability=0.5, slices=tuple(slices), slice_count=24)


def mask_of(scan, cells):
    """Return a mask that covers cells of the drawn slices exactly."""
    mask = np.zeros(scan.voxels.shape, bool)
    for index, row, column in cells:
        drawn = np.zeros((SIDE, SIDE), bool)
        drawn[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = True
        scan.view.put(drawn, mask, index)
    return mask


def test_each_lesion_is_marked_or_not_and_other_places_are_false(scan):
    # A lesion of two slices, one of one slice that stays cold, and a hot place without a tumor.
    mask = mask_of(scan, [(1, 2, 2), (2, 2, 2), (4, 6, 6)])
    found = measure_lesions(
        findings_of(scan, {1: [(2, 2, 1.0)], 2: [(2, 2, 0.6)], 3: [(6, 1, 1.0)]}), scan, mask
    )
    assert sorted(found.sizes_ml) == pytest.approx([64 * 0.02, 2 * 64 * 0.02])
    for heat in (30, 50, 70):
        place = PERCENTS.tolist().index(heat)
        assert found.marked[place].sum() == 1
        assert found.false_marks[place] == 1
    assert found.bound == pytest.approx(1)
    assert 0.2 < found.dice < 0.8
    # Of an estimated geometry no size is stated.
    doubtful = replace(scan, geometry_estimated=True)
    assert np.isnan(measure_lesions(findings_of(doubtful, {}), doubtful, mask).sizes_ml).all()


def test_cells_can_not_follow_a_border_within_them(scan):
    mask = mask_of(scan, [(1, 2, 2)])
    mask &= np.arange(SIDE)[:, None, None] % CELL < 6
    found = measure_lesions(findings_of(scan, {1: [(2, 2, 1.0)]}), scan, mask)
    assert found.bound == pytest.approx(2 * 48 / (64 + 48))


def test_a_volume_without_a_tumor_has_false_marks_alone(scan):
    found = measure_lesions(
        findings_of(scan, {1: [(2, 2, 1.0)]}), scan, np.zeros(scan.voxels.shape, bool)
    )
    assert np.isnan(found.dice)
    assert np.isnan(found.bound)
    assert found.marked.shape == (len(PERCENTS), 0)
    assert found.false_marks.tolist() == [1] * len(PERCENTS)
    cold = measure_lesions(findings_of(scan, {}), scan, np.zeros(scan.voxels.shape, bool))
    assert not cold.false_marks.any()
