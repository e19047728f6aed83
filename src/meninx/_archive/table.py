"""The table of findings in Parquet, and a ledger of what is done.

The ledger is a SQLite file in `_meninx` inside the table's folder, which readers of Parquet
skip. A unit of work is entered with its rows in one transaction. Rows wait in the ledger until
there are enough for a part; a part is whole on the disk before the ledger counts its rows as
written, and one that the ledger does not know is left from a run that was killed, and goes.
"""

import errno
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from meninx._errors import OptionError
from meninx._labels import TYPE_NAMES

ASIDE, LEDGER = "_meninx", "ledger.sqlite"
# What SQLite says of a disk, as the system says it.
DISK_ERRORS = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_READONLY: errno.EROFS,
}
# Rows of a part, and how long rows wait for one at most, s.
PART_ROWS = 5000
LONGEST_WAIT = 300.0
# Enough of a detector's SHA-256 to name its folder and to know it by.
DETECTOR_DIGITS = 16

SCHEMA = pa.schema(
    [
        ("content_hash", pa.string()),
        ("scan", pa.string()),
        ("files", pa.int32()),
        ("bytes", pa.int64()),
        (
            "identity",
            pa.struct(
                [
                    ("study_instance_uid", pa.string()),
                    ("series_instance_uid", pa.string()),
                    ("patient", pa.string()),
                ]
            ),
        ),
        ("month", pa.string()),
        ("scanner", pa.string()),
        ("field_strength", pa.float64()),
        ("sequence", pa.string()),
        ("kind", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("message", pa.string()),
        ("decision", pa.string()),
        ("probability", pa.float64()),
        ("borders", pa.struct([("no_tumor_below", pa.float64()), ("tumor_from", pa.float64())])),
        ("prevalence", pa.float64()),
        ("logit", pa.float64()),
        ("p_values", pa.struct([("tumor", pa.float64()), ("no_tumor", pa.float64())])),
        ("coverage", pa.float64()),
        (
            "reference",
            pa.struct(
                [
                    ("scans", pa.string()),
                    ("tumor", pa.int32()),
                    ("tumor_free", pa.int32()),
                    ("borrowed", pa.int32()),
                ]
            ),
        ),
        ("types", pa.struct([(name, pa.float64()) for name in TYPE_NAMES])),
        (
            "slices",
            pa.list_(
                pa.struct(
                    [
                        ("index", pa.int32()),
                        ("probability", pa.float64()),
                        ("peak", pa.list_(pa.int32())),
                    ]
                )
            ),
        ),
        ("warnings", pa.list_(pa.struct([("code", pa.string()), ("text", pa.string())]))),
        (
            "incomplete",
            pa.list_(
                pa.struct(
                    [("what", pa.string()), ("expected", pa.int64()), ("received", pa.int64())]
                )
            ),
        ),
        ("model", pa.struct([("name", pa.string()), ("sha256", pa.string())])),
        (
            "milliseconds",
            pa.struct(
                [("read", pa.float64()), ("preprocess", pa.float64()), ("infer", pa.float64())]
            ),
        ),
        ("heatmap", pa.binary()),
        ("heatmap_withheld", pa.string()),
    ]
)

# Without statistics SQLite takes the primary key for nearly everything, and so goes through all
# rows of a detector: statements name their index.
TABLES = """
create table if not exists findings (
    detector text not null, content_hash text not null, unit text not null, place text not null,
    detail text not null, part integer, row text, moved integer not null default 0,
    primary key (detector, content_hash)
) without rowid;
create index if not exists findings_of_units on findings (detector, unit);
create index if not exists findings_waiting on findings (detector, content_hash) where part is null;
create index if not exists findings_moved on findings (detector, part) where moved;
create table if not exists units (
    detector text not null, stamp text not null, primary key (detector, stamp)
) without rowid;
create table if not exists folders (
    detector text not null, stamp text not null, units integer not null, done integer not null,
    primary key (detector, stamp)
) without rowid;
create table if not exists parts (
    detector text not null, part integer not null, primary key (detector, part)
) without rowid;
"""


def short_hash(*words: str) -> str:
    """Return 16 hexadecimal digits that stand for words: two of 10^7 agree once in 370,000."""
    return hashlib.sha256("\0".join(words).encode(errors="surrogateescape")).hexdigest()[:16]


class Done:
    """The set of what is done already, in little memory: eight bytes a stamp, sorted.

    Args:
        stamps: Stamps of folders and units, and content hashes of units, hexadecimal.
    """

    def __init__(self, stamps: Iterable[str]) -> None:
        values = np.fromiter((int(stamp[:16], 16) for stamp in stamps), dtype=np.uint64)
        self._values: NDArray[np.uint64] = np.sort(values)

    def __contains__(self, stamp: str) -> bool:
        value = np.uint64(int(stamp[:16], 16))
        place = int(np.searchsorted(self._values, value))
        return place < len(self._values) and self._values[place] == value


class Table:
    """The table of one detector's findings; one process at a time writes it.

    Args:
        folder: Folder of the table; made if missing.
        sha256: SHA-256 of the detector file, hexadecimal.

    Raises:
        OptionError: If the folder can't be written, or another run is writing it.
    """

    def __init__(self, folder: Path, sha256: str) -> None:
        self.detector = sha256[:DETECTOR_DIGITS]
        self.aside = folder / ASIDE
        self.folder = folder / f"detector={self.detector}"
        try:
            for path in (self.aside, self.folder):
                path.mkdir(parents=True, exist_ok=True)
            self._ledger = sqlite3.connect(self.aside / LEDGER, isolation_level=None)
            self._ledger.executescript("pragma journal_mode=wal; pragma synchronous=full;" + TABLES)
            self._lock = sqlite3.connect(self.aside / "lock.sqlite", timeout=0.1)
            self._lock.execute("begin exclusive")
        except (OSError, sqlite3.Error) as error:
            raise OptionError(
                f"--out {folder}: can't be written, or another run is writing it ({error}); name "
                "another folder, or wait for that run"
            ) from error
        self._flushed = time.monotonic()
        self._recover()
        # Counted here: asking the ledger each time took longer than all its other work.
        self._unwritten = self._waiting()

    def close(self) -> None:
        """Close the ledger, and let another process write."""
        self._ledger.close()
        self._lock.close()

    def _recover(self) -> None:
        """Remove parts that a killed run wrote and did not enter: their rows still wait."""
        known = {part for (part,) in self._ask("select part from parts where detector=?")}
        for path in self.folder.iterdir():
            if path.name.startswith("_") or _part_of(path) not in known:
                path.unlink()
            else:
                self._complete(_part_of(path))

    def _complete(self, part: int) -> None:
        """Add columns that an earlier version did not write: readers go by one part's columns."""
        columns = set(parquet.read_schema(self._path(part)).names)
        if missing := [field for field in SCHEMA if field.name not in columns]:
            table = parquet.read_table(self._path(part), partitioning=None)
            for field in missing:
                table = table.append_column(field, pa.nulls(len(table), field.type))
            self._write(part, table.select(SCHEMA.names))

    def done(self) -> Done:
        """Return what need not be done again."""
        return Done(
            stamp
            for question in (
                "select stamp from folders where detector=? and done >= units",
                "select stamp from units where detector=?",
                "select unit from findings where detector=?",
            )
            for (stamp,) in self._ask(question)
        )

    def counts(self) -> dict[str, int]:
        """Return how many units are done, and how many contents they have."""
        return {
            "units": next(self._ask("select count(*) from units where detector=?"))[0],
            "contents": next(
                self._ask("select count(distinct unit) from findings where detector=?")
            )[0],
        }

    def add(self, units: Iterable[Mapping[str, Any]]) -> int:
        """Enter units that are done, and their rows.

        Args:
            units: Results, each with `stamp`, `folder` (stamp of its folder), `units` (number in
                that folder), `place`, `content_hash` and `rows` (as JSON; none if the content is
                known).

        Returns:
            How many rows are new.
        """
        added = 0
        with self._transaction():
            for unit in units:
                added += self._add(unit)
        self._unwritten += added
        if self._unwritten >= PART_ROWS or time.monotonic() - self._flushed > LONGEST_WAIT:
            self.flush()
        return added

    def _add(self, unit: Mapping[str, Any]) -> int:
        new = self._change("insert or ignore into units values (?, ?)", unit["stamp"])
        if not new:
            return 0  # done twice: a worker that was lost had got so far
        self._change(
            "insert into folders values (?, ?, ?, 1) on conflict do update set done = done + 1",
            unit["folder"],
            unit["units"],
        )
        content, place = unit["content_hash"], unit["place"]
        # The copy that comes first by name names the row, whichever was scored.
        self._change(
            "update findings indexed by findings_of_units set place=?3, moved=1 "
            "where detector=?1 and unit=?2 and place > ?3",
            content,
            place,
        )
        added = 0
        for number, row in enumerate(json.loads(unit["rows"])):
            key = (
                content
                if not number
                else hashlib.sha256(f"{content}:{number}".encode()).hexdigest()
            )
            added += self._change(
                "insert or ignore into findings values (?, ?, ?, ?, ?, null, ?, 0)",
                key,
                content,
                place,
                row.pop("detail"),
                json.dumps(row),
            )
        return added

    def flush(self) -> None:
        """Write waiting rows as parts."""
        while waiting := list(
            self._ask(
                "select content_hash, place || detail, row from findings "
                "indexed by findings_waiting where detector=? and part is null "
                "order by content_hash limit ?",
                PART_ROWS,
            )
        ):
            (last,) = next(self._ask("select coalesce(max(part), -1) from parts where detector=?"))
            rows = [
                json.loads(row) | {"content_hash": key, "scan": scan} for key, scan, row in waiting
            ]
            self._write(last + 1, _as_table(rows))
            with self._transaction():
                self._change("insert into parts values (?, ?)", last + 1)
                for key, _, _ in waiting:
                    self._change(
                        "update findings set part=?3, row=null, moved=0 "
                        "where detector=?1 and content_hash=?2",
                        key,
                        last + 1,
                    )
        self._unwritten = 0
        self._flushed = time.monotonic()

    def settle(self) -> None:
        """Write waiting rows, and again the parts in which a row takes another copy's name."""
        self.flush()
        question = (
            "select distinct part from findings indexed by findings_moved "
            "where detector=? and moved and part is not null"
        )
        for (part,) in list(self._ask(question)):
            asked = (
                "select content_hash, place || detail from findings indexed by findings_moved "
                "where detector=? and part=? and moved"
            )
            names = dict(self._ask(asked, part))
            table = parquet.read_table(self._path(part), partitioning=None)
            keys = table.column("content_hash").to_pylist()
            scans = table.column("scan").to_pylist()
            scans = [names.get(key, scan) for key, scan in zip(keys, scans, strict=True)]
            place = table.schema.get_field_index("scan")
            self._write(part, table.set_column(place, "scan", pa.array(scans, pa.string())))
            with self._transaction():
                self._change("update findings set moved=0 where detector=? and part=?", part)

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows that are written, a batch at a time.

        Args:
            columns: Names of the columns to read.

        Yields:
            Batches of rows, in no certain order.
        """
        paths = [str(path) for path in sorted(self.folder.glob("part-*.parquet"))]
        if paths:
            data = pyarrow.dataset.dataset(paths, schema=SCHEMA, format="parquet")
            yield from data.to_batches(columns=list(columns))

    def _write(self, part: int, table: pa.Table) -> None:
        path = self._path(part)
        unfinished = path.with_name(f"_{path.name}")
        parquet.write_table(table, unfinished, compression="zstd")
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
        folder = os.open(self.folder, os.O_RDONLY)
        os.fsync(folder)  # the new name too is on the disk before the ledger counts on it
        os.close(folder)

    def _path(self, part: int) -> Path:
        return self.folder / f"part-{part:06}.parquet"

    def _waiting(self) -> int:
        return int(
            next(
                self._ask(
                    "select count(*) from findings indexed by findings_waiting "
                    "where detector=? and part is null"
                )
            )[0]
        )

    def _ask(self, question: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        return self._execute(question, self.detector, *values)

    def _change(self, statement: str, *values: Any) -> int:
        return self._execute(statement, self.detector, *values).rowcount

    def _execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        """Execute a statement; what the disk refuses is an OSError, as where parts are written."""
        try:
            return self._ledger.execute(statement, values)
        except sqlite3.OperationalError as error:
            kind = DISK_ERRORS.get(error.sqlite_errorcode & 0xFF)
            if kind is None:
                raise
            raise OSError(kind, os.strerror(kind), str(self.aside / LEDGER)) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._execute("begin immediate")
        try:
            yield
            self._execute("commit")
        except BaseException:
            if self._ledger.in_transaction:  # a full disk has ended it already
                self._ledger.execute("rollback")
            raise


def _part_of(path: Path) -> int:
    digits = path.stem.removeprefix("part-")
    return int(digits) if digits.isdecimal() else -1


def _as_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    for row in rows:
        if row.get("heatmap"):
            row["heatmap"] = bytes.fromhex(row["heatmap"])
        for name in ("p_values", "types", "identity"):
            row[name] = row.get(name) or None
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)
