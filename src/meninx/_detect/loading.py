"""Load a detector, from a file or the shipped one."""

from functools import cache
from pathlib import Path

from meninx._detect.calibrator import PREVALENCE, OperatingPoint
from meninx._detect.decision import DEFAULT_COVERAGE
from meninx._detect.detector import Detector
from meninx._detect.model_card import WEIGHTS
from meninx._detect.precision import DEFAULT_PRECISION, Precision
from meninx._errors import ModelError

# Folder beside an ensemble with a copy of each member's file.
MEMBERS = "members"


def load_detector(
    path: str | Path | None = None,
    *,
    threads: int = 0,
    operating_point: OperatingPoint = "balanced",
    coverage: float | None = DEFAULT_COVERAGE,
    precision: Precision = DEFAULT_PRECISION,
    prevalence: float = PREVALENCE,
) -> Detector:
    """Load a detector.

    Args:
        path: A detector file; None for the one that ships with the package.
        threads: Threads per slice; 0 for the number in `OMP_NUM_THREADS`, else all cores. If
            several scans are scored at a time, 1 is faster.
        operating_point: `balanced` (best Youden index), `sensitive` (sensitivity of 95 % in
            held-out scans) or `specific` (specificity of 95 %).
        coverage: Share of scans with tumor, and of tumor-free scans, whose true answer must not be
            ruled out, 0..1. None to refer none and decide by the operating point.
        precision: Arithmetic of the shipped detector: `int8`, or `fp32`, which takes twice the time
            on a CPU and less on a GPU. A `path` is computed in the format of its file.
        prevalence: Prevalence of tumors that probabilities refer to, above 0 and below 1; no
            decision depends on it.

    Returns:
        The detector, which may be used from several threads.

    Raises:
        ModelError: If the file is missing, damaged or no detector.
        OptionError: If the prevalence is out of range.
    """
    if path is not None:
        return Detector(Path(path), threads, operating_point, coverage, prevalence)
    shipped = shipped_detector(precision)
    detector = Detector(shipped, threads, operating_point, coverage, prevalence)
    if detector.model["sha256"] != shipped_sha256(shipped):
        raise ModelError(
            f"{shipped}: SHA-256 {detector.model['sha256']} is not that of the shipped detector; "
            "install the package again, or name another file with --model"
        )
    return detector


@cache
def cached_detector(path: Path | None = None, threads: int = 0) -> Detector:
    """Return a detector that is loaded once per process; see `load_detector`."""
    return load_detector(path, threads=threads)


def members_of(ensemble: Detector) -> list[Detector]:
    """Load the members of an ensemble, one thread each.

    Args:
        ensemble: Detector whose card names its members.

    Returns:
        The members, in the order of the card.

    Raises:
        ModelError: If a file is missing beside the ensemble, or another one.
    """
    members = []
    for sha256 in ensemble.card.members:
        path = member_file(ensemble.path.parent, sha256)
        if not path.is_file():
            raise ModelError(f"{path} is missing: copy the folder {MEMBERS} beside the ensemble")
        member = load_detector(path, threads=1)
        if member.model["sha256"] != sha256:
            raise ModelError(f"{path}: another file than the member of the ensemble")
        members.append(member)
    return members


def member_file(folder: Path, sha256: str) -> Path:
    """Return where the copy of a member lies.

    Args:
        folder: Folder of the ensemble's file.
        sha256: SHA-256 of the member's file.

    Returns:
        Its path, which need not exist.
    """
    return folder / MEMBERS / f"{sha256[:16]}.onnx"


def shipped_detector(precision: Precision = DEFAULT_PRECISION) -> Path:
    """Return the path of the shipped detector.

    Args:
        precision: Its arithmetic; see `load_detector`.

    Returns:
        An ONNX file.

    Raises:
        ModelError: If this build has none.
    """
    name = "meninx-int8.onnx" if precision == "int8" else "meninx.onnx"
    path = WEIGHTS / name
    if not path.is_file():
        raise ModelError(
            f"{path}: the shipped detector is missing; install the package again or name one "
            "with --model"
        )
    return path


def shipped_sha256(path: Path) -> str:
    """Return the expected SHA-256 of a shipped weights file.

    Args:
        path: Weights file, in the folder of `SHA256SUMS`.

    Returns:
        64 hexadecimal digits.

    Raises:
        ModelError: If the list is missing, or does not name the file.
    """
    sums = path.with_name("SHA256SUMS")
    lines = sums.read_text(encoding="ascii").splitlines() if sums.is_file() else []
    digests = {name: digest for digest, name in (line.split() for line in lines)}
    if path.name not in digests:
        raise ModelError(f"{sums}: no SHA-256 of {path.name}; install the package again")
    return digests[path.name]
