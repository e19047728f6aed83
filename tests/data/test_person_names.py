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


def table_of(columns, cells):
    """Return a table of two pictures each of eight people."""
    lines = [f"{i}_{k}.png,{cells(i, k)}" for i in range(8) for k in range(2)]
    return "\n".join([f"picture,{columns}", *lines, ""])


@pytest.mark.parametrize(
    ("columns", "cells", "unused"),
    [
        ("patient_id,patient_name", lambda i, k: f"{i},{'REMOVED' if i < 6 else 'X Y'}", True),
        ("patient_id,patient_name", lambda i, k: f"{i},{'Kim J' if i in (0, 1, 4) else i}", True),
        ("patient_id,subject_id", lambda i, k: f"{i},{'REMOVED' if i < 3 else i}", True),
        ("patient_id,subject_id", lambda i, k: f"{i},{'study 1' if i < 5 else i}", True),
        ("person,subject", lambda i, k: f"{i},{'glioma study' if i < 5 else 'healthy'}", True),
        ("person,participant", lambda i, k: f"{i},{'brain' if i < 7 else 'head'}", True),
        ("person,participant", lambda i, k: f"{i},{k}", True),
        ("person,subject", lambda i, k: f"{i},{(3 * i + k) % 7}", True),
        ("patient_id,participant", lambda i, k: f"{i},{k}", True),
        ("patient_id,subject", lambda i, k: f"{i},{(i * 2 + k) % 5}", True),
        ("patient_id,subject", lambda i, k: f"{i},{'MRI head' if k else 'MRI brain'}", True),
        ("patient_id,subject", lambda i, k: f"{i},{'glioma study' if i < 5 else 'healthy'}", False),
        ("patient_id,patient", lambda i, k: f"{i},{'REMOVED' if i < 6 else i}", False),
    ],
)
def test_a_second_column_that_is_no_identifier_does_not_count(tmp_path, columns, cells, unused):
    persons, said = persons_of(table_of(columns, cells), tmp_path)
    assert persons == [str(i) for i in range(8) for _ in range(2)]
    assert len(said) == 1
    name, other = columns.split(",")
    sentence = (
        f"{name} counts, and {other} is not used"
        if unused
        else f"{other} does not look like names of persons, so {name} names the person"
    )
    assert said[0].endswith(sentence)


def test_exams_of_one_person_are_grouped_by_the_patient(tmp_path):
    text = "picture,patient_id,subject\na,P1,S1\nb,P1,S2\nc,P2,S3\n"
    persons, said = persons_of(text, tmp_path)
    assert persons == ["P1", "P1", "P2"]
    assert said[0].endswith("patient_id joins several of subject, and counts")


def test_the_exams_of_a_subject_stay_one_person(tmp_path):
    text = table_of("patient_id,subject", lambda i, k: f"E{i}{k},S{i // 4}")
    assert persons_of(text, tmp_path) == ([f"S{i // 4}" for i in range(8) for _ in range(2)], [])


def test_only_identifiers_fill_empty_cells(tmp_path):
    text = "picture,patient_id,patient_name\na,P1,Kim J\nb,,Kim J\nc,P2,Doe\n"
    assert persons_of(text, tmp_path)[0] == ["P1", "", "P2"]


def test_identifiers_that_contradict_each_other_are_refused(tmp_path):
    lines = [f"{number},P{number // 2},S{(number + 1) // 2}" for number in range(30)]
    text = "\n".join(["picture,patient_id,subject", *lines, ""])
    with pytest.raises(
        DataError,
        match=r"t\.csv: the columns subject and patient_id both name .* contradict .*: subject s1 "
        "has the patient_id P0 and P1, and patient_id p0 the subject S0 and S1; remove or rename",
    ):
        persons_of(text, tmp_path)
    persons, _ = persons_of(text.replace("patient_id", "person"), tmp_path)
    assert persons == [f"P{number // 2}" for number in range(30)]
