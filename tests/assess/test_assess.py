from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from meninx._assess.data_audit import Audit
from meninx._assess.intervals import Figure
from meninx._assess.metrics import auroc
from meninx._assess.report import ReportEntry, write_report
from meninx._assess.shortcuts import Probe
from meninx._assess.volumes import (
    bootstrap_interval,
    measure_findings,
    peak_share,
    pooled_auroc,
    within_auroc,
)
from meninx._data.duplicates import DuplicateGroup, Duplicates
from meninx._data.survey import Survey
from meninx._detect.findings import Findings
from meninx._detect.loading import load_detector
from meninx._errors import UnreadableFile
from meninx._scan.warning import ScanWarning


@given(st.lists(st.tuples(st.booleans(), st.integers(-5, 5)), min_size=2, max_size=60))
def test_auroc_agrees_with_scikit_learn(cases):
    tumor = np.array([case[0] for case in cases])
    score = np.array([case[1] for case in cases], float)
    if tumor.all() or not tumor.any():
        assert np.isnan(auroc(tumor, score))
    else:
        assert auroc(tumor, score) == pytest.approx(roc_auc_score(tumor, score))


def test_volumes_are_measured_against_their_mask(sick):
    result = measure_findings(load_detector().score(sick.scan), sick.scan, sick.mask > 0)
    assert len(result.tumor) == len(result.score) == len(result.baseline)
    assert result.tumor.any()
    assert len(result.peak_inside) == result.tumor.sum()
    assert 0 <= peak_share([result]) <= 1
    assert pooled_auroc([result]) == within_auroc([result])
    low, high = bootstrap_interval([result, result], within_auroc, draws=20)
    assert low == pytest.approx(high)


def test_the_report_is_one_offline_page_and_trusts_no_name(sick, tmp_path):
    detector = load_detector()
    warning = ScanWarning("copies_dropped", "2 slices were sent <twice>")
    found = detector.score(replace(sick.scan, warnings=(warning,)))
    picture = tmp_path / "p.png"
    picture.write_bytes(b"\x89PNG")
    evil = UnreadableFile("broken <b>file</b>", place="<script>alert(1)</script>.dcm")
    failed = Findings.of_error(evil, detector.model)
    path = tmp_path / "report.html"
    write_report(
        [ReportEntry(found, picture), ReportEntry(failed, None)], detector.card, "0" * 64, path
    )
    page = path.read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "http" not in page
    assert "not for diagnosis" in page.lower()
    assert "data:image/png;base64," in page
    assert "Warning: 2 slices were sent &lt;twice&gt;" in page
    assert f"{found.hottest.index + 1} of {len(sick.scan)}</dd>" in page


@pytest.mark.parametrize(
    ("intervals", "said"),
    [
        (
            {"file": (0.8, 0.6, 0.9), "intensity": (0.5, 0.3, 0.7)},
            "predicted from the file's format and size alone",
        ),
        ({"file": (0.7, 0.45, 0.9), "intensity": (0.5, 0.3, 0.7)}, "An AUROC of up to 0.90"),
        # Below chance without doubt: no shortcut that a detector could learn.
        ({"file": (0.2, 0.1, 0.4)}, "above 0.5, which is chance."),
        (
            {"file": (0.8, 0.6, 0.9), "intensity": (0.8, 0.6, 0.9), "both": (0.9, 0.7, 1)},
            "from the file's format and size or brightness alone",
        ),
        ({"file": (0.6, 0.4, 0.8), "both": (0.8, 0.6, 0.9)}, "from both alone"),
        ({"file": (0.5, np.nan, np.nan)}, ""),
        ({"file": (np.nan, np.nan, np.nan)}, "not known"),
        ({}, ""),
    ],
)
def test_an_audit_says_what_its_probes_mean(intervals, said):
    probes = tuple(Probe(name, np.zeros(0), Figure(*figure)) for name, figure in intervals.items())
    verdict = Audit(None, probes, (), (), "pictures").verdict
    assert verdict.endswith(said) if said.endswith(".") else said in verdict
    assert bool(verdict) == bool(said)


@pytest.mark.parametrize(
    ("hashes", "cluster", "groups", "exact", "near"),
    [
        # Two equal files.
        ("aab", [0, 0, 2], [("exact", (0, 1))], 1, 1),
        # The same, and a third file that is a near copy of both.
        ("aab", [0, 0, 0], [("exact", (0, 1)), ("near", (0, 1, 2))], 1, 2),
        ("abc", [0, 1, 2], [], 0, 0),
    ],
)
def test_copies_of_a_slice_include_the_byte_identical_ones(hashes, cluster, groups, exact, near):
    found = tuple(DuplicateGroup(kind, members, 1.0) for kind, members in groups)
    duplicates = Duplicates(found, np.array(cluster))
    result = Audit(Survey((), tuple(hashes), (), duplicates), (), (), (), "pictures")
    assert result.redundant == {"exact": exact, "near": near}
