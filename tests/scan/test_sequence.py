import pytest

from meninx._scan.sequence import (
    Acquisition,
    contrast_warning,
    names_agent,
    other_contrast,
    sequence_from_text,
    sequence_of,
)


@pytest.mark.parametrize(
    ("expected", "acquisition"),
    [
        ("T1", Acquisition(500, 12, None, frozenset({"SE"}))),
        ("T1c", Acquisition(500, 12, None, frozenset({"SE"}), contrast_agent=True)),
        ("T1c", Acquisition(500, 12, None, frozenset({"SE"}), text="t1_se_tra +C")),
        ("T2", Acquisition(4000, 95, None, frozenset({"SE"}))),
        ("FLAIR", Acquisition(9000, 110, 2500, frozenset({"IR"}))),
        ("T1", Acquisition(2000, 2.5, 900, frozenset({"GR", "IR"}))),  # MPRAGE
        ("T1", Acquisition(300, 2.46, None, frozenset({"GR"}), text="t1_fl2d_sag")),
        ("unknown", Acquisition(600, 20, None, frozenset({"GR"}))),  # T2*
        ("unknown", Acquisition(2200, 30, None, frozenset({"SE", "EP"}))),  # fMRI
        ("unknown", Acquisition(5000, 80, None, frozenset({"SE"}), text="ep2d_diff_3scan")),
        ("FLAIR", Acquisition(text="t2_tirm_tra_dark-fluid")),
        ("T2", Acquisition(text="AX T2 FSE")),
        ("T1c", Acquisition(text="T1 post gad")),
        ("T1", Acquisition(500, 12, None, frozenset({"SE"}), text="T1 without contrast")),
        ("T1", Acquisition(500, 12, None, frozenset({"SE"}), text="AX T1 W/O contrast")),
        ("T1", Acquisition(500, 12, None, frozenset({"SE"}), text="T1 pre-contrast")),
        ("T1", Acquisition(text="Epilepsy T1 MPRAGE")),
        ("unknown", Acquisition(800, 20, None, frozenset({"GR"}), text="AX T2")),
        ("unknown", Acquisition(2500, 75, None, frozenset({"GR"}))),
        ("T2", Acquisition(4000, 95, None, frozenset({"SE", "GR"}))),  # GRASE
        ("unknown", Acquisition(text="t2_fl2d_tra_hemo")),
        ("unknown", Acquisition(text="AX T2 GRE")),
        ("unknown", Acquisition(text="GRE AX T2")),
        ("unknown", Acquisition(text="T2_FFE head")),
        ("FLAIR", Acquisition(9000, 120, None, frozenset({"IR", "SE"}), text="AX FLAIR")),
        ("T1", Acquisition(2500, 24, 860, frozenset({"IR", "SE"}), text="SAG T1 FLAIR")),
        ("unknown", Acquisition(text="AX DWI b1000")),
        ("unknown", Acquisition()),
        ("unknown", Acquisition(1500, 40)),  # neither
    ],
)
def test_sequence_of_headers(expected, acquisition):
    assert sequence_of(acquisition) == expected


@pytest.mark.parametrize(
    "description",
    [
        "AX T1 SE C+",
        "T1 FS C+",
        "T1 +C cor",
        "T1 postcontrast",
        "T1 post-contrast",
        "T1 con contraste",
        "T1 apres injection",
        "T1 mit KM",
        "T1 mdc",
        "T1 Dotarem",
        "T1 post, no fatsat",
        "T1 SE C+ brain w/wo contrast",
        "T1 FS post BRAIN W WO",
        "T1 mit KM, Kopf mit und ohne KM",
        "AX T1 FS POST OPTIC NERVES",
        "T1 STAR VIBE POST RADIAL",
    ],
)
def test_words_for_a_contrast_agent(description):
    assert sequence_of(Acquisition(500, 10, text=description)) == "T1c"


@pytest.mark.parametrize(
    "description",
    [
        "T1 post op",
        "T1 postop",
        "T1 post surgery",
        "T1 post RT",
        "T1 post-treatment",
        "T1 kein KM",
        "T1 ohne KM",
        "T1 sin contraste",
        "T1 sans injection",
        "T1 senza mdc",
        "T1 non contrast",
        "T1 C-",
        "T1 C- AX",
        "T1 C-spine",
        "T1 brain w/wo contrast",
        "T1 BRAIN WITH AND WITHOUT CONTRAST",
        "T1 Kopf mit und ohne KM",
        "T1 nativ",
        "T1 BRAIN W/O & W CONTRAST",
        "T1 BRAIN WITHOUT AND WITH CONTRAST",
        "T1 Kopf ohne und mit KM",
    ],
)
def test_words_that_name_no_contrast_agent(description):
    assert sequence_of(Acquisition(500, 10, text=description)) == "T1"


@pytest.mark.parametrize(
    "agent",
    ["Gadobutrol", "GADOVIST 1.0", "YES", "IV", "7.5 ml Dotarem", "0.1 mmol/kg Gd", "10 ml"],
)
def test_values_that_name_an_agent(agent):
    assert names_agent(agent)


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "NONE", "No", "N/A", "n.a.", "REMOVED", "ANONYMIZED", "without contrast", "w/o"),
        *("0", "0 ml", "0.0", "-", "--", "ohne", "kein KM", "sans", "NO CONTRAST", "Not given"),
        "XXX",
    ],
)
def test_values_that_name_no_agent(value):
    assert not names_agent(value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("flair.nii.gz", "FLAIR"),
        ("T1c_native.nii.gz", "T1c"),
        ("sub-01_ce-gadolinium_T1w.nii.gz", "T1c"),
        ("t1.nii.gz", "T1"),
        ("t1c.nii.gz", "T1c"),
        ("BraTS_001_t1ce.nii.gz", "T1c"),
        ("sub-01_T2w.nii.gz", "T2"),
        ("BraTS-GLI-00000-000-t2f.nii.gz", "FLAIR"),
        ("BraTS-GLI-00000-000-t1n.nii.gz", "T1"),
        ("t2fse.nii", "T2"),
        ("t1-and-t2.nii", "unknown"),
        ("brain.nii", "unknown"),
        ("t2star.nii", "unknown"),
    ],
)
def test_sequence_of_names(name, expected):
    assert sequence_from_text(name) == expected


@pytest.mark.parametrize(
    ("other", "acquisition"),
    [
        (False, Acquisition()),
        (False, Acquisition(text="case-01.nii.gz")),
        (False, Acquisition(text="sub-01_pdw_T2w.nii.gz")),
        (False, Acquisition(repetition_time=520.0, echo_time=12.0)),
        (False, Acquisition(repetition_time=9000.0, text="axial")),
        (True, Acquisition(text="sub-01_dwi.nii.gz")),
        (True, Acquisition(text="sub-01_PDw.nii.gz")),
        (True, Acquisition(text="ax SWI")),
        (True, Acquisition(repetition_time=2500.0, echo_time=15.0)),
        (True, Acquisition(repetition_time=600.0, echo_time=20.0, text="ep2d_diff")),
    ],
)
def test_another_contrast_is_not_merely_an_unnamed_one(other, acquisition):
    assert bool(other_contrast(acquisition)) == other
    warning = contrast_warning(acquisition)
    assert (warning.code if warning else None) == ("other_contrast" if other else None)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "ep2d_diff_b1000",
            "SWI_Images",
            "TOF_3D_multi-slab",
            "ep2d_bold_moco",
            "pcasl",
            "3D ASL",
        ),
        *("tgse_pasl", "AxDWI", "3DTOF", "rsfMRI", "eADC", "DWI b1000 trace"),
        *("Diffusionsbildgebung", "imagerie de diffusion", "difusión", "difusão", "diffusione"),
        *("diffusie", "perfusión", "perfusione", "perfusie", "Suszeptibilität", "suscettibilità"),
        *("susceptibilité", "Angiographie", "angiografía", "angio RM", "MRA head", "MRV", "Phlebo"),
        *("temps de vol", "venografia", "PD TSE", "DP FSE", "Protonendichte", "densité de protons"),
        *("densidad protónica", "T2 STIR", "T2*", "t2_star", "SWAN", "VenBOLD", "QSM", "DIR"),
        *("PSIR", "3D CISS", "FIESTA-C", "T1rho", "APTw", "CEST", "MRSI", "gre_field_mapping"),
        *("T2_GRE", "T2 EG", "T2 FFE", "MAGiC", "mp2rage_INV1", "ZTE", "fonctionnelle", "sbref"),
        *(
            "DWI FLAIR",
            "DTI_64",
            "NODDI",
            "DSC perf",
            "PDw",
            "PDT2",
            "cine",
            "phase contrast",
            "bSSFP",
        ),
    ],
)
def test_other_contrasts_by_their_names(text):
    assert contrast_warning(Acquisition(text=text)).code == "other_contrast"
    assert sequence_of(Acquisition(500, 10, text=text)) in ("unknown", "T1")
    assert sequence_from_text(text) == "unknown"


@pytest.mark.parametrize(
    ("words", "acquisition"),
    [
        ("a b-value of 1000", Acquisition(500, 10, b_value=1000.0)),
        ("echo-planar imaging", Acquisition(scanning_sequence=frozenset({"EP"}))),
        ("echo-planar imaging", Acquisition(5000, 90, None, frozenset({"EP"}), text="AX T2")),
        ("STIR", Acquisition(5000, 60, 160, frozenset({"IR"}), text="t2_tirm_cor")),
        ("proton density", Acquisition(3000, 15, None, frozenset({"SE"}), text="PD/T2 TSE")),
        ("proton density", Acquisition(3000, 15, None, frozenset({"SE"}), text="AX T2 DE")),
        ("T2, as a gradient echo", Acquisition(scanning_sequence=frozenset({"GR"}), text="T2")),
        ("PCASL", Acquisition(500, 10, text="pcasl")),
        ("PCASL", Acquisition(text="AX", protocol="pcasl")),
        ("TR 1500 ms and TE 40 ms", Acquisition(1500, 40)),
    ],
)
def test_other_contrasts_by_headers(words, acquisition):
    assert other_contrast(acquisition) == words
    assert sequence_of(acquisition) == "unknown"


@pytest.mark.parametrize(
    ("sequence", "acquisition"),
    [
        ("T1", Acquisition(text="AX T1", protocol="BRAIN DWI SWI PERFUSION")),
        ("FLAIR", Acquisition(text="FLAIR", protocol="MRI MRA BRAIN")),
        ("T1c", Acquisition(text="AX T1 POST PERFUSION")),
        ("T1", Acquisition(text="t1_to_dwi")),
        ("T2", Acquisition(4000, 90, None, frozenset({"SE"}), text="PD/T2 TSE")),
        ("T1", Acquisition(600, 12, None, frozenset({"SE"}), text="T1 cavernous angioma")),
        ("FLAIR", Acquisition(9000, 120, 2500, frozenset({"IR"}), text="t2_tirm_tra")),
    ],
)
def test_words_beside_a_sequence_are_no_other_contrast(sequence, acquisition):
    assert sequence_of(acquisition) == sequence
    assert contrast_warning(acquisition) is None


def test_deep_resolve_is_a_reconstruction():
    assert sequence_of(Acquisition(500, 10, text="t1_tse_tra Deep Resolve")) == "T1"
    assert contrast_warning(Acquisition(4500, 95, text="t2_tse_DeepResolve")) is None
    assert contrast_warning(Acquisition(4500, 95, text="resolve_4scan_trace")) is not None


@pytest.mark.parametrize("name", ["Petra_T1", "Ute_Meier_T1", "swan_t1", "mese_6_T1"])
def test_names_of_people_are_no_other_contrast(name):
    assert sequence_from_text(name) == "T1"
    assert other_contrast(Acquisition(text=name)) == ""


@pytest.mark.parametrize("name", ["ax ute", "PETRA", "SWAN", "AX T2 SWAN"])
def test_they_are_where_nothing_names_t1(name):
    assert other_contrast(Acquisition(text=name))
