"""Sending to other systems: no answer is lost where threads are late, and nothing is put off."""

import socket
import threading
import time

import pytest
from pynetdicom import AE, AllStoragePresentationContexts, evt

from meninx.clinic import peers
from meninx.clinic.peers import DimsePeer, peer_of

# The library's thread is woken so late that an answer is there before, and the sender later still.
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
    monkeypatch.setattr(peers, "SECONDS", 2)


def test_no_answer_is_lost_where_threads_are_late(received, late_threads, folder):
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
