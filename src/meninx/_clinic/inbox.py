"""The inbox of a node: received files on disk, and a ledger of what became of them.

A file is on the disk before it is acknowledged, so that the files are the record of what was
received. The ledger records what was judged and sent; both survive a kill at any moment.
"""

import hashlib
import os
import shutil
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from meninx._errors import LimitExceeded

INCOMING, RESULTS = "incoming", "results"
# A result is dropped if its peer is not configured any more, or a later judgment replaced it.
WAITING, SENDING, SENT, DROPPED = "waiting", "sending", "sent", "dropped"
# Hexadecimal digits of an instance's content in the name of its file.
DIGITS = 32
# Pauses after a result that could not be sent: the first, which doubles up to the longest, s.
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 600.0
TABLES = """
create table if not exists studies (
    name text primary key, judged text not null default '', attempts integer not null default 0,
    finished real
);
create table if not exists results (
    study text not null, file text not null, peer text not null, state text not null,
    tries integer not null default 0, next real not null default 0,
    primary key (study, file, peer)
);
"""


@dataclass(frozen=True)
class Delivery:
    """A result, or a whole study, on its way to one peer.

    Args:
        study: Name of the study's folder.
        file: DICOM file, or the folder of a study's instances.
        peer: Address of the peer.
        tries: Number of tries that failed.
        is_study: Whether it is a whole study, for a worklist.
    """

    study: str
    file: Path
    peer: str
    tries: int
    is_study: bool = False


class Inbox:
    """The studies that a node received, under names of our own.

    Args:
        folder: Folder of the inbox, made if missing; one node at a time uses it.
        max_bytes: Most bytes of all studies together.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder, self._max_bytes = folder, max_bytes
        self._studies = folder / "studies"
        self._studies.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._ledger = sqlite3.connect(
            folder / "ledger.sqlite", check_same_thread=False, isolation_level=None
        )
        self._ledger.executescript(f"pragma journal_mode=wal; pragma synchronous=full; {TABLES}")
        self._bytes = 0
        self._touched: dict[str, float] = {}
        # By study: the file of each instance, and the bytes of each file.
        self._files: dict[str, dict[str, Path]] = defaultdict(dict)
        self._sizes: dict[Path, int] = {}
        # What stands for the content of a study: asked for many times a second.
        self._contents: dict[str, str] = {}
        self._read_again()

    def _read_again(self) -> None:
        """Count the files of an earlier run; half-written ones are deleted."""
        found = self._studies.glob(f"*/{INCOMING}/*")
        for path in sorted(found, key=lambda path: path.stat().st_mtime_ns):
            if path.suffix != ".dcm":
                path.unlink()
                continue
            if "-" not in path.stem:  # of a version that knew an instance by its UID alone
                named = f"{path.stem}-{_digest(path.read_bytes())}.dcm"
                path = path.rename(path.with_name(named))
            self._take(path, path.stat().st_size)

    def _take(self, path: Path, size: int) -> None:
        """Count a file; an instance that is here in other words is replaced."""
        name, instance = path.parent.parent.name, path.stem.partition("-")[0]
        before = self._files[name].get(instance, path)
        if before != path:
            self._bytes -= self._sizes.pop(before)
            before.unlink(missing_ok=True)
        self._files[name][instance] = path
        self._contents.pop(name, None)
        self._bytes += size - self._sizes.get(path, 0)
        self._sizes[path] = size
        self._touched[name] = time.monotonic()

    def _content(self, name: str) -> str:
        """Return what stands for the content of a study's instances: their files' names do."""
        if name not in self._contents:
            names = sorted(path.name for path in self._files.get(name, {}).values())
            self._contents[name] = hashlib.sha256("\n".join(names).encode()).hexdigest()
        return self._contents[name]

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
        """Return the folder of a study: names come from hashes, never from the network."""
        return self._studies / _name(study_uid)

    def add(self, study_uid: str, instance_uid: str, data: bytes) -> None:
        """Write an instance to the disk; it is safe there when this returns.

        Args:
            study_uid: StudyInstanceUID.
            instance_uid: SOPInstanceUID.
            data: Bytes of the file.

        Raises:
            LimitExceeded: If the inbox has no room for it.
        """
        if self._bytes + len(data) > self._max_bytes:
            raise LimitExceeded(
                f"the inbox is full, it may take {self._max_bytes:,} bytes; "
                "give it more by --disk-gib"
            )
        # What is sent again is another file if a bit of it is another: identity or pixels.
        named = f"{_name(instance_uid)}-{_digest(data)}.dcm"
        path = self.folder_of(study_uid) / INCOMING / named
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
        # Renamed and counted in one step: in between, `forget` might take the study for finished.
        with self._lock:
            partial.rename(path)
            _sync_folder(path.parent)
            self._take(path, len(data))

    def find(self, instance_uid: str) -> Path | None:
        """Return the file of an instance, whatever its study; None if it is not here."""
        return next(self._studies.glob(f"*/{INCOMING}/{_name(instance_uid)}-*.dcm"), None)

    def hurry(self, study_uid: str) -> None:
        """Take a study for whole at once, as its sender asked whether it arrived."""
        with self._lock:
            if _name(study_uid) in self._touched:
                self._touched[_name(study_uid)] = float("-inf")

    def quiet(self, seconds: float) -> list[str]:
        """Return the studies with content not judged yet that received nothing for a while."""
        with self._lock:
            judged = dict(self._ledger.execute("select name, judged from studies"))
            now = time.monotonic()
            return [
                name
                for name in self._files
                if now - self._touched[name] >= seconds and self._content(name) != judged.get(name)
            ]

    def folders(self, name: str) -> tuple[Path, Path, str]:
        """Return the folders of a study's instances and results, and what stands for the first."""
        folder = self._studies / name
        with self._lock:
            return folder / INCOMING, folder / RESULTS, self._content(name)

    def attempt(self, name: str) -> int:
        """Record that a study is being judged; return the number of the attempt."""
        with self._transaction() as ledger:
            ledger.execute("insert or ignore into studies (name) values (?)", (name,))
            ledger.execute("update studies set attempts = attempts + 1 where name = ?", (name,))
            query = "select attempts from studies where name = ?"
            return int(ledger.execute(query, (name,)).fetchone()[0])

    def judged(
        self,
        name: str,
        content: str,
        files: list[Path],
        peers: list[str],
        *,
        worklist: str | None = None,
    ) -> None:
        """Record, in one transaction, that a study was judged and where its results go.

        Args:
            name: Name of the study's folder.
            content: What stood for its instances when it was judged, as `folders` returns it.
            files: Result files.
            peers: Addresses that each result is sent to.
            worklist: Address that the study is handed over to, again if more of it came since; None
                for none.
        """
        rows = [(name, file.name, peer, WAITING) for file in files for peer in peers]
        with self._transaction() as ledger:
            ledger.execute(
                "update studies set judged = ?, attempts = 0, finished = ? where name = ?",
                (content, time.time(), name),
            )
            ledger.executemany(
                "insert or ignore into results (study, file, peer, state) values (?, ?, ?, ?)", rows
            )
            if worklist is not None:
                ledger.execute(
                    "insert or replace into results (study, file, peer, state) values (?, ?, ?, ?)",
                    (name, INCOMING, worklist, WAITING),
                )

    def recover(self) -> None:
        """Let deliveries that were cut short wait again, as ones that were tried before."""
        with self._transaction() as ledger:
            ledger.execute(
                "update results set state = ?, tries = max(tries, 1), next = 0 where state = ?",
                (WAITING, SENDING),
            )

    def due(self) -> list[Delivery]:
        """Return the results to be sent now, and the studies to be handed over."""
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

    def mark(self, one: Delivery, state: str, *, failed: bool = False) -> None:
        """Record the state of a delivery; one that failed waits longer each time."""
        tries = one.tries + failed
        pause = min(FIRST_PAUSE * 2 ** (tries - 1), LONGEST_PAUSE) if failed else 0.0
        with self._transaction() as ledger:
            ledger.execute(
                "update results set state = ?, tries = ?, next = ? "
                "where study = ? and file = ? and peer = ?",
                (state, tries, time.time() + pause, one.study, one.file.name, one.peer),
            )

    def balance(self) -> dict[str, int]:
        """Return the number of instances here, of studies judged, and of results in each state."""
        with self._lock:
            states = dict(
                self._ledger.execute("select state, count(*) from results group by state")
            )
            (judged,) = self._ledger.execute(
                "select count(*) from studies where finished is not null"
            ).fetchone()
            counts = {
                state: int(states.get(state, 0)) for state in (WAITING, SENDING, SENT, DROPPED)
            }
            return {"instances": len(self._sizes), "judged": int(judged)} | counts

    def forget(self, older_than_seconds: float) -> None:
        """Delete studies that were judged so long ago and have no result waiting."""
        with self._transaction() as ledger:
            rows = ledger.execute(
                "select name, judged from studies where finished < ? and not exists "
                "(select 1 from results where study = name and state in (?, ?))",
                (time.time() - older_than_seconds, WAITING, SENDING),
            ).fetchall()
            for name, judged in rows:
                if self._content(name) != judged:
                    continue  # gone already, or what came since waits to be judged
                ledger.execute("delete from results where study = ?", (name,))
                ledger.execute("delete from studies where name = ?", (name,))
                self._drop(name)

    def _drop(self, name: str) -> None:
        folder = self._studies / name
        for path in [path for path in self._sizes if path.parent.parent == folder]:
            self._bytes -= self._sizes.pop(path)
        self._files.pop(name, None)
        self._contents.pop(name, None)
        self._touched.pop(name, None)
        shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Close the ledger."""
        self._ledger.close()


def _name(uid: str) -> str:
    return hashlib.sha256(uid.encode()).hexdigest()[:40]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:DIGITS]


def _sync_folder(folder: Path) -> None:
    """Write a folder's list of names to the disk: without that a new file may be lost."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
