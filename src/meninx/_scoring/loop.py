"""Read, score, write: the loop of the command line, the node, the archive and the web page."""

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
    """Read and score every scan under a path; refused and unreadable files have results, too.

    Args:
        detector: Detector of the scores.
        path: A file, a folder, or a zip or tar archive.
        limits: Limits of an input's size.
        spacing_mm: Voxel size of volumes whose files lack it, see `read_scans`.

    Yields:
        The result of each scan, as soon as it is scored; without a scan if it could not be read.
    """
    yield from _scored(detector, read_each(path, limits, spacing_mm))


def score_files(
    detector: Detector, files: Sequence[Path], limits: Limits = DEFAULT_LIMITS
) -> Iterator[Result]:
    """Read and score the scans of some files of a folder, without its other files.

    Args:
        detector: Detector of the scores.
        files: Files of one folder.
        limits: Limits of an input's size.

    Yields:
        The result of each scan, as soon as it is scored; without a scan if it could not be read.
    """
    yield from _scored(detector, read_files(files, limits))


def write_all(results: Iterable[Result], writers: Sequence[Writer]) -> Iterator[Findings]:
    """Pass each result to all writers, then drop it: memory does not grow with their number.

    Args:
        results: Results, as they are scored.
        writers: Writers, in the order of their calls.

    Yields:
        The findings of each scan, with only the map of its hottest slice.
    """
    for result in results:
        for writer in writers:
            writer.write(result)
        findings = result.brief()
        # Otherwise its voxels and maps stay in memory while the next scan is read.
        del result
        yield findings


def _scored(detector: Detector, sources: Iterator[Scan | Unread]) -> Iterator[Result]:
    while True:
        started = time.perf_counter()
        source = next(sources, None)
        read = (time.perf_counter() - started) * 1e3
        if source is None:
            return
        if isinstance(source, Unread):
            yield Result(source, Findings.of_error(source.error, detector.model), detector)
        else:
            yield _timed(Result.of(source, detector), read)
        del source  # otherwise it stays in memory while the next scan is read


def _timed(result: Result, read: float) -> Result:
    """Return a result whose findings contain the time of reading, ms."""
    findings = result.findings
    milliseconds = {"read": read, **findings.milliseconds}
    return result.with_findings(replace(findings, milliseconds=milliseconds))
