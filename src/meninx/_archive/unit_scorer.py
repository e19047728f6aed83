"""Score units of an archive: fetch and hash each, and score it in a worker process."""

import hashlib
import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from meninx._archive.messages import UnitResult
from meninx._archive.store import Store
from meninx._archive.table import Done
from meninx._archive.unit_rows import Rows, preload_detector, row_of, score_unit
from meninx._archive.units import Unit
from meninx._detect.findings import Findings
from meninx._errors import InputError, printable
from meninx._scan.frame import SeriesFacts
from meninx._scoring.worker import PendingCall, Worker
from meninx._system_errors import FULL, QUOTED, is_disk_full, words_of

# Pauses before files are fetched again, s: disks and networks fail for moments.
_PAUSES = (0.5, 1.0)
# The same text for all units, so that the summary contains it once.
DISK_FULL = f"temporary folder: {FULL}"


class UnitScorer:
    """A scorer of units, one after the other.

    Args:
        store: Archive that the units belong to.
        done: Stamps and content hashes of finished units.
        model: Detector file; None for the one that ships.
        named: Name and SHA-256 of the detector.
        maps: Whether to store the heat map of each hottest slice.
        seconds: Time limit of a unit, s.
        memory_bytes: Memory limit of the worker process, bytes.
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
        self._worker.submit(preload_detector, model)  # its errors appear at the first unit

    def score(self, units: Iterable[Unit]) -> Iterator[UnitResult]:
        """Score units; while the worker process scores a unit, this thread fetches the next.

        Args:
            units: Units to score.

        Yields:
            The result of each unit, with the keys of `Table.add` and `unreached`: why its files
            could not be fetched; empty if they were.
        """
        previous: PendingUnit | None = None
        for unit in units:
            pending = self._submit(unit)
            if previous is not None:
                yield self._finish(previous)
            previous = pending
        if previous is not None:
            yield self._finish(previous)

    def _submit(self, unit: Unit) -> "PendingUnit":
        """Fetch a unit that is not done, and submit it unless its content is done."""
        pending = PendingUnit(unit)
        if unit.error:
            pending.result["unreached"] = printable(unit.error)
            return pending
        if unit.stamp in self._done:
            return pending
        try:
            pending.into = tempfile.TemporaryDirectory(prefix="meninx-", dir=self._scratch)
            fetched = self._fetch_patiently(unit, Path(pending.into.name))
            count = len(fetched) - len(unit.context)
            pending.files, pending.context = fetched[:count], fetched[count:]
            pending.result["content_hash"] = content_hash(fetched)
        except OSError as error:
            pending.result["unreached"] = _reason_of(error)
            return pending
        if pending.result["content_hash"] not in self._done:
            arguments = (pending.files, self._model, self._maps, unit.bytes, pending.context)
            pending.call = self._worker.submit(score_unit, *arguments)
        return pending

    def _finish(self, pending: "PendingUnit") -> UnitResult:
        """Wait for a unit's rows, delete its copied files, and return its result."""
        if pending.call is not None:
            rows = self._rows_of(pending, pending.call)
            if any(row["reason"] == "disk_full" for row in rows):
                pending.result["unreached"] = DISK_FULL  # not the files' fault: later runs retry
            else:
                pending.result["rows"] = json.dumps(rows)
        if pending.into is not None:
            pending.into.cleanup()
        return pending.result

    def _fetch_patiently(self, unit: Unit, into: Path) -> list[Path]:
        for pause in _PAUSES:
            try:
                return self._fetch(unit, into)
            except OSError as error:
                if is_disk_full(error):
                    raise
                time.sleep(pause)
        return self._fetch(unit, into)

    def _fetch(self, unit: Unit, into: Path) -> list[Path]:
        files = self._store.fetch((*unit.names, *unit.context), into)
        for file in files:
            file.open("rb").close()
        return files

    def _rows_of(self, pending: "PendingUnit", call: PendingCall[Rows]) -> Rows:
        try:
            return self._worker.result(call)
        except InputError as error:
            findings = Findings.of_error(error, self._named)
            return [row_of(findings, "", SeriesFacts(), pending.files, pending.unit.bytes)]

    def kill(self) -> None:
        """Kill the worker process."""
        self._worker.kill()


class PendingUnit:
    """A unit that was submitted, and its result so far.

    Args:
        unit: The unit.
    """

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        # Folder of fetched files, once it is made.
        self.into: tempfile.TemporaryDirectory[str] | None = None
        self.files: list[Path] = []
        self.context: list[Path] = []
        self.call: PendingCall[Rows] | None = None
        self.result: UnitResult = {
            "stamp": unit.stamp,
            "folder": unit.folder,
            "units": unit.units,
            "place": printable(unit.place),
            "content_hash": "",
            "rows": "[]",
            "unreached": "",
            # Files of a joined series are counted with its parts.
            "files": 0 if unit.joined else len(unit.names),
            "joined": list(unit.joined),
        }


def _reason_of(error: OSError) -> str:
    """Return why files could not be fetched, without their names if the disk is the reason."""
    words = words_of(error, named=False)
    if words in QUOTED.values():
        return f"temporary folder: {words}"
    return printable(str(error)) or words


def content_hash(files: Sequence[Path]) -> str:
    """Return a hash of a unit's content, independent of the names of its files.

    Args:
        files: Files of the unit, in any order.

    Returns:
        The SHA-256 of a single file, or of the sorted SHA-256 digests of several, hexadecimal.

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
