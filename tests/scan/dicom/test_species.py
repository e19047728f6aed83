"""Headers of animals are distinguished from those of people."""

import pytest
from pydicom import Dataset

from meninx._scan.dicom.species import animal


def header(code=None, **values):
    dataset = Dataset()
    for name, value in values.items():
        setattr(dataset, name, value)
    if code:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code
        dataset.PatientSpeciesCodeSequence = [item]
    return dataset


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"PatientSpeciesDescription": "Equus caballus"}, "Equus caballus"),
        ({"code": ("L-80800", "SRT", "canine species")}, "canine species"),
        ({"code": ("447612001", "SCT", "")}, "447612001"),
        ({"PatientBreedDescription": "Beagle"}, "PatientBreedDescription"),
        ({"PatientSexNeutered": "ALTERED"}, "PatientSexNeutered"),
        ({"StrainDescription": "C57BL/6"}, "StrainDescription"),
        ({"ResponsiblePersonRole": "OWNER"}, "OWNER"),
        ({"StudyDescription": "Dog brain"}, "DOG"),
        ({"ProtocolName": "mouse_T2"}, "MOUSE"),
        ({"InstitutionName": "Tierklinik Nord"}, "TIERKLINIK"),
        ({"InstitutionName": "Univ. Veterinary Hospital"}, "VETERINARY"),
    ],
)
def test_animals_are_not_brains_of_people(values, named):
    refused = animal(header(**values))
    assert refused.reason == "not_brain"
    assert named in str(refused)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"PatientSpeciesDescription": "Homo sapiens", "ResponsiblePersonRole": "OWNER"},
        {"PatientSpeciesDescription": "HUMAN"},
        {"code": ("337915000", "SCT", "homo sapiens"), "StudyDescription": "K9"},
        {"code": ("L-85B00", "SRT", "")},
        {"code": ("7", "99LOCAL", "")},
        {"PatientSpeciesDescription": "REMOVED", "PatientBreedDescription": "Anonymized"},
        {"ResponsiblePersonRole": "PARENT", "StudyDescription": "CAT scan follow-up MR"},
        {"InstitutionName": "Veterans Affairs", "StudyDescription": "MRI brain, vetted"},
    ],
)
def test_people_pass(values):
    assert animal(header(**values)) is None


def test_an_attribute_that_is_no_sequence_has_no_items():
    dataset = header()
    dataset.add_new("PatientSpeciesCodeSequence", "LO", "dog")
    assert animal(dataset) is None
