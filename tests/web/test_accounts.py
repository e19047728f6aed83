import re
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from typer.testing import CliRunner

from meninx._cli import app
from meninx._errors import OptionError
from meninx._web.app import create_app
from meninx._web.auth.accounts import PASSWORDS, device_mark, hash_of_nobody
from meninx._web.store.database import AuditEntry, SignIn, Token, User, now
from meninx._web.store.settings import Settings
from tests.web.conftest import PASSWORD

# Routes of the login by a provider need no session.
OPEN = {"/sign-in", "/oidc", "/oidc/back", "/api/v1/health", "/api/v1/ready"}


def routes(app, *, filled=True):
    """Every route and method of the application, its parameters filled in or not."""
    values = {
        "study_id": "0" * 24,
        "upload_id": "0" * 24,
        "name": "0.nii",
        "user_id": "1",
        "key_id": "1",
    }
    from starlette.routing import Route

    def within(all_routes):
        for route in all_routes:
            if isinstance(route, Route) or hasattr(route, "methods"):
                yield route
            elif hasattr(route, "original_router"):
                yield from within(route.original_router.routes)

    for route in within(app.routes):
        path = route.path
        if path.startswith("/static"):
            continue
        for name, value in values.items() if filled else ():
            path = path.replace("{" + name + "}", value)
        for method in route.methods - {"HEAD", "OPTIONS"}:
            yield method, path


def test_no_route_is_open_but_those_that_have_to_be(server):
    client = server.client()
    asked = set()
    for method, path in routes(server.app):
        if path in OPEN or path.removeprefix("/api/v1") in OPEN:
            continue
        asked.add(path)
        answer = client.request(method, path, follow_redirects=False)
        if path.startswith("/api/"):
            assert answer.status_code == 401, (method, path, answer.status_code)
        else:
            where = answer.headers["location"].partition("?")[0]
            assert (answer.status_code, where) == (303, "/sign-in"), path
    assert len(asked) > 20
    assert {"/", "/audit", "/users", "/api/v1/studies", "/api/v1/openapi.json"} <= asked


def test_a_guess_at_a_password_costs_64_megabytes(monkeypatch):
    # The cost in use, before other tests lower it; unknown names take equally long.
    cost = "$argon2id$v=19$m=65536,t=3,p=4$"
    assert PASSWORDS.hash(PASSWORD).startswith(cost)
    monkeypatch.setattr("meninx._web.auth.accounts.PASSWORDS", PASSWORDS)
    assert hash_of_nobody.__wrapped__().startswith(cost)


def test_the_first_start_makes_one_administrator_who_must_set_a_password(tmp_path):
    passwords = []
    settings = Settings(data=tmp_path)
    app = create_app(settings, on_password=passwords.append)
    create_app(settings, on_password=passwords.append)
    (password,) = passwords
    from fastapi.testclient import TestClient

    client = TestClient(app)
    answer = client.post("/sign-in", data={"name": "admin", "password": password})
    assert "Set a password of your own first" in answer.text
    assert client.get("/").url.path == "/account"
    assert client.get("/api/v1/studies").status_code == 403
    (csrf,) = re.findall(r'name="csrf" content="([^"]+)"', answer.text)

    def change(old, new, again=""):
        data = {"csrf": csrf, "old": old, "password": new, "again": again or new}
        return client.post("/account/password", data=data)

    assert "too short" in change(password, "short").text
    assert "old password is wrong" in change(PASSWORD, PASSWORD).text
    assert "the two new passwords differ" in change(password, PASSWORD, PASSWORD + "x").text
    assert client.get("/").url.path == "/account"
    assert "Your password is set. Sign in with it." in change(password, PASSWORD).text
    assert client.get("/").url.path == "/sign-in"
    refused = client.post("/sign-in", data={"name": "admin", "password": "no"}).text
    assert "wrong name or password; 5 wrong ones in a row lock an account for 15 minutes" in refused
    assert 'name="name" value="admin"' in refused
    client.post("/sign-in", data={"name": "admin", "password": PASSWORD})
    assert client.get("/").url.path == "/"


def test_wrong_passwords_lock_an_account_for_a_while(server):
    client = server.client()

    def try_in(password):
        return client.post("/sign-in", data={"name": "rene", "password": password}).status_code

    assert [try_in("wrong")] * server.settings.lockout_attempts == [401] * 5
    for _ in range(server.settings.lockout_attempts):
        try_in("wrong")
    assert try_in(PASSWORD) == 401
    with server.web.sessions.begin() as session:
        user = session.query(User).filter_by(name="rene").one()
        assert user.locked_until > now() + timedelta(minutes=14)
        user.locked_until = now() - timedelta(seconds=1)
        actions = {entry.action for entry in session.query(AuditEntry)}
    assert {"account locked", "sign-in refused"} <= actions
    assert try_in(PASSWORD) == 200
    assert client.post("/sign-in", data={"name": "nobody", "password": "x" * 12}).status_code == 401


def test_whoever_has_signed_in_here_before_is_not_locked_out_by_others(server):
    known = server.browser("rene", by_form=True).client
    stranger = server.client()
    for _ in range(server.settings.lockout_attempts):
        stranger.post("/sign-in", data={"name": "rene", "password": "wrong"})
    right = {"name": "rene", "password": PASSWORD}
    assert stranger.post("/sign-in", data=right).status_code == 401
    assert known.post("/sign-in", data=right).status_code == 200
    # A mark is of one account, and of one password.
    marked = known.cookies.get("meninx-device")
    with server.web.sessions.begin() as session:
        user = session.query(User).filter_by(name="rene").one()
        assert marked == device_mark(user, server.web.key)
        user.locked_until = now() + timedelta(minutes=1)
        user.password += " "
    assert known.post("/sign-in", data=right).status_code == 401


def test_keys_end_and_are_revoked(server):
    browser, administrator = server.browser(), server.browser("ada")
    key = browser.key("read", days=2)
    client = server.client()

    def ask():
        headers = {"authorization": f"Bearer {key}"}
        return client.get("/api/v1/studies", headers=headers).status_code

    assert ask() == 200
    with server.web.sessions.begin() as session:
        (token,) = session.query(Token)
        left = token.ends - now()
        token.ends = now()
        user_id = token.user_id
    assert timedelta(days=1) < left <= timedelta(days=2)
    assert ask() == 401
    assert "ended" in browser.client.get("/account").text
    key = browser.key("read")
    administrator.post(f"/users/{user_id}/keys/delete")
    assert ask() == 401
    for wrong in ({"scope": "all", "days": 1}, {"scope": "read", "days": 400}):
        assert browser.post("/account/keys", name="k", **wrong).status_code == 400


def test_an_administrator_resets_a_password(server):
    browser, administrator = server.browser(), server.browser("ada")
    with server.web.sessions() as session:
        rene = session.query(User).filter_by(name="rene").one().id
    administrator.post(f"/users/{rene}/password", password="a first one")
    assert browser.client.get("/").url.path == "/sign-in"
    client = server.client()
    client.post("/sign-in", data={"name": "rene", "password": "a first one"})
    assert client.get("/").url.path == "/account"


def test_the_server_s_command_line_lets_the_last_administrator_in(server):
    for _ in range(server.settings.lockout_attempts):
        server.client().post("/sign-in", data={"name": "ada", "password": "wrong"})
    command = ["reset-password", "ada", "--data", str(server.settings.data)]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    password = result.output.split()[-1]
    client = server.client()
    client.post("/sign-in", data={"name": "ada", "password": password})
    assert client.get("/").url.path == "/account"
    command = ["reset-password", "rene", "--administrator", "--data", str(server.settings.data)]
    assert CliRunner().invoke(app, command).exit_code == 0
    with server.web.sessions() as session:
        assert session.query(User).filter_by(name="rene").one().role == "administrator"
    with pytest.raises(OptionError, match="no account 'eve'"):
        CliRunner().invoke(app, ["reset-password", "eve", *command[-2:]], catch_exceptions=False)
    elsewhere = ["reset-password", "--data", str(server.settings.data / "typo")]
    with pytest.raises(OptionError, match="no database"):
        CliRunner().invoke(app, elsewhere, catch_exceptions=False)


def test_sessions_are_kept_on_the_server_and_run_out(server):
    browser = server.browser(by_form=True)
    cookie = next(cookie for cookie in browser.client.cookies.jar if cookie.name == "meninx")
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite") == "strict"
    with server.web.sessions.begin() as session:
        (sign_in,) = session.query(SignIn)
        assert cookie.value not in (sign_in.digest, sign_in.csrf)
        sign_in.seen = now() - timedelta(hours=server.settings.session_hours, seconds=1)
    assert browser.client.get("/").url.path == "/sign-in"
    again = server.browser()
    again.post("/sign-out")
    again.client.cookies.set("meninx", cookie.value)
    assert again.client.get("/").url.path == "/sign-in"


def test_cookies_go_over_tls_alone_where_that_is_set(tmp_path):
    from tests.web.conftest import Server

    server = Server(Settings(data=tmp_path, secure_cookies=True))
    answer = server.client().post(
        "/sign-in", data={"name": "ada", "password": PASSWORD}, follow_redirects=False
    )
    assert "Secure" in answer.headers["set-cookie"]


def test_forms_without_the_session_s_word_change_nothing(server):
    browser = server.browser("ada")
    for csrf in ("", "wrong", server.browser("rene").csrf):
        answer = browser.client.post(
            "/users", data={"csrf": csrf, "name": "eve", "password": PASSWORD, "role": "reader"}
        )
        assert answer.status_code == 403
        answer = browser.client.post(
            "/api/v1/uploads", json={"title": "x"}, headers={"x-csrf-token": csrf}
        )
        assert answer.status_code == 403
    assert "eve" not in browser.client.get("/users").text


def test_readers_do_not_see_what_administrators_do(server):
    reader, administrator = server.browser("rene"), server.browser("ada")
    for path in ("/users", "/audit"):
        assert reader.client.get(path).status_code == 403
        assert administrator.client.get(path).status_code == 200
        assert path not in reader.client.get("/").text
    assert reader.post("/users", name="eve", password=PASSWORD, role="reader").status_code == 403
    assert reader.post("/users/2/active", active="false").status_code == 403


def test_an_administrator_adds_and_closes_accounts(server):
    administrator = server.browser("ada")
    assert (
        administrator.post("/users", name="eve", password=PASSWORD, role="reader").status_code
        == 303
    )
    again = administrator.post("/users", name="eve", password=PASSWORD, role="reader")
    assert "taken" in again.text
    bad = administrator.post("/users", name="<b>", password=PASSWORD, role="reader")
    assert "expected letters" in bad.text
    assert 'value="&lt;b&gt;"' in bad.text  # what was typed is still there
    typed = administrator.post("/users", name="kim", password="short", role="administrator")
    assert 'value="kim"' in typed.text and "<option selected>administrator" in typed.text
    client = server.client()
    client.post("/sign-in", data={"name": "eve", "password": PASSWORD})
    assert client.get("/").url.path == "/account"
    with server.web.sessions() as session:
        eve = session.query(User).filter_by(name="eve").one().id
    administrator.post(f"/users/{eve}/active", active="false")
    assert client.get("/").url.path == "/sign-in"
    answer = client.post("/sign-in", data={"name": "eve", "password": PASSWORD})
    assert answer.status_code == 401


def test_keys_open_the_api_and_are_shown_once(server):
    browser = server.browser()
    key = browser.key()
    assert key not in browser.client.get("/account").text
    client = server.client()
    headers = {"authorization": f"Bearer {key}"}
    assert client.get("/api/v1/studies", headers=headers).json() == {"count": 0, "studies": []}
    begun = client.post("/api/v1/uploads", json={}, headers=headers)
    assert begun.status_code == 201
    assert client.get("/api/v1/studies", headers={"authorization": "Bearer x"}).status_code == 401
    (number,) = re.findall(r"/account/keys/(\d+)/delete", browser.client.get("/account").text)
    browser.post(f"/account/keys/{number}/delete")
    assert client.get("/api/v1/studies", headers=headers).status_code == 401


def test_answers_forbid_scripts_frames_and_other_hosts(server):
    headers = server.client().get("/sign-in").headers
    policy = dict(
        part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert "http" not in " ".join(policy.values())


def test_too_many_attempts_are_put_off_and_nothing_else(tmp_path):
    from tests.web.conftest import Server

    server = Server(Settings(data=tmp_path, attempts_per_minute=3, lockout_attempts=100))
    browser = server.browser("ada")
    client = server.client()

    def try_in(name, password="wrong"):
        return client.post("/sign-in", data={"name": name, "password": password})

    assert [try_in("rene").status_code for _ in range(4)] == [401, 401, 401, 429]
    assert int(try_in("rene").headers["retry-after"]) > 0
    # Behind a proxy all have one address: wrong keys of one client block no other client.
    assert try_in("ada", PASSWORD).status_code == 200
    assert {client.get("/api/v1/health").status_code for _ in range(50)} == {200}
    assert {browser.client.get("/api/v1/studies").status_code for _ in range(50)} == {200}


def test_wrong_keys_are_put_off_and_right_ones_are_not(tmp_path):
    from tests.web.conftest import Server

    server = Server(Settings(data=tmp_path, attempts_per_minute=3))
    browser = server.browser()
    key = browser.key()
    client = server.client()

    def ask(secret):
        headers = {"authorization": f"Bearer {secret}"}
        return client.get("/api/v1/studies", headers=headers).status_code

    assert [ask("wrong") for _ in range(4)] == [401, 401, 401, 429]
    assert ask(key) == 200


@pytest.mark.parametrize("path", ["/studies/0", "/nothing", "/api/v1/nothing"])
def test_what_is_not_there_is_said_in_words(server, path):
    answer = server.browser().client.get(path)
    assert answer.status_code == 404
    assert ("<main" in answer.text) != path.startswith("/api")


HTMX = {"hx-request": "true"}
GOAL = "/studies/abc?scan=1&list=search%3Ddoe"


def test_signing_in_leads_to_where_a_link_led(server):
    client = server.client()
    answer = client.get(GOAL, follow_redirects=False)
    form = client.get(answer.headers["location"])
    (goal,) = re.findall(r'name="next" value="([^"]+)"', form.text)
    assert goal.replace("&amp;", "&") == GOAL
    sent = {"name": "rene", "password": "wrong", "next": GOAL}
    assert f'value="{goal}"' in client.post("/sign-in", data=sent).text
    answer = client.post("/sign-in", data=sent | {"password": PASSWORD}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, GOAL)


@pytest.mark.parametrize(
    ("method", "headers", "goal"),
    [
        ("POST", {"referer": f"http://testserver{GOAL}"}, GOAL),
        ("POST", {"referer": "http://elsewhere.example/x"}, None),
        ("POST", {}, None),
        ("GET", HTMX | {"hx-current-url": "http://testserver/?sort=date"}, "/?sort=date"),
        ("GET", HTMX | {"hx-current-url": "http://elsewhere.example/?x"}, None),
    ],
)
def test_a_session_that_ended_leads_back_to_the_page_that_was_open(server, method, headers, goal):
    path = "/studies/abc/opinions" if method == "POST" else "/"
    answer = server.client().request(method, path, headers=headers, follow_redirects=False)
    where = answer.headers.get("location") or answer.headers["hx-redirect"]
    query = parse_qs(urlsplit(where).query)
    assert (urlsplit(where).path, query.get("next")) == ("/sign-in", goal and [goal])


@pytest.mark.parametrize(
    "goal",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "evil.example",
        "",
        " /x",
        "/x\r\nSet-Cookie: a=b",
        "/\n/evil.example",
        "/sign-out",
        "///evil.example",
        "/x y",
    ],
)
def test_signing_in_leads_nowhere_else(server, goal):
    client = server.client()
    assert 'name="next"' not in client.get("/sign-in", params={"next": goal}).text
    sent = {"name": "rene", "password": PASSWORD, "next": goal}
    answer = client.post("/sign-in", data=sent, follow_redirects=False)
    assert answer.headers["location"] == "/"
