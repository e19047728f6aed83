"""DICOM peers: no response is lost or mistaken, no list is cut short, no password is shown."""

import base64
import json
import shutil
import socket
import threading
import time

import pydicom
import pytest
from pynetdicom import AE, AllStoragePresentationContexts, evt

from meninx._clinic import dimse_peer
from meninx._clinic.dimse_peer import DimsePeer
from meninx._clinic.node import Node
from meninx._clinic.node_settings import NodeSettings
from meninx._clinic.peers import peer_of
from meninx._clinic.worklist import Worklist
from meninx._errors import PeerError
from tests.clinic.conftest import free_port
from tests.clinic.dicomweb import JSON, found, serving, uids
from tests.commands import meninx

# The library's thread resumes after the response has arrived, and the sender reads it later still.
WOKEN_LATE, TAKEN_LATE = 0.05, 0.15


class LateEvent(threading.Event):
    """An event whose waiting thread is woken late."""

    def wait(self, timeout=None):
        waits = not self.is_set()
        found = super().wait(timeout)
        if waits:
            time.sleep(WOKEN_LATE)
        return found


@pytest.fixture
def received():
    """The instances that a system has taken, its port first."""
    entity, found = AE(ae_title="PACS"), []
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(context.abstract_syntax)

    def take(event):
        found.append(str(event.request.AffectedSOPInstanceUID))
        return 0

    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, take)]
    )
    yield server.server_address[1], found
    server.shutdown()


@pytest.fixture
def late_threads(monkeypatch):
    associate = DimsePeer._associate

    def associate_late(peer, *arguments):
        association = associate(peer, *arguments)
        association._reactor_checkpoint = LateEvent()
        association._reactor_checkpoint.set()
        take = association.dimse.get_msg

        def take_late(block=False):
            if block:
                time.sleep(TAKEN_LATE)
            return take(block)

        association.dimse.get_msg = take_late
        return association

    monkeypatch.setattr(DimsePeer, "_associate", associate_late)
    monkeypatch.setattr(dimse_peer, "TIMEOUT_SECONDS", 2)


def test_no_response_is_lost_if_threads_are_late(received, late_threads, folder):
    port, found = received
    paths = sorted(folder.iterdir())[:3]
    peer_of(f"PACS@127.0.0.1:{port}").send(paths)
    assert len(set(found)) == 3


def test_a_message_does_not_wait_for_the_acknowledgment_of_its_first_piece(
    received, folder, monkeypatch
):
    store, options = DimsePeer._store, []

    def look_and_store(peer, association, path):
        connection = association.dul.socket.socket
        options.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        store(peer, association, path)

    monkeypatch.setattr(DimsePeer, "_store", look_and_store)
    peer_of(f"PACS@127.0.0.1:{received[0]}").send(sorted(folder.iterdir())[:1])
    assert len(received[1]) == len(options) == 1
    assert options[0]


@pytest.fixture
def service():
    with serving() as running:
        yield running


def stored(uid="1.2.3", tag="00081199"):
    item = {
        "00081150": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.4"]},
        "00081155": {"vr": "UI", "Value": [uid]},
    }
    return json.dumps({tag: {"vr": "SQ", "Value": [item]}}).encode()


@pytest.mark.parametrize(
    ("status", "kind", "body", "taken"),
    [
        (200, JSON, stored(), True),
        (200, f"{JSON}; charset=utf-8", stored(), True),
        (202, JSON, stored(tag="00081198"), False),
        (200, "text/html; charset=utf-8", b"<html>Sign in, please</html>", False),
        (200, JSON, b"", False),
        (200, JSON, b"{}", False),
        (200, JSON, b"[]", False),
        (200, JSON, b"{", False),
        (200, JSON, json.dumps({"00081199": {"vr": "SQ", "Value": []}}).encode(), False),
        (200, "", b"", False),
        (409, JSON, stored(tag="00081198"), False),
        (413, "text/plain", b"too large", False),
        (503, "", b"", False),
    ],
)
def test_only_instances_that_the_response_lists_were_accepted(
    service, folder, status, kind, body, taken
):
    service.answers["POST", "/studies"] = (status, kind, body)
    done = meninx("send", next(folder.iterdir()), "--to", service.address)
    assert done.returncode == (0 if taken else 1)
    assert ("was not accepted" in done.stderr) != taken
    assert ("1 file sent" in done.stdout) == taken


def test_a_service_that_is_away_is_said_in_words(tmp_path):
    address = f"http://127.0.0.1:{free_port()}/dicom-web"
    done = meninx("fetch-study", "1.2.3", "--from", address, "--output", tmp_path / "study")
    assert done.returncode == 1
    assert "not fetched: study 1.2.3 (no connection, or it was lost" in done.stderr
    assert "HTTPConnectionPool" not in done.stderr and "no study" not in done.stderr


def test_an_empty_response_is_accepted_if_the_instance_is_found(service, folder):
    path = next(folder.iterdir())
    dataset = pydicom.dcmread(path)
    service.answers["POST", "/studies"] = (200, "", b"")
    place = f"/studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}/instances"
    service.answers["GET", place] = found(uids([("00080018", str(dataset.SOPInstanceUID))]))
    peer_of(service.address).send([path])


def with_password(address, text="me:S3CR%2FET@"):
    return address.replace("://", f"://{text}")


BASIC = "Basic " + base64.b64encode(b"me:S3CR/ET").decode()


def test_passwords_of_an_address_are_used_and_shown_nowhere(service, folder, tmp_path):
    path, study = next(folder.iterdir()), "1.2.3"
    address = with_password(service.address)
    service.answers["POST", "/studies"] = (200, JSON, stored())
    shown = [meninx("send", path, "--to", address)]
    assert shown[0].returncode == 0
    service.answers["POST", "/studies"] = (401, "", b"")
    shown += [
        meninx("send", path, "--to", address),
        meninx("fetch-study", study, "--from", address, "--output", tmp_path / "out"),
        meninx("score-archive", address, "--out", tmp_path / "table"),
        meninx("send", path, "--to", with_password("http://127.0.0.1:9/x", "me:S3CR/ET@")),
        meninx("send", path, "--to", "me:S3CR/ET@127.0.0.1/x"),
        meninx("send", path, "--to", with_password("ftp://127.0.0.1:9/x")),
        meninx("score-archive", with_password("nosuch://h/x"), "--out", tmp_path / "table"),
    ]
    assert set(service.authorizations) == {BASIC}
    for done in shown[1:]:
        assert done.returncode in (1, 2)
        assert "S3CR" not in done.stdout + done.stderr
        assert "127.0.0.1" in done.stderr or "nosuch" in done.stderr


def test_a_node_keeps_no_password(service, folder, tmp_path, caplog):
    peers = (peer_of(with_password(service.address)),)
    node = Node(NodeSettings(tmp_path / "node", peers=peers))
    node.inbox.add("1.2", "1.2.3", b"x")
    name = node.inbox.folder_of("1.2").name
    _, results, content = node.inbox.folders(name)
    results.mkdir()
    result = results / "SR-1.dcm"
    shutil.copy(next(folder.iterdir()), result)
    node.inbox.ledger.begin_attempt(name)
    node.inbox.ledger.record_results(name, content, [result], [peer.address for peer in peers])
    node._deliver_due()
    node.inbox.close()
    assert service.authorizations == [BASIC]
    assert "was not accepted" in caplog.text and "S3CR" not in caplog.text
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert service.address.encode() in written and b"S3CR" not in written


def test_a_password_may_stand_in_netrc(service, folder, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password S3CR/ET\n")
    monkeypatch.setenv("NETRC", str(netrc))
    service.answers["POST", "/studies"] = (200, JSON, stored())
    peer_of(service.address).send([next(folder.iterdir())])
    # What a worklist is shown is its key, whatever stands there for its machine.
    with pytest.raises(PeerError):
        Worklist(service.address, "mnx_key").hand_over(folder)
    assert service.authorizations == [BASIC, "Bearer mnx_key"]


@pytest.mark.parametrize("most", [None, 3, 1])
def test_studies_are_listed_to_their_end_however_few_come_at_a_time(service, most):
    names = [("0020000D", f"1.2.{number}") for number in range(10)]
    service.answers["GET", "/studies"] = found(uids(names), most)
    assert list(peer_of(service.address).studies(4)) == [uid for _, uid in names]
    service.answers["GET", "/studies/1.2/series"] = found(
        uids([("0020000E", uid) for _, uid in names], **{"00201209": 5}), most
    )
    assert peer_of(service.address).series("1.2") == [(uid, "5") for _, uid in names]


def test_a_service_without_offset_ends_or_is_reported(service):
    names = [("0020000D", f"1.2.{number}") for number in range(6)]

    def always(count):
        return lambda _: (200, JSON, json.dumps(uids(names[:count])).encode())

    for count in (3, 6):  # all of them each time, fewer or more than were asked for
        service.answers["GET", "/studies"] = always(count)
        assert len(list(peer_of(service.address).studies(4))) == count
    service.answers["GET", "/studies"] = always(4)
    with pytest.raises(PeerError, match="offset"):
        list(peer_of(service.address).studies(4))
