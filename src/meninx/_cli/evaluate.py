"""Measure a detector, or any other model, on labeled scans: `meninx evaluate MODEL DATA`."""

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


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A detector file, or `meninx` for the shipped one. Of others: a table of scores "
            "(CSV: picture, score), an ONNX file with --classifier, or FILE.py:FUNCTION, a "
            "function that returns the probability of a tumor in a PIL picture.",
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
    classifier: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="What an ONNX file does not say; repeat it. tumor: numbers of the tumor's "
            "outputs, such as 0,1,3. normalize: 0..1, -1..1, 0..255, imagenet, or MEAN,STD. If the "
            "file leaves them open: size, channels. scores of a single output: probability or "
            "logit.",
            show_default=False,
        ),
    ] = None,
    trained_on: Annotated[
        list[Path] | None,
        typer.Option(
            "--trained-on",
            help="Folder, or table with a column `picture`, that a model of others learned from; "
            "repeat it. These pictures and their copies are left out, but not those of --fold.",
            show_default=False,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Probability from which on a model of others says tumor; by default 0.5.",
            show_default=False,
        ),
    ] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Write report.pdf, too.")] = False,
    label: LabelOption = None,
    allow_leaks: AllowLeaksOption = False,
) -> None:
    """Measure a model on pictures that it has not seen.

    Needs the extra `evidence`.

    Pictures that the model was trained, validated or calibrated on are left out, with all that
    share a slice or a patient with them. So are their copies in another size, format or brightness,
    and copies of the training data of its initial weights. Writes metrics.json, predictions.csv,
    report.html, misses.html and plots.
    """
    with needs_extra("evidence"):
        from meninx._assess.evaluate_model import load_model, write_report
        from meninx._assess.evaluation import evaluate as run_evaluation
        from meninx._assess.evaluation_report import check_no_report
        from meninx._assess.figures import PREVALENCES

    for share in prevalence or ():
        if not 0 < share < 1:
            raise OptionError(
                f"--prevalence {share}: expected a share between 0 and 1, such as 0.1"
            )
    settings = _settings(classifier)
    check_folder(output, "--output")
    check_no_report(output)
    manifest = load_manifest(
        data, output, label, allow_leaks=allow_leaks, split_matters=fold is not None
    )
    loaded = load_model(
        model,
        manifest,
        fold=fold,
        classifier=settings,
        trained_on=trained_on or (),
        threshold=threshold,
        workers=usable_cores(),
    )
    with progress_of() as progress:
        result = run_evaluation(
            loaded,
            manifest,
            fold=fold,
            allow_leaks=allow_leaks,
            prevalences=prevalence or PREVALENCES,
            progress=progress,
            workers=usable_cores(),
        )
        write_report(
            result, loaded, str(data), output, file=Path(model), pdf=pdf, progress=progress
        )
    print_evaluation(result, output)


def _settings(options: list[str] | None) -> dict[str, str]:
    """Return the settings of `--classifier KEY=VALUE`."""
    settings = {}
    for option in options or ():
        key, equals, value = option.partition("=")
        if not equals:
            raise OptionError(f"--classifier {option}: expected KEY=VALUE, such as tumor=1")
        settings[key.strip()] = value.strip()
    return settings
