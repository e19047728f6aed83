"""Names of exams: time points of a person are one person, and different people stay apart."""

import pytest

from meninx._data.items import Item
from meninx._data.persons import exam_of_stem, known_person, persons_of, with_persons


@pytest.mark.parametrize(
    ("names", "person"),
    [
        (["BraTS-MEN-01234-000", "BraTS-MEN-01234-001"], "BraTS-MEN-01234"),
        (["UCSD-PTGBM-0071_01", "UCSD-PTGBM-0071_03"], "UCSD-PTGBM-0071"),
        (["UPENN-GBM-00016_11", "UPENN-GBM-00016_21"], "UPENN-GBM-00016"),
        (
            ["Patient-042/week-000-1", "Patient-042/week-000-2", "Patient-042/week-113"],
            "Patient-042",
        ),
        (["sub-x7_ses-01", "sub-x7_ses-post"], "sub-x7"),
        (["sub-x7/ses-01/anat", "sub-x7/ses-02/perf"], "sub-x7"),
        (["P9_t0", "P9_t1", "P9_t2"], "P9"),
        (["P9_tp1", "P9_tp2"], "P9"),
        (["case 12 baseline", "case 12 follow-up"], "case 12"),
        (["baseline/case 12", "followup/case 12"], "case 12"),
        (["anna_pre-op", "anna_postop"], "anna"),
        (["TCGA_HT_7473_19970826", "TCGA_HT_7473_1998-01-02"], "TCGA_HT_7473"),
        (["OAS1_0217_MR1", "OAS1_0217_MR2"], "OAS1_0217"),
        (["OAS30123_MR_d0129", "OAS30123_MR_d1288"], "OAS30123"),
        (["P-3/visit 1", "P-3/visit 2"], "P-3"),
        (["P-3/scan1", "P-3/scan2"], "P-3"),
        (["UCSF-PDGM-0429_nifti", "UCSF-PDGM-0429_FU003d_nifti"], "UCSF-PDGM-0429"),
        ([f"BraTS-GLI-00031-{number}" for number in range(100, 110)], "BraTS-GLI-00031"),
        (["tumor/BraTS-MET-00101-000/t1", "healthy/BraTS-MET-00101-002/t1"], "BraTS-MET-00101"),
        (["7_t0", "7_t1"], "7"),
        (["1_t0", "1_t1"], "1"),
        (["0123_m06", "0123_m12"], "0123"),
        (["MGH-7/03-14-2019-NA-MR BRAIN-1234", "MGH-7/06-14-2019-MR HEAD-777/5.0-T1"], "MGH-7"),
        (["P07_20210303_101500", "P07_20210603_091502"], "P07"),
        (["P07 2021-03-03T10:15:00", "P07 2021-06-03T10:15:00"], "P07"),
        (["anna_3mo", "anna_6mo", "anna_12 months", "anna_2 weeks"], "anna"),
        (["P07_04.03.2021", "P07_04.06.2021"], "P07"),
        (["P07_4-3-2021", "P07/04-03-2021"], "P07"),
        (["P07/14Mar2019", "P07/02-Okt-2020"], "P07"),
        (["P07_04032021", "P07_04062021", "P07_3m", "P07_2019", "P07_2020-04"], "P07"),
        (["P07/1.2.840.113619.2.1", "P07/1.2.840.113619.2.9/4"], "P07"),
    ],
)
def test_time_points_are_one_person(names, person):
    assert {found for found, _ in persons_of(names).values()} == {person}


@pytest.mark.parametrize(
    "names",
    [
        ["case-1", "case-2", "case-10"],
        ["Patient 1", "Patient 2"],
        ["BraTS20_Training_001", "BraTS20_Training_002"],
        ["TCGA-02-0003", "TCGA-02-0006"],
        ["Brats18_TCIA08_167_1", "Brats18_TCIA08_205_1"],
        ["site_0001_01", "site_0001_02"],
        ["site1/P1", "site1/P2"],
        ["site1/scan_01", "site1/scan_02"],
        ["hospital/study_1", "hospital/study_2"],
        ["first/sub-01_ses-1", "second/sub-01_ses-1"],
        ["HGG_scan_1", "HGG_scan_2"],
        ["2019_001", "2019_002", "2020_001"],
        [f"0012-{number:03}" for number in range(1, 12)],
        ["scan1", "scan2"],
        ["ses-1", "ses-2"],
        ["patient_t1", "patient_2"],
        ["IXI002-Guys-0828", "IXI012-HH-1211"],
        ["20190301", "20190302"],
        ["12-1", "12-2", "13-1"],
        ["case-1_nifti", "case-2_nifti"],
        ["1.2.840.113619.2.1", "1.2.840.113619.2.2"],
        ["site1/03", "site1/06", "site2/03"],
        ["glioma_2/1", "glioma_2/2", "glioma_3/1"],
        [f"Data202{year}/{number}" for year in (1, 2) for number in range(9)],
        ["scans-01-02-03", "scans-01-02-04"],
        [f"MSD_2021_{number:02}" for number in range(1, 13)],
        ["data/2019-03-01_export/anna", "data/2019-03-01_export/bert"],
        ["site1/2019-03-01_export/anna", "site1/2019-03-01_export/bert"],
    ],
)
def test_different_people_stay_apart(names):
    assert len({found for found, _ in persons_of(names).values()}) == len(names)


def test_studies_below_folders_that_differ_are_time_points():
    names = [f"data/{person}/2019-0{month}-01_mr" for person in ("anna", "bert") for month in "36"]
    found = persons_of([*names, "data/carl"])
    assert {person for person, _ in found.values()} == {"data/anna", "data/bert", "data/carl"}
    found = persons_of(["anna/2019-03-01_mr", "anna/2019-06-01_mr", "carl"])
    assert {person for person, _ in found.values()} == {"anna", "carl"}


def test_folders_with_bare_numbers_below_several_people_are_time_points():
    names = [f"RHUH-{person:04}/{exam}" for person in range(1, 5) for exam in range(3)]
    found = persons_of(names)
    assert found["RHUH-0002/1"] == ("RHUH-0002", "1")
    assert len({person for person, _ in found.values()}) == 4


def test_numbers_that_come_back_for_many_people_are_time_points():
    names = [f"P{100 + person}-{exam}" for person in range(9) for exam in (1, 2)]
    assert len({found for found, _ in persons_of(names).values()}) == 9


def test_what_is_taken_for_a_person_is_said(tmp_path):
    names = ["K-00041_01", "K-00041_02", "K-00077_01", ""]
    items, said = with_persons([Item(tmp_path / "x.nii", None, person=name) for name in names])
    assert [item.person for item in items] == ["K-00041", "K-00041", "K-00077", ""]
    assert said == ("persons: 2, from names such as K-00041 (_01, _02 are taken as time points)")
    assert with_persons([])[1] == ""
    assert with_persons([Item(tmp_path / "x", None, person="case-1")])[1] == (
        "persons: 1, from names such as case-1"
    )


@pytest.mark.parametrize(
    ("name", "person"),
    [
        ("tumor/BraTS-GLI-02405-101_88.png", "BraTS-GLI-02405"),
        ("yes/sub-12_T1w_slice9.png", "sub-12"),
        ("no/TCGA-DU-7300-3.png", "TCGA-DU-7300"),
        ("glioma/Tr-gl_0010.jpg", ""),
        ("subway-1_a.png", ""),
    ],
)
def test_pictures_of_known_collections_name_their_person(name, person):
    assert known_person(name) == person


@pytest.mark.parametrize(
    ("stem", "exam"), [("P012_t1", "P012"), ("t1c", ""), ("a b_flair", "a b"), ("17", "17")]
)
def test_an_exam_s_name_has_no_sequence(stem, exam):
    assert exam_of_stem(stem) == exam
