"""Score the files of one study, for the node and the web application."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from meninx._detect.detector import Detector
from meninx._detect.findings import Findings, StudyFindings
from meninx._render.result import Result
from meninx._scan.geometry import Spacing
from meninx._scoring.loop import score_path, write_all
from meninx._scoring.writers import Writer


@dataclass(frozen=True, eq=False)
class ScoredStudy:
    """The findings of a study's files.

    Args:
        findings: Findings of each scan, named `series N`: file names may identify the patient.
        answer: Answer from all series, with the same names.
    """

    findings: tuple[Findings, ...]
    answer: StudyFindings


class _Scores:
    """A writer that collects the scores of all slices, without their maps."""

    def __init__(self) -> None:
        self.findings: list[Findings] = []

    def write(self, result: Result) -> None:
        self.findings.append(result.findings.without_maps())


def score_study(
    detector: Detector,
    files: Path,
    writers: Sequence[Writer],
    spacing_mm: Spacing | None = None,
) -> ScoredStudy:
    """Score the scans of one study and write their results.

    Args:
        detector: Detector of the scores.
        files: Folder of the study's files.
        writers: Writers of each scan's result.
        spacing_mm: Voxel size of volumes whose files lack it, see `read_scans`.

    Returns:
        The findings, without heat maps.
    """
    scores = _Scores()
    found = list(write_all(score_path(detector, files, spacing_mm=spacing_mm), [*writers, scores]))
    answer = detector.score_study(found, "")
    names = {findings.scan: f"series {number}" for number, findings in enumerate(found, 1)}
    return ScoredStudy(
        tuple(
            replace(findings, scan=f"series {number}")
            for number, findings in enumerate(scores.findings, 1)
        ),
        replace(
            answer,
            series=tuple(names[scan] for scan in answer.series),
            weighed=tuple(replace(weight, scan=names[weight.scan]) for weight in answer.weighed),
        ),
    )
