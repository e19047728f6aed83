"""Find the MR sequence (T1, T1c, T2, FLAIR) from header values and descriptions.

`dicom.acquisition` reads the header values of DICOM.
"""

import re
from dataclasses import dataclass

from meninx._scan.header_words import (
    BEFORE_OTHER_CONTRASTS,
    FAINT_CONTRASTS,
    NEVER_FLAIR,
    OTHER_CONTRASTS,
    whole_words,
)
from meninx._scan.relevance import normalized
from meninx._scan.scan import Sequence
from meninx._scan.warning import ScanWarning

# Names of series: Siemens writes "tirm" and "dark fluid" for FLAIR, BraTS "t2f".
_FLAIR = re.compile(r"flair|tirm|dark[ _-]?fluid|(?<![a-z0-9])t2f(?![a-z0-9])")
_T1_FLAIR = re.compile(r"t1[ _-]*(w[ _-]*)?flair")
# In English, German, French, Spanish, Portuguese, Italian and Dutch.
_AGENT = r"(contrast\w*|kontrast\w*|contraste|gd|gad\w*|km|mdc|inj(ect\w*)?|inyec\w*|iniez\w*)"
_WITHOUT = (
    r"(without|w/o|wo|no|non|pre|before|ohne|kein\w*|vor|sans|sin|sem|senza|avant|antes|zonder"
    r"|geen)"
)
_NO_CONTRAST = re.compile(
    rf"(?<![a-z]){_WITHOUT}[ _-]*(iv[ _-]*)?({_AGENT}(?![a-z])|c(?![a-z]))"
    r"|(?<![a-z])c-(?![a-z0-9])"
)
# A protocol of both kinds of series says nothing of this one.
_OF_BOTH = rf"(?![a-z])([ _-]*(iv[ _-]*)?{_AGENT})?"
_AND = "(/|&|und|et|e|y|en)"
_BOTH = re.compile(
    rf"(?<![a-z])w(ith)?[ _]*(/|&|and|or)?[ _]*(w/?o|without){_OF_BOTH}"
    rf"|(?<![a-z])(w/?o|without)[ _]*(/|&|and|or)?[ _]*w(ith)?{_OF_BOTH}"
    rf"|(?<![a-z])(mit|avec|con|com|met)[ _]*{_AND}[ _]*(ohne|sans|senza|sin|sem|zonder){_OF_BOTH}"
    rf"|(?<![a-z])(ohne|sans|senza|sin|sem|zonder)[ _]*{_AND}[ _]*(mit|avec|con|com|met){_OF_BOTH}"
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
# Names of scans are run together, as in "AxDWI", "3DTOF" and "rsfMRI".
_TOGETHER = "(?:[23]D|AX|AXIAL|SAG|COR|TRA|RS|SS|HR)?"
_OTHER = whole_words(OTHER_CONTRASTS, _TOGETHER)
_NEVER_FLAIR = whole_words(NEVER_FLAIR, _TOGETHER)
_FAINT = whole_words(FAINT_CONTRASTS, _TOGETHER)
_BEFORE_OTHER = re.compile(rf"(?<![A-Z])({BEFORE_OTHER_CONTRASTS}) $")
# A gradient echo called T2 is T2*: "t2_fl2d_tra_hemo" of Siemens, "AX T2 GRE" of GE, "T2_FFE".
_GRADIENT_ECHO = re.compile(
    r"(?<![a-z])(gre|ffe|fl[23]d|merge|medic|swan|ha?emo|eg|gradient\w*)(?![a-z])"
)
# An inversion this short cancels the signal of fat (STIR), ms; FLAIR's is above 1500.
_SHORT_INVERSION = 300
# A long repetition with an echo this short is weighted by proton density, ms.
_LONG_REPETITION, _SHORT_ECHO = 1800, 40

# Values of ContrastBolusAgent that name no agent.
_NO_AGENT = re.compile(
    r"(no|non|none|not|nil|null|nein|na|n/a|n\.a\.?|without|w/o|wo|kein\w*|ohne|sans|aucun\w*|sin"
    r"|ning\w*|sem|nenhum\w*|senza|nessun\w*|zonder|geen|nativ\w*|pre|unenhanced|false|f|n|x+|unknown|unbekannt"
    r"|removed|deleted|redacted|blank|empty|anonym\w*|deident\w*|de-ident\w*)(?![a-z])"
    r"|[0.,]+ *(ml|cc|mmol\w*)?(?![0-9a-z.,])|[^a-z0-9]+$"
)
_PROTON_DENSITY = re.compile(r"(?<![a-z])(pd(w|wi)?|dp|proton\w*)(?![a-z])")


@dataclass(frozen=True)
class Acquisition:
    """The header values that determine a sequence; None if not given.

    Args:
        repetition_time: RepetitionTime, ms.
        echo_time: EchoTime, ms.
        inversion_time: InversionTime, ms.
        scanning_sequence: ScanningSequence: SE, IR, GR, EP, RM.
        contrast_agent: Whether ContrastBolusAgent names one.
        text: Descriptions of the series and its pulse sequence, or the name of a file.
        protocol: Name of the protocol, which other series of the exam may share.
        b_value: DiffusionBValue, s/mm2.
    """

    repetition_time: float | None = None
    echo_time: float | None = None
    inversion_time: float | None = None
    scanning_sequence: frozenset[str] = frozenset()
    contrast_agent: bool = False
    text: str = ""
    protocol: str = ""
    b_value: float | None = None

    @property
    def whole_text(self) -> str:
        """All descriptions, in small letters."""
        return f"{self.text} {self.protocol}".lower().strip()


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
    if _other_word(acquisition):
        return "unknown"
    sequence = _from_times(acquisition)
    named = _named(acquisition)
    if sequence == "unknown" or (sequence == "T2" and named == "FLAIR"):
        # Without TI in the header, FLAIR has the times of T2, and only the description differs.
        sequence = named
    if sequence == "T1" and (acquisition.contrast_agent or _has_contrast(acquisition.whole_text)):
        return "T1c"
    return sequence


def other_contrast(acquisition: Acquisition) -> str:
    """Return what says that a contrast is none of T1, T1c, T2 and FLAIR.

    Where headers are only silent, the sequence may be recognized from the slices.

    Args:
        acquisition: Header values; of a file without any, its name as the text.

    Returns:
        The word or the times that say it; empty if nothing does.
    """
    word = _other_word(acquisition)
    if word or sequence_of(acquisition) != "unknown":
        return word
    tr, te = acquisition.repetition_time, acquisition.echo_time
    if tr is not None and te is not None:
        return f"TR {tr:.4g} ms and TE {te:.4g} ms"
    text = acquisition.whole_text
    if _is_gradient_echo(acquisition) and _T2.search(text):
        return "T2, as a gradient echo"
    faint = _FAINT.search(normalized(text))
    return faint[0] if faint and not _names_one(text) else ""


def contrast_warning(acquisition: Acquisition) -> ScanWarning | None:
    """Return a warning if header values or a name describe another contrast.

    Args:
        acquisition: Header values; of a file without any, its name as the text.

    Returns:
        Warning `other_contrast`, or None.
    """
    found = other_contrast(acquisition)
    if not found:
        return None
    return ScanWarning(
        "other_contrast",
        f"it is described as another contrast ({found}) than T1, T1 with contrast agent, T2 and "
        "FLAIR, the only ones that the detector was calibrated on: do not rely on this answer; "
        "score one of those series",
    )


def sequence_from_text(text: str) -> Sequence:
    """Return the sequence named in a description or file name, else `unknown`."""
    text = text.lower()
    is_t1, is_t2 = bool(_T1.search(text)), bool(_T2.search(text))
    if is_other_contrast(text):
        return "unknown"
    if _FLAIR.search(text) and not _T1_FLAIR.search(text):
        return "FLAIR"
    if is_t1 == is_t2:
        return "unknown"
    if is_t2:
        return "T2"
    return "T1c" if _has_contrast(text) else "T1"


def is_other_contrast(text: str) -> bool:
    """Return whether a text names another contrast, such as diffusion, perfusion or T2*."""
    return bool(_other_word_of(text.lower()))


def _other_word(acquisition: Acquisition) -> str:
    """Return what names another contrast whatever the times are; empty if nothing does."""
    if acquisition.b_value:
        return f"a b-value of {acquisition.b_value:.4g}"
    # The series' own words count: GE's ProtocolName is that of the whole exam.
    own = acquisition.text.lower()
    word = _other_word_of(own)
    if not word and not _names_one(own):
        word = _other_word_of(acquisition.whole_text)
    return word or _other_by_times(acquisition)


def _other_by_times(acquisition: Acquisition) -> str:
    """Return another contrast that times and ScanningSequence tell whatever the names are."""
    if _from_times(acquisition) == "T1":
        return ""
    text, inversion_time = acquisition.whole_text, acquisition.inversion_time or 0
    if _FLAIR.search(text):
        return "STIR" if 0 < inversion_time < _SHORT_INVERSION else ""
    if "EP" in acquisition.scanning_sequence:
        return "echo-planar imaging"
    tr, te = acquisition.repetition_time or 0, acquisition.echo_time
    has_short_echo = tr > _LONG_REPETITION and te is not None and te < _SHORT_ECHO
    named = _PROTON_DENSITY.search(text) or (_T2.search(text) and not _T1.search(text))
    return "proton density" if has_short_echo and not inversion_time and named else ""


def _other_word_of(text: str) -> str:
    """Return the word of a text, in small letters, that names another contrast; empty if none."""
    words = normalized(text)
    pattern = _NEVER_FLAIR if _FLAIR.search(text) else _OTHER
    for found in pattern.finditer(words):
        # "T1 post perfusion" and "T1 to DWI" are T1.
        if not _BEFORE_OTHER.search(words[: found.start()]):
            return found[0]
    t2_star = _T2.search(text) and _GRADIENT_ECHO.search(text) and not _FLAIR.search(text)
    return "T2*" if t2_star else ""


def _names_one(text: str) -> bool:
    """Return whether a text, in small letters, names T1, T2 or FLAIR."""
    return bool(_T1.search(text) or _T2.search(text) or _FLAIR.search(text))


def _named(acquisition: Acquisition) -> Sequence:
    """Return the sequence that descriptions name, the series' own first."""
    own = sequence_from_text(acquisition.text)
    named = own if own != "unknown" else sequence_from_text(acquisition.whole_text)
    return "unknown" if named == "T2" and _is_gradient_echo(acquisition) else named


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
