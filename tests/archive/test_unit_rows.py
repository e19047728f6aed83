"""Rows of a unit say what is incomplete."""

import pyarrow.parquet as parquet
import pytest

from meninx._archive.store import open_store
from meninx._archive.table import Done, Table
from meninx._archive.unit_rows import score_unit
from meninx._archive.unit_scorer import content_hash
from meninx._archive.units import units_of
from meninx._errors import PeerError
from meninx._scan.completeness import Incomplete
from meninx._scan.incomplete_note import NOTE, IncompleteNote
from tests.archive.conftest import SLICES, write_series
from tests.clinic.dicomweb import MULTIPART, found, multipart, serving, uids

MISSING = Incomplete("instances of the study", 40, 12)


def test_a_series_of_an_incomplete_folder_is_referred_until_it_is_complete(heads, tmp_path):
    folder = tmp_path / "in" / "fetched"
    write_series(heads[0], folder, 5)
    IncompleteNote("1.2.3", (MISSING,)).write(folder)
    store = open_store(str(tmp_path / "in"))
    (unit,) = (unit for listed in store.folders() for unit in units_of(store, listed, Done([])))
    files = store.fetch((*unit.names, *unit.context), tmp_path)
    before = content_hash(files)
    (row,) = score_unit(files[:SLICES], None, False, 10, files[SLICES:])
    assert (row["decision"], row["reason"], row["files"]) == ("refer", "incomplete", SLICES)
    assert row["incomplete"] == [MISSING.as_json()]
    table = Table(tmp_path / "out", "ab" * 32)
    table._write(0, pa_table(row))
    (written,) = parquet.read_table(table.folder / "part-000000.parquet").to_pylist()
    assert written["incomplete"] == [MISSING.as_json()]
    table.close()
    (folder / NOTE).unlink()
    (again,) = (unit for listed in store.folders() for unit in units_of(store, listed, Done([])))
    assert again.stamp != unit.stamp
    assert content_hash(store.fetch((*again.names, *again.context), tmp_path)) != before


def pa_table(row):
    from meninx._archive.table import _as_table

    return _as_table([row | {"content_hash": "0" * 64, "scan": "fetched"}])


@pytest.mark.parametrize("count", [0, 2])
def test_a_partial_series_of_a_service_is_out_of_reach(heads, tmp_path, count):
    write_series(heads[1], tmp_path / "source", 6)
    files = [path.read_bytes() for path in sorted((tmp_path / "source").iterdir())]
    with serving() as service:
        import pydicom

        header = pydicom.dcmread(next((tmp_path / "source").iterdir()))
        study, series = str(header.StudyInstanceUID), str(header.SeriesInstanceUID)
        service.answers["GET", "/studies"] = found(uids([("0020000D", study)]))
        service.answers["GET", f"/studies/{study}/series"] = found(
            uids([("0020000E", series)], **{"00201209": SLICES})
        )
        place = ("GET", f"/studies/{study}/series/{series}")
        service.answers[place] = (200, MULTIPART, multipart(files[:count]))
        store = open_store(service.address)
        (folder,) = store.folders()
        (group,) = store.groups(folder)
        names = [entry.name for entry in group.entries]
        into = tmp_path / "into"
        into.mkdir()
        with pytest.raises(OSError, match=f"{count} of {SLICES} instances of the series") as caught:
            store.fetch(names, into)
        assert isinstance(caught.value.__cause__, PeerError)
        service.answers[place] = (200, MULTIPART, multipart(files))
        assert len(store.fetch(names, into)) == SLICES
