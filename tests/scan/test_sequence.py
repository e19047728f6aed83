import pytest

from meninx._scan.contrast_agent import names_agent
from meninx._scan.sequence import (
    Acquisition,
    contrast_warning,
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
        *("AX T1 POST STEREOTACTIC", "Axial T1 post GK planning", "T1_COR_POST_CORR"),
        *("T1 POST PROCESSED", "T1_post_gk_plan"),
        *("T1 cor con cte", "3D T1 PostCon", "T1 tra m.d.c.", "T1 CIV", "T1 p.c. sag", "T1 PG"),
        *("T1 enhanced", "T1 c/c", "T1 post fossa +C", "T1 post biopsy, post Gd", "T1 iv+"),
        *("T1 KM-Gabe", "T1 con un contraste", "T1 após contraste", "T1 après injection"),
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
        *("sub-01_post_op_T1w", "sub-01_post-op_T1w", "T1_post_op_ax", "ses-post_rt_T1w"),
        *("T1_post_rt_3mo", "pat_post_tx_T1", "P7_post_xrt_T1", "T1_post_rad_1", "T1_post_ictal"),
        *("post_partum_T1", "T1 post op2", "T1 POST TX1", "T1_post_dbs_1", "T1_post_gk_3"),
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
        *(
            "T1 cor prima del mdc",
            "T1 voor contrast",
            "T1 pré-contraste",
            "T1 prä KM",
            "T1 prae KM",
        ),
        *(
            "T1 o. KM",
            "T1 oKM",
            "T1 -KM",
            "T1 -C",
            "T1 S/ CONTRASTE",
            "T1 s/cte",
            "T1 c/s contraste",
        ),
        *("T1 s/c contraste", "T1 sans produit de contraste", "T1 unenhanced", "T1 w.o. contrast"),
        *("T1 Post. Fossa", "T1 post shunt", "T1 post biopsy", "T1 post stroke", "T1 post GK"),
        *("T1 post SRS", "T1 post craniotomy", "T1 high contrast", "T1 contrast optimized"),
        *(
            "T1 GADGET",
            "T1 AC-PC",
            "T1 pr?-contraste",
            "T1 pr\ufffd KM",
            "T1 pr\ufffde4 KM",
            "T1 prÃ©-contraste",
        ),
    ],
)
def test_words_that_name_no_contrast_agent(description):
    assert sequence_of(Acquisition(500, 10, text=description)) == "T1"


@pytest.mark.parametrize(
    "agent",
    [
        *("Gadobutrol", "GADOVIST 1.0", "YES", "IV", "7.5 ml Dotarem", "0.1 mmol/kg Gd", "10 ml"),
        *("Gadovist 1,0", "Dotarem 0,5 mmol/ml", "15 cc", "Unspecified contrast agent", "Testarem"),
        *("Gadavist 6cc 0 waste", "10 ml Gadovist, flow 0 ml/s", "MULTIHANCE, rate 0"),
        *("DOTAREM 10 mL batch 0", "Test bolus Gadovist", "Plain Dotarem", "20 ml Gd 0"),
        *("clariscan, 5 ml, not given by pump", "Gadovist 7.5 ml / 0 saline"),
    ],
)
def test_values_that_name_an_agent(agent):
    assert names_agent(agent)


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "NONE", "No", "N/A", "n.a.", "REMOVED", "ANONYMIZED", "without contrast", "w/o"),
        *("0", "0 ml", "0.0", "-", "--", "ohne", "kein KM", "sans", "NO CONTRAST", "Not given"),
        *(
            "patient refused",
            "declined",
            "Abgelehnt",
            "pas de contraste",
            "niet",
            "néant",
            "default",
        ),
        *("test", "planned", "noncontrast", "Non-Contrast", "ANON", "Gadovist 0 ml", "Gadovist 0"),
        *("Dotarem 0.0 cc", "0ml ProHance", "cancelled", "Gd not given", "XXX", "plain scan"),
        *("0,0", ".0 ml", "Gadovist 0 ml.", "not administered"),
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


SPIN, GRADIENT = frozenset({"SE"}), frozenset({"GR"})
INVERTED, MPRAGE = frozenset({"SE", "IR"}), frozenset({"GR", "IR"})
OF_EXAM = "MRI/MRA BRAIN DWI PERFUSION W CONTRAST"


@pytest.mark.parametrize(
    ("sequence", "acquisition"),
    [
        ("T1c", Acquisition(520, 11, None, SPIN, text="OTHER AX C+", protocol=OF_EXAM)),
        ("T1", Acquisition(520, 11, None, SPIN, text="OTHER AX T1", protocol=OF_EXAM)),
        ("T1", Acquisition(520, 11, None, SPIN, text="OTHER AX", protocol=OF_EXAM)),
        ("T2", Acquisition(4400, 97, None, SPIN, text="Ax PROPELLER", protocol=OF_EXAM)),
        ("unknown", Acquisition(None, None, None, SPIN, text="AX", protocol=OF_EXAM)),
        ("T1c", Acquisition(520, 11, None, SPIN, text="AX", protocol="t1_se_tra_KM")),
    ],
)
def test_the_protocol_of_the_exam_comes_after_words_and_times_of_the_series(sequence, acquisition):
    assert sequence_of(acquisition) == sequence
    assert bool(other_contrast(acquisition)) == (sequence == "unknown")


@pytest.mark.parametrize(
    ("sequence", "text"),
    [
        *(("T1", text) for text in ("t1_mprage_epi", "3D T1 fMRI", "T1 3D nav (fMRI)", "T1 MRV")),
        *(("T1", text) for text in ("t1_mprage_epi *tfl3d1_16ns", "sT1W_3D_TFE_fMRI")),
        *(("T1", text) for text in ("T1 SPECTRO plan", "T1 CSI planning")),
        *(
            ("T2", text)
            for text in ("t2_tse_cor_epi", "T2 TSE medic", "M ND t2_tse_epi *tse2d1_15")
        ),
        *(("FLAIR", text) for text in ("FLAIR MRA", "FLAIR fMRI")),
    ],
)
def test_purposes_beside_a_name_that_the_times_confirm(sequence, text):
    times = {
        "T1": (2200, 3.1, 880, MPRAGE),
        "T2": (4300, 98, None, SPIN),
        "FLAIR": (8800, 112, 2450, INVERTED),
    }
    acquisition = Acquisition(*times[sequence], text=text)
    assert (sequence_of(acquisition), other_contrast(acquisition)) == (sequence, "")
    elsewhere = Acquisition(*times["T2" if sequence == "T1" else "T1"], text=text)
    assert other_contrast(elsewhere)


def test_the_phase_of_an_agent_is_no_phase_contrast():
    late = Acquisition(510, 10, None, SPIN, text="ax T1 delayed phase contrast")
    assert (sequence_of(late), other_contrast(late)) == ("T1c", "")
    assert other_contrast(Acquisition(20, 6, None, GRADIENT, text="3D phase contrast"))


@pytest.mark.parametrize(
    ("sequence", "acquisition"),
    [
        ("T2", Acquisition(1150, 91, None, SPIN, text="HASTE_tra")),
        ("T2", Acquisition(1650, 85, None, SPIN)),
        ("T2", Acquisition(4100, 63, None, SPIN, text="AX FSE")),
        ("T1c", Acquisition(1150, 21, None, SPIN, text="3D black blood +C")),
        ("T1c", Acquisition(1450, 35, None, SPIN, contrast_agent=True, text="VISTA")),
        ("T1", Acquisition(1700, 24, 280, INVERTED, text="Ax T1 FLAIR")),
        ("T1", Acquisition(3100, 10, 240, INVERTED, text="Ax T1 FLAIR")),
        ("T1", Acquisition(4900, 2.9, None, MPRAGE, text="MP2RAGE_UNI_Images")),
        ("T1", Acquisition(4900, 2.9, None, MPRAGE, text="UNI-DEN")),
        ("T1", Acquisition(3600, 2.6, 1500, MPRAGE)),
        ("T1", Acquisition(5.1, 2.3, 12, GRADIENT)),  # fat suppression
        ("FLAIR", Acquisition(5900, 102, 1430, INVERTED, text="AX FIR")),
        ("FLAIR", Acquisition(4000, 170, 1390, INVERTED)),  # 64 mT
        ("unknown", Acquisition(300, 10.5, None, GRADIENT)),
        ("unknown", Acquisition(1500, 12, None, SPIN)),
        ("unknown", Acquisition(1450, 64, None, SPIN)),
        ("unknown", Acquisition(2600, 50, None, SPIN)),
        ("unknown", Acquisition(2100, 20, None, frozenset({"IR"}))),
    ],
)
def test_times_near_those_of_the_four_are_no_other_contrast(sequence, acquisition):
    assert (sequence_of(acquisition), other_contrast(acquisition)) == (sequence, "")


@pytest.mark.parametrize(
    "acquisition",
    [
        Acquisition(2600, 16, None, SPIN),  # proton density
        Acquisition(620, 21, None, GRADIENT),  # T2*
        Acquisition(4800, 72, 155, INVERTED, text="T2 FS IR"),
        Acquisition(4800, 72, 155, INVERTED),  # STIR
        Acquisition(3.4, 0.07, None, GRADIENT, text="T1"),  # ultrashort echo
        Acquisition(3200, 720, None, SPIN, text="T2 cor"),  # myelography
        Acquisition(2100, 30, None, frozenset({"EP"})),
    ],
)
def test_times_far_from_those_of_the_four_are_another_contrast(acquisition):
    assert sequence_of(acquisition) == "unknown"
    assert other_contrast(acquisition)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "PCA",
            "DCE 12",
            "TWIST",
            "VFA FA2",
            "CINE",
            "PETRA",
            "UTE",
            "INFLOW",
            "Circle of Willis",
        ),
        *("s3DI_MC_HR", "Qflow_aqueduct", "CSF flow", "4D flow", "VENC 5", "PC VENOUS", "fl2d_pc"),
        *("B-TFE", "sBTFE", "TRUE FISP", "SSFP", "BASG", "PSIF", "DESS", "FGATIR", "FGATIR T1"),
        *("ax head *fi3d1r", "true *tfi2d1_192", "ax iac *ci3d1rs", "MTC on", "DESPOT1"),
    ],
)
def test_other_contrasts_whose_times_are_those_of_t1(text):
    acquisition = Acquisition(21, 3.4, None, GRADIENT, text=f"M_FFE M FFE {text}")
    assert sequence_of(acquisition) == "unknown"
    assert other_contrast(acquisition)


@pytest.mark.parametrize(
    ("text", "tr", "te", "ti", "kinds"),
    [
        ("DIR", 7400, 310, 2600, INVERTED),
        ("t2 double IR", 7400, 310, 3000, INVERTED),
        ("COR PSIR", 5100, 12, 410, INVERTED),
        ("MESE", 2100, 82, None, SPIN),
        ("CPMG T2", 2100, 82, None, SPIN),
        ("MR myelo", 2900, 410, None, SPIN),
    ],
)
def test_other_contrasts_whose_times_are_those_of_flair_t1_and_t2(text, tr, te, ti, kinds):
    acquisition = Acquisition(tr, te, ti, kinds, text=text)
    assert sequence_of(acquisition) == "unknown"
    assert other_contrast(acquisition)


@pytest.mark.parametrize(
    "text",
    [
        "T1 flow comp",
        "SAG +C flow comp",
        "Willis T1",
        "T1 venous phase",
        "T1 Petra",
        "angiofibroma T1",
    ],
)
def test_words_that_may_be_other_contrasts_are_not_beside_t1(text):
    assert other_contrast(Acquisition(520, 11, None, SPIN, text=text)) == ""


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("angio OTHER Ax 3D SPGR COW", (25, 3, None, GRADIENT)),  # AngioFlag
        ("DTI T2W", (6000, 85, None, SPIN)),
        ("T2 DTI ref", (4300, 98, None, SPIN)),
        ("T2 DIFFUSION TRACE", (5000, 85, None, SPIN)),
        ("T2 ADC", (5000, 85, None, SPIN)),
        ("T2w EPI", (6000, 80, None, SPIN)),
        ("SE-EPI T2", (6000, 80, None, SPIN)),
        ("EPI T2 TSE", (6000, 80, None, SPIN)),
        ("FLAIR DTI", (9000, 85, None, SPIN)),
        ("FLAIR diff. Lesion", (8800, 112, 2450, INVERTED)),
        ("T1 perf dyn +C", (5, 1.8, None, GRADIENT)),
        ("T1 TOF", (25, 4, None, GRADIENT)),
        ("T1 SWI", (28, 6, None, GRADIENT)),
        ("T2 BOLD", (3000, 75, None, SPIN)),
        ("T2 MRA", (3000, 75, None, SPIN)),
    ],
)
def test_other_contrasts_beside_a_name_that_the_times_confirm(text, times):
    acquisition = Acquisition(*times, text=text)
    assert sequence_of(acquisition) == "unknown"
    assert other_contrast(acquisition)


@pytest.mark.parametrize("text", ["", "M_FFE M FFE", "MPR TRA", "gre"])
@pytest.mark.parametrize(
    ("protocol", "times"),
    [
        ("3D_TOF", (23, 6.9, None, GRADIENT)),
        ("3DI_MC_HR TOF", (23, 6.9, None, GRADIENT)),
        ("B-FFE", (5, 2.4, None, GRADIENT)),
        ("TRICKS", (4, 1.2, None, GRADIENT)),
        ("field_map", (500, 5, None, GRADIENT)),
        ("DWI_SSh", (3200, 80, None, SPIN)),
        ("STIR_COR", (4000, 80, None, SPIN)),
    ],
)
def test_the_protocol_of_a_series_that_says_nothing_else(text, protocol, times):
    acquisition = Acquisition(*times, text=text, protocol=protocol)
    assert sequence_of(acquisition) == "unknown"
    assert other_contrast(acquisition)


@pytest.mark.parametrize(
    ("sequence", "acquisition"),
    [
        ("T1c", Acquisition(500, 10, None, SPIN, text="AX C+", protocol="MRI/MRA BRAIN W/WO")),
        ("T2", Acquisition(4400, 97, None, SPIN, text="Ax PROPELLER", protocol="STROKE MRA DWI")),
        ("T2", Acquisition(4400, 97, None, SPIN, text="Ax PROPELLER", protocol="DWI SWI PERF")),
        ("T1", Acquisition(500, 10, None, SPIN, text="AX", protocol="Routine with contrast + ASL")),
        ("T1c", Acquisition(500, 10, None, SPIN, text="AX C+", protocol="PITUITARY / MRA")),
        ("T1", Acquisition(500, 10, None, SPIN, text="AX T1", protocol="TRA KM")),
        ("T1", Acquisition(8, 3, 450, GRADIENT, text="MPR", protocol="T1 fMRI")),
        ("T1c", Acquisition(8, 3.8, None, GRADIENT, text="M_FFE M FFE", protocol="3D TFE GD")),
        ("T1c", Acquisition(550, 12, None, SPIN, text="M_SE M SE", protocol="SE TRA + GD")),
        ("T1c", Acquisition(2000, 2.5, 900, MPRAGE, text="MPR tra 3mm", protocol="3D_KM_tra")),
    ],
)
def test_the_protocol_of_an_exam_and_the_agent_of_a_protocol(sequence, acquisition):
    assert (sequence_of(acquisition), other_contrast(acquisition)) == (sequence, "")


@pytest.mark.parametrize(
    ("sequence", "other", "times", "text"),
    [
        ("unknown", True, (1600, 15, None, SPIN), "AX PD FSE"),
        ("T2", False, (1500, 40, None, SPIN), "T2 TSE"),
        ("T2", False, (1600, 20, None, SPIN), "AX T2 DUAL ECHO"),
        ("FLAIR", False, (1500, 30, None, SPIN), "FLAIR"),
        ("unknown", False, (1500, 30, None, frozenset({"RM"})), "PWI"),
        ("unknown", False, (1500, 30, None, frozenset()), "PWI"),
        ("unknown", True, (1500, 30, None, frozenset({"SE", "EP"})), "PWI"),
        ("T1c", False, (1500, 30, None, SPIN), "Ax FSE"),
        ("T1c", False, (1500, 12, None, frozenset({"RM"})), "T1 FSE"),
    ],
)
def test_an_agent_makes_longer_times_those_of_t1_in_spin_echoes_alone(sequence, other, times, text):
    acquisition = Acquisition(*times, contrast_agent=True, text=text)
    assert (sequence_of(acquisition), bool(other_contrast(acquisition))) == (sequence, other)


@pytest.mark.parametrize(
    ("sequence", "times", "text"),
    [
        ("T1", (500, 12, None, SPIN), "AX SE VENOUS SINUS"),
        ("T1", (500, 12, None, SPIN), "AX SE FLOW SAT"),
        ("T1", (500, 12, None, SPIN), "Dir cor SE"),
        ("T1", (8, 3, 900, GRADIENT), "3D TFE FUNC NAV"),
        ("T2", (4000, 100, None, SPIN), "tse cow"),
    ],
)
def test_faintest_words_do_not_count_against_times(sequence, times, text):
    fitting = Acquisition(*times, text=text)
    assert (sequence_of(fitting), other_contrast(fitting)) == (sequence, "")
