import dataclasses

import numpy as np
import pytest

from meninx._data.prepare import load_data
from meninx._detect.detector import Detector
from meninx._detect.loading import load_detector, shipped_detector
from meninx._errors import ModelError
from meninx._learn.file.formats import FORMATS, change_between, export, inputs_of
from meninx._scan.reading import read_scans
from meninx._synthesis.phantom_studies import make_studies
from meninx._synthesis.writing import write_studies
from tests.conftest import coarse_grid


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    list(write_studies(make_studies(16, 60, coarse_grid), folder, "png"))
    return load_data(folder, folder / "out", allow_leaks=True).pictures


@pytest.mark.parametrize("wanted", FORMATS)
def test_a_format_keeps_the_answers(wanted, pictures, tmp_path):
    path = tmp_path / "made" / f"{wanted}.onnx"
    change = export(shipped_detector("fp32"), path, wanted, pictures)
    assert change.slices == 8
    assert change.mean <= {"fp32": 1e-6, "fp16": 0.005, "int8": 0.02}[wanted]
    first, second = load_detector(), Detector(path)
    # Rounding noise raises OOD scores, so int8 has a threshold of its own.
    assert second.card.ood_threshold == pytest.approx(first.card.ood_threshold, rel=0.1)
    threshold = first.card.ood_threshold
    assert dataclasses.replace(second.card, ood_threshold=threshold) == first.card
    (scan,) = read_scans(pictures[0].picture)
    both = first.score(scan), second.score(scan)
    assert both[0].probability == pytest.approx(both[1].probability, abs=0.06)
    assert np.corrcoef(both[0].hottest.cells.ravel(), both[1].hottest.cells.ravel())[0, 1] > 0.98


def test_int8_is_a_quarter_of_fp32(pictures, tmp_path):
    sizes = {}
    for wanted in ("fp32", "int8"):
        export(shipped_detector("fp32"), tmp_path / wanted, wanted, pictures)
        sizes[wanted] = (tmp_path / wanted).stat().st_size
    gate = 4 * 896**2  # its matrix of all features, which stays in floating point
    assert sizes["int8"] - gate < 0.33 * (sizes["fp32"] - gate)


def test_a_format_that_would_change_the_answers_is_not_written(pictures, tmp_path):
    with pytest.raises(ModelError, match="nothing was written"):
        export(shipped_detector("fp32"), tmp_path / "x.onnx", "int8", pictures, tolerance=1e-9)
    assert not (tmp_path / "x.onnx").exists()


def test_a_rounded_detector_is_not_written_in_another_format(pictures, tmp_path):
    with pytest.raises(ModelError, match="in 8 bits can't be written"):
        export(shipped_detector("int8"), tmp_path / "x.onnx", "fp32", pictures)


def test_a_detector_agrees_with_itself(pictures):
    inputs = inputs_of(load_detector(), pictures[:3])
    assert inputs.shape[:2] == (3, 3)
    change = change_between(shipped_detector("fp32"), shipped_detector("fp32"), inputs)
    assert (change.mean, change.largest, change.slices) == (0, 0, 3)
