"""Exclude images by the values of ImageType and related attributes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from meninx._errors import UnsupportedScan
from meninx._scan.header_words import word_set
from meninx._scan.relevance import normalized

# Values of VolumeBasedCalculationTechnique other than slices; MPR is a slice.
_PROJECTIONS = word_set("MAX_IP MIN_IP VOLUME_RENDER SURFACE_RENDER CURVED_MPR")
_COMPLEX_PARTS = {"PHASE": "P", "REAL": "REAL", "IMAGINARY": "REAL"}


@dataclass(frozen=True)
class Kind:
    """A kind of image that is no plain slice.

    Args:
        reason: Code of the refusal.
        words: Text for readers.
        values: Values of ImageType or FrameType.
        source: Source of these values.
    """

    reason: str
    words: str
    values: frozenset[str]
    source: str


def _kind(reason: str, words: str, values: str, source: str) -> Kind:
    return Kind(reason, words, frozenset(value.strip() for value in values.split(",")), source)


# By values of ImageType from the third on; the first two only say original or derived, primary or
# secondary. MPR and reformatted images are slices.
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
        "derived",
        "a saved screen, not a slice",
        "SCREEN SAVE, SCREENSAVE, CAPTURE, SECONDARY CAPTURE, SCREENSHOT, SCREEN SHOT,"
        "SCREEN CAPTURE, REPORT, OVERLAY",
        "GE, Philips",
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
        "EXPONENTIAL, ISOTROPIC, FIBER, TRACTOGRAPHY, DIFFUSION ANISO, DIFFUSION ATTNTD,"
        "DIFFUSION ISO, ATTNTD",
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
        "SUBTRACTION, SUBTRACT, SUBTRACTED, SUB, SUBTR, DIFFERENCE, DELTA",
        "DICOM PS3.3 C.7.6.16.2.1; Siemens",
    ),
    _kind(
        "derived",
        "computed from several images, pixel by pixel",
        "DIVISION, DIVIDE, DIV, RATIO, MULTIPLICATION, MULTIPLY, MULT, MUL, MAXIMUM, MAX, MINIMUM,"
        "MIN, MASKED, MASK, QUANTITY, STD DEVIATION, STANDARD DEVIATION, VARIANCE",
        "DICOM PS3.3 C.8.13.3.1 and C.8.16.1.4; Siemens",
    ),
    _kind("derived", "a synthetic image", "SYNTHETIC, SYNTHETIC MR, SYMRI, VIRTUAL", "GE, SyMRI"),
    _kind(
        "derived",
        "a map of a measured quantity",
        "TEMPERATURE, R COEFFICIENT, RHO, SCM, TCS, WATER FRACTION, SEGMENTATION",
        "DICOM PS3.3 C.8.13.3.1 and C.8.13.3.1.1",
    ),
    _kind(
        "derived",
        "a spectroscopic or functional map",
        "SPECTROSCOPY, CSI, STDDEV, STD DEV, TTEST, T TEST, FMRI, BOLD, TMAP, ZSCORE, Z SCORE,"
        "PEARSON, ACTIVATION, CORRELATION",
        "DICOM PS3.3 C.8.13.3.1; Siemens",
    ),
)
_BY_VALUE: Mapping[str, Kind] = {value: kind for kind in KINDS for value in kind.values}
# Values that name a map also as a part of a value, as in "MIP_SUB" and "COLOR FA"; others, such as
# PHASE in IN_PHASE and FLOW in FLOW_COMP, do not.
_MAP_WORDS = frozenset(
    value
    for value, kind in _BY_VALUE.items()
    if kind.words.startswith(("a projection", "a perfusion", "a diffusion", "a difference"))
    and (len(value) > 2 or value == "FA")
    and " " not in value
    and value not in ("EXP", "TRACE", "ISOTROPIC")
)
_A_MAP = Kind("derived", "a map of numbers, not an image", frozenset(), "the word itself")


def kind_of_type(values: Iterable[str] | str | None) -> UnsupportedScan | None:
    """Return why ImageType or FrameType excludes an image.

    Args:
        values: Values of the attribute.

    Returns:
        The refusal; None for a plain image.
    """
    listed = (values,) if isinstance(values, str) else tuple(values or ())
    for number, value in enumerate(listed):
        text = str(value).upper().strip()
        # The first two values have other meanings.
        if number < 2 and text in ("ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY", "MIXED"):
            continue
        kind = _kind_of_value(normalized(text))
        if kind is not None:
            return UnsupportedScan(kind.words, reason=kind.reason)
    return None


def _kind_of_value(text: str) -> Kind | None:
    """Return the kind that a normalized value of ImageType names."""
    if text in _BY_VALUE:
        return _BY_VALUE[text]
    words = text.split()
    named = next((word for word in words if word in _MAP_WORDS), None)
    if named is not None:
        return _BY_VALUE[named]
    return _BY_VALUE.get(" ".join(words[:-1]), _A_MAP) if words[-1:] == ["MAP"] else None


def complex_part(component: str) -> UnsupportedScan | None:
    """Return why ComplexImageComponent excludes an image (DICOM PS3.3 C.8.13.3.1.1)."""
    value = _COMPLEX_PARTS.get(component.upper().strip())
    if value is None:
        return None
    kind = _BY_VALUE[value]
    return UnsupportedScan(kind.words, reason=kind.reason)


def projection(technique: str) -> UnsupportedScan | None:
    """Return why VolumeBasedCalculationTechnique excludes an image (DICOM PS3.3 C.8.16.2)."""
    if technique.upper().strip() not in _PROJECTIONS:
        return None
    return UnsupportedScan("a projection, not a slice", reason="derived")
