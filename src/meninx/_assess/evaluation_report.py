"""Write an evaluation as files: metrics, predictions, plots and pages."""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meninx._assess.cases import Case
from meninx._assess.claim import checklist
from meninx._assess.classifiers import Classifier
from meninx._assess.evaluation import BETWEEN_BORDERS, Evaluation, write_predictions
from meninx._assess.evaluation_plots import draw_plots
from meninx._assess.froc import grown_together
from meninx._assess.occlusion import occlusion_picture, plain_picture
from meninx._assess.offline_page import embedded, embedded_image, render_page
from meninx._assess.shortcuts import CHANCE, best_probe
from meninx._data.progress import Progress, silent
from meninx._detect.decision import NOT_CALIBRATED
from meninx._detect.detector import Detector
from meninx._errors import InputError, OptionError
from meninx._extras import install_command
from meninx._render.result import Result
from meninx._scan.completeness import INCOMPLETE
from meninx._version import __version__

NAMES = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ppv": "PPV, as common as here",
    "npv": "NPV, as common as here",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "mcc": "MCC",
    "brier": "Brier score",
    "calibration_slope": "calibration slope (1 is right)",
    "calibration_intercept": "calibration intercept (0 is right)",
    "ece": "expected calibration error",
}
# Figures of the answers that users get.
DECISIONS = {
    "answered": "answered",
    "sensitivity": "sensitivity of the answered",
    "specificity": "specificity of the answered",
    "referred": "referred",
    "tumors_referred": "tumors referred",
    "tumor_free_referred": "tumor-free referred",
}
# Reasons of a referral in words; every other code is shown as it is.
REFERRALS = {
    BETWEEN_BORDERS: "between the borders, where both answers are plausible",
    INCOMPLETE: "part of the scan is missing",
    NOT_CALIBRATED: "thick sagittal or coronal slices or another contrast, not calibrated",
}
# Figures that do not depend on the operating point.
_OF_ALL_THRESHOLDS = (
    "auroc",
    "average_precision",
    "brier",
    "calibration_slope",
    "calibration_intercept",
    "ece",
)
# Smallest number of independent groups of each class for a verdict.
_MIN_GROUPS = 10
# Heats in the table of lesions; metrics.json has all.
_FROC_HEATS = (0.9, 0.7, 0.5, 0.3, 0.1)
_METRICS = "metrics.json"
_MAX_RIGHT = 12
# Number of wrong answers of each class on the page; predictions.csv lists all cases.
_MAX_MISSES = 300
# Number of cases of each kind with a map by occlusion, which takes a classifier 40 pictures.
_MAX_OCCLUDED = 3
_PICTURE_QUALITY = 80


@dataclass(frozen=True)
class Setting:
    """How an evaluation was made, for the report.

    Args:
        data: The data, as the user named it.
        how: Sentence on how the cases were chosen.
        claim: Answers to items of the checklist, by number.
        curves: Picture file of the training's curves; None where there is none.
        operating_point: Where the operating point comes from, the end of a sentence.
    """

    data: str
    how: str
    claim: Mapping[int, str]
    curves: Path | None = None
    operating_point: str = (
        "comes from the detector file, where it was fixed on validation pictures, not on these "
        "cases."
    )


def check_no_report(output: Path) -> None:
    """Check that a folder holds no evaluation.

    Args:
        output: Output folder; it need not exist.

    Raises:
        OptionError: If it holds one.
    """
    if (output / _METRICS).exists():
        raise OptionError(
            f"{output} holds an evaluation already, which would be overwritten; name another "
            "--output"
        )


def write_evaluation(
    result: Evaluation,
    models: Mapping[str, Detector | Classifier],
    setting: Setting,
    output: Path,
    *,
    pdf: bool = False,
    progress: Progress = silent,
) -> None:
    """Write metrics.json, predictions.csv, plots, misses.html and report.html.

    Args:
        result: Evaluation to write.
        models: Models by the SHA-256 of their files, to draw heat maps.
        setting: How the evaluation was made.
        output: Output folder; made if missing.
        pdf: Whether to write report.pdf, too.
        progress: Called with a step, the amount done, and the total.

    Raises:
        OptionError: If a PDF is wanted and weasyprint can't run.
    """
    output.mkdir(parents=True, exist_ok=True)
    figures = {"data": setting.data, **result.as_json()}
    (output / _METRICS).write_text(
        json.dumps(figures, indent=2, allow_nan=False) + "\n", encoding="utf-8"
    )
    write_predictions(result, output / "predictions.csv")
    plots = draw_plots(result, output / "plots")
    claim = checklist(dict(setting.claim))
    page = render_page(
        "evaluation.html",
        result=result,
        data=setting.data,
        how=setting.how,
        operating_point=setting.operating_point,
        names=NAMES,
        decisions=DECISIONS,
        referrals=referrals_in_words(result),
        of_all=_OF_ALL_THRESHOLDS,
        froc_heats=_FROC_HEATS,
        grown=grown_together(result.froc),
        clusters=len(np.unique(result.answers.cluster)),
        verdict=verdict(result),
        plots=[(embedded(path.with_suffix(".svg")), caption) for path, caption in plots],
        curves=embedded(setting.curves) if setting.curves else None,
        claim=claim,
        open_items=sum(item.is_open for item in claim),
        version=__version__,
    )
    (output / "report.html").write_text(page, encoding="utf-8")
    _write_misses(result, models, output / "misses.html", progress)
    if pdf:
        write_pdf(page, output / "report.pdf")


def referrals_in_words(result: Evaluation) -> str:
    """Return how many cases are referred for which reason; empty if none is."""
    return "; ".join(
        f"{count} {REFERRALS.get(reason, reason)}" for reason, count in result.referred.items()
    )


def verdict(result: Evaluation) -> str:
    """Return a sentence on whether the model is better than the shortcut probes, or why none."""
    if reason := _no_verdict(result):
        return f"No verdict{reason}"
    best, advantage = best_probe(result.probes), result.advantage
    if best is None or advantage is None:
        return "No verdict: from so few cases the shortcut probes learned nothing."
    rival = "the shortcuts, which do not use the brain"
    if best.auroc.value <= CHANCE:
        rival = f"chance ({CHANCE}), which no shortcut probe exceeds"
    if advantage.low > 0:
        return f"The model is better than {rival}: the interval lies above 0."
    if advantage.high < 0:
        return f"The model is worse than {rival}."
    return (
        "The interval of the difference includes 0: these data do not show that the model is "
        f"better than {rival}."
    )


def _no_verdict(result: Evaluation) -> str:
    """Return why the cases allow no verdict; empty if they do."""
    if result.leaking:
        return ": the figures are leaking."
    if not result.copies.known:
        return f". {result.copies.text}"
    answers = result.answers
    groups = [len(np.unique(answers.cluster[side])) for side in (answers.tumor, ~answers.tumor)]
    if min(groups) < _MIN_GROUPS:
        return (
            f": {groups[0]} independent groups with a tumor and {groups[1]} tumor-free are too "
            f"few, expected at least {_MIN_GROUPS} of each."
        )
    return ""


def _write_misses(
    result: Evaluation,
    models: Mapping[str, Detector | Classifier],
    path: Path,
    progress: Progress,
) -> None:
    """Write the page of wrong answers and of the most certain right ones.

    Args:
        result: Evaluation whose cases are shown.
        models: Models by the SHA-256 of their files.
        path: HTML file to write.
        progress: Called with a step, the amount done, and the total.
    """
    missed, false = _by_truth(result.misses)
    found, rejected = _by_truth(result.most_certain)
    sections: list[tuple[str, Sequence[Case]]] = [
        (f"Missed tumors: {len(missed)}", missed[:_MAX_MISSES]),
        (f"False calls: {len(false)}", false[:_MAX_MISSES]),
        ("Tumors found, the most certain", found[:_MAX_RIGHT]),
        ("No tumor, the most certain", rejected[:_MAX_RIGHT]),
    ]
    drawn: list[tuple[str, list[tuple[Case, str | None, str | None]]]] = []
    total = sum(len(cases) for _, cases in sections)
    for heading, cases in sections:
        drawn.append((heading, []))
        for place, case in enumerate(cases):
            drawn[-1][1].append((case, *_picture(case, models, place)))
            progress("drawing heat maps", sum(len(entries) for _, entries in drawn), total)
    page = render_page("misses.html", sections=drawn)
    path.write_text(page, encoding="utf-8")


def _by_truth(cases: Iterable[Case]) -> tuple[list[Case], list[Case]]:
    """Return the cases with a tumor, and those without."""
    tumor: list[Case] = []
    tumor_free: list[Case] = []
    for case in cases:
        (tumor if case.picture.tumor else tumor_free).append(case)
    return tumor, tumor_free


def _picture(
    case: Case, models: Mapping[str, Detector | Classifier], place: int
) -> tuple[str | None, str | None]:
    """Return a case's hottest slice as a `data:` address, and why it has no heat map."""
    model = models[case.findings.model["sha256"]]
    try:
        scan = case.read()
    except InputError:
        return None, None
    if isinstance(model, Detector):
        result = Result(scan, case.findings, model)
        picture, withheld = result.picture.copy(), result.withheld
    elif place < _MAX_OCCLUDED:
        picture, withheld = occlusion_picture(model, case, scan)
    else:
        withheld = f"no heat map: occlusion is for the first {_MAX_OCCLUDED}"
        picture = plain_picture(scan, case.findings, withheld)
    picture.thumbnail((640, 480))
    return embedded_image(picture, _PICTURE_QUALITY), withheld


def write_pdf(page: str, path: Path) -> None:
    """Write a page as PDF.

    Args:
        page: Page as HTML.
        path: PDF file to write.

    Raises:
        OptionError: If weasyprint or the libraries that it needs are missing.
    """
    # In a separate process, because weasyprint makes Pillow accept truncated pictures everywhere.
    done = subprocess.run(
        [sys.executable, "-m", "weasyprint", "-", str(path)],
        input=page.encode(),
        capture_output=True,
        check=False,
    )
    if done.returncode or not path.is_file():
        why = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise OptionError(
            f"--pdf needs weasyprint and Pango: {install_command('evidence')}, and on Debian "
            f"apt install libpango-1.0-0 libpangoft2-1.0-0 ({' '.join(why)})"
        )
