"""Draw the plots of an evaluation."""

from itertools import compress
from pathlib import Path

import numpy as np

from meninx._assess import metrics
from meninx._assess.evaluation import Evaluation
from meninx._assess.figures import type_scores, typed_of
from meninx._assess.froc import ALL_LESIONS
from meninx._assess.intervals import bootstrap_weights, share_interval
from meninx._assess.metrics import Floats
from meninx._assess.plots import (
    plot_confusion,
    plot_curve,
    plot_reliability,
    plot_scores,
)
from meninx._assess.shortcuts import best_probe

_ROC_GRID = np.linspace(0, 1, 101)
_THRESHOLDS = np.linspace(0.01, 0.99, 99)
_RELIABILITY_BINS = 10
# Heat of the point that a FROC plot shows.
_MIDDLE_HEAT = 0.5


def draw_plots(result: Evaluation, folder: Path) -> list[tuple[Path, str]]:
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
    if result.froc:
        caption = (
            "FROC: share of lesions marked against false marks a scan, by the heat from which on "
            "a voxel is marked"
        )
        _draw_froc(result, add("froc", caption))
    if result.types:
        rows, columns, counts = result.types
        plot_confusion(add("types", "Types of tumor, of cases with a type"), counts, rows, columns)
        _draw_types(result, add("types-roc", "One type against all other cases with a type"))
    return plots


def _draw_roc(result: Evaluation, stem: Path) -> None:
    answers = result.answers
    x, y = metrics.roc_points(answers.tumor, answers.probability)
    lines = {f"model, AUROC {result.figures['auroc']}": (x, y)}
    if best := best_probe(result.probes):
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


def _draw_froc(result: Evaluation, stem: Path) -> None:
    points = result.froc
    # At low heats marks grow together and become fewer: the curve never runs back.
    false_marks = np.maximum.accumulate([point.false_marks.value for point in points])
    # Above the highest heat nothing is marked.
    x = np.array([0.0, *false_marks])
    lines = {
        f"{name}, {count}": (x, np.array([0.0, *(p.sensitivity[name].value for p in points)]))
        for name, count in points[0].lesions.items()
    }
    shares = [point.sensitivity[ALL_LESIONS] for point in points]
    band = (
        false_marks,
        np.array([share.low for share in shares]),
        np.array([share.high for share in shares]),
    )
    middle = next(place for place, point in enumerate(points) if point.heat == _MIDDLE_HEAT)
    plot_curve(
        stem,
        lines,
        ("false marks a scan", "share of lesions marked"),
        band=band,
        point=(float(false_marks[middle]), shares[middle].value),
        point_name=f"heat of {_MIDDLE_HEAT:g}",
    )


def _draw_types(result: Evaluation, stem: Path) -> None:
    typed = compress(result.cases, typed_of(result.cases))
    known = [case for case in typed if case.picture.label != "unknown"]
    labels = np.array([case.picture.label for case in known])
    lines = {
        f"{name}, {figure}": metrics.roc_points(labels == name, type_scores(known, name))
        for name, figure in result.type_auroc.items()
    }
    plot_curve(stem, lines, ("1 - specificity", "sensitivity"), diagonal=True)
