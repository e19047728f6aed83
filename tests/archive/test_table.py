"""The table and its ledger: nothing is written twice or lost, whenever a run is stopped."""

import errno
import json

import pandas as pd
import pyarrow.parquet as parquet
import pytest

from meninx._archive import table as tables
from meninx._archive.table import Table
from meninx._archive.table_layout import LAYOUT
from meninx._errors import OptionError

SHA = "ab" * 32


def row(**values):
    return {"detail": "", "status": "scored", "probability": 0.5, "files": 1, **values}


def unit(number, place=None, rows=None, units=1):
    return {
        "stamp": f"{number:016x}",
        "folder": f"f{number:015x}",
        "units": units,
        "place": place or f"place-{number}",
        "content_hash": f"{number:064x}",
        "rows": json.dumps([row()] if rows is None else rows),
        "joined": [],
    }


@pytest.fixture
def table(tmp_path):
    table = Table(tmp_path / "out", SHA)
    yield table
    table.close()


def read(tmp_path):
    return pd.read_parquet(tmp_path / "out")


def test_rows_are_written_once(table, tmp_path):
    assert table.add([unit(1), unit(2)]) == 2
    assert table.add([unit(2)]) == 0
    table.finish()
    found = read(tmp_path)
    assert sorted(found.scan) == ["place-1", "place-2"]
    assert found.content_hash.is_unique


def test_the_first_copy_by_name_names_the_row(table, tmp_path):
    table.add([unit(1, place="b")])
    table.finish()
    copy = unit(1, place="a", rows=[]) | {"stamp": "ff" * 8}
    assert table.add([copy]) == 0
    table.finish()
    assert list(read(tmp_path).scan) == ["a"]
    assert table.counts() == {"units": 2, "contents": 1}


def test_scans_of_a_file_have_different_hashes(table, tmp_path):
    table.add([unit(1, rows=[row(detail=" (series 1)"), row(detail=" (series 2)")])])
    table.finish()
    found = read(tmp_path)
    assert sorted(found.scan) == ["place-1 (series 1)", "place-1 (series 2)"]
    assert found.content_hash.is_unique
    assert f"{1:064x}" in set(found.content_hash)


def test_done_contains_units_contents_and_finished_folders(table):
    table.add([unit(1), unit(2, units=2)])
    done = table.done()
    assert f"{1:016x}" in done
    assert f"{1:064x}" in done
    assert f"f{1:015x}" in done
    assert f"f{2:015x}" not in done
    assert f"{3:016x}" not in done


def test_a_part_that_was_not_entered_is_deleted_and_its_rows_stay(table, tmp_path, monkeypatch):
    table.add([unit(1), unit(2)])
    monkeypatch.setattr(table, "_transaction", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        table.flush()  # as if killed between the two
    assert len(list(table.folder.glob("part-*"))) == 1
    table.close()
    again = Table(tmp_path / "out", SHA)
    assert not list(again.folder.iterdir())
    again.finish()
    again.close()
    assert len(read(tmp_path)) == 2


def test_rows_wait_for_a_part(table, monkeypatch):
    monkeypatch.setattr(tables, "PART_ROWS", 10)
    table.add([unit(number) for number in range(25)])
    assert len(list(table.folder.glob("part-*"))) == 3
    assert not list(table.folder.glob("_part-*"))


def test_another_run_is_reported(table, tmp_path):
    with pytest.raises(OptionError, match="another run"):
        Table(tmp_path / "out", SHA)


def test_each_detector_has_its_own_table(table, tmp_path):
    table.add([unit(1)])
    table.finish()
    table.close()
    other = Table(tmp_path / "out", "cd" * 32)
    assert f"{1:064x}" not in other.done()
    other.add([unit(1)])
    other.finish()
    other.close()
    assert sorted(read(tmp_path).detector) == ["ab" * 8, "cd" * 8]


def test_a_full_disk_is_an_error_of_the_system_and_loses_nothing(table, tmp_path):
    table.add([unit(1)])
    pages = next(table._ledger.execute("pragma page_count"))[0]
    table._ledger.execute(f"pragma max_page_count={pages}")
    many = [unit(number, rows=[row(message="x" * 900)]) for number in range(2, 60)]
    with pytest.raises(OSError, match="No space left on device") as caught:
        table.add(many)
    assert caught.value.errno == errno.ENOSPC
    table._ledger.execute("pragma max_page_count=1000000")
    assert table.add([unit(1), *many]) == 58
    table.finish()
    assert len(read(tmp_path)) == 59


def test_incomplete_counts_are_in_the_table(table, tmp_path):
    count = {"what": "files of the series", "expected": 24, "received": 20}
    table.add([unit(1, rows=[row(incomplete=[count])]), unit(2, rows=[row(incomplete=[])])])
    table.finish()
    found = parquet.read_table(tmp_path / "out").column("incomplete").to_pylist()
    assert sorted(found, key=len) == [[], [count]]


def stamps(*numbers):
    return [f"f{number:015x}" for number in numbers]


def test_rows_of_content_that_is_gone_are_marked_until_it_is_back(table, tmp_path):
    table.add([unit(1, place="a"), unit(2, place="b"), unit(3, place="c")])
    copy = unit(1, place="d", rows=[]) | {"stamp": "ff" * 8, "folder": stamps(4)[0]}
    table.add([copy])
    table.finish()
    # Of the first the copy is left; the second's files have other content now, which waits.
    table.add([unit(5, place="b")])
    table.mark_gone(stamps(3, 4, 5))
    table.finish()
    marked = {(row.scan, row.gone) for row in read(tmp_path).itertuples()}
    assert marked == {("d", False), ("b", True), ("c", False), ("b", False)}
    assert table.gone(9) == (1, ["b"])
    table.mark_gone(stamps(1, 2, 3, 4))
    table.finish()
    marked = {(row.content_hash[-1], row.scan, row.gone) for row in read(tmp_path).itertuples()}
    assert marked == {("1", "a", False), ("2", "b", False), ("3", "c", False), ("5", "b", True)}


def test_a_known_unit_in_a_changed_folder_is_not_gone(table):
    table.add([unit(1)])
    known = unit(1, rows=[]) | {"folder": stamps(9)[0], "content_hash": ""}
    assert table.add([known, known]) == 0
    table.mark_gone(stamps(9))
    assert table.gone(9) == (0, [])
    assert stamps(9)[0] in table.done()


def test_only_the_archive_of_the_run_has_rows_that_are_gone(table, tmp_path):
    table.add([unit(1), unit(2)])
    table.close()
    other = Table(tmp_path / "out", SHA, "elsewhere")
    other.add([unit(2, rows=[]) | {"stamp": "ff" * 8}, unit(3)])
    other.mark_gone([])
    assert other.gone(9) == (1, ["place-3"])
    other.close()


def test_content_that_another_archive_still_has_is_not_gone(table, tmp_path):
    table.add([unit(1, place="z")])
    table.mark_gone([])
    assert table.gone(9) == (1, ["z"])
    table.close()
    other = Table(tmp_path / "out", SHA, "elsewhere")
    other.add([unit(1, place="zz", rows=[]) | {"stamp": "ff" * 8}])
    other.finish()
    assert other.gone(9) == (0, [])
    assert list(read(tmp_path).scan) == ["zz"]
    other.close()


def join(table, number, *parts):
    """Enter a series of several parts, then the unit that joins them."""
    who = {"patient": "p", "study_instance_uid": "1", "series_instance_uid": "1.2"}
    table.add([unit(part, rows=[row(identity=who)]) for part in parts])
    place = " + ".join(f"place-{part}" for part in parts)
    joined = unit(number, place=place, rows=[row(identity=who)]) | {"joined": stamps(*parts)}
    table.add([joined])


def moved(number, to):
    return unit(number, place=f"place-{to}", rows=[]) | {
        "stamp": f"{to:016x}",
        "folder": stamps(to)[0],
    }


def marks(table, tmp_path):
    table.finish()
    return sorted((row.scan, row.gone) for row in read(tmp_path).itertuples())


def test_a_joined_series_is_there_while_its_parts_are_in_any_folders(table, tmp_path):
    join(table, 9, 1, 2)
    table.mark_gone(stamps(1))
    assert marks(table, tmp_path) == [("place-1 + place-2", True)]
    table.add([moved(2, 3)])
    table.mark_gone(stamps(1, 3))
    assert marks(table, tmp_path) == [("place-1 + place-3", False)]
    # All of its files in one folder are the series, too.
    table.add([moved(9, 4)])
    table.mark_gone(stamps(4))
    assert marks(table, tmp_path) == [("place-4", False)]
    table.mark_gone(stamps(3))
    assert marks(table, tmp_path) == [("place-4", True)]


def test_a_series_joined_anew_needs_only_the_parts_that_it_has(table, tmp_path):
    join(table, 9, 1, 2)
    # A third part comes, and the first one has other content now.
    who = {"patient": "p", "study_instance_uid": "1", "series_instance_uid": "1.2"}
    table.add([unit(number, rows=[row(identity=who)]) for number in (3, 4)])
    joined = {"joined": stamps(2, 3, 4)}
    table.add([unit(10, place="whole", rows=[row(identity=who)]) | joined])
    table.mark_gone(stamps(2, 3, 4))
    assert marks(table, tmp_path) == [("place-2 + place-3 + place-4", False)]
    table.mark_gone(stamps(3, 4))
    assert marks(table, tmp_path) == [("place-2 + place-3 + place-4", True)]


def test_a_joined_series_is_gone_only_for_its_own_archive(table, tmp_path):
    join(table, 9, 1, 2)
    table.close()
    other = Table(tmp_path / "out", SHA, "elsewhere")
    other.mark_gone([])
    assert other.gone(9) == (0, [])
    other.close()


@pytest.mark.parametrize("layout", [0, LAYOUT + 1])
def test_a_table_of_another_version_is_refused_and_unchanged(table, tmp_path, layout):
    table.add([unit(1)])
    table.finish()
    table._ledger.execute(f"pragma user_version={layout}")
    table.close()
    with pytest.raises(OptionError, match="written by another version of meninx") as caught:
        Table(tmp_path / "out", SHA)
    assert "name a new folder" in str(caught.value)
    assert "another run" not in str(caught.value)
    assert list(read(tmp_path).scan) == ["place-1"]


def test_a_series_whose_slices_were_replaced_is_not_split(table):
    identity = {"patient": "p", "study_instance_uid": "1", "series_instance_uid": "1.2"}
    table.add([unit(1, place="a", rows=[row(identity=identity)])])
    table.add([unit(2, place="a", rows=[row(identity=identity)])])
    assert table.count_split() == 1
    table.mark_gone(stamps(2))
    assert table.count_split() == 0
