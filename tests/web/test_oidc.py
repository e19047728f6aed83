"""Sign in with a small provider of our own, over real HTTP."""

import base64
import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from meninx._web.store.database import User
from meninx._web.store.settings import Settings
from tests.web.conftest import Server


class Provider(BaseHTTPRequestHandler):
    """Say yes to everybody, and hold them to PKCE."""

    key = RSAKey.generate_key(2048, {"kid": "1"})
    asked: dict[str, dict[str, str]] = {}
    claims: dict[str, object] = {}
    metadata: dict[str, object] = {}
    header: dict[str, str] = {"alg": "RS256", "kid": "1"}
    signer: object = key

    @property
    def issuer(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def log_message(self, *_):
        pass

    def tell(self, values, status=200):
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(values).encode())

    def do_GET(self):
        if self.path.endswith("openid-configuration"):
            self.tell(
                {
                    "issuer": self.issuer,
                    "authorization_endpoint": f"{self.issuer}/go",
                    "token_endpoint": f"{self.issuer}/token",
                    "jwks_uri": f"{self.issuer}/keys",
                }
                | self.metadata
            )
        elif self.path == "/keys":
            self.tell({"keys": [self.key.as_dict(private=False)]})

    def do_POST(self):
        length = int(self.headers["content-length"])
        sent = {k: v[0] for k, v in parse_qs(self.rfile.read(length).decode()).items()}
        begun = self.asked[sent["code"]]
        proof = hashlib.sha256(sent["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(proof).rstrip(b"=").decode() != begun["code_challenge"]:
            self.tell({"error": "invalid_grant"}, 400)
            return
        claims = {
            "iss": self.issuer,
            "aud": "meninx",
            "sub": "77",
            "exp": int(time.time()) + 60,
            "iat": int(time.time()),
            "nonce": begun["nonce"],
            "preferred_username": "rene",
        } | self.claims
        token = jwt.encode(self.header, claims, self.signer, algorithms=[self.header["alg"]])
        self.tell({"access_token": "x", "token_type": "Bearer", "id_token": token})


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with ThreadingHTTPServer(("127.0.0.1", 0), Provider) as provider:
        thread = threading.Thread(target=provider.serve_forever)
        thread.start()
        issuer = f"http://127.0.0.1:{provider.server_port}"
        data = tmp_path_factory.mktemp("oidc")
        yield Server(Settings(data=data, oidc_issuer=issuer, oidc_client="meninx", oidc_secret="s"))
        provider.shutdown()
        thread.join()


@pytest.fixture
def there(running):
    """Return a server that has not asked its provider yet, and an honest provider."""
    Provider.claims, Provider.metadata = {}, {}
    Provider.header, Provider.signer = {"alg": "RS256", "kid": "1"}, Provider.key
    running.app.state.provider.server_metadata.clear()
    return running


def go(client, goal="/"):
    """Walk to the provider; return what it would send back."""
    answer = client.get("/oidc", params={"next": goal}, follow_redirects=False)
    assert answer.status_code == 303
    asked = {k: v[0] for k, v in parse_qs(urlsplit(answer.headers["location"]).query).items()}
    assert asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == "http://testserver/oidc/back"
    Provider.asked["code-1"] = asked
    return {"state": asked["state"], "code": "code-1"}


def test_people_of_the_provider_become_readers_and_keep_their_accounts(there):
    client = there.client()
    assert "Sign in with your organization" in client.get("/sign-in").text
    for _ in range(2):
        answer = client.get("/oidc/back", params=go(client))
        assert answer.status_code == 200, answer.text
        page = client.get("/")
        assert page.url.path == "/"
    # The local account of that name belongs to another person.
    assert "rene-2" in page.text
    with there.web.sessions() as session:
        user = session.query(User).filter(User.subject.is_not(None)).one()
        assert (user.name, user.role) == ("rene-2", "reader")


@pytest.mark.parametrize(
    ("goal", "where"),
    [("/studies/abc?scan=1", "/studies/abc?scan=1"), ("//evil.example", "/"), ("https://e.x", "/")],
)
def test_a_login_by_the_provider_returns_to_the_requested_page(there, goal, where):
    client = there.client()
    page = client.get("/oidc/back", params=go(client, goal)).text
    assert f'content="0; url={where}"' in page
    assert f'<a href="{where}">' in page
    form = client.get("/sign-in", params={"next": "/studies/abc?scan=1"}).text
    assert 'href="/oidc?next=%2Fstudies%2Fabc%3Fscan%3D1"' in form


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "other"},
        {"nonce": None},
        {"aud": "other"},
        {"aud": ["meninx", "other"]},
        {"azp": "other"},
        {"iss": "http://other"},
        {"exp": 1},
        {"exp": None},
        {"sub": ""},
    ],
)
def test_a_token_with_wrong_claims_is_refused(there, claims):
    client = there.client()
    back = go(client)
    Provider.claims = claims
    assert client.get("/oidc/back", params=back).status_code == 400
    assert client.get("/").url.path == "/sign-in"


@pytest.mark.parametrize(
    ("header", "signer"),
    [
        ({"alg": "none"}, None),
        ({"alg": "HS256", "kid": "1"}, OctKey.import_key("s" * 32)),
        ({"alg": "RS256", "kid": "1"}, RSAKey.generate_key(2048, {"kid": "1"})),
        ({"alg": "RS256", "kid": "2"}, RSAKey.generate_key(2048, {"kid": "2"})),
    ],
    ids=["none", "shared secret", "another's key", "unknown key"],
)
def test_a_token_that_the_provider_did_not_sign_is_refused(there, header, signer):
    client = there.client()
    # Even where the provider says that it might.
    Provider.metadata = {"id_token_signing_alg_values_supported": ["none", "HS256", "RS256"]}
    back = go(client)
    Provider.header, Provider.signer = header, signer
    assert client.get("/oidc/back", params=back).status_code == 400
    assert client.get("/").url.path == "/sign-in"


def test_changed_keys_of_the_provider_are_loaded_again(there, monkeypatch):
    client = there.client()
    assert client.get("/oidc/back", params=go(client)).status_code == 200
    key = RSAKey.generate_key(2048, {"kid": "2"})
    monkeypatch.setattr(Provider, "key", key)
    Provider.header, Provider.signer = {"alg": "RS256", "kid": "2"}, key
    assert client.get("/oidc/back", params=go(client)).status_code == 200


def test_a_provider_with_another_issuer_is_not_trusted(there):
    Provider.metadata = {"issuer": "http://other"}
    client = there.client()
    answer = client.get("/oidc", follow_redirects=False)
    assert answer.status_code == 400
    assert "names the issuer" in answer.text
    Provider.metadata = {}
    go(client)


def test_a_provider_that_does_not_answer_is_reported(there, monkeypatch):
    # Nothing listens there: the port is reserved.
    monkeypatch.setattr(there.app.state.provider, "_server_metadata_url", "http://127.0.0.1:9")
    answer = there.client().get("/oidc", follow_redirects=False)
    assert answer.status_code == 400
    assert "does not answer; use a password" in answer.text


def test_the_cookie_of_a_login_is_no_session(there, monkeypatch):
    client = there.client()
    answer = client.get("/oidc", follow_redirects=False)
    cookie = answer.headers["set-cookie"].lower()
    for part in ("meninx-oidc=", "path=/oidc;", "max-age=600", "httponly", "samesite=lax"):
        assert part in cookie
    assert client.get("/").url.path == "/sign-in"
    # Signed: one letter less, or one too many, and it says nothing.
    asked = {k: v[0] for k, v in parse_qs(urlsplit(answer.headers["location"]).query).items()}
    Provider.asked["code-1"] = asked
    back = {"state": asked["state"], "code": "code-1"}
    value = client.cookies["meninx-oidc"]
    payload, _, signature = value.partition(".")
    for forged in (value[:-1], f"{payload}A.{signature}", payload, "null"):
        other = there.client()
        other.cookies.set("meninx-oidc", forged, path="/oidc")
        assert other.get("/oidc/back", params=back).status_code == 400
    # And short-lived.
    later = time.time() + 601
    monkeypatch.setattr("itsdangerous.timed.time.time", lambda: later)
    assert client.get("/oidc/back", params=back).status_code == 400


def test_a_callback_works_once(there):
    client = there.client()
    back = go(client)
    value = client.cookies["meninx-oidc"]
    assert client.get("/oidc/back", params=back).status_code == 200
    assert "meninx-oidc" not in client.cookies
    assert value
    assert there.client().get("/oidc/back", params=back).status_code == 400


def test_a_callback_needs_a_login_in_the_same_browser(there):
    client = there.client()
    back = go(client)
    assert there.client().get("/oidc/back", params=back).status_code == 400
    assert client.get("/oidc/back", params=back | {"state": "other"}).status_code == 400
    assert client.get("/oidc/back", params={"state": back["state"]}).status_code == 400
    client.cookies.clear()
    client.cookies.set("meninx-oidc", "00.11")
    assert client.get("/oidc/back", params=back).status_code == 400


def test_without_a_provider_there_is_no_login_route(server):
    assert server.client().get("/oidc").status_code == 404
    assert "organization" not in server.client().get("/sign-in").text
