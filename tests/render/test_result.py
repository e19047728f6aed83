"""A scan with its findings and pictures: each picture is drawn once."""

from dataclasses import replace

import numpy as np
import pytest

from meninx._detect.loading import load_detector
from meninx._render import heatmap, heatmap_check, hottest_slice
from meninx._render.heatmap_check import HeatmapCheck
from meninx._render.result import Result

PASSED = HeatmapCheck(contrast=0.9, drop=5.0)


@pytest.fixture
def counted(monkeypatch):
    """The number of times each of the three is made."""
    homes = {
        "check_heatmap": heatmap_check,
        "heat_volume": heatmap,
        "hottest_slice_picture": hottest_slice,
    }
    counts = dict.fromkeys(homes, 0)

    def counting(name, make):
        def made(*arguments):
            counts[name] += 1
            return make(*arguments)

        return made

    for name, home in homes.items():
        make = getattr(home, name) if name != "check_heatmap" else lambda *_: PASSED
        monkeypatch.setattr(home, name, counting(name, make))
    return counts


def test_check_map_and_picture_are_made_once_and_only_when_asked_for(sick, counted):
    result = Result.of(sick.scan, load_detector())
    assert set(counted.values()) == {0}
    for _ in range(2):  # as SC, SEG, the viewer and the archive ask for them
        assert result.picture.size
        assert result.heat.max() > 50
    result.sheet()
    assert set(counted.values()) == {1}
    with pytest.raises(ValueError, match="read-only"):
        result.heat[0] = 0


def test_nothing_is_drawn_of_what_was_refused(sick):
    noise = np.random.default_rng(0).uniform(0, 100, sick.scan.voxels.shape)
    result = Result.of(replace(sick.scan, voxels=noise.astype(np.float32)), load_detector())
    assert result.findings.status == "refused"
    assert not result.scored
    assert result.heat is None
    assert result.withheld is None
    with pytest.raises(ValueError, match="nothing to draw"):
        _ = result.picture


def test_what_is_kept_has_the_map_of_its_hottest_slice_alone(sick):
    result = Result.of(sick.scan, load_detector())
    (kept,) = result.brief().slices
    assert kept is result.findings.hottest
    bare = result.findings.without_maps()
    assert bare.as_json() == result.findings.as_json()
    assert not any(found.cells.size for found in bare.slices)
    with pytest.raises(ValueError, match="not stored"):
        result.with_findings(bare).sheet()
