"""Findings: the answer about a scan, its slices or its study."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from meninx._detect.calibration import PREVALENCE, Answer, Borders, Decision, Reference
from meninx._detect.preprocessing import Placement
from meninx._errors import InputError, UnsupportedScan
from meninx._scan.completeness import Incomplete
from meninx._scan.scan import Sequence
from meninx._scan.warning import ScanWarning

Status = Literal["scored", "refused", "failed"]
Voxel = tuple[int, int, int]


# Reason of an answer that is referred because no held-out scan is like it.
NOT_CALIBRATED = "not_calibrated"
# Types were learned and measured in T1 with contrast agent alone.
TYPED_SEQUENCE: Sequence = "T1c"
# Decimals of a probability in the public JSON, and a number that keeps every float as it is.
DECIMALS, ALL_DECIMALS = 6, 400
# With more than these, floats that differ next to 1 would be the same once rounded.
MAX_ROUNDED = 17
SCALE_KEYS = ("probability", "borders", "prevalence", "p_values", "coverage", "reference")


def _no_cells() -> NDArray[np.float32]:
    return np.empty((0, 0), dtype=np.float32)


def decimals_of(probability: float, borders: Borders, decimals: int = DECIMALS) -> int:
    """Return how many decimals keep a rounded probability on its side of rounded borders.

    Args:
        probability: Probability of a tumor, 0..1.
        borders: Borders of its answer.
        decimals: Smallest number of decimals.

    Returns:
        Number of decimals, `decimals` to 16, or `ALL_DECIMALS`.
    """
    decision = borders.decision(probability)
    for count in range(decimals, MAX_ROUNDED):
        rounded = Borders(*(round(border, count) for border in borders))
        if rounded.decision(round(probability, count)) == decision:
            return count
    return ALL_DECIMALS


def _scale_as_json(found: "Findings | StudyFindings") -> dict[str, Any]:
    """Return probability, borders and what they follow from, rounded alike."""
    if found.probability is None:
        return dict.fromkeys(SCALE_KEYS) | {"p_values": {}}
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
    """Return what findings of scans and studies have in common, from their public JSON."""
    borders, reference = stored.get("borders"), stored.get("reference")
    plain = ("reason", "message", "decision", "probability", "coverage")
    return {name: stored.get(name) for name in plain} | {
        "status": stored["status"],
        "borders": None if borders is None else Borders(**borders),
        "prevalence": stored.get("prevalence") or PREVALENCE,
        "p_values": stored.get("p_values") or {},
        "reference": None if reference is None else Reference(**reference),
        "incomplete": tuple(Incomplete(**count) for count in stored.get("incomplete") or ()),
        "model": stored.get("model") or {},
    }


@dataclass(frozen=True, eq=False)
class SliceFinding:
    """Findings of one slice.

    Args:
        index: Index of the slice in its scan, from 0.
        probability: Probability of a tumor in the slice, 0..1.
        peak: Hottest voxel [i, j, k], as the file stores it.
        cells: Probability of a tumor in each cell, 0..1, shape (m, n): the heat map before it is
            enlarged; shape (0, 0) where the map was dropped.
        placement: Placement of the network's input in the slice's image; None without a map.
    """

    index: int
    probability: float
    peak: Voxel
    cells: NDArray[np.float32] = field(default_factory=_no_cells, repr=False)
    placement: Placement | None = field(default=None, repr=False)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the slice that `as_json` gave, without its map."""
        i, j, k = stored["peak"]
        return cls(stored["index"], stored["probability"], (i, j, k))

    def as_json(self) -> dict[str, Any]:
        """Return the slice as the public JSON has it."""
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
        status: `scored`, `refused` (readable, but no scan to answer for) or `failed`.
        reason: Stable code of why it was refused or failed, or referred although scored:
            `incomplete` or `not_calibrated`.
        message: The reason in words.
        decision: `refer` where the detector's coverage leaves both answers open; without a coverage
            the decision of its operating point.
        probability: Probability of a tumor anywhere in the scan, 0..1.
        types: Probability of each type, if there is a tumor; empty if not scored.
        slices: Findings of the scored slices, by index; slices that show too little of the head are
            left out.
        identity: UIDs of DICOM, and a hash that stands for the patient; empty for other formats.
        model: Name and SHA-256 of the detector file.
        milliseconds: Time of each step, ms.
        is_volume: Whether the scan has more than one slice.
        borders: Borders of the answer on the scale of the probability; None if not scored.
        threshold: Decision threshold of the operating point, on the same scale, 0..1; None if not
            scored. The answer does not depend on it where there is a coverage.
        p_values: Conformal p-values of `tumor` and `no_tumor`, 0..1; empty where the detector has
            no held-out logits.
        coverage: Coverage that gave the borders, 0..1; None where the operating point did.
        prevalence: Share of tumors that the probability is stated for, 0..1.
        reference: Held-out scans that the answer is compared with; None where there are none.
        logit: Logit of the scan, before the temperature, from which the probability and the
            p-values follow; None if not scored.
        sequence: MR sequence of the scan: `T1`, `T1c`, `T2`, `FLAIR` or `unknown`.
        warnings: Oddities of the scan that did not keep it from being scored.
        incomplete: Counts of what was promised of the scan or its study and did not come; a scored
            scan is referred then.
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
    is_volume: bool = False
    borders: Borders | None = None
    threshold: float | None = None
    p_values: Mapping[Answer, float] = field(default_factory=dict)
    coverage: float | None = None
    prevalence: float = PREVALENCE
    reference: Reference | None = None
    logit: float | None = None
    sequence: Sequence = "unknown"
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
            error: Why it could not be scored: an `UnsupportedScan` was refused, any other failed.
            model: Name and SHA-256 of the detector file.
            identity: UIDs of the scan; the error's own by default.
            sequence: MR sequence of the scan, as far as it could be read.

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
            incomplete=error.incomplete,
        )

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the findings that `as_json` gave: its inverse.

        Args:
            stored: Public JSON of a scan; keys that an earlier version did not have may be missing.

        Returns:
            Findings with the same JSON; without heat maps and logit, which it does not have.
        """
        slices = tuple(map(SliceFinding.from_json, stored.get("slices") or ()))
        return cls(
            scan=stored["scan"],
            types=stored.get("types") or {},
            slices=slices,
            identity=stored.get("identity") or {},
            milliseconds=stored.get("milliseconds") or {},
            is_volume=len(slices) > 1,
            sequence=stored.get("sequence") or "unknown",
            warnings=tuple(ScanWarning(**warning) for warning in stored.get("warnings") or ()),
            **_answer_from_json(stored),
        )

    @property
    def hottest(self) -> SliceFinding | None:
        """The slice of the highest probability; None if none was scored."""
        return max(self.slices, key=lambda found: found.probability, default=None)

    def without_maps(self) -> "Findings":
        """Return the findings without heat maps: what the public JSON says, and no more."""
        slices = (SliceFinding(found.index, found.probability, found.peak) for found in self.slices)
        return replace(self, slices=tuple(slices))

    @property
    def called(self) -> bool:
        """Whether the probability reaches the operating point, whether referred or not."""
        if self.probability is None or self.threshold is None:
            return False
        return self.probability >= self.threshold

    @property
    def shown_types(self) -> Mapping[str, float]:
        """The types' probabilities where they were measured: a tumor in T1 with contrast agent."""
        measured = self.sequence == TYPED_SEQUENCE and self.decision == "tumor"
        return self.types if measured else {}

    def as_json(self) -> dict[str, Any]:
        """Return the findings as the public JSON has them: plain values, keys in fixed order."""
        return {
            "scan": self.scan,
            "identity": dict(self.identity),
            "sequence": self.sequence,
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
    """What a series brings to the answer about its study.

    Args:
        scan: Name of the scan.
        sequence: MR sequence of it.
        share: Share of the answer that is its, 0..1; those of a study sum to 1.
        evidence: Evidence for a tumor, above 0, or against one, below 0. The study's is the mean of
            its series', weighted by their shares.
    """

    scan: str
    sequence: Sequence
    share: float
    evidence: float

    def as_json(self) -> dict[str, Any]:
        """Return the weight as the public JSON has it."""
        return {
            "scan": self.scan,
            "sequence": self.sequence,
            "share": round(self.share, 4),
            "evidence": round(self.evidence, 3),
        }


@dataclass(frozen=True, eq=False)
class StudyFindings:
    """Findings of one study, from all its series at once.

    Args:
        study: Name of the study, as `study_grouping.study_name` returns it.
        series: Names of the scans that counted.
        decision: `refer` where the detector's coverage leaves both answers open; None if no series
            was scored.
        probability: Probability of a tumor in the study, 0..1.
        borders: Borders of the answer on the scale of the probability; None if not scored.
        p_values: Conformal p-values of `tumor` and `no_tumor`, 0..1; empty where the detector has
            no held-out logits.
        coverage: Coverage that gave the borders, 0..1; None where the operating point did.
        threshold: Decision threshold of the operating point, on the same scale, 0..1; None if not
            scored.
        prevalence: Share of tumors that the probability is stated for, 0..1.
        reference: Held-out scans that the answer is compared with; None where there are none.
        weighed: Weight and evidence of each series that counted.
        status: `scored` if any series was, else `refused` if any was, else `failed`.
        model: Name and SHA-256 of the detector file.
        reason: `incomplete` or `not_calibrated` where a scored study is referred for it; else None.
        message: The reason in words.
        incomplete: Counts of what was promised of the study or of its series and did not come.
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
    incomplete: tuple[Incomplete, ...] = ()

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the findings that `as_json` gave: its inverse.

        Args:
            stored: Public JSON of a study; keys that an earlier version did not have may be
                missing.

        Returns:
            Findings with the same JSON.
        """
        return cls(
            study=stored.get("study") or "",
            series=tuple(stored.get("series") or ()),
            weighed=tuple(SeriesWeight(**weight) for weight in stored.get("weights") or ()),
            **_answer_from_json(stored),
        )

    def as_json(self) -> dict[str, Any]:
        """Return the findings as the public JSON has them: plain values, keys in fixed order."""
        return {
            "study": self.study,
            "series": list(self.series),
            "weights": [weight.as_json() for weight in self.weighed],
            "status": self.status,
            "reason": self.reason,
            "message": self.message,
            "decision": self.decision,
            **_scale_as_json(self),
            "incomplete": [count.as_json() for count in self.incomplete],
            "model": dict(self.model),
        }
