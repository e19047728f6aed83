"""A real browser: Debian's Chromium, and what tests do with it."""

import numpy as np
from PIL import Image
from playwright.sync_api import expect

from tests.web.conftest import PASSWORD

# WebGL 2 without a graphics card.
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def sign_in(page, address, name):
    page.goto(f"{address}/sign-in")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("#studies")).to_be_visible()


def ready(page):
    expect(page.locator("#viewer[data-ready]")).to_be_visible(timeout=60_000)


def pixels(page, tmp_path, canvas="#image"):
    path = tmp_path / "canvas.png"
    page.wait_for_timeout(300)
    page.locator(canvas).screenshot(path=path)
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB")).astype(int)
