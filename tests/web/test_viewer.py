"""The viewer in a real browser: an exam of four sequences and an earlier one, scored beforehand."""

import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from playwright.sync_api import expect

from meninx._web.store.settings import Settings
from tests.conftest import made_once
from tests.web.browsing import held, pixels, ready, sign_in
from tests.web.conftest import PASSWORD, Server, served
from tests.web.exams import write_exam, write_localizer
from tests.web.findings import VIEWER, finding

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
PATIENT = {"PatientName": "Doe^Jane", "PatientID": "P-17", "PatientBirthDate": "19701231"}
LONG = "a_title_without_any_space_" * 11


def score_exams(folder):
    """Score an exam of T1c, FLAIR, T2 and T1, and one of the year before, into `folder`/data."""
    server = Server(Settings(data=folder / "data"))
    files = folder / "exams"
    visits = {
        "exam": write_exam(files / "now", visit=1, **PATIENT),
        LONG: write_exam(files / "before", visit=2, date="20250315", lesion=None, **PATIENT),
    }
    write_localizer(files / "now" / "scout", visit=1, **PATIENT)
    studies = []
    for title, path in visits.items():
        sent = {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*.dcm")}
        studies.append(server.browser().upload(sent, title).json()["id"])
        server.work(studies[-1])
    server.jobs.close()
    (folder / "studies.json").write_text(json.dumps(studies))


@pytest.fixture(scope="module")
def exam(tmp_path_factory, shared):
    """A server of the scored exams."""
    made = made_once(shared / "exams", score_exams)
    data = shutil.copytree(made / "data", tmp_path_factory.mktemp("served") / "data")
    now, before = json.loads((made / "studies.json").read_text())
    with pytest.MonkeyPatch.context() as patch:
        # Nobody answers there.
        patch.setenv("MENINX_WEB_PEERS", "PACS@127.0.0.1:1")
        with served(data, "--no-worker") as address:
            yield SimpleNamespace(address=address, now=now, before=before)


@pytest.fixture
def opened(page, exam):
    """Return what opens a study's page, signed in, at a size of the window."""
    sign_in(page, exam.address, "rene")

    def go_to(query="", study=exam.now, size=(1280, 720)):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.goto(f"{exam.address}/studies/{study}{query}")
        ready(page)
        return page

    yield go_to
    assert not page.faults


def place(page, pane=0):
    """Where a pane says that it is, mm of patient coordinates."""
    place = page.locator(".pane").nth(pane).get_attribute("data-place")
    return np.array([float(part) for part in place.split(",")])


def slice_of(page, pane=0):
    return int(page.locator(".pane").nth(pane).get_attribute("data-slice"))


def zoom_of(page, pane=0):
    return float(page.locator(".pane").nth(pane).get_attribute("data-zoom"))


def middle(locator):
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def tiles(page, pane=0):
    """The boxes of the planes that a pane shows: axial, coronal, sagittal."""
    return [
        tile.bounding_box() for tile in page.locator(".pane").nth(pane).locator("svg > svg").all()
    ]


def head(picture):
    """Whatever is brighter than air."""
    return picture.max(axis=2) > 40


ACTIONS = {
    "the first frame": lambda page: None,
    "keys": lambda page: page.keyboard.press("ArrowDown"),
    "the wheel on the left": lambda page: wheel(page, "#image", 100),
    "the wheel on the right": lambda page: wheel(page, "#beside-1", 100),
    "p": lambda page: (page.keyboard.press("PageDown"), page.keyboard.press("p")),
    "a click on the right": lambda page: page.mouse.click(*middle(page.locator("#beside-1"))),
}


def wheel(page, canvas, by):
    page.mouse.move(*middle(page.locator(canvas)))
    page.mouse.wheel(0, by)


@pytest.mark.parametrize("action", ACTIONS)
def test_series_beside_each_other_show_one_place_of_the_patient(opened, action):
    page = opened("?scan=0&beside=1")
    before = place(page)
    ACTIONS[action](page)
    if action not in ("the first frame", "p"):
        page.wait_for_function(
            "b => document.querySelector('.pane').dataset.place !== b",
            arg=",".join(f"{at:.1f}" for at in before),
        )
    assert (place(page, 0) == place(page, 1)).all()
    # Slices are 11 mm apart in both; FLAIR's first one lies 16.5 mm above that of T1c.
    first, second = slice_of(page, 0), slice_of(page, 1)
    assert abs((first - 1) * 11 - ((second - 1) * 11 + 16.5)) <= 5.6
    assert zoom_of(page, 0) == pytest.approx(1, abs=0.01) or action != "the first frame"


def test_both_sides_lie_at_the_same_points_of_the_screen(opened, tmp_path):
    page = opened("?scan=0&beside=1")
    page.keyboard.press("h")
    page.keyboard.press("x")
    page.keyboard.press("ArrowDown")
    left = pixels(page, tmp_path)
    right = pixels(page, tmp_path, "#beside-1")
    # What FLAIR's smaller field leaves out is left out of the comparison.
    seen = head(right).any(axis=0)
    both = (head(left) & head(right))[:, seen].sum() / (head(left) | head(right))[:, seen].sum()
    assert both > 0.85


def test_every_pane_says_which_series_and_slice_it_shows(opened):
    page = opened("?scan=0&beside=1&beside=2")
    for pane, words in enumerate(("t1_mprage_tra KM", "t2_tirm_tra_dark-fluid", "t2_tse_cor")):
        expect(page.locator(".pane").nth(pane)).to_contain_text(words)
    expect(page.locator(".pane").nth(0)).to_contain_text(re.compile(r"Slice \d of 9"))
    expect(page.locator(".pane").nth(1)).to_contain_text(re.compile(r"Slice \d of 7"))
    # Coronal slices seen from above have no number of their own there.
    expect(page.locator(".pane").nth(2)).to_contain_text("put together from 11 slices")
    expect(page.locator(".pane").nth(0)).to_contain_text("11.0 mm from slice to slice")
    expect(page.locator(".pane").nth(0)).to_contain_text(re.compile(r"Window \d+, level \d+"))


def test_in_three_planes_a_click_locates_and_the_wheel_scrolls_what_lies_below(opened):
    page = opened("?scan=0")
    page.keyboard.press("Home")
    for _ in range(4):
        page.keyboard.press("ArrowUp")
    page.keyboard.press("m")
    expect(page.locator(".pane svg > svg")).to_have_count(3)
    # Which of right, front and head the wheel moves along, and which a click may change.
    for tile, across in enumerate((2, 1, 0)):
        box = tiles(page)[tile]
        at = box["x"] + 0.4 * box["width"], box["y"] + 0.55 * box["height"]
        before = place(page)
        page.mouse.click(*at)
        clicked = place(page)
        moved = np.abs(clicked - before) > 0.6
        assert moved.any()
        assert not moved[across]
        page.mouse.move(*at)
        page.mouse.wheel(0, -100)
        page.mouse.wheel(0, -100)
        page.wait_for_function(
            "b => document.querySelector('.pane').dataset.place !== b",
            arg=",".join(f"{at:.1f}" for at in clicked),
        )
        scrolled = np.abs(place(page) - clicked)
        assert scrolled[across] > 1
        assert np.delete(scrolled, across).max() < 0.1


def test_zoom_and_pan_by_mouse_and_keys_and_back(opened, tmp_path):
    page = opened("?scan=0&beside=1")
    page.keyboard.press("h")
    plain = pixels(page, tmp_path)
    x, y = middle(page.locator("#image"))
    for act in (
        lambda: page.keyboard.press("+"),
        lambda: (
            page.keyboard.down("Control"),
            page.mouse.move(x, y),
            page.mouse.wheel(0, -100),
            page.keyboard.up("Control"),
        ),
        lambda: drag(page, (x, y), (x, y - 60), "right"),
    ):
        act()
        page.wait_for_function("document.querySelector('.pane').dataset.zoom > 1.1")
        # Both sides grow alike.
        ratio = zoom_of(page, 1) / zoom_of(page, 0)
        page.keyboard.press("0")
        page.wait_for_function("document.querySelector('.pane').dataset.zoom == 1")
        assert ratio == pytest.approx(zoom_of(page, 1) / zoom_of(page, 0), rel=0.01)
    for act in (
        lambda: page.keyboard.press("i"),
        lambda: drag(page, (x, y), (x + 50, y), "middle"),
        lambda: (
            page.keyboard.down("Shift"),
            drag(page, (x, y), (x + 50, y)),
            page.keyboard.up("Shift"),
        ),
    ):
        act()
        assert np.abs(pixels(page, tmp_path) - plain).mean() > 5
        page.get_by_role("button", name="Reset").click()
        assert np.abs(pixels(page, tmp_path) - plain).mean() < 0.5


def drag(page, start, end, button="left"):
    page.mouse.move(*start)
    page.mouse.down(button=button)
    page.mouse.move(*end, steps=6)
    page.mouse.up(button=button)


def test_zooming_keeps_the_place_under_the_pointer(opened):
    page = opened("?scan=0")
    box = page.locator("#image").bounding_box()
    at = box["x"] + 0.35 * box["width"], box["y"] + 0.6 * box["height"]
    page.mouse.click(*at)
    before = place(page)
    page.keyboard.down("Control")
    for _ in range(4):
        page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    page.wait_for_function("document.querySelector('.pane').dataset.zoom > 1.5")
    page.mouse.click(*at)
    assert np.abs(place(page) - before).max() < 0.5


def test_keys_hide_crosshair_and_heat_map_and_a_list_names_them_all(opened, tmp_path):
    page = opened("?scan=0")
    expect(page.locator(".pane .crosshair")).to_have_count(1)
    warm = colored(pixels(page, tmp_path))
    page.keyboard.press("x")
    expect(page.locator(".pane .crosshair")).to_have_count(0)
    page.keyboard.press("h")
    assert colored(pixels(page, tmp_path)) < warm / 20
    page.keyboard.press("?")
    listed = page.get_by_role("dialog").inner_text()
    for words in (
        "hide or show the heat map",
        "hide or show the crosshair",
        "three planes",
        "ruler",
        "mark a box",
        "to the peak",
        "larger",
        "wheel",
    ):
        assert words in listed
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def colored(picture):
    return int((np.ptp(picture, axis=2) > 40).sum())


@pytest.mark.parametrize("window", ["wide", "narrow"])
def test_the_contour_stands_out_from_dark_and_bright(opened, tmp_path, window):
    page = opened("?scan=0")
    page.keyboard.press("x")
    page.locator("[data-do=window]").select_option(window)
    page.get_by_role("button", name="Contour").click()
    picture = pixels(page, tmp_path)
    line = (picture[..., 0] > 220) & (picture[..., 1] > 200) & (picture[..., 2] < 130)
    assert line.sum() > 100
    light = picture.mean(axis=2)
    darkest = np.array(
        [
            light[max(row - 4, 0) : row + 5, max(column - 4, 0) : column + 5].min()
            for row, column in np.argwhere(line)
        ]
    )
    assert (darkest < 60).mean() > 0.98


def test_the_hottest_core_stays_bright_from_a_high_level_on_and_the_scale_has_ends(
    opened, tmp_path
):
    page = opened("?scan=0")
    page.keyboard.press("x")
    page.locator("[data-do=opacity]").fill("100")
    for level in ("20", "80", "95"):
        page.locator("[data-do=threshold]").fill(level)
        picture = pixels(page, tmp_path)
        x, y = center_of_peak(page)
        core = picture[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3].mean(axis=(0, 1))
        # Pale yellow: the upper end of the scale, whatever the level.
        assert core[0] > 230, level
        assert core[1] > 200, level
    expect(page.locator("#scale")).to_contain_text("0 %")
    expect(page.locator("#scale")).to_contain_text("100 %")
    expect(page.locator("#from")).to_have_text("95 %")


def center_of_peak(page):
    """The point of the canvas at which the crosshair would meet."""
    page.keyboard.press("x")
    path = page.locator(".pane .crosshair").get_attribute("d")
    page.keyboard.press("x")
    _, y, x = re.match(r"M([\d.-]+) ([\d.-]+)H([\d.-]+)", path).groups()
    return float(x) + 12, float(y)


@pytest.mark.parametrize("query", ["?scan=0", "?scan=0&beside=1&beside=2&beside=3"])
def test_slice_number_and_strip_lie_above_the_fold(opened, query):
    page = opened(query)
    for element in ("#strip", "#where"):
        box = page.locator(element).bounding_box()
        assert box["y"] + box["height"] <= 720, element
    assert page.locator("#image").bounding_box()["height"] >= 180


def test_slices_are_counted_from_1(opened):
    page = opened("?scan=0")
    page.keyboard.press("Home")
    expect(page.locator("#where")).to_have_text(re.compile(r"^Slice 1 of 9, "))
    page.keyboard.press("End")
    expect(page.locator("#where")).to_have_text(re.compile(r"^Slice 9 of 9, "))


def enter(page):
    """Sign in by the form that is shown."""
    page.get_by_label("Name").fill("rene")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def test_a_note_and_a_mark_outlive_an_ended_session(opened, exam):
    page = opened("?scan=1")
    page.get_by_role("button", name="Mark", exact=True).click()
    x, y = middle(page.locator("#image"))
    drag(page, (x - 20, y), (x + 20, y + 30))
    expect(page.locator("#mark-waits")).to_be_visible()
    page.get_by_label("Note").fill("a long thought")
    region = page.locator("#box").input_value()
    # Signed in again in another tab: the session that the page was loaded in is an old one.
    page.context.clear_cookies()
    other = page.context.new_page()
    other.goto(f"{exam.address}/sign-in")
    enter(other)
    other.close()
    page.get_by_role("button", name="No tumor").click()
    expect(page.locator("#opinion-said")).to_contain_text("of an older session")
    expect(page.locator("#opinion-said")).to_contain_text("note and your box are kept")
    # Signed out.
    page.context.clear_cookies()
    page.get_by_role("button", name="No tumor").click()
    expect(page.locator("#opinion-said")).to_contain_text("note and your box are kept")
    page.get_by_role("link", name="Sign in again").click()
    enter(page)
    # Back where one was.
    expect(page).to_have_url(f"{exam.address}/studies/{exam.now}?scan=1")
    ready(page)
    expect(page.get_by_label("Note")).to_have_value("a long thought")
    assert page.locator("#box").input_value() == region != ""
    # On another series it is another note.
    page.goto(f"{exam.address}/studies/{exam.now}?scan=0")
    ready(page)
    expect(page.get_by_label("Note")).to_have_value("")
    page.goto(f"{exam.address}/studies/{exam.now}?scan=1")
    ready(page)
    page.keyboard.press("Home")
    page.get_by_role("button", name="No tumor").click()
    expect(page.locator(".opinion").first).to_contain_text("a long thought")
    # The page was not loaded again: slice and panes are where they were.
    assert slice_of(page) == 1
    # Stored with the mark; no longer a draft.
    expect(
        page.locator(".opinion").first.get_by_role("button", name="Show the box")
    ).to_be_visible()
    expect(page.get_by_label("Note")).to_have_value("")
    assert page.locator("#box").input_value() == ""


def test_stored_marks_are_drawn_in_place_and_can_be_jumped_to(opened):
    page = opened("?scan=0")
    page.keyboard.press("Home")
    for _ in range(3):
        page.keyboard.press("ArrowUp")
    page.get_by_role("button", name="Mark", exact=True).click()
    x, y = middle(page.locator("#image"))
    drag(page, (x - 60, y - 40), (x + 20, y + 30))
    drawn = in_image(page, ".mark.pending .line")
    page.get_by_role("button", name="Tumor", exact=True).click()
    expect(page.locator(".opinion").first).to_contain_text(
        re.compile(r"tumor.*mm; slice 4 of 9", re.S)
    )
    # Another slice: nothing of it there.
    page.keyboard.press("Home")
    expect(page.locator(".mark.box")).to_have_count(0)
    page.locator(".opinion").first.get_by_role("button", name="Show the box").click()
    assert slice_of(page) == 4
    # Whole voxels; and the reader sees it, however far down the page the opinion stood.
    assert in_image(page, ".mark.box .line") == pytest.approx(drawn, abs=1)
    expect(page.locator("#image")).to_be_in_viewport()
    page.keyboard.press("Home")
    page.keyboard.press("n")
    assert slice_of(page) == 4


def in_image(page, element):
    """The box of what is drawn, from the corner of the image."""
    image, box = (page.locator(name).bounding_box() for name in ("#image", element))
    return [box["x"] - image["x"], box["y"] - image["y"], box["width"], box["height"]]


def test_a_box_is_marked_with_keys_alone_and_dropped_again(opened):
    page = opened("?scan=0")
    page.locator("#image").focus()
    corner = [int(part) for part in page.locator("#viewer").get_attribute("data-voxel").split(",")]
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    for _ in range(5):
        page.keyboard.press("Shift+ArrowRight")
    for _ in range(3):
        page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Enter")
    box = [int(part) for part in page.locator("#box").input_value().split(",")]
    # Right on the screen is the patient's left, down is the back: both grow in this series.
    assert box == [*corner, corner[0] + 5, corner[1] + 3, corner[2]]
    page.keyboard.press("Escape")
    assert page.locator("#box").input_value() == ""
    expect(page.locator(".mark.pending")).to_have_count(0)


def test_a_finger_scrolls_slices_and_two_zoom(chromium, exam):
    context = chromium.new_context(viewport={"width": 820, "height": 1180}, has_touch=True)
    page = context.new_page()
    sign_in(page, exam.address, "rene")
    page.goto(f"{exam.address}/studies/{exam.now}?scan=0")
    ready(page)
    page.keyboard.press("Home")
    x, y = middle(page.locator("#image"))
    hand = context.new_cdp_session(page)

    def touch(kind, *points):
        points = [{"x": px, "y": py, "id": n} for n, (px, py) in enumerate(points)]
        hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", (x, y))
    for up in (20, 40, 60):
        touch("touchMove", (x, y - up))
    touch("touchEnd")
    assert slice_of(page) == 5  # four slices in 60 pixels
    touch("touchStart", (x - 40, y), (x + 40, y))
    for out in (60, 80):
        touch("touchMove", (x - out, y), (x + out, y))
    touch("touchEnd")
    assert zoom_of(page) == pytest.approx(2, rel=0.1)
    assert slice_of(page) == 5
    context.close()


@pytest.mark.parametrize("width", [390, 820, 1280, 1440])
def test_nothing_is_wider_than_the_window(opened, exam, width):
    for query, study in (("?scan=0&beside=1&beside=2", exam.now), ("", exam.before)):
        page = opened(query, study, (width, 844))
        root = "document.documentElement"
        assert page.evaluate(f"{root}.scrollWidth - {root}.clientWidth") <= 0, study


def test_series_have_names_facts_and_small_pictures(opened):
    page = opened("?scan=0")
    rail = page.get_by_role("navigation", name="Series").get_by_role("list").first
    texts = [entry.inner_text() for entry in rail.get_by_role("listitem").all()]
    for text, words in zip(
        texts,
        [
            ("t1_mprage_tra KM", "T1c, axial, 9 slices", "tumor"),
            ("t2_tirm_tra_dark-fluid", "FLAIR, axial, 7 slices", "tumor"),
            ("t2_tse_cor", "T2, coronal, 11 slices"),
            ("t1_se_sag", "T1, sagittal, 9 slices"),
            ("scout", "refused"),
        ],
        strict=True,
    ):
        assert all(word in text for word in words), text
    widths = page.evaluate("[...document.querySelectorAll('.rail img')].map(i => i.naturalWidth)")
    assert len(widths) == 5
    assert min(widths) > 90


def test_a_refused_series_is_shown_with_its_image_and_the_reason(page, exam):
    sign_in(page, exam.address, "rene")
    page.goto(f"{exam.address}/studies/{exam.now}?scan=4")
    expect(page.locator(".preview")).to_contain_text("a localizer")
    picture = page.locator(".preview img")
    assert picture.evaluate("one => one.naturalWidth") > 600  # three images side by side
    expect(page.locator(".finding")).to_contain_text("Reason: localizer")


def test_series_are_set_beside_each_other_at_the_place_that_is_open(opened):
    page = opened("?scan=0")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowUp")
    before = place(page)
    for name in ("t2_tirm_tra_dark-fluid", "t2_tse_cor", "t1_se_sag"):
        page.get_by_role("link", name=f"Set {name} beside").click()
        expect(page.locator(".pane", has_text=name)).to_be_visible()
        ready(page)
        assert place(page) == pytest.approx(before, abs=0.1)
    expect(page.locator(".pane")).to_have_count(4)
    expect(page.get_by_role("link", name=re.compile("^Set t[12]_"))).to_have_count(0)
    assert {tuple(place(page, pane)) for pane in range(4)} == {tuple(place(page))}
    page.get_by_role("link", name="Take t2_tse_cor away").click()
    expect(page.locator(".pane")).to_have_count(3)
    ready(page)
    assert place(page) == pytest.approx(before, abs=0.1)


def test_a_length_stays_is_seen_by_others_and_deleted_by_who_made_it(opened, exam):
    page = opened("?scan=0")
    x, y = middle(page.locator("#image"))
    page.keyboard.press("r")
    drag(page, (x - 50, y), (x + 30, y + 40))
    listed = page.locator("#measured li")
    expect(listed).to_have_count(1)
    words = listed.inner_text().split(",")[0]
    # Its length on the screen times the size of a voxel.
    assert re.fullmatch(r"\d+\.\d mm", words)
    drawn = in_image(page, ".mark.ruler .line")
    page.reload()
    ready(page)
    expect(page.locator(".mark.ruler text")).to_have_text(words)
    assert in_image(page, ".mark.ruler .line") == pytest.approx(drawn, abs=1)
    slice_shown = slice_of(page)
    page.get_by_role("button", name="Sign out").click()
    sign_in(page, exam.address, "ada")
    page.goto(f"{exam.address}/studies/{exam.now}?scan=0")
    ready(page)
    page.keyboard.press("Home")
    expect(page.locator(".mark.ruler")).to_have_count(0)
    page.get_by_role("button", name=re.compile("^Show .*rene")).click()
    assert slice_of(page) == slice_shown
    expect(page.locator(".mark.ruler")).to_have_count(1)
    expect(page.locator("#measured").get_by_role("button", name="Delete")).to_have_count(0)
    page.get_by_role("button", name="Sign out").click()
    sign_in(page, exam.address, "rene")
    page.goto(f"{exam.address}/studies/{exam.now}?scan=0")
    ready(page)
    answers = iter(["dismiss", "accept"])
    page.on("dialog", lambda dialog: getattr(dialog, next(answers))())
    page.locator("#measured").get_by_role("button", name="Delete").click()
    expect(listed).to_have_count(1)  # asked, and not deleted
    page.locator("#measured").get_by_role("button", name="Delete").click()
    expect(listed).to_have_count(0)
    expect(page.locator(".mark.ruler")).to_have_count(0)
    page.reload()
    ready(page)
    expect(listed).to_have_count(0)


def test_a_length_is_that_of_the_patient(opened):
    """The length equals the distance between the two clicked places in the patient."""
    page = opened("?scan=0")
    x, y = middle(page.locator("#image"))
    page.mouse.click(x - 40, y)
    first = place(page)
    page.mouse.click(x + 60, y)
    expected = np.linalg.norm(place(page) - first)
    page.keyboard.press("r")
    drag(page, (x - 40, y), (x + 60, y))
    length = float(page.locator("#measured li").inner_text().split(" mm")[0])
    assert length == pytest.approx(expected, abs=0.5)
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("#measured").get_by_role("button", name="Delete").click()
    expect(page.locator("#measured li")).to_have_count(0)


def test_a_box_is_kept_as_a_measurement(opened):
    page = opened("?scan=2")  # a series without boxes of other tests
    x, y = middle(page.locator("#image"))
    page.keyboard.press("b")
    drag(page, (x - 20, y), (x + 20, y + 30))
    page.get_by_role("button", name="Keep as a measurement").click()
    expect(page.locator("#measured li")).to_contain_text(re.compile(r"^\d+ x \d+ mm"))
    expect(page.locator("#mark-waits")).to_be_hidden()
    expect(page.locator(".mark.box:not(.pending)")).to_have_count(1)
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("#measured").get_by_role("button", name="Delete").click()
    expect(page.locator("#measured li")).to_have_count(0)


def test_an_earlier_visit_is_one_click_away_and_held_at_the_same_place(opened, exam, tmp_path):
    page = opened("?scan=1")
    rail = page.get_by_role("navigation", name="Series")
    expect(rail).to_contain_text("2025-03-15")
    expect(rail).to_contain_text("earlier, MR head")
    page.get_by_role("link", name="Set the visit of 2025-03-15 beside").click()
    expect(page.locator(".pane")).to_have_count(2)
    ready(page)
    expect(page.locator(".pane").nth(1)).to_contain_text("2025-03-15")
    # The same sequence and plane of that visit.
    expect(page.locator(".pane").nth(1)).to_contain_text("t2_tirm_tra_dark-fluid")
    expect(page.locator("#other-visit")).to_be_visible()
    page.keyboard.press("ArrowDown")
    assert (place(page, 0) == place(page, 1)).all()
    assert slice_of(page, 0) == slice_of(page, 1)
    page.keyboard.press("h")
    page.keyboard.press("x")
    now, then = pixels(page, tmp_path), pixels(page, tmp_path, "#beside-1")
    assert (head(now) == head(then)).mean() > 0.95
    assert np.abs(now - then).max() > 60  # what grew since
    page.get_by_role("link", name="2025-03-15").first.click()
    expect(page).to_have_url(f"{exam.address}/studies/{exam.before}")
    expect(page.get_by_role("navigation", name="Series")).to_contain_text("later, MR head")


def test_a_mouse_notch_is_a_slice_and_a_trackpad_s_distance_counts(opened, tmp_path):
    """Also: no key of NiiVue acts, figures set the window, and the film runs."""
    page = opened("?scan=0&beside=3&layout=2")
    page.keyboard.press("Home")
    page.mouse.move(*middle(page.locator("#image")))

    def roll(down, right=0, times=12):
        for _ in range(times):
            page.mouse.wheel(right, down)
        page.wait_for_timeout(300)  # after a rest a new movement begins

    roll(-4)  # 48 pixels
    assert slice_of(page) == 1
    roll(-10)  # 120
    assert slice_of(page) == 3
    roll(0, right=-60)
    assert slice_of(page) == 3
    roll(100, times=1)
    assert slice_of(page) == 2
    page.keyboard.down("Control")
    roll(-4)  # as a pinch arrives
    page.keyboard.up("Control")
    assert 1.3 < zoom_of(page) < 1.8
    page.keyboard.press("0")
    # A series put together from sagittal slices says so, in the plane that is drawn.
    caption = page.locator(".pane").nth(1).locator("[data-corner=slice]")
    expect(caption).to_have_text(re.compile(r"^axial \d+ of 110, put together from 9 slices"))
    page.locator("#image").focus()
    before = pixels(page, tmp_path)
    page.keyboard.press("v")
    assert (head(pixels(page, tmp_path)) != head(before)).mean() > 0.2  # black and white exchanged
    page.keyboard.press("v")
    assert np.abs(pixels(page, tmp_path) - before).mean() < 0.5
    page.keyboard.press("f")
    expect(page.locator(".pane").first).to_contain_text("Flipped")
    page.keyboard.press("h")
    page.keyboard.press("x")
    flipped = head(pixels(page, tmp_path))
    page.keyboard.press("f")
    plain = head(pixels(page, tmp_path))
    assert (flipped[:, ::-1] == plain).mean() > 0.97
    page.get_by_role("textbox", name="Width").fill("200")
    page.get_by_role("textbox", name="Level").fill("300")
    page.keyboard.press("Enter")
    expect(page.locator(".pane").first).to_contain_text("Window 200, level 300")
    page.get_by_role("textbox", name="Width").fill("0")
    page.keyboard.press("Enter")
    expect(page.locator(".pane").first).to_contain_text("has to be above 0")
    page.locator("#image").focus()
    page.keyboard.press("m")
    captions = page.locator(".pane").first.locator(".caption")
    expect(captions).to_have_text(
        [
            r"axial, slice 2 of 9",
            re.compile(r"coronal \d+ of 120"),
            re.compile(r"sagittal \d+ of 104"),
        ]
    )
    page.keyboard.press(" ")
    page.wait_for_function("() => document.querySelector('.pane').dataset.slice > 3")
    page.keyboard.press(" ")


def test_what_a_reader_set_survives_other_series_and_studies(opened, exam):
    page = opened("?scan=0&layout=2")
    expect(page.locator(".pane")).to_have_count(2)
    expect(page.locator(".pane").nth(1)).to_contain_text("FLAIR")
    for key in "hx":
        page.keyboard.press(key)
    page.locator("[data-do=threshold]").fill("40")
    corner = page.locator(".pane").first.locator("[data-corner=window]")
    automatic = corner.inner_text()
    page.locator("[data-do=window]").select_option("wide")
    expect(corner).not_to_have_text(automatic)  # with the next frame
    window = corner.inner_text()
    page.get_by_role("button", name="Flip").click()
    for query, study in (("?scan=1", exam.now), ("?scan=0", exam.now), ("?scan=0", exam.before)):
        page = opened(query, study)
        # The layout is kept without being in the address, and the first series is hung with it.
        expect(page.locator(".pane")).to_have_count(2)
        # The earlier visit, without tumor, has no heat map.
        for name in ("crosshair", "flip", *(["heat"] if study == exam.now else [])):
            expect(page.locator(f"[data-do={name}]")).to_have_attribute("aria-pressed", "false")
        if study == exam.now:
            expect(page.locator("#from")).to_have_text("40 %")
        expect(page.locator("[data-do=window]")).to_have_value("wide")
        if (query, study) == ("?scan=0", exam.now):
            expect(page.locator(".pane").first.locator("[data-corner=window]")).to_have_text(window)
    page.get_by_role("link", name="One").click()
    expect(page.locator(".pane")).to_have_count(1)


def test_ruler_and_mark_work_in_every_pane_or_say_why_not(opened, exam):
    page = opened(f"?scan=0&beside=1&beside={exam.before}.0", size=(1440, 900))
    images = page.locator(".panes").bounding_box()
    assert images["width"] >= 0.8 * 1440
    assert images["height"] >= 0.8 * 900
    x, y = middle(page.locator("#beside-1"))
    page.keyboard.press("b")
    drag(page, (x - 20, y), (x + 20, y + 30))
    expect(page.locator("#mark-words")).to_contain_text("t2_tirm_tra_dark-fluid")
    expect(page.locator(".pane").nth(1).locator(".mark.pending")).to_have_count(1)
    page.get_by_role("radio", name="t2_tirm_tra_dark-fluid").check()
    verdict = page.get_by_role("button", name="Tumor", exact=True)
    expect(verdict).to_be_in_viewport()
    verdict.click()
    expect(page.locator("#opinion-said")).to_contain_text("Stored: tumor")
    opinion = page.request.get(f"{exam.address}/api/v1/studies/{exam.now}/opinions").json()[0]
    assert (opinion["about"], opinion["scan"], opinion["box"] is None) == ("series", 1, False)
    # Another visit: a box says why not, a length is stored with that visit.
    x, y = middle(page.locator("#beside-2"))
    drag(page, (x - 20, y), (x + 20, y + 30))
    expect(page.locator(".pane").nth(2)).to_contain_text("open this visit to mark it")
    page.keyboard.press("r")
    drag(page, (x - 20, y), (x + 20, y + 30))
    listed = page.locator("#measured li", has_text="2025-03-15")
    expect(listed).to_have_count(1)
    address = f"{exam.address}/api/v1/studies/{exam.before}/measurements"
    assert len(page.request.get(address).json()) == 1
    page.once("dialog", lambda dialog: dialog.accept())
    listed.get_by_role("button", name="Delete").click()
    expect(listed).to_have_count(0)


def test_hot_regions_are_found_in_all_sequences_and_judged(opened, exam):
    page = opened("?scan=0&beside=1", size=(1440, 900))
    regions = page.request.get(f"{exam.address}/api/v1/studies/{exam.now}/regions").json()
    entries = page.locator("#regions li")
    expect(entries).to_have_count(len(regions))
    flair = next(n for n, region in enumerate(regions) if region["scan"] == 1)
    page.keyboard.press("Home")
    entries.nth(flair).locator(".place").click()
    left, back, up = regions[flair]["point_mm"]
    for pane in (0, 1):
        assert place(page, pane) == pytest.approx([-left, -back, up], abs=0.2)
    entries.nth(0).get_by_role("button", name="Accept").click()
    expect(entries.nth(0).locator(".status")).to_have_text("accepted")
    entries.nth(flair).get_by_role("button", name="Reject").click()
    expect(entries.nth(flair).locator(".status")).to_have_text("rejected")
    entries.nth(0).get_by_role("button", name="Correct").click()
    x, y = middle(page.locator("#image"))
    drag(page, (x - 20, y), (x + 20, y + 30))
    page.get_by_role("button", name="Tumor", exact=True).click()
    expect(page.locator("#opinion-said")).to_contain_text("Stored: tumor")
    expect(entries.nth(0).locator(".status")).to_have_text("corrected")
    # All of it goes to the PACS without leaving the page.
    before = place(page)
    page.get_by_role("button", name=re.compile(r"^Send \d+ objects")).click()
    expect(page.locator("#send li")).to_contain_text("waiting; asked for by rene", timeout=60_000)
    assert (place(page) == before).all()


def test_a_layout_hangs_each_sequence_once_in_the_plane_of_the_first(stored, server):
    sequences = [("T1", "sagittal"), ("T1c", "axial"), ("T2", "coronal"), ("T2", "axial")]
    found = [
        finding(sequence, "no_tumor", viewer=VIEWER | {"plane": plane})
        for sequence, plane in [*sequences, ("FLAIR", "axial"), ("T1c", "coronal")]
    ]
    study_id = stored(*found)
    client = server.browser().client
    shown = {}
    for layout in ("1", "2", "4", "all", "none"):
        page = client.get(f"/studies/{study_id}?scan=1&layout={layout}").text
        shown[layout] = re.findall(r'class="pane" data-series="(\d)"', page)
    assert shown["1"] == ["1"]
    assert shown["2"] == ["1", "4"]
    assert shown["4"] == ["1", "4", "3", "0"]
    assert shown["all"] == ["1", "4", "3", "0", "5", "2"]
    # The last known layout is kept for this account; series set beside by hand go before it.
    assert shown["none"] == ["1"]
    page = client.get(f"/studies/{study_id}?scan=1").text
    assert page.count('class="pane"') == 6
    page = client.get(f"/studies/{study_id}?scan=1&beside=").text
    assert page.count('class="pane"') == 1
    other = server.browser("ada").client.get(f"/studies/{study_id}?scan=1").text
    assert other.count('class="pane"') == 1


def test_a_study_of_another_project_is_not_shown_beside(stored, server):
    shared = {"patient_key": "a" * 64, "patient_name": "Doe, Jane", "study_date": "2026-01-01"}
    study_id = stored(finding(viewer=VIEWER), **shared)
    other = stored(finding(viewer=VIEWER), finding(), **shared | {"patient_key": "b" * 64})
    nobody = stored(*[finding(viewer=VIEWER)] * 3, **shared | {"patient_key": ""})
    unknown = stored(*[finding(viewer=VIEWER)] * 4, **shared | {"patient_key": ""})
    client = server.browser().client
    for study, foreign in ((study_id, other), (nobody, unknown), (study_id, nobody)):
        page = client.get(f"/studies/{study}?beside={foreign}.0").text
        assert page.count('class="pane"') == 1
        # The study's neighbors in the worklist, of any patient, are before the title.
        below = page.partition("<h1>")[2]
        assert below
        assert foreign not in below


def test_slices_are_drawn_as_they_arrive(page, exam, tmp_path):
    sign_in(page, exam.address, "rene")
    line = page.context.new_cdp_session(page)
    line.send("Network.enable")

    def speed(bytes_a_second):
        rates = {"downloadThroughput": bytes_a_second, "uploadThroughput": -1}
        line.send("Network.emulateNetworkConditions", {"offline": False, "latency": 0, **rates})

    with held(page, "**/files/0.slices"):
        with page.expect_request("**/files/0.slices"):
            page.goto(f"{exam.address}/studies/{exam.now}?scan=0", wait_until="commit")
        speed(3000)
    pane = page.locator(".pane").first
    corner = pane.locator("[data-corner=slice]")
    expect(corner).to_contain_text("slices are here, the others come")
    expect(page.locator("[data-do=ruler]")).to_be_enabled()
    first = pane.get_attribute("data-slice")
    seen = pixels(page, tmp_path)
    assert seen.std() > 20
    # A reader who goes where nothing has arrived reads that, and the slice comes before the others.
    with page.expect_request("**/files/0.slices?near=0&most=9"):
        page.keyboard.press("Home")
    expect(pane.locator(".missing")).to_have_text("This slice has not arrived yet")
    speed(-1)
    ready(page)
    expect(pane.locator(".missing")).to_have_count(0)
    expect(corner).to_have_text(re.compile(r"^Slice 1 of \d+$"))
    page.keyboard.press("p")
    expect(pane).to_have_attribute("data-slice", first)
    late = pixels(page, tmp_path)
    page.reload()
    ready(page)
    # Slice by slice or at once: the same image.
    assert np.abs(late - pixels(page, tmp_path)).max() <= 2
    assert not page.faults


def test_slices_that_do_not_arrive_are_missed(page, exam):
    sign_in(page, exam.address, "rene")

    def broken(route):
        route.fulfill(body=route.fetch().body()[:-9000])

    page.route("**/files/0.slices", broken)
    page.goto(f"{exam.address}/studies/{exam.now}?scan=0")
    message = page.locator("[data-corner=message]").first
    expect(message).to_contain_text(re.compile(r"\d+ of \d+ slices arrived, the others did not"))
