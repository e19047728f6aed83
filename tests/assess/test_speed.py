import json
import subprocess
import sys

import pytest
from PIL import Image

from meninx._assess.speed import SERIES_SLICES, Spread, make_inputs
from meninx._detect.precision import PRECISIONS
from meninx._scan.reading import read_scans


def test_spread_by_hand():
    spread = Spread.of(list(range(101)))
    assert (spread.median, spread.p95) == (50, 95)


def test_inputs_are_of_the_sizes_that_users_have(tmp_path):
    inputs = make_inputs(tmp_path, 3)
    assert len(list(inputs.pictures.iterdir())) == 3
    with Image.open(inputs.picture) as picture:
        assert picture.size == (512, 512)
    (scan,) = read_scans(inputs.series)
    assert scan.voxels.shape == (256, 256, SERIES_SLICES)
    assert scan.slice_gap_mm == pytest.approx(0.9)


def test_a_series_has_as_many_slices_as_asked_for(tmp_path):
    (scan,) = read_scans(make_inputs(tmp_path, 1, slices=5).series)
    assert scan.voxels.shape == (256, 256, 5)
    assert scan.slice_gap_mm == pytest.approx(0.9 * 192 / 5)


@pytest.mark.slow
def test_bench_reports_every_figure(tmp_path):
    command = [
        sys.executable,
        "-m",
        "meninx",
        "bench",
        "--json",
        "--runs",
        "3",
        "--pictures",
        "2",
        "--slices",
        "12",
        "--output",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    assert json.loads((tmp_path / "bench.json").read_text()) == report
    with Image.open(tmp_path / "bench.png") as plot:
        assert plot.width > 500
    assert set(report["precisions"]) == set(PRECISIONS)
    for figures in report["precisions"].values():
        assert set(figures["the same as JPEG, ms"]) == set(figures["one picture of 512 px, ms"])
        steps = figures["one picture of 512 px, ms"]
        whole = steps.pop("file to finding")["median"]
        others = steps.pop("all but the network")["median"]
        assert set(steps) == {"read", "preprocess", "infer", "heat map"}
        assert steps["read"]["median"] < others < whole
        # On a busy machine medians of steps need not add up to that of the whole.
        assert all(0 < step["median"] < whole for step in steps.values())
        assert sum(step["median"] for step in steps.values()) < 2 * whole
        assert all(value > 0 for value in figures.values() if isinstance(value, float))
        assert figures["series of 12 slices, read and scored, s"] > 0
        assert figures["series, times as long as its network alone"] > 0
        assert 0 < figures["most memory, one picture, MB"] < 1000
    assert report["cold command, one picture, s"] > 0
    assert report["cold command, times as long as importing NumPy and ONNX Runtime"] > 1
