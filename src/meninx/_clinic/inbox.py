"""The inbox of a node: received files on disk, and a ledger of scored studies and their results.

A file is on disk before it is acknowledged, so the files are the record of what was received. The
ledger records what was scored and sent. Both survive a kill at any moment.
"""

import hashlib
import os
import shutil
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydicom

from meninx._clinic.instance_key import PLACE, place_of
from meninx._errors import LimitExceeded, OptionError
from meninx._scan.completeness import Incomplete
from meninx._scan.incomplete_note import NOTE, IncompleteNote
from meninx._system_errors import FULL

LEDGER, STUDIES = "ledger.sqlite", "studies"
INCOMING, RESULTS = "incoming", "results"
# A result is dropped if its peer is no longer configured, or a later result has replaced it.
WAITING, SENDING, SENT, DROPPED = "waiting", "sending", "sent", "dropped"
# Hexadecimal digits of the hash of an instance's UID and of its content in the name of its file;
# those of its place lie between them.
UID_DIGITS, CONTENT_DIGITS = 40, 32
# Pause after the first failed delivery, which doubles up to the longest, s.
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 600.0
# Disk space that only results and the ledger may use: what was received can still be finished.
RESERVED_BYTES = 256 * 1024**2
# A slice of 512 x 512 pixels of 16 bits.
_USUAL_BYTES = 512 * 1024
TABLES = """
create table if not exists studies (
    name text primary key, scored text not null default '', attempts integer not null default 0,
    finished real
);
create table if not exists results (
    study text not null, file text not null, peer text not null, state text not null,
    tries integer not null default 0, next real not null default 0,
    primary key (study, file, peer)
);
"""
# What later versions changed in the ledger, in order; its `user_version` counts those that it has.
UPGRADES = (
    "alter table studies add column failed integer not null default 0",
    "create table transfers (study text, series text, primary key (study, series)) without rowid",
)


class DiskFull(LimitExceeded):
    """The disk of the inbox has no space left for more instances."""


@dataclass(frozen=True)
class InboxState:
    """What an inbox holds, for metrics.

    Args:
        studies: Number of studies by state: `waiting`, `scored` or `failed`.
        deliveries: Number of results by state of their delivery.
        instances: Number of instances.
        bytes: Size of all instances, bytes.
        last_scored: Time of the last study that was scored or failed, seconds since 1970; 0 for
            none.
    """

    studies: dict[str, int]
    deliveries: dict[str, int]
    instances: int
    bytes: int
    last_scored: float


def pause_after(tries: int) -> float:
    """Return the pause after a number of failed tries, s."""
    return min(FIRST_PAUSE * 2.0 ** (tries - 1), LONGEST_PAUSE)


@dataclass(frozen=True)
class Delivery:
    """A result, or a whole study, on its way to one peer.

    Args:
        study: Name of the study's folder.
        file: DICOM file, or the folder of a study's instances.
        peer: Address of the peer.
        tries: Number of failed tries.
        is_study: Whether it is a whole study, for a worklist.
    """

    study: str
    file: Path
    peer: str
    tries: int
    is_study: bool = False


class Inbox:
    """The received studies of a node, in folders named by hashes of their UIDs.

    Args:
        folder: Folder of the inbox, made if missing; only one node at a time may use it.
        max_bytes: Limit of the size of all studies together, bytes.

    Raises:
        OptionError: If a newer version has written the ledger.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder, self._max_bytes = folder, max_bytes
        self._studies = folder / STUDIES
        self._studies.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._ledger = sqlite3.connect(
            folder / LEDGER, check_same_thread=False, isolation_level=None
        )
        upgrade_ledger(self._ledger)
        self._bytes = 0
        # By study: the time of its last instance, the file of each instance, and a hash of all,
        # cached because it is compared many times a second.
        self._last_received: dict[str, float] = {}
        self._files: dict[str, dict[str, Path]] = defaultdict(dict)
        self._content_hashes: dict[str, str] = {}
        # Size of each file, bytes.
        self._sizes: dict[Path, int] = {}
        self._load_files()

    def _load_files(self) -> None:
        """Register the files of an earlier run, and delete partial ones."""
        paths = self._studies.glob(f"*/{INCOMING}/*")
        for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns):
            if path.name == NOTE:
                continue
            if path.suffix == ".dcm":
                self._register(path, path.stat().st_size)
            else:
                path.unlink()

    def _register(self, path: Path, size: int) -> None:
        """Add a file to the index; an earlier version of its instance is deleted."""
        name, instance = path.parent.parent.name, path.stem.partition("-")[0]
        bare = instance[:UID_DIGITS]
        if bare != instance and self._is_place_of(self._files[name].get(bare), instance):
            self._remove(self._files[name].pop(bare))
        before = self._files[name].get(instance, path)
        if before != path:
            self._remove(before)
        self._files[name][instance] = path
        self._content_hashes.pop(name, None)
        self._bytes += size - self._sizes.get(path, 0)
        self._sizes[path] = size
        self._last_received[name] = time.monotonic()

    @staticmethod
    def _is_place_of(path: Path | None, instance: str) -> bool:
        """Return whether a file of an earlier version, whose name lacks its place, has this one."""
        if path is None:
            return False
        header = pydicom.dcmread(path, specific_tags=list(PLACE), force=True)
        return instance[UID_DIGITS:] == place_of(header)

    def _remove(self, path: Path) -> None:
        self._bytes -= self._sizes.pop(path)
        path.unlink(missing_ok=True)

    def _content_hash(self, name: str) -> str:
        """Return a hash of a study's instances: their file names contain hashes of the content."""
        if name not in self._content_hashes:
            names = sorted(path.name for path in self._files.get(name, {}).values())
            names += self._unfinished(name)
            self._content_hashes[name] = hashlib.sha256("\n".join(names).encode()).hexdigest()
        return self._content_hashes[name]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._ledger.execute("begin immediate")
            try:
                yield self._ledger
            except BaseException:
                self._ledger.execute("rollback")
                raise
            self._ledger.execute("commit")

    def folder_of(self, study_uid: str) -> Path:
        """Return the folder of a study, named by a hash: no name comes from the network."""
        return self._studies / _hash_uid(study_uid)

    def begin_transfer(self, study_uid: str, series_uid: str) -> None:
        """Record that a series is being sent: until `end_transfer` it may be incomplete.

        Args:
            study_uid: StudyInstanceUID.
            series_uid: SeriesInstanceUID.
        """
        name, series = _hash_uid(study_uid), _hash_uid(series_uid)
        with self._transaction() as ledger:
            ledger.execute("insert or ignore into transfers values (?, ?)", (name, series))
            self._content_hashes.pop(name, None)

    def end_transfer(self, study_uid: str, series_uid: str) -> None:
        """Record that a series was sent whole: its sender released the association."""
        name, series = _hash_uid(study_uid), _hash_uid(series_uid)
        with self._transaction() as ledger:
            ledger.execute("delete from transfers where study = ? and series = ?", (name, series))
            self._content_hashes.pop(name, None)

    def _unfinished(self, name: str) -> list[str]:
        """Return the series of a study whose transfer began and did not end orderly."""
        query = "select series from transfers where study = ? order by series"
        with self._lock:
            return [series for (series,) in self._ledger.execute(query, (name,))]

    def note_unfinished(self, name: str) -> int:
        """Write into a study's folder what is known to be missing, for its scoring and worklists.

        Args:
            name: Name of the study's folder.

        Returns:
            Number of series whose transfer broke off. A later note without any replaces the
            earlier one, also in the web application.
        """
        count, folder = len(self._unfinished(name)), self._studies / name / INCOMING
        if count or (folder / NOTE).exists():
            missing = (Incomplete("complete transfers of a series", count, 0),) if count else ()
            header = pydicom.dcmread(
                next(folder.glob("*.dcm")), specific_tags=["StudyInstanceUID"], force=True
            )
            IncompleteNote(str(header.StudyInstanceUID), missing).write(folder)
        return count

    def _path_of(self, study_uid: str, instance_uid: str, data: bytes, place: str) -> Path:
        # An instance that is sent again with another identity or pixels is another file.
        digest = hashlib.sha256(data).hexdigest()[:CONTENT_DIGITS]
        instance = f"{_hash_uid(instance_uid)}{place}"
        return self.folder_of(study_uid) / INCOMING / f"{instance}-{digest}.dcm"

    def holds(self, study_uid: str, instance_uid: str, data: bytes, place: str = "") -> bool:
        """Return whether an instance is there with the same content; see `add`."""
        path = self._path_of(study_uid, instance_uid, data, place)
        with self._lock:
            return path in self._sizes

    def add(self, study_uid: str, instance_uid: str, data: bytes, place: str = "") -> bool:
        """Write an instance to disk; it is durable when this returns.

        Args:
            study_uid: StudyInstanceUID.
            instance_uid: SOPInstanceUID.
            data: Bytes of the file.
            place: Where in its study it belongs, see `place_of`: an instance of the same UID and
                place replaces an earlier one, one of another place does not.

        Returns:
            Whether another image with this UID is there.

        Raises:
            LimitExceeded: If the inbox is full, or its disk.
        """
        if shutil.disk_usage(self.folder).free - len(data) < RESERVED_BYTES:
            raise DiskFull(FULL)
        if self._bytes + len(data) > self._max_bytes:
            raise LimitExceeded(
                f"the inbox is full, its limit is {self._max_bytes:,} bytes; "
                "increase it with --disk-gib"
            )
        path = self._path_of(study_uid, instance_uid, data, place)
        with self._lock:
            if not path.parent.is_dir():
                path.parent.mkdir(parents=True)
                _sync_folder(path.parent.parent)
                _sync_folder(self._studies)
        partial = path.with_suffix(f".{threading.get_ident()}")
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # Renamed and registered in one step, or `delete_expired` may delete the study in between.
        with self._lock:
            partial.rename(path)
            _sync_folder(path.parent)
            self._register(path, len(data))
        alike = path.parent.glob(f"{_hash_uid(instance_uid)}*-*.dcm")
        instance = path.stem.partition("-")[0]
        return any(other.name.partition("-")[0] != instance for other in alike)

    @property
    def has_room(self) -> bool:
        """Whether the limit of the inbox leaves room for an instance of usual size."""
        return self._bytes + _USUAL_BYTES <= self._max_bytes

    def find(self, instance_uid: str) -> Path | None:
        """Return the file of an instance of any study; None if it was not received."""
        return next(self._studies.glob(f"*/{INCOMING}/{_hash_uid(instance_uid)}*-*.dcm"), None)

    def mark_complete(self, study_uid: str) -> None:
        """Let a study be scored at once: its sender has asked for storage commitment."""
        name = _hash_uid(study_uid)
        with self._lock:
            if name in self._last_received:
                self._last_received[name] = float("-inf")

    def is_waited_for(self, name: str) -> bool:
        """Return whether a study's sender has not said, by `mark_complete`, that it was sent."""
        with self._lock:
            return self._last_received.get(name, 0.0) != float("-inf")

    def unscored(self, quiet_seconds: float) -> list[str]:
        """Return the studies with unscored content that received nothing for some seconds."""
        with self._lock:
            scored = dict(self._ledger.execute("select name, scored from studies"))
            now = time.monotonic()
            return [
                name
                for name in self._files
                if now - self._last_received[name] >= quiet_seconds
                and self._content_hash(name) != scored.get(name)
            ]

    def folders(self, name: str) -> tuple[Path, Path, str]:
        """Return the folders of a study's instances and results, and the hash of its content."""
        folder = self._studies / name
        with self._lock:
            return folder / INCOMING, folder / RESULTS, self._content_hash(name)

    def begin_attempt(self, name: str) -> int:
        """Record that scoring of a study begins; return the number of the attempt, from 1."""
        with self._transaction() as ledger:
            ledger.execute("insert or ignore into studies (name) values (?)", (name,))
            ledger.execute("update studies set attempts = attempts + 1 where name = ?", (name,))
            query = "select attempts from studies where name = ?"
            return int(ledger.execute(query, (name,)).fetchone()[0])

    def record_results(
        self,
        name: str,
        content_hash: str,
        files: list[Path],
        peers: list[str],
        *,
        failed: bool = False,
        worklist: str | None = None,
    ) -> None:
        """Record in one transaction that a study was scored, and queue its deliveries.

        Args:
            name: Name of the study's folder.
            content_hash: Hash of the scored content, as `folders` returned it.
            files: Result files.
            peers: Addresses to send each result to.
            failed: Whether the study could not be scored.
            worklist: Address of the worklist to hand the study over to, again if instances were
                added since; None for none.
        """
        rows = [(name, file.name, peer, WAITING) for file in files for peer in peers]
        with self._transaction() as ledger:
            ledger.execute(
                "update studies set scored = ?, attempts = 0, finished = ?, failed = ? "
                "where name = ?",
                (content_hash, time.time(), failed, name),
            )
            ledger.executemany(
                "insert or ignore into results (study, file, peer, state) values (?, ?, ?, ?)", rows
            )
            if worklist is not None:
                ledger.execute(
                    "insert or replace into results (study, file, peer, state) values (?, ?, ?, ?)",
                    (name, INCOMING, worklist, WAITING),
                )

    def requeue_interrupted(self) -> None:
        """Queue interrupted deliveries again, with at least one failed try."""
        with self._transaction() as ledger:
            ledger.execute(
                "update results set state = ?, tries = max(tries, 1), next = 0 where state = ?",
                (WAITING, SENDING),
            )

    def due_deliveries(self) -> list[Delivery]:
        """Return the results to send now, and the studies to hand over."""
        with self._lock:
            rows = self._ledger.execute(
                "select study, file, peer, tries from results where state = ? and next <= ?",
                (WAITING, time.time()),
            ).fetchall()
        return [
            Delivery(study, self._studies / study / INCOMING, peer, tries, is_study=True)
            if file == INCOMING
            else Delivery(study, self._studies / study / RESULTS / file, peer, tries)
            for study, file, peer, tries in rows
        ]

    def set_state(self, delivery: Delivery, state: str, *, failed: bool = False) -> None:
        """Record the state of a delivery; after each failure its next try is later."""
        tries = delivery.tries + failed
        pause = pause_after(tries) if failed else 0.0
        key = (delivery.study, delivery.file.name, delivery.peer)
        with self._transaction() as ledger:
            ledger.execute(
                "update results set state = ?, tries = ?, next = ? "
                "where study = ? and file = ? and peer = ?",
                (state, tries, time.time() + pause, *key),
            )

    def counts(self) -> dict[str, int]:
        """Return the numbers of instances, of scored studies, and of results in each state."""
        with self._lock:
            states = dict(
                self._ledger.execute("select state, count(*) from results group by state")
            )
            (scored,) = self._ledger.execute(
                "select count(*) from studies where finished is not null"
            ).fetchone()
            counts = {
                state: int(states.get(state, 0)) for state in (WAITING, SENDING, SENT, DROPPED)
            }
            return {"instances": len(self._sizes), "scored": int(scored)} | counts

    def failing(self) -> dict[str, int]:
        """Return the number of deliveries that each peer has not accepted so far."""
        with self._lock:
            rows = self._ledger.execute(
                "select peer, count(*) from results where state in (?, ?) and tries > 0 "
                "group by peer",
                (WAITING, SENDING),
            ).fetchall()
        return {peer: int(count) for peer, count in rows}

    @property
    def studies(self) -> int:
        """Number of studies of which files are there."""
        with self._lock:
            return len(self._files)

    def state(self) -> InboxState:
        """Return what the inbox holds."""
        waiting = len(self.unscored(0))
        with self._lock:
            query = "select failed, count(*), max(finished) from studies where finished is not null"
            rows = self._ledger.execute(f"{query} group by failed").fetchall()
            done = {bool(failed): count for failed, count, _ in rows}
            counts = self.counts()
            return InboxState(
                {"waiting": waiting, "scored": done.get(False, 0), "failed": done.get(True, 0)},
                {state: counts[state] for state in (WAITING, SENDING, SENT, DROPPED)},
                counts["instances"],
                self._bytes,
                max((finished for *_, finished in rows), default=0.0),
            )

    def delete_expired(
        self, max_age_seconds: float, is_being_sent: Callable[[str], bool] = lambda _: False
    ) -> None:
        """Delete studies that were scored longer ago and have no result waiting.

        Args:
            max_age_seconds: Time since the study was scored, s.
            is_being_sent: Whether instances of a study, by its folder's name, are being sent again:
                it stays, or the instances that follow would be taken for the whole study.
        """
        with self._transaction() as ledger:
            rows = ledger.execute(
                "select name, scored from studies where finished < ? and not exists "
                "(select 1 from results where study = name and state in (?, ?))",
                (time.time() - max_age_seconds, WAITING, SENDING),
            ).fetchall()
            for name, scored in rows:
                # Deleted already, or instances added since wait to be scored.
                if self._content_hash(name) != scored or is_being_sent(name):
                    continue
                ledger.execute("delete from results where study = ?", (name,))
                ledger.execute("delete from studies where name = ?", (name,))
                ledger.execute("delete from transfers where study = ?", (name,))
                self._delete(name)

    def _delete(self, name: str) -> None:
        folder = self._studies / name
        for path in [path for path in self._sizes if path.parent.parent == folder]:
            self._bytes -= self._sizes.pop(path)
        self._files.pop(name, None)
        self._content_hashes.pop(name, None)
        self._last_received.pop(name, None)
        shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Close the ledger."""
        self._ledger.close()


def upgrade_ledger(ledger: sqlite3.Connection) -> None:
    """Make the tables of a ledger, or bring those of an earlier version up to date.

    Args:
        ledger: Connection in autocommit mode.

    Raises:
        OptionError: If a newer version has written it.
    """
    version = check_version(ledger)
    ledger.executescript(f"pragma journal_mode=wal; pragma synchronous=full; {TABLES}")
    for number, upgrade in enumerate(UPGRADES[version:], version + 1):
        # In one transaction: a kill in between leaves the version before.
        ledger.executescript(f"begin; {upgrade}; pragma user_version = {number}; commit;")


def check_version(ledger: sqlite3.Connection) -> int:
    """Return the version of a ledger.

    Args:
        ledger: Connection.

    Returns:
        Number of the upgrades that it has.

    Raises:
        OptionError: If a newer version of meninx has written it.
    """
    version = int(ledger.execute("pragma user_version").fetchone()[0])
    if version > len(UPGRADES):
        raise OptionError(
            f"the node's ledger has version {version}, this meninx knows up to {len(UPGRADES)}; "
            "install the newer meninx again, or restore a backup made before its upgrade"
        )
    return version


def _hash_uid(uid: str) -> str:
    return hashlib.sha256(uid.encode()).hexdigest()[:UID_DIGITS]


def _sync_folder(folder: Path) -> None:
    """Write a folder's entries to disk: otherwise a new file may be lost in a crash."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
