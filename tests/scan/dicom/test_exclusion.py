"""Words of headers that refuse an image or put it in doubt, and ordinary ones that do neither."""

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage

from meninx._scan.dicom.acquisition import acquisition_of
from meninx._scan.dicom.exclusion import doubts_of, not_mr_slice
from meninx._scan.reading import read_scans
from meninx._scan.sequence import contrast_warning, sequence_of
from tests.scan.dicom_making import save_all, slices_of

ORIGINAL, DERIVED = ("ORIGINAL", "PRIMARY", "M", "ND"), ("DERIVED", "SECONDARY")


def header(description: str = "AX T1", types: tuple[str, ...] = ORIGINAL, **values) -> Dataset:
    dataset = Dataset()
    dataset.Modality = "MR"
    dataset.ImageType = list(types)
    dataset.SeriesDescription = description
    dataset.BodyPartExamined = "HEAD"
    dataset.ScanningSequence = "SE"
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


def words_about(dataset: Dataset) -> list[str]:
    """Return the reason of the refusal, or the codes of warnings."""
    refusal = not_mr_slice(dataset, MRImageStorage)
    if refusal is not None:
        return [refusal.reason]
    contrast = contrast_warning(acquisition_of(dataset))
    return [doubt.code for doubt in (*doubts_of(dataset), *([contrast] if contrast else []))]


# Ordinary descriptions of series.
SERIES = [
    *(
        "",
        "T1",
        "T2",
        "FLAIR",
        "T1 MPRAGE post",
        "T2 TSE",
        "AX T1 SE +C",
        "Ax T2 FLAIR",
        "t1_se_tra",
    ),
    *(
        "t2_tse_tra_512",
        "t2_tirm_tra_dark-fluid",
        "t1_mprage_sag_p2_iso",
        "t1_fl3d_sag_ce",
        "t2_space",
    ),
    *(
        "Ax T1 FSE",
        "SAG T1 FLAIR",
        "COR T2 FS",
        "3D FLAIR SPACE",
        "CUBE T2 FLAIR",
        "AX FSPGR BRAVO",
    ),
    *(
        "3D T1 TFE",
        "sT1W_3D_TFE",
        "T2W_TSE",
        "FLAIR_longTR",
        "T1W_SE",
        "dT1W_SE C+",
        "AX T2 PROPELLER",
    ),
    *("t2_blade_tra", "T1 VIBE DIXON W", "t1_vibe_fs_tra_km", "T1 KM", "T1 nativ", "T1 nativ tra"),
    *("T1 ohne KM", "T1 mit KM", "T1 post KM tra", "T1 nach KM", "T1 KM - tra", "ohne KM - nativ"),
    *("T1 mit KM - vor OP", "T1 native", "T1 sans injection", "T1 apres injection", "T1 gado"),
    *(
        "T1 sin contraste",
        "T1 con contraste",
        "T1 con CIV",
        "T1 senza mdc",
        "T1 dopo mdc",
        "T1 assiale",
    ),
    *(
        "T1 sem contraste",
        "T1 com contraste",
        "T1 pos gad",
        "T1 zonder contrast",
        "T1 met contrast",
    ),
    *(
        "T1 na contrast",
        "T1 C-",
        "T1 C minus",
        "T1 pre",
        "T1 pre/post",
        "T1 pre - post",
        "T1 POST-OP",
    ),
    *(
        "T1 NON CONTRAST - PRE OP",
        "AX T1 POST PERFUSION",
        "T1 after TOF",
        "AX T1 STEALTH",
        "T1 NAV",
    ),
    *(
        "T1 BRAINLAB FUSION",
        "T1 post MPR cor",
        "T1 MPR Range",
        "MPR Cor T1",
        "T2 TSE rest",
        "T1 ISO 1mm",
    ),
    *(
        "T1 isotropic",
        "3D T1 iso sag",
        "T2 thin IAC",
        "T2 DRIVE",
        "T1 pituitary dynamic",
        "T1 sella",
    ),
    *("T1 black blood", "T1 orbits fs", "T1 cavernous angioma", "FLAIR epilepsy", "T2 hippocampus"),
    *(
        "T1 MT",
        "T1 flow comp",
        "T2 TSE DIFFUSE GLIOMA",
        "T1 SPIR",
        "T1 no phase wrap",
        "T1 3mm no gap",
    ),
    *("T1 fat sat", "eT1W", "T1 se cor FS", "T2 sag", "Sag 3D T1 MPR", "AX T1 MEMP", "T1 TSE dark"),
    *(
        "AX 3D T1 IR-FSPGR",
        "T1_GRE_3D",
        "WIP T1W 3D",
        "FLAIR FS GD",
        "T2 FRFSE",
        "T2 SSFSE",
        "T2 HASTE",
    ),
    *(
        "GdT1",
        "T1 tra KM 5 min",
        "T1 MPRAGE CT protocol",
        "T1 PET/MR",
        "Rene T1",
        "T1 TRUE AX",
        "T1 RTP",
    ),
    *(
        "HASTE_tra",
        "AX SSFSE",
        "UNI-DEN",
        "T1 flow comp",
        "T1 GADGET",
        "T1 Willis",
        "UIH t1_gre_fsp",
    ),
]


@pytest.mark.parametrize("description", SERIES)
def test_ordinary_series_pass_without_a_word(description):
    assert words_about(header(description)) == []
    derived = [
        *words_about(header(description, DERIVED)),
        sequence_of(acquisition_of(header(description))),
    ]
    assert derived == [sequence_of(acquisition_of(header(description)))]


# Ordinary descriptions of studies, protocols and patients.
@pytest.mark.parametrize(
    "values",
    [
        *(
            {"StudyDescription": text}
            for text in ("Head w/o & w", "MRI BRAIN AND SPINE", "MR BRAIN W WO")
        ),
        *(
            {"StudyDescription": text}
            for text in ("MRI BRAIN, C-SPINE", "MRT Kopf + HWS", "IRM cerebrale")
        ),
        *(
            {"StudyDescription": text}
            for text in ("IRM cerebro-medullaire", "RM cerebral y columna")
        ),
        *(
            {"StudyDescription": text}
            for text in ("RM encefalo e rachide", "MRI hersenen en wervelkolom")
        ),
        *(
            {"StudyDescription": text}
            for text in ("RM de cranio e coluna", "MRI/MRA BRAIN & NECK", "")
        ),
        *(
            {"StudyDescription": text}
            for text in ("MRI ORBITS FACE NECK", "MRI WHOLE BODY", "Ganzkörper")
        ),
        *(
            {"StudyDescription": text}
            for text in ("MRI brain, phantom limb pain", "Phantomschmerz")
        ),
        *(
            {"StudyDescription": text}
            for text in ("IRM cérébrale post ACR", "douleur membre fantôme")
        ),
        *(
            {"StudyDescription": text}
            for text in ("dolor de miembro fantasma", "PET/MR brain", "CT/MR head")
        ),
        *(
            {"StudyDescription": text}
            for text in ("MRI CRANIAL NERVES", "Stereotaxy head", "NEURO^HEAD")
        ),
        *(
            {"ProtocolName": text}
            for text in ("BRAIN DWI SWI PERF", "MRI MRA BRAIN", "Tumor + ASL")
        ),
        {"PatientName": "Spine^Anna", "PatientID": "PHANTOM-7"},
        {"PatientName": "Fantini^Rene"},
        {"PatientName": "Phantom^7", "Manufacturer": "meninx phantom"},
        {"QualityControlImage": "NO"},
        {"BodyPartExamined": "", "StudyDescription": "MRI brain"},
        {"BodyPartExamined": "HERSENEN"},
        {"BodyPartExamined": "SCHEDEL"},
        {"AngioFlag": "N", "DiffusionBValue": 0.0},
    ],
)
def test_ordinary_headers_pass_without_a_word(values):
    assert words_about(header(**values)) == []


@pytest.mark.parametrize(
    "description",
    [
        *("KM minus nativ", "T1 post KM - nativ", "T1 KM - nativ", "nach KM - vor KM", "T1c - T1"),
        *("T1c minus T1", "post minus pre", "T1 gado moins T1", "avec gado - sans gado moins sans"),
        *("après injection - avant injection", "con contraste menos sin contraste", "T1+C - T1"),
        *(
            "dopo mdc - prima mdc",
            "T1 com contraste menos sem",
            "na contrast minus zonder contrast",
        ),
        *(
            "dopo mdc meno senza mdc",
            "post-contrast - pre-contrast",
            "post Gd \u2013 native",
            "SOUSTR T1",
        ),
        *(
            "T1_subtr",
            "Resta T1",
            "T1 SUBT",
            "T1 Subtr.",
            "SUBTRAHIERT",
            "aftrekking T1",
            "verschil T1",
        ),
        *("sustracción", "sottrazione", "subtração", "Screenshot", "Screen shot", "Bildschirmfoto"),
        *(
            "capture d'écran",
            "captura de pantalla",
            "captura de tela",
            "schermata",
            "schermafbeelding",
        ),
        *(
            "Screen Save",
            "Secondary capture",
            "Volume rendering",
            "Volume Render T1",
            "3D rendering",
        ),
        *(
            "rendu volumique",
            "Shaded surface",
            "renderizado 3D",
            "SSD",
            "curved MPR",
            "cinematic rendering",
        ),
        *(
            "synthetic contrast T1",
            "synthetisches T1",
            "T1 synthétique",
            "T1 sintético",
            "SyMRI T1",
        ),
        *(
            "virtual contrast T1",
            "pseudo CT",
            "synT1".replace("T1", " T1"),
            "contraste virtual",
            "synthetisch T2",
        ),
    ],
)
@pytest.mark.parametrize("types", [ORIGINAL, DERIVED])
def test_computed_images_are_refused_by_their_words(description, types):
    assert words_about(header(description, types)) == ["derived"]


@pytest.mark.parametrize(
    ("description", "types", "code"),
    [
        ("DWI isotropic", DERIVED, "derived"),
        ("difusión trace", DERIVED, "derived"),
        ("DWI isotropic", ORIGINAL, "other_contrast"),
        ("delta T1", DERIVED, "derived"),
        ("", (*ORIGINAL, "DIFFUSION"), "other_contrast"),
        ("AX", (*ORIGINAL[:2], "ASL"), "other_contrast"),
        ("AX", (*ORIGINAL[:2], "PROTON_DENSITY"), "other_contrast"),
        ("CT HEAD W/O", ORIGINAL, "not_mr_doubtful"),
        ("PET brain", ORIGINAL, "not_mr_doubtful"),
        ("SAG T2 LWS", ORIGINAL, "not_brain_doubtful"),
        ("T2 knie", ORIGINAL, "not_brain_doubtful"),
    ],
)
def test_words_of_a_series(description, types, code):
    assert words_about(header(description, types)) == [code]


@pytest.mark.parametrize(
    "value",
    [
        *("STD_DEVIATION", "T_TEST", "MINIMUM", "MAXIMUM", "MASKED", "DIVISION", "MULTIPLICATION"),
        *(
            "QUANTITY",
            "TEMPERATURE",
            "METABOLITE_MAP",
            "R_COEFFICIENT",
            "RHO",
            "SCM",
            "SNR_MAP",
            "TCS",
        ),
        *(
            "DIFFUSION_ANISO",
            "DIFFUSION_ATTNTD",
            "SUBTRACTION",
            "NEI",
            "Z_SCORE",
            "MAX_IP",
            "SYNTHETIC",
        ),
    ],
)
@pytest.mark.parametrize("place", [2, 3])
def test_values_of_the_standard_for_computed_images(value, place):
    types = ("DERIVED", "PRIMARY", "T1", "NONE")
    assert words_about(header("T1", (*types[:place], value))) == ["derived"]


@pytest.mark.parametrize("value", ["NONE", "MEAN", "ADDITION", "RESAMPLED", "WATER", "IN_PHASE"])
def test_values_of_the_standard_for_images(value):
    assert words_about(header("T1", ("DERIVED", "PRIMARY", "T1", value))) == []


@pytest.mark.parametrize(
    ("code", "values"),
    [
        ("not_brain", {"QualityControlImage": "YES"}),
        ("not_brain_doubtful", {"QualityControlImage": "BOTH"}),
        ("not_brain_doubtful", {"StudyDescription": "ACR PHANTOM QA"}),
        ("not_brain_doubtful", {"StudyDescription": "Daily QA"}),
        ("not_brain_doubtful", {"StudyDescription": "Qualitätskontrolle"}),
        ("not_brain_doubtful", {"StudyDescription": "contrôle qualité"}),
        ("not_brain_doubtful", {"StudyDescription": "control de calidad"}),
        ("not_brain_doubtful", {"StudyDescription": "fantôme"}),
        ("not_brain_doubtful", {"SeriesDescription": "ACR T1"}),
        ("not_brain_doubtful", {"SeriesDescription": "fantoom T1"}),
        ("not_brain_doubtful", {"ProtocolName": "Phantom"}),
        ("not_brain_doubtful", {"PatientName": "ACR^PHANTOM"}),
        ("not_brain_doubtful", {"StudyDescription": "MRI LUMBAR SPINE"}),
        ("not_brain_doubtful", {"StudyDescription": "MRT Knie links"}),
        ("not_brain_doubtful", {"StudyDescription": "IRM genou"}),
        ("not_brain_doubtful", {"StudyDescription": "RM rodilla"}),
        ("not_brain_doubtful", {"StudyDescription": "RM ginocchio"}),
        ("not_brain_doubtful", {"StudyDescription": "RM joelho"}),
        ("not_brain_doubtful", {"StudyDescription": "MRI schouder"}),
        ("not_brain_doubtful", {"ProtocolName": "L-SPINE"}),
        ("other_contrast", {"AngioFlag": "Y"}),
        ("other_contrast", {"DiffusionBValue": 1000.0}),
        ("other_contrast", {"SequenceName": "*ep_b1000#1", "SeriesDescription": "AX"}),
        ("other_contrast", {"SequenceName": "*fi3d1r", "SeriesDescription": "AX"}),
        ("other_contrast", {"SequenceName": "*ci3d1rs", "SeriesDescription": "ax iac"}),
    ],
)
def test_headers_of_phantoms_other_parts_and_other_contrasts(code, values):
    assert words_about(header(**values)) == [code]


def test_a_phantom_is_warned_of_without_its_name():
    (warning,) = doubts_of(header(PatientName="Zyxqwert^PHANTOM"))
    assert "PHANTOM" in warning.text
    assert "zyxqwert" not in warning.text.lower()


def test_the_scan_has_the_warnings_of_its_header(tiny_scan, tmp_path):
    slices = slices_of(tiny_scan)
    for dataset in slices:
        dataset.SeriesDescription = "ep2d_diff_b1000"
        dataset.StudyDescription = "MRI LUMBAR SPINE"
    (scan,) = read_scans(save_all(slices, tmp_path))
    assert {"other_contrast", "not_brain_doubtful"} <= {warning.code for warning in scan.warnings}
    assert (scan.sequence, scan.other_contrast) == ("unknown", True)
