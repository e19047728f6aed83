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
