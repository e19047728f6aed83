"""A heat map that fails its check is drawn on no way out, and each of them says why."""

import base64
import io
import re

import highdicom as hd
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from typer.testing import CliRunner

from meninx._archive.unit_rows import score_unit
from meninx._assess.cases import score_cases
from meninx._assess.evaluation import evaluate_cases
from meninx._assess.evaluation_report import Setting, write_evaluation
from meninx._cli import app
from meninx._data.manifest import Picture
from meninx._detect.loading import load_detector
from meninx._render.heatmap_check import HeatmapCheck
from meninx._scoring.worker import Worker
from meninx._synthesis.writing import write_dicom
from meninx._web.store.settings import Settings
from tests.web.conftest import Server

RUN = CliRunner()
WHY = "no heat map: no place stands out"
FAILED, PASSED = HeatmapCheck(contrast=0.0, drop=0.0), HeatmapCheck(contrast=0.9, drop=5.0)


@pytest.fixture(params=[FAILED, PASSED], ids=["failed", "passed"])
def check(request, monkeypatch):
    """What every check of a heat map says; the second shows that the first sees heat at all."""
    monkeypatch.setattr("meninx._render.heatmap_check.check_heatmap", lambda *_: request.param)
    return request.param


@pytest.fixture(scope="module")
def folder(tmp_path_factory, sick):
    folder = tmp_path_factory.mktemp("sick")
    write_dicom(sick.scan, folder / "series", 7)
    return folder


def is_colored(picture):
    """Whether a picture shows heat: more than a mark or a line of color."""
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    return bool((np.ptp(pixels, axis=2) > 60).sum() > 200)


def embedded(page):
    """The pictures of a page that lie inside it."""
    found = re.findall(r"data:image/(?:png|jpeg);base64,([A-Za-z0-9+/=]+)", page)
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in found]


def test_predict_output(check, folder, tmp_path):
    RUN.invoke(app, ["predict", str(folder), "--output", str(tmp_path)])
    (path,) = tmp_path.glob("*.png")
    picture = Image.open(path)
    assert is_colored(picture) == check.passed
    assert picture.info.get("Comment") == (None if check.passed else WHY)


def test_explain(check, folder, tmp_path):
    printed = RUN.invoke(app, ["explain", str(folder), "--output", str(tmp_path)]).stdout
    (path,) = tmp_path.glob("*.png")
    sheet = Image.open(path)
    # Below the hottest slice and the strip stand bars, of which one is marked in both.
    assert is_colored(sheet.crop((0, 0, sheet.width, 280))) == check.passed
    assert (WHY in printed) == (not check.passed)


def test_demo(check, tmp_path):
    RUN.invoke(app, ["demo", "--output", str(tmp_path)])
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    pictures = embedded(page)
    assert len(pictures) == 4
    assert all(is_colored(picture) for picture in pictures) == check.passed
    assert any(is_colored(picture) for picture in pictures) == check.passed
    assert page.count(WHY) == (0 if check.passed else 4)


def test_dicom_objects(check, folder, tmp_path):
    RUN.invoke(app, ["predict", str(folder), "--dicom-out", str(tmp_path)])
    made = {path.name.split("-")[0]: path for path in tmp_path.rglob("*.dcm")}
    assert set(made) == ({"SR", "SC", "SEG", "KO"} if check.passed else {"SR", "SC"})
    capture = dcmread(made["SC"])
    assert is_colored(Image.fromarray(capture.pixel_array)) == check.passed
    assert (capture.DerivationDescription == WHY) == (not check.passed)
    report = hd.sr.srread(made["SR"])
    assert (WHY in str(report)) == (not check.passed)
    assert bool(report.content.get_planar_roi_measurement_groups()) == check.passed


def test_archive(check, folder):
    files = sorted((folder / "series").iterdir())
    (row,) = score_unit(files, None, True, 0)
    assert (row["heatmap"] is not None) == check.passed
    assert row["heatmap_withheld"] == (None if check.passed else WHY)


def test_pages_of_an_evaluation(check, tmp_path, sick, healthy):
    pictures = []
    for name, study, tumor in (("sick", sick, True), ("healthy", healthy, False)):
        image = study.scan.slice(len(study.scan) // 2).image
        path = tmp_path / f"{name}.png"
        Image.fromarray((255 * image / image.max()).astype(np.uint8)).save(path)
        pictures.append(Picture(name, path, None, tumor, None, name, 1, "site"))
    detector = load_detector()
    result = evaluate_cases(score_cases(detector, pictures), [detector.model])
    setting = Setting("two phantoms", "by hand", {})
    write_evaluation(result, {detector.model["sha256"]: detector}, setting, tmp_path / "out")
    page = (tmp_path / "out" / "misses.html").read_text(encoding="utf-8")
    shown = embedded(page)
    assert len(shown) == 2
    assert any(is_colored(picture) for picture in shown) == check.passed
    assert page.count(WHY) == (0 if check.passed else 2)


def test_web_application(check, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(Worker, "call", lambda self, function, *rest: function(*rest))
    server = Server(Settings(data=tmp_path))
    browser = server.browser()
    series = {path.name: path.read_bytes() for path in (folder / "series").iterdir()}
    study = browser.upload(series, "a study").json()["id"]
    server.work(study)
    finding = browser.client.get(f"/studies/{study}/finding.json").json()["findings"][0]
    assert "viewer" not in finding
    page = browser.client.get(f"/studies/{study}").text
    assert ('data-do="heat"' in page) == check.passed
    assert ("heat.nii" in page) == check.passed
    assert (WHY.capitalize() in page) == (not check.passed)
    picture = browser.client.get(f"/api/v1/studies/{study}/heatmap")
    assert picture.status_code == (200 if check.passed else 404)
    if not check.passed:
        assert picture.json()["detail"] == WHY
    texts = []
    monkeypatch.setattr("weasyprint.HTML", lambda string: texts.append(string) or _Written())
    browser.client.get(f"/studies/{study}/report.pdf")
    assert (WHY.capitalize() in texts[0]) == (not check.passed)
    (picture,) = re.findall(r'<img src="file://([^"]+)"', texts[0])
    assert is_colored(Image.open(picture)) == check.passed
    kinds = {path.name.split("-")[0] for path in tmp_path.rglob("*.dcm")}
    assert ("SEG" in kinds) == check.passed


class _Written:
    def write_pdf(self):
        return b"%PDF"
