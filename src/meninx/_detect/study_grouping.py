"""Group scans by study (one patient, one visit), and combine the evidence of a study's series.

Splitting a study only loses evidence; joining two patients would give one of them the other's
tumor. So a scan in doubt is a study by itself.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import NamedTuple

from meninx._detect.calibration import Calibration, Reference, StudyCalibrator, reference_of
from meninx._detect.calibrator import Calibrator
from meninx._detect.findings import Findings, SeriesWeight
from meninx._detect.recognition import calibrated_as
from meninx._scan.completeness import Incomplete
from meninx._scan.scan import Sequence as MrSequence
from meninx._scan.warning import ScanWarning

# Preferred sequence if one series answers for its study, by the contrast of tumors.
LEADING: tuple[MrSequence, ...] = ("FLAIR", "T1c", "T2", "T1", "unknown")

# Code of the warning of `_scan/sequence.py` that headers describe another contrast.
_OTHER_CONTRAST = "other_contrast"
_VOLUME = re.compile(r"\.(nii|mgh|mgz|nrrd|nhdr|mha|mhd|hdr)(\.gz)?$", re.IGNORECASE)
# Words for a sequence in file names. Words for a contrast agent count only right after T1:
# elsewhere "KM" and "CE" may be a patient's initials. "T1_FLAIR" names two sequences, because it
# may be the FLAIR of the first of two visits. In BIDS, "sub-" and "ses-" are followed by the label
# of a patient or a visit, which may be T1 too. Pictures do without: it is compiled on first use.
_AGENTS = r"(?:[-_ ]*(?:c|ce|gd|gad[a-z]*|km|post|contrast))*"
_GRADIENT_ECHO = r"(?:mprage|mp-rage|bravo|spgr)"
_SEQUENCE = (
    r"(?i)(?<![^\W_])(?<!sub-)(?<!ses-)"
    rf"(?:t1[wn]?{_AGENTS}(?:[-_ ]*{_GRADIENT_ECHO}{_AGENTS})?|{_GRADIENT_ECHO}{_AGENTS}"
    r"|(?:t2w?[-_ ]*)?(?:flair|tirm|dark[-_ ]?fluid)|t2[wf]?)(?![^\W_])"
)
# BIDS: the contrast agent of a series, such as "_ce-gadolinium".
_AGENT = r"(?i)_ce-(?:gd|gad[a-z]*|contrast)(?=_)"


def study_name(scan: str, identity: Mapping[str, str], sequence: MrSequence) -> str | None:
    """Return the name shared by all series of a scan's study.

    Args:
        scan: Name of the scan: file or folder, as the user knows it.
        identity: UIDs of the scan, as in the public JSON; empty if it is not DICOM.
        sequence: MR sequence of the scan.

    Returns:
        The StudyInstanceUID of DICOM; for NIfTI the path with `*` in place of the sequence, such as
        `data/sub-01_*`. None for a scan that belongs to no study: a picture, or a file whose name
        contains no sequence or two different ones.

    References:
        DICOM PS3.3 C.7.2.1; Gorgolewski et al. 2016, The brain imaging data structure.
    """
    if identity:
        return identity.get("study_instance_uid") or None
    path = PurePath(scan)
    stem, found = _VOLUME.subn("", path.name)
    if not found or sequence == "unknown" or "*" in stem:
        return None
    agent = re.search(_AGENT, stem)
    plain = re.sub(_AGENT, "", stem, count=1)
    places = list(re.finditer(_SEQUENCE, plain))
    if not places:
        return None
    from meninx._scan.sequence import sequence_from_text

    last = places[-1]
    named = sequence_from_text(last.group() + (agent.group() if agent else ""))
    if named != sequence:
        return None
    return str(path.with_name(plain[: last.start()] + "*" + plain[last.end() :]))


def grouped_by_study(
    findings: Iterable[Findings],
) -> list[tuple[str | None, tuple[Findings, ...]]]:
    """Group findings by study.

    NIfTI files with matching names are one study only if their sequences all differ: two files of
    one sequence may be two visits or two patients.

    Args:
        findings: Findings of any number of scans.

    Returns:
        Name and findings of each study, in the order of its first series. A volume that belongs to
        no study is a study by its own name. The name of pictures and unreadable scans is None.
    """
    groups: dict[str, list[Findings]] = {}
    for number, found in enumerate(findings):
        name = study_name(found.scan, found.identity, found.sequence)
        # No name contains a null character, so this key is unique. The patient is part of the key
        # because careless exports give two patients one StudyInstanceUID.
        key = f"\0{number}" if name is None else f"{name}\0{found.identity.get('patient', '')}"
        groups.setdefault(key, []).append(found)
    studies: list[tuple[str | None, tuple[Findings, ...]]] = []
    for key, members in groups.items():
        name = key.partition("\0")[0]
        sequences = {found.scan: found.sequence for found in members}
        is_dicom = bool(members[0].identity)
        if not name or not (is_dicom or len(set(sequences.values())) == len(sequences)):
            studies += [(found.scan if found.is_volume else None, (found,)) for found in members]
        else:
            studies.append((name, tuple(members)))
    return studies


class StudyEvidence(NamedTuple):
    """The combined evidence of the series of a study.

    Args:
        counted: Series that count.
        calibrator: Calibrator of the logit.
        logit: Logit of the study, before the temperature.
        weighed: Weight and evidence of each counted series.
        reference: Held-out scans that the logit is compared with.
    """

    counted: list[Findings]
    calibrator: Calibrator
    logit: float
    weighed: tuple[SeriesWeight, ...]
    reference: Reference | None


def evidence_of(findings: Iterable[Findings], calibration: Calibration) -> StudyEvidence:
    """Combine the evidence of the series of a study.

    Args:
        findings: Findings of its series, at least one of them scored.
        calibration: Calibrators of the detector that scored them.

    Returns:
        The evidence of all scored volumes, with the calibrator of studies. Without this calibrator,
        or with fewer than two scored volumes: the evidence of one series with its own calibrator,
        which keeps its coverage; the series is the first by `LEADING`, then by order. Single slices
        do not count beside volumes, nor uncalibrated series beside others.
    """
    series = _scored_series(findings)
    volumes = [pair for pair in series if pair[0].is_volume]
    if calibration.study is None or len(volumes) < 2:
        found, logit = min(volumes or series, key=lambda pair: LEADING.index(pair[0].scored_as))
        calibrator = _calibrator_of(found, calibration)
        weight = SeriesWeight(found.scan, found.scored_as, 1.0, calibrator.evidence(logit))
        return StudyEvidence([found], calibrator, logit, (weight,), found.reference)
    evidence = [_calibrator_of(found, calibration).evidence(logit) for found, logit in volumes]
    return _combined([found for found, _ in volumes], evidence, calibration.study)


def is_unread_of_other_contrast(scan: Findings) -> bool:
    """Return whether a series could not be read, and its headers describe another contrast."""
    codes = {warning.code for warning in scan.warnings}
    return scan.status == "failed" and _OTHER_CONTRAST in codes


def missing_of_study(
    findings: Sequence[Findings], uncounted: Sequence[Findings]
) -> tuple[Incomplete, ...]:
    """Return what is missing of a study: files of its series, and series that can't be read.

    Args:
        findings: Findings of its series.
        uncounted: Those of them that can't count, whatever is missing of them.

    Returns:
        Counts of what is missing of the study, and of the series that may count.
    """
    others = {scan.scan for scan in uncounted}
    # All series of a study report what is missing of the study.
    missing = dict.fromkeys(
        count
        for scan in findings
        for count in scan.incomplete
        if scan.scan not in others or not count.of_series
    )
    names = {scan.scan for scan in findings} - others
    failed = {scan.scan for scan in findings if scan.status == "failed"} - others
    if failed:
        missing[Incomplete("series of the study", len(names), len(names - failed))] = None
    return tuple(missing)


def not_counted(others: Sequence[Findings], unread: Sequence[Findings]) -> tuple[ScanWarning, ...]:
    """Return the warning that series of a study do not count; none if all may.

    Args:
        others: Scored series that are not calibrated.
        unread: Series of another contrast that could not be read.

    Returns:
        At most one warning.
    """
    texts = []
    # By name: a series that was scored twice is one.
    if count := len({scan.scan for scan in others}):
        lacking = len({scan.scan for scan in others if scan.incomplete})
        what = f"{count} series of another contrast or in thick sagittal or coronal slices"
        texts.append(f"{what} ({lacking} incomplete)" if lacking else what)
    if count := len({scan.scan for scan in unread}):
        texts.append(f"{count} series of another contrast that could not be read")
    if not texts:
        return ()
    return (ScanWarning("not_counted", f"not counted in this study: {', '.join(texts)}"),)


def _scored_series(findings: Iterable[Findings]) -> list[tuple[Findings, float]]:
    """Return the scored series and their logits; uncalibrated ones only if all are."""
    # By name, so that a series given twice counts once.
    scored = {found.scan: (found, found.logit) for found in findings if found.logit is not None}
    calibrated = [pair for pair in scored.values() if pair[0].calibrated]
    return calibrated or list(scored.values())


def _calibrator_of(found: Findings, calibration: Calibration) -> Calibrator:
    judged_as = calibrated_as(found.sequence, found.recognized, volume=found.is_volume)
    return calibration.of(volume=found.is_volume, sequence=judged_as)


def _combined(
    volumes: list[Findings], evidence: list[float], study: StudyCalibrator
) -> StudyEvidence:
    """Combine the evidence of each volume by the calibrator of studies."""
    sequences = [found.scored_as for found in volumes]
    weighed = tuple(
        SeriesWeight(found.scan, found.scored_as, share, value)
        for found, share, value in zip(volumes, study.shares(sequences), evidence, strict=True)
    )
    return StudyEvidence(
        volumes,
        study.calibrator,
        study.logit(list(zip(sequences, evidence, strict=True))),
        weighed,
        reference_of(study.calibrator, "people"),
    )
