"""Hand studies to the web application, so that its readers find them in their worklist."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import requests

from meninx._errors import PeerError
from meninx._quiet import without_passwords

# The application sorts a whole study after its last file came.
SECONDS = 300
# Files up to this size are sent together, larger ones in parts; the most of one request.
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

    def hand_over(self, files: Path) -> None:
        """Upload a study's files; files that are there already are not doubled.

        Args:
            files: Folder of the instances.

        Raises:
            PeerError: If the application does not take them; nothing was stored then.
        """
        paths = sorted(files.glob("*.dcm"))
        uploads = f"{self.address.rstrip('/')}/api/v1/uploads"
        try:
            with requests.Session() as session:
                session.auth = self._authorize
                begun = _answered(session.post(uploads, json={}, timeout=SECONDS))
                upload = f"{uploads}/{begun.json()['id']}"
                try:
                    _send(session, upload, paths)
                    _answered(session.post(f"{upload}/finish", timeout=SECONDS))
                except requests.RequestException:
                    with suppress(requests.RequestException):  # else it is deleted after a day
                        session.delete(upload, timeout=SECONDS)
                    raise
        except (requests.RequestException, KeyError, ValueError) as error:
            raise PeerError(
                f"the worklist at {self.address} did not take a study ({_why(error)}); it is "
                "tried again"
            ) from error

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Show the key; as a mere header ~/.netrc would replace it by that machine's password."""
        request.headers["Authorization"] = f"Bearer {self.key}"
        return request


def _answered(answer: requests.Response) -> requests.Response:
    answer.raise_for_status()
    return answer


def _why(error: Exception) -> str:
    """Return the kind of an error without the application's answer, which may name files."""
    answer = getattr(error, "response", None)
    return type(error).__name__ if answer is None else f"status {answer.status_code}"


def _send(session: requests.Session, upload: str, paths: Sequence[Path]) -> None:
    small = [path for path in paths if path.stat().st_size <= SMALL_BYTES]
    for batch in _batches(small):
        form = [("files", (path.name, path.read_bytes())) for path in batch]
        _answered(session.post(f"{upload}/files", files=form, timeout=SECONDS))
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
            where = {"name": path.name, "offset": str(offset)}
            _answered(session.put(f"{upload}/parts", params=where, data=part, timeout=SECONDS))
            offset += len(part)
