"""What the page and the report say of a study, made from stored findings."""

import io
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image
from pypdf import PdfReader

from meninx._detect.findings import StudyFindings
from meninx._scan.warning import ScanWarning
from meninx._web.store.settings import Settings
from tests.web.conftest import Server
from tests.web.findings import MODEL, VIEWER, finding


def pdf_text(answer):
    assert answer.headers["content-type"] == "application/pdf", answer.text
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(answer.content)).pages)


@pytest.mark.parametrize(
    ("sequence", "decision", "named"),
    [
        ("T1c", "tumor", True),
        ("T1c", "refer", False),
        ("T1c", "no_tumor", False),
        ("FLAIR", "tumor", False),
        ("T1", "tumor", False),
        ("unknown", "tumor", False),
    ],
)
def test_a_type_is_named_only_where_types_were_measured(server, stored, sequence, decision, named):
    study = stored(finding(sequence, decision))
    client = server.browser().client
    page = client.get(f"/studies/{study}").text
    report = pdf_text(client.get(f"/studies/{study}/report.pdf"))
    for text in (page, report):
        assert ("glioma, if a tumor" in " ".join(text.split())) == named
        assert ("0.88" in text) == named


HOTTEST = [{"index": 11, "probability": 0.97, "peak": [70, 40, 11]}]


def report_of(server, study):
    answer = server.browser().client.get(f"/studies/{study}/report.pdf")
    return " ".join(pdf_text(answer).split())


def test_the_report_lists_every_series_with_its_answer_place_and_size(server, stored):
    study = stored(
        finding(scan="series 1", viewer=VIEWER, slices=HOTTEST, probability=0.971),
        finding(
            "FLAIR",
            "no_tumor",
            scan="series 2",
            probability=0.044,
            viewer=VIEWER | {"plane": "sagittal", "slice_axis": 0},
        ),
        finding("T2", "refer", scan="series 3", probability=0.512),
        finding(
            scan="series 4",
            status="refused",
            decision=None,
            probability=None,
            types={},
            reason="localizer",
            message="3 slices of 3 planes; a localizer",
            series={"description": "scout", "file": ""},
        ),
        patient_name="Doe, Jane",
        patient_id="P-17",
        birth_date="1970-12-31",
        accession="A-9",
        study_date="2026-01-31",
        study_time="10:11:12",
        description="head & neck",
        probability=0.62,
        decision="refer",
        answer=StudyFindings("study").as_json()
        | {
            "series": ["series 1", "series 3"],
            "status": "scored",
            "decision": "refer",
            "probability": 0.62,
            "coverage": 0.95,
            "p_values": {"tumor": 0.31, "no_tumor": 0.072},
            "borders": {"no_tumor_below": 0.2, "tumor_from": 0.8},
            "reference": {"scans": "people", "tumor": 79, "tumor_free": 44, "borrowed": 0},
            "weights": [
                {"scan": "series 1", "sequence": "T1c", "share": 0.6, "evidence": 2.34},
                {"scan": "series 3", "sequence": "T2", "share": 0.4, "evidence": -1.2},
            ],
        },
    )
    text = report_of(server, study)
    for words in (
        "series 1 T1c, axial, 24 slices tumor 0.971",
        "series 2 FLAIR, sagittal, 100 slices no tumor 0.044",
        "series 3 T2 refer 0.512",
        "Patient Doe, Jane Patient ID P-17 Born 1970-12-31 Accession number A-9 "
        "Study head & neck Study date 2026-01-31 10:11:12",
        "refer, probability of a tumor 0.620 (no tumor below 0.200, refer, tumor from 0.800), "
        "from 2 series at once. Scores like 7 % of tumor-free scans and 31 % of tumors.",
        "Compared with 79 people with a tumor and 44 tumor",
        "series 1 T1c 60 % 2.3 for a tumor",
        "series 3 T2 40 % 1.2 against a tumor",
        "Types are shares among these three alone",
        "all of these simulated from people scanned in other sequences",
        "scout T1c refused 3 slices of 3 planes; a localizer (localizer)",
        "left side; about 34 mm left to right, 28 mm front to back, 15 mm feet to head; "
        "slices 10 to 14 of 24; 1 other place",
        "Research only, not for diagnosis",
        f"model {MODEL['sha256'][:16]}",
        f"Study {'4' * 16}",
    ):
        assert words in text, words
    # Nothing is said of where a tumor lies that was not found.
    assert text.count("left side") == 1


def test_the_report_gives_opinions_their_series_their_place_and_one_time(server, stored):
    study = stored(finding(viewer=VIEWER), finding("FLAIR", scan="series 2", viewer=VIEWER))
    browser = server.browser()
    address = f"/studies/{study}/opinions"
    browser.post(address, verdict="no_tumor", scan=1, note="a vein")
    browser.post(address, verdict="tumor", scan=1, box="60,30,10,71,45,11")
    browser.post(address, verdict="tumor", scan=0)
    text = report_of(server, study)
    when = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"
    on = r"on series 2 \(series 2, FLAIR, axial, 24 slices\)"
    assert re.search(rf"no tumor: rene, {when}, {on} a vein", text)
    assert re.search(
        rf"tumor: rene, {when}, {on} Marked: left side; 24 x 40 mm; slices 11 to 12 of 24", text
    )
    assert re.search(rf"tumor: rene, {when}, on series 1 \(series 1, T1c, axial", text)
    # One form of time in all of it.
    assert not re.search(r"\dT\d\d:", text)


def test_the_report_shows_the_picture_of_every_series(server, stored):
    study = stored(
        finding(viewer=VIEWER | {"picture": "0.png"}, slices=HOTTEST),
        finding("T2", scan="series 2", viewer=VIEWER | {"picture": "1.png"}, slices=HOTTEST),
    )
    folder = server.settings.studies / study / "shown"
    folder.mkdir(parents=True)
    for number, gray in enumerate((50, 200)):
        Image.new("L", (64, 48 + number), gray).save(folder / f"{number}.png")
    answer = server.browser().client.get(f"/studies/{study}/report.pdf")
    pages = PdfReader(io.BytesIO(answer.content)).pages
    sizes = {image.image.size for page in pages for image in page.images}
    assert sizes == {(64, 48), (64, 49)}
    assert "Hottest: slice 12 of 24" in " ".join(pdf_text(answer).split())


def test_an_opinion_is_shown_with_its_own_series_only(server, stored):
    study = stored(
        finding(series={"description": "T1 KM"}),
        finding("FLAIR", series={"description": "dark fluid"}),
    )
    browser = server.browser()
    browser.post(f"/studies/{study}/opinions", verdict="no_tumor", scan=1, note="a vein, I think")
    first, second = (browser.client.get(f"/studies/{study}?scan={n}").text for n in (0, 1))
    assert "a vein, I think" not in first
    assert re.search(r"1 opinion\s+on dark fluid</a>", first)
    assert re.search(r"<strong>no tumor</strong> rene,.*on dark fluid", second, re.S)
    (response,) = browser.client.get(f"/studies/{study}/finding.json").json()["opinions"]
    assert (response["scan"], response["series"]) == (1, "dark fluid")


def test_a_relative_data_folder_prints_a_report(scored, tmp_path, monkeypatch):
    # As `make demo-web` names it: pictures are found by file addresses, which must be absolute.
    shutil.copytree(scored.settings.data, tmp_path / "web here")
    monkeypatch.chdir(tmp_path)
    server = Server(Settings(data=Path("web here")), with_accounts=False)
    answer = server.browser().client.get(f"/studies/{scored.study_id}/report.pdf")
    monkeypatch.chdir("/")
    assert answer.status_code == 200
    pages = PdfReader(io.BytesIO(answer.content)).pages
    assert any(page.images for page in pages)


def test_page_report_and_responses_name_what_is_incomplete(server, stored):
    missing = {"incomplete": [{"what": "instances of the study", "expected": 31, "received": 17}]}
    words = "17 of 31 instances of the study came"
    study = stored(
        finding("T1c", "refer", scan="series 1", reason="incomplete", **missing),
        finding(
            scan="series 2",
            status="refused",
            decision=None,
            probability=None,
            types={},
            reason="localizer",
            message="3 slices of 3 planes; a localizer",
            **missing,
        ),
        decision="refer",
        probability=0.4,
        answer=StudyFindings("study", ("series 1",), status="scored", reason="incomplete").as_json()
        | missing,
    )
    client = server.browser().client
    for number, times in ((0, 2), (1, 2)):
        page = " ".join(client.get(f"/studies/{study}?scan={number}").text.split())
        assert page.count(words) == times  # of the study, and of the series that is shown
        assert "cores like" not in page
    assert report_of(server, study).count(words) == 3
    assert client.get(f"/studies/{study}/finding.json").json()["findings"][0]["incomplete"]
    assert client.get(f"/api/v1/studies/{study}").json()["answer"]["incomplete"]


def test_what_does_not_count_in_a_study_is_said_on_page_and_report(server, stored):
    said = "not counted in this study: 1 series of another contrast that could not be read"
    other = "it is described as another contrast (diffusion)"
    answer = StudyFindings(
        "study", ("series 1",), "no_tumor", 0.1, warnings=(ScanWarning("not_counted", said),)
    ).as_json()
    unread = finding(
        scan="series 2",
        status="failed",
        decision=None,
        probability=None,
        types={},
        reason="geometry",
        message="9 slices missing",
        warnings=[{"code": "other_contrast", "text": other}],
    )
    study = stored(finding(scan="series 1"), unread, decision="no_tumor", answer=answer)
    client = server.browser().client
    page = " ".join(client.get(f"/studies/{study}?scan=1").text.split())
    assert f"Warning: {said}." in page
    assert f"Warning: {other}" in page
    assert f"Warning: {said}." in report_of(server, study)
    assert client.get(f"/api/v1/studies/{study}").json()["answer"]["warnings"]
    # An answer that was stored without the key is shown as before.
    del answer["warnings"]
    values = {"decision": "no_tumor", "content_hash": "f" * 64}
    study = stored(finding(scan="series 1"), unread, answer=answer, **values)
    page = client.get(f"/studies/{study}").text
    assert "The study:" in page
    assert "not counted" not in page
