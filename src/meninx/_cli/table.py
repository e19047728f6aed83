"""Show findings as a table on a terminal."""

from collections.abc import Iterable, Sequence
from typing import TypeGuard

from rich.table import Table
from rich.text import Text

from meninx._cli.console import one_line, output_console
from meninx._detect.answer_words import (
    EVIDENCE_IN_WORDS,
    NO_OTHER_TYPES,
    answer_in_words,
    measured_on,
    prevalence_in_words,
    scale_in_figures,
    weight_in_words,
    what_would_change_it,
    why_referred,
)
from meninx._detect.decision import Decision
from meninx._detect.findings import Findings, StudyFindings
from meninx._detect.gate import NO_OOD_MODEL
from meninx._detect.study_grouping import LEADING
from meninx._scan.completeness import incomplete_message

# The name of a study is not wrapped on a narrow terminal.
_NAME_WIDTH = len("= study of 10 series")
_STYLES = {"tumor": "bold red", "no_tumor": "green", "refer": "yellow"}
# The findings of a study's series and the study's answer; None for a scan without study.
StudyRows = tuple[Sequence[Findings], StudyFindings | None]


def print_table(studies: Iterable[StudyRows], license_text: str = "") -> None:
    """Print a row per scan, a row per study of several series, and the limits of use.

    Args:
        studies: Findings and answer of each study, in the order of their rows.
        license_text: License of the detector's weights; empty if it is that of the code.
    """
    studies = list(studies)
    table = Table(box=None, pad_edge=False)
    table.add_column("scan", overflow="fold", min_width=_NAME_WIDTH)
    for heading in ("answer", "probability", "borders", "slice", "voxel"):
        table.add_column(heading)
    table.add_column("remark", overflow="fold")
    answers: list[Findings | StudyFindings] = []
    for series, study in studies:
        for found in series:
            table.add_row(*_cells(found))
        answers += series
        if study is not None and _series_count(series) > 1:
            table.add_row(*_study_cells(series, study))
            answers.append(study)
    console = output_console()
    console.print(table)
    for series, study in studies:
        if _has_weights(study):
            _print_weights(series, study)
    for note in _notes(answers):
        console.print(note, style="dim")
    # The name only: `meninx --version` prints the whole text.
    terms = f" The detector's weights: {license_text.partition(':')[0]}." if license_text else ""
    console.print(f"For research, not for diagnosis.{terms}", style="dim")


def _series_count(findings: Iterable[Findings]) -> int:
    """Return the number of series; one that was scored twice counts once."""
    return len({found.scan for found in findings})


def _has_weights(found: Findings | StudyFindings | None) -> TypeGuard[StudyFindings]:
    """Return whether an answer weighs several series."""
    return isinstance(found, StudyFindings) and len(found.weighed) > 1


def _print_weights(series: Sequence[Findings], study: StudyFindings) -> None:
    """Print the weight and the evidence of each series in a study's answer."""
    table = Table(box=None, pad_edge=False)
    table.add_column(f"weighs in the study of {_series_count(series)} series", overflow="fold")
    for heading in ("sequence", "share", "evidence"):
        table.add_column(heading)
    for weight in study.weighed:
        share, evidence = weight_in_words(weight)
        table.add_row(Text(one_line(weight.scan)), weight.sequence, share, evidence)
    output_console().print(table)


def _notes(answers: Sequence[Findings | StudyFindings]) -> Iterable[str]:
    """Yield the explanations of the figures that occur in a table."""
    scored = [found for found in answers if found.probability is not None]
    if any(found.borders is not None for found in scored):
        yield "Borders: no tumor below the first, tumor from the second on, refer between them."
    yield from dict.fromkeys(filter(None, map(prevalence_in_words, scored)))
    if any(map(_has_weights, scored)):
        yield EVIDENCE_IN_WORDS
    yield from dict.fromkeys(filter(None, map(measured_on, scored)))
    yield from dict.fromkeys(filter(None, map(what_would_change_it, scored)))
    if any(isinstance(found, Findings) and found.shown_types for found in scored):
        yield NO_OTHER_TYPES
    if any(isinstance(found, Findings) and NO_OOD_MODEL in found.warnings for found in scored):
        yield f"{NO_OOD_MODEL.text[0].upper()}{NO_OOD_MODEL.text[1:]}."


def _cells(found: Findings) -> list[Text]:
    """Return the row of a scan; file names are never read as markup."""
    if found.decision is None:
        answer = Text(answer_in_words(found), style="yellow")
        remark = "; ".join(filter(None, [found.message, incomplete_message(found.incomplete)]))
        return [Text(one_line(found.scan)), answer, *[Text("")] * 4, Text(one_line(remark))]
    hottest = found.hottest
    likely = max(found.shown_types.items(), key=lambda item: item[1], default=None)
    remarks = [why_referred(found)]
    remarks += [f"if a tumor, {likely[0]} ({likely[1]:.0%})"] if likely else []
    # What holds for every scan is said once, below the table.
    remarks += [warning.text for warning in found.warnings if warning != NO_OOD_MODEL]
    return [
        Text(one_line(found.scan)),
        *_answer_cells(found, found.decision),
        Text(str(hottest.index) if hottest else ""),
        Text(" ".join(map(str, hottest.peak)) if hottest else ""),
        Text(one_line("; ".join(filter(None, remarks)))),
    ]


def _study_cells(series: Sequence[Findings], study: StudyFindings) -> list[Text]:
    """Return the row of a study, which follows those of its series."""
    name = Text(f"= study of {_series_count(series)} series", style="bold")
    if study.decision is None:
        answer = Text(answer_in_words(study), style="yellow")
        remark = "; ".join(
            filter(None, ["no series could be scored", incomplete_message(study.incomplete)])
        )
        return [name, answer, *[Text("")] * 4, Text(remark)]
    counted = {found.sequence for found in series if found.scan in study.series}
    leading = [sequence for sequence in LEADING if sequence in counted]
    remarks = (why_referred(study), f"answered from {', '.join(leading)}")
    return [
        name,
        *_answer_cells(study, study.decision),
        *[Text("")] * 2,
        Text("; ".join(filter(None, remarks))),
    ]


def _answer_cells(found: Findings | StudyFindings, decision: Decision) -> list[Text]:
    probability, borders = scale_in_figures(found)
    return [
        Text(answer_in_words(found), style=_STYLES[decision]),
        Text(probability),
        Text(" | ".join(borders)),
    ]
