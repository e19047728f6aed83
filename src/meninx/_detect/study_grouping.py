"""Group scans by study (one patient, one visit), and combine the evidence of a study's series.

Series that are parted wrongly cost certainty; two patients that are joined wrongly give one of them
the other's tumor. So a scan stands alone where there is any doubt.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import NamedTuple

from meninx._detect.calibration import Calibration, Calibrator, Reference, reference_of
from meninx._detect.findings import NOT_CALIBRATED, Findings, SeriesWeight
from meninx._scan.scan import Sequence
from meninx._scan.sequence import sequence_from_text

# Where one series answers for its study: the sequences by how well tumors stand out in them.
LEADING: tuple[Sequence, ...] = ("FLAIR", "T1c", "T2", "T1", "unknown")

_VOLUME = re.compile(r"\.(nii|mgh|mgz|nrrd|nhdr|mha|mhd|hdr)(\.gz)?$", re.IGNORECASE)
# Words for a sequence in the names of files. Words for a contrast agent count only right after T1:
# elsewhere "KM" and "CE" may be a patient's initials. "T1_FLAIR" names two sequences, as it may be
# the FLAIR of the first of two visits. After "sub-" and "ses-" BIDS has the label of a patient or a
# visit, which may read T1 too.
_AGENTS = r"(?:[-_ ]*(?:c|ce|gd|gad[a-z]*|km|post|contrast))*"
_GRADIENT_ECHO = r"(?:mprage|mp-rage|bravo|spgr)"
_SEQUENCE = re.compile(
    r"(?<![^\W_])(?<!sub-)(?<!ses-)"
    rf"(?:t1[wn]?{_AGENTS}(?:[-_ ]*{_GRADIENT_ECHO}{_AGENTS})?|{_GRADIENT_ECHO}{_AGENTS}"
    r"|(?:t2w?[-_ ]*)?(?:flair|tirm|dark[-_ ]?fluid)|t2[wf]?)(?![^\W_])",
    re.IGNORECASE,
)
# BIDS: the agent of a series, such as "_ce-gadolinium". Other labels may be anything.
_AGENT = re.compile(r"_ce-(?:gd|gad[a-z]*|contrast)(?=_)", re.IGNORECASE)


def study_name(scan: str, identity: Mapping[str, str], sequence: Sequence) -> str | None:
    """Return the name that all series of a scan's study share.

    Args:
        scan: Name of the scan: file or folder, as the user knows it.
        identity: UIDs of the scan, as the public JSON has them; empty where it is no DICOM.
        sequence: MR sequence of the scan.

    Returns:
        For DICOM the StudyInstanceUID; for NIfTI the path with `*` in place of the sequence, such
        as `data/sub-01_*`. None for a scan that stands alone: a picture, or a file whose name gives
        no sequence, or two different ones.

    References:
        DICOM PS3.3 C.7.2.1; Gorgolewski et al. 2016, The brain imaging data structure.
    """
    if identity:
        return identity.get("study_instance_uid") or None
    path = PurePath(scan)
    stem, found = _VOLUME.subn("", path.name)
    if not found or sequence == "unknown" or "*" in stem:
        return None
    agent = _AGENT.search(stem)
    plain = _AGENT.sub("", stem, count=1)
    places = list(_SEQUENCE.finditer(plain))
    if not places:
        return None
    last = places[-1]
    named = sequence_from_text(last.group() + (agent.group() if agent else ""))
    if named != sequence:
        return None
    return str(path.with_name(plain[: last.start()] + "*" + plain[last.end() :]))


def grouped_by_study(
    findings: Iterable[Findings],
) -> list[tuple[str | None, tuple[Findings, ...]]]:
    """Return findings by study.

    NIfTI files whose names agree are one study only if their sequences all differ: two files of one
    sequence may be two visits, or two patients.

    Args:
        findings: Findings of any number of scans.

    Returns:
        Name and findings of each study, in the order of its first series. A volume that stands
        alone is a study by its own name. The name is None where there is no study: for a picture,
        and for a scan that could not be read.
    """
    groups: dict[str, list[Findings]] = {}
    for number, found in enumerate(findings):
        name = study_name(found.scan, found.identity, found.sequence)
        # No name contains a null character, so this key is unique. The patient is part of a key
        # because careless exports give the studies of two patients one UID.
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
    """What the series of a study say together.

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
    """Return the series that count for a study, and what they say together.

    Args:
        findings: Findings of its series, at least one of them scored.
        calibration: Calibrators of the detector that scored them.

    Returns:
        All scored volumes with the calibrator of studies. Without a calibrator of studies, or with
        fewer than two scored volumes: one series with its own calibrator, for which coverage is
        kept; the series is the first by `LEADING`, then by order. Single slices beside volumes do
        not count, nor do series that were never calibrated beside others.
    """
    # By name, so that a series which was given twice counts once.
    scored = {found.scan: (found, found.logit) for found in findings if found.logit is not None}
    known = [pair for pair in scored.values() if pair[0].reason != NOT_CALIBRATED]
    series = known or list(scored.values())
    volumes = [pair for pair in series if pair[0].is_volume]

    def calibrator_of(found: Findings) -> Calibrator:
        return calibration.of(volume=found.is_volume, sequence=found.sequence)

    if calibration.study is None or len(volumes) < 2:
        found, logit = min(volumes or series, key=lambda pair: LEADING.index(pair[0].sequence))
        calibrator = calibrator_of(found)
        weight = SeriesWeight(found.scan, found.sequence, 1.0, calibrator.evidence(logit))
        return StudyEvidence([found], calibrator, logit, (weight,), found.reference)
    evidence = [calibrator_of(found).evidence(logit) for found, logit in volumes]
    names = [found.sequence for found, _ in volumes]
    weighed = tuple(
        SeriesWeight(found.scan, found.sequence, share, value)
        for (found, _), share, value in zip(
            volumes, calibration.study.shares(names), evidence, strict=True
        )
    )
    return StudyEvidence(
        [found for found, _ in volumes],
        calibration.study.calibrator,
        calibration.study.logit(list(zip(names, evidence, strict=True))),
        weighed,
        reference_of(calibration.study.calibrator, "people"),
    )
