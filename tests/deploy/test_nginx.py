"""deploy/nginx.conf in front of the web application, by Debian's nginx."""

import re
import shutil
import ssl
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar

import pytest

from meninx._web.auth.accounts import add_user
from meninx._web.store.database import migrate, open_database, sessions_of
from meninx._web.store.settings import Settings
from tests.cli.test_config import certificate
from tests.clinic.conftest import free_port, listening, wait_for
from tests.deploy.image_steps import ROOT
from tests.web.conftest import PASSWORD, served

pytestmark = [pytest.mark.slow]


@pytest.fixture
def proxied(tmp_path, monkeypatch):
    """Yield the address of nginx in front of a server, and its log."""
    if not shutil.which("nginx"):
        pytest.skip("nginx is not installed (Debian: nginx-light)")
    settings = Settings(data=tmp_path / "web")
    settings.data.mkdir()
    migrate(settings.address)
    engine = open_database(settings.address)
    with sessions_of(engine).begin() as session:
        add_user(session, "rene", PASSWORD)
    engine.dispose()
    monkeypatch.setenv("MENINX_WEB_SECURE_COOKIES", "1")
    ports = {"80": free_port(), "443": free_port()}
    pem = certificate(tmp_path / "tls.pem", 30)
    with served(settings.data, "--no-worker") as address:
        text = (ROOT / "deploy/nginx.conf").read_text(encoding="utf-8")
        for before, after in (
            ("http://127.0.0.1:8000", address),
            ("/etc/ssl/meninx.pem", str(pem)),
            ("/etc/ssl/private/meninx.key", str(pem)),
            ("/var/log/nginx/meninx.log", f"{tmp_path}/access.log"),
            ("listen [::]:80;\n", "\n"),
            ("listen [::]:443 ssl;\n", "\n"),
            ("listen 80;", f"listen 127.0.0.1:{ports['80']};"),
            ("listen 443 ssl;", f"listen 127.0.0.1:{ports['443']} ssl;"),
        ):
            assert before in text
            text = text.replace(before, after)
        paths = " ".join(
            f"{kind}_temp_path {tmp_path}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (tmp_path / "nginx.conf").write_text(
            f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log; events {{}}\n"
            f"user root; http {{ {paths}\n{text}\n}}",
            encoding="utf-8",
        )
        command = ["nginx", "-c", str(tmp_path / "nginx.conf")]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as nginx:
            try:
                wait_for(lambda: listening(ports["443"]), 20)
                yield f"https://127.0.0.1:{ports['443']}", tmp_path / "access.log"
            finally:
                nginx.terminate()


def test_a_reader_signs_in_over_tls_and_no_search_word_is_logged(proxied):
    address, log = proxied
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    cookies = CookieJar()
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=context), urllib.request.HTTPCookieProcessor(cookies)
    )
    form = urllib.parse.urlencode({"name": "rene", "password": PASSWORD}).encode()
    with opener.open(f"{address}/sign-in", form, timeout=20) as page:
        text = page.read().decode()
        assert page.headers["Strict-Transport-Security"]
    assert "meninx" in {cookie.name for cookie in cookies}
    assert all(cookie.secure for cookie in cookies)
    (csrf,) = re.findall(r'name="csrf" content="([^"]+)"', text)
    # More than nginx's own limit of 1 MiB, and the token of the page over TLS counts.
    headers = {"x-csrf-token": csrf, "Content-Type": "application/json"}
    begun = urllib.request.Request(f"{address}/api/v1/uploads", b"{}", headers)
    with opener.open(begun, timeout=20) as response:
        upload = response.read().decode().partition('"id":"')[2].partition('"')[0]
    part = urllib.request.Request(
        f"{address}/api/v1/uploads/{upload}/parts?name=big.nii", b"0" * 5_000_000, headers
    )
    part.method = "PUT"
    with opener.open(part, timeout=60) as response:
        assert response.read() == b'{"offset":5000000}'
    with opener.open(f"{address}/?search=Doe", timeout=20) as page:
        assert page.status == 200
    lines = log.read_text(encoding="utf-8")
    assert '"GET /" 200' in lines
    assert "Doe" not in lines and "big.nii" not in lines
