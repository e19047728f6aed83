import pytest
from pydicom import Dataset

from meninx._scan.dicom.heading import person_keys

JANE = {"PatientID": "007", "PatientName": "Doé^Jane", "PatientBirthDate": "19800523"}


def keys(**values):
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for name, value in (JANE | values).items():
        setattr(dataset, name, value)
    return person_keys(dataset)


@pytest.mark.parametrize(
    "values",
    [
        {"PatientName": "DOE^JANE^^"},
        {"PatientName": "Jane Doe"},
        {"PatientName": "Döe^Jane"},
        {"PatientName": "Doe^Jane=土井^ジェーン"},
        {"PatientID": "7 "},
        {"PatientBirthDate": "1980.05.23"},
        {"PatientSex": "O"},
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_person_written_otherwise_is_the_same(values):
    assert keys(**values) == keys()


@pytest.mark.parametrize(
    ("index", "values"),
    [
        (0, {"PatientID": "8"}),
        (1, {"PatientName": "Doe^John"}),
        (2, {"PatientBirthDate": "19800524"}),
        (3, {"PatientSex": "M"}),
    ],
)
def test_another_person_has_another_key(index, values):
    assert keys(PatientSex="F")[index] != keys(**{"PatientSex": "F"} | values)[index]


@pytest.mark.parametrize("value", ["", "1980", "00000000"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_birth_date_that_is_none_is_not_given(value):
    assert keys(PatientBirthDate=value)[2] == ""
