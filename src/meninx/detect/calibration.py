"""Turn cell logits into the probability of a slice and of a study, and that into a decision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Answer = Literal["tumor", "no_tumor"]
Decision = Answer | Literal["refer"]

# A slice's score is the mean of its highest cells, of 8 px: one cell alone follows noise.
TOP_CELLS = 8
# Networks that pool their whole map: the score is the mean of all cells.
ALL_CELLS = 0
# A cell of a slice is judged together with those above and below it, weighted by a bell curve of
# this standard deviation: a lesion has depth, a false alarm in a single slice seldom has. Chosen on
# simulated volumes.
CONTEXT_MM = 6.0
# Share of tumors, and of what has none, whose own answer is not ruled out.
DEFAULT_COVERAGE = 0.95

OperatingPoint = Literal["balanced", "sensitive", "specific"]
OPERATING_POINTS: tuple[OperatingPoint, ...] = ("balanced", "sensitive", "specific")
# Weight of series whose sequence is not known, or was not measured.
UNKNOWN = "unknown"


class CalibratedAnswer(NamedTuple):
    """What a calibrator makes of a logit.

    Args:
        decision: `refer` where the coverage leaves both answers open; without a coverage that of
            the operating point.
        probability: Of a tumor, 0..1.
        p_values: As `Calibrator.p_values`.
        coverage: At which the decision was taken; None for that of the operating point.
        threshold: Probability from which on the operating point calls a tumor.
    """

    decision: Decision
    probability: float
    p_values: dict[Answer, float]
    coverage: float | None
    threshold: float


@dataclass(frozen=True)
class Calibrator:
    """A calibrated map from one kind of logit to probabilities and decisions.

    Args:
        temperature: Divisor of logits, above 0 (Guo et al. 2017).
        balanced: Decision threshold of the best Youden index, a probability, 0..1.
        sensitive: Decision threshold that found 95 % of held-out tumors, 0..1.
        specific: Decision threshold that 95 % of held-out tumor-free scans stayed under, 0..1.
        tumor_logits: Held-out logits of scans with tumor, ascending, shape (n,). Used for
            conformal p-values.
        tumor_free_logits: Held-out logits of tumor-free scans, ascending, shape (m,).
        judged: Number of held-out scans that were scored or refused; 0 where not recorded.
        refused: Number of these that were refused, though all are brains.
    """

    temperature: float = 1.0
    balanced: float = 0.5
    sensitive: float = 0.5
    specific: float = 0.5
    tumor_logits: tuple[float, ...] = ()
    tumor_free_logits: tuple[float, ...] = ()
    judged: int = 0
    refused: int = 0

    def probability(self, logit: float) -> float:
        """Return the probability that belongs to a logit."""
        return float(1.0 / (1.0 + np.exp(-np.clip(logit / self.temperature, -80, 80))))

    def threshold(self, point: OperatingPoint) -> float:
        """Return the probability from which on something is called a tumor."""
        points = {
            "balanced": self.balanced,
            "sensitive": self.sensitive,
            "specific": self.specific,
        }
        return points[point]

    def evidence(self, logit: float) -> float:
        """Return how far a logit lies above the balanced threshold, in calibrated log odds.

        Args:
            logit: Of the scan, before the temperature.

        Returns:
            0 at the threshold: logits of calibrators that differ can be averaged.
        """
        # Thresholds of 0 and 1 belong to calibrators that call everything, or nothing.
        threshold = float(np.clip(self.balanced, 1e-9, 1 - 1e-9))
        return logit / self.temperature - float(np.log(threshold / (1 - threshold)))

    def answer(
        self, logit: float, point: OperatingPoint, coverage: float | None
    ) -> CalibratedAnswer:
        """Return the answer that belongs to a logit.

        Args:
            logit: Of the scan or study, before the temperature.
            point: Decides where there is no coverage, or nothing was held out.
            coverage: As for `answer_of`; None to refer nothing.

        Returns:
            The decision and what it rests on.
        """
        probability, p_values = self.probability(logit), self.p_values(logit)
        kept = coverage if p_values else None
        decision: Decision = self.decide(probability, point)
        if kept is not None:
            decision = answer_of(p_values, kept)
        return CalibratedAnswer(decision, probability, p_values, kept, self.threshold(point))

    def decide(self, probability: float, point: OperatingPoint) -> Answer:
        """Return `tumor` from the operating point on."""
        return "tumor" if probability >= self.threshold(point) else "no_tumor"

    def p_values(self, logit: float) -> dict[Answer, float]:
        """Return how plausible each answer is, given held-out scans whose answer is known.

        Conformal p-values of each class by itself: the share of held-out tumors, the new scan
        among them, that look no more like one than it does; and likewise of what has no tumor. If
        the scan is exchangeable with them, the p-value of its own class is at most a in a share a
        of cases, whatever the network does.

        Args:
            logit: Of the scan.

        Returns:
            0..1 of `tumor` and `no_tumor`; empty where nothing was held out to compare with.

        References:
            Vovk, Gammerman and Shafer 2005, Algorithmic learning in a random world, section 4.5
            (label-conditional conformal predictors).
        """
        if not (self.tumor_logits and self.tumor_free_logits):
            return {}
        below = int(np.searchsorted(self.tumor_logits, logit, side="right"))
        above = len(self.tumor_free_logits) - int(
            np.searchsorted(self.tumor_free_logits, logit, side="left")
        )
        return {
            "tumor": (1 + below) / (1 + len(self.tumor_logits)),
            "no_tumor": (1 + above) / (1 + len(self.tumor_free_logits)),
        }


def answer_of(p_values: Mapping[Answer, float], coverage: float) -> Decision:
    """Return the one answer that is plausible, or `refer` where both are.

    Args:
        p_values: Of both answers.
        coverage: An answer is ruled out if its p-value is 1 - coverage or less.

    Returns:
        Where neither is plausible the likelier one: that rules out less, so coverage is kept.
    """
    plausible: list[Answer] = [name for name, p in p_values.items() if p > 1 - coverage]
    if len(plausible) > 1:
        return "refer"
    return plausible[0] if plausible else max(p_values.items(), key=lambda item: item[1])[0]


@dataclass(frozen=True)
class StudyCalibrator:
    """What turns the evidence of several series into one answer for their study.

    The largest of the series' probabilities, or the union of their conformal answers, would not
    do: each series is one more chance of a false alarm, and no coverage is kept. One logit a study,
    compared with those of held-out studies, keeps it.

    Args:
        weights: What each sequence is worth, by name, 0 and more; `unknown` for all others.
        calibrator: Calibration of the combined logits.
    """

    weights: Mapping[str, float]
    calibrator: Calibrator

    def logit(self, evidence: Sequence[tuple[str, float]]) -> float:
        """Return the weighted mean of the series' evidence.

        Args:
            evidence: Sequence and `Calibrator.evidence` of each series, at least one. Several
                series of one sequence share its weight. Sequences that are absent don't count.

        Returns:
            The study's logit, before its temperature; the plain mean of the sequences where none
            of those present has a weight.
        """
        by_sequence: dict[str, list[float]] = {}
        for sequence, value in evidence:
            by_sequence.setdefault(sequence, []).append(value)
        means = np.array([np.mean(values) for values in by_sequence.values()])
        weights = np.array(
            [self.weights.get(name, self.weights.get(UNKNOWN, 0.0)) for name in by_sequence]
        )
        return float(np.average(means, weights=weights if weights.any() else None))


@dataclass(frozen=True)
class Calibration:
    """The calibrators of a detector; they travel in its file.

    Args:
        picture: Of single pictures, and of the slices of a volume.
        volume: Of volumes, whose logit is a maximum over many slices.
        by_sequence: Of volumes of one MR sequence: `T1`, `T1c`, `T2`, `FLAIR`. Their coverage
            holds for each sequence by itself (Mondrian conformal prediction, Vovk et al. 2005,
            section 4.5). Without those for which too few people were held out.
        study: Of studies; None where too few were held out.
    """

    picture: Calibrator = Calibrator()
    volume: Calibrator = Calibrator()
    by_sequence: Mapping[str, Calibrator] = field(default_factory=dict)
    study: StudyCalibrator | None = None

    def of(self, *, volume: bool, sequence: str = UNKNOWN) -> Calibrator:
        """Return the calibrator of a scan.

        Args:
            volume: Whether it has more than one slice.
            sequence: Its MR sequence.

        Returns:
            Of volumes the sequence's own calibrator, where there is one.
        """
        return self.by_sequence.get(sequence, self.volume) if volume else self.picture


def averaged_over_depth(
    cell_logits: NDArray[np.float32], depths_mm: NDArray[np.float64] | None
) -> NDArray[np.float32]:
    """Return cell logits averaged with those above and below: noise changes from slice to slice.

    Args:
        cell_logits: Of neighboring slices, in order, shape (n, m, m).
        depths_mm: Where the slices lie, shape (n,); None for single pictures, which stay as they
            are.

    Returns:
        Mean over all slices, weighted by a Gaussian of their distance, shape (n, m, m).
    """
    if depths_mm is None or len(cell_logits) == 1:
        return cell_logits
    weights = np.exp(-0.5 * ((depths_mm[:, None] - depths_mm) / CONTEXT_MM) ** 2)  # [n, n]
    weights /= weights.sum(axis=1, keepdims=True)
    flat = cell_logits.reshape(len(cell_logits), -1)
    return (weights.astype(np.float32) @ flat).reshape(cell_logits.shape)


def slice_logits(
    cell_logits: NDArray[np.float32], top_cells: int = TOP_CELLS
) -> NDArray[np.float32]:
    """Return one logit a slice.

    Args:
        cell_logits: Shape (b, m, n).
        top_cells: How many of the highest cells count; `ALL_CELLS` for the mean of all.

    Returns:
        Mean of those cells, shape (b,).
    """
    flat = cell_logits.reshape(len(cell_logits), -1)
    count = min(top_cells or flat.shape[1], flat.shape[1])
    return np.asarray(np.partition(flat, -count, axis=1)[:, -count:].mean(axis=1))
