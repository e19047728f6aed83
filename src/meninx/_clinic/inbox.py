"""The inbox of a node: received files on disk, beside a ledger of what became of them.

A file is on disk before it is acknowledged, so the files are the record of what was received.
"""

import hashlib
import os
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pydicom

from meninx._clinic.instance_key import PLACE, place_of
from meninx._clinic.ledger import (
    INCOMING,
    LEDGER,
    RESULTS,
    Ledger,
)
from meninx._errors import LimitExceeded
from meninx._scan.completeness import Incomplete
from meninx._scan.incomplete_note import NOTE, IncompleteNote
from meninx._system_errors import FULL

STUDIES = "studies"
# Hexadecimal digits of the hash of an instance's UID and of its content in the name of its file;
# those of its place lie between them.
UID_DIGITS, CONTENT_DIGITS = 40, 32
# Disk space that only results and the ledger may use: what was received can still be finished.
RESERVED_BYTES = 256 * 1024**2
# A slice of 512 x 512 pixels of 16 bits.
_USUAL_BYTES = 512 * 1024


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


class Inbox:
    """The received studies of a node, in folders named by hashes of their UIDs.

    Args:
        folder: Folder of the inbox, made if missing; only one node at a time may use it.
        max_bytes: Limit of the size of all studies together, bytes.

    Attributes:
        ledger: What was scored and sent.

    Raises:
        OptionError: If a newer version has written the ledger.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder, self._max_bytes = folder, max_bytes
        self._studies = folder / STUDIES
        self._studies.mkdir(parents=True, exist_ok=True)
        # Of the index below; the ledger, whose lock is its own, is asked while it is held.
        self._lock = threading.RLock()
        self.ledger = Ledger(folder / LEDGER, self._studies)
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
            names += self.ledger.unfinished(name)
            self._content_hashes[name] = hashlib.sha256("\n".join(names).encode()).hexdigest()
        return self._content_hashes[name]

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
        with self._lock:
            self.ledger.begin_transfer(name, series)
            self._content_hashes.pop(name, None)

    def end_transfer(self, study_uid: str, series_uid: str) -> None:
        """Record that a series was sent whole: its sender released the association."""
        name, series = _hash_uid(study_uid), _hash_uid(series_uid)
        with self._lock:
            self.ledger.end_transfer(name, series)
            self._content_hashes.pop(name, None)

    def note_unfinished(self, name: str) -> int:
        """Write into a study's folder what is known to be missing, for its scoring and worklists.

        Args:
            name: Name of the study's folder.

        Returns:
            Number of series whose transfer broke off. A later note without any replaces the
            earlier one, also in the web application.
        """
        count, folder = len(self.ledger.unfinished(name)), self._studies / name / INCOMING
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
            scored = self.ledger.scored()
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

    @property
    def studies(self) -> int:
        """Number of studies of which files are there."""
        with self._lock:
            return len(self._files)

    @property
    def instances(self) -> int:
        """Number of instances that are there."""
        with self._lock:
            return len(self._sizes)

    def state(self) -> InboxState:
        """Return what the inbox holds."""
        with self._lock:
            ended = self.ledger.ended()
            counts = {failed: count for failed, (count, _) in ended.items()}
            return InboxState(
                {
                    "waiting": len(self.unscored(0)),
                    "scored": counts.get(False, 0),
                    "failed": counts.get(True, 0),
                },
                self.ledger.deliveries(),
                self.instances,
                self._bytes,
                max((last for _, last in ended.values()), default=0.0),
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
        with self._lock:
            for name, scored in self.ledger.expired(max_age_seconds):
                # Deleted already, or instances added since wait to be scored.
                if self._content_hash(name) != scored or is_being_sent(name):
                    continue
                self.ledger.forget(name)
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
        self.ledger.close()


def _hash_uid(uid: str) -> str:
    return hashlib.sha256(uid.encode()).hexdigest()[:UID_DIGITS]


def _sync_folder(folder: Path) -> None:
    """Write a folder's entries to disk: otherwise a new file may be lost in a crash."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
