"""What readers say of a study, a series and a region; nothing unknown is stored."""

import hashlib
import hmac

import pytest

from meninx._web.store.audit import record
from meninx._web.store.database import RECEIVED, Opinion, Study
from meninx._web.studies.opinions import signature_of, verify_opinions
from meninx._web.studies.viewer import visit_rows
from tests.web.findings import VIEWER, finding

BOX = {"from": [1, 2, 3], "to": [4, 5, 6]}


def say(browser, study, verdict="tumor", **more):
    """Store an opinion by the API; return the answer."""
    return browser.client.post(
        f"/api/v1/studies/{study}/opinions",
        json={"verdict": verdict} | more,
        headers=browser.headers,
    )


def test_a_referred_study_is_answered_and_opinions_say_whether_they_agree(server, stored):
    study = stored(
        finding(decision="refer", viewer=VIEWER), finding("T2", viewer=VIEWER), decision="refer"
    )
    browser = server.browser()
    for more in (
        {"about": "study", "scan": 1, "box": BOX, "note": "beside the falx"},
        {"verdict": "no_tumor", "scan": 1},
        {"scan": 1},
        {"verdict": "cannot_tell"},
    ):
        assert say(browser, study, **more).status_code == 201
    keys = ("about", "scan", "verdict", "answer", "agrees", "box")
    response = browser.client.get(f"/api/v1/studies/{study}/opinions").json()
    assert [tuple(opinion[key] for key in keys) for opinion in reversed(response)] == [
        ("study", 1, "tumor", "refer", None, BOX),
        ("series", 1, "no_tumor", "tumor", False, None),
        ("series", 1, "tumor", "tumor", True, None),
        ("series", 0, "cannot_tell", "refer", None, None),
    ]
    page = browser.client.get(f"/studies/{study}").text
    assert "beside the falx" in page
    assert "can&#39;t tell" in page
    with server.web.sessions() as session:
        assert verify_opinions(session, server.web.key).faults == ()
        opinion = session.query(Opinion).first()
        opinion.about = "series"
        assert opinion.signature != signature_of(opinion, server.web.key)


def test_a_study_that_is_scored_again_takes_no_opinion_on_its_old_regions(server, stored):
    study = stored(finding(viewer=VIEWER))
    browser = server.browser()
    assert say(browser, study).status_code == 201
    with server.web.sessions.begin() as session:
        session.get(Study, study).state = RECEIVED
    answer = say(browser, study)
    assert (answer.status_code, "scored again" in answer.text) == (400, True)


def test_opinions_of_the_first_schema_keep_their_signatures(server):
    old = Opinion(study_id="a", scan=0, user_name="rene", verdict="agree", note="", box=BOX)
    with server.web.sessions.begin() as session:
        study = Study(title="case", content_hash="a", findings=[])
        session.add(study)
        session.flush()
        old.study_id, old.made = study.id, study.received
        # The content that the first version signed, before columns were added.
        content = (study.id, 0, "rene", "agree", "", BOX, old.made.isoformat())
        signed = hmac.new(server.web.key, repr(content).encode(), hashlib.sha256)
        old.signature = signed.hexdigest()
        session.add(old)
    with server.web.sessions() as session:
        assert verify_opinions(session, server.web.key).right == 1
        # Columns that came later are no way to change what was said.
        (opinion,) = session.query(Opinion)
        opinion.about = "study"
        assert opinion.signature != signature_of(opinion, server.web.key)


@pytest.mark.parametrize(
    ("more", "status", "words"),
    [
        ({"bxo": BOX}, 400, "unknown field, nothing was stored: body.bxo"),
        ({"region": {"from": [1, 2, 3]}}, 422, "region"),
        ({"box": BOX | {"middle": [1, 2, 3]}}, 400, "body.box.middle"),
        ({"box": {"from": [1, 2, 3]}}, 422, "box"),
        ({"verdict": "agree"}, 422, "verdict"),
        ({"about": "region"}, 400, "number of a region"),
        ({"about": "study", "region": 1}, 400, "number of a region"),
        ({"about": "region", "region": 3}, 400, "no region 3"),
        ({"about": "region", "region": 1, "scan": 1}, 400, "no region 1"),
        ({"scan": 2}, 400, "no scan 2"),
    ],
)
def test_nothing_unknown_is_stored(server, stored, more, status, words):
    study = stored(finding(viewer=VIEWER), finding("T2", "no_tumor", viewer=VIEWER))
    browser = server.browser()
    answer = say(browser, study, **more)
    assert answer.status_code == status
    assert words in answer.json()["detail"]
    assert browser.client.get(f"/api/v1/studies/{study}/opinions").json() == []


def test_measurements_and_uploads_refuse_unknown_fields_too(server, stored):
    study, browser = stored(finding(viewer=VIEWER)), server.browser()
    ends = {"from": [1, 2, 3], "to": [4, 5, 6]}
    for address, body in (
        (f"/api/v1/studies/{study}/measurements", ends | {"knd": "box"}),
        ("/api/v1/uploads", {"titel": "head"}),
    ):
        answer = browser.client.post(address, json=body, headers=browser.headers)
        assert (answer.status_code, "unknown field" in answer.text) == (400, True)
    assert browser.client.get("/api/v1/studies?decison=tumor").status_code == 400


def test_only_regions_in_suspected_slices_ask_for_an_opinion(server, stored):
    """Heat has one scale for all scans: it is high in the neck and the skull base of most."""
    peak = {"peak": [20, 40, 4]}
    slices = [
        {"index": 4, "probability": 0.05, **peak},
        {"index": 11, "probability": 0.398, "peak": [70, 40, 11]},
    ]
    swapped = VIEWER | {"regions": VIEWER["regions"][::-1]}
    study = stored(finding(slices=slices, viewer=swapped))
    rene = server.browser()
    rows = rene.client.get(f"/api/v1/studies/{study}/regions").json()
    assert [(row["region"], row["side"]) for row in rows] == [(2, "left")]
    statuses = [
        rene.client.post(
            f"/api/v1/studies/{study}/opinions",
            json={"verdict": "tumor", "about": "region", "scan": 0, "region": region},
            headers={"x-csrf-token": rene.csrf},
        ).status_code
        for region in (1, 2)
    ]
    assert statuses[0] == 400 and statuses[1] < 300


@pytest.mark.parametrize(("decision", "claimed"), [("tumor", "true"), ("no_tumor", "false")])
def test_the_heat_map_of_no_tumor_waits_for_its_tool(server, stored, decision, claimed):
    study = stored(finding(decision=decision, viewer=VIEWER), decision=decision)
    page = server.browser().client.get(f"/studies/{study}").text
    assert f'"claimed": {claimed}' in page


def test_a_file_that_cannot_be_seen_asks_for_no_opinion(server, stored):
    failed = {"status": "failed", "reason": "unreadable", "message": "cut off", "borders": None}
    unread = finding(decision=None, probability=None, **failed)
    client = server.browser().client
    page = client.get(f"/studies/{stored(unread)}").text
    assert 'name="verdict"' not in page and "cut off" in page
    page = client.get(f"/studies/{stored(finding(viewer=VIEWER), unread)}").text
    assert 'name="verdict"' in page


def test_the_audit_log_speaks_and_offers_what_there_is(server, stored):
    with server.web.sessions.begin() as session:
        record(session, "worker", "scored", None, "no_tumor")
    ada = server.browser("ada").client
    page = ada.get("/audit").text
    assert '<td data-label="Detail">no tumor</td>' in page
    assert "Older" not in page
    with server.web.sessions.begin() as session:
        for _ in range(100):
            record(session, "worker", "scored", None, "refer")
    assert "Older" in ada.get("/audit").text


def test_regions_are_accepted_rejected_and_corrected(server, stored):
    study = stored(
        finding(viewer=VIEWER),
        finding("T2", "no_tumor", viewer=VIEWER),
        finding("FLAIR", "refer", viewer=VIEWER),
    )
    rene, ada = server.browser(), server.browser("ada")

    def states():
        rows = rene.client.get(f"/api/v1/studies/{study}/regions").json()
        return [(row["scan"], row["region"], row["status"]) for row in rows]

    # Nothing is claimed of the series that is answered by no tumor.
    assert states() == [(0, 1, "open"), (0, 2, "open"), (2, 1, "open"), (2, 2, "open")]
    for scan, region, verdict, more in (
        (0, 1, "tumor", {}),
        (0, 2, "no_tumor", {}),
        (2, 1, "tumor", {"box": BOX}),
        (2, 2, "cannot_tell", {}),
    ):
        about = {"about": "region", "scan": scan, "region": region}
        assert say(rene, study, verdict, **about, **more).status_code == 201
    assert [state for *_, state in states()] == ["accepted", "rejected", "corrected", "doubtful"]
    say(ada, study, "no_tumor", about="region", scan=0, region=1)
    row, *_ = rene.client.get(f"/api/v1/studies/{study}/regions").json()
    assert row["status"] == "rejected"  # by the latest opinion
    assert [(opinion["user"], opinion["verdict"]) for opinion in row["opinions"]] == [
        ("ada", "no_tumor"),
        ("rene", "tumor"),
    ]
    assert (row["side"], row["score"], row["point_mm"]) == ("left", 0.97, [150.0, 20.0, 33.0])
    assert row["words"].startswith("left side; about 34 mm left to right")


def test_a_withdrawn_study_takes_nothing_more(server, stored):
    study = stored(finding(viewer=VIEWER), uploader_id=3)
    browser = server.browser()
    say(browser, study)
    browser.post(f"/studies/{study}/delete")
    assert "withdrawn on" in browser.client.get(f"/studies/{study}").text
    for answer in (
        say(browser, study, "no_tumor"),
        browser.client.post(
            f"/api/v1/studies/{study}/measurements",
            json={"from": [1, 2, 3], "to": [4, 5, 6]},
            headers=browser.headers,
        ),
    ):
        assert answer.status_code == 400
        assert "was withdrawn on" in answer.json()["detail"]
    assert len(browser.client.get(f"/api/v1/studies/{study}/opinions").json()) == 1


def test_an_open_page_gets_the_opinions_of_others(server, stored):
    study, rene, ada = stored(finding(viewer=VIEWER)), server.browser(), server.browser("ada")
    address = f"/studies/{study}/opinions"
    assert f"{address}?scan=0&amp;known=0" in rene.client.get(f"/studies/{study}").text
    assert rene.client.get(address).status_code == 204
    number = say(ada, study, note="a vein").json()["id"]
    part = rene.client.get(address, params={"known": 0})
    assert "a vein" in part.text
    assert "<html" not in part.text
    assert f"known={number}" in part.text
    assert rene.client.get(address, params={"known": number}).status_code == 204


def visit(date, time=""):
    return Study(id=date + time, study_date=date, study_time=time, findings=[])


@pytest.mark.parametrize(
    ("mine", "other", "when"),
    [
        (("2026-01-31",), ("2026-02-01",), "earlier"),
        (("2026-03-01",), ("2026-02-01", "10:00"), "later"),
        (("",), ("2026-02-01",), "no date"),
        (("2026-02-01",), ("",), "no date"),
        (("", "10:00"), ("", "11:00"), "no date"),
        (("2026-02-01", "10:00"), ("2026-02-01", "11:00"), "earlier"),
        (("2026-02-01",), ("2026-02-01", "11:00"), "same day"),
    ],
)
def test_a_visit_without_date_is_neither_earlier_nor_later(mine, other, when):
    (row,) = visit_rows(visit(*other), [visit(*mine)], [])
    assert row["when"] == when
