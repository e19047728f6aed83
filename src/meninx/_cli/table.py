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
    hottest_in_words,
    measured_on,
    prevalence_in_words,
    scale_in_figures,
    weight_in_words,
    what_would_change_it,
    why_referred,
)
from meninx._detect.findings import Findings, StudyFindings
from meninx._detect.gate import NO_OOD_MODEL
from meninx._detect.study_grouping import LEADING
from meninx._scan.completeness import incomplete_message

# The name of a study is not wrapped on a narrow terminal.
_NAME_WIDTH = len("= study of 10 series")
_HEADINGS = ("answer", "probability", "borders", "slice", "voxel from 0")
_STYLES = {"tumor": "bold red", "no_tumor": "green", "refer": "yellow"}
# The findings of a study's series and the study's answer; None for a scan without study.
StudyRows = tuple[Sequence[Findings], StudyFindings | None]


def print_table(studies: Iterable[StudyRows], license_text: str = "") -> None:
    """Print a row per scan, a row per study of several series, remarks, and the limits of use.

    Args:
        studies: Findings and answer of each study, in the order of their rows.
        license_text: License of the detector's weights; empty if it is that of the code.
    """
    studies = list(studies)
    table = Table(box=None, pad_edge=False)
    table.add_column("scan", overflow="fold", min_width=_NAME_WIDTH)
    for heading in _HEADINGS:
        table.add_column(heading)
    answers: list[Findings | StudyFindings] = []
    # Below the table, where a long one does not make every row wide.
    remarks: list[Text] = []
    for series, study in studies:
        for found in series:
            table.add_row(*_cells(found))
            remarks += _remark(found.scan, _remarks(found))
        answers += series
        if study is not None and _series_count(series) > 1:
            table.add_row(*_study_cells(series, study))
            name = f"study of {_series_count(series)} series, from {series[0].scan} on"
            remarks += _remark(name, _study_remarks(series, study))
            answers.append(study)
    console = output_console()
    console.print(table)
    for remark in remarks:
        console.print(remark)
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


def _remark(name: str, remarks: Iterable[str]) -> list[Text]:
    """Return the line of what is remarked on a row; file names are never read as markup."""
    text = "; ".join(filter(None, remarks))
    return [Text(one_line(f"{name}: {text}"))] if text else []


def _remarks(found: Findings) -> Iterable[str]:
    """Yield why a scan has no answer or is referred, its type, and its warnings."""
    if found.decision is None:
        yield found.message or ""
        yield incomplete_message(found.incomplete)
    else:
        yield why_referred(found)
    if found.shown_types:
        likely, share = max(found.shown_types.items(), key=lambda item: item[1])
        yield f"if a tumor, {likely} ({share:.0%})"
    # What holds for every scan is said once, below the table.
    yield from (warning.text for warning in found.warnings if warning != NO_OOD_MODEL)


def _study_remarks(series: Sequence[Findings], study: StudyFindings) -> Iterable[str]:
    """Yield why a study has no answer or is referred, and what it was answered from."""
    if study.decision is None:
        yield "no series could be scored"
        yield incomplete_message(study.incomplete)
        yield from (warning.text for warning in study.warnings)
        return
    counted = {found.sequence for found in series if found.scan in study.series}
    yield why_referred(study)
    yield f"answered from {', '.join(sequence for sequence in LEADING if sequence in counted)}"
    yield from (warning.text for warning in study.warnings)


def _cells(found: Findings) -> list[Text]:
    """Return the row of a scan; file names are never read as markup."""
    peak = " ".join(map(str, found.hottest.peak)) if found.hottest else ""
    return [
        Text(one_line(found.scan)),
        *_answer_cells(found),
        Text(hottest_in_words(found)),
        Text(peak),
    ]


def _study_cells(series: Sequence[Findings], study: StudyFindings) -> list[Text]:
    """Return the row of a study, which follows those of its series."""
    name = Text(f"= study of {_series_count(series)} series", style="bold")
    return [name, *_answer_cells(study), *[Text("")] * 2]


def _answer_cells(found: Findings | StudyFindings) -> list[Text]:
    probability, borders = scale_in_figures(found)
    return [
        Text(answer_in_words(found), style=_STYLES.get(found.decision or "", "yellow")),
        Text(probability),
        Text(" | ".join(borders)),
    ]
