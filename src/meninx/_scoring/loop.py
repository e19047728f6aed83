"""Read, score, write: the loop of the command line, the node, the archive and the web page."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from meninx._detect.detector import Detector
from meninx._detect.findings import Findings
from meninx._render.result import Result
from meninx._scan.geometry import Spacing
from meninx._scan.limits import DEFAULT_LIMITS, Limits
from meninx._scan.reading import read_each, read_files
from meninx._scan.scan import Scan
from meninx._scan.unread import Unread
from meninx._scoring.writers import Writer

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


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
    """Yield the result of each source; scans are scored while the next ones are read."""
    if detector.threads == 1:
        yield from _scored_one_by_one(detector, sources)
        return
    in_work = _InWork(detector)
    with ExitStack() as closing:
        closing.callback(in_work.close)
        try:
            for read, source in _timed(sources):
                if isinstance(source, Unread):
                    # Its files may be in an archive that is closed once the next scan is read.
                    yield from in_work.done()
                    yield _unread(source, detector)
                else:
                    yield from in_work.done(before=source)
                    in_work.add(source, read)
                del source  # otherwise it stays in memory while the next scan is read
        except Exception:
            yield from in_work.done()
            raise
        yield from in_work.done()


def _scored_one_by_one(detector: Detector, sources: Iterator[Scan | Unread]) -> Iterator[Result]:
    for read, source in _timed(sources):
        if isinstance(source, Unread):
            yield _unread(source, detector)
        else:
            yield _score(source, detector, read)
        del source  # otherwise it stays in memory while the next scan is read


class _InWork:
    """Scans that are being scored, in order: several pictures, or one volume.

    Args:
        detector: Detector of the scores.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._waiting: deque[Callable[[], Result]] = deque()
        self._has_volume = False
        self._pool: ThreadPoolExecutor | None = None

    def add(self, scan: Scan, read: float) -> None:
        """Begin to score a scan; `read` is the time of reading it, ms."""
        self._has_volume = scan.is_volume
        # The first picture waits for a second: alone, it is computed faster by all threads.
        if self._pool is None and not self._waiting and not scan.is_volume:
            self._waiting.append(lambda: _score(scan, self._detector, read))
            return
        future = self._begun().submit(_score, scan, self._detector, read, alone=scan.is_volume)
        self._waiting.append(future.result)

    def done(self, before: Scan | None = None) -> Iterator[Result]:
        """Yield results until a further scan may be begun; all results without one."""
        while self._waiting and (before is None or self._full(before)):
            yield self._waiting.popleft()()

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _full(self, scan: Scan) -> bool:
        """Return whether no further scan may be begun: volumes fill memory and use all threads."""
        together = not (scan.is_volume or self._has_volume)
        return not together or len(self._waiting) >= self._detector.threads

    def _begun(self) -> "ThreadPoolExecutor":
        """Return the threads; begun on the first call, because importing them takes 10 ms."""
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(self._detector.threads)
        return self._pool


def _unread(source: Unread, detector: Detector) -> Result:
    return Result(source, Findings.of_error(source.error, detector.model), detector)


def _score(scan: Scan, detector: Detector, read: float, *, alone: bool = True) -> Result:
    """Return the result of a scan; `read` is the time of reading it, ms."""
    result = Result.of(scan, detector, alone=alone)
    findings = result.findings
    milliseconds = {"read": read, **findings.milliseconds}
    return result.with_findings(replace(findings, milliseconds=milliseconds))


def _timed(sources: Iterator[Scan | Unread]) -> Iterator[tuple[float, Scan | Unread]]:
    """Yield each source after the time of reading it, ms."""
    while True:
        started = time.perf_counter()
        source = next(sources, None)
        if source is None:
            return
        yield (time.perf_counter() - started) * 1e3, source
        del source  # otherwise it stays in memory while the next scan is read
