"""Measure calibration out of fold, and compare forms of the scale.

Reads the held-out logits in the shipped card, fits each form crosswise, and writes the tables of
docs/results.md and docs/evidence/calibration.json. Run: python -m lab.evidence.calibration
"""

import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from meninx._detect.calibration import Calibration
from meninx._detect.calibrator import Calibrator, sigmoid
from meninx._detect.loading import load_detector
from meninx._learn.file.validation import fit_scale, negative_log_likelihood

DOCS = Path(__file__).parents[2] / "docs"
PAGE, FIGURES = DOCS / "results.md", DOCS / "evidence" / "calibration.json"
# Marks between which the script writes its tables.
START, END = "<!-- tables -->", "<!-- end of tables -->"
PARTS, SEED = 10, 0
BINS = (0.0, 0.2, 0.5, 0.8, 1.0)
DRAWS = 20_000

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
# A fitted scale: log odds of logits.
Scale = Callable[[Floats], Floats]


def temperature_alone(logits: Floats, tumor: Bools) -> Scale:
    """Fit a temperature (Guo et al. 2017)."""
    return _fitted(lambda x, q: x * np.exp(q[0]), 1, logits, tumor)


def with_offset(logits: Floats, tumor: Bools) -> Scale:
    """Fit a temperature and an offset by likelihood."""
    return _fitted(lambda x, q: x * np.exp(q[0]) + q[1], 2, logits, tumor)


def with_targets(logits: Floats, tumor: Bools) -> Scale:
    """Fit a temperature and an offset to Platt's targets (Platt 1999), as shipped."""
    temperature, offset = fit_scale(logits, tumor)
    return lambda x: x / temperature + offset


def beta(logits: Floats, tumor: Bools) -> Scale:
    """Fit beta calibration (Kull, Silva Filho and Flach 2017) of the logits' probabilities."""
    return _fitted(
        lambda x, q: -np.exp(q[0]) * np.logaddexp(0, -x) + np.exp(q[1]) * np.logaddexp(0, x) + q[2],
        3,
        logits,
        tumor,
    )


FORMS: Mapping[str, Callable[[Floats, Bools], Scale]] = {
    "temperature": temperature_alone,
    "temperature and offset": with_offset,
    "temperature and offset, Platt's targets": with_targets,
    "beta calibration": beta,
}
BEFORE, AFTER = "temperature", "temperature and offset, Platt's targets"


def _fitted(
    form: Callable[[Floats, Floats], Floats], count: int, logits: Floats, tumor: Bools
) -> Scale:
    def loss(values: Floats) -> float:
        return negative_log_likelihood(form(logits, values), tumor)

    bounds = [(-6, 6)] * count
    best = minimize(loss, np.zeros(count), method="L-BFGS-B", bounds=bounds, tol=1e-10)
    return lambda x: form(x, best.x)


def calibrators_of(calibration: Calibration) -> dict[str, Calibrator]:
    """Return all calibrators of a detector by their names on the page."""
    found = {"pictures": calibration.picture, "all series": calibration.volume}
    found |= {
        f"{name} series": calibrator for name, calibrator in sorted(calibration.by_sequence.items())
    }
    found |= {
        f"{name} pictures": calibrator
        for name, calibrator in sorted(calibration.picture_by_sequence.items())
    }
    if calibration.study is not None:
        found["studies"] = calibration.study.calibrator
    return found


def held_out(calibrator: Calibrator) -> tuple[Floats, Bools]:
    """Return the held-out logits of a calibrator and whether each has a tumor, shape (n,)."""
    tumors, tumor_free = calibrator.tumor_logits, calibrator.tumor_free_logits
    return np.array(tumors + tumor_free), np.arange(len(tumors) + len(tumor_free)) < len(tumors)


def out_of_fit(fit: Callable[[Floats, Bools], Scale], logits: Floats, tumor: Bools) -> Floats:
    """Return log odds of each logit by a scale that was fitted to the other nine tenths."""
    parts = np.zeros(len(logits), dtype=int)
    rng = np.random.default_rng(SEED)
    for side in (tumor, ~tumor):
        members = rng.permutation(np.flatnonzero(side))
        parts[members] = np.arange(len(members)) % PARTS
    found = np.zeros(len(logits))
    for part in range(PARTS):
        own = parts == part
        found[own] = fit(logits[~own], tumor[~own])(logits[own])
    return found


def bins_of(odds: Floats, tumor: Bools) -> list[dict[str, Any]]:
    """Return each bin's counts, and its share of tumors at a prevalence of one half.

    The interval contains 95 % of draws from Jeffreys' posteriors of both classes' shares.
    """
    probabilities = sigmoid(odds)
    rng = np.random.default_rng(SEED)
    rows = []
    for low, high in pairwise(BINS):
        inside = (probabilities >= low) & (probabilities < high)
        inside |= (probabilities == 1) & (high == 1)
        counts = [int((inside & side).sum()) for side in (tumor, ~tumor)]
        sizes = [int(side.sum()) for side in (tumor, ~tumor)]
        drawn = [
            rng.beta(count + 0.5, size - count + 0.5, DRAWS)
            for count, size in zip(counts, sizes, strict=True)
        ]
        tumors, others = (count / size for count, size in zip(counts, sizes, strict=True))
        row: dict[str, Any] = {"from": low, "to": high, "tumor": counts[0], "tumor_free": counts[1]}
        if sum(counts):
            low_end, high_end = np.quantile(drawn[0] / (drawn[0] + drawn[1]), [0.025, 0.975])
            row["share"] = [tumors / (tumors + others), float(low_end), float(high_end)]
            weights = np.where(tumor, 1 / sizes[0], 1 / sizes[1])[inside]
            row["mean"] = float(np.average(probabilities[inside], weights=weights))
        rows.append(row)
    return rows


def measured(calibration: Calibration) -> dict[str, Any]:
    """Return the losses of all forms, and the bins before and after, by calibrator."""
    losses: dict[str, dict[str, float]] = {}
    bins: dict[str, dict[str, Any]] = {}
    for name, calibrator in calibrators_of(calibration).items():
        logits, tumor = held_out(calibrator)
        odds = {form: out_of_fit(fit, logits, tumor) for form, fit in FORMS.items()}
        losses[name] = {form: negative_log_likelihood(found, tumor) for form, found in odds.items()}
        bins[name] = {"before": bins_of(odds[BEFORE], tumor), "after": bins_of(odds[AFTER], tumor)}
    return {"losses": losses, "bins": bins}


def tables(figures: Mapping[str, Any], calibration: Calibration) -> str:
    """Return the page's tables."""
    lines = ["| held out | " + " | ".join(FORMS) + " |", "| --- |" + " --- |" * len(FORMS)]
    for name, losses in figures["losses"].items():
        lines.append(f"| {name} | " + " | ".join(f"{losses[form]:.3f}" for form in FORMS) + " |")
    lines += [
        "",
        "| held out | tumors | tumor-free | temperature | offset | no tumor below | tumor from |",
        "| --- |" + " --- |" * 6,
    ]
    for name, calibrator in calibrators_of(calibration).items():
        borders = [calibrator.probability(limit) for limit in calibrator.limits("balanced", 0.95)]
        free = f"{len(calibrator.tumor_free_logits)}" + (
            f" ({calibrator.borrowed} simulated)" * bool(calibrator.borrowed)
        )
        lines.append(
            f"| {name} | {len(calibrator.tumor_logits)} | {free} | {calibrator.temperature:.3f} | "
            f"{calibrator.offset:.3f} | {borders[0]:.3f} | {borders[1]:.3f} |"
        )
    lines += [
        "",
        "| held out | probability | tumors, tumor-free | mean probability | share of tumors |",
        "| --- |" + " --- |" * 4,
    ]
    for name, both in figures["bins"].items():
        lines += [
            f"| {name} | {row['from']:.1f} to {row['to']:.1f} | {row['tumor']}, "
            f"{row['tumor_free']} | {_mean(row)} | {_share(row)} |"
            for row in both["after"]
        ]
    return "\n".join(lines)


def _share(row: Mapping[str, Any]) -> str:
    if "share" not in row:
        return "-"
    value, low, high = row["share"]
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def _mean(row: Mapping[str, Any]) -> str:
    return f"{row['mean']:.2f}" if "mean" in row else "-"


def main() -> None:
    """Write the figures and the page's tables."""
    calibration = load_detector().card.calibration
    figures = measured(calibration)
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    text = f"{before}{START}\n\n{tables(figures, calibration)}\n\n{END}{after}"
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
