"""Find subsets of an archive with other scores or refusals than the detector's calibration."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import fisher_exact, kstwobign

from meninx._archive.tally import DIMENSIONS, KINDS, Counts, RowCounts, Tally, binned
from meninx._detect.calibration import Calibration
from meninx._detect.calibrator import Calibrator
from meninx._scan.geometry import Float64Array

# Fewer scans are not tested.
MIN_SCANS = 20
# Probability of any false warning for an archive, for each of the four tests: scores and refusals,
# against the detector's reference and against the rest.
_ALPHA = 0.01
# Smaller differences are not reported, even if significant: of the share of refusals, 0..1, and
# between distributions of scores, 0..1.
MIN_SHARE, MIN_DISTANCE = 0.02, 0.1


@dataclass(frozen=True)
class DriftWarning:
    """A warning that scores or refusals of a subset of an archive differ.

    Args:
        dimension: `month`, `scanner`, `field_strength` or `sequence`; `archive` for the whole.
        value: Value of the dimension, such as 2024-05.
        what: Text for a reader.
    """

    dimension: str
    value: str
    what: str


@dataclass(frozen=True)
class Reference:
    """The scores of labeled held-out scans, from the detector's file.

    Args:
        tumors: Histogram of log odds of scans with a tumor, shape (280,).
        tumor_free: Histogram of log odds of tumor-free scans, shape (280,).
    """

    tumors: Counts
    tumor_free: Counts

    @classmethod
    def of(cls, calibrator: Calibrator) -> "Reference | None":
        """Return the reference of a calibrator; None if it has no held-out scores."""
        if not (calibrator.tumor_logits and calibrator.tumor_free_logits):
            return None
        tumors, tumor_free = (
            binned(np.array(logits) / calibrator.unit)
            for logits in (calibrator.tumor_logits, calibrator.tumor_free_logits)
        )
        return cls(tumors, tumor_free)

    def distance(self, scores: Counts) -> float:
        """Return the distance of scores from the closest mixture of tumors and tumor-free scans.

        The share of tumors in an archive is unknown. With the best-fitting share, only a difference
        that no share explains is reported.

        Args:
            scores: Histogram of log odds, shape (280,).

        Returns:
            Distance, 0..1, the smallest Kolmogorov distance over shares of 0, 0.01, ..., 1.
        """
        shares = np.linspace(0, 1, 101)[:, None]
        mixed = shares * _cumulated(self.tumors) + (1 - shares) * _cumulated(self.tumor_free)
        return float(np.abs(mixed - _cumulated(scores)).max(axis=1).min())

    def allowed(self, count: int, alpha: float) -> float:
        """Return the distance that is exceeded by chance with probability alpha at most.

        Args:
            count: Number of scores compared.
            alpha: Probability of a false warning in this comparison, 0..1.

        Returns:
            Distance: the bound of the scores, plus the larger of the reference's two bounds.

        References:
            Massart 1990, the tight constant of the Dvoretzky-Kiefer-Wolfowitz inequality; a third
            of alpha for each sample.
        """
        smallest = min(self.tumors.sum(), self.tumor_free.sum())
        term = np.log(2 * 3 / alpha) / 2
        return float(np.sqrt(term / count) + np.sqrt(term / smallest))


def warnings_of(tally: Tally, calibration: Calibration) -> list[DriftWarning]:
    """Return warnings of subsets whose scores or refusals differ.

    Args:
        tally: Counts of a table.
        calibration: Calibration of the detector.

    Returns:
        Warnings, those of the whole archive first.
    """
    parts = [(key, part) for key, part in sorted(tally.parts.items())]
    alpha = _ALPHA / max(len(parts) + 1, 1)
    found = [
        DriftWarning("archive", "all", text)
        for text in _against_reference(tally.whole, calibration, alpha)
    ]
    for (dimension, value), part in parts:
        texts = _against_reference(part, calibration, alpha)
        alone = sum(1 for (other, _) in tally.parts if other == dimension) == 1
        # Sequences differ in contrast and in patients, which is no drift.
        if not alone and dimension != "sequence":
            texts += _against_rest(part, tally.with_dimension(dimension), alpha)
        found += [DriftWarning(dimension, value, text) for text in texts]
    order = ("archive", *DIMENSIONS)
    return sorted(found, key=lambda warn: (order.index(warn.dimension), warn.value))


def _against_reference(part: RowCounts, calibration: Calibration, alpha: float) -> list[str]:
    texts = []
    for kind in KINDS:
        calibrator = calibration.of(volume=kind == "volume")
        refused = part.kinds[kind, "refused"]
        shares = _differing_shares(
            (refused, refused + part.kinds[kind, "scored"]),
            (calibrator.refused, calibrator.judged),
            alpha,
        )
        if shares is not None:
            here, usual = shares
            texts.append(f"{here} of {kind}s refused, {usual} of the detector's held-out {kind}s")
        reference = Reference.of(calibrator)
        scores = part.scores[kind]
        if reference is None or scores.sum() < MIN_SCANS:
            continue
        distance = reference.distance(scores)
        if distance > max(reference.allowed(int(scores.sum()), alpha), MIN_DISTANCE):
            texts.append(
                f"scores of {kind}s differ from those of the detector's calibration, whatever the "
                f"share of tumors (distance {distance:.2f}): probabilities and coverage may be off"
            )
    return texts


def _against_rest(part: RowCounts, whole: RowCounts, alpha: float) -> list[str]:
    texts = []
    refused = part.statuses["refused"]
    others = (whole.statuses["refused"] - refused, whole.readable - part.readable)
    shares = _differing_shares((refused, part.readable), others, alpha)
    if shares is not None:
        here, elsewhere = shares
        texts.append(f"{here} refused, {elsewhere} elsewhere")
    for kind in KINDS:
        scores, others_scores = part.scores[kind], whole.scores[kind] - part.scores[kind]
        n, m = int(scores.sum()), int(others_scores.sum())
        if n < MIN_SCANS or m < MIN_SCANS:
            continue
        distance = float(np.abs(_cumulated(scores) - _cumulated(others_scores)).max())
        # Asymptotic; bins of 0.1 in log odds make the distance a little smaller.
        p_value = float(kstwobign.sf(distance * np.sqrt(n * m / (n + m))))
        if distance > MIN_DISTANCE and p_value < alpha:
            texts.append(
                f"scores of {kind}s differ from the rest (distance {distance:.2f}): other "
                "patients, or pictures that look different"
            )
    return texts


def _differing_shares(
    here: tuple[int, int], there: tuple[int, int], alpha: float
) -> tuple[str, str] | None:
    """Return both shares of refusals in per cent if they differ significantly.

    Args:
        here: Number refused and number readable, of the subset.
        there: Number refused and number readable, of the scans to compare with.
        alpha: Probability of a false warning, 0..1.

    Returns:
        Both shares, `here` first; None if they may be equal, or too few scans are readable.
    """
    if min(here[1], there[1]) < MIN_SCANS:
        return None
    share, usual = here[0] / here[1], there[0] / there[1]
    table = np.array([(refused, count - refused) for refused, count in (here, there)])
    if abs(share - usual) <= MIN_SHARE or fisher_exact(table).pvalue >= alpha:
        return None
    return f"{share:.1%}", f"{usual:.1%}"


def _cumulated(counts: Counts) -> Float64Array:
    return np.asarray(np.cumsum(counts) / max(counts.sum(), 1), dtype=np.float64)
