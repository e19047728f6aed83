"""Every way out gives the same answer, the same probability and the same borders."""

import json
import re
from dataclasses import replace

import pydicom
import pytest
from typer.testing import CliRunner

from meninx.archive.unit_rows import judge_files
from meninx.assess.report import ReportEntry, write_report
from meninx.cli import app
from meninx.clinic.results import write_results
from meninx.detect.answer_words import (
    answer_in_words,
    borders_in_words,
    scale_in_figures,
    why_referred,
)
from meninx.detect.findings import Findings
from meninx.detect.loading import load_detector
from meninx.scoring.loop import score_path
from meninx.synthesis.writing import write_dicom
from meninx.web.series import words_of

RUN = CliRunner()
SR_ANSWERS = {"tumor": "Present", "no tumor": "Absent", "refer": "Indeterminate"}
CERTAINTY = re.compile(r"Certainty of Finding.*?Numeric Value +DS: '?([\d.]+)", re.DOTALL)


@pytest.fixture(scope="module")
def detector():
    return load_detector()


@pytest.fixture(params=["sick", "healthy", "sagittal"])
def folder(request, sick, healthy, tmp_path):
    """A folder with one series: of a tumor, tumor-free, and one that is referred."""
    scan = {
        "sick": sick.scan,
        "healthy": healthy.scan,
        "sagittal": replace(sick.scan, affine=sick.scan.affine[[2, 0, 1, 3]]),
    }[request.param]
    write_dicom(scan, tmp_path / "in", 7)
    return tmp_path / "in"


def test_all_ways_out_say_the_same(detector, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    (result,) = score_path(detector, folder)
    findings = result.findings
    answer, why = answer_in_words(findings), why_referred(findings)
    probability, borders = scale_in_figures(findings)
    sentence = borders_in_words(findings)
    assert bool(borders) == (findings.reason is None)

    table = RUN.invoke(app, ["predict", str(folder)]).stdout.splitlines()[1]
    assert re.split(r"\s{2,}", table)[1:3] == [answer, probability]
    assert " | ".join(borders) in table
    assert why in table

    line = json.loads(RUN.invoke(app, ["predict", "--json", str(folder)]).stdout)
    (row,) = judge_files(sorted(folder.iterdir()), None, maps=False, size=-1)
    for values in (line, row):
        for key, value in findings.as_json().items():
            if key not in ("scan", "milliseconds"):
                assert values[key] == value, key

    page = words_of(Findings.from_json(json.loads(json.dumps(findings.as_json()))))
    assert (page["probability"], page["borders"]) == (probability, sentence)
    assert page["why"].lower() == why.lower()

    write_report([ReportEntry(findings, None)], detector.card, "0", tmp_path / "report.html")
    report = " ".join((tmp_path / "report.html").read_text(encoding="utf-8").split())
    for words in (f">{answer}</p>", f"<dd>{probability}</dd>", sentence, why):
        assert words in report

    made = write_results(result, tmp_path / "out")
    document = str(pydicom.dcmread(next(path for path in made if "SR-" in path.name)))
    assert SR_ANSWERS[answer] in document
    assert sentence in document
    certain = findings.probability if answer == "tumor" else 1 - findings.probability
    found = CERTAINTY.search(document)
    assert (found is None) == (answer == "refer")
    if found is not None:
        assert float(found[1]) == pytest.approx(100 * certain, abs=0.006)
