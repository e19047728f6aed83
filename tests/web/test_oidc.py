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
from joserfc.jwk import RSAKey

from meninx.web.database import User
from meninx.web.oidc import provider
from meninx.web.settings import Settings
from tests.web.conftest import Server


class Provider(BaseHTTPRequestHandler):
    """Say yes to everybody, and hold them to PKCE."""

    key = RSAKey.generate_key(2048, {"kid": "1"})
    asked: dict[str, dict[str, str]] = {}
    claims: dict[str, object] = {}

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
            self.tell({"issuer": self.issuer, "authorization_endpoint": f"{self.issuer}/go",
                       "token_endpoint": f"{self.issuer}/token",
                       "jwks_uri": f"{self.issuer}/keys"})  # fmt: skip
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
        claims = {"iss": self.issuer, "aud": "meninx", "sub": "77", "exp": int(time.time()) + 60,
                  "nonce": begun["nonce"], "preferred_username": "rene"} | self.claims  # fmt: skip
        token = jwt.encode({"alg": "RS256", "kid": "1"}, claims, self.key)
        self.tell({"access_token": "x", "token_type": "Bearer", "id_token": token})


@pytest.fixture
def there(tmp_path):
    provider.cache_clear()
    Provider.claims = {}
    with ThreadingHTTPServer(("127.0.0.1", 0), Provider) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        issuer = f"http://127.0.0.1:{running.server_port}"
        yield Server(
            Settings(data=tmp_path, oidc_issuer=issuer, oidc_client="meninx", oidc_secret="s")
        )
        running.shutdown()
        thread.join()


def go(client):
    """Walk to the provider; return what it would send back."""
    answer = client.get("/oidc", follow_redirects=False)
    assert answer.status_code == 303
    asked = {k: v[0] for k, v in parse_qs(urlsplit(answer.headers["location"]).query).items()}
    assert asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == "http://testserver/oidc/back"
    Provider.asked["code-1"] = asked
    return {"state": asked["state"], "code": "code-1"}


def test_people_of_the_provider_become_readers_and_stay_themselves(there):
    client = there.client()
    assert "Sign in with your organization" in client.get("/sign-in").text
    for _ in range(2):
        answer = client.get("/oidc/back", params=go(client))
        assert answer.status_code == 200, answer.text
        page = client.get("/")
        assert page.url.path == "/"
    # The local account of that name is somebody else's.
    assert "rene-2" in page.text
    with there.web.sessions() as session:
        user = session.query(User).filter(User.subject.is_not(None)).one()
        assert (user.name, user.role) == ("rene-2", "reader")


@pytest.mark.parametrize(
    "claims",
    [{"nonce": "other"}, {"aud": "other"}, {"iss": "http://other"}, {"exp": 1}, {"sub": ""}],
)
def test_a_token_that_does_not_hold_opens_nothing(there, claims):
    client = there.client()
    back = go(client)
    Provider.claims = claims
    assert client.get("/oidc/back", params=back).status_code == 400
    assert client.get("/").url.path == "/sign-in"


def test_nobody_comes_back_who_did_not_go(there):
    client = there.client()
    back = go(client)
    assert there.client().get("/oidc/back", params=back).status_code == 400
    assert client.get("/oidc/back", params=back | {"state": "other"}).status_code == 400
    assert client.get("/oidc/back", params={"state": back["state"]}).status_code == 400
    client.cookies.clear()
    client.cookies.set("meninx-oidc", "00.11")
    assert client.get("/oidc/back", params=back).status_code == 400


def test_without_a_provider_there_is_no_such_way(server):
    assert server.client().get("/oidc").status_code == 404
    assert "organization" not in server.client().get("/sign-in").text
