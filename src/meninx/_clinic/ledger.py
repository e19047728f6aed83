"""The ledger of a node: what was scored, what is being sent to it, and what it sends.

Each change is one transaction of SQLite, so that the ledger survives a kill at any moment.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from meninx._errors import OptionError

LEDGER = "ledger.sqlite"
# Folders of a study's instances and results.
INCOMING, RESULTS = "incoming", "results"
# A result is dropped if its peer is no longer configured, or a later result has replaced it.
WAITING, SENDING, SENT, DROPPED = "waiting", "sending", "sent", "dropped"
# Pause after the first failed delivery, which doubles up to the longest, s.
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 600.0
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


class Ledger:
    """The ledger of a node, which several threads may use.

    Args:
        path: File of the ledger, made if missing.
        studies: Folder of the studies' folders.

    Raises:
        OptionError: If a newer version has written it.
    """

    def __init__(self, path: Path, studies: Path) -> None:
        self._studies = studies
        self._lock = threading.RLock()
        self._ledger = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        upgrade_ledger(self._ledger)

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

    def begin_transfer(self, name: str, series: str) -> None:
        """Record that a series of a study, both by their hashes, is being sent."""
        with self._transaction() as ledger:
            ledger.execute("insert or ignore into transfers values (?, ?)", (name, series))

    def end_transfer(self, name: str, series: str) -> None:
        """Record that a series of a study, both by their hashes, was sent whole."""
        with self._transaction() as ledger:
            ledger.execute("delete from transfers where study = ? and series = ?", (name, series))

    def unfinished(self, name: str) -> list[str]:
        """Return the series of a study whose transfer began and did not end orderly."""
        query = "select series from transfers where study = ? order by series"
        with self._lock:
            return [series for (series,) in self._ledger.execute(query, (name,))]

    def scored(self) -> dict[str, str]:
        """Return the hash of the content that each study was scored with, empty before."""
        with self._lock:
            return dict(self._ledger.execute("select name, scored from studies"))

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

    def progress(self, study: str, peer: str) -> tuple[int, int]:
        """Return how many objects of a study a peer has, and how many it still waits for."""
        query = (
            "select coalesce(sum(state = ?), 0), coalesce(sum(state in (?, ?)), 0) from results "
            "where study = ? and peer = ?"
        )
        with self._lock:
            sent, waiting = self._ledger.execute(
                query, (SENT, WAITING, SENDING, study, peer)
            ).fetchone()
        return int(sent), int(waiting)

    def deliveries(self) -> dict[str, int]:
        """Return the number of results in each state of their delivery."""
        with self._lock:
            states = dict(
                self._ledger.execute("select state, count(*) from results group by state")
            )
        return {state: int(states.get(state, 0)) for state in (WAITING, SENDING, SENT, DROPPED)}

    def failing(self) -> dict[str, int]:
        """Return the number of deliveries that each peer has not accepted so far."""
        with self._lock:
            rows = self._ledger.execute(
                "select peer, count(*) from results where state in (?, ?) and tries > 0 "
                "group by peer",
                (WAITING, SENDING),
            ).fetchall()
        return {peer: int(count) for peer, count in rows}

    def ended(self) -> dict[bool, tuple[int, float]]:
        """Return, for failed and scored studies, their number and the time of the last, s."""
        with self._lock:
            query = "select failed, count(*), max(finished) from studies where finished is not null"
            rows = self._ledger.execute(f"{query} group by failed").fetchall()
        return {bool(failed): (count, last) for failed, count, last in rows}

    def expired(self, max_age_seconds: float) -> list[tuple[str, str]]:
        """Return studies that ended long ago and have nothing to send.

        Args:
            max_age_seconds: Time since the study was scored, s.

        Returns:
            Name of each, and the hash of the content that was scored.
        """
        with self._lock:
            return self._ledger.execute(
                "select name, scored from studies where finished < ? and not exists "
                "(select 1 from results where study = name and state in (?, ?))",
                (time.time() - max_age_seconds, WAITING, SENDING),
            ).fetchall()

    def forget(self, name: str) -> None:
        """Delete all that is recorded of a study."""
        with self._transaction() as ledger:
            ledger.execute("delete from results where study = ?", (name,))
            ledger.execute("delete from studies where name = ?", (name,))
            ledger.execute("delete from transfers where study = ?", (name,))

    def close(self) -> None:
        """Close the file."""
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
