"""The shipped detector refuses what is no brain MRI, and not what is."""

import sys
from pathlib import Path

import pytest

from meninx.detect.detector import load_detector
from meninx.scan.scan import Scan

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def kinds():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        from foreign import all_kinds
    finally:
        sys.path.pop(0)
    return all_kinds(seed=3, each=6)


@pytest.fixture(scope="module")
def detector():
    return load_detector()


@pytest.mark.parametrize("kind", ["noise", "gradients", "shapes", "chest", "abdomen", "limb"])
def test_what_is_drawn_by_code_is_refused(kind, kinds, detector):
    for image in kinds[kind]:
        found = detector.score(Scan(kind, image.T[..., None]))
        assert found.status == "refused"
        assert found.message


def test_most_gray_photographs_are_refused(kinds, detector):
    """A floor; benchmarks/refusals.py counts them."""
    answers = [detector.score(Scan("x", one.T[..., None])).status for one in kinds["photographs"]]
    assert answers.count("refused") >= 0.8 * len(answers)


def test_phantoms_are_not(detector, sick, healthy):
    for study in (sick, healthy):
        assert detector.score(study.scan).status == "scored"
