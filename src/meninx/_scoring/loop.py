"""Read, score, write: the one loop of the command line, the node, the archive and the web page."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from meninx._detect.detector import Detector
from meninx._detect.findings import Findings
from meninx._render.result import Result
from meninx._scan.geometry import Spacing
from meninx._scan.limits import DEFAULT_LIMITS, Limits
from meninx._scan.reading import read_each, read_files
from meninx._scan.scan import Scan
from meninx._scan.unread import Unread
from meninx._scoring.writers import Writer


def score_path(
    detector: Detector,
    path: str | Path,
    limits: Limits = DEFAULT_LIMITS,
    spacing_mm: Spacing | None = None,
) -> Iterator[Result]:
    """Read and score every scan under a path; what can't be used becomes a result too.

    Args:
        detector: The detector.
        path: A file, a folder, or a zip or tar archive.
        limits: Limits of an input's size.
        spacing_mm: Voxel size of volumes whose files lost it, see `read_scans`.

    Yields:
        The result of each scan, as soon as it is scored; without a scan where it could not be read.
    """
    yield from _scored(detector, read_each(path, limits, spacing_mm))


def score_files(
    detector: Detector, files: Sequence[Path], limits: Limits = DEFAULT_LIMITS
) -> Iterator[Result]:
    """Read and score the scans of some files of a folder, as if nothing else were in it.

    Args:
        detector: The detector.
        files: Files of one folder.
        limits: Limits of an input's size.

    Yields:
        The result of each scan, as soon as it is scored; without a scan where it could not be read.
    """
    yield from _scored(detector, read_files(files, limits))


def write_all(results: Iterable[Result], writers: Sequence[Writer]) -> Iterator[Findings]:
    """Hand each result to all writers, and drop it: memory does not grow with their number.

    Args:
        results: Results, as they are scored.
        writers: Ways out, in the order in which they write.

    Yields:
        The findings of each scan, with the map of its hottest slice alone.
    """
    for result in results:
        for writer in writers:
            writer.write(result)
        findings = result.brief()
        # Else its voxels and maps would be held while the next scan is read.
        del result
        yield findings


def _scored(detector: Detector, found: Iterator[Scan | Unread]) -> Iterator[Result]:
    while True:
        started = time.perf_counter()
        source = next(found, None)
        read = (time.perf_counter() - started) * 1e3
        if source is None:
            return
        if isinstance(source, Unread):
            yield Result(source, Findings.of_error(source.error, detector.model), detector)
        else:
            yield _timed(Result.of(source, detector), read)
        del source  # else it would be held while the next one is read


def _timed(result: Result, read: float) -> Result:
    """Return a result whose findings say how long reading took, ms."""
    findings = result.findings
    milliseconds = {"read": read, **findings.milliseconds}
    return result.with_findings(replace(findings, milliseconds=milliseconds))
