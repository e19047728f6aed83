"""Run a DICOM node: `meninx receive`."""

import logging
import signal
import threading

from meninx._cli.extras import needs_extra
from meninx._cli.receive_settings import ReceiveSettings
from meninx._cli.verb_settings import takes_settings
from meninx._cli.web_options import keep_files_private
from meninx._cli.writable import bound_socket, check_folder, held_folder
from meninx._logs import log_of_service

log = logging.getLogger(__name__)


@takes_settings(ReceiveSettings)
def receive(settings: ReceiveSettings) -> None:
    """Receive, score and send studies as a DICOM node.

    Results are sent as DICOM objects.

    Provides C-STORE of MR images, C-ECHO and storage commitment. A study is scored after a time
    without new files, or once its sender asks for commitment. For research, not for diagnosis.
    """
    keep_files_private()
    log_of_service(settings.log)
    if settings.open_to_all:
        log.warning("any machine that reaches this port may send; see --caller")
    check_folder(settings.data, "--data")
    bound_socket(settings.host, settings.port).close()
    with held_folder(settings.data, "node", "each node needs a data folder of its own"):
        _run(settings)


def _run(settings: ReceiveSettings) -> None:
    """Run a node until SIGINT or SIGTERM."""
    from meninx._detect.loading import load_detector

    with needs_extra("hospital"):
        from meninx._clinic.node import Node
        from meninx._clinic.node_status import StatusServer
    load_detector(settings.model)  # a damaged file fails now, not at the first study
    node = Node(settings.for_node())
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    status = StatusServer(node, settings.status) if settings.status else None
    listening = node.start()
    log.info("%s listens on %s:%d", settings.title, settings.host, listening)
    if status is not None:
        log.info("/health, /ready and /metrics are on port %d", status.port)
    stop.wait()
    if status is not None:
        status.close()
    node.stop()
