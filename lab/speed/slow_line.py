"""Time what a reader waits for over a slow line: the first image, its neighbors, the whole series.

What the line alone takes follows from the bytes that are sent, whatever else the machine does.
Debian's Chromium without a graphics card opens a series of 192 slices at 4 Mbit/s with 40 ms of
latency, with nothing in its cache.
Run: python -m lab.speed.slow_line [--series FOLDER] [--json FILE]
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, sync_playwright

from meninx._assess.speed import machine, make_inputs
from meninx._web.store.settings import Settings
from tests.web.browsing import FLAGS, sign_in
from tests.web.conftest import Server, served

SIZE = {"width": 1440, "height": 900}
LINE = {"offline": False, "latency": 40, "downloadThroughput": 500_000, "uploadThroughput": 500_000}
# Slices that are the first one and those within ten of it.
NEAR = 21
# Number of slices of the first series; a head scanned in 3-D may be cut another way than stored.
COUNT = (
    "(({shape, axis}) => shape[axis])"
    "(JSON.parse(document.getElementById('viewer-data').textContent).panes[0])"
)
# What is waited for, in the page; the pane counts the slices that have arrived.
SHOWN = {
    "picture of the hottest slice": "document.querySelector('.pane > img')?.complete",
    "first slice with its gray values": "{pane}.dataset.arrived >= 1",
    "those within 10 slices": f"{{pane}}.dataset.arrived >= {NEAR}",
    "all slices": f"{{pane}}.dataset.arrived >= {COUNT}",
    "all slices and the heat map": "document.querySelector('#viewer[data-ready]')",
}
# Scripts of a study's page.
SCRIPTS = ("app", "viewer", "session")
FAR = "a slice that has not arrived, from the key to the image"


def seconds_of(browser: Browser, address: str, study: str, *, far: bool) -> dict[str, float]:
    """Return the time of each wait, s, from the click on a study.

    Args:
        browser: Chromium.
        address: Address of the server.
        study: Id of a study whose first series has 192 slices.
        far: Whether the reader goes to the last slice at once; then only that wait is timed.

    Returns:
        Seconds by what was waited for.
    """
    page = browser.new_context(viewport=SIZE, bypass_csp=True).new_page()
    sign_in(page, address, "rene")
    hand = page.context.new_cdp_session(page)
    hand.send("Network.enable")
    hand.send("Network.setCacheDisabled", {"cacheDisabled": True})
    hand.send("Network.emulateNetworkConditions", LINE)
    page.goto(f"{address}/studies/{study}", wait_until="commit")

    def waited(condition: str) -> float:
        shown = condition.replace("{pane}", "document.querySelector('.pane')?")
        handle = page.wait_for_function(f"({shown}) && performance.now()", timeout=300_000)
        return float(handle.json_value()) / 1000

    if far:
        waited(SHOWN["first slice with its gray values"])
        began = float(page.evaluate("performance.now()")) / 1000
        page.keyboard.press("End")
        ended = waited(
            f"{{pane}}.dataset.slice == {COUNT} && !{{pane}}.querySelector('.missing')",
        )
        seconds = {FAR: ended - began}
    else:
        seconds = {name: waited(condition) for name, condition in SHOWN.items()}
    page.context.close()
    return {name: round(value, 2) for name, value in seconds.items()}


def line_bytes(server: Server, study: str) -> dict[str, int]:
    """Return how many bytes have come by each wait, in the order that the page asks for them."""
    browser = server.browser()
    shown = f"/studies/{study}/files/0"

    def size(path: str) -> int:
        answer = browser.client.get(path)
        return int(answer.headers["content-length"])

    static = ("meninx.css", "icons.svg", *(f"built/{name}.js" for name in SCRIPTS))
    page = size(f"/studies/{study}") + sum(size(f"/static/{name}") for name in static)
    page += size(f"{shown}-first.jpg")
    file = server.settings.studies / study / "shown" / "0.slices"
    with file.open("rb") as opened:
        count, header = np.frombuffer(opened.read(8), "<u4").tolist()
        lengths = np.frombuffer(opened.read(8 * count), "<u4")[count:]
    heat = size(f"{shown}-heat.nii") if browser.client.get(f"{shown}-heat.nii").is_success else 0
    slices = [page + header + int(lengths[:most].sum()) for most in (1, NEAR, count)]
    return dict(zip(SHOWN, [page, *slices, slices[-1] + heat], strict=True))


def measured(folder: Path, series: Path | None) -> dict[str, Any]:
    """Return all figures."""
    series = series or make_inputs(folder / "inputs", 1).series
    server = Server(Settings(data=folder / "data", worker_seconds=3000))
    files = {path.name: path.read_bytes() for path in series.iterdir() if path.is_file()}
    study = server.browser().upload(files, "192 slices").json()["id"]
    server.work(study)
    server.jobs.close()
    sent = line_bytes(server, study)
    with sync_playwright() as playwright, served(folder / "data", "--no-worker") as address:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        seconds = seconds_of(browser, address, study, far=False)
        seconds |= seconds_of(browser, address, study, far=True)
        browser.close()
    return {
        "series": series.name,
        "bytes a second": LINE["downloadThroughput"],
        "bytes": sent,
        "machine": machine(),
        "seconds in Chromium": seconds,
    }


def main() -> None:
    """Print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=Path, help="folder of 192 DICOM slices; simulated without")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measured(Path(folder), options.series)
    print(json.dumps(figures, indent=2))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
