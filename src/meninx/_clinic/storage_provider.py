"""What a DICOM node provides to others: C-ECHO, C-STORE and storage commitment.

Writes each instance into an inbox before it is acknowledged, and records which series came whole.
"""

import io
import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
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
from meninx._clinic.inbox import DiskFull, Inbox
from meninx._clinic.instance_key import PLACE, place_of
from meninx._clinic.node_settings import NodeSettings
from meninx._clinic.study_folder import is_uid
from meninx._errors import LimitExceeded
from meninx._system_errors import FULL, is_disk_full

log = logging.getLogger(__name__)

CLASSES = (MRImageStorage, EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage)
# Statuses of C-STORE (PS3.4 B.2.3) and of N-ACTION (PS3.7 10.1.4).
SUCCESS, OUT_OF_RESOURCES, OTHER_DATA, NOT_UNDERSTOOD = 0x0000, 0xA700, 0xA900, 0xC000
INVALID_ARGUMENT = 0x0115
_NO_SUCH_INSTANCE = 0x0112
# The response to N-ACTION goes before the report, s.
_BEFORE_REPORT_SECONDS = 0.1
# One slice per PDU: with pynetdicom's 16 KiB most of the time is spent between PDUs.
_MAX_PDU_BYTES = 1024**2
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


@dataclass(frozen=True)
class _Sent:
    """What an open association has sent: pairs of StudyInstanceUID and SeriesInstanceUID.

    Args:
        series: Series of all its instances.
        begun: Series of which it sent an instance that was not there before.
        refused: Instances that could not be stored, and their series.
        unknown: UIDs of instances that were refused without telling their series.
    """

    series: set[tuple[str, str]] = field(default_factory=set)
    begun: set[tuple[str, str]] = field(default_factory=set)
    refused: dict[str, tuple[str, str]] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)

    @property
    def whole(self) -> set[tuple[str, str]]:
        """Series of which no instance was refused; none if it may have been any."""
        return set() if self.unknown else self.series - set(self.refused.values())


class StorageProvider:
    """The part of a node that others send to.

    Args:
        settings: Settings of the node.
        inbox: Inbox that instances are written into.

    Attributes:
        responses: Instances since the start by status of C-STORE.
        last_received: Time when the last instance was stored, seconds since 1970; 0 for none.
    """

    def __init__(self, settings: NodeSettings, inbox: Inbox) -> None:
        self._settings, self._inbox = settings, inbox
        self._server: Any = None
        self.responses: Counter[int] = Counter()
        self.last_received = 0.0
        # Why the last instance could not be stored; empty if it could.
        self._fault = ""
        self._sent: dict[Any, _Sent] = {}
        # Studies of which it was said that images share a UID.
        self._shared: set[str] = set()

    @property
    def is_listening(self) -> bool:
        """Whether it was started and not stopped."""
        return self._server is not None

    def start(self) -> int:
        """Listen in a thread; return the port."""
        settings = self._settings
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
        """Close all associations."""
        if self._server is not None:
            self._server.shutdown()

    def has_open_association(self, name: str) -> bool:
        """Return whether an association is open that has sent instances of a study, by its name."""
        return any(
            self._inbox.folder_of(study).name == name
            for association, sent in list(self._sent.items())
            for study, _ in list(sent.series)
            if association.is_alive()
        )

    def _on_requested(self, event: Event) -> None:
        """Reject an association from a host that is not permitted."""
        host = event.assoc.requestor.address
        if self._settings.hosts and host not in self._settings.hosts:
            log.warning("a host that is not permitted was rejected; permit it with --caller-host")
            event.assoc.acse.send_reject(0x01, 0x01, 0x01)
            event.assoc.kill()

    def _on_released(self, event: Event) -> None:
        """Record that the series of an association were sent whole, but for refused ones."""
        sent = self._sent.get(event.assoc, _Sent())
        for study, series in sent.whole:
            self._inbox.end_transfer(study, series)
        for study, series in sent.series - sent.whole:
            self._inbox.begin_transfer(study, series)
        if sent.series and sent.unknown:
            log.warning(
                "%d instances were refused without telling their series: all %d series of their "
                "association are incomplete until they are sent again",
                len(sent.unknown),
                len(sent.series),
            )
        self._sent.pop(event.assoc, None)

    def _on_broken(self, event: Event) -> None:
        """Keep the series of an association as unfinished: it ended before its release."""
        begun = self._sent.get(event.assoc, _Sent()).begun
        for study, series in begun:  # another association may have ended it meanwhile
            self._inbox.begin_transfer(study, series)
        if begun:
            log.warning(
                "an association broke off, or was idle too long, after instances of %d series: "
                "their studies are incomplete until these series are sent again",
                len(begun),
            )
        # Last: until then the studies are being sent, and are not scored.
        self._sent.pop(event.assoc, None)

    def _on_store(self, event: Event) -> int:
        """Store an instance, and return the status; it is on disk before it is acknowledged."""
        status = self._store(event)
        self.responses[status] += 1
        if status == SUCCESS:
            self.last_received = time.time()
        return status

    def _store(self, event: Event) -> int:
        sent = self._sent.setdefault(event.assoc, _Sent())
        request: Any = event.request
        asked = str(request.AffectedSOPInstanceUID)
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
            sent.unknown.add(asked)
            return NOT_UNDERSTOOD
        study, instance, place = uids["StudyInstanceUID"], uids["SOPInstanceUID"], place_of(header)
        series = study, uids["SeriesInstanceUID"]
        if faults := _faults_of(uids, str(header.get("SOPClassUID", "")), request):
            log.warning("an instance was refused (0x%04x): %s", OTHER_DATA, "; ".join(faults))
            if all(map(is_uid, series)):
                sent.series.add(series)
                sent.refused[asked] = series
            else:
                sent.unknown.add(asked)
            return OTHER_DATA
        sent.series.add(series)
        is_there = self._inbox.holds(study, instance, data, place)
        try:
            # What is there already leaves its series as whole as it was.
            if not is_there and series not in sent.begun:
                self._inbox.begin_transfer(*series)
                sent.begun.add(series)
            is_shared = self._inbox.add(study, instance, data, place)
        except (LimitExceeded, OSError) as error:
            self._log_once(_reason_of(error))
            if not is_there:
                sent.refused[asked + place] = series
            return OUT_OF_RESOURCES
        sent.unknown.discard(asked)
        for refused in (asked, asked + place):
            sent.refused.pop(refused, None)
        if is_shared and study not in self._shared:
            self._shared.add(study)
            name = self._inbox.folder_of(study).name[:8]
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
            path = self._inbox.find(instance)
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
                self._inbox.end_transfer(*place)
        for study in studies:
            self._inbox.mark_complete(study)
        caller = event.assoc.requestor.ae_title
        threading.Thread(
            target=self._report_commitment,
            args=(event.assoc, caller, report, 2 if failed else 1),
            daemon=True,
        ).start()
        return 0x0000, None

    def _report_commitment(self, association: Any, caller: str, report: Dataset, kind: int) -> None:
        """Send the report on a new association if the caller is a peer, else on the caller's."""
        time.sleep(_BEFORE_REPORT_SECONDS)
        peers = (peer for peer in self._settings.peers if isinstance(peer, DimsePeer))
        peer = next((peer for peer in peers if peer.title == caller), None)
        try:
            if peer is not None:
                peer.report_commitment(report, kind)
            else:
                association.send_n_event_report(report, kind, COMMITMENT, COMMITMENT_INSTANCE)
        except Exception:
            log.exception("a storage commitment could not be reported")


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
