"""The table of findings in Parquet, and the ledger of finished units.

The ledger is a SQLite file in the folder `_meninx` of the table, which readers of Parquet skip. A
unit is entered with its rows in one transaction. Rows wait in the ledger until there are enough for
a part. A part is complete on disk before the ledger records its rows as written; a part that the
ledger does not contain was left by a killed run, and is deleted.
"""

import errno
import hashlib
import itertools
import json
import os
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from meninx._archive.table_layout import LAYOUT, SCHEMA, TABLES, TEXT
from meninx._errors import OptionError

ASIDE, LEDGER = "_meninx", "ledger.sqlite"
# Errors of the system for SQLite's errors of a disk.
_DISK_ERRORS = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_READONLY: errno.EROFS,
}
# Value of `moved` for a row whose scan another unit joins with more files, and of `part` once no
# part has it.
_REPLACED, _NOWHERE = 2, -1
# SeriesInstanceUIDs of series with files in several folders, by the stamps of these folders.
SplitSeries = Mapping[str, frozenset[str]]
# Rows of a part, and the longest time that rows wait for one, s.
PART_ROWS = 5000
_MAX_WAIT_SECONDS = 300.0
# Places that the place of a joined series names.
_NAMED_PARTS = 4
# Hexadecimal digits of a detector's SHA-256 that identify it, and name its folder.
_DETECTOR_DIGITS = 16


def short_hash(*words: str) -> str:
    """Return a hash of words in 16 hexadecimal digits: 10^7 hashes collide with 1 in 370,000."""
    return hashlib.sha256("\0".join(words).encode(errors="surrogateescape")).hexdigest()[:16]


def joined_place(places: Iterable[str]) -> str:
    """Return the place of a series whose parts lie at several places."""
    ordered = sorted(places)
    more = len(ordered) - _NAMED_PARTS
    return " + ".join(ordered[:_NAMED_PARTS] + [f"{more} more"] * (more > 0))


class Done:
    """The set of finished folders and units, in eight bytes each.

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
    """The table of a detector's findings; only one process at a time may write it.

    Args:
        folder: Folder of the table; made if missing.
        sha256: SHA-256 of the detector file, hexadecimal.
        source: Archive of this run, as `Options.source`; only its contents are ever marked as gone.

    Raises:
        OptionError: If the folder can't be written, another run is writing it, or another version
            with other columns wrote it.
    """

    def __init__(self, folder: Path, sha256: str, source: str = "") -> None:
        self._archive = short_hash(source)
        self.detector = sha256[:_DETECTOR_DIGITS]
        self.aside = folder / ASIDE
        self.folder = folder / f"detector={self.detector}"
        try:
            for path in (self.aside, self.folder):
                path.mkdir(parents=True, exist_ok=True)
            self._ledger = sqlite3.connect(self.aside / LEDGER, isolation_level=None)
            self._check_layout(folder)
            self._ledger.executescript(
                f"pragma journal_mode=wal; pragma synchronous=full; pragma user_version={LAYOUT};"
                + TABLES
            )
            self._lock = sqlite3.connect(self.aside / "lock.sqlite", timeout=0.1)
            self._lock.execute("begin exclusive")
        except (OSError, sqlite3.Error) as error:
            raise OptionError(
                f"--out {folder}: can't be written, or another run is writing it ({error}); name "
                "another folder, or wait for that run"
            ) from error
        self._flushed = time.monotonic()
        self._recover()
        # Counted here: a query for each addition took longer than all other work of the ledger.
        self._unwritten = self._count_waiting()

    def close(self) -> None:
        """Close the ledger, and let another process write."""
        self._ledger.close()
        self._lock.close()

    def _check_layout(self, folder: Path) -> None:
        ((layout,),) = self._ledger.execute("pragma user_version")
        ((tables,),) = self._ledger.execute("select count(*) from sqlite_master")
        if tables and layout != LAYOUT:
            self._ledger.close()
            raise OptionError(
                f"--out {folder}: its table was written by another version of meninx and has other "
                "columns; name a new folder, into which this version scores all scans anew"
            )

    def _recover(self) -> None:
        """Delete parts that a killed run did not enter in the ledger: their rows still wait."""
        parts = {part for (part,) in self._query("select part from parts where detector=?")}
        for path in self.folder.iterdir():
            if path.name.startswith("_") or _part_number(path) not in parts:
                path.unlink()

    def done(self) -> Done:
        """Return the finished folders and units."""
        return Done(
            stamp
            for query in (
                "select stamp from folders where detector=? and done >= units",
                "select stamp from units where detector=?",
                "select unit from findings where detector=?",
            )
            for (stamp,) in self._query(query)
        )

    def counts(self) -> dict[str, int]:
        """Return the numbers of finished units, and of their distinct contents."""
        return {
            "units": next(self._query("select count(*) from units where detector=?"))[0],
            "contents": next(
                self._query("select count(distinct unit) from findings where detector=?")
            )[0],
        }

    def add(self, units: Iterable[Mapping[str, Any]]) -> int:
        """Enter finished units and their rows.

        Args:
            units: Results, each with `stamp`, `folder` (stamp of its folder), `units` (number in
                that folder), `place`, `content_hash`, `rows` (as JSON; empty if the content was
                scored before) and `joined` (stamps of the folders whose parts it replaces).

        Returns:
            Number of new rows.
        """
        added = 0
        with self._transaction():
            for unit in units:
                added += self._add(unit)
        self._unwritten += added
        if self._unwritten >= PART_ROWS or time.monotonic() - self._flushed > _MAX_WAIT_SECONDS:
            self.flush()
        return added

    def _add(self, unit: Mapping[str, Any]) -> int:
        if not self._enter_unit(unit):
            return 0
        self._update(
            "insert into folders values (?, ?, ?, 1) on conflict do update set done = done + 1",
            unit["folder"],
            unit["units"],
        )
        content, place = unit["content_hash"], unit["place"]
        if not content:
            return 0  # known, and now in a folder that has changed
        # The row is named by the first of several copies by name, whichever was scored. What was
        # read just now is not gone.
        self._update(
            "update findings indexed by findings_of_units set "
            "place=iif(gone, ?3, min(place, ?3)), gone=0, moved=1 where detector=?1 and unit=?2 "
            "and (place > ?3 or gone) and moved < ?4 and ifnull(part, 0) >= 0",
            content,
            place,
            _REPLACED,
        )
        rows = json.loads(unit["rows"])
        self._enter_series(unit, rows)
        added = 0
        for number, row in enumerate(rows):
            numbered = hashlib.sha256(f"{content}:{number}".encode()).hexdigest()
            key = numbered if number else content
            added += self._update(
                "insert or ignore into findings values (?, ?, ?, ?, ?, null, ?, 0, 0)",
                key,
                content,
                place,
                row.pop("detail"),
                json.dumps(row),
            )
        return added

    def _enter_unit(self, unit: Mapping[str, Any]) -> int:
        """Enter a unit, or the folder that it is in now; return 0 if that was known."""
        stamp, folder, content = unit["stamp"], unit["folder"], unit["content_hash"]
        if not content:
            return self._update(
                "update units set folder=?4 "
                "where detector=?1 and stamp=?2 and archive=?3 and folder<>?4",
                stamp,
                self._archive,
                folder,
            )
        # A joined series is where the contents of its parts are, see `joins`. A unit may be done
        # twice: by a worker that was lost, and by another one.
        return self._update(
            "insert or ignore into units values (?, ?, ?, ?, ?, ?)",
            stamp,
            self._archive,
            folder,
            "" if unit["joined"] else content,
            unit["place"],
        )

    def _enter_series(self, unit: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> None:
        """Record which series a unit's rows are of, and withdraw rows of the parts it joins."""
        folders = unit["joined"] or [unit["folder"]]
        series = {
            (_series_of(row["identity"]), row["identity"]["series_instance_uid"])
            for row in rows
            if (row.get("identity") or {}).get("series_instance_uid")
        }
        content = unit["content_hash"]
        for name, uid in series:
            if unit["joined"]:
                self._withdraw(name, folders, content)
            for folder in folders:
                statement = "insert or ignore into series values (?, ?, ?, ?, ?)"
                self._update(statement, name, folder, content, uid)

    def _withdraw(self, series: str, folders: Iterable[str], joined: str) -> None:
        """Withdraw the rows of a series' parts in folders: a joined unit has all of them."""
        query = "select unit from series where detector=? and series=? and folder=?"
        found = [
            (unit, folder) for folder in folders for (unit,) in self._query(query, series, folder)
        ]
        for unit, folder in found:
            # Of a unit that joined other folders, too, only the parts in this one.
            self._update(
                "insert or ignore into joins select ?1, ?3, content from units indexed by "
                "units_of_contents where detector=?1 and folder=?4 and content in "
                "(select ?2 union select part from joins where detector=?1 and joined=?2)",
                unit,
                joined,
                folder,
            )
        for unit in {unit for unit, _ in found}:
            self._update(
                "update findings indexed by findings_of_units set part=?3, row=null, moved=0 "
                "where detector=?1 and unit=?2 and part is null",
                unit,
                _NOWHERE,
            )
            self._update(
                "update findings indexed by findings_of_units set moved=?3 "
                "where detector=?1 and unit=?2 and part >= 0",
                unit,
                _REPLACED,
            )
            statement = "delete from series where detector=? and series=? and unit=?"
            self._update(statement, series, unit)

    def mark_gone(self, here: Iterable[str]) -> None:
        """Mark the rows of contents that the archive no longer has, and name others anew.

        Rows of a content are named by the first of its places that still has it. A joined series
        is there while the contents of all of its parts are, in whichever folders.

        Args:
            here: Stamps of all folders that the archive has now.
        """
        present = Done(here)
        self._ledger.create_function("here", 1, lambda stamp: stamp in present, deterministic=True)
        self._execute("drop table if exists temp.held")
        self._execute(
            "create temp table held (content text primary key, here integer not null, place text, "
            "own integer not null) without rowid"
        )
        # Other archives of the table were not walked: what they had counts as there.
        self._update(
            "insert into held select content, max(archive<>?2 or here(folder)), "
            "min(case when archive=?2 and here(folder) then place end), max(archive=?2) "
            "from units indexed by units_of_contents "
            "where detector=?1 and content<>'' group by content",
            self._archive,
        )
        with self._transaction():
            for content, is_here, place in itertools.chain(self._held_units(), self._held_joins()):
                self._update(
                    "update findings indexed by findings_of_units set moved=1, gone=?3, "
                    "place=ifnull(?4, place) where detector=?1 and unit=?2 and moved < ?5 "
                    "and ifnull(part, 0) >= 0 and (gone<>?3 or place<>ifnull(?4, place))",
                    content,
                    not is_here,
                    place,
                    _REPLACED,
                )

    def _held_units(self) -> Iterator[tuple[str, bool, str | None]]:
        """Yield contents of this archive, whether they are there, and the first place if it is."""
        yield from self._query(
            "select content, here, place from held where own and content not in "
            "(select joined from joins where detector=?)"
        )

    def _held_joins(self) -> Iterator[tuple[str, bool, str | None]]:
        """Yield contents of joined series as `_held_units`; also a whole copy is one."""
        for joined, is_here, places, whole in self._query(
            "select joined, min(ifnull(part.here, 0)) or ifnull(whole.here, 0), "
            "json_group_array(part.place), whole.place from joins "
            "left join held as part on part.content=joins.part "
            "left join held as whole on whole.content=joins.joined where detector=? "
            "group by joined having max(ifnull(part.own, 0) or ifnull(whole.own, 0))"
        ):
            found = json.loads(places)
            named = [joined_place(found)] if all(found) else []
            yield joined, is_here, min([*named, *filter(None, [whole])], default=None)

    def gone(self, most: int) -> tuple[int, list[str]]:
        """Return how many rows are marked as gone, and the names of at most so many."""
        where = (
            "from findings indexed by findings_gone "
            "where detector=? and gone and ifnull(part, 0) >= 0"
        )
        ((count,),) = self._query(f"select count(*) {where}")
        names = self._query(f"select place || detail {where} order by place limit ?", most)
        return count, [name for (name,) in names]

    def split_series(self) -> SplitSeries:
        """Return the series with rows from several units, whose files lie in several folders."""
        found: dict[str, set[str]] = defaultdict(set)
        for folder, uid in self._query(
            "select folder, uid from series where detector=?1 and series in (select series from "
            "series where detector=?1 group by series having count(distinct unit) > 1)"
        ):
            found[folder].add(uid)
        return {folder: frozenset(uids) for folder, uids in found.items()}

    def count_split(self) -> int:
        """Return the number of series with rows from several units whose content is not gone."""
        query = (
            "select count(distinct uid) from series where detector=?1 and series in (select series "
            "from series where detector=?1 and unit not in (select unit from findings indexed by "
            "findings_gone where detector=?1 and gone) "
            "group by series having count(distinct unit) > 1)"
        )
        return int(next(self._query(query))[0])

    def flush(self) -> None:
        """Write the waiting rows as parts."""
        while waiting := list(
            self._query(
                "select content_hash, place || detail, row, gone from findings "
                "indexed by findings_waiting where detector=? and part is null "
                "order by content_hash limit ?",
                PART_ROWS,
            )
        ):
            (last,) = next(
                self._query("select coalesce(max(part), -1) from parts where detector=?")
            )
            rows = [
                json.loads(row) | {"content_hash": key, "scan": scan, "gone": bool(gone)}
                for key, scan, row, gone in waiting
            ]
            self._write(last + 1, _as_table(rows))
            with self._transaction():
                self._update("insert into parts values (?, ?)", last + 1)
                for key, *_ in waiting:
                    self._update(
                        "update findings set part=?3, row=null, moved=0 "
                        "where detector=?1 and content_hash=?2",
                        key,
                        last + 1,
                    )
        self._unwritten = 0
        self._flushed = time.monotonic()

    def finish(self) -> None:
        """Write the waiting rows, and rewrite parts with renamed, replaced or marked rows."""
        self.flush()
        query = (
            "select distinct part from findings indexed by findings_moved "
            "where detector=? and moved and part >= 0"
        )
        for (part,) in list(self._query(query)):
            names_query = (
                "select content_hash, place || detail, moved, gone from findings indexed by "
                "findings_moved where detector=? and part=? and moved"
            )
            changed = list(self._query(names_query, part))
            names = {key: name for key, name, *_ in changed}
            marks = {key: bool(gone) for key, *_, gone in changed}
            replaced = [key for key, _, moved, _ in changed if moved == _REPLACED]
            table = parquet.read_table(self._path(part), partitioning=None)
            is_replaced = pc.is_in(table.column("content_hash"), pa.array(replaced, TEXT))
            table = table.filter(pc.invert(is_replaced))
            keys = table.column("content_hash").to_pylist()
            scans = table.column("scan").to_pylist()
            scans = [names.get(key, scan) for key, scan in zip(keys, scans, strict=True)]
            gone = table.column("gone").to_pylist()
            gone = [marks.get(key, mark) for key, mark in zip(keys, gone, strict=True)]
            for name, values in (("scan", pa.array(scans, TEXT)), ("gone", pa.array(gone))):
                table = table.set_column(table.schema.get_field_index(name), name, values)
            self._write(part, table)
            with self._transaction():
                self._update(
                    "update findings set part=?3, moved=0 "
                    "where detector=?1 and part=?2 and moved=?4",
                    part,
                    _NOWHERE,
                    _REPLACED,
                )
                self._update("update findings set moved=0 where detector=? and part=?", part)

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the written rows in batches.

        Args:
            columns: Names of the columns to read.

        Yields:
            Batches of rows, in arbitrary order.
        """
        paths = [str(path) for path in sorted(self.folder.glob("part-*.parquet"))]
        if paths:
            data = pyarrow.dataset.dataset(paths, schema=SCHEMA, format="parquet")
            yield from data.to_batches(columns=list(columns))

    def _write(self, part: int, table: pa.Table) -> None:
        path = self._path(part)
        partial = path.with_name(f"_{path.name}")
        parquet.write_table(table, partial, compression="zstd")
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
        folder = os.open(self.folder, os.O_RDONLY)
        os.fsync(folder)  # the new name is on disk, too, before the ledger records it
        os.close(folder)

    def _path(self, part: int) -> Path:
        return self.folder / f"part-{part:06}.parquet"

    def _count_waiting(self) -> int:
        return int(
            next(
                self._query(
                    "select count(*) from findings indexed by findings_waiting "
                    "where detector=? and part is null"
                )
            )[0]
        )

    def _query(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        return self._execute(query, self.detector, *values)

    def _update(self, statement: str, *values: Any) -> int:
        return self._execute(statement, self.detector, *values).rowcount

    def _execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        """Execute a statement; an error of the disk is an OSError, as when parts are written."""
        try:
            return self._ledger.execute(statement, values)
        except sqlite3.OperationalError as error:
            kind = _DISK_ERRORS.get(error.sqlite_errorcode & 0xFF)
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
            if self._ledger.in_transaction:  # a full disk has rolled it back already
                self._ledger.execute("rollback")
            raise


def _series_of(identity: Mapping[str, Any]) -> str:
    """Return a hash of what all scans of a series share.

    These are patient, study and UID. Other than for `stacks_of`, two writings of a patient's
    identity are two series, and series of one UID with several numbers are one: a row's identity
    has neither the number nor what two writings share.
    """
    names = ("patient", "study_instance_uid", "series_instance_uid")
    return short_hash(*(str(identity.get(name) or "") for name in names))


def _part_number(path: Path) -> int:
    digits = path.stem.removeprefix("part-")
    return int(digits) if digits.isdecimal() else -1


def _as_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    for row in rows:
        if row.get("heatmap"):
            row["heatmap"] = bytes.fromhex(row["heatmap"])
        for name in ("p_values", "types", "identity"):
            row[name] = row.get(name) or None
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)
