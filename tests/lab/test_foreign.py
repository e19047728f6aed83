"""The shipped detector refuses what is no brain MRI, and not what is."""

import numpy as np
import pytest

from lab.evidence.foreign import all_kinds
from meninx._detect.gate import check_in_distribution
from meninx._detect.loading import load_detector
from meninx._errors import UnsupportedScan
from meninx._scan.scan import Scan

# Floors; lab/evidence/refusals.py counts.
FLOORS = {
    "noise": 0.9,
    "gradients": 1.0,
    "shapes": 0.9,
    "photographs": 0.85,
    "drawings": 0.9,
    "chest": 0.9,
    "abdomen": 0.9,
    "limb": 0.9,
}


@pytest.fixture(scope="module")
def kinds():
    return all_kinds(seed=3, each=15)


@pytest.fixture(scope="module")
def detector():
    return load_detector()


@pytest.mark.parametrize("kind", FLOORS)
def test_what_is_no_brain_is_refused_in_words(kind, kinds, detector):
    found = [detector.score(Scan(kind, image.T[..., None])) for image in kinds[kind]]
    refused = [finding for finding in found if finding.status == "refused"]
    assert len(refused) >= FLOORS[kind] * len(found)
    assert all(finding.message and finding.probability is None for finding in refused)


def test_phantoms_are_not(detector, sick, healthy):
    for study in (sick, healthy):
        assert detector.score(study.scan).status == "scored"


def test_one_strange_slice_refuses_no_scan_and_a_strange_half_does(tiny_scan):
    """The crown or the neck may be odd; what counts is the slice in the middle by distance."""
    check_in_distribution(tiny_scan, np.array([0.5, 0.6, 9.0], np.float32), 1.0)
    with pytest.raises(UnsupportedScan, match="unlike the brain MRI"):
        check_in_distribution(tiny_scan, np.array([0.5, 1.1, 9.0], np.float32), 1.0)
