"""Measure a detector on labeled scans: `meninx evaluate MODEL DATA`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from meninx._cli.evaluation_table import print_evaluation
from meninx._cli.extras import needs_extra
from meninx._cli.labeled_data import load_manifest
from meninx._cli.options import AllowLeaksOption, DataArgument, LabelOption
from meninx._cli.progress import progress_of
from meninx._cli.writable import check_folder
from meninx._errors import OptionError
from meninx._processes import usable_cores

SHIPPED = "meninx"


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help=f"A detector file, or `{SHIPPED}` for the shipped one."
        ),
    ],
    data: DataArgument,
    output: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("evaluation"),
    fold: Annotated[
        int | None,
        typer.Option(help="Fold to evaluate on; by default all.", show_default=False),
    ] = None,
    prevalence: Annotated[
        list[float] | None,
        typer.Option(
            help="Prevalence of tumors for PPV and NPV; repeat it for each. By default 0.01, 0.1 "
            "and 0.5.",
            show_default=False,
        ),
    ] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Write report.pdf, too.")] = False,
    label: LabelOption = None,
    allow_leaks: AllowLeaksOption = False,
) -> None:
    """Measure a detector on pictures that it was not fitted on; needs the extra `evidence`.

    Pictures that the detector was trained, validated or calibrated on are left out, with all that
    share a slice or a patient with them. So are their copies in another size, format or brightness,
    and copies of the training data of its initial weights. Writes metrics.json, predictions.csv,
    report.html, misses.html and plots.
    """
    with needs_extra("evidence"):
        from meninx._assess.evaluation import evaluate as run_evaluation
        from meninx._assess.evaluation_report import Setting, claim_answers, write_evaluation
        from meninx._assess.figures import PREVALENCES
    from meninx._detect.loading import load_detector

    for share in prevalence or ():
        if not 0 < share < 1:
            raise OptionError(
                f"--prevalence {share}: expected a share between 0 and 1, such as 0.1"
            )
    check_folder(output, "--output")
    detector = load_detector(None if model == SHIPPED else model, threads=1)
    manifest = load_manifest(
        data, output, label, allow_leaks=allow_leaks, split_matters=fold is not None
    )
    with progress_of() as progress:
        result = run_evaluation(
            detector,
            manifest,
            fold=fold,
            allow_leaks=allow_leaks,
            prevalences=prevalence or PREVALENCES,
            progress=progress,
            workers=usable_cores(),
        )
    how = "The detector's file describes what it learned from."
    if not result.copies.known:
        how = result.copies.text
    run_file, curves = (Path(model).parent / name for name in ("run.json", "curves.svg"))
    run = json.loads(run_file.read_text(encoding="utf-8")) if run_file.is_file() else None
    claim = claim_answers(result, [detector.card], str(data), run)
    setting = Setting(str(data), how, claim, curves if curves.is_file() else None)
    write_evaluation(result, {detector.model["sha256"]: detector}, setting, output, pdf=pdf)
    print_evaluation(result, output)
