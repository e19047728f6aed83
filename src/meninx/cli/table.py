"""Show findings as a table on a terminal."""

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from meninx.cli.console import one_line, output_console
from meninx.detect.calibration import Decision
from meninx.detect.findings import Findings, StudyFindings
from meninx.detect.study_grouping import LEADING
from meninx.scan.completeness import INCOMPLETE, incomplete_message

# A study's row is read in one piece on a narrow terminal too.
NAME_WIDTH = len("= study of 10 series")
STYLES = {"tumor": "bold red", "no_tumor": "green", "refer": "yellow"}
WORDS = {
    "tumor": "tumor", "no_tumor": "no tumor", "refer": "refer",
    "refused": "refused", "failed": "not readable",
}  # fmt: skip
# The findings of a study's series and its answer; None where a scan is no study.
StudyRows = tuple[Sequence[Findings], StudyFindings | None]


def print_table(studies: Iterable[StudyRows], license_text: str = "") -> None:
    """Print one row a scan, one a study of several series, and the limits of use.

    Args:
        studies: Findings and answer of each study, in the order of their rows.
        license_text: License of the detector's weights; empty for that of the code.
    """
    table = Table(box=None, pad_edge=False)
    table.add_column("scan", overflow="fold", min_width=NAME_WIDTH)
    for heading in ("answer", "probability", "threshold", "slice", "voxel"):
        table.add_column(heading)
    table.add_column("remark", overflow="fold")
    scans: list[Findings] = []
    answers: list[Findings | StudyFindings] = []
    for series, study in studies:
        for found in series:
            table.add_row(*_cells(found))
        scans += series
        answers += series
        if study is not None and len({found.scan for found in series}) > 1:
            table.add_row(*_study_cells(series, study))
            answers.append(study)
    console = output_console()
    console.print(table)
    for note in (_about_studies(answers), _about_referral(answers), _about_threshold(scans)):
        if note:
            console.print(note, style="dim")
    # Its first words: `meninx --version` says why.
    terms = f" The detector's weights: {license_text.partition(':')[0]}." if license_text else ""
    console.print(f"For research, not for diagnosis.{terms}", style="dim")


def _about_studies(findings: Iterable[Findings | StudyFindings]) -> str:
    """Return what the row of a study is, where there is one."""
    if not any(isinstance(one, StudyFindings) and one.decision is not None for one in findings):
        return ""
    return (
        "A study's row is one answer for all series of an exam, from the sequences named; its "
        "threshold is that of the operating point for studies."
    )


def _about_referral(findings: Iterable[Findings | StudyFindings]) -> str:
    """Return what `refer` means, where something is referred."""
    # Of what came incomplete its own remark says why.
    coverages = {
        found.coverage
        for found in findings
        if found.decision == "refer" and found.reason != INCOMPLETE
    }
    return " ".join(
        f"refer: both answers remain open at a coverage of {coverage:.0%}, which is calibrated on "
        "held-out and simulated scans and may not hold on yours."
        for coverage in coverages
        if coverage is not None
    )


def _about_threshold(findings: Iterable[Findings]) -> str:
    """Return what decides, where an answer differs from what the threshold alone would say."""
    answers = {"tumor": True, "no_tumor": False}
    if all(answers.get(found.decision or "") in (None, found.called) for found in findings):
        return ""
    return (
        "Answers follow from comparison with held-out scans, not from the threshold, which is that "
        "of the operating point; --coverage 0 decides by it."
    )


def _cells(found: Findings) -> list[Text]:
    """Return one row; names from files are never read as markup."""
    if found.decision is None:
        answer = Text(WORDS[found.status], style="yellow")
        remark = "; ".join(filter(None, [found.message, incomplete_message(found.incomplete)]))
        return [Text(one_line(found.scan)), answer, *[Text("")] * 4, Text(one_line(remark))]
    hottest = found.hottest
    likely = max(found.possible_types.items(), key=lambda item: item[1], default=None)
    named = [incomplete_message(found.incomplete)] if found.incomplete else []
    named += [f"if a tumor, {likely[0]} ({likely[1]:.0%})"] if likely else []
    return [
        Text(one_line(found.scan)),
        *_answer_cells(found, found.decision),
        Text(str(hottest.index) if hottest else ""),
        Text(" ".join(map(str, hottest.peak)) if hottest else ""),
        Text(one_line("; ".join([*named, *(warning.text for warning in found.warnings)]))),
    ]


def _study_cells(series: Sequence[Findings], study: StudyFindings) -> list[Text]:
    """Return the row of a study, to stand below those of its series."""
    name = Text(f"= study of {len({found.scan for found in series})} series", style="bold")
    if study.decision is None:
        answer = Text(WORDS[study.status], style="yellow")
        remark = "; ".join(
            filter(None, ["no series could be scored", incomplete_message(study.incomplete)])
        )
        return [name, answer, *[Text("")] * 4, Text(remark)]
    counted = {found.sequence for found in series if found.scan in study.series}
    leading = [sequence for sequence in LEADING if sequence in counted]
    remarks = (incomplete_message(study.incomplete), f"judged by {', '.join(leading)}")
    return [
        name,
        *_answer_cells(study, study.decision),
        *[Text("")] * 2,
        Text("; ".join(filter(None, remarks))),
    ]


def _answer_cells(found: Findings | StudyFindings, decision: Decision) -> list[Text]:
    return [
        Text(WORDS[decision], style=STYLES[decision]),
        Text(f"{found.probability or 0.0:.3f}"),
        Text(f"{found.threshold or 0.0:.3f}"),
    ]
