"""Score scans: the one way by which the command line, the evaluation and the web page get there."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from meninx._detect.calibration import (
    DEFAULT_COVERAGE,
    PREVALENCE,
    CalibratedAnswer,
    Calibrator,
    OperatingPoint,
    averaged_over_depth,
    sigmoid,
    slice_logits,
)
from meninx._detect.engine import Engine, Output
from meninx._detect.findings import (
    NOT_CALIBRATED,
    TYPED_SEQUENCE,
    Findings,
    SliceFinding,
    Status,
    StudyFindings,
)
from meninx._detect.gate import check_in_distribution, check_scan
from meninx._detect.neighbors import neighbor_indices, neighbor_indices_at
from meninx._detect.peak import hottest_position
from meninx._detect.preprocessing import (
    Placement,
    crop_window_of,
    sampled,
)
from meninx._detect.runtimes import Runtime
from meninx._detect.study_grouping import evidence_of
from meninx._errors import InputError, OptionError, UnsupportedScan
from meninx._scan.background import FOREGROUND_LEVEL, intensity_range
from meninx._scan.completeness import INCOMPLETE, Incomplete, incomplete_message
from meninx._scan.scan import Scan, Slice
from meninx._scan.warning import ScanWarning

# Slices with less foreground than this share of the fullest one show the crown or the neck.
MIN_HEAD_SHARE = 0.25
# Sequences in which types are computed; of a picture the sequence is not known, and its types are
# measured but not shown.
TYPED_SEQUENCES = (TYPED_SEQUENCE, "unknown")
Answered = TypeVar("Answered", Findings, StudyFindings)
# Held-out series were all read along the body's axis.
UNCALIBRATED_PLANES = ("sagittal", "coronal")
# Slices that cover less of a head are no whole one, mm: of 65 volumes of whole tumor-free heads the
# least has 94 once crown and neck are left out; slabs have up to 58.
MIN_COVERED_MM = 80.0
# Slices a call: bounds the memory of a long series; larger batches are no faster on a CPU.
BATCH = 8


class Detector:
    """A detector of tumors: a network, its preprocessing and its calibration.

    Args:
        path: A detector file, as `meninx train` writes it.
        threads: Threads that share one slice; 0 for the number in `OMP_NUM_THREADS`, or else all
            cores. Where several scans are scored at a time, 1 is faster.
        operating_point: Name of the decision threshold: `balanced`, `sensitive` or `specific`.
        coverage: Share of scans with tumor, and of tumor-free scans, whose true answer must not be
            ruled out, 0..1. A scan for which both answers stay open is referred. None to refer
            nothing and decide by the operating point.
        runtime: Library that computes the network: `onnxruntime` or `openvino`.
        prevalence: Share of tumors that probabilities are stated for, above 0 and below 1; no
            answer depends on it.

    Raises:
        ModelError: If the file is damaged or no detector.
        OptionError: If the runtime is not installed, or the prevalence is none.
    """

    def __init__(
        self,
        path: Path,
        threads: int = 0,
        operating_point: OperatingPoint = "balanced",
        coverage: float | None = DEFAULT_COVERAGE,
        runtime: Runtime = "onnxruntime",
        prevalence: float = PREVALENCE,
    ) -> None:
        if not 0 < prevalence < 1:
            raise OptionError(
                f"prevalence {prevalence:g}: expected a share of tumors above 0 and below 1, such "
                "as 0.01"
            )
        self._engine = Engine(path, threads, runtime)
        self.operating_point = operating_point
        self.coverage = coverage
        self.prevalence = prevalence
        self.card = self._engine.card
        self.model = {"name": self.card.name, "sha256": self._engine.sha256}

    def score(self, scan: Scan) -> Findings:
        """Score a scan.

        Args:
            scan: A volume or a picture.

        Returns:
            The findings; `refused` if the scan fails a check of its kind, size or content.
        """
        started = time.perf_counter()
        try:
            check_scan(scan)
        except InputError as error:
            return self._refused(error, scan)
        slices = brain_slices(scan)
        stack, placement = self.input_stack(scan, slices)
        prepared_at = time.perf_counter()
        output = self._infer(stack)
        inferred_at = time.perf_counter()
        try:
            check_in_distribution(scan, output.ood_scores, self.card.ood_threshold)
        except UnsupportedScan as error:
            return self._refused(error, scan)
        return self._findings(
            scan,
            slices,
            placement,
            output.cell_logits,
            output.type_logits,
            {
                "preprocess": (prepared_at - started) * 1e3,
                "infer": (inferred_at - prepared_at) * 1e3,
            },
        )

    def input_stack(
        self, scan: Scan, slices: Sequence[Slice], wanted: Sequence[int] | None = None
    ) -> tuple[NDArray[np.float32], Placement]:
        """Return what the network sees of a scan: slices with their neighbors, scaled to 0..1.

        Args:
            scan: The scan to score.
            slices: Neighboring slices of it, in order; they share one crop window.
            wanted: Indices into `slices` of those to return, k of them; None for all. Only these
                and their neighbors are prepared.

        Returns:
            Input of the network before normalization, 0..1, shape (k, 3, s, s), and its placement
            in the slices' images.
        """
        preprocessing = self.card.preprocessing
        crop_window = crop_window_of(np.stack([one.image for one in sampled(slices)]))
        placement = preprocessing.placement(
            crop_window, slices[0].image.shape, slices[0].pixel_spacing
        )
        indices = _neighbor_indices(scan, slices)
        if wanted is not None:
            indices = indices[list(wanted)]
        needed, place = np.unique(indices, return_inverse=True)
        units = np.stack(
            [preprocessing.rescale(slices[n].image, crop_window, placement) for n in needed]
        )
        return units[place.reshape(indices.shape)], placement

    def slice_logits(self, stack: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits of single slices, each by itself.

        Args:
            stack: Slices with their neighbors, scaled to 0..1, shape (b, 3, s, s), as `input_stack`
                returns them.

        Returns:
            Logits before the temperature, not averaged over depth, shape (b,).
        """
        return slice_logits(self._infer(stack).cell_logits, self.card.top_cells)

    def ood_scores(self, stack: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the out-of-distribution scores of single slices, each by itself.

        Args:
            stack: Slices with their neighbors, scaled to 0..1, shape (b, 3, s, s), as `input_stack`
                returns them.

        Returns:
            Scores, 1 at the threshold of known slices, shape (b,).
        """
        return self._infer(stack).ood_scores

    def score_study(self, findings: Sequence[Findings], name: str) -> StudyFindings:
        """Return one answer for all series of a study.

        Volumes are weighted by sequence and combined by the calibrator of studies. Where the
        detector file has none, or fewer than two volumes were scored, the answer is that of one
        series: the first in the order FLAIR, T1c, T2, T1, unknown.

        Args:
            findings: Findings of its series, as `score` returns them. Localizers and other series
                that were refused or could not be read do not count, nor do single slices beside
                volumes.
            name: Name of the study.

        Returns:
            The answer at this detector's coverage, and the series that counted.
        """
        # Series of one study repeat what is missing of the study.
        missing = dict.fromkeys(count for scan in findings for count in scan.incomplete)
        names = {scan.scan for scan in findings}
        failed = {scan.scan for scan in findings if scan.status == "failed"}
        if failed:
            missing[Incomplete("series of the study", len(names), len(names - failed))] = None
        incomplete = tuple(missing)
        if not any(scan.status == "scored" for scan in findings):
            refused = any(scan.status == "refused" for scan in findings)
            status: Status = "refused" if refused else "failed"
            return StudyFindings(name, status=status, model=self.model, incomplete=incomplete)
        evidence = evidence_of(findings, self.card.calibration)
        study = StudyFindings(
            study=name,
            series=tuple(scan.scan for scan in evidence.counted),
            status="scored",
            model=self.model,
            incomplete=incomplete,
            reference=evidence.reference,
            weighed=evidence.weighed,
            **self._answer(evidence.calibrator, evidence.logit)._asdict(),
        )
        never = all(scan.reason == NOT_CALIBRATED for scan in evidence.counted)
        return _referred(study, "all series of the study in other planes" if never else "")

    def _answer(self, calibrator: Calibrator, logit: float) -> CalibratedAnswer:
        """Return the answer of a logit with this detector's options."""
        return calibrator.answer(logit, self.operating_point, self.coverage, self.prevalence)

    def _infer(self, stack: NDArray[np.float32]) -> Output:
        """Return the network's output for slices with neighbors, 0..1, shape (b, 3, h, w)."""
        x = self.card.preprocessing.normalize(stack)
        return Output.joined(
            [self._engine.run(x[start : start + BATCH]) for start in range(0, len(x), BATCH)]
        )

    def _refused(self, error: InputError, scan: Scan) -> Findings:
        refused = Findings.of_error(error, self.model, scan.identity.as_json(), scan.sequence)
        return replace(refused, incomplete=scan.incomplete)

    def _findings(
        self,
        scan: Scan,
        slices: list[Slice],
        placement: Placement,
        cell_logits: NDArray[np.float32],
        type_logits: NDArray[np.float32],
        milliseconds: dict[str, float],
    ) -> Findings:
        calibrator = self.card.calibration.of(volume=scan.is_volume, sequence=scan.sequence)
        depths = scan.depths_mm if scan.is_volume else None
        if depths is not None:
            depths = depths[[one.index for one in slices]]
        cell_logits = averaged_over_depth(cell_logits, depths)
        logits = slice_logits(cell_logits, self.card.top_cells)
        logit = float(logits.max())
        answer = self._answer(calibrator, logit)
        # On the scan's scale: the highest slice has the scan's own probability.
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
            types=self._types(scan, type_logits, logits),
            slices=found,
            identity=scan.identity.as_json(),
            model=self.model,
            milliseconds=milliseconds,
            is_volume=scan.is_volume,
            reference=self.card.calibration.reference(
                volume=scan.is_volume, sequence=scan.sequence
            ),
            logit=logit,
            sequence=scan.sequence,
            warnings=(*scan.warnings, *_part_of_head(scan, slices)),
            incomplete=scan.incomplete,
            **answer._asdict(),
        )
        return _referred(findings, _uncalibrated_plane(scan))

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
            # Heat is no probability: maps of all kinds of scans share one scale, that of pictures.
            cells=sigmoid(cells / self.card.calibration.picture.unit).astype(np.float32),
            placement=placement,
        )

    def _types(
        self, scan: Scan, type_logits: NDArray[np.float32], logits: NDArray[np.float32]
    ) -> dict[str, float]:
        """Return the probability of each type, slices weighted by how much tumor they show.

        Types were learned from T1 with contrast agent alone: other sequences get none.
        """
        if scan.sequence not in TYPED_SEQUENCES or not self.card.types:
            return {}
        weights = np.exp(logits - logits.max())
        shares = np.exp(type_logits - type_logits.max(axis=1, keepdims=True))
        shares = shares / shares.sum(axis=1, keepdims=True)
        mean = weights @ shares / weights.sum()
        return dict(zip(self.card.types, map(float, mean), strict=True))


def _referred(findings: Answered, uncalibrated: str) -> Answered:
    """Refer what can't be answered whatever the network says, with the reason.

    What came incomplete: the missing part may hold the tumor, or what explains it. What was never
    calibrated: no held-out scan is like it.

    Args:
        findings: Scored findings.
        uncalibrated: What of them was never calibrated, in words; empty if all was.

    Returns:
        The findings, referred if there is a reason to.
    """
    if not (findings.incomplete or uncalibrated):
        return findings
    referred = replace(
        findings,
        decision="refer",
        reason=NOT_CALIBRATED,
        message=f"{uncalibrated}: probabilities were calibrated on axial series alone",
    )
    if findings.incomplete:
        message = incomplete_message(findings.incomplete)
        referred = replace(referred, reason=INCOMPLETE, message=message)
    # No border decided, and what was held out is not like it.
    return replace(referred, borders=None, p_values={}, coverage=None, reference=None)


def _uncalibrated_plane(scan: Scan) -> str:
    """Return the plane that a series is read in if none was calibrated in it; else empty."""
    plane = scan.view.plane if scan.is_volume else None
    return f"a series in {plane} slices" if plane in UNCALIBRATED_PLANES else ""


def _part_of_head(scan: Scan, slices: Sequence[Slice]) -> tuple[ScanWarning, ...]:
    """Return a warning where the slices that show the head cover no more than a part of it."""
    depths = scan.depths_mm
    if not scan.is_volume or depths is None or scan.slice_gap_mm is None:
        return ()
    covered = abs(depths[slices[-1].index] - depths[slices[0].index]) + scan.slice_gap_mm
    if covered >= MIN_COVERED_MM:
        return ()
    much = "a part" if scan.geometry_estimated else f"{covered:.0f} mm"
    text = f"the slices cover {much} of the head; what lies beyond them was not looked at"
    return (ScanWarning("part_of_head", text),)


def _neighbor_indices(scan: Scan, slices: Sequence[Slice]) -> NDArray[np.intp]:
    """Return the indices of the slice below, the slice and the slice above, shape (n, 3)."""
    if scan.positions_mm is None:
        return neighbor_indices(len(slices), scan.slice_gap_mm)
    return neighbor_indices_at(np.array([scan.positions_mm[one.index] for one in slices]))


def brain_areas(scan: Scan) -> NDArray[np.intp]:
    """Return how many pixels of each slice are brighter than air.

    The level of air follows from the intensities of the whole scan: by its own intensities, a slice
    of mere noise would be bright nearly everywhere.

    Args:
        scan: A volume or a picture.

    Returns:
        Number of pixels of each slice, in order, shape (n,).
    """
    return head_areas(np.moveaxis(scan.voxels, scan.view.slice_axis, 0))


def head_areas(volume: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return how many pixels of each slice are brighter than air; slices have shape (n, ...)."""
    low, high = intensity_range(sampled(volume))
    level = low + FOREGROUND_LEVEL * (high - low)
    return np.array([np.count_nonzero(one > level) for one in volume])


def brain_slices(scan: Scan) -> list[Slice]:
    """Return the slices of a scan that show enough of the head to be scored.

    Args:
        scan: A volume or a picture.

    Returns:
        Neighboring slices, at least one, in order.
    """
    if len(scan) == 1:
        return [scan.slice(0)]
    along = np.moveaxis(scan.voxels, scan.view.slice_axis, 0)
    kept = brain_range(along)
    return [scan.slice(index) for index in range(kept.start, kept.stop)]


def brain_range(volume: NDArray[np.float32]) -> slice:
    """Return the range of slices that show enough of the head to be scored.

    Args:
        volume: Slices along the first axis, shape (n, ...).

    Returns:
        Neighboring slices, at least one.
    """
    areas = head_areas(volume)
    kept = np.flatnonzero(areas >= MIN_HEAD_SHARE * areas.max())
    return slice(int(kept[0]), int(kept[-1]) + 1)
