"""Score one unit of an archive: fetch and hash it, and score it in a worker process."""

import hashlib
import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from meninx._archive.news import UnitResult
from meninx._archive.store import Store
from meninx._archive.table import Done
from meninx._archive.unit_rows import Rows, judge_files, make_ready, row_of
from meninx._archive.units import Unit
from meninx._detect.findings import Findings
from meninx._errors import InputError, printable
from meninx._scan.frame import SeriesFacts
from meninx._scoring.worker import Begun, Worker
from meninx._system_errors import FULL, QUOTED, is_disk_full, words_of

# Disks and networks fail for a moment: the pauses before files are asked for again, s.
PAUSES = (0.5, 1.0)
# One text for all units, so that the summary says it once.
DISK_FULL = f"temporary folder: {FULL}"


class UnitScorer:
    """A scorer of units, one after the other.

    Args:
        store: Archive that the units belong to.
        done: Content that need not be scored again.
        model: Detector file; None for the one that ships.
        named: Name and SHA-256 of the detector.
        maps: Whether the heat map of each hottest slice is wanted.
        seconds: Longest time for a unit, s.
        memory_bytes: Most memory of the worker process, bytes.
        scratch: Folder for fetched files; None for the system's temporary one.
    """

    def __init__(
        self,
        store: Store,
        done: Done,
        model: Path | None,
        named: dict[str, str],
        *,
        maps: bool,
        seconds: float,
        memory_bytes: int,
        scratch: str | None = None,
    ) -> None:
        self._scratch = scratch
        self._store, self._done, self._maps = store, done, maps
        self._model, self._named = model, named
        self._worker = Worker(memory_bytes, seconds)
        self._worker.begin(make_ready, model)  # what is wrong with it shows at the first unit

    def score(self, units: Iterable[Unit]) -> Iterator[UnitResult]:
        """Score units; while the worker process scores one, the next is fetched and hashed here.

        Args:
            units: Units to score.

        Yields:
            The result of each unit, with the keys that `Table.add` takes and `unreached`: why its
            files could not be fetched, or empty.
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
            begun.result["unreached"] = printable(unit.error)
            return begun
        try:
            begun.into = tempfile.TemporaryDirectory(prefix="meninx-", dir=self._scratch)
            begun.files = self._fetched(unit, Path(begun.into.name))
            begun.result["content_hash"] = content_hash(begun.files)
        except OSError as error:
            begun.result["unreached"] = _why(error)
            return begun
        if begun.result["content_hash"] not in self._done:
            begun.rows = self._begin_scoring(begun)
        return begun

    def _finish(self, begun: "_Begun") -> UnitResult:
        if begun.rows is not None:
            rows = self._scored(begun, begun.rows)
            if any(row["reason"] == "disk_full" for row in rows):
                begun.result["unreached"] = DISK_FULL  # no fault of the files: later runs try again
            else:
                begun.result["rows"] = json.dumps(rows)
        if begun.into is not None:
            begun.into.cleanup()
        return begun.result

    def _fetched(self, unit: Unit, into: Path) -> list[Path]:
        for pause in PAUSES:
            try:
                return self._fetch(unit, into)
            except OSError as error:
                if is_disk_full(error):
                    raise
                time.sleep(pause)
        return self._fetch(unit, into)

    def _fetch(self, unit: Unit, into: Path) -> list[Path]:
        files = self._store.fetch(unit.names, into)
        for file in files:
            file.open("rb").close()
        return files

    def _begin_scoring(self, begun: "_Begun") -> Begun[Rows]:
        wanted = (begun.files, self._model, self._maps, begun.unit.bytes)
        return self._worker.begin(judge_files, *wanted)

    def _scored(self, begun: "_Begun", rows: Begun[Rows]) -> Rows:
        try:
            return self._worker.answer(rows)
        except InputError as error:
            return [self._failed(begun.unit, begun.files, error)]

    def _failed(self, unit: Unit, files: Sequence[Path], error: InputError) -> dict[str, Any]:
        return row_of(Findings.of_error(error, self._named), "", SeriesFacts(), files, unit.bytes)

    def close(self) -> None:
        """End the worker process once it has finished what was begun."""
        self._worker.close()

    def kill(self) -> None:
        """End the worker process at once, whatever it is doing."""
        self._worker.kill()


class _Begun:
    """A unit whose scoring was begun.

    Args:
        unit: Unit that is scored.
    """

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        # Folder for fetched files, once it is made.
        self.into: tempfile.TemporaryDirectory[str] | None = None
        self.files: list[Path] = []
        self.rows: Begun[Rows] | None = None
        self.result: UnitResult = {
            "stamp": unit.stamp,
            "folder": unit.folder,
            "units": unit.units,
            "place": printable(unit.place),
            "content_hash": "",
            "rows": "[]",
            "unreached": "",
            "files": len(unit.names),
        }


def _why(error: OSError) -> str:
    """Return why files could not be had: without their names where the disk is the reason."""
    words = words_of(error, named=False)
    if words in QUOTED.values():
        return f"temporary folder: {words}"
    return printable(str(error)) or words


def content_hash(files: Sequence[Path]) -> str:
    """Return what names a unit by its content alone, whatever its files are called.

    Args:
        files: Files of the unit, in any order.

    Returns:
        The SHA-256 of the file, or of the sorted SHA-256 of several.

    Raises:
        OSError: If a file can't be read.
    """
    digests = sorted(_digest(file) for file in files)
    if len(digests) == 1:
        return digests[0].hex()
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _digest(file: Path) -> bytes:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()
