"""The queue of waiting studies: places, the urgent first, and pages that wait for their finding."""

from datetime import timedelta

import pytest

from meninx._web.store.database import DONE, RECEIVED, SCORING, Study, now
from meninx._web.studies.results import WAITING


@pytest.fixture
def queue(server):
    """Ids of three waiting studies, the first to arrive first; before them one is being scored."""
    begun = now()
    states = [SCORING, RECEIVED, RECEIVED, RECEIVED, DONE]
    with server.web.sessions.begin() as session:
        studies = [
            Study(
                title=f"case {number}",
                content_hash=str(number),
                findings=[],
                state=state,
                priority=WAITING,
                received=begun + timedelta(seconds=number),
                lease=begun + timedelta(hours=1) if state == SCORING else None,
            )
            for number, state in enumerate(states)
        ]
        session.add_all(studies)
        session.flush()
        return [study.id for study in studies]


def test_a_waiting_study_knows_its_place_and_urgent_ones_come_first(server, queue, monkeypatch):
    browser = server.browser()

    def place(number):
        return browser.client.get(f"/api/v1/studies/{queue[number]}").json()["queue"]

    assert [place(number) for number in range(5)] == [
        None,
        {"place": 1, "waiting": 3},
        {"place": 2, "waiting": 3},
        {"place": 3, "waiting": 3},
        None,
    ]
    answer = browser.client.put(
        f"/api/v1/studies/{queue[3]}/urgent", json={"urgent": True}, headers=browser.headers
    ).json()
    assert (answer["urgent"], answer["queue"]) == (True, {"place": 1, "waiting": 3})
    assert place(1) == {"place": 2, "waiting": 3}
    page = browser.client.get("/").text
    assert page.index(f"study-{queue[3]}") < page.index(f"study-{queue[2]}")
    assert '<span class="soft">1 of 3</span>' in page
    assert page.count('<span class="urgent">urgent</span>') == 1
    taken = []
    monkeypatch.setattr(server.jobs, "score", taken.append)
    assert server.jobs.score_next()
    assert taken == [queue[3]]


def test_chosen_studies_become_urgent_and_not_urgent_again(server, queue):
    browser = server.browser()

    def urgent():
        with server.web.sessions() as session:
            return [session.get(Study, name).urgent for name in queue[1:4]]

    browser.post("/studies/urgent", study=queue[2])
    browser.post("/studies/urgent", study=queue[1:3])
    assert urgent() == [True, True, False]
    browser.post("/studies/urgent", study=queue[1:3])
    assert urgent() == [False, False, False]
    assert browser.post("/studies/urgent").status_code == 400


def test_a_page_whose_study_is_deleted_while_it_waits_is_loaded_again(server, queue):
    browser = server.browser()
    address = f"/studies/{queue[1]}"
    assert browser.client.get(address).status_code == 200
    with server.web.sessions.begin() as session:
        session.delete(session.get(Study, queue[1]))
    polled = browser.client.get(address, headers={"hx-request": "true", "x-meninx-poll": "1"})
    assert (polled.status_code, polled.headers["hx-refresh"]) == (404, "true")
    assert "it may have been deleted" in polled.text
