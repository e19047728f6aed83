"""Make docs/gallery-* from synthetic scans: each by the command it stands under.

Run: python -m lab.pictures.gallery OUT, then look at OUT, and add --docs to renew docs/gallery-*.
"""

import argparse
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from tests.web.browsing import FLAGS

DOCS = Path(__file__).parents[2] / "docs"
WIDTH = 1100
COLORS = 128
# Commands in order, each with whether a scan may be refused; they run in OUT.
COMMANDS = {
    "phantom data --count 24 --format png --seed 3": False,
    "phantom volumes --count 12 --seed 3": False,
    "demo --output demo": True,
    "audit data --output audit.html": False,
    "evaluate meninx volumes --output evaluation": False,
    "train --preview augmentation.html": False,
    "score-archive volumes/studies --out table": True,
}
# Page, selector of the part that is shown ("" for its top), and its height, pixels.
SHOWN = {
    "demo": ("demo/report.html", "", 700),
    "audit": ("audit.html", "", 900),
    "evaluation": ("evaluation/report.html", "", 900),
    "curves": ("evaluation/report.html", ".figures", 640),
    "misses": ("evaluation/misses.html", "", 620),
    "augmentation": ("augmentation.html", "", 900),
    "archive": ("table/_meninx/summary.html", "", 760),
}


def take_picture(page: Any, path: Path, selector: str, height: int, output: Path) -> None:
    """Take a screenshot of a part of a page."""
    page.set_viewport_size({"width": WIDTH, "height": height})
    page.goto(path.resolve().as_uri())
    if selector:
        page.locator(selector).first.evaluate("element => element.scrollIntoView()")
    page.wait_for_timeout(300)
    page.screenshot(path=output)


def write_small(path: Path, target: Path) -> None:
    """Write a picture in few colors, for small pages."""
    with Image.open(path) as opened:
        opened.convert("RGB").quantize(COLORS).save(target, optimize=True)


def main() -> None:
    """Run the commands, and take screenshots of their pages."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--docs", action="store_true")
    options = parser.parse_args()
    output: Path = options.output
    output.mkdir(parents=True, exist_ok=True)
    for command, may_refuse in COMMANDS.items():
        words = [sys.executable, "-m", "meninx", *shlex.split(command)]
        if subprocess.run(words, cwd=output, check=False).returncode > may_refuse:
            raise SystemExit(f"meninx {command}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=[*FLAGS, "--allow-file-access-from-files"],
        )
        page = browser.new_page()
        for name, (path, selector, height) in SHOWN.items():
            take_picture(page, output / path, selector, height, output / f"gallery-{name}.png")
        browser.close()
    if options.docs:
        for name in SHOWN:
            write_small(output / f"gallery-{name}.png", DOCS / f"gallery-{name}.png")


if __name__ == "__main__":
    main()
