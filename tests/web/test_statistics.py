"""Numbers by week, the queue, and the health of DICOM nodes in words."""

from datetime import timedelta

import pytest

from meninx._clinic.node import Node
from meninx._clinic.node_settings import NodeSettings
from meninx._web.store.database import DONE, RECEIVED, NodeReport, Opinion, Project, Study, now
from meninx._web.studies.statistics import bars, time_in_words
from tests.web.findings import finding

SIZE = 100
NUMBERS = (
    "received",
    "answered",
    "referred",
    "not_scored",
    "waiting",
    "read",
    "agreed",
    "disagreed",
    "scoring_seconds",
    "reading_seconds",
)


@pytest.fixture
def numbers(server):
    """A server with studies of this week and of three weeks ago; one is another project's."""
    present = now()
    before = present - timedelta(weeks=3)
    said = {
        "agreed": [("rene", "series", "no_tumor", "tumor"), ("rene", "series", "tumor", "tumor")],
        "disagreed": [("rene", "study", "tumor", "tumor"), ("ada", "study", "no_tumor", "tumor")],
        "undecided": [("rene", "study", "tumor", "refer"), ("rene", "region", "tumor", "tumor")],
    }
    with server.web.sessions.begin() as session:
        session.add(Project(name="elsewhere"))
        for name, decision, received in (
            ("agreed", "tumor", before),
            ("disagreed", "tumor", present),
            ("undecided", "refer", present),
            ("refused", "refused", present),
            ("waiting", None, present),
            ("long ago", "tumor", present - timedelta(weeks=30)),
            ("elsewhere", "tumor", present),
        ):
            study = Study(
                title=name,
                content_hash=name,
                findings=[],
                decision=decision,
                state=DONE if decision else RECEIVED,
                received=received,
                finished=received + timedelta(seconds=40) if decision else None,
                project_id=2 if name == "elsewhere" else 1,
            )
            session.add(study)
            session.flush()
            for number, (user, about, verdict, answer) in enumerate(said.get(name, ())):
                made = received + timedelta(seconds=40, hours=3, minutes=number)
                session.add(
                    Opinion(
                        study_id=study.id,
                        user_name=user,
                        about=about,
                        verdict=verdict,
                        answer=answer,
                        made=made,
                        signature="",
                    )
                )
    return server


def test_numbers_say_no_time_of_what_has_not_happened(server, stored):
    page = server.browser().client.get("/statistics").text
    assert "Half were scored" not in page
    stored(finding(), finished=now())
    page = server.browser().client.get("/statistics").text
    assert "Half were scored within" in page and "read within" not in page
    assert f'fill="var(--soft)">{now().strftime("W%V")}</text>' in page


def test_numbers_by_week_count_answers_agreement_and_times(numbers):
    client = numbers.browser().client
    found = client.get("/api/v1/statistics", params={"weeks": 4}).json()
    weeks = [tuple(week[name] for name in NUMBERS) for week in found["weeks"]]
    assert weeks[0] == (1, 1, 0, 0, 0, 1, 1, 0, 40.0, 10_800.0)
    assert weeks[1][0] == weeks[2][0] == 0
    assert weeks[3] == (4, 1, 1, 1, 1, 2, 0, 1, 40.0, 10_800.0)
    assert found["total"]["received"] == 5
    year, week, _ = now().isocalendar()
    assert found["weeks"][-1]["week"] == f"{year}-W{week:02}"
    # An administrator sees all projects, and may choose one.
    ada = numbers.browser("ada").client
    for project, count in (("", 6), ("elsewhere", 1), ("general", 5)):
        params = {"weeks": 4, "project": project}
        assert ada.get("/api/v1/statistics", params=params).json()["total"]["received"] == count
    page = client.get("/statistics", params={"weeks": 4}).text
    assert "5 studies arrived: 2 answered, 1 referred, 1 not scored, 1 waiting" in " ".join(
        page.split()
    )
    assert "3 read: 1 agreed with the answer, 1 disagreed" in page
    assert "within 40 s of their arrival, and read within 3 h" in page
    assert page.count("<rect x=") == 5  # a bar for each part of a week that is not empty
    assert "0 studies being scored, 1 waiting, the first since" in page


def test_bars_are_stacked_and_the_highest_fills_the_plot():
    week = dict.fromkeys(NUMBERS, 0)
    full = week | {"received": 4, "answered": 3, "waiting": 1}
    half = week | {"received": 2, "referred": 2}
    drawn = bars([full, half, week], 120)
    assert [[(bar["part"], bar["y"], bar["height"]) for bar in bars_] for bars_ in drawn] == [
        [("answered", 30.0, 90.0), ("waiting", 0.0, 30.0)],
        [("referred", 60.0, 60.0)],
        [],
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "-"), (41.2, "41 s"), (150, "2 min"), (9000, "2 h"), (200_000, "2 days")],
)
def test_times_are_said_in_a_unit_that_fits(seconds, words):
    assert time_in_words(seconds) == words


def test_a_node_tells_what_came_what_waits_and_what_failed(server, tmp_path):
    node = Node(NodeSettings(folder=tmp_path / "node", title="MENINX"))
    node.inbox.add("1.2", "1.2.1", bytes(SIZE))
    node.inbox.add("1.2", "1.2.2", bytes(SIZE))
    report = node.health()
    node.inbox.close()
    assert (report["instances"], report["studies"], report["waiting"]) == (2, 1, 1)
    browser = server.browser()
    client, key = server.client(), browser.key("node")
    client.headers["authorization"] = f"Bearer {key}"

    def told(**values):
        answer = client.put("/api/v1/nodes", json=report | values)
        assert answer.status_code == 204, answer.text
        (found,) = browser.client.get("/api/v1/nodes").json()
        return found

    found = told()
    assert (found["name"], found["well"]) == ("rene, MENINX", True)
    assert found["came"] == "2 images of 1 study in its inbox; 0 studies scored, 0 results sent"
    assert found["waiting"] == "1 study to be complete and scored"
    assert found["failing"] == "nothing"
    found = told(failing={"PACS@10.0.0.5:104": 3}, failed=1, refused=2, results_waiting=3)
    assert not found["well"]
    assert found["failing"] == (
        "PACS@10.0.0.5:104 has not accepted 3 results, tried again; "
        "1 study could not be scored since its start; "
        "2 images refused since its start: its log says why"
    )
    with server.web.sessions.begin() as session:
        session.query(NodeReport).one().heard = now() - timedelta(minutes=25)
    page = browser.client.get("/statistics").text
    assert "not heard for 25 minutes: stopped, or it does not reach this server" in page
    assert "needs a look" in page
    assert client.put("/api/v1/nodes", json=report | {"note": "x"}).status_code == 400
    unsigned = server.client().put("/api/v1/nodes", json=report)
    assert unsigned.status_code == 401
