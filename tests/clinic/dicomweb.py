"""A DICOMweb service on this machine that does as its test says, and notes what it was asked."""

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

JSON = "application/dicom+json"
BOUNDARY = "edge"
MULTIPART = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'


def multipart(files, *, closed=True):
    """Return files as the body of a WADO-RS answer; without its last line if it is cut off."""
    parts = (
        b"--edge\r\nContent-Type: application/dicom\r\n\r\n" + file + b"\r\n" for file in files
    )
    return b"".join(parts) + (b"--edge--\r\n" if closed else b"")


def uids(names, **counts):
    """Return what QIDO-RS finds: a UID each, by tag, and counts that all share."""
    shared = {tag: {"vr": "IS", "Value": [count]} for tag, count in counts.items()}
    return [{tag: {"vr": "UI", "Value": [uid]}} | shared for tag, uid in names]


@dataclass
class Service:
    """What the service answers: bodies by path, as (status, media type, bytes) or a function.

    `headers` are those of every answer.
    """

    answers: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)
    authorizations: list = field(default_factory=list)
    headers: dict = field(default_factory=dict)
    address: str = ""

    def answer(self, method, path):
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.asked.append((method, parts.path.removeprefix("/dicom-web"), query))
        found = self.answers.get((method, parts.path.removeprefix("/dicom-web")), (404, "", b""))
        return found(query) if callable(found) else found


def found(items, most=None):
    """Return an answer to QIDO-RS that gives at most so many at a time."""

    def answer(query):
        start = int(query.get("offset", 0))
        page = items[start : start + min(int(query.get("limit", 1000)), most or 1000)]
        return (200, JSON, json.dumps(page).encode()) if page else (204, JSON, b"")

    return answer


@contextmanager
def serving():
    """Run a service; yield it."""
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def handle_one(self, method):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            service.authorizations.append(self.headers.get("Authorization"))
            status, kind, body = service.answer(method, self.path)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            for name, value in service.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            self.handle_one("GET")

        def do_POST(self):
            self.handle_one("POST")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    service.address = f"http://127.0.0.1:{server.server_address[1]}/dicom-web"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
