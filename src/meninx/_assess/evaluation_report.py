"""Write an evaluation as files: metrics, predictions, plots and pages."""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meninx._assess import metrics
from meninx._assess.cases import Case
from meninx._assess.claim import checklist
from meninx._assess.classifiers import Classifier
from meninx._assess.evaluation import Evaluation, write_predictions
from meninx._assess.figures import type_scores
from meninx._assess.intervals import bootstrap_weights, share_interval
from meninx._assess.metrics import Floats
from meninx._assess.occlusion import occlusion_picture, plain_picture
from meninx._assess.offline_page import embedded, embedded_image, render_page
from meninx._assess.plots import (
    plot_confusion,
    plot_curve,
    plot_reliability,
    plot_scores,
)
from meninx._data.progress import Progress, silent
from meninx._detect.detector import Detector
from meninx._errors import InputError, OptionError
from meninx._extras import install_command
from meninx._render.result import Result
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
# Figures that do not depend on the operating point.
_OF_ALL_THRESHOLDS = (
    "auroc",
    "average_precision",
    "brier",
    "calibration_slope",
    "calibration_intercept",
    "ece",
)
_MAX_RIGHT = 12
# Number of wrong answers of each class on the page; predictions.csv lists all cases.
_MAX_MISSES = 300
# Number of cases of each kind with a map by occlusion, which takes a classifier 40 pictures.
_MAX_OCCLUDED = 3
_PICTURE_QUALITY = 80
_ROC_GRID = np.linspace(0, 1, 101)
_THRESHOLDS = np.linspace(0.01, 0.99, 99)
_RELIABILITY_BINS = 10


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
    (output / "metrics.json").write_text(
        json.dumps(figures, indent=2, allow_nan=False) + "\n", encoding="utf-8"
    )
    write_predictions(result, output / "predictions.csv")
    plots = _draw_plots(result, output / "plots")
    claim = checklist(dict(setting.claim))
    page = render_page(
        "evaluation.html",
        result=result,
        data=setting.data,
        how=setting.how,
        operating_point=setting.operating_point,
        names=NAMES,
        decisions=DECISIONS,
        of_all=_OF_ALL_THRESHOLDS,
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


def verdict(result: Evaluation) -> str:
    """Return a sentence on whether the model is better than the shortcut probes."""
    advantage = result.advantage
    if result.leaking:
        return "No verdict: the figures are leaking."
    if not result.copies.known:
        return f"No verdict. {result.copies.text}"
    if advantage is None or not np.isfinite(advantage.low):
        return ""
    if advantage.low > 0:
        return "The model is better than the shortcuts: the interval lies above 0."
    if advantage.high < 0:
        return "The model is worse than the shortcuts, which do not use the brain."
    return (
        "The interval of the difference includes 0: these data do not show that the model is "
        "better than the shortcuts, which do not use the brain."
    )


def _draw_plots(result: Evaluation, folder: Path) -> list[tuple[Path, str]]:
    """Draw all plots as PNG and SVG.

    Args:
        result: Evaluation whose answers are plotted.
        folder: Output folder; made if missing.

    Returns:
        Path without a suffix and caption of each plot.
    """
    folder.mkdir(parents=True, exist_ok=True)
    answers, plots = result.answers, []

    def add(name: str, caption: str) -> Path:
        plots.append((folder / name, caption))
        return folder / name

    both = bool(answers.tumor.any() and not answers.tumor.all())
    if both:
        _draw_roc(result, add("roc", "ROC curve, with the best shortcut probe"))
        _draw_precision_recall(result, add("precision-recall", "Precision and recall"))
        _draw_decision(
            result,
            add(
                "decision-curve",
                "Decision curve: net benefit of acting on a "
                "probability, against acting on all or none",
            ),
        )
    plot_confusion(
        add("confusion", "Confusion matrix at the operating point"),
        result.confusion,
        ("no tumor", "tumor"),
        ("no tumor", "tumor"),
    )
    _draw_reliability(
        result,
        add("reliability", "Reliability: share of tumors by probability, with the number of cases"),
    )
    groups = {
        "no tumor": answers.probability[~answers.tumor],
        "tumor": answers.probability[answers.tumor],
    }
    plot_scores(add("scores", "Distribution of the scores"), groups, result.thresholds)
    if result.referral:
        caption = "Referral: wrong answers among those given, and share referred, by coverage"
        _draw_referral(result, add("referral", caption))
    if result.types:
        rows, columns, counts = result.types
        plot_confusion(add("types", "Types of tumor"), counts, rows, columns)
        _draw_types(result, add("types-roc", "One type against all other cases"))
    return plots


def _draw_roc(result: Evaluation, stem: Path) -> None:
    answers = result.answers
    x, y = metrics.roc_points(answers.tumor, answers.probability)
    lines = {f"model, AUROC {result.figures['auroc']}": (x, y)}
    if result.probes:
        best = max(result.probes, key=lambda probe: probe.auroc.value)
        lines[f"probe ({best.name}), {best.auroc.value:.3f}"] = metrics.roc_points(
            answers.tumor, best.probability
        )
    curves = []
    for weights in bootstrap_weights(answers.cluster, 200):
        sample = np.repeat(np.arange(len(answers)), weights.astype(int))
        tumor = answers.tumor[sample]
        if tumor.any() and not tumor.all():
            curves.append(
                np.interp(_ROC_GRID, *metrics.roc_points(tumor, answers.probability[sample]))
            )
    band = None
    if curves:
        low, high = np.percentile(curves, (2.5, 97.5), axis=0)
        band = (_ROC_GRID, low, high)
    point = (1 - result.figures["specificity"].value, result.figures["sensitivity"].value)
    plot_curve(
        stem, lines, ("1 - specificity", "sensitivity"), diagonal=True, band=band, point=point
    )


def _draw_precision_recall(result: Evaluation, stem: Path) -> None:
    answers = result.answers
    recall, precision = metrics.precision_recall_points(answers.tumor, answers.probability)
    name = f"model, average precision {result.figures['average_precision'].value:.3f}"
    plot_curve(
        stem,
        {name: (recall, precision)},
        ("recall (sensitivity)", "precision (PPV)"),
        level=float(answers.tumor.mean()),
        point=(result.figures["sensitivity"].value, result.figures["ppv"].value),
    )


def _draw_decision(result: Evaluation, stem: Path) -> None:
    answers, share = result.answers, float(result.answers.tumor.mean())
    everyone = share - (1 - share) * _THRESHOLDS / (1 - _THRESHOLDS)
    lines: dict[str, tuple[Floats, Floats]] = {
        "by the model": (_THRESHOLDS, metrics.net_benefit(answers, _THRESHOLDS)),
        "act on all": (_THRESHOLDS, everyone),
        "act on none": (_THRESHOLDS, np.zeros_like(_THRESHOLDS)),
    }
    plot_curve(
        stem,
        lines,
        ("probability at which one would act", "net benefit"),
        limits=(-0.1 * share, 1.1 * share),
    )


def _draw_reliability(result: Evaluation, stem: Path) -> None:
    answers = result.answers
    bins = np.minimum((answers.probability * _RELIABILITY_BINS).astype(int), _RELIABILITY_BINS - 1)
    rows = []
    for index in np.unique(bins):
        member = bins == index
        figure = share_interval(answers.tumor[member], answers.cluster[member])
        mean = float(answers.probability[member].mean())
        rows.append((mean, figure.value, figure.low, figure.high, float(member.sum())))
    plot_reliability(stem, *(np.array(column) for column in zip(*rows, strict=True)))


def _draw_referral(result: Evaluation, stem: Path) -> None:
    points = result.referral
    coverage = np.array([point.coverage for point in points])
    risks = [point.risk for point in points]
    lines = {
        "wrong, of those answered": (coverage, np.array([risk.value for risk in risks])),
        "referred": (coverage, np.array([point.referred.value for point in points])),
        "tumors answered no tumor": (
            coverage,
            np.array([1 - point.tumors_kept.value for point in points]),
        ),
        "promised at most": (coverage, 1 - coverage),
    }
    band = (coverage, np.array([risk.low for risk in risks]), np.array([r.high for r in risks]))
    plot_curve(stem, lines, ("coverage asked for", "share"), band=band)


def _draw_types(result: Evaluation, stem: Path) -> None:
    labels = np.array([case.picture.label for case in result.cases])
    known = labels != "unknown"
    lines = {}
    for name, figure in result.type_auroc.items():
        score = type_scores(result.cases, name)[known]
        lines[f"{name}, {figure}"] = metrics.roc_points(labels[known] == name, score)
    plot_curve(stem, lines, ("1 - specificity", "sensitivity"), diagonal=True)


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
