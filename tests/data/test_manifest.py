import os
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from meninx._data.manifest import COLUMNS, read_header, read_manifest, read_rows, write_manifest
from meninx._errors import DataError

GOOD = [
    {
        "id": "a",
        "picture": "a.png",
        "mask": "a.png",
        "tumor": "1",
        "tumor_type": "glioma",
        "group": "g1",
        "fold": "1",
        "source": "s",
    },
    {
        "id": "b",
        "picture": "b.png",
        "mask": "",
        "tumor": "0",
        "tumor_type": "none",
        "group": "g2",
        "fold": "2",
        "source": "s",
    },
    {
        "id": "c",
        "picture": "c.png",
        "mask": "",
        "tumor": "1",
        "tumor_type": "unknown",
        "group": "g1",
        "fold": "1",
        "source": "s",
    },
]


def write(folder, rows, columns=COLUMNS):
    for name in "abc":
        Image.new("L", (8, 9)).save(folder / f"{name}.png")
    lines = [",".join(columns)] + [",".join(row[column] for column in columns) for row in rows]
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")


def test_rows_become_pictures(tmp_path):
    write(tmp_path, GOOD)
    manifest = read_manifest(tmp_path)
    a, b, c = manifest.pictures
    assert (a.tumor, a.tumor_type, a.mask) == (True, "glioma", tmp_path / "a.png")
    assert (b.tumor, b.tumor_type, b.mask) == (False, None, None)
    assert (c.tumor, c.tumor_type) == (True, None)
    assert manifest.fold(1) == (a, c)
    assert manifest.without_fold(1) == (b,)
    assert len(manifest.sha256) == 64


@pytest.mark.parametrize(
    ("index", "change", "message"),
    [
        (0, {"picture": "gone.png"}, "gone.png does not exist"),
        (0, {"tumor": "maybe"}, "line 2: tumor is 'maybe', expected 0 or 1"),
        (0, {"tumor": ""}, "line 2: tumor is empty, expected 0 or 1"),
        (0, {"tumor": "0"}, "tumor is 0 but tumor_type is 'glioma'"),
        (0, {"tumor_type": "gliom"}, "'gliom', expected glioma, .*, none or unknown"),
        (1, {"id": "a"}, "id a appears twice"),
        (2, {"fold": "2"}, "group g1 lies in the folds 1 and 2"),
        (2, {"fold": "x"}, "line 4: fold is 'x', expected a whole number"),
        (2, {"fold": "-1"}, "line 4: fold is '-1', expected a whole number"),
        (2, {"fold": "9" * 5000}, "line 4: fold is '99"),
        (
            2,
            {"picture": "./a.png"},
            "a.png is listed twice, as a and c; remove .* or run prepare again",
        ),
        (2, {"picture": ""}, "line 4: picture is empty, expected the name of a file"),
    ],
)
def test_faults_are_named_with_their_line(tmp_path, index, change, message):
    rows = [dict(row) for row in GOOD]
    rows[index] |= change
    write(tmp_path, rows)
    with pytest.raises(DataError, match=message):
        read_manifest(tmp_path)


def test_all_faults_of_a_row_and_of_its_folds_are_named_at_once(tmp_path):
    rows = [dict(row) for row in GOOD]
    rows[1] |= {"tumor": "maybe", "tumor_type": "gliom", "id": "a"}
    rows[2] |= {"fold": "2", "mask": "gone.png"}
    write(tmp_path, rows)
    with pytest.raises(DataError) as caught:
        read_manifest(tmp_path)
    message = str(caught.value)
    assert "5 faults" in message
    for part in (
        "tumor is 'maybe'",
        "tumor_type is 'gliom'",
        "id a appears twice",
        "gone.png does not exist",
        "group g1 lies in the folds 1 and 2",
    ):
        assert part in message


def test_names_of_files_need_not_be_text(tmp_path):
    write(tmp_path, GOOD)
    pictures = read_manifest(tmp_path).pictures
    path = pictures[0].picture.rename(tmp_path / os.fsdecode(b"M\xfcller.png"))
    write_manifest([replace(pictures[0], picture=path, mask=path)], tmp_path / "bytes.csv")
    (picture,) = read_manifest(tmp_path / "bytes.csv").pictures
    assert (picture.picture.name, picture.picture.exists()) == (path.name, True)


def test_folds_that_went_through_a_data_frame_are_whole_numbers(tmp_path):
    write(tmp_path, [row | {"fold": f"{row['fold']}.0"} for row in GOOD])
    assert [picture.fold for picture in read_manifest(tmp_path).pictures] == [1, 2, 1]


def test_missing_columns_and_manifest(tmp_path):
    with pytest.raises(DataError, match="no manifest"):
        read_manifest(tmp_path)
    write(tmp_path, GOOD, COLUMNS[:-2])
    with pytest.raises(DataError, match="fold, source are missing"):
        read_manifest(tmp_path)


STACKED = (*COLUMNS, "person", "site", "sequence", "stack", "slice")


def stacked(**changes):
    """Three slices of one stack; `changes` go to the last."""
    rows = [
        {
            **GOOD[index],
            "group": "g",
            "fold": "1",
            "person": "P1",
            "site": "H",
            "sequence": "t1gd",
            "stack": "P1/T1c",
            "slice": number,
        }
        for index, number in enumerate(("7", "-1", "9.0"))
    ]
    return [*rows[:2], rows[2] | changes]


def test_persons_sites_and_stacks_come_back_as_written(tmp_path):
    write(tmp_path, stacked(slice=""), STACKED)
    with pytest.raises(DataError, match="stack P1/T1c: 1 pictures without a slice number"):
        read_manifest(tmp_path)
    write(tmp_path, stacked(), STACKED)
    manifest = read_manifest(tmp_path)
    assert [picture.position for picture in manifest.pictures] == [7, -1, 9]
    assert {
        (picture.person, picture.site, picture.sequence, picture.stack)
        for picture in manifest.pictures
    } == {("P1", "H", "T1c", "P1/T1c")}
    assert not manifest.pictures[0].extra
    alone = replace(manifest.pictures[0], stack="", position=None, sequence="", extra={"a,b": 'c"'})
    write_manifest([alone, *manifest.pictures[1:]], tmp_path / "again.csv")
    first, *others = read_manifest(tmp_path / "again.csv").pictures
    assert first == replace(alone, picture=first.picture, mask=first.mask)
    assert [replace(picture, extra={}, mask=None) for picture in others] == [
        replace(picture, mask=None) for picture in manifest.pictures[1:]
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"slice": "7"}, "stack P1/T1c: slice 7 is there 2 times"),
        ({"slice": "top"}, "line 4: slice is 'top', expected a whole number"),
        ({"slice": "7.5"}, "slice is '7.5'"),
        ({"person": "P2"}, "stack P1/T1c has several persons: P1, P2"),
        ({"person": ""}, r"several persons: \(empty\), P1"),
        ({"sequence": "flair"}, "several sequences: FLAIR, T1c"),
        ({"group": "h", "fold": "2"}, "stack P1/T1c lies in the folds 1 and 2"),
    ],
)
def test_faults_of_stacks(tmp_path, changes, message):
    write(tmp_path, stacked(**changes), STACKED)
    with pytest.raises(DataError, match=message):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("picture,patient", ["picture", "person"]),
        ("volume,subject", ["picture", "person"]),
        # Where the real column is there, or an earlier alias, others stay as they are.
        ("volume,picture,patient,person", ["volume", "picture", "patient", "person"]),
        ("picture,subject,patient", ["picture", "subject", "person"]),
        ('"picture", patient ', ["picture", "person"]),
        ("Image,Patient ID,Hospital", ["picture", "person", "site"]),
    ],
)
def test_aliases_of_columns(header, names):
    rows = f"{header}\r\n".encode("utf-8-sig") + b'a.png,"P, ""1"""\r\n\r\nb.png\r\n'
    assert read_header(Path("t.csv"), rows) == names
    first, second = read_rows(Path("t.csv"), rows, ["picture"])
    assert list(first.values())[:2] == ["a.png", 'P, "1"']
    assert list(second.values()) == ["b.png", *[""] * (len(names) - 1)]


def test_what_is_no_table():
    for raw, message in (
        (b"\xff\xf0\x80", "not a CSV file in UTF-8"),
        (b"", "the columns picture are missing"),
        (b"picture\n" + b"a" * 200_000, "line 2: field larger"),
    ):
        with pytest.raises(DataError, match=message):
            read_rows(Path("t.csv"), raw, ["picture"])
