import dataclasses
import json
import subprocess
import sys

import pytest

from meninx._detect.loading import load_detector
from meninx._detect.runtimes import requested_threads
from meninx._errors import OptionError
from meninx._synthesis.writing import write_dicom

# In a separate process: OpenVINO once hung beside the threads of PyTorch.
SHARED = """
import sys
from concurrent.futures import ThreadPoolExecutor
import meninx
scans = list(meninx.read_scans(sys.argv[1])) * 4
detector = meninx.load_detector(runtime="openvino", threads=1)
with ThreadPoolExecutor(4) as pool:
    print(*{found.probability for found in pool.map(detector.score, scans)})
"""


@pytest.fixture(scope="module")
def series(tmp_path_factory, sick):
    folder = tmp_path_factory.mktemp("series")
    write_dicom(sick.scan, folder, 7)
    return folder


def run(*arguments):
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout


THREADS = """
import os
import meninx, numpy, onnxruntime  # these start their own threads
before = len(os.listdir("/proc/self/task"))
detector = meninx.load_detector()
print(len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.parametrize(("number", "started"), [("1", 0), ("3", 2), ("3,1", 2)])
def test_the_environment_limits_the_threads(monkeypatch, number, started):
    """The scoring thread counts, although it is not started."""
    monkeypatch.setenv("OMP_NUM_THREADS", number)
    assert int(run("-c", THREADS)) == started


@pytest.mark.parametrize("number", ["", "many", "-1"])
def test_an_invalid_number_of_threads_is_ignored(monkeypatch, number):
    monkeypatch.setenv("OMP_NUM_THREADS", number)
    assert requested_threads(0) == 0
    assert requested_threads(2) == 2


def test_openvino_equals_onnx_runtime(series):
    """Single precision is requested: the default of OpenVINO is bfloat16 on some CPUs."""
    expected, found = (
        json.loads(run("-m", "meninx", "predict", "--json", series, "--runtime", runtime))
        for runtime in ("onnxruntime", "openvino")
    )
    assert found["decision"] == expected["decision"]
    assert found["probability"] == pytest.approx(expected["probability"], abs=1e-4)
    for finding, same in zip(found["slices"], expected["slices"], strict=True):
        assert finding["peak"] == same["peak"]
        assert finding["probability"] == pytest.approx(same["probability"], abs=1e-3)


def test_bfloat16_by_name_hardly_moves_an_answer(series):
    """Largest change on 361 held-out pictures: docs/speed.md."""
    expected, found = (
        json.loads(run("-m", "meninx", "predict", "--json", series, "--runtime", runtime))
        for runtime in ("openvino", "openvino-bf16")
    )
    assert found["decision"] == expected["decision"]
    assert found["probability"] == pytest.approx(expected["probability"], abs=0.01)


def test_threads_may_share_it(series):
    (probability,) = map(float, run("-c", SHARED, series).split())
    expected = json.loads(run("-m", "meninx", "predict", "--json", series))["probability"]
    assert probability == pytest.approx(expected, abs=1e-4)


def test_a_missing_runtime_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(OptionError, match=r"meninx\[openvino\]"):
        load_detector(runtime="openvino")


@pytest.mark.parametrize("study", ["sick", "healthy"])
def test_the_shipped_detector_gives_the_same_answer_in_8_bits(study, request):
    """Mean change of a slice's probability on held-out pictures: docs/speed.md."""
    scan = request.getfixturevalue(study).scan
    plain, rounded = load_detector(), load_detector(runtime="onnxruntime-int8")
    assert plain.model["sha256"] != rounded.model["sha256"]
    expected, found = plain.score(scan), rounded.score(scan)
    assert found.probability == pytest.approx(expected.probability, abs=0.05)
    changes = [
        abs(finding.probability - same.probability)
        for finding, same in zip(found.slices, expected.slices, strict=True)
    ]
    assert sum(changes) / len(changes) < 0.01


def test_both_files_of_the_shipped_detector_have_one_card():
    plain, rounded = load_detector().card, load_detector(runtime="onnxruntime-int8").card
    assert rounded.ood_threshold == pytest.approx(plain.ood_threshold, rel=0.1)
    assert dataclasses.replace(rounded, ood_threshold=plain.ood_threshold) == plain
