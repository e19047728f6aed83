import dataclasses
import subprocess
import sys

import pytest

from meninx._detect.loading import load_detector
from meninx._detect.runtimes import thread_count
from meninx._processes import usable_cores


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
    assert thread_count(0) == usable_cores()
    assert thread_count(2) == 2


@pytest.mark.parametrize("study", ["sick", "healthy"])
def test_the_shipped_detector_gives_the_same_answer_in_8_bits(study, request):
    """Mean change of a slice's probability on held-out pictures: docs/speed.md."""
    scan = request.getfixturevalue(study).scan
    plain, rounded = load_detector(precision="fp32"), load_detector()
    assert plain.model["sha256"] != rounded.model["sha256"]
    expected, found = plain.score(scan), rounded.score(scan)
    assert found.probability == pytest.approx(expected.probability, abs=0.05)
    changes = [
        abs(finding.probability - same.probability)
        for finding, same in zip(found.slices, expected.slices, strict=True)
    ]
    assert sum(changes) / len(changes) < 0.01


def test_both_files_of_the_shipped_detector_have_one_card():
    plain, rounded = load_detector(precision="fp32").card, load_detector().card
    assert rounded.ood_threshold == pytest.approx(plain.ood_threshold, rel=0.1)
    assert dataclasses.replace(rounded, ood_threshold=plain.ood_threshold) == plain
