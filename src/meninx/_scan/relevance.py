"""Find from a header whether an image is a plain MR slice of a head; one table of rules.

Headers are typed by people and filled by machines: no attribute is always there, and none is always
right. So each rule names the attributes that it reads, and words count as whole words alone: "IAC"
in CARDIAC is no inner ear.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from meninx._errors import UnsupportedScan


def word_set(words: str) -> frozenset[str]:
    """Return the words of a text, which blanks separate."""
    return frozenset(words.split())


# Words of the head, or their beginnings: "HEADNECK" and "CRANIUM" count, "FEMORALHEAD" does not.
# English, German, French, Spanish, Portuguese, Italian; the codes of DICOM PS3.16 Annex L among
# them.
HEAD_BEGINNINGS = (
    "BRAIN",
    "HEAD",
    "SKULL",
    "CRANI",
    "NEURO",
    "CEREB",
    "PITUIT",
    "SELLA",
    "SELAR",
    "ORBIT",
    "HYPOPHYS",
    "TEMPORAL",
    "POSTERIORFOSSA",
    "INTERNALAUDITORY",
    "ENCEPHAL",
    "ENCEFAL",
    "CEPHAL",
    "KOPF",
    "SCHAEDEL",
    "SCHADEL",
    "HIRN",
    "GEHIRN",
    "TETE",
    "CRANE",
    "CERVEAU",
    "CABEZA",
    "CABECA",
    "TESTA",
    "ENCEFALO",
    "CERVELLO",
    "IPOFISI",
    "HIPOFIS",
    "MENING",
    "PINEAL",
    "AUDITOR",
    "LIMBIC",
    "INTRACRAN",
    "SKALP",
    "SCALP",
    "HIPPOCAMP",
    "HIPOCAMP",
    "IPPOCAMP",
    "SELLE",
    "SILLA",
    "PARASELL",
    "SUPRASELL",
    "CERVELE",
    "CERVELLE",
    "THALAM",
    "TALAM",
    "BASALGANGL",
    "FELSENBEIN",
    "ROCHER",
    "GEHORGANG",
    "GEHOERGANG",
    "OPTIC",
    "OPTIQ",
    "OTTIC",
    "SEHNERV",
    "WILLIS",
)
HEAD_WORDS = (
    "IAC",
    "IAM",
    "CERVEAU",
    "FACE",
    "CAI",
    "KHBW",
    "PONS",
    "CNS",
    "SNC",
    "ZNS",
    "EYE",
    "EYES",
    "AUGE",
    "AUGEN",
    "OEIL",
    "YEUX",
    "OJO",
    "OJOS",
    "OLHO",
    "OLHOS",
    "OCCHIO",
    "OCCHI",
    "EAR",
    "EARS",
    "OHR",
    "OREILLE",
    "CAPO",
)
HEAD_ENDS = ("BRAIN", "HIRN", "SCHAEDEL", "SCHADEL", "KOPF")
HEAD_PHRASES = (
    "POSTERIOR FOSSA",
    "FOSSE POSTERIEURE",
    "FOSA POSTERIOR",
    "FOSSA POSTERIOR",
    "BASAL GANGLIA",
    "CORPUS CALLOSUM",
    "CAVERNOUS SINUS",
)
# Words that stand there instead of a part and say nothing.
PLACEHOLDERS = frozenset(
    [
        "UNKNOWN",
        "NONE",
        "NULL",
        "N A",
        "NA",
        "OTHER",
        "OTHERS",
        "DEFAULT",
        "MR",
        "MRI",
        "MRT",
        "IRM",
        "NOT SPECIFIED",
        "NOTSPECIFIED",
        "UNSPECIFIED",
        "UNDEFINED",
        "NOT DEFINED",
        "ANY",
        "TEST",
        "X",
        "UNBEKANNT",
        "ANDERE",
        "INCONNU",
        "AUTRE",
        "DESCONOCIDO",
        "OTRO",
        "DESCONHECIDO",
        "OUTRO",
        "SCONOSCIUTO",
        "ALTRO",
    ]
)
# Words of other parts, or their beginnings, in the same languages. None that begins a word of the
# head ("HIP" would catch HIPPOCAMPUS) or of imaging (RADIAL is a way through k-space).
OTHER_BEGINNINGS = (
    "KNEE",
    "KNIE",
    "GENOU",
    "RODILLA",
    "JOELHO",
    "GINOCCHI",
    "SHOULDER",
    "SCHULTER",
    "EPAULE",
    "HOMBRO",
    "OMBRO",
    "SPALLA",
    "SPINE",
    "SPINAL",
    "WIRBEL",
    "RACHIS",
    "COLUMNA",
    "COLUNA",
    "COLONNA",
    "LUMBAR",
    "LOMBAR",
    "LOMBAIRE",
    "THORAC",
    "SACRUM",
    "SACROIL",
    "CSPINE",
    "LSPINE",
    "TSPINE",
    "HUEFT",
    "HUFT",
    "HANCHE",
    "CADERA",
    "QUADRIL",
    "FEMOR",
    "FEMUR",
    "ANKLE",
    "SPRUNGGELENK",
    "CHEVILLE",
    "TOBILLO",
    "TORNOZELO",
    "CAVIGLIA",
    "HANDGELENK",
    "POIGNET",
    "MUNECA",
    "PUNHO",
    "POLSO",
    "ELBOW",
    "ELLENBOGEN",
    "COUDE",
    "COTOVELO",
    "GOMITO",
    "HUMER",
    "FOREARM",
    "ABDOM",
    "LIVER",
    "LEBER",
    "FOIE",
    "HIGADO",
    "FIGADO",
    "FEGATO",
    "HEPAT",
    "KIDNEY",
    "RENAL",
    "NIERE",
    "PANCREA",
    "PANKREA",
    "SPLEEN",
    "BILIARY",
    "MRCP",
    "CELIAC",
    "BOWEL",
    "PELVI",
    "BECKEN",
    "BASSIN",
    "PROSTAT",
    "UTERUS",
    "UTERIN",
    "RECTUM",
    "REKTUM",
    "BLADDER",
    "CARDIAC",
    "CARDIO",
    "HEART",
    "HERZM",
    "HERZK",
    "COEUR",
    "CORAZON",
    "CORACAO",
    "CUORE",
    "MYOCARD",
    "BREAST",
    "MAMM",
    "BRUST",
    "CHEST",
    "LUNG",
    "AORTA",
    "EXTREMIT",
    "THIGH",
    "TIBIA",
    "ILIAC",
    "FETUS",
    "FETAL",
    "FOETUS",
    "FOETAL",
    "THORA",
    "TORA",
    "PLEXUS",
    "WHOLEBODY",
    "GANZKO",
    "ENTEROGRAPH",
    "FINGER",
    "THUMB",
    "DAUMEN",
    "STERNUM",
    "CLAVIC",
    "TESTIC",
    "TESTIS",
    "HODEN",
    "SCROT",
    "PENIS",
    "OVAR",
    "VAGIN",
    "FISTUL",
    "FISTEL",
    "MENISC",
    "MENISK",
    "ACHILL",
    "PLANTAR",
    "LARYN",
    "KIEFERGELENK",
    "TEMPOROMANDIB",
    "COLONNE",
    "RACHI",
    "CERVIC",
    "MIDOLLO",
    "MOELLE",
    "MEDULA",
    "RUCKENMARK",
    "RUECKENMARK",
    "OBERSCHENKEL",
    "UNTERSCHENKEL",
    "OBERARM",
    "UNTERARM",
    "FUSSG",
    "VORFUSS",
    "MITTELFUSS",
    "BAUCH",
    "OBERBAUCH",
    "UNTERBAUCH",
    "ADDOM",
    "BACINO",
    "BACIA",
    "PELVE",
    "CUISSE",
    "MUSLO",
    "COSCIA",
    "JAMBE",
    "PIERNA",
    "PERNA",
    "MOLLET",
    "DOIGT",
    "DEDO",
    "BLADDER",
    "HARNBLASE",
    "VEJIGA",
    "VESSIE",
    "BEXIGA",
    "VESCICA",
    "VESICUL",
    "UTER",
    "GEBARMUTTER",
    "GEBAERMUTTER",
    "POUMON",
    "PULMO",
    "PULMAO",
    "POLMON",
    "SPLEN",
    "SURRENAL",
    "NEBENNIERE",
    "AORT",
    "CAROTI",
    "KAROTI",
    "ESTOMA",
    "STOMAC",
    "ESOFAG",
    "ESOPHA",
    "OESOPHA",
    "INTESTIN",
    "DUNNDARM",
    "DUENNDARM",
    "DICKDARM",
    "THYROID",
    "TIROID",
    "SCHILDDRUS",
    "PAROTI",
    "MANDIB",
    "UNTERKIEFER",
    "OBERKIEFER",
    "ELLBOGEN",
    "CALCAN",
    "PATELL",
    "ROTUL",
    "ESCROT",
    "PESCOCO",
    "BILIA",
    "PLACENT",
    "PLAZENT",
    "GASTR",
)
OTHER_WORDS = (
    "HIP",
    "HIPS",
    "ANCA",
    "FOOT",
    "FEET",
    "FUSS",
    "PIED",
    "WRIST",
    "HAND",
    "HANDS",
    "CALF",
    "MAMA",
    "SEIN",
    "SEINS",
    "CODO",
    "NECK",
    "HALS",
    "COU",
    "CUELLO",
    "LWS",
    "BWS",
    "HWS",
    "ISG",
    "TMJ",
    "PIE",
    "PIEDE",
    "MANO",
    "TOE",
    "TOES",
    "RIB",
    "RIBS",
    "REINS",
    "RINON",
    "RINONES",
    "HERZ",
    "MAMAS",
    "COXA",
    "DITO",
    "WADE",
    "WADEN",
    "BLASE",
    "RENE",
    "RENI",
    "RINS",
    "MILZ",
    "MILZA",
    "BAZO",
    "MAGEN",
    "DARM",
    "ATM",
    "MAO",
    "TALON",
    "COLLO",
    "GAMBA",
)
OTHER_PHRASES = (
    "WHOLE BODY",
    "TOTAL BODY",
    "CORPS ENTIER",
    "CUERPO ENTERO",
    "CORPO INTEIRO",
    "CORPO INTERO",
)
# Localizers by their descriptions: GE, Siemens, Philips, and people.
LOCALIZER_BEGINNINGS = (
    "LOCALIZER",
    "LOCALISER",
    "LOCALIZADOR",
    "LOCALIZZATOR",
    "LOCALISAT",
    "LOCALISIER",
    "LOKALI",
    "SCOUT",
    "SURVEY",
    "TOPOGRAM",
    "REPERAGE",
    "UEBERSICHT",
    "UBERSICHT",
    "PLANSCAN",
    "AAHEADSCOUT",
    "AASCOUT",
    "AAHSCOUT",
    "SMARTBRAIN",
    "SCANO",
    "LOCATOR",
    "FASTVIEW",
    "SUCHSCHNITT",
    "CENTRAJE",
    "CALIBRATION",
    "KALIBRIER",
    "CALIBRAC",
    "CALIBRAZ",
    "PRESCAN",
    "3PL",
    "TRIPLAN",
    "LOC3",
    "LOCALIZAC",
    "LOCALIZZ",
    "ORIENTIER",
    "PILOTSCAN",
    "CENTRAG",
    "CENTRAT",
    "CENTRADO",
    "POSIZIONAM",
    "POSICIONAM",
    "COILSENS",
    "PLANSCOUT",
    "SURVIEW",
)
LOCALIZER_WORDS = (
    "LOC",
    "LOCS",
    "LOCA",
    "REPERE",
    "REPERES",
    "PILOT",
    "SHIM",
    "SHIMMING",
    "LOK",
    "TOPO",
)
LOCALIZER_PAIRS = (
    ("3", "PL"),
    ("3", "PLANE"),
    ("3", "PLANES"),
    ("3", "PLAN"),
    ("3", "PLANS"),
    ("3", "PLANOS"),
    ("3", "EBENEN"),
    ("3", "PIANI"),
    ("3", "EJES"),
    ("3", "AXES"),
    ("TROIS", "PLANS"),
    ("DREI", "EBENEN"),
    ("TRE", "PIANI"),
    ("TRI", "PLANE"),
    ("TRI", "PLANAR"),
    ("SMART", "BRAIN"),
    ("FAST", "VIEW"),
    ("REF", "HEAD"),
    ("THREE", "PLANE"),
    ("TRES", "PLANOS"),
    ("PLAN", "SCAN"),
    ("ASSET", "CAL"),
    ("REF", "SCAN"),
    ("REFERENCE", "SCAN"),
    ("SENSE", "REF"),
    ("COIL", "SENSITIVITY"),
)


@dataclass(frozen=True)
class Kind:
    """A kind of image that is no plain slice.

    Args:
        reason: Code of the refusal.
        words: Text for a reader.
        values: Values of ImageType or FrameType, each a whole word.
        source: Document that these values are from.
    """

    reason: str
    words: str
    values: frozenset[str]
    source: str


def _kind(reason: str, words: str, values: str, source: str) -> Kind:
    return Kind(reason, words, frozenset(value.strip() for value in values.split(",")), source)


# Values 3 and on of ImageType; values 1 and 2 only tell original from derived, primary from
# secondary.
# MPR and reformatted images are slices of the head all the same.
KINDS = (
    _kind(
        "localizer",
        "a localizer, taken to plan the others",
        "LOCALIZER, SCOUT",
        "DICOM PS3.3 C.8.3.1.1.1",
    ),
    _kind(
        "mosaic",
        "a mosaic of many slices in one picture; export it as single slices",
        "MOSAIC",
        "Siemens MR conformance statement",
    ),
    _kind(
        "derived", "a saved screen, not a slice", "SCREEN SAVE, SCREENSAVE, CAPTURE", "GE, Philips"
    ),
    _kind(
        "derived",
        "a projection, not a slice",
        "PROJECTION IMAGE, PROJECTION, MIP, MAX IP, MAXIP, MNIP, MINIP, MIN IP, MINMIP, VRT, VR,"
        "VOLREN, RENDERING, SSD, CPR, CURVED",
        "DICOM PS3.3 C.7.6.16.2.1; Siemens, GE, Philips",
    ),
    _kind(
        "derived",
        "a phase image",
        "PHASE, PHASE MAP, P, UNWRAPPED PHASE, PHASE DIFFERENCE",
        "DICOM PS3.3 C.8.3.1.1.1; Siemens",
    ),
    _kind(
        "derived",
        "the real or imaginary part of an image",
        "REAL, IMAGINARY, R, I",
        "DICOM PS3.3 C.8.3.1.1.1; Siemens, Philips",
    ),
    _kind(
        "derived",
        "a diffusion map",
        "ADC, EADC, EXP, AVERAGE DC, FRACTIONAL ANISOTROPY, FA, TRACEW, TRACE, COLFA, TENSOR,"
        "DTI, RA, MD, KURTOSIS, IVIM, MK, AD, RD, FRACT ANISO, ANISOTROPY, DIFFUSIVITY,"
        "EXPONENTIAL, ISOTROPIC, FIBER, TRACTOGRAPHY",
        "DICOM PS3.3 C.8.13.3.1; Siemens, GE",
    ),
    _kind(
        "derived",
        "an image of fat alone, by Dixon's method",
        "FAT, F, FF, FAT FRACTION, FATFRACTION, PDFF, FAT IMAGE, FAT PERCENT, FATFRAC",
        "Siemens, GE, Philips",
    ),
    _kind(
        "derived",
        "an attenuation map for PET",
        "UMAP, MUMAP, MRAC, ATTENUATION, AC MAP, CTAC",
        "Siemens, GE, Philips PET-MR",
    ),
    _kind("derived", "a flow image", "VELOCITY, FLOW, PCA", "DICOM PS3.3 C.8.13.3.1; Philips"),
    _kind(
        "derived",
        "a perfusion map",
        "CBF, CBV, RCBF, RCBV, RELCBF, RELCBV, CORRCBV, MTT, RMTT, TTP, TMAX, TTS, GBP, PBP, AIF,"
        "PERFUSION ASL, K2, KTRANS, K TRANS, VE, VP, KEP, IAUC, IAUC60, AUC, PEI, NEI, M0, RBF,"
        "RBV, RELMTT, CMTT, RELCMTT, RTTP, PERMEABILITY, LEAKAGE, WASHIN, WASHOUT,"
        "WASH IN, WASH OUT",
        "DICOM PS3.3 C.8.13.3.1; Siemens, GE",
    ),
    _kind(
        "derived",
        "a map of relaxation, not an image",
        "T1 MAP, T2 MAP, T2* MAP, R1 MAP, R2 MAP, R2* MAP, PD MAP, B0 MAP, B1 MAP,"
        "PROTON DENSITY MAP, FIELD MAP, FIELDMAP, T1MAP, T2MAP, T2STAR MAP, QUANT, FAT FRACTION,"
        "SWI P, QSM, B0, B1, T2 STAR MAP, QMAP, PDMAP, R2STAR, R2*, MYELIN, CEST",
        "DICOM PS3.3 C.8.13.3.1; Siemens MapIt",
    ),
    _kind(
        "derived",
        "a difference of two images",
        "SUBTRACTION, SUBTRACT, SUBTRACTED, SUB, DIFFERENCE",
        "DICOM PS3.3 C.7.6.16.2.1; Siemens",
    ),
    _kind(
        "derived",
        "a spectroscopic or functional map",
        "SPECTROSCOPY, CSI, STDDEV, STD DEV, TTEST, FMRI, BOLD, TMAP, ZSCORE, Z SCORE, PEARSON,"
        "ACTIVATION, CORRELATION",
        "DICOM PS3.3 C.8.13.3.1; Siemens",
    ),
)
_BY_VALUE: Mapping[str, Kind] = {value: kind for kind in KINDS for value in kind.values}
# Words that name a map wherever they stand in a value, as in "MIP_SUB" and "COLOR FA"; others, such
# as PHASE in IN_PHASE and FLOW in FLOW_COMP, say so alone.
MAP_WORDS = frozenset(
    value
    for value, kind in _BY_VALUE.items()
    if kind.words.startswith(("a projection", "a perfusion", "a diffusion", "a difference"))
    and (len(value) > 2 or value == "FA")
    and " " not in value
    and value not in ("EXP", "TRACE", "ISOTROPIC")
)
A_MAP = Kind("derived", "a map of numbers, not an image", frozenset(), "the word itself")
# Words of descriptions, or their beginnings, that name a map where ImageType says derived alone.
DERIVED_BEGINNINGS = (
    "SUBTRA",
    "SUBSTRA",
    "SOUSTRA",
    "SUSTRA",
    "SOTTRA",
    "ANISOTROP",
    "KTRANS",
    "PROJE",
    "PROYEC",
    "PROIEZ",
)
DERIVED_WORDS = frozenset(
    [
        "ADC",
        "EADC",
        "DADC",
        "FA",
        "TRACEW",
        "RCBV",
        "RCBF",
        "CBV",
        "CBF",
        "MTT",
        "TTP",
        "TMAX",
        "RMTT",
        "RTTP",
        "RELCBV",
        "RELCBF",
        "RELMTT",
        "CORRCBV",
        "GBP",
        "PBP",
        "AIF",
        "MIP",
        "MNIP",
        "MINIP",
        "COLFA",
        "VRT",
        "TENSOR",
        "COEFFICIENT",
        "EXPONENTIAL",
        "MAP",
        "MAPS",
        "T1MAP",
        "T2MAP",
        "MAPPA",
    ]
)
# Words that name a map in the description of a series whose ImageType says original: none that
# names a way to take an image, such as TRACE, and none of two letters.
ORIGINAL_WORDS = DERIVED_WORDS - word_set(
    "FA MAP MAPS MAPPA COEFFICIENT EXPONENTIAL TENSOR TRACEW"
) | word_set(
    "UMAP MUMAP MRAC PHA PHASENBILD PHASENBILDER MIPS MINIPS MAXIP SWIP PDFF T2STARMAP R2STAR"
)
ORIGINAL_PHRASES = re.compile(
    r"(?<!\S)("
    r"(T1|T2\*?|PD|ADC|FA|R2\*?|B0|B1|FIELD|CBF|PHASE|ATTENUATION|U|MU) MAPS?"
    r"|PHASE (IMAGES?|IMG)|IMAGES? (DE )?PHASE|SWI PHASE"
    r"|(MAXIMUM|MINIMUM) INTENSITY|(MAX|MIN) IP|FAT (FRACTION|ONLY|IMAGES?)"
    r")(?!\S)"
)
# Words of sequences that make images of water and of fat, as Dixon did.
DIXON_WORDS = word_set("DIXON MDIXON QDIXON FLEX LAVAFLEX IDEAL MRAC")
WATER_WORDS = word_set("W WATER WASSER EAU AGUA ACQUA")
FAT_WORDS = word_set("F FAT FETT GRAISSE GRASA GORDURA GRASSO")
# Words behind FAT that say it was suppressed.
SUPPRESSED_BEGINNINGS = ("SAT", "SUP", "FREE", "SEP", "NULL", "FS")
# Values of VolumeBasedCalculationTechnique that make no slice; MPR does.
PROJECTIONS = word_set("MAX_IP MIN_IP VOLUME_RENDER SURFACE_RENDER CURVED_MPR")
COMPLEX_PARTS = {"PHASE": "P", "REAL": "REAL", "IMAGINARY": "REAL"}


def normalized(text: str) -> str:
    """Return a text in capitals without accents; what is no letter or number becomes a blank."""
    plain = unicodedata.normalize("NFKD", text.upper().replace("Œ", "OE").replace("Æ", "AE"))
    letters = "".join(one for one in plain if not unicodedata.combining(one))
    return re.sub(r"[^A-Z0-9*]+", " ", letters).strip()


def not_of_head(part: str) -> str | None:
    """Return a body part that is not of the head, as the header names it.

    Args:
        part: BodyPartExamined or the meaning of an anatomic code; may be empty.

    Returns:
        The part; None where it is the head, or none is named.
    """
    words = normalized(part).split()
    if says_nothing(part):
        return None
    return None if _shows_head(words) else part.strip()


def says_nothing(part: str) -> bool:
    """Return whether BodyPartExamined is empty, or a word that machines put there instead."""
    return normalized(part) in PLACEHOLDERS | {""}


def other_body_part(*texts: str) -> str | None:
    """Return a body part that descriptions name, where none of them names the head.

    Args:
        *texts: Descriptions of study, series and protocol.

    Returns:
        The word; None where the head is named, or no part at all.
    """
    words = [word for text in texts for word in normalized(text).split()]
    if _shows_head(words):
        return None
    phrases = (phrase for phrase in OTHER_PHRASES if phrase in " ".join(words))
    return next((word for word in words if _is_other(word)), None) or next(phrases, None)


def _shows_head(words: Iterable[str]) -> bool:
    """Return whether words name the head; "femoral head" does not."""
    listed = list(words)
    if any(word.startswith(("FEMOR", "HUMER", "RADIAL", "METAT")) for word in listed):
        return False
    if any(phrase in " ".join(listed) for phrase in HEAD_PHRASES):
        return True
    return any(
        word.startswith(HEAD_BEGINNINGS) or word in HEAD_WORDS or word.endswith(HEAD_ENDS)
        for word in listed
    )


def _is_other(word: str) -> bool:
    return word.startswith(OTHER_BEGINNINGS) or word in OTHER_WORDS


def is_localizer(text: str) -> bool:
    """Return whether a description is that of a localizer."""
    words = normalized(text).split()
    # "T1 3 plane reformat" and a protocol of a "pilot study" are something else.
    if any(word.startswith(("REFORMAT", "MPR", "STUD")) for word in words):
        words = [word for word in words if word not in ("PLANE", "PLANES", "PLANS", "PILOT")]
    pairs = set(pairwise(words))
    return any(
        word.startswith(LOCALIZER_BEGINNINGS) or word in LOCALIZER_WORDS for word in words
    ) or not pairs.isdisjoint(LOCALIZER_PAIRS)


def kind_of_type(values: Iterable[str] | str | None) -> UnsupportedScan | None:
    """Return why ImageType or FrameType sets an image aside.

    Args:
        values: Values of the attribute.

    Returns:
        The refusal; None for a plain image.
    """
    listed = (values,) if isinstance(values, str) else tuple(values or ())
    for number, value in enumerate(listed):
        text = str(value).upper().strip()
        # Values 1 and 2 are of another kind; short codes such as "P" and "R" mean nothing there.
        if number < 2 and text in ("ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY", "MIXED"):
            continue
        kind = _kind_of_value(normalized(text))
        if kind is not None:
            return UnsupportedScan(kind.words, reason=kind.reason)
    return None


def _kind_of_value(text: str) -> Kind | None:
    """Return the kind that a value of ImageType names, in capitals; blanks part its words."""
    if text in _BY_VALUE:
        return _BY_VALUE[text]
    words = text.split()
    named = next((word for word in words if word in MAP_WORDS), None)
    if named is not None:
        return _BY_VALUE[named]
    return _BY_VALUE.get(" ".join(words[:-1]), A_MAP) if words[-1:] == ["MAP"] else None


def complex_part(component: str) -> UnsupportedScan | None:
    """Return why ComplexImageComponent sets an image aside (DICOM PS3.3 C.8.13.3.1.1)."""
    value = COMPLEX_PARTS.get(component.upper().strip())
    if value is None:
        return None
    kind = _BY_VALUE[value]
    return UnsupportedScan(kind.words, reason=kind.reason)


def projection(technique: str) -> UnsupportedScan | None:
    """Return why VolumeBasedCalculationTechnique sets an image aside (DICOM PS3.3 C.8.16.2)."""
    if technique.upper().strip() not in PROJECTIONS:
        return None
    return UnsupportedScan("a projection, not a slice", reason="derived")


def map_by_description(text: str) -> UnsupportedScan | None:
    """Return why the description of a derived image sets it aside; None if it does not."""
    words = normalized(text).split()
    if not any(word in DERIVED_WORDS or word.startswith(DERIVED_BEGINNINGS) for word in words):
        return None
    return UnsupportedScan(
        "a map made from other images, by its description; send the original series",
        reason="derived",
    )


def map_in_original(description: str) -> UnsupportedScan | None:
    """Return why the description of a series sets it aside although ImageType says original.

    Args:
        description: SeriesDescription alone: a protocol's name is shared by all its series.

    Returns:
        The refusal; None where no word names a map, a projection, a phase or an image of fat.
    """
    words = normalized(description).split()
    named = (
        any(word in ORIGINAL_WORDS for word in words)
        or ORIGINAL_PHRASES.search(" ".join(words)) is not None
        or _is_of_fat(words, description)
    )
    if not named:
        return None
    return UnsupportedScan(
        "a map, a projection, a phase or an image of fat alone, by its description, although "
        "ImageType says original; send the series that it was made from",
        reason="derived",
    )


def _is_of_fat(words: Sequence[str], description: str) -> bool:
    """Return whether words name the image of fat that Dixon's method makes, in capitals."""
    if description.upper().lstrip().startswith("FAT:"):
        return True
    # A description that names water too is shared by both images.
    if DIXON_WORDS.isdisjoint(words) or not WATER_WORDS.isdisjoint(words):
        return False
    following = (*words[1:], "")
    return any(
        word in FAT_WORDS and not after.startswith(SUPPRESSED_BEGINNINGS)
        for word, after in zip(words, following, strict=True)
    )
