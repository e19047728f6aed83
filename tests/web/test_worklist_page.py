"""The worklist in a real browser, on a server whose studies are there from the start."""

import json
import re
from datetime import timedelta
from types import SimpleNamespace

import pytest
from playwright.sync_api import expect

from meninx._web.store.audit import record
from meninx._web.store.database import DONE, Study, now, open_database, sessions_of
from meninx._web.store.settings import Settings
from tests.web.browsing import sign_in
from tests.web.conftest import PASSWORD, Server, served
from tests.web.findings import finding

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
LONG = "a_title_without_any_space_" * 11
COUNT = 60


def study(number, **more):
    return Study(
        title=f"case {number:02}",
        content_hash=f"case {number}",
        state=DONE,
        decision="refused",
        priority=3,
        findings=[finding(status="refused", reason="not_mr", message="not MR")],
        patient_name=f"Person{(number * 7) % COUNT:02}, Ann",
        patient_id=f"P-{number:02}",
        accession=f"A-{number:02}",
        study_date=f"2026-01-{number % 28 + 1:02}",
        uploader_id=3,
        received=now() - timedelta(hours=number),
        **more,
    )


@pytest.fixture(scope="module")
def clinic(tmp_path_factory):
    """A served worklist of sixty studies, and what opens its database."""
    data = tmp_path_factory.mktemp("served")
    server = Server(Settings(data=data))
    with server.web.sessions.begin() as session:
        session.add_all(study(number) for number in range(COUNT))
    server.jobs.close()
    engine = open_database(server.settings.address)
    with served(data, "--no-worker") as address:
        yield SimpleNamespace(address=address, sessions=sessions_of(engine))
    engine.dispose()


@pytest.fixture
def listed(page, clinic):
    """The worklist, signed in."""
    sign_in(page, clinic.address, "rene")
    yield page
    assert not page.faults


def rows(page):
    return page.locator(".worklist tbody tr")


def names(page):
    return [name.split(",")[0] for name in page.locator("td.patient").all_inner_texts()]


def test_filter_order_and_page_survive_back(listed, clinic):
    page = listed
    search = page.get_by_label("Search")
    search.press_sequentially("person1", delay=20)
    expect(rows(page)).to_have_count(10)
    page.get_by_role("link", name="Patient", exact=True).click()
    expect(page.get_by_role("columnheader", name="Patient", exact=True)).to_have_attribute(
        "aria-sort", "ascending"
    )
    wanted = f"{clinic.address}/?search=person1&sort=patient"
    assert page.url == wanted
    first = names(page)
    assert first == sorted(first)
    rows(page).first.get_by_role("link").click()
    expect(page.locator(".study-head")).to_be_visible()
    page.go_back()
    expect(rows(page)).to_have_count(10)
    assert (page.url, names(page)) == (wanted, first)
    expect(page.get_by_label("Search")).to_have_value("person1")
    # Back again: the search, and the whole list; letters that were typed are no lists of their own.
    # The address changes before the page is loaded anew, which would break off the next step back.
    page.go_back()
    expect(page).to_have_url(f"{clinic.address}/?search=person1")
    expect(page.get_by_role("columnheader", name="Patient", exact=True)).not_to_have_attribute(
        "aria-sort", "ascending"
    )
    page.go_back()
    expect(page).to_have_url(f"{clinic.address}/")
    expect(page.locator("caption")).to_have_text(re.compile("^60 studies"))
    expect(page.get_by_label("Search")).to_have_value("")
    page.get_by_role("link", name="Next").click()
    expect(page.locator(".pages")).to_contain_text("Page 2 of 2")
    rows(page).first.get_by_role("link").click()
    page.go_back()
    expect(page.locator(".pages")).to_contain_text("Page 2 of 2")
    # Nothing of it stays in the browser.
    kept = page.evaluate("JSON.stringify([{...sessionStorage}, {...localStorage}])")
    assert "Person" not in kept


def test_two_quick_steps_back_list_what_the_address_says(listed, clinic):
    page = listed
    page.get_by_label("Search").press_sequentially("person1", delay=20)
    expect(rows(page)).to_have_count(10)
    # A link that is swapped while it is clicked loses the click.
    expect(page).to_have_url(f"{clinic.address}/?search=person1")
    expect(page.locator(".htmx-request")).to_have_count(0)
    page.get_by_role("link", name="Patient", exact=True).click()
    expect(page).to_have_url(f"{clinic.address}/?search=person1&sort=patient")
    expect(page.locator(".htmx-request")).to_have_count(0)
    held = []
    page.route("**/app.js", lambda route: held.append(route), times=1)
    with page.expect_request("**/app.js"):
        page.evaluate("history.back()")
    # The page is loaded anew, and its scripts do not listen yet.
    expect(rows(page)).to_have_count(10)
    page.evaluate("history.back()")
    page.wait_for_function("location.search === ''")
    # Without polls, which would list the right studies seconds later.
    page.clock.install()
    held[0].continue_()
    expect(page.locator("caption")).to_have_text(re.compile("^60 studies"))
    expect(page.get_by_label("Search")).to_have_value("")
    assert page.url == f"{clinic.address}/"


def test_columns_sort_by_keys_and_the_focus_stays(listed):
    page = listed
    head = page.get_by_role("link", name="Study date")
    head.focus()
    for direction, order in (("descending", -1), ("ascending", 1)):
        page.keyboard.press("Enter")
        expect(page.get_by_role("columnheader", name="Study date")).to_have_attribute(
            "aria-sort", direction
        )
        dates = page.locator("td[data-label='Study date']").all_inner_texts()
        assert dates == sorted(dates, reverse=order < 0)
        expect(head).to_be_focused()


def test_dates_and_opinions_filter(listed):
    page = listed
    page.get_by_label("Study date from").fill("2026-01-05")
    page.get_by_label("Study date to").fill("2026-01-06")
    expect(rows(page)).to_have_count(4)
    page.locator("[name=opinions]").select_option("read")
    expect(page.locator(".empty")).to_contain_text("No study matches")
    page.get_by_role("link", name="show all").click()
    expect(rows(page)).to_have_count(50)
    expect(page.get_by_label("Study date from")).to_have_value("")


def test_the_list_refreshes_itself_and_keeps_focus_and_choice(listed, clinic):
    page = listed
    page.goto(f"{clinic.address}/?search=person0")
    expect(rows(page)).to_have_count(10)
    answers = []
    page.on(
        "response",
        lambda response: answers.append(response.status) if "search" in response.url else None,
    )
    box = rows(page).nth(3).get_by_role("checkbox")
    box.check()
    rows(page).nth(4).get_by_role("link").focus()
    page.evaluate("getSelection().selectAllChildren(document.querySelectorAll('td.patient')[2])")
    picked = page.evaluate("getSelection().toString()")
    assert picked.startswith("Person0")
    page.evaluate("document.querySelectorAll('.worklist tr').forEach((row) => { row.known = 1; })")
    with clinic.sessions.begin() as session:
        session.add(
            Study(
                title="new",
                content_hash="new",
                state=DONE,
                decision="tumor",
                priority=1,
                patient_name="Person00, New",
                received=now(),
            )
        )
        record(session, "worker", "scored")
    expect(rows(page)).to_have_count(11, timeout=15_000)
    expect(rows(page).first).to_contain_text("Person00, New")
    kept = "[...document.querySelectorAll('.worklist tr')].filter((row) => row.known).length"
    assert page.evaluate(kept) == 11
    expect(rows(page).nth(4).get_by_role("checkbox")).to_be_checked()
    expect(page.locator("#chosen")).to_have_text("1 study is chosen")
    expect(rows(page).nth(5).get_by_role("link")).to_be_focused()
    assert page.evaluate("getSelection().toString()") == picked
    with page.expect_response(lambda response: response.status == 304, timeout=15_000):
        pass
    assert set(answers) == {200, 304}


def test_the_list_of_a_session_that_ended_asks_to_sign_in_and_comes_back(listed, clinic):
    page = listed
    page.goto(f"{clinic.address}/?search=person0&sort=date")
    page.context.clear_cookies()
    expect(page.get_by_label("Password")).to_be_visible(timeout=15_000)
    page.get_by_label("Name").fill("rene")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{clinic.address}/?search=person0&sort=date")


def test_a_deep_link_is_followed_after_signing_in(page, clinic):
    with clinic.sessions() as session:
        study_id = session.query(Study).filter_by(title="case 07").one().id
    deep = f"{clinic.address}/studies/{study_id}?scan=0&list=sort%3Dpatient"
    page.goto(deep)
    page.get_by_label("Name").fill("rene")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(deep)
    expect(page.locator("h1")).to_have_text("Person49, Ann")


def press(page, key):
    """Press a key once the page's scripts listen: a study's heading is there before them."""
    page.wait_for_load_state("load")
    page.keyboard.press(key)


def test_keys_and_links_step_through_the_list(listed, clinic):
    page = listed
    page.goto(f"{clinic.address}/?sort=patient&search=person2")
    order = names(page)
    rows(page).nth(0).get_by_role("link").click()
    head = page.locator(".study-head")
    expect(head).to_contain_text(order[0])
    press(page, ",")  # nothing stands before the first
    expect(head).to_contain_text("Study 1 of 10")
    for name in order[1:3]:
        press(page, ".")
        expect(head).to_contain_text(name)
    page.get_by_role("link", name="Previous").click()
    expect(head).to_contain_text(order[1])
    page.get_by_label("Note").press_sequentially("a, b.")
    expect(head).to_contain_text(order[1])
    page.get_by_role("link", name="Study 2 of 10").click()
    expect(page).to_have_url(f"{clinic.address}/?search=person2&sort=patient")


def test_several_studies_are_chosen_exported_and_deleted(listed, clinic):
    page = listed
    page.goto(f"{clinic.address}/?search=person3&sort=patient")
    expect(page.get_by_role("button", name="Delete")).to_be_disabled()
    for number in (1, 4):
        rows(page).nth(number).get_by_role("checkbox").check()
    expect(page.locator("#chosen")).to_have_text("2 studies are chosen")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export as JSON lines").click()
    lines = [json.loads(line) for line in download.value.path().read_text().splitlines()]
    assert [line["findings"][0]["reason"] for line in lines] == ["not_mr"] * 2
    gone = [names(page)[number] for number in (1, 4)]
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete").click()
    expect(rows(page)).to_have_count(8)
    assert not set(gone) & set(names(page))
    assert "search=person3" in page.url
    page.get_by_label("Choose all studies of this page").check()
    expect(page.locator("#chosen")).to_have_text("8 studies are chosen")
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Delete").click()
    expect(rows(page)).to_have_count(8)


def test_times_are_those_of_the_reader_s_clock(chromium, clinic):
    with clinic.sessions() as session:
        received = session.query(Study).filter_by(title="case 05").one().received
    context = chromium.new_context(timezone_id="Asia/Kolkata")
    page = context.new_page()
    sign_in(page, clinic.address, "rene")
    local = received + timedelta(hours=5, minutes=30)
    shown = page.locator("tr", has_text="case 05").locator("time")
    expect(shown).to_have_text(f"{local:%Y-%m-%d %H:%M}")
    page.get_by_label("Search").fill("P-05")  # also in what htmx brings
    expect(rows(page)).to_have_count(1)
    expect(shown).to_have_text(f"{local:%Y-%m-%d %H:%M}")
    context.close()


@pytest.mark.parametrize("width", [390, 820, 1280, 1440])
def test_no_title_or_name_widens_the_list(listed, clinic, width):
    page = listed
    with clinic.sessions.begin() as session:
        if not session.query(Study).filter_by(content_hash="long").count():
            session.add(
                Study(
                    title=LONG,
                    description=LONG[:290],
                    content_hash="long",
                    state=DONE,
                    priority=0,
                    patient_name=LONG[:200],
                    patient_id=LONG[:60],
                    accession="9" * 60,
                    decision="tumor",
                    probability=0.5,
                    received=now(),
                )
            )
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(clinic.address)
    expect(rows(page).first).to_contain_text("a_title")
    root = "document.documentElement"
    assert page.evaluate(f"{root}.scrollWidth - {root}.clientWidth") <= 0
    for cell in rows(page).first.locator("td").all():
        box = cell.bounding_box()
        assert box is None or box["x"] + box["width"] <= width


def test_a_small_window_shows_six_studies_at_once(listed):
    page = listed
    page.set_viewport_size({"width": 1024, "height": 768})
    expect(rows(page).first).to_be_visible()
    boxes = [row.bounding_box() for row in rows(page).all()[:6]]
    # One study of this list has a title of many lines.
    height = sorted(box["height"] for box in boxes)[len(boxes) // 2]
    assert boxes[0]["y"] + 6 * (height + 8) <= 768, boxes
