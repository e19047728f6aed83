"""Exports have all that is known of a study: JSON, JSON lines and CSV."""

import csv
import io
import json

from tests.web.findings import VIEWER, finding
from tests.web.test_opinions import say

IDENTITY = {
    "patient_name": "Doe, Jane",
    "patient_id": "=1+1",
    "birth_date": "1970-01-02",
    "accession": "A1",
    "study_date": "2026-01-31",
    "study_time": "10:11:12",
    "description": "head",
    "study_uid": "1.2.3",
}
SERIES = {"description": "T1 KM", "file": "sub-01_T1w.nii.gz", "uid": "1.2.3.4"}


def rows_of(response):
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.content.startswith(b"\xef\xbb\xbf")
    return list(csv.DictReader(io.StringIO(response.content.decode("utf-8-sig"))))


def test_exports_have_identity_answer_files_regions_and_opinions(server, stored):
    answer = {"decision": "tumor", "probability": 0.91}
    study = stored(
        finding(viewer=VIEWER, series=SERIES),
        finding("T2", "no_tumor", viewer=VIEWER),
        answer=answer,
        probability=0.91,
        file_names={"sub-01_T1w.nii.gz": "sub-01_T1w.nii.gz"},
        **IDENTITY,
    )
    waiting = stored(state="received", decision=None, file_names={"a.png": "b.png"})
    browser = server.browser()
    say(browser, study, about="study", note="seen")
    say(browser, study, "no_tumor", about="region", region=2)
    export = browser.client.get(f"/studies/{study}/finding.json").json()
    assert IDENTITY.items() <= export.items()
    assert (export["answer"], export["decision"]) == (answer, "tumor")
    assert export["files"] == ["sub-01_T1w.nii.gz"]
    assert export["series"][0] | SERIES == export["series"][0]
    assert [region["status"] for region in export["regions"]] == ["open", "rejected"]
    assert [opinion["about"] for opinion in export["opinions"]] == ["region", "study"]
    assert export["received"] and export["project"] == "general"
    lines = browser.post("/studies/export", study=[study, waiting]).text.splitlines()
    assert json.loads(lines[0]) == export
    assert json.loads(lines[1])["files"] == ["b.png"]

    rows = rows_of(browser.post("/studies/export", study=[study, waiting], format="csv"))
    assert len(rows) == 3
    # A spreadsheet would compute the patient's ID.
    assert (rows[0]["patient_id"], rows[0]["patient_name"]) == ("'=1+1", "Doe, Jane")
    keys = ("series", "sequence", "decision", "regions", "opinions", "study_opinions", "file")
    assert [rows[0][key] for key in keys] == [
        "1",
        "T1c",
        "tumor",
        "2",
        "rene: no tumor (region 2)",
        "rene: tumor",
        "sub-01_T1w.nii.gz",
    ]
    assert (rows[1]["decision"], rows[1]["regions"]) == ("no_tumor", "0")
    assert (rows[2]["state"], rows[2]["file"]) == ("received", "b.png")
    assert rows_of(browser.client.get(f"/studies/{study}/finding.csv")) == rows[:2]
