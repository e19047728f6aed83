"""Score one unit of an archive: fetch, hash, and judge it in a process apart."""

import dataclasses
import hashlib
import io
import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from meninx.archive.store import Store
from meninx.archive.table import Done
from meninx.archive.units import Unit
from meninx.clinic.apart import Apart
from meninx.detect.detector import Detector, kept_detector, load_detector, score_files
from meninx.detect.explanation import picture_of_hottest
from meninx.detect.findings import Findings
from meninx.errors import InputError, LimitExceeded, UnreadableFile
from meninx.scan.dicom import facts_of, is_dicom
from meninx.scan.scan import Scan
from meninx.scan.series import SeriesFacts
from meninx.scan.source import Source

# Disks and networks stumble: the pauses after which files are asked for again, s.
PAUSES = (0.5, 1.0)
Told = dict[str, Any]
Rows = list[dict[str, Any]]


class UnitScorer:
    """Score units, one after the other.

    Args:
        store: That holds their files.
        done: Content that need not be scored again.
        model: The detector file; None for the one that ships.
        maps: Whether the heat map of each hottest slice is wanted.
        seconds: That a unit may take.
        memory_bytes: That scoring may take.
    """

    def __init__(
        self, store: Store, done: Done, model: Path | None, *, maps: bool, seconds: float,
        memory_bytes: int,
    ) -> None:  # fmt: skip
        self._store, self._done, self._model, self._maps = store, done, model, maps
        self._apart = Apart(memory_bytes, seconds)
        self._named = load_detector(model, threads=1).model

    def score(self, units: Iterable[Unit]) -> Iterator[Told]:
        """Score units; while one is judged over there, the next is fetched and hashed here.

        Args:
            units: To score.

        Yields:
            Of each what `Table.add` takes, and `unreached`: why its files could not be had, or
            empty.
        """
        before: _Begun | None = None
        for unit in units:
            begun = self._begin(unit)
            if before is not None:
                yield self._finish(before)
            before = begun
        if before is not None:
            yield self._finish(before)

    def _begin(self, unit: Unit) -> "_Begun":
        begun = _Begun(unit)
        if unit.error:
            begun.told["unreached"] = unit.error
            return begun
        try:
            begun.files = self._fetched(unit, Path(begun.into.name))
            begun.told["content_hash"] = content_hash(begun.files)
        except OSError as error:
            begun.told["unreached"] = str(error) or type(error).__name__
            return begun
        if begun.told["content_hash"] not in self._done:
            begun.rows = self._judging(begun)
        return begun

    def _finish(self, begun: "_Begun") -> Told:
        if begun.rows is not None:
            begun.told["rows"] = json.dumps(self._judged(begun, begun.rows))
        begun.into.cleanup()
        return begun.told

    def _fetched(self, unit: Unit, into: Path) -> list[Path]:
        for pause in PAUSES:
            try:
                return self._had(unit, into)
            except OSError:
                time.sleep(pause)
        return self._had(unit, into)

    def _had(self, unit: Unit, into: Path) -> list[Path]:
        files = self._store.fetch(unit.names, into)
        for file in files:
            file.open("rb").close()
        return files

    def _judging(self, begun: "_Begun") -> "Future[Rows]":
        wanted = (begun.files, self._model, self._maps, begun.unit.bytes)
        return self._apart.begin(judge_files, *wanted)

    def _judged(self, begun: "_Begun", rows: "Future[Rows]") -> Rows:
        try:
            return self._apart.result(rows)
        except LimitExceeded as error:
            return [self._failed(begun.unit, begun.files, error)]
        except UnreadableFile:
            pass  # what ended the process may have been an earlier unit's doing
        try:
            return self._apart.result(self._judging(begun))
        except InputError as error:
            return [self._failed(begun.unit, begun.files, error)]

    def _failed(self, unit: Unit, files: Sequence[Path], error: InputError) -> dict[str, Any]:
        return _row(Findings.of_error(error, self._named), "", SeriesFacts(), files, unit.bytes)

    def close(self) -> None:
        """End the process apart."""
        self._apart.close()


class _Begun:
    """Hold a unit whose judging was begun.

    Args:
        unit: Of it.
    """

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.into = tempfile.TemporaryDirectory(prefix="meninx-")
        self.files: list[Path] = []
        self.rows: Future[Rows] | None = None
        self.told: Told = {
            "stamp": unit.stamp, "folder": unit.folder, "units": unit.units, "place": unit.place,
            "content_hash": "", "rows": "[]", "unreached": "", "files": len(unit.names),
        }  # fmt: skip


def content_hash(files: Sequence[Path]) -> str:
    """Return what names a unit by its content alone, whatever its files are called.

    Args:
        files: Of the unit, in any order.

    Returns:
        The SHA-256 of the file, or of the sorted SHA-256 of several.

    Raises:
        OSError: If one can't be read.
    """
    digests = sorted(_digest(file) for file in files)
    if len(digests) == 1:
        return digests[0].hex()
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _digest(file: Path) -> bytes:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


def judge_files(
    files: Sequence[Path], model: Path | None, maps: bool, size: int
) -> list[dict[str, Any]]:
    """Score a unit's files; runs in a process apart.

    Args:
        files: Of the unit.
        model: The detector file; None for the one that ships.
        maps: Whether heat maps are wanted.
        size: Bytes of the files, as far as known.

    Returns:
        The public JSON of each scan, with its facts, in the order of reading.
    """
    detector = kept_detector(model, threads=1)
    facts = _facts(files)
    rows = []
    for scan, findings in score_files(detector, files):
        row = _row(findings, _detail(findings, files), _with_scan(facts, scan), files, size)
        row["kind"] = None if scan is None else "volume" if scan.is_volume else "picture"
        if maps and scan is not None and findings.status == "scored":
            row["heatmap"] = _heatmap(detector, scan, findings)
        rows.append(row)
    return rows


def _facts(files: Sequence[Path]) -> SeriesFacts:
    path = min(files)
    with path.open("rb") as file:
        head = file.read(256)
    return (
        facts_of(Source(str(path), path, path.stat().st_size)) if is_dicom(head) else SeriesFacts()
    )


def _with_scan(facts: SeriesFacts, scan: Scan | None) -> SeriesFacts:
    """Return facts with the scan's own sequence: a series may hold several."""
    return facts if scan is None else dataclasses.replace(facts, sequence=scan.sequence)


def _detail(findings: Findings, files: Sequence[Path]) -> str:
    """Return what a scan's name says beyond the place of its files, such as " (series 3)"."""
    place = os.path.commonpath(files)
    return findings.scan.removeprefix(place) if findings.scan.startswith(place) else ""


def _row(
    findings: Findings, detail: str, facts: SeriesFacts, files: Sequence[Path], size: int
) -> dict[str, Any]:
    row = findings.as_json()
    del row["scan"]
    folder = f"{min(files).parent}/"
    message = row["message"]
    # Where the files lay while they were scored is nobody's matter, and not the same each time.
    row["message"] = message.replace(folder, "") if message else message
    return row | dataclasses.asdict(facts) | {
        "detail": detail, "files": len(files), "bytes": size if size >= 0 else None,
        "kind": None, "heatmap": None,
    }  # fmt: skip


def _heatmap(detector: Detector, scan: Scan, findings: Findings) -> str | None:
    """Return the hottest slice as PNG, in hexadecimal digits; None if its map may not be shown."""
    if not detector.check_map(scan, findings).passed:
        return None
    picture = io.BytesIO()
    picture_of_hottest(scan, findings, detector.card.preprocessing.size).save(picture, "PNG")
    return picture.getvalue().hex()
