"""Take screenshots of the web application at several widths, and check accessibility.

Run: python -m lab.pictures.screenshots OUT [--docs], which renews docs/web-* too.
"""

import argparse
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
from PIL import Image

from lab.pictures.clinic import Clinic, clinic
from tests.web.browsing import FLAGS, ready, sign_in

WIDTHS = {390: 844, 820: 1180, 1280: 720, 1440: 900}
DOCS = Path(__file__).parents[2] / "docs"
# Pictures of the documentation, each with its page and width.
SHOWN = {
    "web-worklist": ("worklist", 1280),
    "web-viewer": ("heat-map", 1280),
    "web-planes": ("three-planes", 1440),
    "web-prior": ("prior", 1440),
    "web-refusal": ("photograph", 1280),
    "web-tablet": ("beside", 820),
}
AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"


def pages_of(hospital: Clinic) -> dict[str, tuple[str, Callable[[Any], None]]]:
    """Return the path of each page and the actions on it, by name."""
    now = f"/studies/{hospital.now}"
    prior = f"{now}?scan=0&beside={hospital.before}.0"

    def look(page: Any) -> None:
        ready(page)
        page.wait_for_timeout(500)

    def three(page: Any) -> None:
        look(page)
        page.keyboard.press("m")

    def contour(page: Any) -> None:
        look(page)
        page.keyboard.press("c")

    def keys(page: Any) -> None:
        look(page)
        page.keyboard.press("?")

    def nothing(page: Any) -> None:
        page.wait_for_load_state("networkidle")

    def choose(page: Any) -> None:
        for number in (1, 2):
            page.locator("[name=study]").nth(number).check()

    return {
        "worklist": ("/", nothing),
        "worklist-chosen": ("/?sort=date&search=p-1", choose),
        "heat-map": (f"{now}?scan=0", look),
        "contour": (f"{now}?scan=0", contour),
        "three-planes": (f"{now}?scan=0", three),
        "beside": (f"{now}?scan=0&beside=1", look),
        "four": (f"{now}?scan=0&beside=1&beside=2&beside=3", look),
        "prior": (prior, look),
        "keys": (f"{now}?scan=0", keys),
        "refused-series": (f"{now}?scan=4", nothing),
        "photograph": (f"/studies/{hospital.photograph}", nothing),
        "sign-in": ("/sign-in", nothing),
        "account": ("/account", nothing),
    }


def faults_of(page: Any) -> Iterator[str]:
    """Yield accessibility violations, and content wider than the window."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    for violation in found["violations"]:
        elements = [node["html"][:90] for node in violation["nodes"][:2]]
        yield f"{violation['impact']}: {violation['id']} {elements}"
    root = "document.documentElement"
    wide = page.evaluate(f"{root}.scrollWidth - {root}.clientWidth")
    if wide > 0:
        yield f"{wide} pixels wider than the window"


def take(browser: Any, hospital: Clinic, width: int, output: Path, names: list[str] | None) -> int:
    """Take all screenshots at a width, also of whole pages; return the number of faults."""
    # Dark, as reading rooms are.
    size = {"width": width, "height": WIDTHS[width]}
    context = browser.new_context(viewport=size, color_scheme="dark")
    page, faults = context.new_page(), 0
    sign_in(page, hospital.address, "rene")
    for name, (path, act) in pages_of(hospital).items():
        if names and name not in names:
            continue
        page.goto(hospital.address + path)
        act(page)
        page.wait_for_timeout(300)
        page.screenshot(path=output / f"{name}-{width}.png")
        page.screenshot(path=output / f"{name}-{width}-whole.png", full_page=True)
        for fault in faults_of(page):
            print(f"{name} at {width}: {fault}", flush=True)
            faults += 1
        # What the actions set would be kept for the next page.
        page.evaluate("localStorage.clear(); sessionStorage.clear()")
    report = page.request.get(f"{hospital.address}/studies/{hospital.now}/report.pdf")
    (output / "web-report.pdf").write_bytes(report.body())
    context.close()
    return faults


def renew_docs(output: Path) -> None:
    """Write the documentation's pictures in 200 colors."""
    for name, (picture, width) in SHOWN.items():
        with Image.open(output / f"{picture}-{width}.png") as opened:
            opened.convert("RGB").quantize(200).save(DOCS / f"{name}.png", optimize=True)
    shutil.copy(output / "web-report.pdf", DOCS)


def main() -> None:
    """Serve, take screenshots, and check them."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--docs", action="store_true")
    parser.add_argument("--width", type=int, action="append", choices=WIDTHS)
    parser.add_argument("--page", action="append", help="take only these")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        clinic(Path(folder)) as hospital,
        sync_playwright() as playwright,
    ):
        path = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        faults = sum(
            take(browser, hospital, width, options.output, options.page)
            for width in options.width or WIDTHS
        )
        browser.close()
    if options.docs:
        renew_docs(options.output)
    raise SystemExit(1 if faults else 0)


if __name__ == "__main__":
    main()
