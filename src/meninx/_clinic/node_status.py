"""The state of a node over HTTP: `/health`, `/ready` and `/metrics`; nothing of a patient."""

import json
import logging
import shutil
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from meninx._clinic.inbox import RESERVED_BYTES
from meninx._clinic.node import Node
from meninx._clinic.storage_provider import SUCCESS
from meninx._errors import OptionError
from meninx._metrics import CONTENT_TYPE, Metric, exposition, service_metrics
from meninx._system_errors import FULL, words_of
from meninx._version import __version__

log = logging.getLogger(__name__)


def node_metrics(node: Node) -> list[Metric]:
    """Return the metrics of a node."""
    state = node.inbox.state()
    # A count of 0 from the start, so that a rate can be computed from the first instance on.
    responses = {SUCCESS: 0} | node.provider.responses
    received = {f"0x{status:04x}": count for status, count in sorted(responses.items())}
    return [
        *service_metrics(node.settings.folder),
        Metric(
            "meninx_node_responses",
            "Instances since the start, by status of C-STORE: 0x0000 stored, others refused.",
            received,
            label="status",
            kind="counter",
        ),
        Metric(
            "meninx_node_studies",
            "Studies in the inbox: waiting to be scored, scored, or failed.",
            state.studies,
            label="state",
        ),
        Metric(
            "meninx_node_deliveries",
            "Results by state of their delivery.",
            state.deliveries,
            label="state",
        ),
        Metric(
            "meninx_node_failed_deliveries",
            "Tries since the start that a peer did not accept.",
            {"": node.failed_deliveries},
            kind="counter",
        ),
        Metric("meninx_node_instances", "Instances in the inbox.", {"": state.instances}),
        Metric(
            "meninx_node_inbox_bytes",
            "Size of the inbox, and its limit.",
            {"used": state.bytes, "limit": node.settings.max_bytes},
            label="state",
            unit="bytes",
        ),
        Metric(
            "meninx_node_last_instance_seconds",
            "Time of the last stored instance since the start; 0 for none.",
            {"": node.provider.last_received},
            unit="seconds",
        ),
        Metric(
            "meninx_node_last_study_seconds",
            "Time of the last study that was scored or failed; 0 for none.",
            {"": state.last_scored},
            unit="seconds",
        ),
    ]


def faults_of(node: Node) -> list[str]:
    """Return why a node can't take studies; empty if it can."""
    faults = [] if node.is_running else ["it does not run"]
    if shutil.disk_usage(node.settings.folder).free < RESERVED_BYTES:
        faults.append(FULL)
    elif not node.inbox.has_room:
        faults.append("the inbox is full; increase --disk-gib")
    return faults


class StatusServer:
    """An HTTP server for the state of a node.

    Args:
        node: Node to report on.
        address: Where to listen, HOST:PORT; port 0 for a free one.

    Raises:
        OptionError: If the address is none, or can't be listened on.
    """

    def __init__(self, node: Node, address: str) -> None:
        host, colon, port = address.rpartition(":")
        if not colon or not port.isdecimal() or int(port) > 65535:
            raise OptionError(f"--status {address}: expected HOST:PORT, such as 127.0.0.1:9112")
        handler = type("Handler", (_Handler,), {"node": node})
        try:
            self._server = ThreadingHTTPServer((host.strip("[]"), int(port)), handler)
        except OSError as error:
            raise OptionError(f"--status {address}: {words_of(error, named=False)}") from error
        threading.Thread(target=self._server.serve_forever, name="status", daemon=True).start()

    @property
    def port(self) -> int:
        """Port that it listens on."""
        return self._server.server_port

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """The responses; a class for each node."""

    node: Node
    # A client that says nothing must not hold a thread, s.
    timeout = 10
    server_version, sys_version = "meninx", ""

    def do_GET(self) -> None:
        """Respond to a request."""
        path = self.path.partition("?")[0]
        if path == "/health":
            self._json(HTTPStatus.OK, {"status": "ok", "version": __version__})
        elif path == "/ready":
            faults = faults_of(self.node)
            if faults:
                self._json(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "; ".join(faults)})
            else:
                self._json(HTTPStatus.OK, {"status": "ready"})
        elif path == "/metrics":
            self._respond(HTTPStatus.OK, CONTENT_TYPE, exposition(node_metrics(self.node)))
        else:
            self._json(HTTPStatus.NOT_FOUND, {"status": "no such page"})

    def _json(self, status: HTTPStatus, content: dict[str, str]) -> None:
        self._respond(status, "application/json", json.dumps(content))

    def _respond(self, status: HTTPStatus, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log no request: a probe asks every few seconds."""
