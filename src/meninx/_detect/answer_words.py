"""Words for an answer, shared by tables, pages, reports and DICOM objects."""

from meninx._detect.calibration import Reference
from meninx._detect.decision import fewest_references, highest_coverage
from meninx._detect.findings import (
    ALL_DECIMALS,
    Findings,
    SeriesWeight,
    StudyFindings,
    decimals_of,
)
from meninx._scan.completeness import INCOMPLETE

ANSWERS = {
    "tumor": "tumor",
    "no_tumor": "no tumor",
    "refer": "refer",
    "refused": "refused",
    "failed": "not readable",
}
# Decimals of a displayed probability, unless more are needed to distinguish it from a border.
_SHOWN_DECIMALS = 3
# Fewest held-out scans of a kind whose borders are certain: of fewer, one high score moves one.
_FEW = 60
NO_OTHER_TYPES = (
    "Types are shares among these three alone, if there is a tumor: the detector knows no other, "
    "so a metastasis would also be called one of them."
)
# Code of the warning of `_scan/plausibility.py` that distances were estimated.
_GEOMETRY_DOUBTFUL = "geometry_doubtful"


def answer_in_words(findings: Findings | StudyFindings) -> str:
    """Return the answer, or the status if there is none."""
    return ANSWERS[findings.decision or findings.status]


def scale_in_figures(findings: Findings | StudyFindings) -> tuple[str, tuple[str, ...]]:
    """Return probability and borders as displayed, rounded to the same decimals.

    Args:
        findings: Findings of a scan or a study.

    Returns:
        The probability, empty if nothing was scored; and the two borders, none if no border
        decides.
    """
    if findings.probability is None:
        return "", ()
    if findings.borders is None:
        return f"{findings.probability:.{_SHOWN_DECIMALS}f}", ()
    count = decimals_of(findings.probability, findings.borders, _SHOWN_DECIMALS)
    return _figure(findings.probability, count), tuple(
        _figure(border, count) for border in findings.borders
    )


def _figure(value: float, decimals: int) -> str:
    return repr(value) if decimals == ALL_DECIMALS else f"{value:.{decimals}f}"


def borders_in_words(findings: Findings | StudyFindings) -> str:
    """Return the answer on each side of the borders; empty if no border decides."""
    _, borders = scale_in_figures(findings)
    if not borders:
        return ""
    below, start = borders
    between = "" if below == start else "refer, "
    return f"no tumor below {below}, {between}tumor from {start}"


def slice_in_words(index: int, count: int) -> str:
    """Return a slice as people count them, from 1, such as `19 of 24`; files count from 0."""
    return f"{index + 1} of {count}"


def hottest_in_words(findings: Findings) -> str:
    """Return the hottest slice of a volume as people count them; empty if there is none."""
    if findings.hottest is None or not findings.is_volume:
        return ""
    return slice_in_words(findings.hottest.index, findings.slice_count)


def prevalence_in_words(findings: Findings | StudyFindings) -> str:
    """Return the prevalence that a probability refers to; empty if it is not calibrated."""
    if findings.borders is None:
        return ""
    return f"Probability of a tumor, calibrated at a prevalence of {100 * findings.prevalence:g} %."


def why_referred(findings: Findings | StudyFindings) -> str:
    """Return why a scan or study is referred; empty if it is not.

    Args:
        findings: Findings of a scan or a study.

    Returns:
        The reason, without a full stop.
    """
    if findings.decision != "refer":
        return ""
    if findings.message:
        return findings.message
    shares = {name: f"{100 * p:.0f} %" for name, p in findings.p_values.items()}
    return f"scores like {shares['no_tumor']} of tumor-free scans and {shares['tumor']} of tumors"


def measured_on(findings: Findings | StudyFindings) -> str:
    """Return the held-out scans that the answer was compared with; empty if there are none.

    Args:
        findings: Findings of a scan or a study.

    Returns:
        One to four sentences.
    """
    reference = findings.reference
    if reference is None or findings.decision is None:
        return ""
    words = f"Compared with {_reference_in_words(reference)}, none of them used in training."
    fewest = min(reference.tumor, reference.tumor_free)
    if never := never_answered(reference, findings.coverage):
        words += f" {never}"
    elif fewest < _FEW:
        words += f" {fewest} of a kind are few: the borders are uncertain."
    doubtful = isinstance(findings, Findings) and any(
        warning.code == _GEOMETRY_DOUBTFUL for warning in findings.warnings
    )
    if doubtful:
        recognized = findings.recognized if isinstance(findings, Findings) else None
        plane = recognized.plane if recognized else None
        looks = f"it looks {plane}" if plane else "its plane is unknown"
        words += f" Its distances were estimated and {looks}: it has the scale of axial series."
    return words


def never_answered(reference: Reference | None, coverage: float | None) -> str:
    """Return which answers are never given because too few held-out scans can exclude the other.

    Args:
        reference: The held-out scans that answers are compared with; None if there are none.
        coverage: Coverage that determines the borders, 0..1; None if the operating point does.

    Returns:
        Two sentences; empty if both answers can be given.
    """
    if reference is None or coverage is None:
        return ""
    needed = fewest_references(coverage)
    never = [
        answer
        for answer, count in (("tumor", reference.tumor_free), ("no tumor", reference.tumor))
        if count < needed
    ]
    if not never:
        return ""
    what = "All scans are referred" if len(never) == 2 else f"The answer is never {never[0]}"
    highest = highest_coverage(min(reference.tumor, reference.tumor_free))
    return (
        f"{what}: to exclude an answer at a coverage of {100 * coverage:g} % takes {needed} "
        f"held-out scans of its class, found {reference.tumor} with a tumor and "
        f"{reference.tumor_free} tumor-free. The highest coverage at which these can exclude both "
        f"is {highest:g}."
    )


def _reference_in_words(reference: Reference) -> str:
    """Return kind and numbers of held-out scans."""
    words = (
        f"{reference.tumor} {reference.scans} with a tumor and {reference.tumor_free} tumor-free"
    )
    if not reference.borrowed:
        return words
    count = "all" if reference.borrowed == reference.tumor_free else str(reference.borrowed)
    return f"{words} ({count} of these simulated from people scanned in other sequences)"


def what_would_change_it(findings: Findings | StudyFindings) -> str:
    """Return what may turn a referral into an answer; empty if nothing is referred."""
    if findings.decision != "refer":
        return ""
    # What is missing of a study may be calibrated; a series stays what it is.
    if findings.reason == INCOMPLETE and (
        isinstance(findings, StudyFindings) or findings.calibrated
    ):
        return "Score it again once it is complete."
    if findings.reason is not None:
        return "An axial T1, T2 or FLAIR series of the same exam can be answered."
    if isinstance(findings, Findings) and not findings.is_volume:
        return "A whole series gives more evidence than a picture."
    return "Scoring more series of the same exam together, above all FLAIR, gives more evidence."


def weight_in_words(weight: SeriesWeight) -> tuple[str, str]:
    """Return the share of a series in the answer of its study, and its evidence."""
    side = "for a tumor" if weight.evidence > 0 else "against a tumor"
    return f"{100 * weight.share:.0f} %", f"{abs(weight.evidence):.1f} {side}"


EVIDENCE_IN_WORDS = (
    "A study's answer is the mean of its series' evidence, weighted by their shares. Evidence is "
    "the distance of a series' score above (for a tumor) or below (against one) the best threshold."
)
