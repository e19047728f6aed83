"""A real browser: Debian's Chromium, and what tests do with it."""

from contextlib import contextmanager

import numpy as np
from PIL import Image
from playwright.sync_api import expect

from tests.web.conftest import PASSWORD

# WebGL 2 without a graphics card.
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


# Cookies of who has signed in, by server and name: checking a password takes 0.2 s.
SIGNED_IN: dict[tuple[str, str], list] = {}


def sign_in(page, address, name):
    """Show the worklist, signed in: by the form, or with the session of an earlier test."""
    if cookies := SIGNED_IN.get((address, name)):
        page.context.add_cookies(cookies)
        page.goto(address)
    if not cookies or "/sign-in" in page.url:  # no session, or one that has ended
        page.goto(f"{address}/sign-in")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
    expect(page.locator("#studies")).to_be_visible()
    SIGNED_IN[address, name] = page.context.cookies()


def ready(page):
    expect(page.locator("#viewer[data-ready]")).to_be_visible(timeout=60_000)


@contextmanager
def held(page, pattern):
    """Hold back what answers requests until the block ends."""
    routes = []
    page.route(pattern, lambda route: routes.append(route))
    yield
    for route in routes:
        route.continue_()
    page.unroute(pattern)


def pixels(page, tmp_path, canvas="#image"):
    path = tmp_path / "canvas.png"
    page.wait_for_timeout(300)
    page.locator(canvas).screenshot(path=path)
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB")).astype(int)
