"""Load a detector: a file that the user names, or the one that ships."""

from functools import cache
from importlib.resources import files
from pathlib import Path

from meninx._detect.calibration import DEFAULT_COVERAGE, PREVALENCE, OperatingPoint
from meninx._detect.detector import Detector
from meninx._detect.runtimes import Runtime
from meninx._errors import ModelError


def load_detector(
    path: str | Path | None = None,
    *,
    threads: int = 0,
    operating_point: OperatingPoint = "balanced",
    coverage: float | None = DEFAULT_COVERAGE,
    runtime: Runtime = "onnxruntime",
    prevalence: float = PREVALENCE,
) -> Detector:
    """Load a detector.

    Args:
        path: A detector file; None for the one that ships with the package.
        threads: Threads that share one slice; 0 for the number in `OMP_NUM_THREADS`, or else all
            cores. Where several scans are scored at a time, 1 is faster.
        operating_point: `balanced` (best Youden index), `sensitive` (95 % of held-out tumors found)
            or `specific` (95 % of held-out tumor-free scans below it).
        coverage: Share of scans with tumor, and of tumor-free scans, whose true answer must not be
            ruled out, 0..1. None to refer nothing and decide by the operating point.
        runtime: Library that computes the network: `onnxruntime`, `onnxruntime-int8` (the shipped
            detector in 8-bit integers, for processors), `openvino` or `openvino-bf16`. A file that
            is named is computed as it is stored.
        prevalence: Share of tumors that probabilities are stated for, above 0 and below 1; no
            answer depends on it.

    Returns:
        The detector, ready to score, from several threads if need be.

    Raises:
        ModelError: If the file is missing, damaged or no detector.
        OptionError: If the runtime is not installed, or the prevalence is none.
    """
    if path is not None:
        return Detector(Path(path), threads, operating_point, coverage, runtime, prevalence)
    shipped = shipped_detector(runtime)
    detector = Detector(shipped, threads, operating_point, coverage, runtime, prevalence)
    if detector.model["sha256"] != shipped_sha256(shipped):
        raise ModelError(
            f"{shipped}: SHA-256 {detector.model['sha256']} is not that of the shipped detector; "
            "install the package again, or name another file with --model"
        )
    return detector


@cache
def cached_detector(path: Path | None = None, threads: int = 0) -> Detector:
    """Return a detector that is loaded once in this process; see `load_detector`."""
    return load_detector(path, threads=threads)


def shipped_detector(runtime: Runtime = "onnxruntime") -> Path:
    """Return the path of the detector that ships with the package.

    Two files hold it, one in single precision and one in 8-bit integers, for processors.

    Args:
        runtime: Library that is to compute it; see `load_detector`.

    Returns:
        An ONNX file.

    Raises:
        ModelError: If this build has none.
    """
    name = "meninx-int8.onnx" if runtime == "onnxruntime-int8" else "meninx.onnx"
    path = Path(str(files("meninx") / "weights" / name))
    if not path.is_file():
        raise ModelError(
            f"{path}: the shipped detector is missing; install the package again or name one "
            "with --model"
        )
    return path


def shipped_sha256(path: Path) -> str:
    """Return the SHA-256 that a shipped file of weights must have.

    Args:
        path: File of weights, beside its `SHA256SUMS`.

    Returns:
        64 hexadecimal digits.

    Raises:
        ModelError: If the list is missing, or does not name the file.
    """
    sums = path.with_name("SHA256SUMS")
    lines = sums.read_text(encoding="ascii").splitlines() if sums.is_file() else []
    known = {name: digest for digest, name in (line.split() for line in lines)}
    if path.name not in known:
        raise ModelError(f"{sums}: no SHA-256 of {path.name}; install the package again")
    return known[path.name]
