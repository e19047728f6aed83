"""Three scans have one answer each, on whatever way out it is read."""

import json
import re
from types import SimpleNamespace

import highdicom as hd
import pydicom
import pytest
from typer.testing import CliRunner

from meninx._archive.unit_rows import score_unit
from meninx._cli import app
from meninx._clinic.study_scoring import score_and_write
from meninx._detect.answer_words import answer_in_words, scale_in_figures
from meninx._detect.findings import Findings
from meninx._scoring.worker import Worker
from meninx._synthesis.writing import write_dicom
from meninx._web.store.settings import Settings
from tests.web.conftest import Server

RUN = CliRunner()
PRESENCE = {"Present": "tumor", "Absent": "no_tumor", "Indeterminate": "refer"}
# What prints a page, which is not looked at here.
PDF = SimpleNamespace(write_pdf=lambda: b"%PDF")
NAMES = ("healthy", "scout", "sick")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, sick, healthy):
    """A series with a tumor, one without, and one that was calculated from others."""
    folder = tmp_path_factory.mktemp("three")
    write_dicom(sick.scan, folder / "sick", 7)
    write_dicom(healthy.scan, folder / "healthy", 8)
    for file in write_dicom(sick.scan, folder / "scout", 9):
        dataset = pydicom.dcmread(file)
        dataset.ImageType = ["DERIVED", "SECONDARY", "MIP"]
        dataset.save_as(file)
    return folder


@pytest.fixture(scope="module")
def findings(folder):
    """What the public JSON says of each."""
    lines = RUN.invoke(app, ["predict", str(folder), "--json"]).stdout.splitlines()
    found = map(Findings.from_json, map(json.loads, lines))
    return {findings.scan.removeprefix(f"{folder}/"): findings for findings in found}


def said(stored):
    """Status, decision and probability of a line of JSON, or of a row."""
    return stored["status"], stored["decision"], stored["probability"]


@pytest.fixture(scope="module")
def expected(findings):
    assert sorted(findings) == sorted(NAMES)
    return {name: said(found.as_json()) for name, found in findings.items()}


def test_the_three_differ(expected):
    assert {answer for _, answer, _ in expected.values()} >= {"tumor", None}
    assert expected["scout"] == ("refused", None, None)


def test_files_of_predict(folder, expected, findings, tmp_path):
    table = RUN.invoke(
        app,
        ["predict", str(folder), "--output", str(tmp_path), "--dicom-out", str(tmp_path / "dicom")],
        env={"COLUMNS": "250"},
    ).stdout
    lines = (tmp_path / "findings.jsonl").read_text(encoding="utf-8").splitlines()
    assert [said(json.loads(line)) for line in lines] == [expected[name] for name in NAMES]
    for name, found in findings.items():
        row = next(line for line in table.splitlines() if re.search(rf"\b{name}\b", line))
        assert answer_in_words(found) in row
        assert scale_in_figures(found)[0] in row


def test_structured_reports(folder, expected, tmp_path):
    RUN.invoke(app, ["predict", str(folder), "--dicom-out", str(tmp_path)])
    for name, (_, decision, probability) in expected.items():
        (path,) = tmp_path.glob(f"*{name}-*/SR-*.dcm")
        whole, *_ = hd.sr.srread(path).content.get_image_measurement_groups()
        presence = [
            PRESENCE[code.value.meaning]
            for code in whole.get_qualitative_evaluations()
            if code.value.meaning in PRESENCE
        ]
        assert presence == ([] if decision is None else [decision])
        certain = {"tumor": probability, "no_tumor": 1 - (probability or 0)}
        measured = [float(measurement.value) for measurement in whole.get_measurements()]
        assert measured == (
            [pytest.approx(100 * certain[decision], abs=0.006)] if decision in certain else []
        )


def test_archive_and_node(folder, expected, tmp_path):
    for name in NAMES:
        files = sorted((folder / name).iterdir())
        assert [said(row) for row in score_unit(files, None, False, 0)] == [expected[name]]
        assert [
            said(stored) for stored in score_and_write(folder / name, tmp_path / name, None)
        ] == [expected[name]]
        kept = json.loads((tmp_path / name / "findings.json").read_text(encoding="utf-8"))
        assert [said(stored) for stored in kept] == [expected[name]]


def test_web_application(folder, expected, findings, tmp_path, monkeypatch):
    monkeypatch.setattr(Worker, "call", lambda self, function, *rest: function(*rest))
    server = Server(Settings(data=tmp_path))
    browser = server.browser()
    for name in NAMES:
        files = {path.name: path.read_bytes() for path in (folder / name).iterdir()}
        study = browser.upload(files, name).json()["id"]
        server.work(study)
        (stored,) = browser.client.get(f"/api/v1/studies/{study}/finding").json()
        assert said(stored) == expected[name]
        listed = browser.client.get(f"/api/v1/studies/{study}").json()
        assert listed["decision"] == (expected[name][1] or expected[name][0])
        texts = []
        monkeypatch.setattr("weasyprint.HTML", lambda string, t=texts: t.append(string) or PDF)
        browser.client.get(f"/studies/{study}/report.pdf")
        for page in (browser.client.get(f"/studies/{study}").text, texts[0]):
            assert answer_in_words(findings[name]) in page
            assert scale_in_figures(findings[name])[0] in page
