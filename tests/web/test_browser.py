"""The whole way in a real browser: Debian's Chromium, a real server, a real worker."""

import re
import shutil
from pathlib import Path

import axe_playwright_python
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from meninx._assess.report import ReportEntry, write_report
from meninx._detect.loading import load_detector
from meninx._render.result import Result
from meninx._synthesis.writing import write_dicom
from meninx._web.store.settings import Settings
from tests.web.browsing import pixels, ready, sign_in
from tests.web.conftest import PASSWORD, Server, served

AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, sick):
    folder = tmp_path_factory.mktemp("drop") / "tumor case"
    write_dicom(sick.scan, folder, 7)
    return folder


@pytest.fixture(scope="module")
def address(tmp_path_factory, sick):
    """A server in processes of its own, as `meninx serve` starts it, with one study scored."""
    data = tmp_path_factory.mktemp("served")
    server = Server(Settings(data=data))
    known = tmp_path_factory.mktemp("known")
    write_dicom(sick.scan, known, 8)
    files = {path.name: path.read_bytes() for path in known.iterdir()}
    server.work(server.browser().upload(files, "known study").json()["id"])
    server.jobs.close()
    with served(data) as address:
        yield address


def colored(picture):
    """Return how many pixels have a color."""
    return int((np.ptp(picture, axis=2) > 40).sum())


def test_from_a_dropped_folder_to_an_opinion_and_the_audit_log(page, address, folder, tmp_path):
    sign_in(page, address, "rene")
    page.locator("#folder").set_input_files(folder)
    expect(page.locator(".upload-words").first).to_contain_text("being scored")
    row = page.locator("tr", has_text="tumor case")
    expect(row.locator(".answer.tumor")).to_be_visible(timeout=60_000)
    row.get_by_role("link").click()
    ready(page)
    expect(page.locator(".finding h2").first).to_have_text("tumor")
    voxel = page.locator("#viewer").get_attribute("data-voxel")
    warm = colored(pixels(page, tmp_path))
    assert warm > 1000
    # Slices by keys and wheel; back to the peak.
    page.keyboard.press("ArrowDown")
    assert page.locator("#viewer").get_attribute("data-voxel") != voxel
    page.mouse.move(400, 400)
    page.mouse.wheel(0, -200)
    expect(page.locator("#viewer")).to_have_attribute("data-voxel", voxel)
    page.keyboard.press("ArrowDown")
    page.get_by_role("button", name="Peak").click()
    expect(page.locator("#viewer")).to_have_attribute("data-voxel", voxel)
    # Without the heat map only the crosshair has a color.
    page.locator("[data-do=opacity]").fill("0")
    assert colored(pixels(page, tmp_path)) < warm / 2
    page.locator("[data-do=opacity]").fill("60")
    page.get_by_label("Note").fill("a vein, I think")
    page.get_by_role("button", name="No tumor").click()
    expect(page.locator(".opinion")).to_contain_text("a vein, I think")
    study = re.search(r"/studies/(\w+)", page.url)[1]
    page.get_by_role("button", name="Sign out").click()
    sign_in(page, address, "ada")
    page.goto(f"{address}/audit?study={study}")
    for action in ("uploaded", "scored", "seen", "opinion: no tumor"):
        expect(page.locator("td", has_text=action).first).to_be_visible()
    assert page.hosts <= {address, "data:", "blob:", f"blob:{address}"}
    assert not page.faults


def test_a_folder_is_dropped_by_mouse(page, address, tmp_path, healthy):
    write_dicom(healthy.scan, tmp_path / "dropped by mouse", 12)
    sign_in(page, address, "rene")
    box = page.locator("#drop").bounding_box()
    middle = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    data = {"items": [], "files": [str(tmp_path / "dropped by mouse")], "dragOperationsMask": 1}
    hand = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        hand.send("Input.dispatchDragEvent", {"type": kind, **middle, "data": data})
    row = page.locator("tr", has_text="dropped by mouse")
    expect(row.locator(".answer:not(.waiting)")).to_be_visible(timeout=60_000)


def drag(page, start, end):
    """Drag over the image, from and to shares of its sides."""
    box = page.locator("#image").bounding_box()
    for number, (x, y) in enumerate((start, end)):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=8)
        (page.mouse.up if number else page.mouse.down)()


def test_the_viewer_s_tools_do_what_they_say(page, address, tmp_path):
    sign_in(page, address, "rene")
    page.locator("tr", has_text="known study").get_by_role("link").click()
    ready(page)
    plain = pixels(page, tmp_path)
    page.locator("[data-do=window]").select_option("wide")
    wide = pixels(page, tmp_path)
    assert wide.mean() < plain.mean()  # gray values spread over more
    drag(page, (0.3, 0.3), (0.5, 0.6))
    assert np.abs(pixels(page, tmp_path) - wide).mean() > 1  # window and level by dragging
    page.locator("[data-do=window]").select_option("auto")
    page.get_by_role("button", name="Peak").click()
    page.get_by_role("button", name="Contour").click()
    assert 0 < colored(pixels(page, tmp_path)) < colored(plain) / 2
    page.get_by_role("button", name="Contour").click()
    page.get_by_role("button", name="3 planes").click()
    expect(page.get_by_role("button", name="3 planes")).to_have_attribute("aria-pressed", "true")
    assert np.abs(pixels(page, tmp_path) - plain).mean() > 5
    page.keyboard.press("m")
    before = pixels(page, tmp_path)
    page.get_by_role("button", name="Ruler").click()
    drag(page, (0.4, 0.4), (0.6, 0.55))
    assert np.abs(pixels(page, tmp_path) - before).max() > 100  # the line and its length
    page.get_by_role("button", name="Mark", exact=True).click()
    drag(page, (0.4, 0.4), (0.6, 0.6))
    expect(page.locator("#mark-waits")).to_be_visible()
    page.get_by_label("Note").fill("here")
    page.get_by_role("button", name="Tumor", exact=True).click()
    expect(page.locator(".opinion").first).to_contain_text(
        re.compile(r"tumor.*here.*mm; slice \d of 9", re.S)
    )
    assert not page.faults


def test_a_tablet_shows_all_without_scrolling_sideways(page, address):
    page.set_viewport_size({"width": 800, "height": 1180})
    sign_in(page, address, "rene")
    page.locator("tr", has_text="known study").get_by_role("link").click()
    ready(page)
    for path in (page.url, address + "/"):
        page.goto(path)
        wide = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert wide <= 0, path


def test_pictures_of_an_offline_report_keep_their_shape(page, tmp_path, sick):
    """A head that is squeezed looks like another one."""
    detector = load_detector()
    result = Result.of(sick.scan, detector)
    path = tmp_path / "hottest.png"
    result.picture.save(path)
    report = tmp_path / "report.html"
    write_report([ReportEntry(result.brief(), path)], detector.card, "0" * 64, report)
    for width in (390, 820, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(report.as_uri())
        box = page.locator("article img").bounding_box()
        shape = result.picture.width / result.picture.height
        assert box["width"] / box["height"] == pytest.approx(shape, rel=0.02)


def test_right_is_on_the_left(page, address, tmp_path, sick):
    """A bright mark on the patient's right appears on the viewer's left, as letters show."""
    from dataclasses import replace

    marked = sick.scan.voxels.copy()
    # LPS: low i is the patient's right in these axial slices.
    marked[10:20, 50:70, :] = 4 * marked.max()
    write_dicom(replace(sick.scan, voxels=marked), tmp_path / "marked", 11)
    sign_in(page, address, "rene")
    page.locator("#folder").set_input_files(tmp_path / "marked")
    row = page.locator("tr", has_text="marked")
    expect(row.locator(".answer:not(.waiting)")).to_be_visible(timeout=60_000)
    row.get_by_role("link").click()
    ready(page)
    page.locator("[data-do=opacity]").fill("0")
    page.locator("[data-do=window]").select_option("full")
    picture = pixels(page, tmp_path).min(axis=2)
    columns = np.nonzero(picture > 240)[1]
    assert len(columns) > 100
    middle = picture.shape[1] / 2
    assert np.median(columns) < middle


def test_a_waiting_page_shows_the_images_once_they_exist(page, address, tmp_path, healthy):
    write_dicom(healthy.scan, tmp_path / "waits", 13)
    sign_in(page, address, "rene")
    page.locator("#folder").set_input_files(tmp_path / "waits")
    page.locator("tr", has_text="waits").get_by_role("link").click()
    ready(page)
    assert not page.faults


def test_a_photograph_is_refused_in_words(page, address, tmp_path):
    y, x = np.mgrid[0:200, 0:300]
    path = tmp_path / "holiday.png"  # sky and sand
    Image.fromarray(np.stack([x, 255 - y, 255 - x], axis=2).clip(0, 255).astype(np.uint8)).save(
        path
    )
    sign_in(page, address, "rene")
    page.locator("#files").set_input_files(path)
    row = page.locator("tr", has_text="holiday.png")
    expect(row.locator(".answer.refused")).to_be_visible(timeout=60_000)
    row.get_by_role("link").click()
    expect(page.locator(".finding")).to_contain_text("of the picture is colored, expected at most")


def test_an_upload_that_breaks_off_goes_on_and_says_what_it_left_out(
    page, address, folder, tmp_path
):
    """Leaving asks first; what arrived is kept and not sent again; cancel deletes it."""
    exam = shutil.copytree(folder, tmp_path / "exam of a CD")
    (exam / "VIEWER.BIN").write_bytes(bytes(5 * 1024**2))  # in two parts
    sign_in(page, address, "rene")
    page.route("**/parts*offset=4194304", lambda route: None)
    with page.expect_request("**/parts*offset=4194304"):
        page.locator("#folder").set_input_files(exam)
    row = page.locator(".upload").first
    expect(row.locator(".upload-words")).to_contain_text("Sending 10 files: exam of a CD")
    expect(row.locator(".soft")).to_contain_text("MB a second")
    asked = []
    page.once("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.locator("nav").get_by_role("link", name="rene").click()
    expect(page).to_have_url(re.compile("/account"))
    assert asked == ["beforeunload"]
    page.unroute("**/parts*offset=4194304")
    page.goto(address)
    row = page.locator(".upload").first
    expect(row.locator(".upload-words")).to_contain_text("Not finished: exam of a CD; 10 files")
    sent = []
    page.on("request", lambda request: sent.append((request.method, request.url.split("?")[-1])))
    page.locator("#folder").set_input_files(exam)
    expect(row.locator(".upload-words")).to_contain_text(re.compile("being scored|here already"))
    # Only the second part, and the end.
    assert [query for method, query in sent if method in ("POST", "PUT")] == [
        "name=exam%20of%20a%20CD%2FVIEWER.BIN&offset=4194304",
        "together=false",
    ]
    expect(row.locator("summary")).to_have_text("1 file left out")
    row.locator("summary").click()
    expect(row).to_contain_text("VIEWER.BIN")
    row.get_by_role("link").first.click()
    expect(page).to_have_url(re.compile("/studies/"))
    page.goto(address)
    page.route("**/parts*offset=4194304", lambda route: None)
    page.locator("#folder").set_input_files(exam)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".upload-words").first).to_contain_text("Canceled: exam of a CD")
    assert page.request.get(f"{address}/api/v1/uploads").json() == []


def test_everything_is_reachable_by_keyboard(page, address):
    page.goto(f"{address}/sign-in")
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type("rene")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("#studies")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('.worklist tbody a') !== null"):
            break
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/studies/"))


def test_pages_follow_the_system_s_colors_and_are_printed_whole(chromium, address, tmp_path):
    context = chromium.new_context(
        viewport={"width": 390, "height": 844}, color_scheme="light", forced_colors="active"
    )
    page = context.new_page()
    sign_in(page, address, "ada")
    background = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(forced_colors="none")
    assert page.evaluate(background) == "rgb(244, 245, 247)"
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(background) == "rgb(20, 23, 26)"
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    for path in ("/users", "/audit", "/account"):
        page.goto(address + path)
        assert page.evaluate(wide) <= 0, path
    page.goto(address)
    page.locator("tr", has_text="known study").get_by_role("link").click()
    ready(page)
    # On a phone the answer and the image come first.
    assert page.locator("#answer h2").bounding_box()["y"] < 260
    assert page.locator("#image").bounding_box()["y"] < 500
    page.emulate_media(forced_colors="active")
    picture = pixels(page, tmp_path)
    assert colored(picture) > 500  # the heat map keeps its colors
    pressed = page.locator("[data-do=heat]")
    loose = page.locator("[data-do=contour]")
    color = "tool => getComputedStyle(tool).backgroundColor"
    assert pressed.evaluate(color) != loose.evaluate(color)
    page.emulate_media(media="print", forced_colors="none")
    expect(page.locator(".tools").first).to_be_hidden()
    expect(page.locator("#opinion")).to_be_hidden()
    expect(page.locator("#answer")).to_be_visible()
    context.close()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_pages_have_no_accessibility_violations(page, address, theme):
    sign_in(page, address, "ada")
    page.evaluate(f"localStorage.setItem('theme', '{theme}')")
    first = page.locator(".worklist tbody a").first.get_attribute("href")
    for path in ("/", first, "/account", "/users", "/audit"):
        page.goto(address + path)
        page.wait_for_timeout(300)
        # A policy without inline scripts forbids to add one: evaluated, it is none.
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        faults = [
            (violation["id"], [node["html"][:120] for node in violation["nodes"]])
            for violation in found["violations"]
        ]
        assert not faults, path
