"""The findings of a scan, its slices or its study, and their public JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from meninx._detect.calibration import Reference
from meninx._detect.calibrator import PREVALENCE
from meninx._detect.decision import NOT_CALIBRATED, Answer, Borders, Decision
from meninx._detect.preprocessing import Placement
from meninx._detect.recognition import (
    Recognized,
    recognized_from_json,
    sequence_scored_as,
)
from meninx._errors import InputError, UnsupportedScan
from meninx._scan.completeness import Incomplete
from meninx._scan.scan import Sequence
from meninx._scan.warning import ScanWarning

Status = Literal["scored", "refused", "failed"]
Voxel = tuple[int, int, int]


# Types were trained and evaluated on T1 with contrast agent alone.
TYPED_SEQUENCE: Sequence = "T1c"
# Decimals of a probability in the public JSON, and a number that leaves every float unchanged.
DECIMALS, ALL_DECIMALS = 6, 400
# Decimals from which rounding leaves floats near 1 unchanged.
_MAX_ROUNDED = 17
_SCALE_KEYS = ("probability", "borders", "prevalence", "p_values", "coverage", "reference")


def _no_cells() -> NDArray[np.float32]:
    return np.empty((0, 0), dtype=np.float32)


def decimals_of(probability: float, borders: Borders, decimals: int = DECIMALS) -> int:
    """Return how many decimals keep a rounded probability on the same side of rounded borders.

    Args:
        probability: Probability of a tumor, 0..1.
        borders: Borders of its answer.
        decimals: Smallest number of decimals.

    Returns:
        Number of decimals, `decimals` to 16, or `ALL_DECIMALS`.
    """
    decision = borders.decision(probability)
    for count in range(decimals, _MAX_ROUNDED):
        rounded = Borders(*(round(border, count) for border in borders))
        if rounded.decision(round(probability, count)) == decision:
            return count
    return ALL_DECIMALS


def _scale_as_json(found: "Findings | StudyFindings") -> dict[str, Any]:
    """Return the keys `_SCALE_KEYS`, probability and borders rounded to the same decimals."""
    if found.probability is None:
        return dict.fromkeys(_SCALE_KEYS) | {"p_values": {}}
    count, borders = DECIMALS, None
    if found.borders is not None:
        count = decimals_of(found.probability, found.borders)
        borders = {name: round(value, count) for name, value in found.borders._asdict().items()}
    return {
        "probability": round(found.probability, count),
        "borders": borders,
        "prevalence": found.prevalence,
        "p_values": {answer: round(p, 4) for answer, p in found.p_values.items()},
        "coverage": found.coverage,
        "reference": None if found.reference is None else found.reference._asdict(),
    }


def _answer_from_json(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that findings of scans and studies share, from their public JSON."""
    borders, reference = stored["borders"], stored["reference"]
    plain = (
        "status",
        "reason",
        "message",
        "decision",
        "probability",
        "p_values",
        "coverage",
        "model",
    )
    return {name: stored[name] for name in plain} | {
        "borders": None if borders is None else Borders(**borders),
        "prevalence": stored["prevalence"] or PREVALENCE,
        "reference": None if reference is None else Reference(**reference),
        "incomplete": tuple(Incomplete(**count) for count in stored["incomplete"]),
    }


@dataclass(frozen=True, eq=False)
class SliceFinding:
    """Findings of one slice.

    Args:
        index: Index of the slice in its scan, from 0.
        probability: Probability of a tumor in the slice, 0..1.
        peak: Hottest voxel [i, j, k], as the file stores it.
        cells: Heat of each cell, 0..1, shape (m, n): the heat map before it is enlarged; shape
            (0, 0) without a map.
        placement: Placement of the network's input in the slice's image; None without a map.
    """

    index: int
    probability: float
    peak: Voxel
    cells: NDArray[np.float32] = field(default_factory=_no_cells, repr=False)
    placement: Placement | None = field(default=None, repr=False)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the finding from its public JSON, without a map."""
        i, j, k = stored["peak"]
        return cls(stored["index"], stored["probability"], (i, j, k))

    def as_json(self) -> dict[str, Any]:
        """Return the finding as public JSON."""
        return {
            "index": self.index,
            "probability": round(self.probability, 6),
            "peak": list(self.peak),
        }


@dataclass(frozen=True, eq=False)
class Findings:
    """Findings of one scan.

    Args:
        scan: Name of the scan, as the user knows it.
        status: `scored`, `refused` (readable, but not a brain MRI to score) or `failed`.
        reason: Stable code of a refusal or failure; of a scored scan `incomplete` or
            `not_calibrated` if it is referred for that, regardless of its score.
        message: The reason in words.
        decision: Answer, or `refer`; None if not scored.
        probability: Probability of a tumor anywhere in the scan, 0..1.
        types: Probability of each type, given a tumor; empty if not computed.
        slices: Findings of the scored slices, by index. Slices that show too little of the head are
            not scored.
        identity: UIDs of DICOM, and a hash of the patient; empty for other formats.
        model: Name and SHA-256 of the detector file.
        milliseconds: Time of each step, ms.
        slice_count: Number of slices of the scan, scored or not.
        borders: Borders of the answer on the scale of the probability; None if not scored.
        threshold: Decision threshold of the operating point, on the same scale, 0..1; None if not
            scored. With a coverage, the decision does not depend on it.
        p_values: Conformal p-values of `tumor` and `no_tumor`, 0..1; empty if the detector has no
            held-out logits.
        coverage: Coverage that determined the borders, 0..1; None if the operating point did.
        prevalence: Prevalence of tumors that the probability refers to, 0..1.
        reference: Held-out scans that the answer is compared with; None if there are none.
        logit: Logit of the scan, before the temperature; None if not scored.
        sequence: MR sequence by headers or name: `T1`, `T1c`, `T2`, `FLAIR` or `unknown`.
        recognized: What was recognized of it; None for a detector without heads.
        warnings: Irregularities of the scan that did not prevent scoring.
        incomplete: Counts of what is missing of the scan or its study; a scored scan is then
            referred.
    """

    scan: str
    status: Status
    reason: str | None = None
    message: str | None = None
    decision: Decision | None = None
    probability: float | None = None
    types: Mapping[str, float] = field(default_factory=dict)
    slices: tuple[SliceFinding, ...] = ()
    identity: Mapping[str, str] = field(default_factory=dict)
    model: Mapping[str, str] = field(default_factory=dict)
    milliseconds: Mapping[str, float] = field(default_factory=dict)
    slice_count: int = 1
    borders: Borders | None = None
    threshold: float | None = None
    p_values: Mapping[Answer, float] = field(default_factory=dict)
    coverage: float | None = None
    prevalence: float = PREVALENCE
    reference: Reference | None = None
    logit: float | None = None
    sequence: Sequence = "unknown"
    recognized: Recognized | None = None
    warnings: tuple[ScanWarning, ...] = ()
    incomplete: tuple[Incomplete, ...] = ()

    @classmethod
    def of_error(
        cls,
        error: InputError,
        model: Mapping[str, str],
        identity: Mapping[str, str] | None = None,
        sequence: Sequence = "unknown",
    ) -> "Findings":
        """Return the findings of a scan that could not be scored.

        Args:
            error: Why it could not be scored: `refused` for an `UnsupportedScan`, else `failed`.
            model: Name and SHA-256 of the detector file.
            identity: UIDs of the scan; the error's own by default.
            sequence: MR sequence of the scan, if known.

        Returns:
            Findings without a probability.
        """
        return cls(
            scan=error.place,
            status="refused" if isinstance(error, UnsupportedScan) else "failed",
            reason=error.reason,
            message=str(error).removeprefix(f"{error.place}: "),
            identity=dict(identity or error.identity),
            model=model,
            sequence=sequence,
            warnings=error.warnings,
            incomplete=error.incomplete,
        )

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return findings from their public JSON: the inverse of `as_json`.

        Args:
            stored: Public JSON of a scan.

        Returns:
            Findings with the same JSON, without heat maps and logit. The JSON does not tell the
            number of slices: it is taken to end with the last scored one.
        """
        slices = tuple(map(SliceFinding.from_json, stored["slices"]))
        return cls(
            scan=stored["scan"],
            types=stored["types"],
            slices=slices,
            identity=stored["identity"],
            milliseconds=stored["milliseconds"],
            slice_count=slices[-1].index + 1 if slices else 1,
            sequence=stored["sequence"],
            recognized=recognized_from_json(stored.get("recognized")),
            warnings=tuple(ScanWarning(**warning) for warning in stored["warnings"]),
            **_answer_from_json(stored),
        )

    @property
    def calibrated(self) -> bool:
        """Whether no reason or warning says that no held-out scan is comparable with it."""
        codes = {self.reason, *(warning.code for warning in self.warnings)}
        return NOT_CALIBRATED not in codes

    @property
    def is_volume(self) -> bool:
        """Whether the scan has more than one slice."""
        return self.slice_count > 1

    @property
    def hottest(self) -> SliceFinding | None:
        """The slice with the highest probability; None if none was scored."""
        return max(self.slices, key=lambda found: found.probability, default=None)

    def without_maps(self) -> "Findings":
        """Return the findings without heat maps."""
        slices = (SliceFinding(found.index, found.probability, found.peak) for found in self.slices)
        return replace(self, slices=tuple(slices))

    @property
    def called(self) -> bool:
        """Whether the probability reaches the operating point, even if the scan is referred."""
        if self.probability is None or self.threshold is None:
            return False
        return self.probability >= self.threshold

    @property
    def scored_as(self) -> Sequence:
        """The sequence as which it was scored: its own or, where none is named, the recognized."""
        return sequence_scored_as(self.sequence, self.recognized)

    @property
    def shown_types(self) -> Mapping[str, float]:
        """The probabilities of types, only of a tumor in T1 with contrast agent."""
        evaluated = self.scored_as == TYPED_SEQUENCE and self.decision == "tumor"
        return self.types if evaluated else {}

    def as_json(self) -> dict[str, Any]:
        """Return the findings as public JSON: plain values, keys in fixed order."""
        return {
            "scan": self.scan,
            "identity": dict(self.identity),
            "sequence": self.sequence,
            "recognized": None if self.recognized is None else self.recognized.as_json(),
            "status": self.status,
            "reason": self.reason,
            "message": self.message,
            "decision": self.decision,
            **_scale_as_json(self),
            "types": {name: round(share, 4) for name, share in self.shown_types.items()},
            "slices": [found.as_json() for found in self.slices],
            "warnings": [warning.as_json() for warning in self.warnings],
            "incomplete": [count.as_json() for count in self.incomplete],
            "model": dict(self.model),
            "milliseconds": {step: round(time, 2) for step, time in self.milliseconds.items()},
        }


@dataclass(frozen=True)
class SeriesWeight:
    """Weight and evidence of a series in the answer of its study.

    Args:
        scan: Name of the scan.
        sequence: MR sequence of the scan.
        share: Weight in the answer, 0..1; those of a study sum to 1.
        evidence: Evidence for a tumor (above 0) or against one (below 0). The evidence of the study
            is the mean over its series, weighted by their shares.
    """

    scan: str
    sequence: Sequence
    share: float
    evidence: float

    def as_json(self) -> dict[str, Any]:
        """Return the weight as public JSON."""
        return {
            "scan": self.scan,
            "sequence": self.sequence,
            "share": round(self.share, 4),
            "evidence": round(self.evidence, 3),
        }


@dataclass(frozen=True, eq=False)
class StudyFindings:
    """Findings of one study, combined from its series.

    Args:
        study: Name of the study, as `study_grouping.study_name` returns it.
        series: Names of the scans that counted.
        decision: Answer, or `refer`; None if no series was scored.
        probability: Probability of a tumor in the study, 0..1.
        borders: Borders of the answer on the scale of the probability; None if not scored.
        p_values: Conformal p-values of `tumor` and `no_tumor`, 0..1; empty if the detector has no
            held-out logits.
        coverage: Coverage that determined the borders, 0..1; None if the operating point did.
        threshold: Decision threshold of the operating point, on the same scale, 0..1; None if not
            scored.
        prevalence: Prevalence of tumors that the probability refers to, 0..1.
        reference: Held-out scans that the answer is compared with; None if there are none.
        weighed: Weight and evidence of each series that counted.
        status: `scored` if any series was scored, else `refused` if any was refused, else `failed`.
        model: Name and SHA-256 of the detector file.
        reason: `incomplete` or `not_calibrated` if a scored study is referred for that; else None.
        message: The reason in words.
        warnings: Series that do not count, and what else does not depend on a single series.
        incomplete: Counts of what is missing of the study or its series.
    """

    study: str
    series: tuple[str, ...] = ()
    decision: Decision | None = None
    probability: float | None = None
    borders: Borders | None = None
    p_values: Mapping[Answer, float] = field(default_factory=dict)
    coverage: float | None = None
    threshold: float | None = None
    prevalence: float = PREVALENCE
    reference: Reference | None = None
    weighed: tuple[SeriesWeight, ...] = ()
    status: Status = "failed"
    model: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None
    message: str | None = None
    warnings: tuple[ScanWarning, ...] = ()
    incomplete: tuple[Incomplete, ...] = ()

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return findings from their public JSON: the inverse of `as_json`.

        Args:
            stored: Public JSON of a study; one that was stored before there were `warnings` has
                none.

        Returns:
            Findings with the same JSON.
        """
        return cls(
            study=stored["study"],
            series=tuple(stored["series"]),
            weighed=tuple(SeriesWeight(**weight) for weight in stored["weights"]),
            warnings=tuple(ScanWarning(**warning) for warning in stored.get("warnings", ())),
            **_answer_from_json(stored),
        )

    def as_json(self) -> dict[str, Any]:
        """Return the findings as public JSON: plain values, keys in fixed order."""
        return {
            "study": self.study,
            "series": list(self.series),
            "weights": [weight.as_json() for weight in self.weighed],
            "status": self.status,
            "reason": self.reason,
            "message": self.message,
            "decision": self.decision,
            **_scale_as_json(self),
            "warnings": [warning.as_json() for warning in self.warnings],
            "incomplete": [count.as_json() for count in self.incomplete],
            "model": dict(self.model),
        }
