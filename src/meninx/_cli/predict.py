"""Find tumors in scans: `meninx predict PATH...`."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meninx._cli.options import (
    ModelOption,
    PathsArgument,
    PrecisionOption,
    SpacingOption,
    parse_spacing,
)
from meninx._cli.output import (
    SOME_NOT_SCORED,
    DicomFolder,
    all_answered,
    distinct_paths,
    findings_file,
    score_studies,
)
from meninx._cli.progress import with_progress
from meninx._cli.start import no_collection
from meninx._detect.calibrator import PREVALENCE, OperatingPoint
from meninx._detect.decision import DEFAULT_COVERAGE
from meninx._detect.precision import DEFAULT_PRECISION
from meninx._errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meninx._cli.table import StudyRows
    from meninx._scoring.writers import JsonLines, Writer


def predict(
    paths: PathsArgument,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON object a line instead of a table.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Write findings.jsonl and a picture of each scored scan here: its hottest slice, "
            "with the heat map unless that fails its check."
        ),
    ] = None,
    with_studies: Annotated[
        bool,
        typer.Option(
            "--studies",
            help="With --json, and in findings.jsonl, write a line for each study after those of "
            "all scans: one answer from all its series. The table has it anyway. DICOM series of "
            "one StudyInstanceUID are a study, and so are NIfTI files of one folder whose names "
            "differ in the sequence only (sub-01_T1w, sub-01_FLAIR).",
        ),
    ] = False,
    dicom_out: Annotated[
        Path | None,
        typer.Option(
            help="Write DICOM objects of each finding here, for a PACS: a structured report, a "
            "segmentation of the heat map's region and a picture. For scans that are DICOM."
        ),
    ] = None,
    model: ModelOption = None,
    operating_point: Annotated[
        OperatingPoint,
        typer.Option(
            help="Decision threshold without a coverage: balanced, at the best Youden index; "
            "sensitive, at 95 % sensitivity on held-out tumors; specific, at 95 % specificity on "
            "held-out tumor-free scans."
        ),
    ] = "balanced",
    coverage: Annotated[
        float,
        typer.Option(
            help="Share of tumors, and of tumor-free scans, whose correct answer is not excluded, "
            "above 0 and below 1; scans without an excluded answer are referred. It holds for "
            "scans like those of the calibration. 0 refers nothing.",
        ),
    ] = DEFAULT_COVERAGE,
    prevalence: Annotated[
        float,
        typer.Option(
            help="Prevalence of tumors for which the probability is stated, above 0 and below 1. "
            "The borders change with it: no answer depends on it.",
        ),
    ] = PREVALENCE,
    spacing: SpacingOption = None,
    precision: PrecisionOption = DEFAULT_PRECISION,
) -> None:
    """Find tumors in scans, and show where.

    Exit status: 0 if every scan was scored, 1 if some were refused, incomplete or unreadable, 2 for
    wrong usage. For research, not for diagnosis.
    """
    paths = distinct_paths(paths)
    share = _parse_coverage(coverage)
    with no_collection():
        from meninx._detect.loading import load_detector
        from meninx._scoring.loop import write_all
        from meninx._scoring.writers import JsonLines, Pictures

        size = parse_spacing(spacing)
        detector = load_detector(
            model,
            operating_point=operating_point,
            coverage=share,
            precision=precision,
            prevalence=prevalence,
        )
    lines = [JsonLines(typer.echo)] if as_json else []
    folders: list[Writer] = []
    objects = DicomFolder(dicom_out) if dicom_out else None
    with ExitStack() as opened:
        if output is not None:
            lines.append(opened.enter_context(findings_file(output)))
            folders.append(Pictures(output))
        if objects is not None:
            folders.append(objects)
        found = list(write_all(with_progress(detector, paths, size), [*lines, *folders]))
        studies = score_studies(detector, found)
        if with_studies:
            _write_answers(studies, lines)
    if not as_json:
        from meninx._cli.table import print_table

        print_table(studies, detector.card.license)
    if objects is not None:
        typer.echo(objects.summary, err=True)
    if not all_answered(found) or (objects is not None and not objects.complete):
        raise typer.Exit(SOME_NOT_SCORED)


def _parse_coverage(option: float) -> float | None:
    """Return the coverage of `--coverage`; None for 0, which refers nothing."""
    if not 0 <= option < 1:
        raise OptionError(f"--coverage {option:g}: expected 0, or a share below 1 such as 0.95")
    return option or None


def _write_answers(studies: "Iterable[StudyRows]", files: "Iterable[JsonLines]") -> None:
    """Write the answer of each study."""
    for _, study in studies:
        if study is not None:
            for file in files:
                file.write_study(study)
