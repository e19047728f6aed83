"""Tell which scans are series of one study: of one patient, on one visit.

To part what belongs together costs an answer that is less sure; to join two patients gives one of
them the other's tumor. So whatever is in doubt stands alone.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath

from meninx.detect.calibration import Calibration, Calibrator
from meninx.detect.findings import Findings
from meninx.scan.scan import Sequence
from meninx.scan.sequence import sequence_from_text

# Where a study is judged by one series: the sequences by how well tumors stand out in them.
LEADING: tuple[Sequence, ...] = ("FLAIR", "T1c", "T2", "T1", "unknown")

_VOLUME = re.compile(r"\.(nii|mgh|mgz|nrrd|nhdr|mha|mhd|hdr)(\.gz)?$", re.IGNORECASE)
# What names of files have for a sequence, as whole words. Agents count right after T1 alone:
# elsewhere "KM" and "CE" may be a patient's initials. "T1_FLAIR" is two places, as it may be the
# FLAIR of the first of two visits. After "sub-" and "ses-" BIDS has a patient's or a visit's own
# label, which may read T1 too.
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
        scan: Its name: file or folder, as the user knows it.
        identity: Its UIDs, as the public JSON has them; empty where it is no DICOM.
        sequence: Its MR sequence.

    Returns:
        StudyInstanceUID of DICOM; of NIfTI folder and file name with `*` in place of the sequence,
        such as `data/sub-01_*`. None for what stands alone: pictures, files whose name does not
        say the sequence, or says it in two places that differ.

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
    told = sequence_from_text(last.group() + (agent.group() if agent else ""))
    if told != sequence:
        return None
    return str(path.with_name(plain[: last.start()] + "*" + plain[last.end() :]))


def grouped_by_study(
    findings: Iterable[Findings],
) -> list[tuple[str | None, tuple[Findings, ...]]]:
    """Return findings by study.

    NIfTI files with names of one study are one if their sequences all differ: two of one sequence
    may be two visits, or two patients.

    Args:
        findings: Of any scans.

    Returns:
        Name and findings of each study, in the order of its first series. A volume that stands
        alone is a study by its own name. None names what is no study: a picture, or what could not
        be read.
    """
    groups: dict[str, list[Findings]] = {}
    for number, found in enumerate(findings):
        name = study_name(found.scan, found.identity, found.sequence)
        # Names hold no null character, so this one is nobody else's; careless exports give the
        # studies of two patients one UID.
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


def evidence_of(
    findings: Iterable[Findings], calibration: Calibration
) -> tuple[list[Findings], Calibrator, float]:
    """Return what a study is judged by.

    Args:
        findings: Of its series, one of them scored at least.
        calibration: Of the detector that scored them.

    Returns:
        The series that count, the calibrator that judges them, and their logit: of all volumes, on
        the calibrator of studies. Without that calibrator, or where no more than one volume was
        scored, of one series on its own calibrator, for which coverage is kept: the first by
        `LEADING`, and of several such the first in order. Single slices beside volumes do not
        count.
    """
    # A series that was given twice counts once.
    logits = {one.scan: (one, one.logit) for one in findings if one.logit is not None}
    scored = [(one, logit, calibration.of(volume=one.is_volume, sequence=one.sequence))
              for one, logit in logits.values()]  # fmt: skip
    volumes = [(one, logit, calibrator) for one, logit, calibrator in scored if one.is_volume]
    if calibration.study is None or len(volumes) < 2:
        one, logit, calibrator = min(
            volumes or scored, key=lambda series: LEADING.index(series[0].sequence)
        )
        return [one], calibrator, logit
    evidence = [(one.sequence, calibrator.evidence(logit)) for one, logit, calibrator in volumes]
    counted = [one for one, _, _ in volumes]
    return counted, calibration.study.calibrator, calibration.study.logit(evidence)
