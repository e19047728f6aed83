import json
import subprocess
import sys

import pytest
from PIL import Image

from meninx._assess.speed import SERIES_SLICES, Spread, make_inputs
from meninx._detect.runtimes import RUNTIMES
from meninx._scan.reading import read_scans
from tests.commands import meninx


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
def test_bench_tells_every_figure(tmp_path):
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
    told = json.loads(done.stdout)
    assert json.loads((tmp_path / "bench.json").read_text()) == told
    with Image.open(tmp_path / "bench.png") as plot:
        assert plot.width > 500
    assert set(told["runtimes"]) == set(RUNTIMES) > {"onnxruntime", "openvino"}
    for figures in told["runtimes"].values():
        steps = figures["one picture of 512 px, ms"]
        assert set(steps) == {"read", "preprocess", "infer", "heat map", "file to finding"}
        whole = steps.pop("file to finding")["median"]
        # On a busy machine medians of steps need not add up to that of the whole.
        assert all(0 < step["median"] < whole for step in steps.values())
        assert sum(step["median"] for step in steps.values()) < 2 * whole
        assert all(value > 0 for value in figures.values() if isinstance(value, float))
        assert figures["series of 12 slices, read and scored, s"] > 0
    assert told["cold command, one picture, s"] > 0
    assert told["ResNet-18 of torchvision, eager, network alone, ms"]["median"] > 0


@pytest.mark.slow
def test_bench_tells_how_fast_a_recipe_is_trained(tmp_path):
    (tmp_path / "tiny.toml").write_text(
        'name = "tiny"\n[preprocessing]\nsize = 64\n[training]\nbatch_size = 4\nema_decay = 0.9\n'
    )
    done = meninx(
        "bench",
        "--train",
        "--recipe",
        "tiny.toml",
        "--precision",
        "32-true",
        "--json",
        "--output",
        ".",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert json.loads((tmp_path / "training.json").read_text()) == found
    assert (found["recipe"], found["precision"], found["batch of a process"]) == (
        "tiny",
        "32-true",
        4,
    )
    assert found["pictures a second"] > 0
    assert found["pictures a second of the network alone"] > 0


def test_bench_names_the_precisions_there_are():
    done = meninx("bench", "--train", "--precision", "half")
    assert done.returncode == 2
    assert "bf16-mixed" in done.stderr


@pytest.mark.parametrize(
    "options",
    [
        ["--devices", "2"],
        ["--precision", "32-true"],
        ["--recipe", "seed"],
        ["--train", "--model", "meninx.onnx"],
    ],
)
def test_bench_ignores_no_option(options):
    done = meninx("bench", *options)
    assert done.returncode == 2
    assert options[-2] in done.stderr
    assert "--train" in done.stderr
