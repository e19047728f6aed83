"""Upload studies to the web application, for the worklist of its readers."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from meninx._errors import PeerError
from meninx._quiet import without_passwords
from meninx._scan.incomplete_note import NOTE

# The application sorts a whole study after its last file.
TIMEOUT_SECONDS, ECHO_SECONDS = 300, 10
# A report is small, and sending results must not wait for it.
REPORT_SECONDS = 5
# Files up to this size are sent together, larger ones in parts; then the limits of a request.
SMALL_BYTES, PART_BYTES = 4 * 1024**2, 8 * 1024**2
BATCH_BYTES, BATCH_FILES = 32 * 1024**2, 400


@dataclass(frozen=True)
class Worklist:
    """The worklist of a web application.

    Args:
        address: Address of the application, such as http://127.0.0.1:8000.
        key: Key of an account there.
    """

    address: str
    key: str = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "address", without_passwords(self.address))

    def echo(self) -> None:
        """Ask whether the application is there and accepts the key; nothing is left there.

        Raises:
            PeerError: If not.
        """
        uploads = f"{self.address.rstrip('/')}/api/v1/uploads"
        try:
            with requests.Session() as session:
                session.auth = self._authorize
                created = _checked(session.post(uploads, json={}, timeout=ECHO_SECONDS))
                session.delete(f"{uploads}/{created.json()['id']}", timeout=ECHO_SECONDS)
        except (requests.RequestException, KeyError, ValueError) as error:
            raise PeerError(
                f"the worklist at {self.address} did not accept an upload ({_reason_of(error)})"
            ) from error

    def hand_over(self, files: Path) -> None:
        """Upload a study's files; files that were uploaded before are not duplicated.

        Args:
            files: Folder of the instances.

        Raises:
            PeerError: If the application does not accept them; then nothing is stored.
        """
        paths = sorted([*files.glob("*.dcm"), *files.glob(NOTE)])
        uploads = f"{self.address.rstrip('/')}/api/v1/uploads"
        try:
            with requests.Session() as session:
                session.auth = self._authorize
                created = _checked(session.post(uploads, json={}, timeout=TIMEOUT_SECONDS))
                upload = f"{uploads}/{created.json()['id']}"
                try:
                    _send(session, upload, paths)
                    _checked(session.post(f"{upload}/finish", timeout=TIMEOUT_SECONDS))
                except requests.RequestException:
                    with suppress(requests.RequestException):  # it is deleted after a day anyway
                        session.delete(upload, timeout=TIMEOUT_SECONDS)
                    raise
        except (requests.RequestException, KeyError, ValueError) as error:
            raise PeerError(
                f"the worklist at {self.address} did not accept a study ({_reason_of(error)}); it "
                "is tried again"
            ) from error

    def report(self, report: Mapping[str, Any]) -> None:
        """Tell the application how the node is.

        Args:
            report: Numbers of the node, as the application's `PUT /api/v1/nodes` takes them.

        Raises:
            PeerError: If the application does not take it.
        """
        try:
            with requests.Session() as session:
                session.auth = self._authorize
                address = f"{self.address.rstrip('/')}/api/v1/nodes"
                _checked(session.put(address, json=dict(report), timeout=REPORT_SECONDS))
        except requests.RequestException as error:
            raise PeerError(
                f"the worklist at {self.address} did not take this node's report "
                f"({_reason_of(error)})"
            ) from error

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the key; requests would replace a plain header by the password of ~/.netrc."""
        request.headers["Authorization"] = f"Bearer {self.key}"
        return request


def _checked(response: requests.Response) -> requests.Response:
    response.raise_for_status()
    return response


def _reason_of(error: Exception) -> str:
    """Return the kind of an error, without the response, which may contain file names."""
    response = getattr(error, "response", None)
    return type(error).__name__ if response is None else f"status {response.status_code}"


def _send(session: requests.Session, upload: str, paths: Sequence[Path]) -> None:
    small = [path for path in paths if path.stat().st_size <= SMALL_BYTES]
    for batch in _batches(small):
        form = [("files", (path.name, path.read_bytes())) for path in batch]
        _checked(session.post(f"{upload}/files", files=form, timeout=TIMEOUT_SECONDS))
    for path in paths:
        if path.stat().st_size > SMALL_BYTES:
            _send_in_parts(session, upload, path)


def _batches(paths: Sequence[Path]) -> Iterator[list[Path]]:
    batch: list[Path] = []
    size = 0
    for path in paths:
        length = path.stat().st_size
        if batch and (size + length > BATCH_BYTES or len(batch) == BATCH_FILES):
            yield batch
            batch, size = [], 0
        batch.append(path)
        size += length
    if batch:
        yield batch


def _send_in_parts(session: requests.Session, upload: str, path: Path) -> None:
    offset = 0
    with path.open("rb") as file:
        while part := file.read(PART_BYTES):
            position = {"name": path.name, "offset": str(offset)}
            _checked(
                session.put(f"{upload}/parts", params=position, data=part, timeout=TIMEOUT_SECONDS)
            )
            offset += len(part)
