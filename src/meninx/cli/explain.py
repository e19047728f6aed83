"""Draw what a finding rests on: `meninx explain PATH... --output DIR`."""

from pathlib import Path
from typing import Annotated

import typer

from meninx.cli.predict import (
    SOME_NOT_SCORED,
    PathsArgument,
    check_paths,
    save_picture,
    with_progress,
)
from meninx.errors import OptionError


def explain(
    paths: PathsArgument,
    output: Annotated[Path, typer.Option(help="Folder for one picture a scan.")] = Path(
        "explanations"
    ),
    model: Annotated[
        Path | None,
        typer.Option(help="Detector file to use instead of the shipped one.", show_default=False),
    ] = None,
) -> None:
    """Draw the hottest slice with its heat map, contour and scale, and the scores of all slices.

    A heat map is checked first: where no place stands out, or filling in the hottest place does not
    lower the score, it is not drawn, and the picture says so. For research, not for diagnosis.
    """
    from meninx.detect.detector import load_detector
    from meninx.detect.drawing import explanation_sheet

    check_paths(paths)
    detector = load_detector(model)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"--output {output}: can't be written: {error}") from error
    some_not_scored = False
    for scan, findings in with_progress(detector, paths):
        if scan is None or findings.status != "scored":
            some_not_scored = True
            typer.echo(f"{findings.scan}: {findings.status}: {findings.message}", err=True)
            continue
        check = detector.check_map(scan, findings)
        sheet = explanation_sheet(
            scan, findings, detector.card.preprocessing.size, shown=check.passed
        )
        path = save_picture(sheet, findings, output)
        said = "" if check.passed else ", no heat map: it failed its check"
        typer.echo(
            f"{path}: stands out by {check.contrast:.2f}, the score hangs on it by "
            f"{check.drop:.1f}{said}"
        )
    if some_not_scored:
        raise typer.Exit(SOME_NOT_SCORED)
