"""The calibrators of a detector: of pictures, volumes, sequences and studies."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from meninx._detect.calibrator import Calibrator

# Key of the weight of series whose sequence is unknown or has none of its own.
UNKNOWN = "unknown"


class Reference(NamedTuple):
    """The held-out scans that an answer is compared with.

    Args:
        scans: Kind of scans, in the plural, such as `T1c series`.
        tumor: Number of scans with a tumor.
        tumor_free: Number of tumor-free scans.
        borrowed: Number of tumor-free scans simulated from people scanned in other sequences.
    """

    scans: str
    tumor: int
    tumor_free: int
    borrowed: int = 0


def reference_of(calibrator: Calibrator, scans: str) -> Reference | None:
    """Return the held-out scans of a calibrator; None if it has none.

    Args:
        calibrator: A calibrator.
        scans: Kind of its scans, in the plural.

    Returns:
        Kind and numbers of the scans.
    """
    numbers = len(calibrator.tumor_logits), len(calibrator.tumor_free_logits)
    return Reference(scans, *numbers, calibrator.borrowed) if all(numbers) else None


@dataclass(frozen=True)
class StudyCalibrator:
    """The calibrator of studies, which combines the evidence of several series.

    The maximum over series, or the union of their conformal sets, does not keep the coverage,
    because each series adds a chance of a false alarm. One logit per study, compared with those of
    held-out studies, does.

    Args:
        weights: Weight of each sequence by name, at least 0; `unknown` for all others.
        calibrator: Calibration of the combined logits.
    """

    weights: Mapping[str, float]
    calibrator: Calibrator

    def logit(self, evidence: Sequence[tuple[str, float]]) -> float:
        """Return the weighted mean of the series' evidence.

        Args:
            evidence: Sequence and `Calibrator.evidence` of each series, at least one. Series of one
                sequence share its weight.

        Returns:
            The study's logit, before its temperature; the unweighted mean over sequences if none of
            them has a weight.
        """
        shares = self.shares([sequence for sequence, _ in evidence])
        return float(np.dot(shares, [value for _, value in evidence]))

    def shares(self, sequences: Sequence[str]) -> list[float]:
        """Return the weight of each series in the answer of its study.

        Args:
            sequences: Sequence of each series, at least one.

        Returns:
            Share of each series, 0..1, in the same order; they sum to 1.
        """
        present = Counter(sequences)
        weights = {name: self.weights.get(name, self.weights.get(UNKNOWN, 0.0)) for name in present}
        if not any(weights.values()):
            weights = dict.fromkeys(present, 1.0)
        total = sum(weights.values())
        return [weights[name] / total / present[name] for name in sequences]


@dataclass(frozen=True)
class Calibration:
    """The calibrators of a detector, stored in its file.

    Args:
        picture: Calibrator of single pictures, and of the slices of a volume.
        volume: Calibrator of volumes, whose logit is a maximum over many slices.
        by_sequence: Calibrator of volumes by MR sequence: `T1`, `T1c`, `T2`, `FLAIR`. Coverage then
            holds per sequence (Mondrian conformal prediction, Vovk et al. 2005, section 4.5). A
            sequence with too few held-out people is missing.
        study: Calibrator of studies; None if too few were held out.
        picture_by_sequence: Calibrator of single pictures by MR sequence, as `by_sequence`; empty
            where no slices of held-out people were scored alone.
    """

    picture: Calibrator = field(default_factory=Calibrator)
    volume: Calibrator = field(default_factory=Calibrator)
    by_sequence: Mapping[str, Calibrator] = field(default_factory=dict)
    study: StudyCalibrator | None = None
    picture_by_sequence: Mapping[str, Calibrator] = field(default_factory=dict)

    def of(self, *, volume: bool, sequence: str = UNKNOWN) -> Calibrator:
        """Return the calibrator of a scan.

        Args:
            volume: Whether it has more than one slice.
            sequence: MR sequence of the scan, as its file says or as recognized.

        Returns:
            The calibrator of pictures, or of volumes, of their sequence if there is one.
        """
        own, pooled = self._side(volume=volume)
        return own.get(sequence, pooled)

    def has(self, sequence: str, *, volume: bool) -> bool:
        """Return whether pictures, or volumes, of a sequence have a calibrator of their own."""
        return sequence in self._side(volume=volume)[0]

    def reference(self, *, volume: bool, sequence: str = UNKNOWN) -> Reference | None:
        """Return the held-out scans that a scan is compared with; None if there are none."""
        kind = "series of all kinds" if volume else "pictures"
        if self.has(sequence, volume=volume):
            kind = f"{sequence} {'series' if volume else 'pictures'}"
        return reference_of(self.of(volume=volume, sequence=sequence), kind)

    def _side(self, *, volume: bool) -> tuple[Mapping[str, Calibrator], Calibrator]:
        """Return the calibrators by sequence and the pooled one, of volumes or pictures."""
        if volume:
            return self.by_sequence, self.volume
        return self.picture_by_sequence, self.picture
