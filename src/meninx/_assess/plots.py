"""Draw plots in colors for all kinds of color vision, as PNG and SVG."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

# Okabe and Ito 2008: distinct in all kinds of color vision; lines differ in dashes as well.
BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"
PINK, SKY, RED = "#CC79A7", "#56B4E9", "#D55E00"
_STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.fonttype": "none",
    # A fixed salt makes the files reproducible.
    "svg.hashsalt": "meninx",
}
_DPI = 150
Series = NDArray[np.floating]


@contextmanager
def drawing(stem: Path, size: tuple[float, float] = (5.0, 4.2), columns: int = 1) -> Iterator[Any]:
    """Draw a figure and write it as PNG and SVG.

    Args:
        stem: Path of the files to write, without a suffix.
        size: Width and height, inches.
        columns: Number of panels side by side.

    Yields:
        The axes, one or an array of them.
    """
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure.subplots(1, columns)
        figure.savefig(stem.with_suffix(".png"), dpi=_DPI, metadata={"Software": None})
        figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})


def plot_training(rows: Sequence[Mapping[str, str]], stem: Path) -> None:
    """Draw loss, accuracy and learning rate over the epochs.

    Args:
        rows: Rows of epochs.csv.
        stem: Path of the files to write, without a suffix.
    """
    if not rows:
        return
    epochs = np.array([int(row["epoch"]) + 1 for row in rows])
    with drawing(stem, (12, 3.6), 3) as (loss, accuracy, rate):
        for axes, name, label in ((loss, "loss", "loss"), (accuracy, "accuracy", "accuracy")):
            for side, color, dash in (("train", BLUE, "-"), ("val", RED, "--")):
                key = f"{side}/{name}"
                if key in rows[0]:
                    values = [float(row[key]) for row in rows]
                    words = {"train": "training", "val": "validation"}[side]
                    axes.plot(epochs, values, dash, color=color, label=words)
            axes.set(xlabel="epoch", ylabel=label)
            axes.legend()
        if "val/score" in rows[0]:
            best = max(rows, key=lambda row: float(row["val/score"]))
            for axes in (loss, accuracy):
                axes.axvline(int(best["epoch"]) + 1, color="#888888", linewidth=0.8, zorder=0)
            loss.set_title("gray line: the epoch chosen", fontsize=9, loc="left")
        rate.plot(epochs, [float(row["learning_rate"]) for row in rows], color=GREEN)
        rate.set(xlabel="epoch", ylabel="learning rate", ylim=(0, None))


def plot_curve(
    stem: Path,
    lines: Mapping[str, tuple[Series, Series]],
    labels: tuple[str, str],
    *,
    diagonal: bool = False,
    band: tuple[Series, Series, Series] | None = None,
    point: tuple[float, float] | None = None,
    point_name: str = "operating point",
    level: float | None = None,
    limits: tuple[float, float] | None = (-0.02, 1.02),
) -> None:
    """Draw lines over one pair of axes.

    Args:
        stem: Path of the files to write, without a suffix.
        lines: x and y of each line by its name.
        labels: Labels of the x and y axis.
        diagonal: Whether to draw the diagonal, labeled as chance.
        band: x, lower and upper end of the first line's interval; None to draw none.
        point: x and y of a point on the first line; None to draw none.
        point_name: Name of that point.
        level: y of a horizontal line, labeled as chance; None to draw none.
        limits: Limits of the y axis; None to fit them to the values.
    """
    colors = (BLUE, RED, GREEN, PINK, ORANGE, SKY)
    dashes = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))
    with drawing(stem) as axes:
        if band is not None:
            axes.fill_between(*band, color=SKY, alpha=0.3, linewidth=0, label="95 % interval")
        for (name, (x, y)), color, dash in zip(lines.items(), colors, dashes, strict=False):
            axes.plot(x, y, linestyle=dash, color=color, label=name)
        if diagonal:
            axes.plot((0, 1), (0, 1), color="#888888", linewidth=0.8, label="chance")
        if level is not None:
            axes.axhline(level, color="#888888", linewidth=0.8, label="chance")
        if point is not None:
            axes.plot(*point, "o", color="black", label=point_name)
        axes.set(xlabel=labels[0], ylabel=labels[1])
        if limits is not None:
            axes.set(ylim=limits)
        axes.legend(fontsize=9)


def plot_confusion(
    stem: Path, counts: NDArray[np.integer], rows: Sequence[str], columns: Sequence[str]
) -> None:
    """Draw a confusion matrix with its counts and each row's shares.

    Args:
        stem: Path of the files to write, without a suffix.
        counts: Number of cases, shape (truths, answers).
        rows: Names of the truths.
        columns: Names of the answers.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with drawing(stem, (1.6 + 1.1 * len(columns), 1.2 + 0.85 * len(rows))) as axes:
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for (row, column), count in np.ndenumerate(counts):
            dark = shares[row, column] > 0.55
            axes.text(
                column,
                row,
                f"{count}\n{shares[row, column]:.0%}",
                ha="center",
                va="center",
                color="white" if dark else "black",
            )
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(rows)), rows)
        axes.set(xlabel="answer", ylabel="truth")
        axes.grid(visible=False)


def plot_reliability(
    stem: Path, predicted: Series, observed: Series, low: Series, high: Series, counts: Series
) -> None:
    """Draw a reliability diagram: share of tumors against predicted probability.

    Args:
        stem: Path of the files to write, without a suffix.
        predicted: Mean probability of each bin, shape (n,).
        observed: Share of tumors, shape (n,).
        low: Lower ends of its 95 % intervals, shape (n,).
        high: Upper ends of its 95 % intervals, shape (n,).
        counts: Number of pictures in each bin, shape (n,).
    """
    with drawing(stem) as axes:
        axes.plot((0, 1), (0, 1), color="#888888", linewidth=0.8, label="perfect calibration")
        reach = np.clip(np.stack([observed - low, high - observed]), 0, None)
        axes.errorbar(
            predicted,
            observed,
            yerr=reach,
            fmt="o",
            color=BLUE,
            capsize=3,
            label="observed, 95 % interval",
        )
        for x, y, count in zip(predicted, observed, counts, strict=True):
            axes.annotate(f"{count:.0f}", (x, y), (5, -11), textcoords="offset points", fontsize=8)
        axes.set(
            xlabel="probability of a tumor",
            ylabel="share of tumors",
            xlim=(-0.02, 1.02),
            ylim=(-0.02, 1.02),
        )
        axes.legend(fontsize=9)


def plot_scores(stem: Path, groups: Mapping[str, Series], thresholds: Sequence[float]) -> None:
    """Draw a histogram of the probabilities of each class.

    Args:
        stem: Path of the files to write, without a suffix.
        groups: Probabilities, 0..1, by the name of the class.
        thresholds: Decision threshold of each detector, 0..1.
    """
    bins = np.linspace(0, 1, 26)
    with drawing(stem) as axes:
        for (name, values), color, hatch in zip(
            groups.items(), (BLUE, ORANGE), ("", "///"), strict=False
        ):
            weights = np.full(len(values), 1 / max(len(values), 1))
            axes.hist(
                values,
                bins,
                weights=weights,
                color=color,
                alpha=0.65,
                hatch=hatch,
                edgecolor="white",
                label=f"{name} ({len(values)})",
            )
        for number, threshold in enumerate(thresholds):
            label = "operating point" if number == 0 else None
            axes.axvline(threshold, color="black", linestyle="--", label=label)
        axes.set(xlabel="probability of a tumor", ylabel="share of the class")
        axes.legend(fontsize=9)


def plot_times(steps: Mapping[str, Mapping[str, float]], stem: Path) -> None:
    """Draw the time of each step of scoring one picture.

    Args:
        steps: Time of each single step, ms, by precision.
        stem: Path of the files to write, without a suffix.
    """
    colors = (BLUE, ORANGE, GREEN, PINK, SKY, RED)
    with drawing(stem, (6.5, 1.2 + 0.6 * len(steps))) as axes:
        for row, times in enumerate(steps.values()):
            left = 0.0
            for (step, time), color in zip(times.items(), colors, strict=False):
                axes.barh(row, time, left=left, color=color, label=None if row else step)
                left += time
            axes.text(left, row, f" {left:.1f} ms", va="center")
        axes.set_yticks(range(len(steps)), list(steps))
        axes.invert_yaxis()
        axes.margins(x=0.15)
        axes.set_xlabel("one picture of 512 px, from file to finding with heat map, median, ms")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.35), ncols=len(colors))
