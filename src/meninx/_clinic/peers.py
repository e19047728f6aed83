"""Other DICOM systems: send to, query and fetch from them, by DIMSE or DICOMweb."""

import io
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

import pydicom
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, StoragePresentationContexts, evt
from pynetdicom.association import Association
from pynetdicom.presentation import build_context, build_role

from meninx._clinic.study_folder import IDENTIFIERS, StudyFolder
from meninx._errors import OptionError, PeerError
from meninx._quiet import without_passwords

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
# Status of C-STORE for an instance that was not asked for (PS3.4 B.2.3).
OTHER_DATA = 0xA900
# Attributes of a C-MOVE's responses that add up to all instances (PS3.7 9.3.4.2).
SUBOPERATIONS = (
    "NumberOfRemainingSuboperations",
    "NumberOfCompletedSuboperations",
    "NumberOfFailedSuboperations",
    "NumberOfWarningSuboperations",
)
# Attributes of QIDO-RS: UID and number of instances of a study or a series (PS3.18 10.6.3.3).
STUDY_UID, SERIES_UID, INSTANCE_UID = "0020000D", "0020000E", "00080018"
STUDY_INSTANCES, SERIES_INSTANCES = "00201208", "00201209"
# What a DICOMweb service is asked for at a time.
PAGE = 100
Found = dict[str, Any]


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
        """Fetch a study into a folder, or what is missing there of it.

        Args:
            study_uid: StudyInstanceUID.
            folder: Folder for the files, made if missing.

        Returns:
            Number of instances in the folder: all that the system has.

        Raises:
            OptionError: If the folder holds another study.
            PeerError: If the study did not come, or not all of it; see `study_folder`.
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
            f"address {without_passwords(address)!r}; expected TITLE@host:port, or http(s)://... "
            "of a DICOMweb service"
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
            self.host,
            self.port,
            contexts=contexts,
            ae_title=self.title,
            tls_args=(self.tls, self.host) if self.tls else None,
            ext_neg=list(roles),
            evt_handlers=[(evt.EVT_CONN_OPEN, _send_at_once)],
        )
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
        kinds = sorted(
            {(str(one.SOPClassUID), str(one.file_meta.TransferSyntaxUID)) for one in headers}
        )
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
        target = StudyFolder(folder, study_uid)
        query = Dataset()
        query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", study_uid
        contexts = [build_context(MOVE, PLAIN), build_context(FIND, PLAIN)]
        association = self._associate(contexts)
        answers: list[Dataset] = []
        fault = ""
        try:
            promised = _instances_found(association, query)
            target.begin(promised)
            with self._taking(target):
                for status, _ in association.send_c_move(query, self.own_title, MOVE):
                    answers.append(status)
        except (ValueError, RuntimeError) as error:  # no such context; the association broke off
            fault = f"no C-MOVE: {error}"
        finally:
            association.release()
        moved = max(map(_suboperations, answers), default=0)
        promised = max(promised or 0, moved) or None
        try:
            return target.end(promised, fault or _fault_of(answers))
        except PeerError as error:
            raise PeerError(
                f"{self.address}: {error}; by C-MOVE to our title {self.own_title}"
            ) from error

    @contextmanager
    def _taking(self, target: StudyFolder) -> Iterator[None]:
        """Listen for the instances that a C-MOVE brings, and write them."""
        lock = threading.Lock()

        def take(event: Any) -> int:
            data = event.encoded_dataset()
            header = pydicom.dcmread(
                io.BytesIO(data), stop_before_pixels=True, specific_tags=list(IDENTIFIERS)
            )
            try:
                with lock:
                    target.take(header, data)
            except PeerError:
                return OTHER_DATA
            return SUCCESS

        entity = AE(ae_title=self.own_title)
        entity.supported_contexts = StoragePresentationContexts
        # A system on this machine needs no way in from elsewhere.
        bound = self.host if self.host in ("127.0.0.1", "localhost", "::1") else "0.0.0.0"
        server = entity.start_server(
            (bound, self.own_port), block=False, evt_handlers=[(evt.EVT_C_STORE, take)]
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
            DICOM PS3.4 J.3.3: the reporter stays the provider, so it asks for that role.
        """
        role = build_role(COMMITMENT, scp_role=True)
        association = self._associate([build_context(COMMITMENT)], [role])
        try:
            association.send_n_event_report(report, kind, COMMITMENT, COMMITMENT_INSTANCE)
        finally:
            association.release()


def _instances_found(association: Association, query: Dataset) -> int | None:
    """Return how many instances of a study a system says it has, by C-FIND; None if it doesn't."""
    asked = Dataset()
    asked.update(query)
    asked.NumberOfStudyRelatedInstances = ""
    try:
        answers = list(association.send_c_find(asked, FIND))
    except (ValueError, RuntimeError):  # it knows no C-FIND
        return None
    counts = [_number(found.get("NumberOfStudyRelatedInstances")) for _, found in answers if found]
    return max((count for count in counts if count is not None), default=None)


def _number(value: object) -> int | None:
    """Return a count that a peer gives; None where it is none."""
    text = str(value).strip()
    return int(text) if text.isdecimal() else None


def _suboperations(status: Dataset) -> int:
    """Return how many instances a response to C-MOVE counts, in whatever state."""
    return sum(_number(status.get(name)) or 0 for name in SUBOPERATIONS)


def _fault_of(answers: Sequence[Dataset]) -> str:
    """Return what is wrong with the end of a C-MOVE, in words; empty if it went well.

    References:
        DICOM PS3.4 C.4.2.1.5: 0xB000 ends it where some suboperations failed.
    """
    final = answers[-1] if answers else Dataset()
    code = final.get("Status")
    if code is None or code in PENDING:
        return "no final answer"
    failed = _number(final.get("NumberOfFailedSuboperations"))
    if code == SUCCESS and not failed:
        return ""
    if code in WARNINGS and failed == 0:
        return ""  # of some the receiver, who is us, had to say something
    return f"status 0x{code:04x}" + (f", {failed} failed" if failed else "")


class WebPeer:
    """A DICOMweb service.

    Args:
        address: Address of the service, such as http://host:8042/dicom-web. User and password are
            taken out of it; without them those of ~/.netrc count, which requests reads.

    Raises:
        OptionError: If it is no address.
    """

    def __init__(self, address: str) -> None:
        parts = _parts_of(address)
        self.address = without_passwords(address).rstrip("/")
        session = requests.Session()
        if parts.username is not None:
            session.auth = (unquote(parts.username), unquote(parts.password or ""))
        self._client = DICOMwebClient(
            self.address, session, timeout=SECONDS, permissive_uid=True, callback=_checked
        )
        self._client.set_http_retry_params(retry=False)

    def send(self, paths: Sequence[Path]) -> None:
        """Send files by STOW-RS; see `Peer.send`."""
        for path in paths:
            dataset = pydicom.dcmread(path)
            try:
                response = self._client.store_instances([dataset])
            except Exception as error:
                raise PeerError(f"{self.address}: {path.name} was not taken: {error}") from error
            if response.get("FailedSOPSequence"):
                raise PeerError(
                    f"{self.address}: {path.name} was not taken: the service lists it as failed"
                )
            # Some services answer nothing, and so does what is none, such as a page to sign in.
            if not response.get("ReferencedSOPSequence") and not self.has(dataset):
                raise PeerError(
                    f"{self.address}: {path.name} was not taken: the answer lists no stored "
                    "instance (PS3.18 10.5.3); check that the address is that of a DICOMweb service"
                )

    def has(self, dataset: Dataset) -> bool:
        """Return whether an instance is there, by QIDO-RS; False where it can't be asked."""
        try:
            found = self._client.search_for_instances(
                dataset.StudyInstanceUID,
                dataset.SeriesInstanceUID,
                search_filters={"SOPInstanceUID": str(dataset.SOPInstanceUID)},
            )
        except Exception:  # noqa: BLE001 - the service may answer anything instead
            return False
        return bool(found)

    def fetch(self, study_uid: str, folder: Path) -> int:
        """Fetch a study by WADO-RS; see `Peer.fetch`."""
        target = StudyFolder(folder, study_uid)
        return self._fetched(
            target, self._instances_of(study_uid), partial(self._client.iter_study, study_uid)
        )

    def fetch_series(self, study_uid: str, series_uid: str, folder: Path) -> int:
        """Fetch one series of a study by WADO-RS; see `fetch`."""
        target = StudyFolder(folder, study_uid, "instances of the series")
        counts = dict(self.series(study_uid, {"SeriesInstanceUID": series_uid}))
        return self._fetched(
            target,
            _number(counts.get(series_uid)),
            partial(self._client.iter_series, study_uid, series_uid),
        )

    def _fetched(
        self,
        target: StudyFolder,
        promised: int | None,
        ask: Callable[[], Iterator[Dataset]],
    ) -> int:
        target.begin(promised)
        fault = ""
        try:
            for dataset in ask():
                encoded = io.BytesIO()
                dataset.save_as(encoded, enforce_file_format=True)
                target.take(dataset, encoded.getvalue())
        except Exception as error:
            # A full disk is no fault of the service, which may send anything.
            if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
                raise
            fault = without_passwords(f"{type(error).__name__}: {error}")
        try:
            return target.end(promised, fault)
        except PeerError as error:
            raise PeerError(f"{self.address}: {error}") from error

    def _instances_of(self, study_uid: str) -> int | None:
        """Return how many instances of a study the service says it has; None if it doesn't."""
        wanted = {"StudyInstanceUID": study_uid}
        try:
            for study in self._client.search_for_studies(search_filters=wanted):
                count = _number(_value(study, STUDY_INSTANCES))
                if count is not None and _value(study, STUDY_UID) == study_uid:
                    return count
            search = partial(self._client.search_for_instances, study_uid)
            return len({_value(found, INSTANCE_UID) for found in self._listed(search)}) or None
        except Exception:  # noqa: BLE001 - a service without QIDO-RS may answer anything
            return None

    def _listed(self, search: Callable[..., list[Found]], page: int = PAGE) -> Iterator[Found]:
        """Yield all that a search finds, however few a service gives at a time.

        Args:
            search: Search that takes `limit` and `offset`.
            page: Number to ask for at a time.

        Yields:
            What was found, until an answer is empty.

        Raises:
            PeerError: If the service gives the same page again, full: the rest can't be asked for.
        """
        before: list[Found] = []
        offset = 0
        while found := search(limit=page, offset=offset):
            if found == before:  # it knows no offset
                if len(found) == page:
                    raise PeerError(
                        f"{self.address}: gives the first {page} again for those after them; "
                        "expected QIDO-RS with `offset`"
                    )
                return
            yield from found
            before, offset = found, offset + len(found)

    def studies(self, page: int = PAGE) -> Iterator[str]:
        """Yield the StudyInstanceUID of every study with MR images, by QIDO-RS.

        Args:
            page: Number of studies to ask for at a time.

        Yields:
            UIDs, as the service orders them.
        """
        search = partial(
            self._client.search_for_studies, search_filters={"ModalitiesInStudy": "MR"}
        )
        for study in self._listed(search, page):
            yield _value(study, STUDY_UID)

    def series(self, study_uid: str, more: dict[str, str] | None = None) -> list[tuple[str, str]]:
        """Return the MR series of a study, by QIDO-RS.

        Args:
            study_uid: StudyInstanceUID.
            more: What else the series must match.

        Returns:
            SeriesInstanceUID and number of instances of each series, as the service gives them.
        """
        search = partial(
            self._client.search_for_series,
            study_uid,
            search_filters={"Modality": "MR", **(more or {})},
        )
        return [
            (_value(series, SERIES_UID), _value(series, SERIES_INSTANCES))
            for series in self._listed(search)
        ]


def _value(found: Found, tag: str) -> str:
    """Return the first value of an attribute in DICOM JSON; empty if there is none."""
    values = found.get(tag, {}).get("Value") or [""]
    return str(values[0])


def _parts_of(address: str) -> SplitResult:
    """Return an address in its parts."""
    parts = urlsplit(address)
    try:
        if parts.hostname and parts.port != 0:
            return parts
    except ValueError:  # a password with signs of a path, for one
        pass
    raise OptionError(
        f"address {without_passwords(address)!r}; expected http(s)://host:port/..., and signs "
        "such as / or @ in a password as %2F or %40, or the password in ~/.netrc"
    )


def _checked(response: requests.Response, *_: object, **__: object) -> requests.Response:
    """Check a response to the end, where the client library would take a part for the whole.

    It doesn't miss the end of a multipart message (RFC 2046 5.1.1), and knows DICOM's media types
    without parameters alone.
    """
    header = Message()
    header["Content-Type"] = response.headers.get("Content-Type", "")
    kind = header.get_content_type()
    if kind in ("application/dicom+json", "application/json", "application/dicom+xml"):
        response.headers["Content-Type"] = kind
    boundary = header.get_boundary()
    if kind == "multipart/related" and boundary:
        chunks = response.iter_content
        closing = f"--{boundary}--".encode()

        def until_closed(*arguments: Any, **named: Any) -> Iterable[bytes]:
            end = b""
            for chunk in chunks(*arguments, **named):
                # White space, and an epilogue that nobody writes, may follow.
                end = (end + chunk)[-len(closing) - 1024 :]
                yield chunk
            if closing not in end:
                raise requests.exceptions.ContentDecodingError(
                    "the message breaks off before its end"
                )

        response.iter_content = until_closed
    return response
