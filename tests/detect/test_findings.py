"""Findings survive conversion to public JSON and back."""

import json
from dataclasses import replace

import pytest

from meninx._detect.findings import Findings, StudyFindings
from meninx._detect.loading import load_detector
from meninx._errors import UnsupportedScan
from meninx._scan.completeness import Incomplete
from meninx._scan.scan import Identity
from meninx._scan.warning import ScanWarning


@pytest.fixture(scope="module")
def detector():
    return load_detector(threads=1)


def read_back(found):
    """Return findings after conversion to JSON and back."""
    stored = json.loads(json.dumps(found.as_json(), allow_nan=False))
    return type(found).from_json(stored), stored


def test_scored_findings_survive_json(detector, sick, healthy):
    identity = Identity("1.2.3", "1.2.3.4", ("1.2.3.4.5",), "ab" * 8, 7, "t1, for Doe")
    changes = (
        {},
        {"incomplete": (Incomplete("slices", 24, 9), Incomplete("series of the study", 3, 2))},
        {"warnings": (ScanWarning("copies_dropped", "2 slices were sent twice"),)},
        {"identity": identity, "sequence": "unknown"},
    )
    for study in (sick, healthy):
        for change in changes:
            found = detector.score(replace(study.scan, **change))
            again, stored = read_back(found)
            assert again.as_json() == stored == found.as_json()
            assert again.incomplete == found.incomplete
            assert again.warnings == found.warnings
            assert again.hottest.peak == found.hottest.peak
            assert again.is_volume
            assert (again.borders is None) == (found.borders is None)
            # On the same side of its borders, however both were rounded.
            if found.borders is not None:
                own = found.borders.decision(found.probability)
                assert again.borders.decision(again.probability) == own


def test_refused_findings_survive_json_and_pickling(detector):
    error = UnsupportedScan("a localizer", place="series 3", reason="localizer")
    error.incomplete = (Incomplete("slices", 3, 2),)
    found = Findings.of_error(error, detector.model)
    again, stored = read_back(found)
    assert again.as_json() == stored == found.as_json()
    assert (again.status, again.reason, again.slices) == ("refused", "localizer", ())
    assert again.identity == {}


def test_findings_of_a_study_survive_json(detector, sick, healthy):
    both = [detector.score(study.scan) for study in (sick, healthy)]
    for series in (both, both[:1], [replace(both[0], status="failed", probability=None)]):
        found = detector.score_study(series, "1.2.840.1")
        again, stored = read_back(found)
        assert isinstance(again, StudyFindings)
        assert again.as_json() == stored == found.as_json()
        assert again.series == found.series
