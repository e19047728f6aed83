"""A node on the hospital's network: takes studies, judges them once they are whole, sends results.

C-STORE, C-ECHO and storage commitment as provider; results go out by C-STORE or STOW-RS.
"""

import io
import logging
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
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

from meninx._clinic.inbox import DROPPED, SENDING, SENT, WAITING, Delivery, Inbox
from meninx._clinic.peers import (
    COMMITMENT,
    COMMITMENT_INSTANCE,
    OUR_TITLE,
    DimsePeer,
    Peer,
)
from meninx._clinic.study_folder import is_uid
from meninx._clinic.study_scoring import judge
from meninx._clinic.worklist import Worklist
from meninx._errors import InputError, LimitExceeded, PeerError
from meninx._scoring.worker import MAX_ATTEMPTS, Worker

log = logging.getLogger(__name__)

VERIFICATION = "1.2.840.10008.1.1"
CLASSES = (MRImageStorage, EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage)
GIB = 1024**3
# Statuses of C-STORE (PS3.4 B.2.3) and of N-ACTION (PS3.7 10.1.4).
OUT_OF_RESOURCES, OTHER_DATA, NOT_UNDERSTOOD, INVALID_ARGUMENT = 0xA700, 0xA900, 0xC000, 0x0115
NO_SUCH_INSTANCE = 0x0112
LOOK_SECONDS = 0.1
# As Orthanc's StableAge: scanners send one series after the other, and an answer to the first alone
# is an answer to a part. A sender that asks for commitment need not wait.
QUIET_SECONDS = 60.0
# A slice in one piece: with pynetdicom's 16 KiB most of the time passes between the pieces.
LARGEST_PDU = 1024**2
IDENTIFIERS = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"]


@dataclass(frozen=True)
class NodeSettings:
    """The settings of a node.

    Args:
        folder: Folder of the inbox.
        host: Address to listen on.
        port: Port to listen on; 0 for any free one.
        title: Our application entity title, by which we must be called.
        callers: Titles that may call; empty for all.
        hosts: Addresses that may call; empty for all.
        quiet_seconds: Time without new files after which a study is whole, s.
        peers: Systems that results are sent to.
        worklist: Worklist that judged studies are handed over to; None for none.
        keep_hours: Time that a finished study stays in the inbox, hours.
        max_bytes: Most bytes of the inbox.
        max_associations: Most associations at a time.
        judge_bytes: Most memory of the worker process, bytes.
        judge_seconds: Longest time for a study, s.
        model: Detector file; None for the one that ships.
        tls: TLS context of a server; None for plain connections.
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = 11112
    title: str = OUR_TITLE
    callers: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    quiet_seconds: float = QUIET_SECONDS
    peers: tuple[Peer, ...] = ()
    worklist: Worklist | None = None
    keep_hours: float = 24.0
    max_bytes: int = 50 * GIB
    max_associations: int = 16
    judge_bytes: int = 4 * GIB
    judge_seconds: float = 300.0
    model: Path | None = None
    tls: ssl.SSLContext | None = field(default=None, repr=False)


class Node:
    """A DICOM node.

    Args:
        settings: Settings of the node.
    """

    def __init__(self, settings: NodeSettings) -> None:
        self.settings = settings
        self.inbox = Inbox(settings.folder, settings.max_bytes)
        self._peers = {peer.address: peer for peer in settings.peers}
        self._scorer = Worker(settings.judge_bytes, settings.judge_seconds)
        self._stop = threading.Event()
        self._server: Any = None
        self._worker = threading.Thread(target=self._work, name="node", daemon=True)

    def start(self) -> int:
        """Listen, and work in the background.

        Returns:
            Port that the node listens on.
        """
        settings = self.settings
        entity = AE(ae_title=settings.title)
        entity.require_called_aet = True
        entity.require_calling_aet = list(settings.callers)
        entity.maximum_associations = settings.max_associations
        entity.maximum_pdu_size = LARGEST_PDU
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 60
        for kind in CLASSES:
            entity.add_supported_context(kind, AllTransferSyntaxes)
        entity.add_supported_context(VERIFICATION)
        entity.add_supported_context(COMMITMENT)
        self._worker.start()
        self._server = entity.start_server(
            (settings.host, settings.port),
            block=False,
            ssl_context=settings.tls,
            evt_handlers=[
                (evt.EVT_C_STORE, self._on_store),
                (evt.EVT_N_ACTION, self._on_commitment),
                (evt.EVT_REQUESTED, self._on_requested),
            ],
        )
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """End associations and the work in progress, in good order."""
        self._stop.set()
        if self._server is not None:
            self._server.shutdown()
        self._worker.join(timeout=30)
        self._scorer.close()
        self.inbox.close()

    def _on_requested(self, event: Event) -> None:
        host = event.assoc.requestor.address
        if self.settings.hosts and host not in self.settings.hosts:
            log.warning("a host that may not call was rejected; --caller-host names those that may")
            event.assoc.acse.send_reject(0x01, 0x01, 0x01)
            event.assoc.kill()

    def _on_store(self, event: Event) -> int:
        """Take one instance; it is on the disk before it is acknowledged."""
        try:
            data = event.encoded_dataset()
            header = pydicom.dcmread(
                io.BytesIO(data), stop_before_pixels=True, specific_tags=list(IDENTIFIERS)
            )
            study, series, instance = (
                str(header[name].value or "").strip()
                for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
            )
        except Exception:  # noqa: BLE001 - pydicom documents no list of what bytes make it raise
            log.warning(
                "an instance was refused (0x%04x): it can't be read, or lacks a UID", NOT_UNDERSTOOD
            )
            return NOT_UNDERSTOOD
        request: Any = event.request
        named = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": instance}
        faults = [f"its {name} is no UID" for name, uid in named.items() if not is_uid(uid)]
        if (instance, str(header.get("SOPClassUID", ""))) != (
            str(request.AffectedSOPInstanceUID).strip(),
            str(request.AffectedSOPClassUID),
        ):
            faults.append("its SOPInstanceUID or SOPClassUID is not that of the command")
        if faults:
            log.warning("an instance was refused (0x%04x): %s", OTHER_DATA, "; ".join(faults))
            return OTHER_DATA
        try:
            self.inbox.add(study, instance, data)
        except (LimitExceeded, OSError) as error:
            log.warning("an instance could not be kept: %s", type(error).__name__)
            return OUT_OF_RESOURCES
        return 0x0000

    def _on_commitment(self, event: Event) -> tuple[int, Dataset | None]:
        """Report which instances are stored here; a sender that asks has sent all of a study.

        References:
            DICOM PS3.4 J.3: the answer to N-ACTION, then N-EVENT-REPORT.
        """
        try:
            request = event.action_information
            items = [
                (str(one.ReferencedSOPClassUID), str(one.ReferencedSOPInstanceUID))
                for one in request.ReferencedSOPSequence
            ]
            transaction = str(request.TransactionUID)
        except Exception:  # noqa: BLE001 - as for C-STORE
            return INVALID_ARGUMENT, None
        report = Dataset()
        report.TransactionUID = transaction
        report.ReferencedSOPSequence, failed, studies = [], [], set()
        for sop_class, instance in items:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
            path = self.inbox.find(instance)
            if path is None:
                item.FailureReason = NO_SUCH_INSTANCE
                failed.append(item)
                continue
            report.ReferencedSOPSequence.append(item)
            header = pydicom.dcmread(path, specific_tags=["StudyInstanceUID"])
            studies.add(str(header.StudyInstanceUID))
        if failed:
            report.FailedSOPSequence = failed
        for study in studies:
            self.inbox.hurry(study)
        caller = event.assoc.requestor.ae_title
        threading.Thread(
            target=self._report_commitment,
            args=(event.assoc, caller, report, 2 if failed else 1),
            daemon=True,
        ).start()
        return 0x0000, None

    def _report_commitment(self, association: Any, caller: str, report: Dataset, kind: int) -> None:
        """Send the report on an association of our own if we know the caller, else on its own."""
        time.sleep(LOOK_SECONDS)  # the answer to N-ACTION goes first
        known = next(
            (
                peer
                for peer in self.settings.peers
                if isinstance(peer, DimsePeer) and peer.title == caller
            ),
            None,
        )
        try:
            if known is not None:
                known.report_commitment(report, kind)
            else:
                association.send_n_event_report(report, kind, COMMITMENT, COMMITMENT_INSTANCE)
        except Exception:
            log.exception("a storage commitment could not be reported")

    def _work(self) -> None:
        """Judge and send until stopped; one thread, so that nothing happens twice."""
        while not self._stop.is_set():
            try:
                self.inbox.recover()  # nothing is being sent now: such entries were cut short
                for name in self.inbox.quiet(self.settings.quiet_seconds):
                    self._judge(name)
                self._deliver_all()
                self.inbox.forget(self.settings.keep_hours * 3600)
            except Exception:
                log.exception("the node's work failed; it goes on")
                self._stop.wait(5)
            self._stop.wait(LOOK_SECONDS)

    def _judge(self, name: str) -> None:
        files, out, content = self.inbox.folders(name)
        count = len(list(files.glob("*.dcm")))
        began = time.perf_counter()
        found: list[dict[str, Any]] = []
        if self.inbox.attempt(name) <= MAX_ATTEMPTS:
            try:
                found = self._scorer.call(judge, files, out, self.settings.model)
            except InputError as error:  # until more of it comes
                log.warning("study %s: %s", name[:8], error)
        results = sorted(out.glob("*.dcm")) if found else []
        # Readers see studies that could not be judged as well.
        worklist = self.settings.worklist
        self.inbox.judged(
            name,
            content,
            results,
            list(self._peers),
            worklist=worklist.address if worklist else None,
        )
        log.info(
            "study %s: %d instances judged in %.1f s, %d results",
            name[:8],
            count,
            time.perf_counter() - began,
            len(results),
        )

    def _deliver_all(self) -> None:
        away = set()
        for one in self.inbox.due():
            if self._stop.is_set():
                return
            # One wait for a peer that does not answer is enough: other peers have results too.
            if one.peer not in away and not self._deliver(one):
                away.add(one.peer)

    def _deliver(self, one: Delivery) -> bool:
        """Send one result, or hand over one study; return whether it was taken."""
        worklist, peer = self.settings.worklist, self._peers.get(one.peer)
        send: Callable[[], None]
        if one.is_study and worklist is not None and one.peer == worklist.address:
            send = partial(worklist.hand_over, one.file)
        elif one.is_study or peer is None or not one.file.is_file():
            self.inbox.mark(one, DROPPED)
            return True
        # It may have arrived although we were killed or got no answer: then it is not sent again.
        elif one.tries and peer.has(pydicom.dcmread(one.file, stop_before_pixels=True)):
            self.inbox.mark(one, SENT)
            return True
        else:
            send = partial(peer.send, [one.file])
        self.inbox.mark(one, SENDING)
        try:
            send()
        except (PeerError, OSError) as error:
            log.warning("%s", error)
            self.inbox.mark(one, WAITING, failed=True)
            return False
        self.inbox.mark(one, SENT)
        return True
