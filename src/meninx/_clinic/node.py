"""A DICOM node: receives studies, scores each once it is complete, and sends its results.

It provides C-STORE, C-ECHO and storage commitment, and sends results by C-STORE or STOW-RS.
"""

import io
import logging
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pydicom
from pydicom import Dataset
from pydicom.uid import (
    AllTransferSyntaxes,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
)
from pynetdicom import AE, evt
from pynetdicom.events import Event

from meninx._clinic.dimse_peer import (
    COMMITMENT,
    COMMITMENT_INSTANCE,
    VERIFICATION,
    DimsePeer,
)
from meninx._clinic.inbox import (
    DROPPED,
    SENDING,
    SENT,
    WAITING,
    Delivery,
    DiskFull,
    Inbox,
)
from meninx._clinic.instance_key import PLACE, place_of
from meninx._clinic.peers import OUR_TITLE, Peer
from meninx._clinic.study_folder import is_uid
from meninx._clinic.study_scoring import score_and_write
from meninx._clinic.worklist import Worklist
from meninx._errors import InputError, LimitExceeded, PeerError
from meninx._scoring.worker import MAX_ATTEMPTS, Worker
from meninx._system_errors import FULL, is_disk_full, system_error_in_words

log = logging.getLogger(__name__)

CLASSES = (MRImageStorage, EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage)
GIB = 1024**3
# Statuses of C-STORE (PS3.4 B.2.3) and of N-ACTION (PS3.7 10.1.4).
SUCCESS, OUT_OF_RESOURCES, OTHER_DATA, NOT_UNDERSTOOD = 0x0000, 0xA700, 0xA900, 0xC000
INVALID_ARGUMENT = 0x0115
_NO_SUCH_INSTANCE = 0x0112
POLL_SECONDS = 0.1
# As Orthanc's StableAge: scanners send one series after the other, and a result of the first series
# is not one of the study. After a request for storage commitment there is no wait.
_QUIET_SECONDS = 60.0
# One slice per PDU: with pynetdicom's 16 KiB most of the time is spent between PDUs.
_MAX_PDU_BYTES = 1024**2
# Pause between two reports of the node's health.
_REPORT_SECONDS = 60.0
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


@dataclass(frozen=True)
class NodeSettings:
    """The settings of a node.

    Args:
        folder: Folder of the inbox.
        host: Address to listen on.
        port: Port to listen on; 0 for any free one.
        title: Our application entity title, which callers must use.
        callers: Permitted calling titles; empty for all.
        hosts: Permitted addresses of callers; empty for all.
        quiet_seconds: Time without new files after which a study is complete, s.
        peers: Systems to send results to.
        worklist: Worklist to hand scored studies over to; None for none.
        keep_hours: Time after which a finished study is deleted, hours.
        max_bytes: Limit of the inbox, bytes.
        max_associations: Limit of concurrent associations.
        worker_bytes: Memory limit of the worker process, bytes.
        study_seconds: Time limit of a study, s.
        model: Detector file; None for the one that ships.
        tls: TLS context of a server; None for plain connections.
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = 11112
    title: str = OUR_TITLE
    callers: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    quiet_seconds: float = _QUIET_SECONDS
    peers: tuple[Peer, ...] = ()
    worklist: Worklist | None = None
    keep_hours: float = 24.0
    max_bytes: int = 50 * GIB
    max_associations: int = 16
    worker_bytes: int = 4 * GIB
    study_seconds: float = 300.0
    model: Path | None = None
    tls: ssl.SSLContext | None = field(default=None, repr=False)


@dataclass(frozen=True)
class _Sent:
    """What an open association has sent: pairs of StudyInstanceUID and SeriesInstanceUID.

    Args:
        series: Series of all its instances.
        begun: Series of which it sent an instance that was not there before.
        refused: Instances that could not be stored, and their series.
    """

    series: set[tuple[str, str]] = field(default_factory=set)
    begun: set[tuple[str, str]] = field(default_factory=set)
    refused: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def whole(self) -> set[tuple[str, str]]:
        """Series of which no instance was refused."""
        return self.series - set(self.refused.values())


class Node:
    """A DICOM node.

    Args:
        settings: Settings of the node.
    """

    def __init__(self, settings: NodeSettings) -> None:
        self.settings = settings
        self.inbox = Inbox(settings.folder, settings.max_bytes)
        self._peers = {peer.address: peer for peer in settings.peers}
        self._scorer = Worker(settings.worker_bytes, settings.study_seconds)
        self._started = datetime.now(UTC)
        # Since the start: instances that were refused, and studies that could not be scored.
        self._failed = 0
        self._next_report, self._reported = 0.0, True
        self._stop = threading.Event()
        self._server: Any = None
        self._thread = threading.Thread(target=self._run, name="node", daemon=True)
        # Since the start: instances by status of C-STORE, and deliveries that no peer accepted.
        self.responses: Counter[int] = Counter()
        self.failed_deliveries = 0
        self.last_received = 0.0
        # Why the last instance could not be stored; empty if it could.
        self._fault = ""
        self._sent: dict[Any, _Sent] = {}
        # Studies of which it was said that images share a UID.
        self._shared: set[str] = set()

    @property
    def is_running(self) -> bool:
        """Whether it listens and works."""
        return self._server is not None and self._thread.is_alive()

    def start(self) -> int:
        """Listen, and score and send in a thread.

        Returns:
            The port of the node.
        """
        settings = self.settings
        self._thread.start()
        self._server = entity_of(settings).start_server(
            (settings.host, settings.port),
            block=False,
            ssl_context=settings.tls,
            evt_handlers=[
                (evt.EVT_C_STORE, self._on_store),
                (evt.EVT_N_ACTION, self._on_commitment),
                (evt.EVT_REQUESTED, self._on_requested),
                (evt.EVT_RELEASED, self._on_released),
                (evt.EVT_ABORTED, self._on_broken),
            ],
        )
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """Close associations, and wait for the work in progress."""
        self._stop.set()
        if self._server is not None:
            self._server.shutdown()
        if self._thread.is_alive():
            self._thread.join(timeout=30)
        self._scorer.close()
        self.inbox.close()

    def _on_requested(self, event: Event) -> None:
        """Reject an association from a host that is not permitted."""
        host = event.assoc.requestor.address
        if self.settings.hosts and host not in self.settings.hosts:
            log.warning("a host that is not permitted was rejected; permit it with --caller-host")
            event.assoc.acse.send_reject(0x01, 0x01, 0x01)
            event.assoc.kill()

    def _on_released(self, event: Event) -> None:
        """Record that the series of an association were sent whole, but for refused ones."""
        for study, series in self._sent.pop(event.assoc, _Sent()).whole:
            self.inbox.end_transfer(study, series)

    def _on_broken(self, event: Event) -> None:
        """Keep the series of an association as unfinished: it ended before its release."""
        begun = self._sent.pop(event.assoc, _Sent()).begun
        if not begun:
            return
        for study, series in begun:  # another association may have ended it meanwhile
            self.inbox.begin_transfer(study, series)
        log.warning(
            "an association broke off, or was idle too long, after instances of %d series: their "
            "studies are incomplete until these series are sent again",
            len(begun),
        )

    def _on_store(self, event: Event) -> int:
        """Store an instance, and return the status; it is on disk before it is acknowledged."""
        status = self._store(event)
        self.responses[status] += 1
        if status == SUCCESS:
            self.last_received = time.time()
        return status

    def _store(self, event: Event) -> int:
        try:
            data = event.encoded_dataset()
            header = pydicom.dcmread(
                io.BytesIO(data),
                stop_before_pixels=True,
                specific_tags=[*UIDS, "SOPClassUID", *PLACE],
            )
            uids = {name: str(header[name].value or "").strip() for name in UIDS}
        except Exception:  # noqa: BLE001 - pydicom documents no list of what bytes make it raise
            log.warning(
                "an instance was refused (0x%04x): it can't be read, or lacks a UID", NOT_UNDERSTOOD
            )
            return NOT_UNDERSTOOD
        if faults := _faults_of(uids, str(header.get("SOPClassUID", "")), event.request):
            log.warning("an instance was refused (0x%04x): %s", OTHER_DATA, "; ".join(faults))
            return OTHER_DATA
        study, instance, place = uids["StudyInstanceUID"], uids["SOPInstanceUID"], place_of(header)
        series = study, uids["SeriesInstanceUID"]
        sent = self._sent.setdefault(event.assoc, _Sent())
        sent.series.add(series)
        is_there = self.inbox.holds(study, instance, data, place)
        try:
            # What is there already leaves its series as whole as it was.
            if not is_there and series not in sent.begun:
                self.inbox.begin_transfer(*series)
                sent.begun.add(series)
            is_shared = self.inbox.add(study, instance, data, place)
        except (LimitExceeded, OSError) as error:
            self._log_once(_reason_of(error))
            if not is_there:
                sent.refused[instance + place] = series
            return OUT_OF_RESOURCES
        sent.refused.pop(instance + place, None)
        if is_shared and study not in self._shared:
            self._shared.add(study)
            name = self.inbox.folder_of(study).name[:8]
            log.warning("study %s: several images have one SOPInstanceUID; all are kept", name)
        self._log_once("")
        return SUCCESS

    def _log_once(self, fault: str) -> None:
        """Log why instances can't be stored when that begins, and when it ends."""
        if fault and fault != self._fault:
            log.error("instances are refused (0x%04x): %s", OUT_OF_RESOURCES, fault)
        elif self._fault and not fault:
            log.info("instances are stored again")
        self._fault = fault

    def _on_commitment(self, event: Event) -> tuple[int, Dataset | None]:
        """Report which instances are stored; a sender that asks has sent its whole study.

        References:
            DICOM PS3.4 J.3: first the response to N-ACTION, then N-EVENT-REPORT.
        """
        try:
            request = event.action_information
            references = [
                (str(reference.ReferencedSOPClassUID), str(reference.ReferencedSOPInstanceUID))
                for reference in request.ReferencedSOPSequence
            ]
            transaction = str(request.TransactionUID)
        except Exception:  # noqa: BLE001 - as for C-STORE
            return INVALID_ARGUMENT, None
        report = Dataset()
        report.TransactionUID = transaction
        report.ReferencedSOPSequence, failed, studies = [], [], set()
        series: set[tuple[str, str]] = set()
        for sop_class, instance in references:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
            path = self.inbox.find(instance)
            if path is None:
                item.FailureReason = _NO_SUCH_INSTANCE
                failed.append(item)
                continue
            report.ReferencedSOPSequence.append(item)
            header = pydicom.dcmread(path, specific_tags=list(UIDS))
            studies.add(str(header.StudyInstanceUID))
            series.add((str(header.StudyInstanceUID), str(header.SeriesInstanceUID)))
        if failed:
            report.FailedSOPSequence = failed
        else:
            refused = self._sent.get(event.assoc, _Sent()).refused.values()
            for place in series.difference(refused):
                self.inbox.end_transfer(*place)
        for study in studies:
            self.inbox.mark_complete(study)
        caller = event.assoc.requestor.ae_title
        threading.Thread(
            target=self._report_commitment,
            args=(event.assoc, caller, report, 2 if failed else 1),
            daemon=True,
        ).start()
        return 0x0000, None

    def _report_commitment(self, association: Any, caller: str, report: Dataset, kind: int) -> None:
        """Send the report on a new association if the caller is a peer, else on the caller's."""
        time.sleep(POLL_SECONDS)  # the response to N-ACTION goes first
        peers = (peer for peer in self.settings.peers if isinstance(peer, DimsePeer))
        peer = next((peer for peer in peers if peer.title == caller), None)
        try:
            if peer is not None:
                peer.report_commitment(report, kind)
            else:
                association.send_n_event_report(report, kind, COMMITMENT, COMMITMENT_INSTANCE)
        except Exception:
            log.exception("a storage commitment could not be reported")

    def _run(self) -> None:
        """Score and send until stopped; in a single thread, so that nothing happens twice."""
        while not self._stop.is_set():
            try:
                self.inbox.requeue_interrupted()  # nothing is being sent at this point
                for name in self.inbox.unscored(self.settings.quiet_seconds):
                    if not self._is_being_sent(name):
                        self._score(name)
                self._deliver_due()
                self.inbox.delete_expired(
                    self.settings.keep_hours * 3600, self._has_open_association
                )
                self._report_health()
            except Exception as error:
                words = system_error_in_words(error)
                if words is None:
                    log.exception("the node's work failed; it continues")
                else:  # such as a full disk, which says all
                    log.error("the node's work failed; it continues: %s", words)  # noqa: TRY400
                self._stop.wait(5)
            self._stop.wait(POLL_SECONDS)

    def _is_being_sent(self, name: str) -> bool:
        """Return whether an open association has sent instances of a study, and may send more."""
        return self.inbox.is_waited_for(name) and self._has_open_association(name)

    def _has_open_association(self, name: str) -> bool:
        return any(
            self.inbox.folder_of(study).name == name
            for association, sent in list(self._sent.items())
            for study, _ in list(sent.series)
            if association.is_alive()
        )

    def _report_health(self) -> None:
        """Tell the worklist each minute what came, what waits and what failed."""
        worklist = self.settings.worklist
        if worklist is None or time.monotonic() < self._next_report:
            return
        self._next_report = time.monotonic() + _REPORT_SECONDS
        try:
            worklist.report(self.health())
        except PeerError as error:
            if self._reported:  # said once, and not each minute
                log.warning("%s", error)
            self._reported = False
            return
        self._reported = True

    def health(self) -> dict[str, Any]:
        """Return the health of the node as numbers, for the web application."""
        counts, unscored = self.inbox.counts(), self.inbox.unscored(0)
        return {
            "title": self.settings.title,
            "started": self._started.isoformat(),
            "instances": counts["instances"],
            "studies": self.inbox.studies,
            "waiting": len(unscored),
            "scored": counts["scored"],
            "failed": self._failed,
            "refused": self.responses.total() - self.responses[SUCCESS],
            "results_sent": counts[SENT],
            "results_waiting": counts[WAITING] + counts[SENDING],
            "failing": self.inbox.failing(),
        }

    def _score(self, name: str) -> None:
        """Score a study, and queue its results."""
        incoming, results, content_hash = self.inbox.folders(name)
        if unfinished := self.inbox.note_unfinished(name):
            log.warning("study %s: %d of its series came incomplete", name[:8], unfinished)
        count = len(list(incoming.glob("*.dcm")))
        began = time.perf_counter()
        findings: list[dict[str, Any]] = []
        if self.inbox.begin_attempt(name) <= MAX_ATTEMPTS:
            try:
                findings = self._scorer.call(
                    score_and_write, incoming, results, self.settings.model
                )
            except InputError as error:  # until more of the study is received
                log.warning("study %s: %s", name[:8], error)
        self._failed += not findings
        files = sorted(results.glob("*.dcm")) if findings else []
        # The worklist shows studies that could not be scored, too.
        worklist = self.settings.worklist
        self.inbox.record_results(
            name,
            content_hash,
            files,
            list(self._peers),
            failed=not findings,
            worklist=worklist.address if worklist else None,
        )
        self._next_report = 0.0
        log.info(
            "study %s: %d instances scored in %.1f s, %d results",
            name[:8],
            count,
            time.perf_counter() - began,
            len(files),
        )

    def _deliver_due(self) -> None:
        unreachable = set()
        for delivery in self.inbox.due_deliveries():
            if self._stop.is_set():
                return
            # Wait only once for a peer that does not respond: other peers have results, too.
            if delivery.peer not in unreachable and not self._deliver(delivery):
                unreachable.add(delivery.peer)

    def _deliver(self, delivery: Delivery) -> bool:
        """Send a result, or hand a study over; return False if the peer did not accept it."""
        send = self._sender_of(delivery)
        if send is None:
            self.inbox.set_state(delivery, DROPPED)
            return True
        # After a kill or a lost response the peer may have it already: it is not sent twice.
        if delivery.tries and not delivery.is_study and self._peer_has(delivery):
            self.inbox.set_state(delivery, SENT)
            return True
        self.inbox.set_state(delivery, SENDING)
        try:
            send()
        except (PeerError, OSError) as error:
            log.warning("%s", error)
            self.failed_deliveries += 1
            self.inbox.set_state(delivery, WAITING, failed=True)
            return False
        self.inbox.set_state(delivery, SENT)
        return True

    def _sender_of(self, delivery: Delivery) -> Callable[[], None] | None:
        """Return a function that sends; None if the peer or the file no longer exists."""
        worklist, peer = self.settings.worklist, self._peers.get(delivery.peer)
        if delivery.is_study:
            if worklist is None or delivery.peer != worklist.address:
                return None
            return partial(worklist.hand_over, delivery.file)
        if peer is None or not delivery.file.is_file():
            return None
        return partial(peer.send, [delivery.file])

    def _peer_has(self, delivery: Delivery) -> bool:
        header = pydicom.dcmread(delivery.file, stop_before_pixels=True)
        return self._peers[delivery.peer].has(header)


def entity_of(settings: NodeSettings) -> AE:
    """Return the application entity of a node: what it accepts, and from whom.

    Args:
        settings: Settings of the node.

    Returns:
        The entity, which does not listen yet.
    """
    entity = AE(ae_title=settings.title)
    entity.require_called_aet = True
    entity.require_calling_aet = list(settings.callers)
    entity.maximum_associations = settings.max_associations
    entity.maximum_pdu_size = _MAX_PDU_BYTES
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 60
    for kind in CLASSES:
        entity.add_supported_context(kind, AllTransferSyntaxes)
    entity.add_supported_context(VERIFICATION)
    entity.add_supported_context(COMMITMENT)
    return entity


def _reason_of(error: Exception) -> str:
    """Return why an instance can't be stored: in words, without the name of its file."""
    if is_disk_full(error) or isinstance(error, DiskFull):
        return FULL
    return str(error) if isinstance(error, LimitExceeded) else type(error).__name__


def _faults_of(uids: Mapping[str, str], sop_class: str, request: Any) -> list[str]:
    """Return why an instance is refused: invalid UIDs, or UIDs that differ from the command's."""
    faults = [f"its {name} is no UID" for name, uid in uids.items() if not is_uid(uid)]
    if (uids["SOPInstanceUID"], sop_class) != (
        str(request.AffectedSOPInstanceUID).strip(),
        str(request.AffectedSOPClassUID),
    ):
        faults.append("its SOPInstanceUID or SOPClassUID is not that of the command")
    return faults
