"""Every way out gives the same answer, the same probability and the same borders."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from typer.testing import CliRunner

from meninx._archive.unit_rows import score_unit
from meninx._assess.report import ReportEntry, write_report
from meninx._cli import app
from meninx._clinic.results import write_dicom_results
from meninx._clinic.study_scoring import score_and_write
from meninx._detect.answer_words import (
    answer_in_words,
    borders_in_words,
    scale_in_figures,
    why_referred,
)
from meninx._detect.findings import Findings
from meninx._detect.loading import load_detector
from meninx._scoring.loop import score_path
from meninx._synthesis.writing import write_dicom
from meninx._web.studies.series import words_of

RUN = CliRunner()
SR_ANSWERS = {"tumor": "Present", "no tumor": "Absent", "refer": "Indeterminate"}
PAGE = Path(__file__).parents[2] / "docs/calibration.md"
CERTAINTY = re.compile(r"Certainty of Finding.*?Numeric Value +DS: '?([\d.]+)", re.DOTALL)


@pytest.fixture(scope="module")
def detector():
    return load_detector()


def series_of(name, sick, healthy, folder):
    """A folder with one series: of a tumor, tumor-free, or one that is referred."""
    scan = {
        "sick": sick.scan,
        "healthy": healthy.scan,
        "sagittal": replace(sick.scan, affine=sick.scan.affine[[2, 0, 1, 3]]),
    }[name]
    write_dicom(scan, folder, 7)
    return folder


@pytest.fixture(params=["sick", "healthy", "sagittal"])
def folder(request, sick, healthy, tmp_path):
    return series_of(request.param, sick, healthy, tmp_path / "in")


def test_all_ways_out_say_the_same(detector, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    (result,) = score_path(detector, folder)
    findings = result.findings
    answer, why = answer_in_words(findings), why_referred(findings)
    probability, borders = scale_in_figures(findings)
    sentence = borders_in_words(findings)
    assert bool(borders) == (findings.reason is None)

    printed = RUN.invoke(app, ["predict", str(folder)]).stdout
    table = printed.splitlines()[1]
    assert re.split(r"\s{2,}", table)[1:3] == [answer, probability]
    assert " | ".join(borders) in table
    assert why in printed

    line = json.loads(RUN.invoke(app, ["predict", "--json", str(folder)]).stdout)
    (row,) = score_unit(sorted(folder.iterdir()), None, maps=False, size=-1)
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

    made = write_dicom_results(result, tmp_path / "out")
    document = str(pydicom.dcmread(next(path for path in made if "SR-" in path.name)))
    assert SR_ANSWERS[answer] in document
    assert sentence in document
    certain = findings.probability if answer == "tumor" else 1 - findings.probability
    found = CERTAINTY.search(document)
    assert (found is None) == (answer == "refer")
    if found is not None:
        assert float(found[1]) == pytest.approx(100 * certain, abs=0.006)


def as_stored(values):
    """What a line of JSON, or a row, says."""
    borders = values["borders"]
    shown = "" if borders is None else " | ".join(f"{side:.3f}" for side in borders.values())
    return f"{values['decision']} {values['probability']:.3f} {shown}".strip()


def ways_out(folder, out, detector):
    """What each way out says of one series: its answer, its probability, its borders."""
    (result,) = score_path(detector, folder)
    findings = result.findings
    table = RUN.invoke(app, ["predict", str(folder), "--output", str(out)], env={"COLUMNS": "400"})
    cells = re.split(r"\s{2,}", table.stdout.splitlines()[1])[1:4]
    yield "table", " ".join(cells[:2] + [cell for cell in cells[2:] if "|" in cell])
    yield "JSON", as_stored(json.loads(RUN.invoke(app, ["predict", "--json", str(folder)]).stdout))
    yield "findings.jsonl", as_stored(json.loads((out / "findings.jsonl").read_text("utf-8")))
    (row,) = score_unit(sorted(folder.iterdir()), None, maps=False, size=-1)
    yield "archive row", as_stored(row)
    (kept,) = score_and_write(folder, out / "node", None)
    yield "node", as_stored(kept)
    page = words_of(Findings.from_json(findings.as_json()))
    yield "web page, PDF", f"{answer_in_words(findings)} {page['probability']} {page['borders']}"
    write_report([ReportEntry(findings, None)], detector.card, "0", out / "report.html")
    report = (out / "report.html").read_text(encoding="utf-8")
    shown = " ".join(report[report.index("<dl>") :].split())
    yield "report", " ".join(re.findall(r"<dd>(.*?)</dd>", shown)[:2])
    made = write_dicom_results(result, out / "objects")
    document = str(pydicom.dcmread(next(path for path in made if "SR-" in path.name)))
    certain = CERTAINTY.search(document)
    presence = next(word for word in SR_ANSWERS.values() if word in document)
    yield (
        "structured report",
        presence + (f", {float(certain[1]):.1f} % certain" if certain else ""),
    )
    yield "Python", f"{findings.decision} {findings.probability:.3f}"


def test_the_page_shows_what_each_way_out_says(detector, sick, healthy, tmp_path):
    said = {}
    for name in ("sick", "healthy", "sagittal"):
        folder = series_of(name, sick, healthy, tmp_path / name)
        for way, words in ways_out(folder, tmp_path / f"{name}-out", detector):
            said.setdefault(way, []).append(words.strip())
    rows = "\n".join(
        f"| {way} | {' | '.join(text.replace('|', '/') for text in words)} |"
        for way, words in said.items()
    )
    assert rows in PAGE.read_text(encoding="utf-8"), rows
