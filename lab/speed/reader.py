"""Time the waits of a reader in ten minutes of work, in Chromium without a graphics card.

Sign in, find yesterday's study of one person, look at three sequences at one place, measure, mark,
give an opinion, open the PDF, go on to the next unread study. There are no pauses to think: the
printed times are those of the program. Run: python -m lab.speed.reader [--json FILE]
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import expect, sync_playwright

from lab.pictures.clinic import YESTERDAY, Clinic, clinic
from meninx._assess.speed import machine
from tests.web.browsing import FLAGS, ready, sign_in


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag over the first image, between points in shares of its sides."""
    box = page.locator("#image").bounding_box()
    for number, (x, y) in enumerate((start, end)):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=8)
        (page.mouse.up if number else page.mouse.down)()


def steps(page: Any, hospital: Clinic) -> Iterator[str]:
    """Do the steps of a reader; yield the name of each finished step."""
    sign_in(page, hospital.address, "rene")
    yield "sign in"
    page.get_by_label("Study date from").fill(f"{YESTERDAY:%Y-%m-%d}")
    page.locator("[name=opinions]").select_option("unread")
    page.get_by_label("Search").press_sequentially("doe jane")
    expect(page.locator(".worklist tbody tr")).to_have_count(1)
    yield "find yesterday's study of one person"
    page.locator(".worklist tbody a").click()
    ready(page)
    yield "open it, first image"
    page.get_by_role("link", name="t1_mprage_tra KM").first.click()
    for name in ("t2_tirm_tra_dark-fluid", "t2_tse_cor"):
        page.get_by_role("link", name=f"Set {name} beside").click()
        expect(page.get_by_role("link", name=f"Take {name} away")).to_be_visible()
    ready(page)
    yield "three sequences beside each other"
    place = page.locator(".pane").nth(2).get_attribute("data-place")
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    expect(page.locator(".pane").nth(2)).not_to_have_attribute("data-place", place)
    page.keyboard.press("p")
    yield "three slices on, and back to the peak"
    page.keyboard.press("r")
    drag(page, (0.3, 0.4), (0.6, 0.5))
    expect(page.locator(".measured li")).to_have_count(1)
    yield "measure"
    page.keyboard.press("r")
    page.keyboard.press("b")
    drag(page, (0.3, 0.3), (0.6, 0.6))
    expect(page.locator("#mark-waits")).to_be_visible()
    yield "mark"
    page.get_by_label("Note").fill("ring of contrast agent, edema around it")
    page.get_by_role("button", name="Agree", exact=True).click()
    expect(page.locator(".opinion")).to_contain_text("edema")
    ready(page)
    yield "give an opinion, images again"
    with page.expect_download() as report:
        page.get_by_role("link", name="PDF report").click()
    assert report.value.path().read_bytes().startswith(b"%PDF")
    yield "open the PDF"
    page.goto(f"{hospital.address}/?opinions=unread")
    page.locator(".worklist tbody a").first.click()
    ready(page)
    address = page.url
    page.keyboard.press(".")
    page.wait_for_url(lambda url: url != address)
    yield "to an unread study, and by key to the next"


def timed(hospital: Clinic) -> dict[str, float]:
    """Return the time of each step, s."""
    seconds: dict[str, float] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        began = time.perf_counter()
        for name in steps(page, hospital):
            now = time.perf_counter()
            seconds[name] = round(now - began, 2)
            began = now
            print(f"{seconds[name]:7.2f} s  {name}", flush=True)
        browser.close()
    return seconds


def main() -> None:
    """Print and write the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, clinic(Path(folder)) as hospital:
        seconds = timed(hospital)
    print(f"{sum(seconds.values()):7.2f} s  in all")
    if options.json:
        measured = {"machine": machine(), "seconds": seconds}
        options.json.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
