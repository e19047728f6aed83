"""Tables as pandas, spreadsheets and people write them say the same."""

from pathlib import Path

import pytest
from PIL import Image

from meninx._data.folders import UnlabeledFolders, find_items
from meninx._data.manifest import read_header, read_rows
from meninx._data.tables import NamedFiles, table_text, truth_of

PLAIN = "picture,tumor\na.png,1\nb.png,0\n"


@pytest.mark.parametrize(
    "raw",
    [
        PLAIN.encode(),
        b"\xef\xbb\xbf" + PLAIN.encode(),
        PLAIN.encode("utf-16"),
        PLAIN.replace(",", ";").encode(),
        PLAIN.replace(",", "\t").encode("utf-16"),
        PLAIN.replace("\n", "\r").encode(),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace(",", ", ").encode(),
        PLAIN.encode("utf-16-le"),
        PLAIN.encode("utf-16-be"),
        PLAIN.encode("utf-32"),
        b"sep=;\r\n" + PLAIN.replace(",", ";").encode(),
        b"\n,,\n" + PLAIN.encode(),
        b"# made by a script, in 2026\n" + PLAIN.encode(),
    ],
    ids=[
        "plain",
        "mark",
        "utf-16",
        "semicolon",
        "tab",
        "cr",
        "crlf",
        "blanks",
        "utf-16-le",
        "utf-16-be",
        "utf-32",
        "separator",
        "empty lines",
        "comment",
    ],
)
def test_one_table_in_all_forms(tmp_path, raw):
    assert table_text(tmp_path, raw).read() == PLAIN


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.0", "1"),
        ("0.0", "0"),
        ("True", "1"),
        ("FALSE", "0"),
        ("yes", "1"),
        ("No", "0"),
        ("present", "1"),
        ("absent", "0"),
        ("oui", "1"),
        ("negativo", "0"),
        ("2", "2"),
        ("", ""),
    ],
)
def test_words_for_yes_and_no(text, expected):
    assert truth_of(text) == expected


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), 9).save(path)


def test_capital_headings_and_words_are_understood(tmp_path):
    for number in range(4):
        picture(tmp_path / f"{number}.png")
    table = tmp_path / "table.csv"
    rows = "".join(f"{n}.png;{bool(n % 2)}\n" for n in range(4))
    table.write_text("Picture;Tumor\n" + rows, encoding="utf-8")
    rows = read_rows(table, table.read_bytes(), ["picture", "tumor"])
    assert [truth_of(row["tumor"]) for row in rows] == ["0", "1", "0", "1"]


@pytest.mark.parametrize(
    "heading",
    [
        "Image Name,Has Tumor",
        "image-id,Label",
        "Image_File,Diagnosis",
        "imagem,classe",
        "immagine,tumore",
        "Fichier,Tumeur",
    ],
)
def test_headings_as_people_write_them(heading):
    assert read_header(Path("t.csv"), heading.encode()) == ["picture", "tumor"]


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("a", "train/a.png"),
        ("A.PNG", "train/a.png"),
        ("/kaggle/input/x/train/a.png", "train/a.png"),
        (r"C:\data\train\a.png", "train/a.png"),
        # Of two of one name that of the folder of that name; else none.
        ("/home/me/test/b.png", "test/b.png"),
        ("b.png", "b.png"),
        ("other/b.png", "other/b.png"),
    ],
)
def test_files_that_cells_name(tmp_path, cell, found):
    for name in ("train/a.png", "train/b.png", "test/b.png"):
        picture(tmp_path / name)
    assert NamedFiles(tmp_path)(cell) == tmp_path / found


def test_what_changed_on_disk_is_seen(tmp_path):
    """A folder that is read twice in one process may have grown meanwhile."""
    for name in ("set/0/a.png", "set/1/b.png"):
        picture(tmp_path / name)
    assert [item.tumor for item in find_items(tmp_path)] == [False, True]
    picture(tmp_path / "set/2/c.png")
    with pytest.raises(UnlabeledFolders):
        find_items(tmp_path)
    assert NamedFiles(tmp_path)("d") == tmp_path / "d"
    picture(tmp_path / "set/d.png")
    assert NamedFiles(tmp_path)("d") == tmp_path / "set/d.png"


def test_numbers_are_labels_only_beside_each_other(tmp_path):
    for name in ("tumor/0/a.png", "tumor/1/b.png", "healthy/0/c.png", "healthy/1/d.png"):
        picture(tmp_path / "patients" / name)
    found = {item.path.name: item.tumor for item in find_items(tmp_path / "patients")}
    assert found == {"a.png": True, "b.png": True, "c.png": False, "d.png": False}
    for name in ("0/a.png", "1/b.png"):
        picture(tmp_path / "classes" / name)
    found = {item.path.name: item.tumor for item in find_items(tmp_path / "classes")}
    assert found == {"a.png": False, "b.png": True}


def test_folders_can_be_left_out_and_other_files_are_named(tmp_path, caplog):
    for name in ("yes/a.png", "no/b.png", "pred/c.png"):
        picture(tmp_path / name)
    (tmp_path / "yes" / "notes.docx").write_text("x")
    found = find_items(tmp_path, {"pred": "out"})
    assert {item.path.name for item in found} == {"a.png", "b.png"}
    assert "1 .docx" in caplog.text
    assert "pictures left out" in caplog.text


def test_masks_named_segm_are_masks(tmp_path):
    for name in ("BraTS_355_Segm.nii", "BraTS_355_flair.nii"):
        (tmp_path / "case").mkdir(exist_ok=True)
        (tmp_path / "case" / name).write_bytes(b"x")
    (item,) = find_items(tmp_path)
    assert item.mask.name == "BraTS_355_Segm.nii"
