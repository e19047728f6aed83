"""Tell where an archive's scores and refusals are not what the detector was calibrated on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import fisher_exact, kstwobign

from meninx.archive.tally import DIMENSIONS, KINDS, Counts, Part, Tally, binned
from meninx.detect.calibration import Calibration, Calibrator

# Below this a part says too little.
LEAST = 20
# Chance that an archive without drift gives any warning at all, for each of the four questions:
# scores and refusals, against the detector's reference and against the rest.
ALPHA = 0.01
# A difference that is sure but smaller than this is of no matter: share of refusals, and distance
# between distributions.
MIN_SHARE, MIN_DISTANCE = 0.02, 0.1
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Warn:
    """Say that a part of an archive moved.

    Args:
        dimension: `month`, `scanner`, `field_strength` or `sequence`; `archive` for the whole.
        value: Which one.
        what: In words for a reader.
    """

    dimension: str
    value: str
    what: str


@dataclass(frozen=True)
class Reference:
    """Hold the scores of held-out scans whose answer is known, from the detector's file.

    Args:
        tumors: How many of their log odds lie between each two edges.
        tumor_free: The same of what has no tumor.
    """

    tumors: Counts
    tumor_free: Counts

    @classmethod
    def of(cls, calibrator: Calibrator) -> "Reference | None":
        """Return the reference of a calibrator; None if it holds none."""
        if not (calibrator.tumor_logits and calibrator.tumor_free_logits):
            return None
        tumors, healthy = (
            binned(np.array(logits) / calibrator.temperature)
            for logits in (calibrator.tumor_logits, calibrator.tumor_free_logits)
        )
        return cls(tumors, healthy)

    def distance(self, scores: Counts) -> float:
        """Return how far scores lie from every mixture of tumors and healthy ones.

        How many of an archive's scans have a tumor is not known and no fault: the mixture that
        fits best counts, so that only what no share of tumors explains is told.

        Args:
            scores: How many lie between each two edges.

        Returns:
            0..1, the smallest Kolmogorov distance over shares of 0, 0.01, ..., 1.
        """
        shares = np.linspace(0, 1, 101)[:, None]
        mixed = shares * _cumulated(self.tumors) + (1 - shares) * _cumulated(self.tumor_free)
        return float(np.abs(mixed - _cumulated(scores)).max(axis=1).min())

    def allowed(self, count: int, alpha: float) -> float:
        """Return the distance that chance alone exceeds in at most a share alpha of cases.

        Args:
            count: Scores compared.
            alpha: Of this one comparison.

        Returns:
            Of the three samples' bounds: their own, and the larger of the reference's two.

        References:
            Massart 1990, the tight constant of the Dvoretzky-Kiefer-Wolfowitz inequality; a third
            of alpha for each sample.
        """
        smallest = min(self.tumors.sum(), self.tumor_free.sum())
        term = np.log(2 * 3 / alpha) / 2
        return float(np.sqrt(term / count) + np.sqrt(term / smallest))


def warnings_of(tally: Tally, calibration: Calibration) -> list[Warn]:
    """Return what moved.

    Args:
        tally: Of a table.
        calibration: Of the detector.

    Returns:
        Warnings, the whole archive's first.
    """
    parts = [(key, part) for key, part in sorted(tally.parts.items())]
    alpha = ALPHA / max(len(parts) + 1, 1)
    found = [
        Warn("archive", "all", text) for text in _against_reference(tally.whole, calibration, alpha)
    ]
    for (dimension, value), part in parts:
        texts = _against_reference(part, calibration, alpha)
        alone = sum(1 for (other, _) in tally.parts if other == dimension) == 1
        # Sequences look different, and each sees other patients: that is no move.
        if not alone and dimension != "sequence":
            texts += _against_rest(part, tally.known(dimension), alpha)
        found += [Warn(dimension, value, text) for text in texts]
    order = ("archive", *DIMENSIONS)
    return sorted(found, key=lambda warn: (order.index(warn.dimension), warn.value))


def _against_reference(part: Part, calibration: Calibration, alpha: float) -> list[str]:
    texts = []
    for kind in KINDS:
        calibrator = calibration.of(volume=kind == "volume")
        refused = part.kinds[kind, "refused"]
        told = _moved_share(
            (refused, refused + part.kinds[kind, "scored"]),
            (calibrator.refused, calibrator.judged),
            alpha,
        )
        if told is not None:
            texts.append(f"{told[0]} of {kind}s refused, of the detector's held-out ones {told[1]}")
        reference = Reference.of(calibrator)
        scores = part.scores[kind]
        if reference is None or scores.sum() < LEAST:
            continue
        distance = reference.distance(scores)
        if distance > max(reference.allowed(int(scores.sum()), alpha), MIN_DISTANCE):
            texts.append(
                f"scores of {kind}s are not those of the detector's calibration, whatever the "
                f"share of tumors (distance {distance:.2f}): probabilities and coverage may be off"
            )
    return texts


def _against_rest(part: Part, whole: Part, alpha: float) -> list[str]:
    texts = []
    refused = part.statuses["refused"]
    others = (whole.statuses["refused"] - refused, whole.judged - part.judged)
    told = _moved_share((refused, part.judged), others, alpha)
    if told is not None:
        texts.append(f"{told[0]} refused, elsewhere {told[1]}")
    for kind in KINDS:
        scores, others_scores = part.scores[kind], whole.scores[kind] - part.scores[kind]
        n, m = int(scores.sum()), int(others_scores.sum())
        if n < LEAST or m < LEAST:
            continue
        distance = float(np.abs(_cumulated(scores) - _cumulated(others_scores)).max())
        # Asymptotic; on bins of 0.1 in log odds the distance is a little smaller than it is.
        chance = float(kstwobign.sf(distance * np.sqrt(n * m / (n + m))))
        if distance > MIN_DISTANCE and chance < alpha:
            texts.append(
                f"scores of {kind}s differ from the rest (distance {distance:.2f}): other "
                "patients, or another look of the pictures"
            )
    return texts


def _moved_share(
    here: tuple[int, int], there: tuple[int, int], alpha: float
) -> tuple[str, str] | None:
    """Return both shares in words if they differ for sure.

    Args:
        here: How many were refused, and of how many.
        there: The same of what they are compared with.
        alpha: Chance of a difference that is none.

    Returns:
        None if they may be the same, or too few were seen.
    """
    if min(here[1], there[1]) < LEAST:
        return None
    share, usual = here[0] / here[1], there[0] / there[1]
    table = np.array([(refused, count - refused) for refused, count in (here, there)])
    if abs(share - usual) <= MIN_SHARE or fisher_exact(table).pvalue >= alpha:
        return None
    return f"{share:.1%}", f"{usual:.1%}"


def _cumulated(counts: Counts) -> Floats:
    return np.asarray(np.cumsum(counts) / max(counts.sum(), 1), dtype=np.float64)
