"""Units are scored one at a time, identified by content, and isolated from harmful files."""

import errno
import json
import os

import pyarrow.parquet as parquet
import pytest

from meninx._archive import unit_scorer
from meninx._archive.store import open_store
from meninx._archive.table import Done, Table
from meninx._archive.unit_scorer import UnitScorer, content_hash
from meninx._archive.units import units_of
from meninx._synthesis.writing import dicom_slice
from tests.archive import poison
from tests.archive.conftest import SLICES

NOTHING = Done([])
NAMED = {"name": "meninx", "sha256": "0" * 64}
MEMORY = 4 * 2**30


def scored(folder, done=NOTHING, *, maps=False, seconds=60):
    store = open_store(str(folder))
    scorer = UnitScorer(store, done, None, NAMED, maps=maps, seconds=seconds, memory_bytes=MEMORY)
    try:
        units = (unit for found in store.folders() for unit in units_of(store, found, done))
        return {result["place"]: result for result in scorer.score(units)}
    finally:
        scorer.kill()


def rows(result):
    return json.loads(result["rows"])


@pytest.mark.slow
def test_rows_are_the_public_json_with_facts(archive):
    results = scored(archive)
    (row,) = rows(results["b/series-2"])
    assert row["status"] == "scored"
    assert 0 <= row["probability"] <= 1
    assert (row["month"], row["scanner"], row["field_strength"], row["sequence"]) == (
        "2025-03",
        "meninx phantom phantom",
        1.5,
        "FLAIR",
    )
    assert (row["kind"], row["files"]) == ("volume", 3)
    assert set(row["milliseconds"]) == {"read", "preprocess", "infer"}
    assert results["a/copy"]["content_hash"] == results["b/series-0"]["content_hash"]
    statuses = {
        place: rows(result)[0]["status"] for place, result in results.items() if rows(result)
    }
    assert statuses["c/noise.png"] == "refused"
    assert statuses["c/cut.png"] == statuses["c/broken.dcm"] == "failed"
    assert "/in/c" not in json.dumps(results["c/cut.png"])


@pytest.mark.slow
def test_known_content_is_not_scored_again(archive):
    first = scored(archive / "b/series-1")
    known = Done([first["series-1"]["content_hash"]])
    again = scored(archive / "b/series-1", known)
    assert rows(again["series-1"]) == []
    assert again["series-1"]["content_hash"] == first["series-1"]["content_hash"]


@pytest.mark.slow
def test_poison_fails_within_its_limit_and_leaves_the_rest_alone(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(unit_scorer, "score_unit", poison.score)
    good = (archive / "c/volume.nii.gz").read_bytes()
    for name in ("end", "nap", "eat"):
        (tmp_path / f"{name}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + name.encode())
        (tmp_path / f"{name}-after.nii.gz").write_bytes(good)
    results = scored(tmp_path, seconds=10)
    reasons = {place: rows(result)[0]["reason"] for place, result in results.items()}
    assert reasons["nap.png"] == "limit_exceeded"
    assert reasons["end.png"] == reasons["eat.png"] == "unreadable"
    for name in ("end", "nap", "eat"):
        (row,) = rows(results[f"{name}-after.nii.gz"])
        assert row["status"] == "scored"


def test_files_out_of_reach_are_reported_and_not_failed(archive, tmp_path):
    gone = tmp_path / "gone.png"
    gone.write_bytes(b"\x89PNG\r\n\x1a\n")
    store = open_store(str(tmp_path))
    (folder,) = store.folders()
    (unit,) = units_of(store, folder, NOTHING)
    gone.unlink()
    scorer = UnitScorer(store, NOTHING, None, NAMED, maps=False, seconds=5, memory_bytes=MEMORY)
    (result,) = scorer.score([unit])
    scorer.kill()
    assert "gone.png" in result["unreached"]
    assert rows(result) == []


@pytest.mark.parametrize("where", ["scratch", "fetch"])
def test_a_full_temporary_folder_is_reported_at_once_with_the_same_text(
    archive, monkeypatch, where
):
    store = open_store(str(archive / "c"))
    units = [unit for folder in store.folders() for unit in units_of(store, folder, NOTHING)]
    full = OSError(errno.ENOSPC, "No space left on device")

    def fetch(names, into):
        raise OSError(f"{names[0]}: OSError: {full}") from full

    def make(**_):
        raise full

    if where == "fetch":
        monkeypatch.setattr(store, "fetch", fetch)
    else:
        monkeypatch.setattr(unit_scorer.tempfile, "TemporaryDirectory", make)
    monkeypatch.setattr(unit_scorer.time, "sleep", pytest.fail)
    scorer = UnitScorer(store, NOTHING, None, NAMED, maps=False, seconds=5, memory_bytes=MEMORY)
    results = list(scorer.score(units))
    scorer.kill()
    assert {result["unreached"] for result in results} == {unit_scorer.DISK_FULL}
    assert [rows(result) for result in results] == [[]] * len(units)


@pytest.mark.slow
def test_names_that_are_no_text_are_written_into_the_table(heads, tmp_path):
    folder = tmp_path / os.fsdecode(b"in/M\xfcller")
    for number in (1, 2):
        for index in range(SLICES):
            dataset = dicom_slice(heads[number], index, number)
            # Two series with the same UID: their names have their numbers.
            dataset.SeriesInstanceUID, dataset.SeriesNumber = "1.2.3", number
            folder.joinpath("both").mkdir(parents=True, exist_ok=True)
            dataset.save_as(folder / f"both/{number}-{index}.dcm", enforce_file_format=True)
    (folder / os.fsdecode(b"d\xfcnn.png")).write_bytes(b"\x89PNG\r\n\x1a\n")
    results = scored(tmp_path / "in")
    table = Table(tmp_path / "out", NAMED["sha256"])
    table.add(results.values())
    table.finish()
    table.close()
    made = parquet.read_table(table.folder, partitioning=None)
    answers = dict(zip(made["scan"].to_pylist(), made.to_pylist(), strict=True))
    assert sorted(answers) == [
        r"M\xfcller/both (series 1)",
        r"M\xfcller/both (series 2)",
        r"M\xfcller/d\xfcnn.png",
    ]
    assert str(tmp_path) not in answers[r"M\xfcller/d\xfcnn.png"]["message"]


def test_content_does_not_depend_on_names_or_order(tmp_path):
    for name, data in (("a", b"1"), ("b", b"2"), ("c", b"2"), ("d", b"1")):
        (tmp_path / name).write_bytes(data)
    first = content_hash([tmp_path / "a", tmp_path / "b"])
    assert first == content_hash([tmp_path / "c", tmp_path / "d"])
    assert first != content_hash([tmp_path / "a", tmp_path / "d"])


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/tmp/meninx-x/1.dcm"),
        OSError("study 1: PeerError: [Errno 28] No space left on device"),
    ],
)
def test_a_full_temporary_folder_is_named_without_a_file(error):
    assert unit_scorer._reason_of(error).startswith("temporary folder: disk full")
    assert "1.dcm" not in unit_scorer._reason_of(error)
    assert "gone.png" in unit_scorer._reason_of(FileNotFoundError(2, "none", "gone.png"))


def test_a_known_unit_is_not_fetched_again(archive):
    store = open_store(str(archive))
    known = [unit for folder in store.folders() for unit in units_of(store, folder, NOTHING)]
    results = scored(archive, Done(unit.stamp for unit in known))
    assert len(results) == len(known)
    for result in results.values():
        assert (result["content_hash"], result["rows"], result["unreached"]) == ("", "[]", "")
