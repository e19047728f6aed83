"""A DICOM system reached by DIMSE: C-STORE, C-FIND, C-MOVE and storage commitment."""

import io
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, StoragePresentationContexts, evt
from pynetdicom.association import Association
from pynetdicom.presentation import build_context, build_role

from meninx._clinic.study_folder import IDENTIFIERS, StudyFolder, parse_count
from meninx._errors import PeerError

TIMEOUT_SECONDS = 30
_SUCCESS = 0x0000
# Statuses of a success with a warning (PS3.7 C).
_WARNINGS = (0xB000, 0xB006, 0xB007, 0x0001, 0x0107, 0x0116)
_PENDING = (0xFF00, 0xFF01)
PLAIN = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
# Verification, study root query/retrieve, storage commitment and its only instance (PS3.4 A.4,
# C.6.2, J.3.5).
VERIFICATION = UID("1.2.840.10008.1.1")
FIND = UID("1.2.840.10008.5.1.4.1.2.2.1")
MOVE = UID("1.2.840.10008.5.1.4.1.2.2.2")
COMMITMENT = UID("1.2.840.10008.1.20.1")
COMMITMENT_INSTANCE = UID("1.2.840.10008.1.20.1.1")
# Status of C-STORE for an instance that was not requested (PS3.4 B.2.3).
OTHER_DATA = 0xA900
# Attributes of a C-MOVE response whose sum is the number of instances (PS3.7 9.3.4.2).
_SUBOPERATIONS = (
    "NumberOfRemainingSuboperations",
    "NumberOfCompletedSuboperations",
    "NumberOfFailedSuboperations",
    "NumberOfWarningSuboperations",
)


def _disable_nagle(event: evt.Event) -> None:
    """Set TCP_NODELAY on a connection.

    A message is sent in two pieces, its command and its data. By default the second piece waits
    until the peer has acknowledged the first, which takes up to 40 ms: ten times as long as a file.
    """
    connection = event.assoc.dul.socket
    if connection is not None and connection.socket is not None:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _wait_for_reactor(association: Association) -> None:
    """Wait until pynetdicom's reactor thread has resumed after the last message.

    pynetdicom 3.0.4 mistakes a thread that has not resumed yet for a paused one. On a busy machine
    it then resumes during the next message and drops the response, and the sender times out.
    """
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while (
        association.is_established
        # No public attribute says so; a version without this one is taken as fixed.
        and getattr(association, "_is_paused", False)
        and time.monotonic() < deadline
    ):
        time.sleep(0.0005)


@dataclass(frozen=True)
class DimsePeer:
    """A system that speaks DIMSE.

    Args:
        address: Address as the user gave it.
        title: Application entity title of the system.
        host: Host that it listens on.
        port: Port that it listens on.
        own_title: Our own application entity title.
        tls: TLS context of a client; None for plain connections.
        own_port: Our port for the files that a C-MOVE brings; 0 for any free one.
    """

    address: str
    title: str
    host: str
    port: int
    own_title: str
    tls: ssl.SSLContext | None = None
    own_port: int = 0

    def _associate(self, contexts: list[Any], roles: Sequence[Any] = ()) -> Association:
        entity = AE(ae_title=self.own_title)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = TIMEOUT_SECONDS
        entity.connection_timeout = TIMEOUT_SECONDS
        association = entity.associate(
            self.host,
            self.port,
            contexts=contexts,
            ae_title=self.title,
            tls_args=(self.tls, self.host) if self.tls else None,
            ext_neg=list(roles),
            evt_handlers=[(evt.EVT_CONN_OPEN, _disable_nagle)],
        )
        if not association.is_established:
            raise PeerError(
                f"{self.address}: no association; check that it runs, and that it knows our title "
                f"{self.own_title}"
            )
        return association

    def echo(self) -> None:
        """Ask whether the system is there, by C-ECHO; see `Peer.echo`."""
        association = self._associate([build_context(VERIFICATION, PLAIN)])
        try:
            status = association.send_c_echo()
        except (ValueError, RuntimeError) as error:  # no such context, or it was aborted
            raise PeerError(f"{self.address}: no C-ECHO: {error}") from error
        finally:
            association.release()
        if status.get("Status") != _SUCCESS:
            raise PeerError(f"{self.address}: C-ECHO was not answered with success")

    def send(self, paths: Sequence[Path]) -> None:
        """Send files by C-STORE; see `Peer.send`."""
        headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]
        # Files are sent in the transfer syntax of the disk: nothing is decoded.
        kinds = sorted(
            {
                (str(header.SOPClassUID), str(header.file_meta.TransferSyntaxUID))
                for header in headers
            }
        )
        contexts = [build_context(sop_class, syntax) for sop_class, syntax in kinds]
        association = self._associate(contexts)
        try:
            for path in paths:
                self._store(association, path)
        finally:
            association.release()

    def _store(self, association: Association, path: Path) -> None:
        _wait_for_reactor(association)
        try:
            status = association.send_c_store(path)
        except (ValueError, RuntimeError) as error:  # no such context, or it was aborted
            raise PeerError(f"{self.address}: {path.name}: {error}") from error
        code = status.get("Status") if status else None
        if code != _SUCCESS and code not in _WARNINGS:
            response = "no response" if code is None else f"status 0x{code:04x}"
            raise PeerError(f"{self.address}: {path.name} was not accepted: {response}")

    def has(self, dataset: Dataset) -> bool:
        """Return whether an instance is there, by C-FIND; False if the query fails."""
        query = Dataset()
        query.QueryRetrieveLevel = "IMAGE"
        for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(query, name, dataset[name].value)
        try:
            association = self._associate([build_context(FIND, PLAIN)])
        except PeerError:
            return False
        try:
            responses = list(association.send_c_find(query, FIND))
        except (ValueError, RuntimeError):
            return False
        finally:
            association.release()
        return any(status and status.get("Status") in _PENDING for status, _ in responses)

    def fetch(self, study_uid: str, folder: Path) -> int:
        """Fetch a study by C-MOVE to ourselves; see `Peer.fetch`."""
        target = StudyFolder(folder, study_uid)
        query = Dataset()
        query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", study_uid
        contexts = [build_context(MOVE, PLAIN), build_context(FIND, PLAIN)]
        association = self._associate(contexts)
        statuses: list[Dataset] = []
        fault = ""
        try:
            expected = _count_instances(association, query)
            target.start(expected)
            with self._storage_server(target):
                for status, _ in association.send_c_move(query, self.own_title, MOVE):
                    statuses.append(status)
        except (ValueError, RuntimeError) as error:  # no such context, or it was aborted
            fault = f"no C-MOVE: {error}"
        finally:
            association.release()
        moved = max(map(_count_suboperations, statuses), default=0)
        expected = max(expected or 0, moved) or None
        try:
            return target.finish(expected, fault or _move_fault(statuses))
        except PeerError as error:
            raise PeerError(
                f"{self.address}: {error}; by C-MOVE to our title {self.own_title}"
            ) from error

    @contextmanager
    def _storage_server(self, target: StudyFolder) -> Iterator[None]:
        """Listen for the instances of a C-MOVE, and write them."""
        lock = threading.Lock()

        def store(event: Any) -> int:
            data = event.encoded_dataset()
            header = pydicom.dcmread(
                io.BytesIO(data), stop_before_pixels=True, specific_tags=list(IDENTIFIERS)
            )
            try:
                with lock:
                    target.write(header, data)
            except PeerError:
                return OTHER_DATA
            return _SUCCESS

        entity = AE(ae_title=self.own_title)
        entity.supported_contexts = StoragePresentationContexts
        # For a peer on this machine no other machine needs to reach the port.
        own_host = self.host if self.host in ("127.0.0.1", "localhost", "::1") else "0.0.0.0"
        server = entity.start_server(
            (own_host, self.own_port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)]
        )
        try:
            yield
        finally:
            if server is not None:
                server.shutdown()

    def report_commitment(self, report: Dataset, kind: int) -> None:
        """Report which instances are stored here, on an association of our own.

        Args:
            report: Dataset of the N-EVENT-REPORT.
            kind: Event type: 1 if all are stored, 2 if some are not.

        Raises:
            PeerError: If the system does not answer.

        References:
            DICOM PS3.4 J.3.3: the reporter remains the provider, so it requests that role.
        """
        role = build_role(COMMITMENT, scp_role=True)
        association = self._associate([build_context(COMMITMENT)], [role])
        try:
            association.send_n_event_report(report, kind, COMMITMENT, COMMITMENT_INSTANCE)
        finally:
            association.release()


def _count_instances(association: Association, study: Dataset) -> int | None:
    """Return a peer's number of instances of a study, by C-FIND; None if it gives none."""
    query = Dataset()
    query.update(study)
    query.NumberOfStudyRelatedInstances = ""
    try:
        responses = list(association.send_c_find(query, FIND))
    except (ValueError, RuntimeError):  # no C-FIND
        return None
    counts = [
        parse_count(match.get("NumberOfStudyRelatedInstances")) for _, match in responses if match
    ]
    return max((count for count in counts if count is not None), default=None)


def _count_suboperations(status: Dataset) -> int:
    """Return the number of instances in a C-MOVE response, in whatever state."""
    return sum(parse_count(status.get(name)) or 0 for name in _SUBOPERATIONS)


def _move_fault(statuses: Sequence[Dataset]) -> str:
    """Return why a C-MOVE is incomplete; empty if it succeeded.

    References:
        DICOM PS3.4 C.4.2.1.5: 0xB000 ends it where some suboperations failed.
    """
    final = statuses[-1] if statuses else Dataset()
    code = final.get("Status")
    if code is None or code in _PENDING:
        return "no final response"
    failed = parse_count(final.get("NumberOfFailedSuboperations"))
    if code == _SUCCESS and not failed:
        return ""
    if code in _WARNINGS and failed == 0:
        return ""  # the warnings are of the receiver: this process
    return f"status 0x{code:04x}" + (f", {failed} failed" if failed else "")
