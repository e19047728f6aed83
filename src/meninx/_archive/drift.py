"""Find where an archive's scores and refusals differ from what the detector was calibrated on."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import fisher_exact, kstwobign

from meninx._archive.tally import DIMENSIONS, KINDS, Counts, RowCounts, Tally, binned
from meninx._detect.calibration import Calibration
from meninx._detect.calibrator import Calibrator
from meninx._scan.geometry import Float64Array

# Fewer scans than this say too little.
MIN_SCANS = 20
# Chance that an archive without drift gives any warning at all, for each of the four tests:
# scores and refusals, against the detector's reference and against the rest.
ALPHA = 0.01
# A significant difference that is smaller than this does not matter: share of refusals, 0..1, and
# distance between distributions, 0..1.
MIN_SHARE, MIN_DISTANCE = 0.02, 0.1


@dataclass(frozen=True)
class DriftWarning:
    """A warning that scores or refusals of a subset of an archive moved.

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
    """The scores of held-out scans whose answer is known, from the detector's file.

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
        """Return how far scores lie from every mixture of tumors and tumor-free scans.

        The share of tumors in an archive is not known, and any share is right: the mixture that
        fits best counts, so that only what no share of tumors explains is reported.

        Args:
            scores: Histogram of log odds, shape (280,).

        Returns:
            Distance, 0..1, the smallest Kolmogorov distance over shares of 0, 0.01, ..., 1.
        """
        shares = np.linspace(0, 1, 101)[:, None]
        mixed = shares * _cumulated(self.tumors) + (1 - shares) * _cumulated(self.tumor_free)
        return float(np.abs(mixed - _cumulated(scores)).max(axis=1).min())

    def allowed(self, count: int, alpha: float) -> float:
        """Return the distance that chance alone exceeds in at most a share alpha of cases.

        Args:
            count: Number of scores compared.
            alpha: Chance of a false warning in this one comparison, 0..1.

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
    """Return warnings where scores or refusals moved.

    Args:
        tally: Counts of a table.
        calibration: Calibration of the detector.

    Returns:
        Warnings, those of the whole archive first.
    """
    parts = [(key, part) for key, part in sorted(tally.parts.items())]
    alpha = ALPHA / max(len(parts) + 1, 1)
    found = [
        DriftWarning("archive", "all", text)
        for text in _against_reference(tally.whole, calibration, alpha)
    ]
    for (dimension, value), part in parts:
        texts = _against_reference(part, calibration, alpha)
        alone = sum(1 for (other, _) in tally.parts if other == dimension) == 1
        # Sequences look different and are used for different patients: that is no drift.
        if not alone and dimension != "sequence":
            texts += _against_rest(part, tally.known(dimension), alpha)
        found += [DriftWarning(dimension, value, text) for text in texts]
    order = ("archive", *DIMENSIONS)
    return sorted(found, key=lambda warn: (order.index(warn.dimension), warn.value))


def _against_reference(part: RowCounts, calibration: Calibration, alpha: float) -> list[str]:
    texts = []
    for kind in KINDS:
        calibrator = calibration.of(volume=kind == "volume")
        refused = part.kinds[kind, "refused"]
        shares = _moved_share(
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
    others = (whole.statuses["refused"] - refused, whole.judged - part.judged)
    shares = _moved_share((refused, part.judged), others, alpha)
    if shares is not None:
        here, elsewhere = shares
        texts.append(f"{here} refused, {elsewhere} elsewhere")
    for kind in KINDS:
        scores, others_scores = part.scores[kind], whole.scores[kind] - part.scores[kind]
        n, m = int(scores.sum()), int(others_scores.sum())
        if n < MIN_SCANS or m < MIN_SCANS:
            continue
        distance = float(np.abs(_cumulated(scores) - _cumulated(others_scores)).max())
        # Asymptotic; on bins of 0.1 in log odds the distance is a little smaller than it is.
        chance = float(kstwobign.sf(distance * np.sqrt(n * m / (n + m))))
        if distance > MIN_DISTANCE and chance < alpha:
            texts.append(
                f"scores of {kind}s differ from the rest (distance {distance:.2f}): other "
                "patients, or pictures that look different"
            )
    return texts


def _moved_share(
    here: tuple[int, int], there: tuple[int, int], alpha: float
) -> tuple[str, str] | None:
    """Return both shares of refusals as per cent if they differ significantly.

    Args:
        here: Number refused, and number read.
        there: Number refused, and number read, of the scans compared with.
        alpha: Chance of a false warning, 0..1.

    Returns:
        Both shares, here first; None if they may be the same, or too few scans were read.
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
