"""Other DICOM systems: send to, query and fetch from them, by DIMSE or DICOMweb."""

import itertools
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pydicom
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, StoragePresentationContexts, evt
from pynetdicom.association import Association
from pynetdicom.presentation import build_context, build_role

from meninx.errors import MeninxError, OptionError

OUR_TITLE = "MENINX"
# PS3.8 allows 16 signs of the default repertoire without backslash; blanks at the ends don't count.
DIMSE_ADDRESS = re.compile(r"(?P<title>[^@\\]{1,16})@(?P<host>[^@]+):(?P<port>\d{1,5})")
SECONDS = 30
SUCCESS = 0x0000
# Statuses of a success with a warning (PS3.7 C).
WARNINGS = (0xB000, 0xB006, 0xB007, 0x0001, 0x0107, 0x0116)
PENDING = (0xFF00, 0xFF01)
PLAIN = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
# Study root query/retrieve, storage commitment and its only instance (PS3.4 C.6.2, J.3.5).
FIND = UID("1.2.840.10008.5.1.4.1.2.2.1")
MOVE = UID("1.2.840.10008.5.1.4.1.2.2.2")
COMMITMENT = UID("1.2.840.10008.1.20.1")
COMMITMENT_INSTANCE = UID("1.2.840.10008.1.20.1.1")


class PeerError(MeninxError):
    """Another system did not do what it was asked for."""


class Peer(Protocol):
    """Another DICOM system."""

    @property
    def address(self) -> str:
        """Address of the system, as the user gave it."""

    def send(self, paths: Sequence[Path]) -> None:
        """Send files.

        Args:
            paths: DICOM files.

        Raises:
            PeerError: If not all of them arrived.
        """

    def has(self, dataset: Dataset) -> bool:
        """Return whether an instance is there, by its study, series and instance UID."""

    def fetch(self, study_uid: str, folder: Path) -> int:
        """Fetch a study into a folder.

        Args:
            study_uid: StudyInstanceUID.
            folder: Folder for the files, made if missing.

        Returns:
            Number of instances.

        Raises:
            PeerError: If the study can't be fetched.
        """


def peer_of(
    address: str, title: str = OUR_TITLE, tls: ssl.SSLContext | None = None, port: int = 0
) -> Peer:
    """Return another system by its address.

    Args:
        address: Address, `TITLE@host:port`, or the http(s) address of a DICOMweb service.
        title: Our own application entity title.
        tls: TLS context of a client; None for plain connections.
        port: Our port for the files that a C-MOVE brings; 0 for any free one.

    Returns:
        The peer.

    Raises:
        OptionError: If the address is neither.
    """
    if address.startswith(("http://", "https://")):
        return WebPeer(address)
    found = DIMSE_ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found["port"]) < 65536:
        raise OptionError(
            f"address {address!r}; expected TITLE@host:port, or http(s)://... of a DICOMweb service"
        )
    return DimsePeer(address, found["title"], found["host"], int(found["port"]), title, tls, port)


def _send_at_once(event: evt.Event) -> None:
    """Let a connection send each message at once.

    A message is sent in two pieces, its command and its data. By default the second piece waits
    until the peer has acknowledged the first, which it puts off for 40 ms: ten times what a file
    takes.
    """
    connection = event.assoc.dul.socket
    if connection is not None and connection.socket is not None:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _wait_for_reactor(association: Association) -> None:
    """Wait until the library's own thread has gone on since the last message.

    pynetdicom 3.0.4 takes a thread that has not woken yet for one that waits: on a busy machine it
    then wakes while a message is on its way, takes the answer and drops it, and the sender waits
    for nothing.
    """
    deadline = time.monotonic() + SECONDS
    while (
        association.is_established
        # Nothing public tells it; a later version without it is taken as mended.
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
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = SECONDS
        entity.connection_timeout = SECONDS
        made = entity.associate(
            self.host, self.port, contexts=contexts, ae_title=self.title,
            tls_args=(self.tls, self.host) if self.tls else None, ext_neg=list(roles),
            evt_handlers=[(evt.EVT_CONN_OPEN, _send_at_once)],
        )  # fmt: skip
        if not made.is_established:
            raise PeerError(
                f"{self.address}: no association; check that it runs, and that it knows our title "
                f"{self.own_title}"
            )
        return made

    def send(self, paths: Sequence[Path]) -> None:
        """Send files by C-STORE; see `Peer.send`."""
        headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]
        # Each as it lies on the disk: nothing is decoded.
        kinds = sorted({(str(one.SOPClassUID), str(one.file_meta.TransferSyntaxUID))
                        for one in headers})  # fmt: skip
        contexts = [build_context(kind, syntax) for kind, syntax in kinds]
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
        except (ValueError, RuntimeError) as error:  # no such context; the association broke off
            raise PeerError(f"{self.address}: {path.name}: {error}") from error
        code = status.get("Status") if status else None
        if code != SUCCESS and code not in WARNINGS:
            answer = "no answer" if code is None else f"status 0x{code:04x}"
            raise PeerError(f"{self.address}: {path.name} was not taken: {answer}")

    def has(self, dataset: Dataset) -> bool:
        """Return whether an instance is there, by C-FIND; False where it can't be asked."""
        query = Dataset()
        query.QueryRetrieveLevel = "IMAGE"
        for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(query, name, dataset[name].value)
        try:
            association = self._associate([build_context(FIND, PLAIN)])
        except PeerError:
            return False
        try:
            answers = list(association.send_c_find(query, FIND))
        except (ValueError, RuntimeError):
            return False
        finally:
            association.release()
        return any(status and status.get("Status") in PENDING for status, _ in answers)

    def fetch(self, study_uid: str, folder: Path) -> int:
        """Fetch a study by C-MOVE to ourselves; see `Peer.fetch`."""
        folder.mkdir(parents=True, exist_ok=True)
        count = 0
        lock = threading.Lock()

        def take(event: Any) -> int:
            nonlocal count
            with lock:
                count += 1
                (folder / f"{count:06}.dcm").write_bytes(event.encoded_dataset())
            return SUCCESS

        entity = AE(ae_title=self.own_title)
        entity.supported_contexts = StoragePresentationContexts
        # A system on this machine needs no way in from elsewhere.
        bound = self.host if self.host in ("127.0.0.1", "localhost", "::1") else "0.0.0.0"
        server = entity.start_server(
            (bound, self.own_port), block=False, evt_handlers=[(evt.EVT_C_STORE, take)]
        )
        query = Dataset()
        query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", study_uid
        try:
            association = self._associate([build_context(MOVE, PLAIN)])
            try:
                answers = list(association.send_c_move(query, self.own_title, MOVE))
            finally:
                association.release()
        finally:
            if server is not None:
                server.shutdown()
        code = answers[-1][0].get("Status") if answers and answers[-1][0] else None
        if code not in (SUCCESS, *WARNINGS) or not count:
            answer = "no answer" if code is None else f"status 0x{code:04x}"
            raise PeerError(
                f"{self.address}: no study {study_uid} by C-MOVE ({answer}); check that it knows "
                f"our title {self.own_title} and our port"
            )
        return count

    def report_commitment(self, report: Dataset, kind: int) -> None:
        """Report which instances are stored here, on an association of our own.

        Args:
            report: Dataset of the N-EVENT-REPORT.
            kind: Event type: 1 if all are stored, 2 if some are not.

        Raises:
            PeerError: If the system does not answer.

        References:
            DICOM PS3.4 J.3.3: the reporter stays the provider, so it asks for that role.
        """
        role = build_role(COMMITMENT, scp_role=True)
        association = self._associate([build_context(COMMITMENT)], [role])
        try:
            association.send_n_event_report(report, kind, COMMITMENT, COMMITMENT_INSTANCE)
        finally:
            association.release()


class WebPeer:
    """A DICOMweb service.

    Args:
        address: Address of the service, such as http://host:8042/dicom-web.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self._client = DICOMwebClient(self.address, timeout=SECONDS)
        self._client.set_http_retry_params(retry=False)

    def send(self, paths: Sequence[Path]) -> None:
        """Send files by STOW-RS; see `Peer.send`."""
        for path in paths:
            try:
                response = self._client.store_instances([pydicom.dcmread(path)])
            except Exception as error:
                raise PeerError(f"{self.address}: {path.name} was not taken: {error}") from error
            if response.get("FailedSOPSequence"):
                raise PeerError(
                    f"{self.address}: {path.name} was not taken: the service lists it as failed"
                )

    def has(self, dataset: Dataset) -> bool:
        """Return whether an instance is there, by QIDO-RS; False where it can't be asked."""
        try:
            found = self._client.search_for_instances(
                dataset.StudyInstanceUID, dataset.SeriesInstanceUID,
                search_filters={"SOPInstanceUID": str(dataset.SOPInstanceUID)},
            )  # fmt: skip
        except Exception:  # noqa: BLE001 - the service may answer anything instead
            return False
        return bool(found)

    def fetch(self, study_uid: str, folder: Path) -> int:
        """Fetch a study by WADO-RS; see `Peer.fetch`."""
        return self._kept(f"study {study_uid}", lambda: self._client.iter_study(study_uid), folder)

    def fetch_series(self, study_uid: str, series_uid: str, folder: Path) -> int:
        """Fetch one series of a study by WADO-RS; see `fetch`."""
        return self._kept(
            f"series {series_uid}",
            lambda: self._client.iter_series(study_uid, series_uid),
            folder,
        )

    def _kept(self, what: str, ask: Callable[[], Iterator[Dataset]], folder: Path) -> int:
        folder.mkdir(parents=True, exist_ok=True)
        count = 0
        try:
            for dataset in ask():
                count += 1
                dataset.save_as(folder / f"{count:06}.dcm", enforce_file_format=True)
        except Exception as error:
            raise PeerError(f"{self.address}: no {what}: {error}") from error
        if not count:
            raise PeerError(f"{self.address}: no {what}: the service sent no instance")
        return count

    def studies(self, page: int) -> Iterator[str]:
        """Yield the StudyInstanceUID of every study with MR images, by QIDO-RS.

        Args:
            page: Number of studies to ask for at a time.

        Yields:
            UIDs, as the service orders them.
        """
        for start in itertools.count(step=page):
            found = self._client.search_for_studies(
                limit=page, offset=start, search_filters={"ModalitiesInStudy": "MR"}
            )
            yield from (study["0020000D"]["Value"][0] for study in found)
            if len(found) < page:
                return

    def series(self, study_uid: str) -> list[tuple[str, str]]:
        """Return the MR series of a study, by QIDO-RS.

        Args:
            study_uid: StudyInstanceUID.

        Returns:
            SeriesInstanceUID and number of instances of each series, as the service gives them.
        """
        found = self._client.search_for_series(study_uid, search_filters={"Modality": "MR"})
        counts = (series.get("00201209", {}).get("Value", [""])[0] for series in found)
        return [(series["0020000E"]["Value"][0], str(count))
                for series, count in zip(found, counts, strict=True)]  # fmt: skip


def is_uid(text: str) -> bool:
    """Return whether a text is a UID (DICOM PS3.5 9.1)."""
    return bool(text) and UID(text).is_valid
