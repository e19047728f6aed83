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
from meninx._assess.evaluation import Evaluation, write_predictions
from meninx._assess.figures import type_scores
from meninx._assess.intervals import bootstrap_weights, share_interval
from meninx._assess.metrics import Floats
from meninx._assess.offline_page import embedded, embedded_image, render_page
from meninx._assess.plots import (
    plot_confusion,
    plot_curve,
    plot_reliability,
    plot_scores,
)
from meninx._detect.detector import Detector
from meninx._detect.model_card import ModelCard
from meninx._errors import InputError, OptionError
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
    """

    data: str
    how: str
    claim: Mapping[int, str]
    curves: Path | None = None


def write_evaluation(
    result: Evaluation,
    detectors: Mapping[str, Detector],
    setting: Setting,
    output: Path,
    *,
    pdf: bool = False,
) -> None:
    """Write metrics.json, predictions.csv, plots, misses.html and report.html.

    Args:
        result: Evaluation to write.
        detectors: Detectors by the SHA-256 of their files, to draw heat maps.
        setting: How the evaluation was made.
        output: Output folder; made if missing.
        pdf: Whether to write report.pdf, too.

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
    _write_misses(result, detectors, output / "misses.html")
    if pdf:
        write_pdf(page, output / "report.pdf")


def verdict(result: Evaluation) -> str:
    """Return a sentence on whether the detector is better than the shortcut probes."""
    advantage = result.advantage
    if result.leaking:
        return "No verdict: the figures are leaking."
    if not result.copies.known:
        return f"No verdict. {result.copies.text}"
    if advantage is None or not np.isfinite(advantage.low):
        return ""
    if advantage.low > 0:
        return "The detector is better than the shortcuts: the interval lies above 0."
    if advantage.high < 0:
        return "The detector is worse than the shortcuts, which do not use the brain."
    return (
        "The interval of the difference includes 0: these data do not show that the detector is "
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
    lines = {f"detector, AUROC {result.figures['auroc']}": (x, y)}
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
    name = f"detector, average precision {result.figures['average_precision'].value:.3f}"
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
        "by the detector": (_THRESHOLDS, metrics.net_benefit(answers, _THRESHOLDS)),
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


def _write_misses(result: Evaluation, detectors: Mapping[str, Detector], path: Path) -> None:
    """Write the page of wrong answers and of the most certain right ones.

    Args:
        result: Evaluation whose cases are shown.
        detectors: Detectors by the SHA-256 of their files.
        path: HTML file to write.
    """
    missed, false = _by_truth(result.misses)
    found, rejected = _by_truth(result.most_certain)
    sections: list[tuple[str, Sequence[Case]]] = [
        (f"Missed tumors: {len(missed)}", missed[:_MAX_MISSES]),
        (f"False calls: {len(false)}", false[:_MAX_MISSES]),
        ("Tumors found, the most certain", found[:_MAX_RIGHT]),
        ("No tumor, the most certain", rejected[:_MAX_RIGHT]),
    ]
    page = render_page(
        "misses.html",
        sections=[
            (heading, [(case, *_picture(case, detectors)) for case in cases])
            for heading, cases in sections
        ],
    )
    path.write_text(page, encoding="utf-8")


def _by_truth(cases: Iterable[Case]) -> tuple[list[Case], list[Case]]:
    """Return the cases with a tumor, and those without."""
    tumor: list[Case] = []
    tumor_free: list[Case] = []
    for case in cases:
        (tumor if case.picture.tumor else tumor_free).append(case)
    return tumor, tumor_free


def _picture(case: Case, detectors: Mapping[str, Detector]) -> tuple[str | None, str | None]:
    """Return a case's hottest slice as a `data:` address, and why it has no heat map."""
    detector = detectors[case.findings.model["sha256"]]
    try:
        scan = case.read()
    except InputError:
        return None, None
    result = Result(scan, case.findings, detector)
    picture = result.picture.copy()
    picture.thumbnail((640, 480))
    return embedded_image(picture, _PICTURE_QUALITY), result.withheld


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
            "--pdf needs weasyprint and Pango: pip install 'meninx[evidence]', and on Debian "
            f"apt install libpango-1.0-0 libpangoft2-1.0-0 ({' '.join(why)})"
        )


def claim_answers(
    result: Evaluation, cards: Sequence[ModelCard], data: str, run: Mapping[str, object] | None
) -> dict[int, str]:
    """Return the answers to the checklist that a program can give.

    Args:
        result: The evaluation.
        cards: Cards of the detectors.
        data: The data, as the user named it.
        run: Contents of the run folder's run.json; None where there is none.

    Returns:
        Answers by item number.
    """
    card = cards[0]
    how = (
        "leaking: cases share slices or patients with training"
        if result.leaking
        else ("no case shares a slice or a known patient with training or validation")
    )
    answers = {
        1: "deep learning: convolutional network, ResNet-18",
        7: f"{data}, {len(result.cases)} cases",
        9: f"crop to the head, {card.preprocessing.size} px, intensities scaled by percentiles",
        12: f"{len(result.unscored)} unreadable or refused scans left out and listed",
        19: "folds that share slices or patients, allowed by the user"
        if result.leaking
        else "folds stratified by label, fixed by content; copies and patients kept together",
        20: how,
        22: f"detector {card.name}; its file holds the whole network",
        26: "chosen by the training run alone, without the cases of this evaluation",
        27: "none",
        28: "see Figures, and the decision curve",
        29: "95 % intervals: Wilson with a design effect, bootstrap over clusters",
        30: "shortcut probe and subgroups, above",
        31: "the heat map is the decision itself: the score is a mean of its cells",
        32: f"{len(result.cases)} cases, {how}",
        35: f"{len(result.cases)} scored, {len(result.unscored)} not, {result.left_out} left out",
        38: "see Figures",
        39: "misses.html holds every miss",
        43: "meninx is open source (Apache-2.0); the detector's SHA-256 is below",
    }
    if run is not None:
        recipe = run.get("recipe")
        packages = run.get("packages")
        network = recipe.get("network", {}) if isinstance(recipe, dict) else {}
        answers[23] = (
            ", ".join(f"{k} {v}" for k, v in packages.items())
            if isinstance(packages, dict)
            else "see run.json"
        )
        answers[24] = str(network.get("initialization", "see run.json"))
        answers[25] = "run.json in the run folder holds the recipe whole"
    return answers
