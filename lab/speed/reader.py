"""Time the waits of readers in ten minutes of work, in Chromium without a graphics card.

One has a mouse, one a trackpad, one a keyboard alone, one a phone, one a German browser, one forced
colors. There are no pauses to think: the times are those of the program.
A step that can't be done is written down with what the browser said, and the next reader begins.
Run: python -m lab.speed.reader [--only READER] [--json FILE]
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Error, expect, sync_playwright

from lab.pictures.clinic import YESTERDAY, Clinic, clinic
from meninx._assess.speed import machine
from tests.web.browsing import FLAGS, ready, sign_in

# A trackpad sends many events of few pixels; 50 pixels are a slice.
SWIPES, SWIPE_PIXELS = 50, 4
ROWS = ".worklist tbody tr"


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag over the first image, between points in shares of its sides."""
    box = page.locator("#image").bounding_box()
    for number, (x, y) in enumerate((start, end)):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=8)
        (page.mouse.up if number else page.mouse.down)()


def opened(page: Any, hospital: Clinic) -> None:
    """Open yesterday's study at its first series."""
    page.goto(f"{hospital.address}/studies/{hospital.now}?scan=0")
    ready(page)


def slice_of(page: Any) -> int:
    """Return the number of the slice that is shown."""
    return int(page.locator(".pane").first.get_attribute("data-slice"))


def by_mouse(page: Any, hospital: Clinic) -> Iterator[str]:
    """Find, upload, read, measure and report."""
    page.get_by_label("Study date from").fill(f"{YESTERDAY:%Y-%m-%d}")
    page.locator("[name=opinions]").select_option("unread")
    page.get_by_label("Search").press_sequentially("doe jane")
    expect(page.locator(ROWS)).to_have_count(1)
    yield "find yesterday's study of one person"
    file = {"name": "words.txt", "mimeType": "text/plain", "buffer": b"no scan"}
    page.locator("#files").set_input_files(file)
    expect(page.locator(".upload-words").first).to_contain_text("Sent")
    yield "upload a file, to its report"
    page.locator(f"{ROWS} a").click()
    ready(page)
    yield "open a study, all slices"
    page.get_by_role("link", name="t1_mprage_tra KM").first.click()
    ready(page)
    for name in ("t2_tirm_tra_dark-fluid", "t2_tse_cor"):
        page.get_by_role("link", name=f"Set {name} beside").click()
        expect(page.get_by_role("link", name=f"Take {name} away")).to_be_visible()
    ready(page)
    yield "three sequences beside each other"
    page.keyboard.press("r")
    drag(page, (0.3, 0.4), (0.6, 0.5))
    expect(page.locator(".measured li")).to_have_count(1)
    page.keyboard.press("r")
    yield "measure"
    page.keyboard.press("b")
    drag(page, (0.3, 0.3), (0.6, 0.6))
    expect(page.locator("#mark-waits")).to_be_visible()
    page.get_by_label("Note").fill("ring of contrast agent, edema around it")
    page.get_by_role("button", name="Tumor", exact=True).click()
    expect(page.locator(".opinion").first).to_contain_text("edema")
    yield "mark, give an opinion"
    with page.expect_download() as report:
        page.get_by_role("link", name="PDF report").click()
    assert report.value.path().read_bytes().startswith(b"%PDF")
    yield "open the PDF"
    page.goto(f"{hospital.address}/?opinions=unread&state=done")
    page.locator(f"{ROWS} a").first.click()
    ready(page)
    address = page.url
    page.keyboard.press(".")
    page.wait_for_url(lambda url: url != address)
    yield "to an unread study, and by key to the next"


def by_trackpad(page: Any, hospital: Clinic) -> Iterator[str]:
    """Scroll with small movements."""
    opened(page, hospital)
    yield "open a study, all slices"
    page.keyboard.press("Home")
    # In the page, at a hand's pace: a wait for each event's answer would be a rest of the hand.
    page.locator(".pane svg").first.evaluate(
        """(svg, [count, pixels]) => {
            const { left, top, width, height } = svg.getBoundingClientRect();
            const [clientX, clientY] = [left + width / 2, top + height / 2];
            const swipe = { deltaY: -pixels, clientX, clientY, cancelable: true };
            for (let n = 0; n < count; n += 1) svg.dispatchEvent(new WheelEvent("wheel", swipe));
        }""",
        [SWIPES, SWIPE_PIXELS],
    )
    expected = 1 + SWIPES * SWIPE_PIXELS // 50
    expect(page.locator(".pane").first).to_have_attribute("data-slice", str(expected))
    yield f"scroll {SWIPES} events of {SWIPE_PIXELS} pixels: four slices"
    zoom = page.locator(".pane").first.get_attribute("data-zoom")
    box = page.locator("#image").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -SWIPE_PIXELS)
    page.keyboard.up("Control")
    expect(page.locator(".pane").first).not_to_have_attribute("data-zoom", zoom)
    yield "pinch"


def tab_to(page: Any, selector: str) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(120):
        if page.evaluate("(wanted) => document.activeElement.matches(wanted)", selector):
            return
        page.keyboard.press("Tab")
    raise Error(f"Tab does not reach {selector}")


def by_keyboard(page: Any, hospital: Clinic) -> Iterator[str]:
    """Do everything without a mouse."""
    page.goto(hospital.address)
    tab_to(page, "[name=search]")
    page.keyboard.type("doe jane")
    expect(page.locator(ROWS)).to_have_count(2)
    tab_to(page, f"{ROWS} .title a")
    page.keyboard.press("Enter")
    ready(page)
    yield "find a study and open it"
    tab_to(page, "#image")
    page.keyboard.press("p")
    peak = slice_of(page)
    page.keyboard.press("PageDown")
    page.keyboard.press("p")
    assert slice_of(page) == peak
    yield "scroll ten slices, and back to the peak"
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    for key in ("Shift+ArrowRight", "Shift+ArrowDown"):
        for _ in range(6):
            page.keyboard.press(key)
    page.keyboard.press("Enter")
    expect(page.locator("#mark-waits")).to_be_visible()
    yield "mark a box"
    tab_to(page, "[name=note]")
    page.keyboard.type("by keys")
    tab_to(page, "[name=verdict][value=tumor]")
    page.keyboard.press("Enter")
    expect(page.locator(".opinion").first).to_contain_text("by keys")
    yield "give an opinion"


def by_phone(page: Any, hospital: Clinic) -> Iterator[str]:
    """Read at 390 pixels."""
    page.goto(hospital.address)
    expect(page.locator(ROWS).first).to_be_visible()
    page.get_by_label("Search").fill("doe jane")
    expect(page.locator(ROWS)).to_have_count(2)
    page.locator(f"{ROWS} a").first.tap()
    ready(page)
    yield "find a study and open it"
    box = page.locator("#image").bounding_box()
    assert box["y"] < page.viewport_size["height"], "the image begins below the first screen"
    yield "answer and image on the first screen"
    page.locator("[data-do=cine]").tap()
    before = slice_of(page)
    expect(page.locator(".pane").first).not_to_have_attribute("data-slice", str(before))
    page.locator("[data-do=cine]").tap()
    page.get_by_role("button", name="Can't tell").tap()
    expect(page.locator("#opinion-said")).to_contain_text("Stored")
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, f"the page is {wide} pixels wider than the phone"
    yield "run through the slices, give an opinion"


def in_german(page: Any, hospital: Clinic) -> Iterator[str]:
    """Type dates and numbers as Germans do."""
    page.goto(hospital.address)
    page.get_by_label("Search").fill(f"{YESTERDAY:%d.%m.%Y} doe")
    expect(page.locator(ROWS)).to_have_count(1)
    yield "find a study by 28.11.2026 and a name"
    page.locator(f"{ROWS} a").click()
    ready(page)
    for name, typed in (("Width", "912,5"), ("Level", "450,25")):
        page.get_by_label(name, exact=True).fill(typed)
        page.keyboard.press("Tab")
    expect(page.locator("[data-corner=window]").first).to_have_text("Window 913, level 450")
    yield "set the window to 912,5 and 450,25"


def in_forced_colors(page: Any, hospital: Clinic) -> Iterator[str]:
    """Read with the system's high contrast."""
    opened(page, hospital)
    expect(page.locator("#answer .answer").first).to_be_visible()
    pressed = page.locator("[data-do=heat]")
    color = "(element) => getComputedStyle(element).backgroundColor"
    assert pressed.evaluate(color) != page.locator("[data-do=ruler]").evaluate(color), "no tool"
    yield "open a study; the pressed tools differ from others"


Reading = Callable[[Any, Clinic], Iterator[str]]
# Each reader: what he or she does, and the browser's settings.
READERS: dict[str, tuple[Reading, dict[str, Any]]] = {
    "mouse": (by_mouse, {}),
    "trackpad": (by_trackpad, {}),
    "keyboard alone": (by_keyboard, {}),
    "phone, 390 pixels": (
        by_phone,
        {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
    ),
    "German browser": (in_german, {"locale": "de-DE", "timezone_id": "Europe/Berlin"}),
    "forced colors": (in_forced_colors, {"forced_colors": "active"}),
}


def timed(browser: Any, hospital: Clinic, reader: str) -> dict[str, Any]:
    """Return the time of each step of a reader, s; of a step that failed, why."""
    reading, settings = READERS[reader]
    context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}} | settings)
    page, steps = context.new_page(), {}
    began = time.perf_counter()
    try:
        sign_in(page, hospital.address, "rene")
        for name in reading(page, hospital):
            now = time.perf_counter()
            steps[name] = round(now - began, 2)
            began = now
    except (AssertionError, Error) as error:
        words = str(error).splitlines()[0].replace("|", "/")
        steps[f"after {len(steps)} steps"] = f"not done: {words}"
    context.close()
    return steps


def main() -> None:
    """Print and write the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=READERS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    readers = {}
    expect.set_options(timeout=60_000)
    with (
        tempfile.TemporaryDirectory() as name,
        clinic(Path(name)) as hospital,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for reader in [options.only] if options.only else READERS:
            readers[reader] = timed(browser, hospital, reader)
            print(reader, json.dumps(readers[reader], indent=2), flush=True)
        browser.close()
    if options.json:
        measured = {"machine": machine(), "readers": readers}
        options.json.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
