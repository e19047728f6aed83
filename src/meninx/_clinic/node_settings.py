"""The settings of a DICOM node."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from meninx._clinic.peers import OUR_TITLE, Peer
from meninx._clinic.worklist import Worklist

GIB = 1024**3
# As Orthanc's StableAge: scanners send one series after the other, and a result of the first series
# is not one of the study. After a request for storage commitment there is no wait.
_QUIET_SECONDS = 60.0


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
