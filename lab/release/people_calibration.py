"""Calibrate volumes and studies on held-out people."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from meninx._assess.cases import Case
from meninx._detect.calibration import Calibration
from meninx._detect.calibrator import Calibrator
from meninx._detect.findings import Findings
from meninx._learn.file.validation import fit_calibrator, fit_study_calibrator, with_refusals

# A sequence gets a calibrator of its own where each class has at least this many people; with
# fewer, p-values are too coarse for a coverage of 95 %.
MIN_PEOPLE = 19


def fit_people(cases: Sequence[Case], tumor_free: Iterable[Findings] = ()) -> Calibration:
    """Fit the calibrators of volumes, of each sequence and of studies.

    Args:
        cases: Volumes of held-out people, each scored without a calibrator by a network that was
            not fitted on the person's hospital or source.
        tumor_free: Findings of further tumor-free scans, simulated in sequences that no tumor-free
            person among the cases has.

    Returns:
        The calibration; its calibrator of pictures is the default one.

    References:
        Vovk, Lindsay, Nouretdinov and Gammerman 2003, Mondrian confidence machine.
    """
    simulated = list(tumor_free)
    found = [(case.findings, case.picture.tumor) for case in cases]
    found += [(findings, False) for findings in simulated]
    volume = calibrator_of(found, simulated)
    by_sequence: dict[str, Calibrator] = {}
    for sequence in sorted({one.sequence for one, _ in found} - {"unknown"}):
        own = [pair for pair in found if pair[0].sequence == sequence]
        sizes = [
            sum(tumor == side and one.logit is not None for one, tumor in own)
            for side in (True, False)
        ]
        if min(sizes) >= MIN_PEOPLE:
            by_sequence[sequence] = calibrator_of(own, simulated)
    plain = Calibration(volume=volume, by_sequence=by_sequence)
    studies: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    has_tumor: dict[str, bool] = {}
    for case in cases:
        if case.findings.logit is not None:
            person = case.picture.person
            studies[person][case.findings.sequence].append(case.findings.logit)
            has_tumor[person] = case.picture.tumor
    sequences = {sequence for own in studies.values() for sequence in own}
    # People with a single series count too: few tumor-free people have two, and as a single series
    # carries less evidence, the p-values become more conservative.
    study = fit_study_calibrator(
        [{key: float(np.mean(values)) for key, values in own.items()} for own in studies.values()],
        np.array([has_tumor[person] for person in studies]),
        {key: plain.of(volume=True, sequence=key) for key in sequences},
    )
    return Calibration(volume=volume, by_sequence=by_sequence, study=study)


def calibrator_of(
    found: Sequence[tuple[Findings, bool]], simulated: Sequence[Findings] = ()
) -> Calibrator:
    """Return the calibrator of some scans.

    Args:
        found: Findings of each scan, and whether it has a tumor.
        simulated: Findings of tumor-free scans that are simulated from other sequences, which may
            be among them.

    Returns:
        The calibrator, with the number of refused scans.
    """
    scored = [(findings, tumor) for findings, tumor in found if findings.logit is not None]
    made = {id(findings) for findings in simulated}
    calibrator = fit_calibrator(
        np.array([findings.logit for findings, _ in scored]),
        np.array([tumor for _, tumor in scored]),
        borrowed=sum(id(findings) in made for findings, _ in scored),
    )
    return with_refusals(calibrator, [findings for findings, _ in found])
