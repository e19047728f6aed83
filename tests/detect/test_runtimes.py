import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from meninx.detect.detector import load_detector
from meninx.errors import OptionError


@pytest.mark.parametrize("threads", [0, 1])
def test_openvino_says_what_onnx_runtime_says(sick, threads):
    """Single precision by name: by itself OpenVINO would take bfloat16 where a processor has it."""
    known = load_detector().score(sick.scan)
    other = load_detector(runtime="openvino", threads=threads)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(other.score, [sick.scan] * 4):
            assert found.decision == known.decision
            assert found.hottest.peak == known.hottest.peak
            assert found.probability == pytest.approx(known.probability, abs=1e-4)
            for one, same in zip(found.slices, known.slices, strict=True):
                assert np.abs(one.cells - same.cells).max() < 1e-3


def test_a_missing_runtime_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(OptionError, match=r"meninx\[openvino\]"):
        load_detector(runtime="openvino")
