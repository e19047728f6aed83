"""What a reader does before the page's scripts listen is not lost, and nothing is there in vain."""

import re
from types import SimpleNamespace

import pytest
from playwright.sync_api import expect

from meninx._web.store.settings import Settings
from tests.web.browsing import held, ready, sign_in
from tests.web.conftest import Server, served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# Controls that can be used, and that no form sends without a script.
IN_VAIN = """(listening) => [...document.querySelectorAll("button, input, select, textarea")]
  .filter((control) => {
    if (listening && control.matches(listening)) return false;
    if (control.matches(":disabled, [type=hidden]") || !control.checkVisibility()) return false;
    const submits = control.form?.hasAttribute("action") || control.form?.method === "get";
    const asks = control.dataset.confirm ?? control.form?.dataset.confirm;
    return !submits || control.type === "button" || (asks && control.type === "submit");
  }).map((control) => control.id || control.outerHTML)"""


@pytest.fixture(scope="module")
def clinic(tmp_path_factory, series, sick):
    """A server without a worker: a study with a tumor, and one that waits."""
    data = tmp_path_factory.mktemp("served")
    server = Server(Settings(data=data))
    rene = server.browser()
    study = rene.upload(series, "with a tumor").json()["id"]
    server.work(study)
    waiting = rene.upload({"later.nii": b"not yet"}, "waits").json()["id"]
    server.jobs.close()
    with served(data, "--no-worker") as address:
        yield SimpleNamespace(address=address, study=study, waiting=waiting)


def scripted(page):
    expect(page.locator("html[data-script]")).to_be_attached()


def test_files_that_were_chosen_before_the_script_are_sent(page, clinic, tmp_path):
    (tmp_path / "early.txt").write_text("words")
    sign_in(page, clinic.address, "rene")
    with held(page, "**/app.js"):
        page.goto(clinic.address, wait_until="commit")
        expect(page.locator("#drop-words")).to_have_text("A study")
        page.locator("#files").set_input_files(tmp_path / "early.txt")
    expect(page.locator(".upload-words").first).to_contain_text("Sent; it is being scored.")
    expect(page.locator("#drop-words")).to_have_text("Drop a study here")
    assert page.locator("#files").input_value() == ""


def test_what_was_typed_and_checked_before_the_script_counts(page, clinic):
    sign_in(page, clinic.address, "rene")
    for act, rows in (
        (lambda: page.get_by_label("Search").press_sequentially("tumor"), 1),
        (lambda: page.get_by_label("State").select_option("waiting"), None),
    ):
        with held(page, "**/app.js"):
            page.goto(clinic.address, wait_until="commit")
            act()
        expect(page.locator("caption")).to_contain_text("that match")
        expect(page).to_have_url(re.compile("search=tumor|state=waiting"))
        if rows:
            expect(page.locator(".worklist tbody tr")).to_have_count(rows)
    with held(page, "**/app.js"):
        page.goto(clinic.address, wait_until="commit")
        page.locator("#choose-all").check()
    scripted(page)
    count = page.locator(".worklist tbody tr").count()
    expect(page.locator("#chosen")).to_have_text(f"{count} studies are chosen")


@pytest.mark.parametrize("path", ["/", "/account", "/users", "/statistics", "/audit"])
def test_no_control_is_there_in_vain_without_a_script(page, clinic, path):
    sign_in(page, clinic.address, "ada")
    page.route("**/*.js", lambda route: route.abort())
    page.goto(clinic.address + path)
    # What is chosen and checked there counts once the script listens.
    known = {"files", "folder", "together", "spacing", "choose-all"}
    assert set(page.evaluate(IN_VAIN, "")) <= known
    # After a while the page says what is missing.
    expect(page.locator(".late")).to_be_hidden()
    page.evaluate("document.getAnimations().forEach((animation) => animation.finish())")
    expect(page.locator(".late")).to_be_visible()


@pytest.mark.parametrize(
    ("scripts", "listening"), [("**/*.js", ""), ("**/viewer.js", '[data-needs="app"]')]
)
def test_no_control_of_a_study_is_there_in_vain_without_a_script(page, clinic, scripts, listening):
    sign_in(page, clinic.address, "ada")
    page.route(scripts, lambda route: route.abort())
    for study in (clinic.waiting, clinic.study):
        page.goto(f"{clinic.address}/studies/{study}")
        assert not page.evaluate(IN_VAIN, listening)
    page.evaluate("document.getAnimations().forEach((animation) => animation.finish())")
    expect(page.locator(".late")).to_be_visible()


def test_opinions_and_neighbors_do_not_wait_for_the_images(page, clinic):
    sign_in(page, clinic.address, "rene")
    with held(page, "**/files/0.slices"):
        page.goto(f"{clinic.address}/studies/{clinic.study}")
        expect(page.locator("[data-do=ruler]")).to_be_disabled()
        expect(page.locator("#regions button").first).to_be_disabled()
        page.get_by_label("Note").fill("before the images")
        page.get_by_role("button", name="Can't tell").click()
        expect(page.locator("#opinion-said")).to_contain_text("Stored")
        expect(page.locator(".opinion")).to_contain_text("before the images")
        assert "stored=1" not in page.url
    ready(page)
    expect(page.locator("[data-do=ruler]")).to_be_enabled()
    expect(page.locator("#regions button").first).to_be_enabled()
    with held(page, "**/files/0.slices"):
        page.goto(f"{clinic.address}/studies/{clinic.study}")
        expect(page.locator("#where")).to_have_text("Loading images")
        scripted(page)
        page.keyboard.press(",")
        page.keyboard.press(".")
        expect(page).not_to_have_url(re.compile(clinic.study))


def test_the_theme_changes_and_the_focus_stays_while_a_study_waits(page, clinic):
    sign_in(page, clinic.address, "rene")
    page.goto(f"{clinic.address}/studies/{clinic.waiting}")
    page.locator("#urgent").focus()
    for _ in range(2):
        with page.expect_response(lambda response: clinic.waiting in response.url):
            pass
    expect(page.locator("#urgent")).to_be_focused()
    before = page.evaluate("getComputedStyle(document.documentElement).colorScheme")
    page.get_by_role("button", name="Light or dark").click()
    after = page.evaluate("getComputedStyle(document.documentElement).colorScheme")
    assert {before, after} > {after}
    assert not page.faults
