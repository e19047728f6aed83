"""A DICOMweb service: STOW-RS, QIDO-RS and WADO-RS."""

import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from email.message import Message
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import pydicom
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset

from meninx._clinic.study_folder import StudyFolder, parse_count
from meninx._errors import OptionError, PeerError, printable
from meninx._quiet import without_passwords

TIMEOUT_SECONDS = 30
# Attributes of QIDO-RS: UIDs, and numbers of instances of a study or series (PS3.18 10.6.3.3).
STUDY_UID, SERIES_UID, INSTANCE_UID = "0020000D", "0020000E", "00080018"
STUDY_INSTANCES, SERIES_INSTANCES = "00201208", "00201209"
# Number of matches to request at a time.
PAGE = 100
Match = dict[str, Any]
# In the header Warning, whose values are `code agent "text"`, with commas between them.
_SERVICE_WARNING = re.compile(r"(?:^|,)\s*299\b")
_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"')


class WebPeer:
    """A DICOMweb service.

    Args:
        address: Address of the service, such as http://host:8042/dicom-web. User and password are
            removed from it; without them, requests reads those of ~/.netrc.

    Raises:
        OptionError: If the address is invalid.
    """

    def __init__(self, address: str) -> None:
        parts = _split_address(address)
        self.address = without_passwords(address).rstrip("/")
        # Why the service sent only a part of what it has, as it said itself; empty if it did not.
        self._partial = ""
        session = requests.Session()
        if parts.username is not None:
            session.auth = (unquote(parts.username), unquote(parts.password or ""))
        self._client = DICOMwebClient(
            self.address,
            session,
            timeout=TIMEOUT_SECONDS,
            permissive_uid=True,
            callback=self._check_complete,
        )
        self._client.set_http_retry_params(retry=False)

    def send(self, paths: Sequence[Path]) -> None:
        """Send files by STOW-RS; see `Peer.send`."""
        for path in paths:
            dataset = pydicom.dcmread(path)
            try:
                response = self._client.store_instances([dataset])
            except Exception as error:
                raise PeerError(
                    f"{self.address}: {path.name} was not accepted: {_fault_in_words(error)}"
                ) from error
            if response.get("FailedSOPSequence"):
                raise PeerError(
                    f"{self.address}: {path.name} was not accepted: the service lists it as failed"
                )
            # Some services list nothing, but so does a page that is no service, such as a login.
            if not response.get("ReferencedSOPSequence") and not self.has(dataset):
                raise PeerError(
                    f"{self.address}: {path.name} was not accepted: the response lists no stored "
                    "instance (PS3.18 10.5.3); check that the address is that of a DICOMweb service"
                )

    def echo(self) -> None:
        """Ask whether the service is there, by QIDO-RS for one study; see `Peer.echo`."""
        try:
            self._client.search_for_studies(limit=1)
        except Exception as error:
            response = getattr(error, "response", None)
            reason = type(error).__name__ if response is None else f"status {response.status_code}"
            raise PeerError(f"{self.address}: QIDO-RS was not answered: {reason}") from error

    def has(self, dataset: Dataset) -> bool:
        """Return whether an instance is there, by QIDO-RS; False if the query fails."""
        try:
            matches = self._client.search_for_instances(
                dataset.StudyInstanceUID,
                dataset.SeriesInstanceUID,
                search_filters={"SOPInstanceUID": str(dataset.SOPInstanceUID)},
            )
        except Exception:  # noqa: BLE001 - the service may return anything
            return False
        return bool(matches)

    def fetch(self, study_uid: str, folder: Path) -> int:
        """Fetch a study by WADO-RS; see `Peer.fetch`."""
        target = StudyFolder(folder, study_uid)
        return self._fetch_into(
            target, self._count_instances(study_uid), partial(self._client.iter_study, study_uid)
        )

    def fetch_series(self, study_uid: str, series_uid: str, folder: Path) -> int:
        """Fetch one series of a study by WADO-RS; see `fetch`."""
        target = StudyFolder(folder, study_uid, "instances of the series")
        counts = dict(self.series(study_uid, {"SeriesInstanceUID": series_uid}))
        return self._fetch_into(
            target,
            parse_count(counts.get(series_uid)),
            partial(self._client.iter_series, study_uid, series_uid),
        )

    def _fetch_into(
        self,
        target: StudyFolder,
        expected: int | None,
        retrieve: Callable[[], Iterator[Dataset]],
    ) -> int:
        target.start(expected)
        self._partial = fault = ""
        try:
            for dataset in retrieve():
                encoded = io.BytesIO()
                dataset.save_as(encoded, enforce_file_format=True)
                target.write(dataset, encoded.getvalue())
        except Exception as error:
            # Anything may be raised for what the service sent, but a full disk is not its fault.
            if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
                raise
            fault = _fault_in_words(error)
        fault = fault or self._partial
        try:
            return target.finish(expected, fault)
        except PeerError as error:
            raise PeerError(f"{self.address}: {error}") from error

    def _check_complete(
        self, response: requests.Response, *_: object, **__: object
    ) -> requests.Response:
        """Check a response as `_check_ended` does, and keep what it says of missing instances.

        References:
            DICOM PS3.18 10.4.3 and 8.5.1.2: status 206 for some of the instances, and the header
            Warning with code 299. RFC 7234 5.5: its other codes are of proxies and caches.
        """
        warning = response.headers.get("Warning", "")
        is_partial = response.status_code == requests.codes.partial_content
        if is_partial or _SERVICE_WARNING.search(_QUOTED.sub('""', warning)):
            said = without_passwords(printable(warning))[:200]
            self._partial = f"status {response.status_code}{said and f', {said}'}"
        return _check_ended(response)

    def _count_instances(self, study_uid: str) -> int | None:
        """Return the service's number of instances of a study; None if it gives none."""
        wanted = {"StudyInstanceUID": study_uid}
        try:
            for study in self._client.search_for_studies(search_filters=wanted):
                count = parse_count(_value(study, STUDY_INSTANCES))
                if count is not None and _value(study, STUDY_UID) == study_uid:
                    return count
            search = partial(self._client.search_for_instances, study_uid)
            return len({_value(match, INSTANCE_UID) for match in self._search_all(search)}) or None
        except Exception:  # noqa: BLE001 - a service without QIDO-RS may return anything
            return None

    def _search_all(self, search: Callable[..., list[Match]], page: int = PAGE) -> Iterator[Match]:
        """Yield all matches of a search, page by page.

        Args:
            search: Search that takes `limit` and `offset`.
            page: Number of matches to request at a time; the service may return fewer.

        Yields:
            Matches, until a response is empty.

        Raises:
            PeerError: If the service ignores `offset` and a page is full: the rest is unreachable.
        """
        previous: list[Match] = []
        offset = 0
        while matches := search(limit=page, offset=offset):
            if matches == previous:  # it ignores the offset
                if len(matches) == page:
                    raise PeerError(
                        f"{self.address}: returns the first {page} matches again for the next "
                        "page; expected QIDO-RS with `offset`"
                    )
                return
            yield from matches
            previous, offset = matches, offset + len(matches)

    def studies(self, page: int = PAGE) -> Iterator[str]:
        """Yield the StudyInstanceUID of every study with MR images, by QIDO-RS.

        Args:
            page: Number of studies to request at a time.

        Yields:
            UIDs, as the service orders them.
        """
        search = partial(
            self._client.search_for_studies, search_filters={"ModalitiesInStudy": "MR"}
        )
        for study in self._search_all(search, page):
            yield _value(study, STUDY_UID)

    def series(self, study_uid: str, more: dict[str, str] | None = None) -> list[tuple[str, str]]:
        """Return the MR series of a study, by QIDO-RS.

        Args:
            study_uid: StudyInstanceUID.
            more: Further attributes to match.

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
            for series in self._search_all(search)
        ]


def _fault_in_words(error: Exception) -> str:
    """Return why a request failed, without the library's account of a missing connection."""
    if isinstance(error, requests.ConnectionError):
        return "no connection, or it was lost: is the address right, and does the service run?"
    return without_passwords(f"{type(error).__name__}: {error}")


def _value(match: Match, tag: str) -> str:
    """Return the first value of an attribute in DICOM JSON; empty if there is none."""
    values = match.get(tag, {}).get("Value") or [""]
    return str(values[0])


def _split_address(address: str) -> SplitResult:
    """Return the parts of a URL that has a host."""
    parts = urlsplit(address)
    try:
        if parts.hostname and parts.port != 0:
            return parts
    except ValueError:  # such as a password that contains a slash
        pass
    raise OptionError(
        f"address {without_passwords(address)!r}; expected http(s)://host:port/..., with / "
        "or @ in a password as %2F or %40, or the password in ~/.netrc"
    )


def _check_ended(response: requests.Response) -> requests.Response:
    """Make a multipart response fail if it is cut off, and remove parameters of media types.

    The client library accepts a message without its closing boundary (RFC 2046 5.1.1), and knows
    DICOM's media types only without parameters.
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
                # White space and an epilogue may follow.
                end = (end + chunk)[-len(closing) - 1024 :]
                yield chunk
            if closing not in end:
                raise requests.exceptions.ContentDecodingError(
                    "the message breaks off before its end"
                )

        response.iter_content = until_closed
    return response
