"""A series is scored whole or said to be incomplete, however its files lie in an archive."""

import dataclasses
import json
import threading

import fsspec
import pandas as pd
import pyarrow.parquet as parquet
import pytest

from meninx._archive.file_store import FileStore
from meninx._archive.options import Options
from meninx._archive.run import score_archive
from meninx._archive.store import open_store
from meninx._archive.table import Done, Table
from meninx._archive.unit_rows import score_unit
from meninx._archive.units import joined_units, units_of
from meninx._detect.loading import load_detector
from meninx._scan.completeness import Incomplete
from meninx._scan.incomplete_note import NOTE, IncompleteNote
from tests.archive.conftest import SLICES, write_series
from tests.archive.test_table import SHA, row, unit
from tests.medium import write_dicomdir


def run(source, out):
    """Score an archive in a scoring process; return the progress and the rows."""
    model = load_detector(threads=1).model
    table = Table(out, model["sha256"])
    options = Options(str(source), model, workers=1)
    progress = score_archive(options, table, lambda _: None, threading.Event())
    table.finish()
    table.close()
    return progress, parquet.read_table(table.folder, partitioning=None).to_pylist()


def move(folder, places):
    """Move the slices of a folder to places below it."""
    for file, place in zip(sorted(folder.iterdir()), places, strict=True):
        (folder / place).mkdir(parents=True, exist_ok=True)
        file.rename(folder / place / file.name)


def units(source):
    store = open_store(str(source))
    found = [unit for folder in store.folders() for unit in units_of(store, folder, Done([]))]
    return store, found


def scored(source):
    """Return the only unit of an archive, and its rows."""
    store, (found,) = units(source)
    files = store.fetch((*found.names, *found.context), source)
    count = len(found.names)
    return found, score_unit(files[:count], None, False, 10, files[count:])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("places", "expected"),
    [
        (["D1", "D2", "D1"], "D1 + D2/1.dcm"),  # a medium with so many files a folder
        (["d/a", "b/x/y", "c"], "b/x/y/1.dcm + c/2.dcm + d/a/0.dcm"),  # as Orthanc stores them
        ([".", "below", "below"], "0.dcm + below"),
    ],
)
def test_a_series_in_several_folders_is_one_row(heads, tmp_path, places, expected):
    source = tmp_path / "in"
    write_series(heads[0], source, 7)
    move(source, places)
    progress, (found,) = run(source, tmp_path / "out")
    assert (found["scan"], found["files"], found["status"]) == (expected, SLICES, "scored")
    assert (len(found["slices"]), progress.split, progress.files) == (SLICES, 0, SLICES)
    progress, again = run(source, tmp_path / "out")
    assert (again, progress.units) == ([found], 0)


@pytest.mark.slow
def test_a_part_that_comes_later_joins_the_others(heads, tmp_path):
    source = tmp_path / "in"
    write_series(heads[0], source / "a", 7)
    write_series(heads[1], source / "whole", 8)
    late = source / "a/2.dcm"
    kept = late.read_bytes()
    late.unlink()
    _, before = run(source, tmp_path / "out")
    assert sorted((found["scan"], found["files"]) for found in before) == [
        ("a", SLICES - 1),
        ("whole", SLICES),
    ]
    (source / "b").mkdir()
    (source / "b/2.dcm").write_bytes(kept)
    _, after = run(source, tmp_path / "out")
    assert sorted((found["scan"], found["files"]) for found in after) == [
        ("a + b/2.dcm", SLICES),
        ("whole", SLICES),
    ]


@pytest.mark.slow
def test_a_series_in_several_folders_that_are_renamed_is_not_gone(heads, tmp_path):
    source = tmp_path / "in"
    write_series(heads[0], source / "P9", 7)
    move(source / "P9", ["a", "b", "b"])
    _, (first,) = run(source, tmp_path / "out")
    assert (first["scan"], first["gone"]) == ("P9/a/0.dcm + P9/b", False)
    for old, new, scan in (
        ("P9/b", "P9/c", "P9/a/0.dcm + P9/c"),
        ("P9", "Q9", "Q9/a/0.dcm + Q9/c"),
    ):
        (source / old).rename(source / new)
        for _ in range(2):
            progress, (found,) = run(source, tmp_path / "out")
            assert progress.gone
            assert found == first | {"scan": scan}
    (source / "Q9/a/0.dcm").unlink()
    _, (found,) = run(source, tmp_path / "out")
    assert found["gone"]


def test_series_of_two_people_with_one_uid_are_not_joined(tmp_path):
    table = Table(tmp_path / "out", SHA)
    people = [
        {"patient": patient, "study_instance_uid": study, "series_instance_uid": "1.2.3"}
        for patient, study in (("a", "1"), ("b", "1"), ("a", "2"))
    ]
    table.add(unit(number, rows=[row(identity=who)]) for number, who in enumerate(people, 1))
    table.add([unit(9, rows=[row(identity={"series_instance_uid": ""})])])
    table.add([unit(10, rows=[row(identity={"series_instance_uid": ""})])])
    assert table.split_series() == {}
    table.close()


@pytest.mark.parametrize("is_written", [True, False])
def test_rows_of_parts_are_withdrawn_once_they_are_joined(tmp_path, is_written):
    who = {"patient": "a", "study_instance_uid": "1", "series_instance_uid": "1.2.3"}
    table = Table(tmp_path / "out", SHA)
    parts = [unit(number, rows=[row(identity=who)]) for number in (1, 2)]
    table.add([*parts, unit(3)])
    folders = [part["folder"] for part in parts]
    assert table.split_series() == dict.fromkeys(folders, frozenset({"1.2.3"}))
    if is_written:
        table.flush()
    table.add([unit(4, rows=[row(identity=who)]) | {"joined": folders}])
    assert table.split_series() == {}
    # A copy of a part, found later under an earlier name, is no row either.
    table.add([unit(1, place="a", rows=[]) | {"stamp": "ff" * 8}])
    table.finish()
    table.finish()
    assert sorted(pd.read_parquet(tmp_path / "out").scan) == ["place-3", "place-4"]
    assert f"{1:064x}" in table.done()
    table.close()


def test_a_series_partly_in_another_archive_stays_in_parts_and_is_counted(heads, tmp_path):
    write_series(heads[0], tmp_path / "in/a", 7)
    store, (found,) = units(tmp_path / "in")
    uid = next(iter(store.groups(next(store.folders())))).series_uid
    split = {found.folder: frozenset({uid}), "0" * 16: frozenset({uid})}
    assert list(joined_units(store, split)) == []


@pytest.mark.parametrize("order", [[0, 3, 1, 4, 2, 5], [5, 0, 4, 1, 3, 2]])
@pytest.mark.parametrize("separator", ["/", "\\"])
def test_the_order_of_a_list_does_not_matter(heads, tmp_path, order, separator):
    write_series(heads[0], tmp_path / "in/A", 7)
    write_series(heads[1], tmp_path / "in/B", 8)
    rows = [f"{name}{separator}{index}.dcm" for name in "AB" for index in range(SLICES)]
    (tmp_path / "in/list.csv").write_text("\n".join(["path", *(rows[index] for index in order)]))
    _, found = units(tmp_path / "in/list.csv")
    assert sorted(unit.names for unit in found) == [
        tuple(f"{name}/{index}.dcm" for index in range(SLICES)) for name in "AB"
    ]


def test_a_list_of_slices_keeps_the_note_beside_them(heads, tmp_path):
    write_series(heads[0], tmp_path / "in/A", 7)
    IncompleteNote("1.2.3", (Incomplete("instances of the study", 9, 3),)).write(tmp_path / "in/A")
    (tmp_path / "in/list.csv").write_text("path\nA/0.dcm\nA/1.dcm\nA/2.dcm\n")
    _, (found,) = units(tmp_path / "in/list.csv")
    assert (len(found.names), found.context) == (SLICES, (f"A/{NOTE}",))


@pytest.mark.parametrize("name", ["DICOMDIR", "DICOMDIR;1", "dicomdir.;1"])
def test_images_that_only_the_dicomdir_has_are_missing(heads, tmp_path, name):
    source = tmp_path / "in"
    write_series(heads[0], source / "cd/IMAGES/A", 7)
    write_series(heads[1], source / "cd/IMAGES/B", 8)
    write_dicomdir(source / "cd")
    (source / "cd/DICOMDIR").rename(source / "cd" / name)
    _, whole = units(source)
    assert [(unit.place, unit.error) for unit in whole] == [
        ("cd/IMAGES/A", ""),
        ("cd/IMAGES/B", ""),
    ]
    for file in (source / "cd/IMAGES/B").iterdir():
        file.unlink()
    (source / "cd/IMAGES/A/2.dcm").unlink()
    _, (first, absent) = units(source)
    assert (absent.place, first.place) == (f"cd/{name}", "cd/IMAGES/A")
    assert absent.error.startswith(f"it lists {SLICES} images of 1 series that are not here")
    store = open_store(str(source))
    files = store.fetch((*first.names, *first.context), source)
    (found,) = score_unit(files[:2], None, False, 10, files[2:])
    assert (found["decision"], found["reason"], found["files"]) == ("refer", "incomplete", 2)
    missing = Incomplete("images listed in DICOMDIR", SLICES, SLICES - 1)
    assert found["incomplete"] == [missing.as_json()]


def test_a_file_whose_name_begins_like_a_dicomdir_joins_no_folders(heads, tmp_path):
    for person in ("anna", "bert"):
        write_series(heads[0], tmp_path / "in" / person, 7)
    (tmp_path / "in/dicomdir_notes.txt").write_text("copied in May")
    _, found = units(tmp_path / "in")
    assert [(unit.place, len(unit.names)) for unit in found] == [("anna", SLICES), ("bert", SLICES)]


def test_a_series_in_two_folders_of_a_medium_is_one_unit(heads, tmp_path):
    write_series(heads[0], tmp_path / "cd/DIR", 7)
    move(tmp_path / "cd/DIR", ["1", "2", "1"])
    write_dicomdir(tmp_path / "cd")
    found, (row,) = scored(tmp_path / "cd")
    assert (found.place, row["files"], row["incomplete"]) == ("DIR", SLICES, [])
    assert row["detail"] == ""


def test_a_note_counts_for_the_folders_below_it(heads, tmp_path):
    missing = Incomplete("instances of the study", 40, 12)
    write_series(heads[0], tmp_path / "in/fetched/below", 7)
    IncompleteNote("1.2.3", (missing,)).write(tmp_path / "in/fetched")
    found, (row,) = scored(tmp_path / "in")
    assert (found.place, row["decision"]) == ("fetched/below", "refer")
    assert row["incomplete"] == [missing.as_json()]


def test_files_of_one_name_in_two_folders_are_both_fetched(heads, tmp_path):
    memory = fsspec.filesystem("memory")
    for name in ("a/1", "b/1"):
        memory.pipe(f"/scans/in/{name}", name.encode())
    store = FileStore(memory, "/scans/in")
    files = store.fetch(["a/1", "b/1"], tmp_path)
    assert [file.read_bytes() for file in files] == [b"a/1", b"b/1"]
    assert all(file.is_relative_to(tmp_path) for file in files)


def test_units_are_the_same_after_json(heads, tmp_path):
    write_series(heads[0], tmp_path / "in/a", 7)
    IncompleteNote("1", (Incomplete("slices", 9, 3),)).write(tmp_path / "in/a")
    _, (found,) = units(tmp_path / "in")
    assert type(found).of_json(json.loads(json.dumps(dataclasses.asdict(found)))) == found
