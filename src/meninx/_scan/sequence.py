"""Find the MR sequence (T1, T1c, T2, FLAIR) from header values and descriptions.

`dicom.acquisition` reads the header values of DICOM.
"""

import re
from dataclasses import dataclass

from meninx._scan.scan import Sequence

# Names of series: Siemens writes "tirm" and "dark fluid" for FLAIR, BraTS "t2f".
_FLAIR = re.compile(r"flair|tirm|dark[ _-]?fluid|(?<![a-z0-9])t2f(?![a-z0-9])")
_T1_FLAIR = re.compile(r"t1[ _-]*(w[ _-]*)?flair")
# In English, German, French, Spanish, Portuguese and Italian.
_AGENT = r"(contrast\w*|kontrast\w*|contraste|gd|gad\w*|km|mdc|inj(ect\w*)?|inyec\w*|iniez\w*)"
_WITHOUT = r"(without|w/o|wo|no|non|pre|before|ohne|kein\w*|vor|sans|sin|sem|senza|avant|antes)"
_NO_CONTRAST = re.compile(
    rf"(?<![a-z]){_WITHOUT}[ _-]*(iv[ _-]*)?({_AGENT}(?![a-z])|c(?![a-z]))"
    r"|(?<![a-z])c-(?![a-z0-9])"
)
# A protocol of both kinds of series says nothing of this one.
_OF_BOTH = rf"(?![a-z])([ _-]*(iv[ _-]*)?{_AGENT})?"
_BOTH = re.compile(
    rf"(?<![a-z])w(ith)?[ _]*(/|&|and|or)?[ _]*(w/?o|without){_OF_BOTH}"
    rf"|(?<![a-z])(w/?o|without)[ _]*(/|&|and|or)?[ _]*w(ith)?{_OF_BOTH}"
    rf"|(?<![a-z])(mit|avec|con)[ _]*(/|&|und|et|e|y)[ _]*(ohne|sans|senza|sin){_OF_BOTH}"
    rf"|(?<![a-z])(ohne|sans|senza|sin)[ _]*(/|&|und|et|e|y)[ _]*(mit|avec|con){_OF_BOTH}"
)
# After "post": what is not a contrast agent.
_OTHER_AFTER = (
    r"(?![ _-]*((op|rt|xrt|tx|rad|radiation|partum|ictal)(?![a-z])"
    r"|operat|surg|resec|radioth|treat|therap|chemo|trauma|mort))"
)
_CONTRAST = re.compile(
    r"t1(w)?[-_ ]?(c|ce|gd|km)(?![a-z]|-spine)"
    rf"|t1(w)?[-_ ]?post(?![a-z]){_OTHER_AFTER}"
    rf"|(?<![a-z])post(?![a-z]){_OTHER_AFTER}"
    rf"|(?<![a-z])(post)?({_AGENT}|ce)(?![a-z])"
    r"|(?<![a-z])(dotarem|gadovist|gadavist|magnevist|multihance|prohance|omniscan|primovist|eovist"
    r"|clariscan|elucirem|vueway|pixxoscan|cyclolux|artirem|optimark|vasovist|ablavar)"
    r"|\+ ?c(?![a-z])|(?<![a-z0-9])c ?\+"
)
_T1 = re.compile(r"(?<![a-z0-9])t1(?!rho)|mprage|mp-rage|bravo|spgr")
_T2 = re.compile(r"(?<![a-z0-9])t2(?! ?(\*|star|_star))")
# Whole words for other contrasts: "epi", but not "epilepsy".
_OTHER = re.compile(
    r"(?<![a-z])(dwi|dti|adc|diff(usion)?|swi|bold|ep2d|epi|fmri|perf(usion)?|asl|tof|angio\w*|stir"
    r"|(t1|t2|pd)[ _-]?map(s|ping)?)(?![a-z])|t2 ?\*|t2_?star"
)
# A gradient echo called T2 is T2*: "t2_fl2d_tra_hemo" of Siemens, "AX T2 GRE" of GE, "T2_FFE".
_GRADIENT_ECHO = re.compile(r"(?<![a-z])(gre|ffe|fl[23]d|merge|medic|swan|ha?emo)(?![a-z])")

# Values of ContrastBolusAgent that name no agent.
_NO_AGENT = re.compile(
    r"(no|non|none|not|nil|null|nein|na|n/a|n\.a\.?|without|w/o|wo|kein\w*|ohne|sans|aucun\w*|sin"
    r"|ning\w*|sem|nenhum\w*|senza|nessun\w*|nativ\w*|pre|unenhanced|false|f|n|x+|unknown|unbekannt"
    r"|removed|deleted|redacted|blank|empty|anonym\w*|deident\w*|de-ident\w*)(?![a-z])"
    r"|[0.,]+ *(ml|cc|mmol\w*)?(?![0-9a-z.,])|[^a-z0-9]+$"
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
    if is_other_contrast(text):
        return "unknown"
    sequence = _from_times(acquisition)
    named = sequence_from_text(text)
    if named == "T2" and _is_gradient_echo(acquisition):
        named = "unknown"
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
    if is_other_contrast(text) or is_t1 == is_t2:
        return "unknown"
    if is_t2:
        return "T2"
    return "T1c" if _has_contrast(text) else "T1"


def is_other_contrast(text: str) -> bool:
    """Return whether a text names another contrast, such as diffusion, perfusion or T2*."""
    text = text.lower()
    t2_star = _T2.search(text) and _GRADIENT_ECHO.search(text)
    return bool(_OTHER.search(text) or t2_star) and not _FLAIR.search(text)


def names_agent(value: str) -> bool:
    """Return whether a header's value for the contrast agent says that one was given.

    Args:
        value: ContrastBolusAgent, or the like.

    Returns:
        Whether it names an agent; not for a dose of 0, "none" in any words, or what
        de-identification leaves.
    """
    return bool(value.strip()) and _NO_AGENT.match(value.strip().lower()) is None


def _has_contrast(text: str) -> bool:
    """Return whether a description says that a contrast agent was given."""
    text = _BOTH.sub(" ", text)
    return bool(_CONTRAST.search(text)) and not _NO_CONTRAST.search(text)


def _is_gradient_echo(acquisition: Acquisition) -> bool:
    """Return whether the slices are gradient echoes, whose contrast is never T2 but T2*."""
    return "GR" in acquisition.scanning_sequence and "SE" not in acquisition.scanning_sequence


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
    return _without_inversion(tr, te, gradient_echo=_is_gradient_echo(acquisition))


def _with_inversion(tr: float, te: float, ti: float) -> Sequence:
    """Return the sequence of an inversion recovery according to its times, ms."""
    if ti >= 1500 and tr >= 4000 and te >= 60:
        return "FLAIR"
    return "T1" if 300 <= ti <= 1400 and te <= 30 else "unknown"


def _without_inversion(tr: float, te: float, *, gradient_echo: bool) -> Sequence:
    """Return the sequence of a spin or gradient echo according to its times, ms."""
    if tr >= 2000 and te >= 70 and not gradient_echo:
        return "T2"
    # Spoiled gradient echo: T2* weighting increases with echo time.
    longest_te = 8 if gradient_echo else 30
    return "T1" if tr <= 1000 and te <= longest_te else "unknown"
