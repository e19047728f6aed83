"""Find the MR sequence (T1, T1c, T2, FLAIR) from header values and descriptions.

`dicom.acquisition` reads the header values of DICOM.
"""

import re
from dataclasses import dataclass

from meninx._scan.contrast_agent import has_contrast
from meninx._scan.header_words import (
    BEFORE_OTHER_CONTRASTS,
    DOUBLE_INVERSION,
    FAINT_CONTRASTS,
    FAINTEST_CONTRASTS,
    GROUPS_OF_CONTRASTS,
    NEVER_FLAIR,
    OTHER_CONTRASTS,
    PURPOSES_OF_CONTRASTS,
    WORDS_OF_EXAMS,
    whole_words,
)
from meninx._scan.relevance import normalized
from meninx._scan.scan import Sequence
from meninx._scan.warning import ScanWarning

# Names of series: Siemens writes "tirm" and "dark fluid" for FLAIR, BraTS "t2f"; FLUID_ATTENUATED
# is a value of AcquisitionContrast.
_FLAIR = re.compile(
    r"flair|tirm|dark[ _-]?fluid|fluid[ _-]?attenuated|(?<![a-z0-9])t2f(?![a-z0-9])"
)
_T1_FLAIR = re.compile(r"t1[ _-]*(w[ _-]*)?flair")
# Philips writes a letter before them: "sT1W_3D_TFE".
_START = "(?<![a-z0-9])(?:[des](?=t[12]w))?"
_T1 = re.compile(rf"{_START}t1(?!rho)|mprage|mp-rage|bravo|spgr")
_T2 = re.compile(rf"{_START}t2(?! ?(\*|star|_star))")
# Names of scans are run together, as in "AxDWI", "3DTOF" and "rsfMRI".
_TOGETHER = "(?:[234]D|AX|AXIAL|SAG|COR|TRA|RS|SS|HR)?"
_OTHER = whole_words(OTHER_CONTRASTS, _TOGETHER)
_NEVER_FLAIR = whole_words(NEVER_FLAIR, _TOGETHER)
_PURPOSE = whole_words(PURPOSES_OF_CONTRASTS, _TOGETHER)
_FAINT = whole_words(FAINT_CONTRASTS, _TOGETHER)
_FAINTEST = whole_words(FAINTEST_CONTRASTS, _TOGETHER)
_DOUBLE_INVERSION = whole_words(DOUBLE_INVERSION, _TOGETHER)
_GROUPS = tuple(whole_words(group, _TOGETHER) for group in GROUPS_OF_CONTRASTS)
_WORD_OF_EXAM = whole_words(WORDS_OF_EXAMS)
# Epilepsy at the end of a description, before Siemens' SequenceName: "t2_tse_cor_epi".
_TURBO, _SEQUENCE_NAME = re.compile("TSE|MPRAGE"), re.compile(r"( \*?(TFL|TSE|TIR|SPC)\S*\d.*)?")
_BEFORE_OTHER = re.compile(rf"(?<![A-Z])({BEFORE_OTHER_CONTRASTS}) $")
# After the name of a study: the word study, person or case, and the sequence of a file, as in
# "DTI_study_007_T1.nii.gz". Images of diffusion and perfusion of one person are also called T2.
_OF_STUDY = re.compile(
    r" (?:.* )?(?:(?:STUD(?:Y|IE)|SUB(?:J(?:ECT)?)?|PAT(?:IENT)?|CASE)\d* (?:.* )?"
    r"(?:T1(?:[WCN]|CE|GD)?|FLAIR|MPRAGE)|STUD(?:Y|IE)\d* (?:.* )?T2[WF]?)(?: [A-Z]{2,4}){0,2}"
)
# A gradient echo called T2 is T2*: "t2_fl2d_tra_hemo" of Siemens, "AX T2 GRE" of GE, "T2_FFE".
_GRADIENT_ECHO = re.compile(
    r"(?<![a-z])(gre|ffe|fl[23]d|merge|medic|swan|ha?emo|eg|gradient\w*)(?![a-z])"
)
# An inversion this short cancels the signal of fat (STIR), ms; FLAIR's is above 1300. That of a
# gradient echo below the second value only suppresses fat.
_SHORT_INVERSION, _PREPARATION = 300, 100
# A long repetition with a spin echo this short is weighted by proton density, ms. Shorter echoes
# are those of gradient echoes.
_LONG_REPETITION, _SHORT_ECHO, _SHORTEST_SPIN_ECHO = 1800, 40, 5
# Echoes this short show bone (UTE, ZTE), and this long only fluids (myelography), ms.
_ULTRASHORT_ECHO, _ECHO_OF_FLUIDS = 0.5, 600
# A gradient echo this long is weighted by T2*, ms.
_T2_STAR_ECHO = 15
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
    return "T1c" if sequence == "T1" and _is_enhanced(acquisition) else sequence


def other_contrast(acquisition: Acquisition) -> str:
    """Return what says that a contrast is none of T1, T1c, T2 and FLAIR.

    Where headers are only silent, or times only near those of the four, the sequence may be
    recognized from the slices.

    Args:
        acquisition: Header values; of a file without any, its name as the text.

    Returns:
        The word or the times that say it; empty if nothing does.
    """
    word = _other_word(acquisition)
    if word or sequence_of(acquisition) != "unknown":
        return word
    text = acquisition.whole_text
    if _is_gradient_echo(acquisition) and _T2.search(text):
        return "T2, as a gradient echo"
    if not _names_one(text):
        faint = _FAINT.search(normalized(text)) or _FAINTEST.search(normalized(text))
        if faint:
            return faint[0]
    return _foreign_times(acquisition)


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
    if is_other_contrast(text):
        return "unknown"
    named = _weighting(text.lower())
    return "T1c" if named == "T1" and has_contrast(text) else named


def is_other_contrast(text: str) -> bool:
    """Return whether a text names another contrast, such as diffusion, perfusion or T2*."""
    return bool(_other_word_of(text.lower()))


def _weighting(text: str) -> Sequence:
    """Return T1, T2 or FLAIR as a text, in small letters, names it; else `unknown`."""
    if _FLAIR.search(text) and not _T1_FLAIR.search(text):
        return "FLAIR"
    is_t1, is_t2 = bool(_T1.search(text)), bool(_T2.search(text))
    if is_t1 == is_t2:
        return "unknown"
    return "T2" if is_t2 else "T1"


def _other_word(acquisition: Acquisition) -> str:
    """Return what names another contrast whatever the times are; empty if nothing does."""
    if acquisition.b_value:
        return f"a b-value of {acquisition.b_value:.4g}"
    own, times = acquisition.text.lower(), _from_times(acquisition)
    word = _other_word_of(own, agreed=_agree(_weighting(own), times))
    if not word and not _names_one(own):
        word = _faint_word(acquisition)
        # GE's ProtocolName is that of the whole exam: the series' own words and times come first.
        if not word and (times == "unknown" or not _is_of_exam(acquisition.protocol)):
            text = acquisition.whole_text
            word = _other_word_of(text, agreed=_agree(_weighting(text), times))
    return word or _other_by_times(acquisition)


def _faint_word(acquisition: Acquisition) -> str:
    """Return the series' own word that counts where nothing names T1, T2 or FLAIR; else empty."""
    words = normalized(acquisition.text)
    inverted = acquisition.inversion_time or "IR" in acquisition.scanning_sequence
    found = _FAINT.search(words) or (_DOUBLE_INVERSION.search(words) if inverted else None)
    return found[0] if found else ""


def _is_of_exam(protocol: str) -> bool:
    """Return whether a protocol's name is that of an exam, as "BRAIN W/WO" and "DWI SWI PERF"."""
    words, text = normalized(protocol), protocol.lower()
    weightings = (pattern.search(text) for pattern in (_T1, _T2, _FLAIR))
    contrasts = (pattern.search(words) for pattern in _GROUPS)
    return bool(_WORD_OF_EXAM.search(words)) or sum(map(bool, (*weightings, *contrasts))) > 1


def _agree(named: Sequence, times: Sequence) -> bool:
    """Return whether a name and times are of one sequence; FLAIR without TI has those of T2."""
    return named != "unknown" and (named == times or (named == "FLAIR" and times == "T2"))


def _other_by_times(acquisition: Acquisition) -> str:
    """Return another contrast that times and ScanningSequence tell whatever the names are."""
    echo_time = acquisition.echo_time
    if echo_time and not _ULTRASHORT_ECHO <= echo_time < _ECHO_OF_FLUIDS:
        return f"TE {echo_time:.4g} ms"
    if _from_times(acquisition) == "T1":
        return ""
    text = acquisition.whole_text
    if _is_stir(acquisition):
        return "STIR"
    if _FLAIR.search(text):
        return ""
    if "EP" in acquisition.scanning_sequence:
        return "echo-planar imaging"
    named = _PROTON_DENSITY.search(text) or (_T2.search(text) and not _T1.search(text))
    return "proton density" if named and _has_times_of_density(acquisition) else ""


def _is_stir(acquisition: Acquisition) -> bool:
    """Return whether a short inversion cancels fat, where neither T1 nor a gradient echo is."""
    text, inversion_time = acquisition.whole_text, acquisition.inversion_time or 0
    if not 0 < inversion_time < _SHORT_INVERSION or "GR" in acquisition.scanning_sequence:
        return False
    if "IR" not in acquisition.scanning_sequence and not _FLAIR.search(text):
        return False
    return not _T1.search(text)


def _has_times_of_density(acquisition: Acquisition) -> bool:
    """Return whether TR is long and TE short, without an inversion."""
    tr, te = acquisition.repetition_time, acquisition.echo_time
    inverted = acquisition.inversion_time or "IR" in acquisition.scanning_sequence
    if tr is None or te is None or inverted:
        return False
    return tr > _LONG_REPETITION and te < _SHORT_ECHO


def _foreign_times(acquisition: Acquisition) -> str:
    """Return the times, of a series that nothing names, if they are far from all four."""
    tr, te = acquisition.repetition_time, acquisition.echo_time
    if tr is None or te is None:
        return ""
    if "GR" in acquisition.scanning_sequence:
        foreign = te >= _T2_STAR_ECHO
    else:
        foreign = te >= _SHORTEST_SPIN_ECHO and _has_times_of_density(acquisition)
    return f"TR {tr:.4g} ms and TE {te:.4g} ms" if foreign else ""


def _other_word_of(text: str, *, agreed: bool = False) -> str:
    """Return the word of a text that names another contrast; empty if none.

    Args:
        text: A description or a file name, in small letters.
        agreed: Whether it also names a sequence that the times confirm.

    Returns:
        The word, or T2*.
    """
    words = normalized(text)
    pattern = _NEVER_FLAIR if _FLAIR.search(text) else _OTHER
    for found in pattern.finditer(words):
        before, after = words[: found.start()], words[found.end() :]
        # "T1 post perfusion" and "T1 to DWI" are T1.
        is_aside = _BEFORE_OTHER.search(before) or (agreed and _is_purpose(found))
        if not is_aside and (before or not _OF_STUDY.fullmatch(after)):
            return found[0]
    t2_star = _T2.search(text) and _GRADIENT_ECHO.search(text) and not _FLAIR.search(text)
    return "T2*" if t2_star and not agreed else ""


def _is_purpose(found: re.Match[str]) -> bool:
    """Return whether a word found beside a sequence is what the series was acquired for."""
    before, after = found.string[: found.start()], found.string[found.end() :]
    if found[0] == "EPI":
        return bool(_TURBO.search(before) and _SEQUENCE_NAME.fullmatch(after))
    if found[0].endswith(("MRA", "MRV")):
        return _weighting(before.lower()) in ("T1", "FLAIR")
    return bool(_PURPOSE.fullmatch(found[0]))


def _names_one(text: str) -> bool:
    """Return whether a text, in small letters, names T1, T2 or FLAIR."""
    return bool(_T1.search(text) or _T2.search(text) or _FLAIR.search(text))


def _named(acquisition: Acquisition) -> Sequence:
    """Return the weighting that descriptions name, the series' own first."""
    own = _weighting(acquisition.text.lower())
    named = own if own != "unknown" else _weighting(acquisition.whole_text)
    return "unknown" if named == "T2" and _is_gradient_echo(acquisition) else named


def _is_enhanced(acquisition: Acquisition) -> bool:
    """Return whether headers or descriptions say that a contrast agent was given."""
    if acquisition.contrast_agent:
        return True
    own, protocol = acquisition.text.lower(), acquisition.protocol.lower()
    # "MRI BRAIN WITH CONTRAST" is the exam's, also beside a series without agent.
    of_exam = own and not _names_one(protocol) and (_names_one(own) or _is_of_exam(protocol))
    return has_contrast(own if of_exam else acquisition.whole_text)


def _is_gradient_echo(acquisition: Acquisition) -> bool:
    """Return whether the slices are gradient echoes, whose contrast is never T2 but T2*."""
    return "GR" in acquisition.scanning_sequence and "SE" not in acquisition.scanning_sequence


def _from_times(acquisition: Acquisition) -> Sequence:
    """Return the sequence according to TR, TE and TI; an agent makes longer TR those of T1."""
    tr, te = acquisition.repetition_time, acquisition.echo_time
    if tr is None or te is None or "EP" in acquisition.scanning_sequence:
        return "unknown"
    gradient_echo = _is_gradient_echo(acquisition)
    ti = acquisition.inversion_time or 0
    if ti and not (gradient_echo and ti < _PREPARATION):
        return _with_inversion(tr, te, ti)
    if "IR" in acquisition.scanning_sequence:
        # MPRAGE and the uniform image of MP2RAGE, of two inversions.
        return "T1" if gradient_echo and te <= 8 else "unknown"
    if gradient_echo:
        # Spoiled gradient echo: T2* weighting increases with echo time.
        return "T1" if tr <= 1000 and te <= 8 else "unknown"
    return _of_spin_echo(tr, te, enhanced=_is_enhanced_spin_echo(acquisition))


def _is_enhanced_spin_echo(acquisition: Acquisition) -> bool:
    """Return whether an agent was given in a spin echo that nothing describes as T2 or another."""
    text = acquisition.whole_text
    words = normalized(text)
    is_other = _T2.search(text) or _FAINT.search(words) or _FAINTEST.search(words)
    if is_other or _weighting(text) == "FLAIR":
        return False
    return acquisition.scanning_sequence == {"SE"} and _is_enhanced(acquisition)


def _with_inversion(tr: float, te: float, ti: float) -> Sequence:
    """Return the sequence of an inversion recovery according to its times, ms.

    At low fields and short TR the signal of fluids is cancelled by TI of 1.3 s; at 7 T, MPRAGE has
    TI up to 1.6 s.
    """
    if ti >= 1300 and tr >= 3500 and te >= 60:
        return "FLAIR"
    return "T1" if 300 <= ti <= 1600 and te <= 30 else "unknown"


def _of_spin_echo(tr: float, te: float, *, enhanced: bool) -> Sequence:
    """Return the sequence of a spin echo according to its times, ms.

    TR of single shots (HASTE, SSFSE) is the time between slices, and may be 1 s.
    """
    if (tr >= 1000 and te >= 70) or (tr >= 3000 and te >= 60):
        return "T2"
    longest = (1600, 40) if enhanced else (1000, 30)
    return "T1" if tr <= longest[0] and te <= longest[1] else "unknown"
