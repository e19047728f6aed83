"""The worklist: searched, filtered, sorted, several of its studies at once."""

import json
import re
from datetime import timedelta

import pytest

from meninx._web.store.database import DONE, RECEIVED, AuditEntry, Project, SignIn, Study, now
from meninx._web.store.settings import Settings
from meninx._web.studies.worklist import PAGE, WorklistQuery
from tests.web.conftest import Server
from tests.web.findings import finding

PEOPLE = {
    "Müller, Jörg": ("P-1", "A-30", "2026-01-31", "MR head"),
    "abel, Ann": ("p-3", "A-10", "2025-12-01", "MR Pituitary"),
    "Zola, Eve": ("P-2", "A-20", "2026-02-03", "brain 50%"),
    "": ("", "", "", ""),
}


def fill(server):
    """Store the studies of three people and one that nothing is known of."""
    with server.web.sessions.begin() as session:
        for n, (name, identity) in enumerate(PEOPLE.items()):
            patient_id, accession, date, description = identity
            session.add(
                Study(
                    title=f"folder {n}",
                    content_hash=str(n),
                    state=DONE,
                    decision="tumor",
                    probability=(n + 1) / 10 if n else None,
                    priority=1,
                    patient_name=name,
                    patient_id=patient_id,
                    accession=accession,
                    study_date=date,
                    description=description,
                    received=now() - timedelta(hours=n),
                )
            )
    return server


@pytest.fixture
def listed(server):
    return fill(server)


@pytest.fixture(scope="module")
def reading(tmp_path_factory):
    """Somebody who looks at a list that stays as it is."""
    return fill(Server(Settings(data=tmp_path_factory.mktemp("listed")))).browser()


def asked(browser, **query):
    """The numbers of the studies that a list shows, in its order."""
    studies = browser.client.get("/api/v1/studies", params=query).json()["studies"]
    return [int(study["title"].split()[1]) for study in studies]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("MÜLLER", [0]),
        ("muller", [0]),
        ("Jörg Müller", [0]),
        ("müller^jörg", [0]),
        ("P-2", [2]),
        ("p-3", [1]),
        ("a-10", [1]),
        ("2026-01-31", [0]),
        ("20260203", [2]),
        ("pituitary", [1]),
        ("50%", [2]),
        ("%", [2]),
        ("FOLDER abel", [1]),
        ("_", []),
        ("müller pituitary", []),
        ("2026-0", [0, 2]),
        ("   ", [0, 1, 2, 3]),
    ],
)
def test_a_search_finds_name_id_accession_date_and_description(reading, search, found):
    assert asked(reading, search=search) == found


@pytest.mark.parametrize(
    ("query", "order"),
    [
        ({"sort": "patient"}, [1, 0, 2, 3]),
        ({"sort": "patient", "order": "desc"}, [2, 0, 1, 3]),
        ({"sort": "patient_id"}, [0, 2, 1, 3]),
        ({"sort": "accession"}, [1, 2, 0, 3]),
        ({"sort": "date"}, [2, 0, 1, 3]),
        ({"sort": "date", "order": "asc"}, [1, 0, 2, 3]),
        ({"sort": "description"}, [2, 3, 0, 1]),
        ({"sort": "received"}, [0, 1, 2, 3]),
        ({"sort": "probability"}, [3, 2, 1, 0]),
        ({"sort": "probability", "order": "asc"}, [1, 2, 3, 0]),
        ({"sort": "title", "order": "desc"}, [3, 2, 1, 0]),
    ],
)
def test_each_column_sorts_and_unknown_values_are_last(reading, query, order):
    assert asked(reading, **query) == order


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"from": "2026-01-31"}, [0, 2]),
        ({"to": "2026-01-31"}, [0, 1]),
        ({"from": "2026-01-01", "to": "2026-01-31"}, [0]),
        ({"from": "", "to": ""}, [0, 1, 2, 3]),
    ],
)
def test_dates_limit_the_list(reading, query, found):
    assert asked(reading, **query) == found


def test_equals_stay_in_one_order_over_all_pages(server):
    moment = now()
    with server.web.sessions.begin() as session:
        session.add_all(
            Study(title=f"equal {n}", content_hash=str(n), state=DONE, priority=1, received=moment)
            for n in range(2 * PAGE + 20)
        )
    client = server.browser().client
    seen = [
        study["id"]
        for page in (1, 2, 3)
        for study in client.get("/api/v1/studies", params={"sort": "patient", "page": page}).json()[
            "studies"
        ]
    ]
    assert len(set(seen)) == len(seen) == 2 * PAGE + 20
    # Beyond the end stands the last page, and says so; a program gets none.
    page = client.get("/", params={"page": 99}).text
    assert "Page 3 of 3" in page
    assert len(re.findall('<tr id="study-', page)) == 20
    assert "No studies yet" not in page
    assert client.get("/api/v1/studies", params={"page": 99}).json()["studies"] == []


def test_the_list_names_the_readers_of_a_study(listed):
    browser, other = listed.browser(), listed.browser("ada")
    first = browser.client.get("/api/v1/studies").json()["studies"][0]["id"]
    for reader in (browser, other, browser):
        reader.post(f"/studies/{first}/opinions", verdict="tumor")
    studies = browser.client.get("/api/v1/studies", params={"opinions": "read"}).json()["studies"]
    assert [(study["id"], study["readers"]) for study in studies] == [(first, ["rene", "ada"])]
    assert asked(browser, opinions="unread") == [1, 2, 3]
    assert asked(browser, sort="opinions") == [1, 2, 3, 0]
    page = browser.client.get("/").text
    (row,) = re.findall(rf'<tr id="study-{first}">.*?</tr>', page, re.S)
    assert re.search(r"read <span[^>]*>by rene, ada<", row)
    assert page.count(">unread</span>") == 3


def test_deidentify_hides_the_columns_of_identity(listed, tmp_path):
    page = listed.browser().client.get("/").text
    for words in ("Patient", "Patient ID", "Accession", "Study date", "Description", "Opinions"):
        assert f">{words}</a></th>" in page
    anonymous = Server(Settings(data=tmp_path / "anonymous", deidentify=True))
    with anonymous.web.sessions.begin() as session:
        session.add(Study(title="anonymous study", content_hash="x", state=DONE, priority=1))
    with anonymous.web.sessions.begin() as session:
        (study,) = session.query(Study)
    client = anonymous.browser().client
    page = client.get("/").text
    assert "Patient" not in page
    # Studies differ by their ids only, and the search finds these.
    assert study.id[:8] in re.sub("<[^>]*>", "", page)
    assert client.get("/api/v1/studies", params={"search": study.id[:8]}).json()["count"] == 1


def test_an_unchanged_list_is_not_sent_again(listed):
    browser = listed.browser()
    ask = {"hx-request": "true", "x-meninx-poll": "1"}

    def poll(tag="", query="sort=patient"):
        return browser.client.get(f"/?{query}", headers=ask | {"if-none-match": tag})

    tag = poll().headers["etag"]
    assert (poll(tag).status_code, poll(tag).content) == (304, b"")
    # What changes nothing in the list brings another mark alone; another list is another list.
    study = browser.client.get("/api/v1/studies").json()["studies"][0]["id"]
    browser.client.get(f"/studies/{study}")
    seen = poll(tag)
    assert (seen.status_code, seen.headers["etag"] != tag) == (304, True)
    assert poll(seen.headers["etag"], "sort=date").status_code == 200
    browser.post(f"/studies/{study}/opinions", verdict="tumor")
    changed = poll(seen.headers["etag"])
    assert changed.status_code == 200
    assert "by rene" in changed.text
    # A worker's beginning is in no log: while studies wait the list itself is looked at.
    with listed.web.sessions.begin() as session:
        session.add(Study(title="late", content_hash="late", state=RECEIVED, priority=9))
    browser.post(f"/studies/{study}/opinions", verdict="no_tumor")
    waiting = poll()
    with listed.web.sessions.begin() as session:
        session.query(Study).filter_by(title="late").one().state = "scoring"
    assert "being scored" in poll(waiting.headers["etag"]).text


def test_polling_does_not_extend_a_session(listed):
    browser = listed.browser()

    def last_click():
        with listed.web.sessions() as session:
            return session.query(SignIn).one().seen

    before = now() - timedelta(hours=1)
    with listed.web.sessions.begin() as session:
        session.query(SignIn).one().seen = before
    browser.client.get("/", headers={"x-meninx-poll": "1", "hx-request": "true"})
    assert last_click() == before
    browser.client.get("/")
    assert last_click() > before


@pytest.mark.parametrize(
    ("current", "query", "header"),
    [
        ("/", "search=a", ("hx-push-url", "/?search=a")),
        ("/?search=a", "search=ab", ("hx-replace-url", "/?search=ab")),
        ("/?search=ab", "search=", ("hx-push-url", "/")),
        ("/?search=ab", "search=ab&sort=date", ("hx-push-url", "/?search=ab&sort=date")),
        ("/?sort=date", "sort=date&search=", ("hx-push-url", "false")),
        ("/?page=1", "page=7", ("hx-push-url", "false")),
    ],
)
def test_the_address_follows_the_list(reading, current, query, header):
    name, value = header
    sent = {"hx-request": "true", "hx-current-url": f"http://testserver{current}"}
    headers = reading.client.get(f"/?{query}", headers=sent).headers
    assert {name: headers.get(name) for name in ("hx-push-url", "hx-replace-url")} == {
        "hx-push-url": None,
        "hx-replace-url": None,
        name: value,
    }


def test_choosing_a_column_again_reverses_it():
    wanted = WorklistQuery(sort="date", search="doe", page=3)
    assert wanted.sorted_by("patient") == "/?search=doe&sort=patient"
    assert wanted.sorted_by("date") == "/?search=doe&sort=date&order=asc"
    turned = WorklistQuery.from_query(wanted.sorted_by("date").removeprefix("/?"))
    assert turned.sorted_by("date") == "/?search=doe&sort=date"
    assert WorklistQuery.from_query("page=many&sort=shoe+size") == WorklistQuery()


def steps(page):
    """What a study's page says of its list: the studies before and after, and its place."""
    found = dict(re.findall(r'<a rel="(prev|next)"[^>]*href="/studies/(\w+)', page))
    place = re.search(r"Study (\d+) of (\d+)", page)
    return found.get("prev"), found.get("next"), int(place[1]), int(place[2])


def test_neighbors_are_those_of_the_list_that_the_study_was_opened_from(listed):
    browser = listed.browser()
    studies = browser.client.get("/api/v1/studies", params={"sort": "patient"}).json()["studies"]
    ids = [study["id"] for study in studies]
    page = browser.client.get(f"/studies/{ids[1]}", params={"list": "sort=patient"}).text
    assert steps(page) == (ids[0], ids[2], 2, 4)
    assert 'href="/?sort=patient"' in page
    # One that an opinion took off the list keeps its place, and the list is not lost by it.
    unread = "opinions=unread&sort=patient"
    stored = browser.post(f"/studies/{ids[1]}/opinions", verdict="tumor", list=unread)
    page = browser.client.get(stored.headers["location"].partition("#")[0]).text
    assert steps(page) == (ids[0], ids[2], 2, 4)
    assert 'name="list" value="opinions=unread&amp;sort=patient"' in page
    page = browser.client.get(f"/studies/{ids[2]}", params={"list": unread}).text
    assert steps(page) == (ids[0], ids[3], 2, 3)


@pytest.mark.parametrize("query", ["project=elsewhere", "search=zola", "state=withdrawn"])
def test_a_study_outside_of_the_list_is_shown_too(reading, query):
    first = reading.client.get("/api/v1/studies").json()["studies"][0]["id"]
    page = reading.client.get(f"/studies/{first}", params={"list": query})
    assert page.status_code == 200
    assert steps(page.text)[2:] == (1, 2 if "zola" in query else 1)


def test_neighbors_are_of_the_reader_s_own_projects(listed):
    with listed.web.sessions.begin() as session:
        session.add(Project(name="elsewhere"))
        session.flush()
        session.query(Study).filter_by(title="folder 1").one().project_id = 2
    client = listed.browser().client
    ids = [study["id"] for study in client.get("/api/v1/studies").json()["studies"]]
    assert len(ids) == 3
    assert steps(client.get(f"/studies/{ids[0]}").text) == (None, ids[1], 1, 3)
    assert "abel, Ann" not in client.get("/").text


@pytest.fixture
def own(server):
    """Two studies of rene's, one with an opinion, and one of ada's; their ids."""
    with server.web.sessions.begin() as session:
        made = [
            Study(
                title=title,
                content_hash=title,
                state=DONE,
                findings=[finding()],
                priority=1,
                uploader_id=3 if title != "hers" else 2,
            )
            for title in ("plain", "with_opinions", "hers")
        ]
        session.add_all(made)
        session.flush()
        ids = [study.id for study in made]
    server.browser().post(f"/studies/{ids[1]}/opinions", verdict="tumor")
    return ids


def left(server):
    with server.web.sessions() as session:
        return {study.title: bool(study.withdrawn) for study in session.query(Study)}


def actions(server, *, since=0):
    with server.web.sessions() as session:
        entries = session.query(AuditEntry).order_by(AuditEntry.id).all()
    return [(entry.action, entry.study_id) for entry in entries if entry.id > since]


def test_several_studies_are_deleted_or_withdrawn_each_with_its_line(server, own):
    browser = server.browser()
    plain, with_opinions, _ = own
    forged = browser.client.post("/studies/delete", data={"study": own})
    assert forged.status_code == 403
    answer = browser.post("/studies/delete", study=[plain, with_opinions, plain], list="sort=date")
    assert (answer.status_code, answer.headers["location"]) == (303, "/?sort=date")
    assert left(server) == {"with_opinions": True, "hers": False}
    assert actions(server)[-2:] == [("deleted", plain), ("withdrawn", with_opinions)]
    assert not (server.settings.studies / plain).exists()


def test_several_studies_are_deleted_all_or_none(server, own):
    browser = server.browser()
    answer = browser.post("/studies/delete", study=own)
    assert answer.status_code == 403
    assert "of 3 studies 1 came from others" in answer.text
    assert left(server) == {"plain": False, "with_opinions": False, "hers": False}
    assert browser.post("/studies/delete").status_code == 400
    assert browser.post("/studies/delete", study=[own[0], "0" * 24]).status_code == 404
    assert len(left(server)) == 3
    server.browser("ada").post("/studies/delete", study=own)
    assert left(server) == {"with_opinions": True}


def test_results_of_several_studies_are_exported_as_lines(server, own):
    browser = server.browser()
    answer = browser.post("/studies/export", study=own)
    assert answer.headers["content-disposition"] == 'attachment; filename="meninx-results.jsonl"'
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["study"] for line in lines] == own
    assert lines[0] == browser.client.get(f"/studies/{own[0]}/finding.json").json()
    assert [opinion["verdict"] for opinion in lines[1]["opinions"]] == ["tumor"]
    assert [action for action in actions(server) if action[0] == "exported JSON"][:3] == [
        ("exported JSON", study) for study in own
    ]
    with server.web.sessions.begin() as session:
        session.add(Project(name="elsewhere"))
        session.flush()
        session.get(Study, own[2]).project_id = 2
    assert browser.post("/studies/export", study=own).status_code == 404
    assert browser.client.post("/studies/export", data={"study": own[0]}).status_code == 403
