"""Into which project an upload goes, and which project's studies are listed."""

import html
import re

import pytest
from playwright.sync_api import expect

from meninx._web.auth.accounts import add_user
from meninx._web.store.database import Project, Study, migrate, open_database, sessions_of
from meninx._web.store.settings import Settings
from tests.web.browsing import sign_in
from tests.web.conftest import PASSWORD, served


def add_two_projects(session):
    """Add `trial` beside `general`; uma is in both, rene in general alone."""
    session.add(Project(name="trial"))
    session.flush()
    add_user(session, "uma", PASSWORD, projects=[1, 2])


@pytest.fixture
def uma(server):
    with server.web.sessions.begin() as session:
        add_two_projects(session)
    return server.browser("uma")


def upload_into(browser, project, data=b"words"):
    """Upload one file into a project; return the study."""
    begin = {"title": project or "first", "project": project}
    begun = browser.client.post("/api/v1/uploads", json=begin, headers=browser.headers).json()
    address = f"/api/v1/uploads/{begun['id']}"
    browser.client.put(
        f"{address}/parts", params={"name": "a.txt"}, content=data, headers=browser.headers
    )
    return browser.client.post(f"{address}/finish", headers=browser.headers).json()


def test_a_study_names_its_project(uma, server):
    assert upload_into(uma, "")["project"] == "general"
    made = upload_into(uma, "trial")
    assert made["project"] == "trial"
    assert made["studies"][0]["project"] == "trial"
    response = uma.client.get(f"/api/v1/studies/{made['id']}").json()
    assert response["project"] == "trial"
    listed = uma.client.get("/api/v1/studies").json()["studies"]
    assert {(study["title"], study["project"]) for study in listed} == {
        ("first", "general"),
        ("trial", "trial"),
    }
    others = server.browser("rene").client.get("/api/v1/studies").json()["studies"]
    assert [study["project"] for study in others] == ["general"]


def test_a_choice_of_projects_is_offered_to_members_of_several_only(uma, server):
    page = uma.client.get("/").text
    assert '<select id="project"><option>general</option><option>trial</option>' in page
    assert 'id="project"' not in server.browser("rene").client.get("/").text
    # An administrator may put a study anywhere.
    assert "<option>trial</option>" in server.browser("ada").client.get("/").text


def test_the_worklist_is_filtered_by_project(uma, server):
    for number in range(51):
        upload_into(uma, "trial", f"{number}".encode())
    upload_into(uma, "general")

    def titles(browser, project):
        listed = browser.client.get("/api/v1/studies", params={"project": project}).json()
        return listed["count"], {study["project"] for study in listed["studies"]}

    assert titles(uma, "trial") == (51, {"trial"})
    assert titles(uma, "general") == (1, {"general"})
    assert titles(uma, "")[0] == 52
    assert titles(uma, "another") == (0, set())
    # Nobody reaches another project by its name.
    assert titles(server.browser("rene"), "trial") == (0, set())
    page = uma.client.get("/", params={"project": "trial"}).text
    assert '<select name="project"><option value="">all</option>' in page
    assert "<option selected>trial</option>" in page
    assert "51 studies" in page
    # The next page is of the same project.
    (following,) = re.findall(r'href="(/\?[^"]*page=2)"', page)
    assert "project=trial" in following
    assert uma.client.get(html.unescape(following)).text.count('href="/studies/') == 1
    assert 'name="project"' not in server.browser("rene").client.get("/").text
    table = uma.client.get("/", params={"project": "none"}, headers={"hx-request": "true"}).text
    assert "No study matches" in table


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_page_uploads_into_the_project_that_was_chosen(page, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    settings = Settings(data=data)
    migrate(settings.address)
    engine = open_database(settings.address)
    with sessions_of(engine).begin() as session:
        add_two_projects(session)
    with served(data, "--no-worker") as address:
        sign_in(page, address, "uma")
        for number, project in enumerate(("trial", "general")):
            file = tmp_path / f"{project}.txt"
            file.write_text(str(number))
            page.get_by_label("Into the project").select_option(project)
            page.locator("#files").set_input_files(file)
            expect(page.locator("#studies tbody tr")).to_have_count(number + 1)
    with sessions_of(engine)() as session:
        assert {study.title: study.project for study in session.query(Study)} == {
            "trial.txt": "trial",
            "general.txt": "general",
        }
    engine.dispose()
