import hashlib
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "src" / "meninx" / "_web" / "static" / "built"
FRONTEND = ROOT / "frontend"


def test_the_bundle_was_built_from_the_sources():
    digest = hashlib.sha256()
    sources = [*FRONTEND.glob("src/**/*.js"), FRONTEND / "vite.config.js"]
    sources.append(FRONTEND / "package-lock.json")
    for path in sorted(sources, key=lambda path: path.relative_to(FRONTEND).as_posix()):
        digest.update(path.read_bytes())
    assert (BUILT / "SOURCES").read_text().strip() == digest.hexdigest(), "run make web"


def test_pages_load_nothing_from_elsewhere():
    templates = list((ROOT / "src" / "meninx" / "_web" / "templates").glob("*.html"))
    assert templates
    for path in templates:
        text = path.read_text(encoding="utf-8")
        assert "http://" not in text, path
        assert "https://" not in text, path
        if path.name != "report.html":  # for the PDF alone
            assert "<style" not in text, path
            assert " style=" not in text, path
            assert "onclick" not in text, path


def test_scripts_are_sent_compressed_and_not_again_if_unchanged(server):
    client = server.client()
    address = "/static/built/app.js"
    plain = client.get(address, headers={"Accept-Encoding": "identity"})
    packed = client.get(address)
    assert packed.content == plain.content == (BUILT / "app.js").read_bytes()
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(plain.content) / 2
    again = client.get(address, headers={"If-None-Match": packed.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert "content-encoding" not in client.get("/static/nothing.js").headers
