"""Words of headers exclude images: whole words, in several languages."""

import pytest

from meninx._scan.image_type import complex_part, kind_of_type, projection
from meninx._scan.relevance import (
    is_localizer,
    not_of_head,
    other_body_part,
)


@pytest.mark.parametrize(
    "part",
    ["CARDIAC", "SACROILIAC", "CELIAC", "FEMORALHEAD", "Femoral head", "CSPINE", "KNEE", "NECK"],
)
def test_words_inside_words_do_not_count(part):
    assert not_of_head(part) == part


@pytest.mark.parametrize(
    "part",
    [
        "",
        "HEAD",
        "BRAIN",
        "WHOLEBRAIN",
        "HEADNECK",
        "Kopf",
        "Schädel",
        "TETE",
        "crâne",
        "IAC",
        "CABEZA",
        "cabeça",
        "encefalo",
        "SKULL",
        "ORBITS",
        "Temporal bone",
        "Meninges",
        "INTERNAL AUDITORY CANAL",
        "Pineal gland",
        "Kleinhirn",
        "Großhirn",
        "selle turcique",
        "silla turca",
        "hippocampe",
        "Posterior fossa",
        "fosse postérieure",
        "Felsenbein",
        "rochers",
        "cervelet",
        "Circle of Willis",
        "Basal ganglia",
        "Sehnerv",
        "nerf optique",
        "EYE",
        "œil",
        "Gehörgang",
        "CNS",
        "suprasellar",
        # Placeholders are no other part.
        "UNKNOWN",
        "None",
        "N/A",
        "Other",
        "MRI",
        "Not specified",
        "unbekannt",
        "Default",
    ],
)
def test_words_of_the_head(part):
    assert not_of_head(part) is None


@pytest.mark.parametrize(
    ("texts", "word"),
    [
        (("MRI KNEE LEFT", "PD SAG"), "KNEE"),
        (("", "Hüfte links"), "HUFTE"),
        (("IRM rachis lombaire", "T2"), "RACHIS"),
        (("CT/MR Thorax", ""), "THORAX"),
        (("", "Tórax T2"), "TORAX"),
        (("Kiefergelenk", "T1"), "KIEFERGELENK"),
        (("IRM pied droit", ""), "PIED"),
        (("RM mano derecha", ""), "MANO"),
        (("MRI TMJ", ""), "TMJ"),
        (("fetal MRI", "HASTE"), "FETAL"),
        (("Ganzkörper-MRT", ""), "GANZKORPER"),
        (("", "Fistel T2"), "FISTEL"),
        (("Fußgelenk links", ""), "FUSSGELENK"),
        (("IRM colonne cervicale", ""), "COLONNE"),
        (("RM rachide", ""), "RACHIDE"),
        (("RM addome superiore", ""), "ADDOME"),
        (("RM bacino", ""), "BACINO"),
        (("IRM cœur", ""), "COEUR"),
        (("RM de mamas", ""), "MAMAS"),
        (("MRT Oberbauch", ""), "OBERBAUCH"),
        (("IRM cuisse", ""), "CUISSE"),
        (("RM pulmão", ""), "PULMAO"),
        (("RM mão direita", ""), "MAO"),
        (("RM vescica", ""), "VESCICA"),
        (("MRT Schilddrüse", ""), "SCHILDDRUSE"),
        (("MRA Carotids", ""), "CAROTIDS"),
        (("RM utero", ""), "UTERO"),
        (("MRI whole body", ""), "WHOLE BODY"),
        (("RM de cuerpo entero", ""), "CUERPO ENTERO"),
        (("Studie Prof. Herzog, Darmstadt", "T1"), None),
        (("MRA carotids and circle of Willis", ""), None),
        (("MR brain and spine", "T2 spine"), None),
        (("", "T1 post, handedness right, rim enhancing"), None),
        (("", "T1 hippocampus"), None),
        (("", "T1 radial VIBE"), None),
        (("", ""), None),
    ],
)
def test_descriptions_name_another_part(texts, word):
    assert other_body_part(*texts) == word


@pytest.mark.parametrize(
    "text",
    [
        "3-Pl T2* FGRE",
        "3 PL LOC",
        "3-Pl Loc SSFSE",
        "LOC",
        "Lokalizer",
        "Localizador",
        "localizzatore",
        "repérage 3 plans",
        "AAHead_Scout",
        "Loc 3 plans",
        "3-plane",
        "Survey_SHC",
        "SCOUT",
        "SmartBrain_iso",
        "Plan scan",
        "Scano",
        "FastView",
        "ASSET calibration",
        "Ref scan SENSE",
        "Prescan",
        "Pilot",
        "3PLANELOC",
        "Tri-Planar",
        "localización",
        "localizzazione",
        "repères",
        "trois plans",
        "drei Ebenen",
        "tre piani",
        "Orientierung",
        "Pilotscan",
        "centrage",
        "posizionamento",
        "Smart Brain",
        "Loc3P",
        "CoilSens",
        "Ref_Head",
        "CoilSurvey",
        "QuickScout",
        "T2Localizer",
        "Surview",
        "B1 shim",
    ],
)
def test_localizers(text):
    assert is_localizer(text)


@pytest.mark.parametrize(
    "text",
    [
        "T1 MPRAGE",
        "3D FLAIR",
        "Block design",
        "T2 velocity",
        "3D planar",
        "allocated",
        "",
        "T1 3 plane reformat",
        "pilot study T1",
        "localization of tumor T1",
        "OP-Planung T1",
        "shimmed T1",
    ],
)
def test_no_localizers(text):
    assert not is_localizer(text)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (["ORIGINAL", "PRIMARY", "M", "NORM"], None),
        (["DERIVED", "SECONDARY", "MPR"], None),
        (["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"], None),
        (["ORIGINAL", "PRIMARY", "P", "ND"], "derived"),
        (["ORIGINAL", "PRIMARY", "R", "FFE"], "derived"),
        (["DERIVED", "PRIMARY", "PERFUSION", "RCBV"], "derived"),
        (["DERIVED", "PRIMARY", "MTT"], "derived"),
        (["DERIVED", "PRIMARY", "T1 MAP"], "derived"),
        (["DERIVED", "PRIMARY", "T2_STAR MAP"], "derived"),
        (["DERIVED", "SECONDARY", "MIP"], "derived"),
        (["DERIVED", "SECONDARY", "MNIP"], "derived"),
        (["DERIVED", "PRIMARY", "DIFFUSION", "EADC"], "derived"),
        (["DERIVED", "SECONDARY", "SUBTRACTION"], "derived"),
        (["DERIVED", "PRIMARY", "AVERAGE DC"], "derived"),
        (["DERIVED", "PRIMARY", "T2 STAR MAP"], "derived"),
        (["DERIVED", "PRIMARY", "QMAP"], "derived"),
        (["DERIVED", "PRIMARY", "ADC_MAP"], "derived"),
        (["DERIVED", "PRIMARY", "COLOR FA"], "derived"),
        (["DERIVED", "PRIMARY", "RELCMTT"], "derived"),
        (["DERIVED", "PRIMARY", "K-TRANS"], "derived"),
        (["DERIVED", "SECONDARY", "MIP_SUB"], "derived"),
        (["DERIVED", "SECONDARY", "MAXIP"], "derived"),
        (["DERIVED", "SECONDARY", "SUBTRACTED"], "derived"),
        (["DERIVED", "SECONDARY", "3D RENDERING"], "derived"),
        (["DERIVED", "PRIMARY", "T1 RHO MAP"], "derived"),
        (["DERIVED", "PRIMARY", "UNWRAPPED PHASE"], "derived"),
        (["DERIVED", "PRIMARY", "MEAN DIFFUSIVITY"], "derived"),
        (["DERIVED", "PRIMARY", "Z SCORE"], "derived"),
        (["DERIVED", "PRIMARY", "IN_PHASE"], None),
        (["ORIGINAL", "PRIMARY", "FLOW_COMP"], None),
        (["ORIGINAL", "PRIMARY", "M_IR", "M", "IR"], None),
        (["ORIGINAL", "PRIMARY", "M", "SWI"], None),
        (["DERIVED", "PRIMARY", "WATER"], None),
        (["ORIGINAL", "PRIMARY", "F", "F", "DERIVED"], "derived"),
        (["DERIVED", "PRIMARY", "DIXON", "FAT"], "derived"),
        (["DERIVED", "PRIMARY", "MRAC"], "derived"),
        (["ORIGINAL", "PRIMARY", "LOCALIZER"], "localizer"),
        ("MOSAIC", "mosaic"),
        (None, None),
    ],
)
def test_image_types(values, reason):
    found = kind_of_type(values)
    assert (found.reason if found else None) == reason


def test_parts_of_complex_images():
    assert complex_part("MAGNITUDE") is None
    assert complex_part("MIXED") is None
    assert {complex_part(part).reason for part in ("PHASE", "REAL", "IMAGINARY")} == {"derived"}


def test_projections_that_a_header_names():
    assert {projection(name).reason for name in ("MAX_IP", "min_ip ", "CURVED_MPR")} == {"derived"}
    assert [projection(name) for name in ("", "NONE", "MPR")] == [None] * 3
