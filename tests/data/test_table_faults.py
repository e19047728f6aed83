"""What a table says twice, too much, too little or about nobody is never silent."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from meninx._data.items import words_of
from meninx._data.manifest import read_rows, write_manifest
from meninx._data.prepare import load_data, prepare
from meninx._data.survey import survey
from meninx._data.table_items import read_table_items
from meninx._data.tables import is_void
from meninx._data.understanding import understood
from meninx._errors import DataError


def rows_of(text, said=None):
    report = (lambda sentence: pytest.fail(sentence)) if said is None else said.append
    return read_rows(Path("t.csv"), text.encode(), ["picture"], report)


def items_of(folder, text, said=None):
    for name in ("a", "b"):
        Image.new("L", (8, 8)).save(folder / f"{name}.png")
    (folder / "t.csv").write_text(text, encoding="utf-8")
    report = (lambda sentence: pytest.fail(sentence)) if said is None else said.append
    return read_table_items(folder / "t.csv", {}, report)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("picture,tumor,tumor\na,1,1\nb,1,0\n", "line 3: two columns are named tumor, and differ"),
        ("picture,Tumor,tumor\na,1,0\n", "named tumor, and differ: '1' and '0'"),
        ("picture,label,label\na,1,0\n", "named tumor"),
        ("picture,tumour,tumour,tumor_type\na,1,0,none\n", "named tumor"),
        ("picture,patient,tumor,Patient\na,P1,1,P2\n", "named person"),
        ("picture,picture,tumor\na,b,1\n", "named picture"),
        ("picture,tumor,person\na,1,Doe, John\nb,0,Roe\n", "line 2: 4 cells for 3 .* John. Put"),
        ("picture;tumor\na;1\n\nb;0;;x\n", "line 4: 4 cells for 2 columns; too many: x"),
        ('picture,tumor\n"1",a,1\n', "line 2: 3 cells for 2 columns"),
    ],
)
def test_tables_that_contradict_themselves_are_refused(text, message):
    with pytest.raises(DataError, match=message):
        rows_of(text)


@pytest.mark.parametrize(
    "text",
    [
        "picture,tumor\na,1,\nb,0,,,\n",
        "picture,tumor,,\na,1,,\nb,0\n".replace("b,0\n", "b,0,,\n"),
        "picture,tumor\na,1\n\n\nb,0\n",
        "picture,tumor,tumor\na,1,1\nb,0,0\n",
        'picture,tumor\n"a",1\n"b","0"\n',
    ],
)
def test_ordinary_tables_are_read_without_a_word(text):
    assert [(row["picture"], row["tumor"]) for row in rows_of(text)] == [("a", "1"), ("b", "0")]


def test_further_columns_of_one_name_are_all_kept():
    (row,) = rows_of("picture,tumor,Date,Date\na,1,May,June\n")
    assert (row["Date"], row["Date#2"]) == ("May", "June")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (",picture,tumor\n0,a,1\n1,b,0\n", "a column without a name is left out (line 2 and 1"),
        ("picture,tumor,site\na,1,X\nb,0\n", "fewer cells than columns (line 3); the missing"),
        ("picture,tumor,tumour\na,1,1\nb,0,1\n", "column tumour differs from tumor in 1 of 2 rows"),
        ("picture,tumor,site\na,1,n/a\nb,0,X\n", "site is 'n/a' in 1 rows, which names none"),
    ],
)
def test_what_does_not_count_is_said(text, sentence):
    said = []
    assert [(row["picture"], row["tumor"]) for row in rows_of(text, said)] == [
        ("a", "1"),
        ("b", "0"),
    ]
    assert len(said) == 1
    assert sentence in said[0]


@pytest.mark.parametrize(
    "text",
    [
        *words_of(
            "nan NaN None null n/a N.A. #N/A <NA> NaT unknown - -- \u2013 ? . #REF! #DIV/0! #NV"
        ),
        *("Unbekannt", "anonymous", "not available"),
    ],
)
def test_words_for_nobody(tmp_path, text):
    assert is_void(text)
    said = []
    items = items_of(tmp_path, f"picture,tumor,person\na.png,1,{text}\nb.png,0,P1\n", said)
    assert [item.person for item in items] == ["", "P1"]
    assert len(said) == 1
    assert "person is" in said[0]


@pytest.mark.parametrize("text", ["P1", "0", "7", "Nan Li", "Nunn", "#12", "unknown-3", "MNA"])
def test_words_for_somebody(text):
    assert not is_void(text)


def test_missing_values_of_a_data_frame_are_empty_cells(tmp_path):
    said = []
    text = (
        "picture,tumor,tumor_type,mask,group,slice,stack\n"
        "a.png,1,unknown,nan,NaN,nan,NaN\nb.png,0,nan,nan,NaN,nan,NaN\n"
    )
    items = items_of(tmp_path, text, said)
    assert [(i.tumor, i.mask, i.group, i.position, i.stack) for i in items] == [
        (True, None, "", None, ""),
        (False, None, "", None, ""),
    ]
    assert len(said) == 5


@pytest.mark.parametrize("column", ["tumor", "tumor_type"])
@pytest.mark.parametrize(
    ("word", "tumor", "kind"),
    [
        ("normal", False, None),
        ("Healthy", False, None),
        ("no tumor", False, None),
        ("No_Tumor", False, None),
        ("Glioblastoma", True, "glioma"),
        ("metastasis", True, None),
    ],
)
def test_words_of_labels_mean_the_same_in_both_columns(tmp_path, column, word, tumor, kind):
    items = items_of(tmp_path, f"picture,{column}\na.png,{word}\nb.png,glioma\n")
    assert [(item.tumor, item.tumor_type) for item in items] == [(tumor, kind), (True, "glioma")]


@pytest.mark.parametrize("word", ["2", "glioma?", "grade III", "no glioma"])
def test_words_that_name_no_class_are_refused(tmp_path, word):
    with pytest.raises(DataError, match="tumor_type is"):
        items_of(tmp_path, f"picture,tumor_type\na.png,{word}\nb.png,glioma\n")


def test_a_healthy_type_contradicts_a_tumor(tmp_path):
    with pytest.raises(DataError, match="line 2: tumor is 1 but tumor_type is 'none'"):
        items_of(tmp_path, "picture,tumor,tumor_type\na.png,1,healthy\nb.png,0,none\n")


def table_of_noise(folder, text):
    """Write three pictures, 0.png to 2.png, and a table of them; return the table."""
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 255, (40, 40), np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
    (folder / "t.csv").write_text(text)
    return folder / "t.csv"


def test_pictures_without_a_person_are_counted_beside_others(tmp_path):
    table = table_of_noise(tmp_path, "picture,tumor,person\n0.png,1,P1\n1.png,0,nan\n2.png,0,\n")
    lines = understood(survey(table))
    assert "no person is known of 2 of 3 pictures and volumes" in lines
    assert any("person is 'nan' in 1 rows" in line for line in lines)


def test_a_row_that_repeats_another_is_left_out_and_said(tmp_path):
    said = []
    text = "picture,tumor,site\na.png,1,X\nb.png,0,X\n./a.png,yes,X\na,1,X\n"
    items = items_of(tmp_path, text, said)
    assert [item.path.name for item in items] == ["a.png", "b.png"]
    assert said == [
        f"{tmp_path}/t.csv: rows that repeat another one are left out: line 4 (a.png), line 5 "
        "(a.png)"
    ]


@pytest.mark.parametrize(
    ("cells", "what"), [("0,X,n", "tumor"), ("1,Y,n", "site"), ("0,Y,m", "tumor and site")]
)
def test_two_rows_that_differ_about_one_file_are_refused(tmp_path, cells, what):
    with pytest.raises(DataError, match=f"line 4: .*a.png is listed before, in line 2, .* {what};"):
        items_of(tmp_path, f"picture,tumor,site,note\na.png,1,X,n\nb.png,0,X,n\na.png,{cells}\n")


def test_rows_that_differ_only_in_further_columns_are_one_item(tmp_path):
    said = []
    text = "picture,tumor,patient,lesion,x\na.png,1,P,1,7\na.png,1,P,2,9\nb.png,0,Q,,\n"
    items = items_of(tmp_path, text, said)
    assert [item.path.name for item in items] == ["a.png", "b.png"]
    assert items[0].extra == {"lesion": "1", "x": "7"}
    assert said == [
        f"{tmp_path}/t.csv: 2 rows about the same files, which differ only in lesion, x: each file "
        "counts once, with the cells of its first row"
    ]


def test_a_file_with_several_masks_counts_with_each(tmp_path):
    for number in range(8):
        noise = np.random.default_rng(number).integers(0, 255, (40, 40), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.png")
        for reader in "de":
            mask = np.zeros((40, 40), np.uint8)
            mask[10:20, 10 : 20 if reader == "d" else 22] = 255
            Image.fromarray(mask).save(tmp_path / f"{number}{reader}.png")
    rows = [
        f"{number}.png,{number % 2},{f'{number}{reader}.png' if number % 2 else ''},{reader}"
        for number in range(8)
        for reader in "de"
    ]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["picture,tumor,mask,reader", *rows, ""]))
    pictures, found = prepare(table, folds=2)
    assert [picture.id for picture in pictures][:4] == ["0.png", "1.png", "1.png#2", "2.png"]
    assert "4 files are listed with several masks, and count once with each: 1.png" in str(
        found.notes
    )
    assert "8 rows about the same files, which differ only in reader" in str(found.notes)
    write_manifest(pictures, tmp_path / "m.csv")
    assert [row.id for row in load_data(tmp_path / "m.csv", tmp_path / "o").pictures] == [
        picture.id for picture in pictures
    ]


def test_rows_for_the_slices_of_a_volume_are_the_volume(tmp_path):
    (tmp_path / "v.nii.gz").touch()
    said = []
    rows = "".join(f"v.nii.gz,1,P,{number}\n" for number in range(3))
    (item,) = items_of(tmp_path, f"picture,tumor,person,slice\n{rows}", said)
    assert (item.position, item.stack, item.person) == (None, "", "P")
    assert "3 rows about the same files, which differ only in slice" in said[0]
    with pytest.raises(DataError, match=r"line 5: .* in line 2, with another tumor;"):
        items_of(tmp_path, f"picture,tumor,person,slice\n{rows}v.nii.gz,0,P,9\n", said)
    with pytest.raises(DataError, match=r"line 3: .* in line 2, with another slice;"):
        items_of(tmp_path, "picture,tumor,person,slice\na.png,1,P,1\na.png,1,P,2\n", said)


def test_two_collections_with_a_file_in_common_are_refused(tmp_path):
    items_of(tmp_path, "picture,tumor\na.png,1\nb.png,0\n")
    (tmp_path / "u.csv").write_text("picture,tumor\nb.png,0\n")
    with pytest.raises(DataError, match=r"1 files belong to two of these: .*b\.png; name"):
        survey([tmp_path / "t.csv", tmp_path / "u.csv"])


def test_spellings_of_a_person_are_one_person_which_is_said(tmp_path):
    table = table_of_noise(tmp_path, "picture,tumor,person\n0.png,1,7\n1.png,0,007\n2.png,0,8\n")
    found = survey(table)
    assert found.clusters == [0, 0, 2]
    assert "persons with several spellings count as one each: 7 = 007" in understood(found)
