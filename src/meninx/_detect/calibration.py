"""Turn cell logits into the probability of a slice and of a study, and that into a decision."""

import math
from collections import Counter
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
# Share of tumors that probabilities are stated for: calibrators are fitted with equal weight for
# each class, as no collection's share of tumors is a hospital's.
PREVALENCE = 0.5

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


def log_odds(probability: float) -> float:
    """Return the log odds of a probability, above 0 and below 1."""
    return math.log(probability / (1 - probability))


class Borders(NamedTuple):
    """The two borders of an answer, on the scale of its probability.

    Args:
        no_tumor_below: Probability below which the answer is `no_tumor`, 0..1; 0 where none is.
        tumor_from: Probability from which on the answer is `tumor`, 0..1, at least
            `no_tumor_below`; between the two the scan is referred. 1 where none is.
    """

    no_tumor_below: float
    tumor_from: float

    def decision(self, probability: float) -> Decision:
        """Return the answer for a probability, 0..1."""
        if probability < self.no_tumor_below:
            return "no_tumor"
        return "tumor" if probability >= self.tumor_from else "refer"


class Reference(NamedTuple):
    """The held-out scans that an answer is compared with.

    Args:
        scans: Words for what they are, such as `T1c series`.
        tumor: Number of those with a tumor.
        tumor_free: Number of tumor-free ones.
        borrowed: Number of tumor-free ones that are simulated from people scanned in other
            sequences.
    """

    scans: str
    tumor: int
    tumor_free: int
    borrowed: int = 0


class CalibratedAnswer(NamedTuple):
    """The answer that a calibrator gives for a logit.

    Args:
        decision: Side of the borders on which the probability lies.
        probability: Calibrated probability of a tumor at the prevalence, 0..1.
        borders: Borders of the answer on the scale of the probability.
        p_values: Conformal p-values of `tumor` and `no_tumor`, 0..1; empty where the calibrator has
            no held-out logits.
        coverage: Coverage that gave the borders, 0..1; None where the operating point did.
        threshold: Decision threshold of the operating point, on the same scale, 0..1.
        prevalence: Share of tumors that the probability is stated for, 0..1.
    """

    decision: Decision
    probability: float
    borders: Borders
    p_values: dict[Answer, float]
    coverage: float | None
    threshold: float
    prevalence: float


@dataclass(frozen=True)
class Calibrator:
    """A calibrated map from one kind of logit to probabilities and decisions.

    Args:
        temperature: Divisor of logits, above 0 (Guo et al. 2017).
        offset: Summand of the divided logits, log odds (Platt 1999). Both are fitted with equal
            weight for each class: the probability is that of a prevalence of one half.
        unit: Divisor that makes logits of different calibrators comparable, above 0: of a study's
            evidence, of heat maps and of drift.
        balanced: Decision threshold of the best Youden index, a logit.
        sensitive: Decision threshold that found 95 % of held-out tumors, a logit.
        specific: Decision threshold that 95 % of held-out tumor-free scans stayed under, a logit.
        tumor_logits: Held-out logits of scans with tumor, ascending, shape (n,). Used for
            conformal p-values.
        tumor_free_logits: Held-out logits of tumor-free scans, ascending, shape (m,).
        borrowed: Number of tumor-free scans that are simulated from people scanned in other
            sequences.
        judged: Number of held-out scans that were scored or refused; 0 where not recorded.
        refused: Number of those that were refused, all of them wrongly: each shows a brain.
    """

    temperature: float = 1.0
    offset: float = 0.0
    unit: float = 1.0
    balanced: float = 0.0
    sensitive: float = 0.0
    specific: float = 0.0
    tumor_logits: tuple[float, ...] = ()
    tumor_free_logits: tuple[float, ...] = ()
    borrowed: int = 0
    judged: int = 0
    refused: int = 0

    def probability(self, logit: float, prevalence: float = PREVALENCE) -> float:
        """Return the calibrated probability of a logit.

        Args:
            logit: Logit of the scan, before the temperature; it may be infinite.
            prevalence: Share of tumors among scans like it, above 0 and below 1.

        Returns:
            Probability of a tumor, 0..1 (Bayes' theorem on log odds).
        """
        return float(sigmoid(logit / self.temperature + self.offset + log_odds(prevalence)))

    def threshold(self, point: OperatingPoint) -> float:
        """Return the decision threshold of an operating point, a logit."""
        points = {
            "balanced": self.balanced,
            "sensitive": self.sensitive,
            "specific": self.specific,
        }
        return points[point]

    def evidence(self, logit: float) -> float:
        """Return how far a logit lies above the balanced threshold, in its calibrator's unit.

        Args:
            logit: Logit of the scan, before the temperature.

        Returns:
            Evidence, 0 at the threshold, so that scans of different calibrators can be averaged.
        """
        return (logit - self.balanced) / self.unit

    def limits(self, point: OperatingPoint, coverage: float | None) -> tuple[float, float]:
        """Return the two logits between which a scan is referred.

        Conformal sets are monotone in the logit: `tumor` is plausible from one held-out logit on,
        `no_tumor` up to another. Where the two references do not overlap, neither is plausible
        between these, and both limits are that of the operating point.

        Args:
            point: Operating point that decides where held-out logits do not.
            coverage: Share of scans whose true answer must not be ruled out, 0..1; None to refer
                nothing.

        Returns:
            Logit below which the answer is `no_tumor`, and logit from which on it is `tumor`; minus
            and plus infinity where an answer is never given.
        """
        threshold = self.threshold(point)
        if coverage is None or not (self.tumor_logits and self.tumor_free_logits):
            return threshold, threshold
        needed = _needed(len(self.tumor_logits), coverage)
        tumor_from = self.tumor_logits[needed - 1] if needed else -math.inf
        needed = _needed(len(self.tumor_free_logits), coverage)
        last = self.tumor_free_logits[-needed] if needed else math.inf
        no_tumor_until = math.nextafter(last, math.inf)
        if no_tumor_until >= tumor_from:
            return tumor_from, no_tumor_until
        amid = min(max(threshold, no_tumor_until), tumor_from)
        return amid, amid

    def answer(
        self,
        logit: float,
        point: OperatingPoint,
        coverage: float | None,
        prevalence: float = PREVALENCE,
    ) -> CalibratedAnswer:
        """Return the answer that belongs to a logit.

        Args:
            logit: Logit of the scan or study, before the temperature.
            point: Operating point that decides without a coverage or held-out logits.
            coverage: Share of scans whose true answer must not be ruled out, 0..1; None to refer
                nothing.
            prevalence: Share of tumors that the probability is stated for, above 0 and below 1. It
                moves probability and borders alike, so that the answer stays.

        Returns:
            The decision with the figures that it follows from.
        """
        p_values = self.p_values(logit)
        limits = self.limits(point, coverage)
        borders = Borders(*(self.probability(limit, prevalence) for limit in limits))
        decision: Decision = "refer"
        if logit < limits[0]:
            decision = "no_tumor"
        elif logit >= limits[1]:
            decision = "tumor"
        return CalibratedAnswer(
            decision=decision,
            probability=_on_side(self.probability(logit, prevalence), decision, borders),
            borders=borders,
            p_values=p_values,
            coverage=coverage if p_values else None,
            threshold=self.probability(self.threshold(point), prevalence),
            prevalence=prevalence,
        )

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


def _needed(count: int, coverage: float) -> int:
    """Return how many of `count` held-out scans must score no likelier for a plausible answer."""
    numbers = (number for number in range(count) if (1 + number) / (1 + count) > 1 - coverage)
    return next(numbers, count)


def _on_side(probability: float, decision: Decision, borders: Borders) -> float:
    """Return a probability on the side of the borders that its logit lies on.

    Far from 0, logits that differ have one probability in 64 bits.
    """
    if decision == "no_tumor":
        return min(probability, math.nextafter(borders.no_tumor_below, 0))
    if decision == "tumor":
        return max(probability, borders.tumor_from)
    return min(probability, math.nextafter(borders.tumor_from, 0))


def answer_of(p_values: Mapping[Answer, float], coverage: float, called: bool) -> Decision:
    """Return the one answer that is plausible, or `refer` where both are.

    Args:
        p_values: p-value of each answer, 0..1.
        coverage: Share of scans whose true answer must not be ruled out, 0..1. An answer is ruled
            out if its p-value is 1 - coverage or less.
        called: Whether the operating point is reached, which decides where neither is plausible.

    Returns:
        The answer, the same as by `Calibrator.limits`.
    """
    plausible: list[Answer] = [name for name, p in p_values.items() if p > 1 - coverage]
    if len(plausible) > 1:
        return "refer"
    if plausible:
        return plausible[0]
    return "tumor" if called else "no_tumor"


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
        shares = self.shares([sequence for sequence, _ in evidence])
        return float(np.dot(shares, [value for _, value in evidence]))

    def shares(self, sequences: Sequence[str]) -> list[float]:
        """Return how much each series of a study weighs in its answer.

        Args:
            sequences: Sequence of each series, at least one.

        Returns:
            Share of each series, 0..1, in their order; they sum to 1.
        """
        present = Counter(sequences)
        weights = {name: self.weights.get(name, self.weights.get(UNKNOWN, 0.0)) for name in present}
        if not any(weights.values()):
            weights = dict.fromkeys(present, 1.0)
        whole = sum(weights.values())
        return [weights[name] / whole / present[name] for name in sequences]


def reference_of(calibrator: Calibrator, scans: str) -> Reference | None:
    """Return the held-out scans of a calibrator; None where it has none.

    Args:
        calibrator: A calibrator.
        scans: Words for what its scans are, in the plural.

    Returns:
        Their kind and numbers.
    """
    numbers = len(calibrator.tumor_logits), len(calibrator.tumor_free_logits)
    return Reference(scans, *numbers, calibrator.borrowed) if all(numbers) else None


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

    def reference(self, *, volume: bool, sequence: str = UNKNOWN) -> Reference | None:
        """Return what a scan is compared with; None where its calibrator has no held-out logits."""
        kind = "pictures"
        if volume:
            kind = f"{sequence} series" if sequence in self.by_sequence else "series of all kinds"
        return reference_of(self.of(volume=volume, sequence=sequence), kind)


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
