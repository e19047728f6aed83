"""Find the MR sequence (T1, T1c, T2, FLAIR) from header values and descriptions.

`dicom.acquisition` reads the header values of DICOM.
"""

import re
from dataclasses import dataclass

from meninx._scan.scan import Sequence

# Names of series: Siemens writes "tirm" and "dark fluid" for FLAIR, BraTS "t2f".
_FLAIR = re.compile(r"flair|tirm|dark[ _-]?fluid|(?<![a-z0-9])t2f(?![a-z0-9])")
_T1_FLAIR = re.compile(r"t1[ _-]*(w[ _-]*)?flair")
_NO_CONTRAST = re.compile(
    r"(without|w/o|wo|no|non|pre|ohne|sans)[ _-]*(iv[ _-]*)?(contrast|gd|gad\w*|km|c(?![a-z]))"
)
_CONTRAST = re.compile(
    r"t1(w)?[-_ ]?(c|ce|gd|km|post)(?![a-z])"
    r"|(?<![a-z])(gd|gad|gado\w*|post|km|ce|contrast)(?![a-z])"
    r"|\+ ?c(?![a-z])"
)
_T1 = re.compile(r"(?<![a-z0-9])t1(?!rho)|mprage|mp-rage|bravo|spgr")
_T2 = re.compile(r"(?<![a-z0-9])t2(?! ?(\*|star|_star))")
# Whole words for other contrasts: "epi", but not "epilepsy".
_OTHER = re.compile(
    r"(?<![a-z])(dwi|dti|adc|diff(usion)?|swi|bold|ep2d|epi|fmri|perf(usion)?|asl|tof|angio\w*|stir"
    r"|(t1|t2|pd)[ _-]?map(s|ping)?)(?![a-z])|t2 ?\*|t2_?star"
)

_PROTON_DENSITY = re.compile(r"(?<![a-z])(pd(w|wi)?|proton)(?![a-z])")


@dataclass(frozen=True)
class Acquisition:
    """The header values that determine a sequence; None if not given.

    Args:
        repetition_time: RepetitionTime, ms.
        echo_time: EchoTime, ms.
        inversion_time: InversionTime, ms.
        scanning_sequence: ScanningSequence: SE, IR, GR, EP, RM.
        contrast_agent: Whether ContrastBolusAgent names one.
        text: Descriptions of series, protocol and sequence.
    """

    repetition_time: float | None = None
    echo_time: float | None = None
    inversion_time: float | None = None
    scanning_sequence: frozenset[str] = frozenset()
    contrast_agent: bool = False
    text: str = ""


def sequence_of(acquisition: Acquisition) -> Sequence:
    """Return the sequence according to times, else according to the description.

    Args:
        acquisition: Header values.

    Returns:
        The sequence; `unknown` if neither determines it, and for other contrasts such as diffusion,
        T2* and angiography.

    References:
        Bernstein, King, Zhou 2004, Handbook of MRI Pulse Sequences: T1 weighting at TR below about
        1 s and short TE, T2 at TR over 2 s and TE over 70 ms, FLAIR at TI of about 1.7 to 2.8 s.
    """
    text = acquisition.text.lower()
    if _OTHER.search(text) and not _FLAIR.search(text):
        return "unknown"
    sequence = _from_times(acquisition)
    named = sequence_from_text(text)
    if sequence == "unknown" or (sequence == "T2" and named == "FLAIR"):
        # Without TI in the header, FLAIR has the times of T2, and only the description differs.
        sequence = named
    if sequence == "T1" and (acquisition.contrast_agent or _has_contrast(text)):
        return "T1c"
    return sequence


def describes_other_contrast(acquisition: Acquisition) -> bool:
    """Return whether header values describe a contrast other than T1, T1c, T2 and FLAIR.

    Where they are only silent, the sequence may be recognized from the slices.

    Args:
        acquisition: Header values; of a file without any, its name as the text.

    Returns:
        Whether another contrast is named, or times are given that fit none of the four.
    """
    if sequence_of(acquisition) != "unknown":
        return False
    text = acquisition.text.lower()
    timed = None not in (acquisition.repetition_time, acquisition.echo_time)
    return timed or is_other_contrast(text) or _PROTON_DENSITY.search(text) is not None


def sequence_from_text(text: str) -> Sequence:
    """Return the sequence named in a description or file name, else `unknown`."""
    text = text.lower()
    is_t1, is_t2 = bool(_T1.search(text)), bool(_T2.search(text))
    if _FLAIR.search(text) and not _T1_FLAIR.search(text):
        return "FLAIR"
    if _OTHER.search(text) or is_t1 == is_t2:
        return "unknown"
    if is_t2:
        return "T2"
    return "T1c" if _has_contrast(text) else "T1"


def is_other_contrast(text: str) -> bool:
    """Return whether a text names another contrast, such as diffusion, perfusion or T2*."""
    text = text.lower()
    return _OTHER.search(text) is not None and not _FLAIR.search(text)


def _has_contrast(text: str) -> bool:
    """Return whether a description says that a contrast agent was given."""
    return bool(_CONTRAST.search(text)) and not _NO_CONTRAST.search(text)


def _from_times(acquisition: Acquisition) -> Sequence:
    """Return the sequence according to TR, TE and TI alone."""
    tr, te, ti = (
        acquisition.repetition_time,
        acquisition.echo_time,
        acquisition.inversion_time,
    )
    if tr is None or te is None or "EP" in acquisition.scanning_sequence:
        return "unknown"
    if ti:
        return _with_inversion(tr, te, ti)
    if "IR" in acquisition.scanning_sequence:
        return "unknown"
    return _without_inversion(tr, te, gradient_echo="GR" in acquisition.scanning_sequence)


def _with_inversion(tr: float, te: float, ti: float) -> Sequence:
    """Return the sequence of an inversion recovery according to its times, ms."""
    if ti >= 1500 and tr >= 4000 and te >= 60:
        return "FLAIR"
    return "T1" if 300 <= ti <= 1400 and te <= 30 else "unknown"


def _without_inversion(tr: float, te: float, *, gradient_echo: bool) -> Sequence:
    """Return the sequence of a spin or gradient echo according to its times, ms."""
    if tr >= 2000 and te >= 70:
        return "T2"
    # Spoiled gradient echo: T2* weighting increases with echo time.
    longest_te = 8 if gradient_echo else 30
    return "T1" if tr <= 1000 and te <= longest_te else "unknown"
