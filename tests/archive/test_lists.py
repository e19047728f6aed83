"""Rows of lists are read, or reported by their number."""

import gc
import os
import shutil

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from meninx._archive.lists import ListRow, read_list
from meninx._archive.store import open_store
from meninx._archive.table import Done
from meninx._archive.units import units_of
from meninx._errors import OptionError

FILES = fsspec.filesystem("file")


def rows(path):
    return list(read_list(FILES, str(path)))


def paths(path):
    return [row.path or row.fault for row in rows(path)]


@pytest.mark.parametrize(
    "data",
    [
        b"path\na/1\nb 2/x.nii\n",
        b"\xef\xbb\xbfpath\r\na/1\r\nb 2/x.nii\r\n",
        b"path\ra/1\rb 2/x.nii\r",
        "path\na/1\nb 2/x.nii\n".encode("utf-16"),
        "id;path\n1;a/1\n2;b 2/x.nii\n".encode("utf-16-le"),
        b'sep=;\n"id" ; "Path"\n1;a/1\n2; b 2/x.nii \n\n',
        b"# of March\n\nid\tpath\n1\ta/1\n# half\n\n2\tb 2/x.nii\n",
        b"PATH,note\n a/1 ,\n\tb 2/x.nii,old,,\n",
    ],
)
def test_csv_of_any_program_is_read(tmp_path, data):
    (tmp_path / "a.csv").write_bytes(data)
    assert paths(tmp_path / "a.csv") == ["a/1", "b 2/x.nii"]


def test_rows_without_a_path_are_reported_by_their_line(tmp_path):
    text = 'id,path\n1,a\n2,\n3\n4,"  "\n5,b,c\n6,"b,c"\n'
    (tmp_path / "a.csv").write_text(text)
    assert rows(tmp_path / "a.csv") == [
        ListRow("line 2", "a"),
        ListRow("line 3", fault="no path in it"),
        ListRow("line 4", fault="no path in it"),
        ListRow("line 5", fault="no path in it"),
        ListRow("line 6", fault="3 cells, the heading has 2; a path with a comma needs quotes"),
        ListRow("line 7", "b,c"),
    ]


def test_names_that_are_no_text_keep_their_bytes(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"path\nM\xfcller/1.dcm\n")
    assert [os.fsencode(row.path) for row in rows(tmp_path / "a.csv")] == [b"M\xfcller/1.dcm"]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["a", None, " b/2 "], pa.string(), ["a", "no path in it", "b/2"]),
        ([b"a", b"", b"\xfc"], pa.binary(), ["a", "no path in it", "\udcfc"]),
        (["a", "a"], pa.dictionary(pa.int8(), pa.string()), ["a", "a"]),
        (["a"], pa.large_string(), ["a"]),
        (
            [1.5, np.nan],
            pa.float64(),
            ["1.5 is no path but of type float; expected text", "no path in it"],
        ),
        ([True], pa.bool_(), ["True is no path but of type bool; expected text"]),
        ([["a"]], pa.list_(pa.string()), ["['a'] is no path but of type list; expected text"]),
    ],
)
def test_parquet_of_any_type_is_read(tmp_path, values, kind, expected):
    table = pa.table({"n": list(range(len(values))), "Path": pa.array(values, kind)})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert paths(tmp_path / "a.parquet") == expected
    gc.collect()  # the reader's file, where an earlier row ended the reading


@pytest.mark.parametrize("data", [b"name\nx\n", b"", b"Path,PATH\na,b\n"])
def test_a_list_without_the_column_says_what_it_has(tmp_path, data):
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(OptionError, match="no column 'path', found"):
        rows(tmp_path / "a.csv")


def found(path):
    store = open_store(str(path))
    units = [unit for folder in store.folders() for unit in units_of(store, folder, Done([]))]
    return {unit.place: unit.error for unit in units}


def test_a_list_scores_what_it_names_and_nothing_else(archive, tmp_path):
    source = tmp_path / "in"
    shutil.copytree(archive, source)
    (source / "text").mkdir()
    (source / "text/notes.md").write_text("none")
    (source / "gone.nii").symlink_to("../never.nii")
    lines = [
        "id,path",
        "1,b/series-1/",
        "2,",
        "3,B\\series-9",
        "4,b\\series-2",
        f"5,../in/{'c'}/volume.nii.gz",
        "6,c/notes.txt",
        "7,text",
        "8,gone.nii",
        "9,./b/series-1",
        "# the end",
    ]
    (source / "list.csv").write_text("\n".join(lines))
    errors = found(source / "list.csv")
    assert errors.pop("line 9: gone.nii").startswith("a link to ../never.nii, which ")
    assert errors == {
        "b/series-1": "",
        "line 3": "no path in it",
        "line 4: B\\series-9": "no such file or folder",
        "b/series-2": "",
        "c/volume.nii.gz": "",
        "c/notes.txt": "",  # reading it reports what is wrong
        "line 8: text": "no picture, NIfTI or DICOM file in it",
    }


def test_a_name_with_a_sign_of_comments_is_one_if_it_is_there(archive, tmp_path):
    shutil.copytree(archive / "b/series-0", tmp_path / "#1")
    (tmp_path / "list.csv").write_text("path\n#1\n#2 comes later\n")
    assert found(tmp_path / "list.csv") == {"#1": ""}
