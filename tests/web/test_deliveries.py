"""Results are sent to a PACS from the page: what, to whom, what it answered, and again."""

import pytest
from pynetdicom import AE, AllStoragePresentationContexts, evt
from sqlalchemy import update

from meninx._errors import OptionError
from meninx._web.app import create_app
from meninx._web.store.database import AuditEntry, Delivery, now
from meninx._web.store.settings import Settings
from meninx._web.studies.deliveries import ACCEPTED, FAILED, Sender, release_claims
from tests.clinic.conftest import free_port
from tests.web.findings import VIEWER, finding

OUT_OF_RESOURCES = 0xA700


@pytest.fixture
def pacs():
    """A system that answers with the statuses of a list, then takes all."""
    entity, taken, statuses = AE(ae_title="PACS"), [], []
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(context.abstract_syntax)

    def take(event):
        status = statuses.pop(0) if statuses else 0
        if status == 0:
            taken.append(str(event.request.AffectedSOPInstanceUID))
        return status

    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, take)]
    )
    yield f"PACS@127.0.0.1:{server.server_address[1]}", taken, statuses
    server.shutdown()


class Desk:
    """A reader at the page of a study that was scored, and the worker's sender."""

    def __init__(self, server):
        self.server, self.browser = server, server.browser()
        self.address = f"/api/v1/studies/{server.study_id}/deliveries"
        self.sender = Sender(server.settings, server.web.sessions)

    def ask(self, peer):
        return self.browser.client.post(
            self.address, json={"peer": peer}, headers=self.browser.headers
        )

    def retry(self, number):
        return self.browser.client.post(
            f"{self.address}/{number}/retry", headers=self.browser.headers
        )

    def look(self):
        return self.browser.client.get(self.address).json()

    def hurry(self):
        """Let all that waits be due now."""
        with self.server.web.sessions.begin() as session:
            session.execute(update(Delivery).values(due=now()))


@pytest.fixture
def desk(scored, monkeypatch, pacs):
    monkeypatch.setattr(scored.settings, "peers", f"{pacs[0]}, OTHER@127.0.0.1:{free_port()}")
    return Desk(scored)


def test_results_are_sent_and_what_was_refused_is_sent_again(desk, pacs, scored):
    peer, taken, statuses = pacs
    count = desk.look()["objects"]
    assert count >= 3
    asked = desk.ask(peer)
    assert (asked.status_code, asked.json()["state"]) == (201, "waiting")
    assert asked.json()["words"] == f"{count} objects wait to be sent to {peer}"
    statuses.append(OUT_OF_RESOURCES)
    assert desk.sender.send_next()
    assert not desk.sender.send_next()  # it waits for its next try
    found = desk.look()["deliveries"][0]
    assert (found["state"], found["tries"], found["user"]) == ("waiting", 1, "rene")
    assert found["next"] > found["changed"]
    refused, *others = found["objects"]
    assert refused["answer"] == f"{peer}: was not accepted: status 0xa700"
    assert {item["answer"] for item in others} == {ACCEPTED}
    assert f"accepted {count - 1} of {count} objects" in found["words"]
    assert desk.retry(found["id"]).status_code == 200
    assert desk.sender.send_next()
    found = desk.look()["deliveries"][0]
    assert (found["state"], found["words"]) == ("sent", f"{peer} has accepted {count} objects")
    assert len(taken) == len(set(taken)) == count
    assert desk.retry(found["id"]).status_code == 400  # there is nothing left to send
    with scored.web.sessions() as session:
        entries = session.query(AuditEntry).filter(AuditEntry.action.like("sending%")).all()
    assert [entry.action for entry in entries][-3:] == [
        "sending asked for",
        "sending tried again",
        "sending: sent",
    ]
    assert entries[-1].detail == f"{count} of {count} objects to {peer}"


# pynetdicom leaves the socket of a refused connection to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_system_that_does_not_answer_is_given_up_in_words(desk):
    peer = desk.look()["peers"][1]
    number = desk.ask(peer).json()["id"]
    for _ in range(5):
        desk.hurry()
        assert desk.sender.send_next()
    found = desk.look()["deliveries"][0]
    assert (found["state"], found["tries"]) == (FAILED, 5)
    answers = [item["answer"] for item in found["objects"]]
    assert "no association" in answers[0]
    assert answers[2:] == [""] * (len(answers) - 2)  # not asked as often as there are objects
    assert "has accepted 0 of" in found["words"] and "given up" in found["words"]
    desk.hurry()
    assert not desk.sender.send_next()
    # Of a delivery that was tried, the system is asked first what it has.
    again = desk.retry(number).json()
    assert (again["state"], again["tries"]) == ("waiting", 1)
    assert desk.retry(10**6).status_code == 400


def test_a_worker_that_was_killed_leaves_its_delivery_to_the_next(desk, pacs, scored):
    peer, taken, _ = pacs
    number = desk.ask(peer).json()["id"]
    with scored.web.sessions.begin() as session:
        session.execute(
            update(Delivery).where(Delivery.id != number).values(state="sent", due=now())
        )
        session.get(Delivery, number).state = "sending"
        session.get(Delivery, number).tries = 1
        release_claims(session)
    assert desk.sender.send_next()
    assert desk.look()["deliveries"][0]["state"] == "sent"
    assert taken


def test_only_what_can_be_sent_is_and_only_where_the_server_may(desk, stored, server):
    answer = desk.ask("EVIL@127.0.0.1:104")
    assert answer.status_code == 400
    assert desk.look()["peers"][0] in answer.json()["detail"]
    form = desk.browser.post(f"/studies/{desk.server.study_id}/send", peer=desk.look()["peers"][1])
    assert form.headers["location"].endswith("#send")
    server.settings.peers = "PACS@127.0.0.1:104"
    study = stored(finding(viewer=VIEWER))
    browser = server.browser()
    address = f"/api/v1/studies/{study}/deliveries"
    assert browser.client.get(address).json()["objects"] == 0
    answer = browser.client.post(
        address, json={"peer": "PACS@127.0.0.1:104"}, headers=browser.headers
    )
    assert "files are not DICOM" in answer.json()["detail"]


def test_passwords_of_peers_are_not_shown_and_bad_addresses_end_the_start(tmp_path, server):
    server.settings.peers = "https://meninx:secret@pacs/dicom-web/"
    browser = server.browser()
    study = browser.upload({"a.txt": b"words"}).json()["id"]
    response = browser.client.get(f"/api/v1/studies/{study}/deliveries")
    assert response.json()["peers"] == ["https://pacs/dicom-web"]
    assert "secret" not in response.text + browser.client.get(f"/studies/{study}").text
    with pytest.raises(OptionError, match="expected TITLE@host:port"):
        create_app(Settings(data=tmp_path / "new", peers="PACS:104"))
