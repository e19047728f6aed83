"""Turn cell logits into the probability of a slice and of a study, and that into a decision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Answer = Literal["tumor", "no_tumor"]
Decision = Answer | Literal["refer"]

# A slice's score is the mean of its highest cells, of 8 px: one cell alone follows noise.
TOP_CELLS = 8
# Networks that pool their whole map: the score is the mean of all cells.
ALL_CELLS = 0
# A cell's logit is averaged with those above and below it, weighted by a bell curve of
# this standard deviation: a lesion has depth, a false alarm in a single slice seldom has. Chosen on
# simulated volumes.
CONTEXT_MM = 6.0
# Share of scans with tumor, and of tumor-free scans, whose true answer is not ruled out.
DEFAULT_COVERAGE = 0.95

OperatingPoint = Literal["balanced", "sensitive", "specific"]
OPERATING_POINTS: tuple[OperatingPoint, ...] = ("balanced", "sensitive", "specific")
# Weight of series whose sequence is not known, or was not measured.
UNKNOWN = "unknown"


def sigmoid(logit: ArrayLike) -> NDArray[np.floating]:
    """Return the probability of each logit, 0..1, without overflow however far it lies from 0.

    Args:
        logit: Log odds, of any shape.

    Returns:
        `1 / (1 + exp(-logit))`, of the same shape; float32 of float32.
    """
    return np.asarray(np.exp(-np.logaddexp(0, np.negative(logit))))


class CalibratedAnswer(NamedTuple):
    """The answer that a calibrator gives for a logit.

    Args:
        decision: `refer` where the coverage leaves both answers open; without a coverage the
            decision of the operating point.
        probability: Calibrated probability of a tumor, 0..1.
        p_values: Conformal p-values of `tumor` and `no_tumor`, 0..1; empty where the calibrator has
            no held-out logits.
        coverage: Coverage of the decision, 0..1; None where the operating point decided.
        threshold: Decision threshold of the operating point, a probability, 0..1.
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
        refused: Number of those that were refused, all of them wrongly: each shows a brain.
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
        """Return the calibrated probability of a logit, 0..1."""
        return float(sigmoid(logit / self.temperature))

    def threshold(self, point: OperatingPoint) -> float:
        """Return the decision threshold of an operating point, a probability, 0..1."""
        points = {
            "balanced": self.balanced,
            "sensitive": self.sensitive,
            "specific": self.specific,
        }
        return points[point]

    def evidence(self, logit: float) -> float:
        """Return how far a logit lies above the balanced threshold, in calibrated log odds.

        Args:
            logit: Logit of the scan, before the temperature.

        Returns:
            Log odds, 0 at the threshold, so that scans of different calibrators can be averaged.
        """
        # A threshold of 0 calls every scan a tumor, one of 1 none: their log odds are infinite.
        threshold = float(np.clip(self.balanced, 1e-9, 1 - 1e-9))
        return logit / self.temperature - float(np.log(threshold / (1 - threshold)))

    def answer(
        self, logit: float, point: OperatingPoint, coverage: float | None
    ) -> CalibratedAnswer:
        """Return the answer that belongs to a logit.

        Args:
            logit: Logit of the scan or study, before the temperature.
            point: Operating point that decides without a coverage or held-out logits.
            coverage: Share of scans whose true answer must not be ruled out, 0..1; None to refer
                nothing.

        Returns:
            The decision with the figures that it follows from.
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

        Conformal p-values, each class by itself. For `tumor`: the share of held-out scans with
        tumor, the new scan counted among them, whose logit is no higher than the new one. For
        `no_tumor`: the share of tumor-free scans whose logit is no lower. If the scan is
        exchangeable with them, the p-value of its true class is at most a in at most a share a of
        cases, whatever the network does.

        Args:
            logit: Logit of the scan, before the temperature.

        Returns:
            p-values of `tumor` and `no_tumor`, 0..1; empty without held-out logits.

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
        p_values: p-value of each answer, 0..1.
        coverage: Share of scans whose true answer must not be ruled out, 0..1. An answer is ruled
            out if its p-value is 1 - coverage or less.

    Returns:
        The plausible answer. Where neither is plausible, the one with the larger p-value: that
        rules out less, so coverage is kept.
    """
    plausible: list[Answer] = [name for name, p in p_values.items() if p > 1 - coverage]
    if len(plausible) > 1:
        return "refer"
    return plausible[0] if plausible else max(p_values.items(), key=lambda item: item[1])[0]


@dataclass(frozen=True)
class StudyCalibrator:
    """The calibrator of studies: the evidence of several series becomes one answer.

    The largest of the series' probabilities, or the union of their conformal answers, would not
    do: each series is one more chance of a false alarm, and no coverage is kept. One logit a study,
    compared with those of held-out studies, keeps it.

    Args:
        weights: Weight of each sequence by name, 0 and more; `unknown` for all others.
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
            The study's logit, before its temperature; the unweighted mean over sequences where no
            sequence present has a weight.
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
        picture: Calibrator of single pictures, and of the slices of a volume.
        volume: Calibrator of volumes, whose logit is a maximum over many slices.
        by_sequence: Calibrator of volumes by MR sequence: `T1`, `T1c`, `T2`, `FLAIR`. Coverage then
            holds for each sequence by itself (Mondrian conformal prediction, Vovk et al. 2005,
            section 4.5). A sequence with too few held-out people is missing.
        study: Calibrator of studies; None where too few were held out.
    """

    picture: Calibrator = Calibrator()
    volume: Calibrator = Calibrator()
    by_sequence: Mapping[str, Calibrator] = field(default_factory=dict)
    study: StudyCalibrator | None = None

    def of(self, *, volume: bool, sequence: str = UNKNOWN) -> Calibrator:
        """Return the calibrator of a scan.

        Args:
            volume: Whether it has more than one slice.
            sequence: MR sequence of the scan.

        Returns:
            The calibrator of pictures, or of volumes: their sequence's own where there is one.
        """
        return self.by_sequence.get(sequence, self.volume) if volume else self.picture


def averaged_over_depth(
    cell_logits: NDArray[np.float32], depths_mm: NDArray[np.float64] | None
) -> NDArray[np.float32]:
    """Return cell logits averaged with those above and below: noise changes from slice to slice.

    Args:
        cell_logits: Logits of neighboring slices, in order, shape (n, m, m).
        depths_mm: Position of each slice along the normal, mm, shape (n,); None for single
            pictures, which stay as they are.

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
        cell_logits: Logits of each slice's cells, shape (b, m, n).
        top_cells: Number of highest cells that count; `ALL_CELLS` for the mean of all.

    Returns:
        Mean of those cells, shape (b,).
    """
    flat = cell_logits.reshape(len(cell_logits), -1)
    count = min(top_cells or flat.shape[1], flat.shape[1])
    return np.asarray(np.partition(flat, -count, axis=1)[:, -count:].mean(axis=1))
