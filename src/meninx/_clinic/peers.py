"""Other DICOM systems, by DIMSE or DICOMweb."""

import re
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pydicom import Dataset

from meninx._clinic.dimse_peer import DimsePeer
from meninx._clinic.web_peer import WebPeer
from meninx._errors import OptionError
from meninx._quiet import without_passwords

OUR_TITLE = "MENINX"
# A title has up to 16 characters of the default repertoire without backslash (PS3.8 9.3.2).
_DIMSE_ADDRESS = re.compile(r"(?P<title>[^@\\]{1,16})@(?P<host>[^@]+):(?P<port>\d{1,5})")


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
            PeerError: If the system did not accept all of them.
        """

    def echo(self) -> None:
        """Ask whether the system is there and accepts us: by C-ECHO, or by a search.

        Raises:
            PeerError: If it does not answer, or not as such a system does.
        """

    def has(self, dataset: Dataset) -> bool:
        """Return whether an instance is there, by its study, series and instance UID."""

    def fetch(self, study_uid: str, folder: Path) -> int:
        """Fetch a study, or its missing instances, into a folder.

        Args:
            study_uid: StudyInstanceUID.
            folder: Folder for the files, made if missing.

        Returns:
            Number of instances in the folder: all of the system.

        Raises:
            OptionError: If the folder holds another study.
            PeerError: If instances are missing; see `study_folder`.
        """


def peer_of(
    address: str, title: str = OUR_TITLE, tls: ssl.SSLContext | None = None, port: int = 0
) -> Peer:
    """Return another system by its address.

    Args:
        address: Address, `TITLE@host:port`, or the http(s) address of a DICOMweb service.
        title: Our own application entity title.
        tls: TLS context of a client; None for plain connections.
        port: Our port for the instances of a C-MOVE; 0 for any free one.

    Returns:
        The peer.

    Raises:
        OptionError: If the address is invalid.
    """
    if address.startswith(("http://", "https://")):
        return WebPeer(address)
    match = _DIMSE_ADDRESS.fullmatch(address)
    if match is None or not 0 < int(match["port"]) < 65536:
        raise OptionError(
            f"address {without_passwords(address)!r}; expected TITLE@host:port, or http(s)://... "
            "of a DICOMweb service"
        )
    return DimsePeer(address, match["title"], match["host"], int(match["port"]), title, tls, port)
