"""A study from the network appears in the worklist of the web application, when both run."""

import io
import json
import threading
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from meninx._clinic import inbox as inboxes
from meninx._clinic import ledger as ledgers
from meninx._clinic.ledger import SENT
from meninx._clinic.node import Node
from meninx._clinic.node_settings import NodeSettings
from meninx._clinic.peers import peer_of
from meninx._clinic.worklist import Worklist
from meninx._synthesis.writing import write_dicom
from meninx._web.store.database import DONE, NodeReport, Study
from tests.clinic.conftest import receiving, wait_for
from tests.web.conftest import served


def test_a_study_from_the_network_appears_in_the_worklist(tmp_path, sick, node_account):
    settings, sessions, key = node_account
    files = write_dicom(sick.scan, tmp_path / "case", 7)
    with served(settings.data) as address:
        options = ("--quiet", "0.5", "--worklist", address)
        with receiving(tmp_path / "node", *options, MENINX_WORKLIST_KEY=key) as port:
            peer_of(f"MENINX@127.0.0.1:{port}").send(files)

            def listed():
                with sessions() as session:
                    study = session.query(Study).one_or_none()
                    return study if study is not None and study.state == DONE else None

            study = wait_for(listed, 120)
        assert (study.patient_name, study.patient_id) == ("Phantom, 7", "PHANTOM-7")
        assert (study.title, study.study_date) == ("Phantom, 7", "2026-01-01")
        assert study.decision == "tumor"
        request = urllib.request.Request(
            f"{address}/api/v1/studies/{study.id}/objects",
            headers={"Authorization": f"Bearer {key}"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert io.BytesIO(answer.read()).getvalue()[:2] == b"PK"
        # The same exam from a CD is the same study, though a C-STORE wrote its files anew.
        Worklist(address, key).hand_over(tmp_path / "case")
        with sessions() as session:
            assert session.query(Study.state).all() == [(DONE,)]
            told = session.query(NodeReport).one()
        assert told.name == "node, MENINX"
        assert told.report["scored"] == 1


@contextmanager
def answering(statuses):
    """Answer requests of a hand-over with the statuses in their order, then with 201 or 204."""
    asked = []

    class Answers(BaseHTTPRequestHandler):
        def answer(self):
            asked.append((self.command, self.path))
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(statuses.pop(0) if statuses else 201)
            body = json.dumps({"id": "u"}).encode()
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - names of the standard library

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_many_files_are_handed_over_in_few_requests(tmp_path):
    for number in range(1400):
        (tmp_path / f"{number:04}.dcm").write_bytes(b"x" * 100)
    (tmp_path / "large.dcm").write_bytes(bytes(9 * 1024**2))
    with answering([]) as (address, asked):
        Worklist(address, "key").hand_over(tmp_path)
    assert len(asked) == 1 + 4 + 2 + 1  # begin, four batches, two parts, finish


def test_a_hand_over_is_tried_again_until_it_is_done(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(Node, "_report_health", lambda _: None)
    monkeypatch.setattr(ledgers, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr("meninx._clinic.node.Worker.call", lambda *_: [])
    with answering([429, 503, 201, 500]) as (address, asked):
        settings = NodeSettings(
            tmp_path, port=0, quiet_seconds=0, worklist=Worklist(address, "secret")
        )
        node = Node(settings)
        node.inbox.add("1.2", "1.2.3", b"DOE^JANE")
        node.start()
        wait_for(lambda: node.inbox.ledger.deliveries()["sent"] == 1)
        assert [path.rsplit("/", 1)[-1] for _, path in asked] == [
            "uploads",
            "uploads",
            "uploads",
            "files",
            "u",
            "uploads",
            "files",
            "finish",
        ]
        # More of it comes: the study is handed over again, whole.
        node.inbox.add("1.2", "1.2.4", b"more")
        wait_for(lambda: len(asked) == 11 and node.inbox.ledger.deliveries()["sent"] == 1)
        node.stop()
    assert "status 429" in caplog.text
    assert "secret" not in caplog.text


def test_a_study_that_was_not_taken_stays_in_the_ledger(tmp_path):
    inbox = inboxes.Inbox(tmp_path, 10**6)
    inbox.add("1.2", "1.2.3", b"x")
    (name,) = inbox.unscored(0)
    inbox.ledger.begin_attempt(name)
    inbox.ledger.record_results(name, inbox.folders(name)[2], [], [], worklist="http://away")
    inbox.delete_expired(-60)
    inbox.close()
    again = inboxes.Inbox(tmp_path, 10**6)
    (delivery,) = again.ledger.due_deliveries()
    assert delivery.is_study
    assert [path.read_bytes() for path in delivery.file.iterdir()] == [b"x"]
    again.ledger.set_state(delivery, SENT)
    again.delete_expired(-60)
    assert not again.ledger.due_deliveries()
    assert not delivery.file.exists()
    again.close()
