"""Readers' opinions become a training table, which `meninx prepare` reads."""

import csv

import nibabel
import numpy as np
import pytest
from PIL import Image

from meninx._data.table_items import read_rows_of_table
from meninx._scan.nifti import write_nifti
from meninx._scan.scan import Scan
from meninx._synthesis.writing import write_dicom
from meninx._web.store.database import AuditEntry, Study
from meninx._web.store.settings import Settings
from meninx._web.studies.training_table import TABLE, export_opinions
from tests.commands import meninx
from tests.web.conftest import Server
from tests.web.findings import VIEWER, finding
from tests.web.test_opinions import say

SHAPE = (100, 90, 24)
BOX = {"from": [10, 20, 3], "to": [14, 22, 4]}


def shown(number, **more):
    """What the viewer shows of a series with a heat map, its files named by its number."""
    return VIEWER | {"volume": f"{number}.nii", "heat": f"{number}-heat.nii"} | more


@pytest.fixture
def case(server, stored):
    """A study of three series, the first two positive: its id, and a browser for each reader."""
    study = stored(
        finding(viewer=shown(0)),
        finding("FLAIR", viewer=shown(1)),
        finding("T2", "no_tumor", viewer=shown(2)),
        patient_key="k",
    )
    heat = np.zeros(SHAPE, dtype=np.uint8)
    heat[62:79, 35:46, 9:14], heat[18:22, 39:41, 4] = 97, 61
    voxels = np.indices(SHAPE).sum(axis=0).astype(np.float32)
    grid = Scan("case", voxels, np.array(VIEWER["affine"], dtype=float))
    folder = server.settings.studies / study / "shown"
    for number in range(3):
        write_nifti(voxels.astype(np.int16), grid, folder / f"{number}.nii.gz")
        write_nifti(heat, grid, folder / f"{number}-heat.nii.gz")
    return study, server.browser(), server.browser("ada")


def exported(server, out):
    """Export; return the rows by series, and what was left out."""
    with server.web.sessions.begin() as session:
        done = export_opinions(session, server.settings, out)
    rows = {}
    if done.rows:
        with (out / TABLE).open(encoding="utf-8", newline="") as file:
            rows = {int(row["series"]): row for row in csv.DictReader(file)}
    return rows, dict(done.left_out)


def test_answers_places_and_pseudonyms_are_in_the_table(server, case, tmp_path):
    study, rene, ada = case
    say(rene, study, about="region", scan=0, region=1)
    say(ada, study, box={"from": [1, 1, 1], "to": [2, 2, 2]})
    say(ada, study, "no_tumor")  # the box is no tumor's any more
    say(rene, study, box=BOX)
    say(rene, study, box={"from": [30, 20, 3], "to": [30, 20, 3]})
    say(rene, study)  # boxes of earlier opinions stay
    say(ada, study, "tumor", scan=0)
    say(ada, study, "no_tumor", about="region", scan=1, region=1)
    say(ada, study, "no_tumor", about="region", scan=1, region=2)
    say(ada, study, "tumor", scan=2)
    say(ada, study, "no_tumor", scan=2)  # the latest counts
    rows, left_out = exported(server, tmp_path)
    assert left_out == {}
    assert {number: row["tumor"] for number, row in rows.items()} == {0: "1", 1: "0", 2: "0"}
    assert [rows[number]["sequence"] for number in range(3)] == ["T1c", "FLAIR", "T2"]
    assert rows[0]["readers"] == "2"
    assert len({row["person"] for row in rows.values()}) == 1
    assert rows[0]["person"] not in ("k", study)
    mask = np.asarray(nibabel.load(tmp_path / rows[0]["mask"]).dataobj)
    expected = np.zeros(SHAPE, dtype=bool)
    expected[62:79, 35:46, 9:14] = expected[10:15, 20:23, 3:5] = expected[30, 20, 3] = True
    assert (mask.astype(bool) == expected).all()
    assert (rows[1]["mask"], rows[2]["mask"]) == ("", "")
    table = read_rows_of_table(tmp_path / TABLE)
    assert [(row.tumor, row.sequence, row.mask is None) for row in table] == [
        (True, "T1c", False),
        (False, "FLAIR", True),
        (False, "T2", True),
    ]
    again = meninx("export-opinions", tmp_path, "--data", server.settings.data)
    assert (again.returncode, "exists" in again.stderr) == (2, True)
    with server.web.sessions() as session:
        assert session.query(AuditEntry).filter_by(action="exported for training").count() == 1


def test_what_is_no_answer_is_left_out_and_said(server, case, tmp_path):
    study, rene, ada = case
    say(rene, study, "cannot_tell")
    say(rene, study, "tumor", scan=1)
    say(ada, study, "no_tumor", scan=1)
    say(ada, study, "tumor", about="study")  # not said in which of three series
    say(ada, study, "no_tumor", about="region", scan=0, region=2)  # one of two regions
    rows, left_out = exported(server, tmp_path / "first")
    assert rows == {}
    assert left_out == {
        "readers can't tell, or say of a part of it only": 1,
        "readers disagree": 1,
    }
    command = ("export-opinions", tmp_path / "second", "--data", server.settings.data)
    said = meninx(*command)
    assert said.returncode == 0
    assert "no table is written: 0 series" in said.stdout
    assert "1 readers disagree" in said.stdout
    say(ada, study, "no_tumor", about="study")
    say(rene, study, "no_tumor", scan=1)
    rows, left_out = exported(server, tmp_path / "third")
    # Of series 0 the other reader still can't tell, so one answer is left.
    assert {number: row["tumor"] for number, row in rows.items()} == {0: "0", 1: "0", 2: "0"}
    with server.web.sessions.begin() as session:
        session.get(Study, study).withdrawn = session.get(Study, study).received
    assert exported(server, tmp_path / "fourth") == ({}, {"withdrawn": 3})


def test_a_picture_is_written_as_a_picture(server, stored, tmp_path):
    viewer = {"affine": None, "spacing_mm": None, "geometry": False, "shape": [40, 30, 1]}
    study = stored(finding("unknown", viewer=VIEWER | viewer | {"regions": []}))
    voxels = np.arange(1200, dtype=np.int16).reshape(40, 30, 1) % 256
    grid = Scan("picture", voxels.astype(np.float32), np.eye(4), slice_axis=2)
    write_nifti(voxels, grid, server.settings.studies / study / "shown" / "0.nii.gz")
    say(server.browser(), study, box={"from": [3, 4, 0], "to": [6, 5, 0]})
    rows, _ = exported(server, tmp_path)
    with Image.open(tmp_path / rows[0]["picture"]) as picture:
        assert (np.asarray(picture) == voxels[:, :, 0].T).all()
    with Image.open(tmp_path / rows[0]["mask"]) as mask:
        assert np.argwhere(np.asarray(mask)).min(axis=0).tolist() == [4, 3]


@pytest.mark.slow
def test_prepare_reads_what_readers_said_of_scored_studies(tmp_path, sick, healthy):
    server = Server(Settings(data=tmp_path / "data"))
    browser = server.browser()
    for name, case in (("sick", sick), ("healthy", healthy)):
        write_dicom(case.scan, tmp_path / name, case.seed)
        files = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        study = browser.upload(files).json()["id"]
        server.work(study)
        regions = browser.client.get(f"/api/v1/studies/{study}/regions").json()
        assert bool(regions) == (name == "sick")
        about = {"about": "region", "region": 1} if regions else {}
        say(browser, study, "tumor" if regions else "no_tumor", **about)
    out = tmp_path / "opinions"
    done = meninx("export-opinions", out, "--data", server.settings.data)
    assert "2 series: 1 with a tumor, 1 of them with a place, 1 without" in done.stdout
    prepared = meninx("prepare", out / TABLE, "--folds", 2)
    assert prepared.returncode == 0, prepared.stderr
    with (out / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["tumor"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"0", "1"}
    assert rows["1"]["mask"] and rows["1"]["sequence"] == "T1c"
