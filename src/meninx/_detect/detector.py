"""Score scans and studies: the only way to a score for all commands, evaluations and pages."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from meninx._detect.calibrator import (
    PREVALENCE,
    CalibratedAnswer,
    Calibrator,
    OperatingPoint,
    sigmoid,
)
from meninx._detect.decision import (
    DEFAULT_COVERAGE,
    NOT_CALIBRATED,
    forced_referral,
    uncalibrated,
)
from meninx._detect.engine import Engine, Output, Workers
from meninx._detect.findings import TYPED_SEQUENCE, Findings, SliceFinding, StudyFindings
from meninx._detect.gate import NO_OOD_MODEL, check_in_distribution, check_scan
from meninx._detect.head_slices import brain_slices, part_of_head
from meninx._detect.network_input import NetworkInput, prepared
from meninx._detect.peak import hottest_position
from meninx._detect.pooling import averaged_over_depth, slice_logits
from meninx._detect.preprocessing import Placement
from meninx._detect.recognition import (
    Recognized,
    calibrated_as,
    is_turned,
    plane_scored_as,
    recognition_warnings,
    recognized_of,
    sequence_scored_as,
    turn_to_try,
)
from meninx._errors import InputError, ModelError, OptionError, UnsupportedScan
from meninx._scan.completeness import INCOMPLETE
from meninx._scan.scan import Scan, Slice
from meninx._scan.scan import Sequence as MrSequence
from meninx._scan.warning import ScanWarning

# Sequences for which types are computed; for pictures, whose sequence is unknown, they are
# evaluated but not shown.
_TYPED_SEQUENCES = (TYPED_SEQUENCE, "unknown")
_NO_SERIES_CALIBRATED = (
    "no series of the study is of a plane and contrast on which probabilities were calibrated"
)
Answered = TypeVar("Answered", Findings, StudyFindings)
# Attributes that may have been changed since it was loaded.
_PICKLED = ("operating_point", "coverage", "prevalence", "card")


class Detector:
    """A detector of tumors: a network, its preprocessing and its calibration.

    Args:
        path: A detector file, as `meninx train` writes it.
        threads: Threads per slice; 0 for the number in `OMP_NUM_THREADS`, else all cores. If
            several scans are scored at a time, 1 is faster.
        operating_point: Name of the decision threshold: `balanced`, `sensitive` or `specific`.
        coverage: Share of scans with tumor, and of tumor-free scans, whose true answer must not be
            ruled out, 0..1. A scan with two plausible answers is referred. None to refer none and
            decide by the operating point.
        prevalence: Prevalence of tumors that probabilities refer to, above 0 and below 1; no
            decision depends on it.

    Raises:
        ModelError: If the file is damaged or no detector.
        OptionError: If the prevalence is out of range.
    """

    def __init__(
        self,
        path: Path,
        threads: int = 0,
        operating_point: OperatingPoint = "balanced",
        coverage: float | None = DEFAULT_COVERAGE,
        prevalence: float = PREVALENCE,
    ) -> None:
        if not 0 < prevalence < 1:
            raise OptionError(
                f"prevalence {prevalence:g}: expected a share of tumors above 0 and below 1, such "
                "as 0.01"
            )
        self._engine = Engine(path, threads)
        self._loaded_with = (path, threads, operating_point, coverage, prevalence)
        self.operating_point = operating_point
        self.coverage = coverage
        self.prevalence = prevalence
        self.card = self._engine.card
        self.model = {"name": self.card.name, "sha256": self._engine.sha256}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy a detector as its file and options: a network can't be pickled."""
        changed = {name: getattr(self, name) for name in _PICKLED}
        return _loaded_again, (type(self), self._loaded_with, self.model["sha256"], changed)

    @property
    def path(self) -> Path:
        """The detector file."""
        return self._loaded_with[0]

    @property
    def threads(self) -> int:
        """Number of threads that compute a scan."""
        return self._engine.threads

    def score(self, scan: Scan, *, alone: bool = True) -> Findings:
        """Score a scan.

        Args:
            scan: A volume or a picture.
            alone: Whether all threads compute it; if not, and it is a picture, only the thread that
                calls, which is faster where several are scored at a time.

        Returns:
            The findings; `refused` if the scan fails a check of its kind, size or content.
        """
        started = time.perf_counter()
        try:
            check_scan(scan)
        except InputError as error:
            return self._refused(error, scan)
        slices = brain_slices(scan)
        with self._engine.workers(len(slices), alone=alone) as workers:
            found = prepared(self.card.preprocessing, scan, slices, mapped=workers.map)
            prepared_at = time.perf_counter()
            output, recognized = self._upright(scan, found, workers)
        inferred_at = time.perf_counter()
        try:
            check_in_distribution(scan, output.ood_scores, self.card.ood_threshold)
        except UnsupportedScan as error:
            return self._refused(error, scan)
        return self._findings(
            scan,
            slices,
            found.placement,
            output,
            recognized,
            {
                "preprocess": (prepared_at - started) * 1e3,
                "infer": (inferred_at - prepared_at) * 1e3,
            },
        )

    def input_stack(
        self, scan: Scan, slices: Sequence[Slice], wanted: Sequence[int] | None = None
    ) -> tuple[NDArray[np.float32], Placement]:
        """Return the network's input for a scan: slices with their neighbors, scaled to 0..1.

        Args:
            scan: The scan to score.
            slices: Neighboring slices of it, in order; they share one crop window.
            wanted: Indices into `slices` of those to return, k of them; None for all. Only these
                and their neighbors are prepared.

        Returns:
            Input of the network before normalization, 0..1, shape (k, 3, s, s), and its placement
            in the slices' images.
        """
        found = prepared(self.card.preprocessing, scan, slices, wanted)
        return found.stack(), found.placement

    def slice_logits(self, stack: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits of single slices.

        Args:
            stack: Slices with their neighbors, scaled to 0..1, shape (b, 3, s, s), as `input_stack`
                returns them.

        Returns:
            Logits before the temperature, not averaged over depth, shape (b,).
        """
        return slice_logits(self._infer(stack).cell_logits, self.card.top_cells)

    def ood_scores(self, stack: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the out-of-distribution scores of single slices.

        Args:
            stack: Slices with their neighbors, scaled to 0..1, shape (b, 3, s, s), as `input_stack`
                returns them.

        Returns:
            Scores, 1 at the threshold, shape (b,).
        """
        return self._infer(stack).ood_scores

    def score_study(self, findings: Sequence[Findings], name: str) -> StudyFindings:
        """Return one answer for all series of a study.

        Volumes are weighted by sequence and combined by the calibrator of studies. If the detector
        file has none, or fewer than two volumes were scored, the answer is that of one series: the
        first in the order FLAIR, T1c, T2, T1, unknown.

        What is missing of the study, or of a series that may count, makes the study incomplete.
        What is missing of a series that can't count, of another contrast or in thick sagittal or
        coronal slices, is said in a warning.

        Args:
            findings: Findings of its series, as `score` returns them. Refused and unreadable series
                do not count, nor do single slices beside volumes.
            name: Name of the study.

        Returns:
            The answer at this detector's coverage, and the series that counted.
        """
        from meninx._detect.study_grouping import (
            evidence_of,
            is_unread_of_other_contrast,
            missing_of_study,
            not_counted,
        )

        # A detector that was calibrated on series of any kind may have seen any contrast.
        by_contrast = bool(self.card.calibration.by_sequence)
        unread = [scan for scan in findings if by_contrast and is_unread_of_other_contrast(scan)]
        if not any(scan.status == "scored" for scan in findings):
            refused = any(scan.status == "refused" for scan in findings)
            return StudyFindings(
                name,
                status="refused" if refused else "failed",
                model=self.model,
                warnings=not_counted([], unread),
                incomplete=missing_of_study(findings, unread),
            )
        evidence = evidence_of(findings, self.card.calibration)
        comparable = any(scan.calibrated for scan in evidence.counted)
        others = [scan for scan in findings if comparable and not scan.calibrated]
        study = StudyFindings(
            study=name,
            series=tuple(scan.scan for scan in evidence.counted),
            status="scored",
            model=self.model,
            warnings=not_counted(others, unread),
            incomplete=missing_of_study(findings, [*others, *unread]),
            reference=evidence.reference,
            weighed=evidence.weighed,
            **self._answer(evidence.calibrator, evidence.logit)._asdict(),
        )
        return _referred(study, "" if comparable else _NO_SERIES_CALIBRATED)

    def _answer(self, calibrator: Calibrator, logit: float) -> CalibratedAnswer:
        """Return the answer for a logit with this detector's options."""
        return calibrator.answer(logit, self.operating_point, self.coverage, self.prevalence)

    def _infer(self, stack: NDArray[np.float32]) -> Output:
        """Return the network's output for slices with neighbors, 0..1, shape (b, 3, h, w)."""
        with self._engine.workers(len(stack)) as workers:
            return self._output(lambda part: stack[part], len(stack), workers)

    def _output(
        self, stack_of: Callable[[slice], NDArray[np.float32]], count: int, workers: Workers
    ) -> Output:
        """Return the network's output for `count` slices, of which `stack_of` returns a part."""
        normalize = self.card.preprocessing.normalize
        outputs = workers.map(
            lambda part: workers.run(normalize(stack_of(part))), workers.parts(count)
        )
        return Output.joined(outputs)

    def _upright(
        self, scan: Scan, found: NetworkInput, workers: Workers
    ) -> tuple[Output, Recognized | None]:
        """Return the network's output for a scan, and what is recognized of it.

        Slices that are certainly turned, in a file without an orientation, are turned back first.
        The cells are returned as the file stores the slices.
        """
        output, heads = self._output(found.stack, len(found), workers), self.card.heads
        recognized = recognized_of(scan, output.recognition, heads)
        turn = turn_to_try(scan, output.recognition, heads)
        if not turn:
            return output, recognized

        def turned_back(part: slice) -> NDArray[np.float32]:
            stack = np.rot90(found.stack(part), -turn // 90, axes=(2, 3))
            return np.ascontiguousarray(stack)

        upright = self._output(turned_back, len(found), workers)
        if not is_turned(scan, turn, output.recognition, upright.recognition, heads):
            return output, recognized and replace(recognized, turn=None)
        cells = np.rot90(upright.cell_logits, turn // 90, axes=(1, 2))
        recognized = recognized_of(scan, upright.recognition, heads)
        output = upright._replace(cell_logits=np.ascontiguousarray(cells))
        return output, recognized and replace(recognized, turn=turn)

    def _refused(self, error: InputError, scan: Scan) -> Findings:
        refused = Findings.of_error(error, self.model, scan.identity.as_json(), scan.sequence)
        return replace(refused, incomplete=scan.incomplete)

    def _findings(
        self,
        scan: Scan,
        slices: list[Slice],
        placement: Placement,
        output: Output,
        recognized: Recognized | None,
        milliseconds: dict[str, float],
    ) -> Findings:
        sequence = sequence_scored_as(scan.sequence, recognized)
        calibration = self.card.calibration
        judged_as = calibrated_as(scan.sequence, recognized, volume=scan.is_volume)
        calibrator = calibration.of(volume=scan.is_volume, sequence=judged_as)
        depths = scan.depths_mm if scan.is_volume else None
        if depths is not None:
            depths = depths[[scan_slice.index for scan_slice in slices]]
        cell_logits = averaged_over_depth(output.cell_logits, depths)
        logits = slice_logits(cell_logits, self.card.top_cells)
        logit = float(logits.max())
        answer = self._answer(calibrator, logit)
        # On the scan's scale: the highest slice has the probability of the scan.
        probabilities = [
            min(calibrator.probability(float(logit), self.prevalence), answer.probability)
            for logit in logits
        ]
        probabilities[int(logits.argmax())] = answer.probability
        found = tuple(
            self._slice_finding(image, placement, cells, probability)
            for image, cells, probability in zip(slices, cell_logits, probabilities, strict=True)
        )
        findings = Findings(
            scan=scan.name,
            status="scored",
            types=self._types(sequence, output.type_logits, logits),
            slices=tuple(sorted(found, key=lambda finding: finding.index)),
            identity=scan.identity.as_json(),
            model=self.model,
            milliseconds=milliseconds,
            slice_count=len(scan),
            reference=calibration.reference(volume=scan.is_volume, sequence=judged_as),
            logit=logit,
            sequence=scan.sequence,
            recognized=recognized,
            warnings=(
                *scan.warnings,
                *part_of_head(scan, slices),
                *recognition_warnings(
                    scan,
                    recognized,
                    by_sequence=scan.is_volume or calibration.has(judged_as, volume=False),
                ),
                *((NO_OOD_MODEL,) if self.card.ood_threshold is None else ()),
            ),
            incomplete=scan.incomplete,
            **answer._asdict(),
        )
        # A detector that was calibrated on series of any kind may have seen such a contrast.
        is_other = scan.is_volume and scan.other_contrast and bool(calibration.by_sequence)
        plane = plane_scored_as(scan, recognized)
        return _referred(findings, uncalibrated(plane, other_contrast=is_other))

    def _slice_finding(
        self,
        image: Slice,
        placement: Placement,
        cells: NDArray[np.float32],
        probability: float,
    ) -> SliceFinding:
        row, column = placement.to_image(*hottest_position(cells, placement.input_size))
        return SliceFinding(
            index=image.index,
            probability=probability,
            peak=image.voxel_at(row, column),
            # Maps of all kinds of scans share the scale of pictures.
            cells=sigmoid(cells / self.card.calibration.picture.unit).astype(np.float32),
            placement=placement,
        )

    def _types(
        self, sequence: MrSequence, type_logits: NDArray[np.float32], logits: NDArray[np.float32]
    ) -> dict[str, float]:
        """Return the probability of each type, averaged over slices by their tumor odds.

        Types were trained on T1 with contrast agent alone; other sequences have none.
        """
        if sequence not in _TYPED_SEQUENCES or not self.card.types:
            return {}
        weights = np.exp(logits - logits.max())
        shares = np.exp(type_logits - type_logits.max(axis=1, keepdims=True))
        shares = shares / shares.sum(axis=1, keepdims=True)
        mean = weights @ shares / weights.sum()
        return dict(zip(self.card.types, map(float, mean), strict=True))


def _loaded_again(
    kind: type[Detector], loaded_with: tuple[Any, ...], sha256: str, changed: Mapping[str, Any]
) -> Detector:
    """Return a detector that was pickled, from the same file."""
    detector = kind(*loaded_with)
    if detector.model["sha256"] != sha256:
        raise ModelError(
            f"{loaded_with[0]}: another file than when the detector was pickled; load it again"
        )
    for name, value in changed.items():
        setattr(detector, name, value)
    return detector


def _referred(findings: Answered, why: str) -> Answered:
    """Return findings with the forced referral that applies to them, if any.

    Args:
        findings: Scored findings.
        why: Why no held-out scan is comparable, see `uncalibrated`; empty if some are.

    Returns:
        The findings; borders and reference are removed if they did not decide. If they are
        incomplete and not calibrated, a warning says the latter: it stays once they are complete.
    """
    referral = forced_referral(findings.incomplete, why)
    if referral is None:
        return findings
    if why and referral.reason == INCOMPLETE:
        warning = ScanWarning(NOT_CALIBRATED, why)
        findings = replace(findings, warnings=(*findings.warnings, warning))
    return replace(
        findings,
        decision="refer",
        reason=referral.reason,
        message=referral.message,
        borders=None,
        p_values={},
        coverage=None,
        reference=None,
    )
