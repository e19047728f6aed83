"""Spellings of one person are one person, and two columns of persons never disagree silently."""

import pytest

from meninx._data.manifest import Picture, leaks_of, read_rows
from meninx._data.person_names import person_key, spellings_of
from meninx._errors import DataError


@pytest.mark.parametrize(
    "spellings",
    [
        ("7", "7.0", "007", "07", "7,0", "7.00", "\uff17"),
        ("0", "000", "0.0"),
        ("10", "10.0", "010"),
        ("Müller", "müller", "MÜLLER", "Mu\u0308ller", " Müller "),
        ("Straße", "STRASSE"),
        ("P 1", "p  1", "P\u00a01"),
    ],
)
def test_spellings_have_one_key(spellings):
    assert len(set(map(person_key, spellings))) == 1


def test_other_people_have_other_keys():
    names = ["7", "70", "7.5", "1.2.0", "P7", "P07", "Müller", "Mueller", "sub-01", "sub-1", ""]
    assert len(set(map(person_key, names))) == len(names)
    assert spellings_of(["7", "", "8", "7.0", "7"]) == ["7 = 7.0"]


def test_spellings_in_two_folds_are_a_leak(tmp_path):
    rows = [
        Picture(name, tmp_path / name, None, False, None, name, fold, "s", person=name)
        for fold, name in enumerate(("7.0", "8", "007"), 1)
    ]
    assert leaks_of(rows) == ["person 7.0 lies in the folds 1 and 3"]


def persons_of(text, tmp_path):
    said = []
    rows = read_rows(tmp_path / "t.csv", text.encode(), ["picture"], said.append)
    return [row["person"] for row in rows], said


def test_the_coarser_column_is_the_person(tmp_path):
    text = "picture,patient_id,subject\na,P1,S1\nb,p1,S2\nc,P2,S3\nd,,S2\ne,,S9\nf,P3,\n"
    persons, said = persons_of(text, tmp_path)
    assert persons == ["P1", "p1", "P2", "p1", "S9", "P3"]
    assert said == [
        f"{tmp_path}/t.csv: the columns subject and patient_id both name persons; patient_id joins "
        "several of subject, and counts",
        f"{tmp_path}/t.csv: patient_id is empty in 2 rows, and subject names the person in them",
    ]


def test_a_finer_or_equal_column_beside_the_person_is_no_news(tmp_path):
    for other in ("P1/a,P1/b,P2/a", "Doe,DOE,Roe"):
        first, second, third = other.split(",")
        text = f"picture,patient,subject_id\na,P1,{first}\nb,P1,{second}\nc,P2,{third}\n"
        assert persons_of(text, tmp_path) == (["P1", "P1", "P2"], [])


def test_what_all_rows_share_names_no_person(tmp_path):
    text = "picture,patient_id,subject\na,P1,study\nb,P2,study\nc,P3,\n"
    assert persons_of(text, tmp_path)[0] == ["P1", "P2", "P3"]


def test_columns_that_contradict_each_other_are_refused(tmp_path):
    text = "picture,patient_id,subject\na,P1,S1\nb,P1,S2\nc,P2,S2\n"
    with pytest.raises(
        DataError,
        match=r"t\.csv: the columns subject and patient_id both name .* contradict .*: subject s2 "
        "has the patient_id P1 and P2, and patient_id p1 the subject S1 and S2; remove or rename",
    ):
        persons_of(text, tmp_path)
