"""Time the web application on its own server, and kill it in between.

Page shell, a 192-slice series from the end of its upload to the finding, a worklist of 10,000
studies, 50 uploads at once, and kill -9 of server and worker in turn: nothing lost, nothing twice.
Run: python -m lab.speed.web [--json FILE], with nothing else running.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

from meninx._assess.speed import machine, make_inputs
from meninx._synthesis.phantom_studies import make_studies
from meninx._synthesis.writing import write_studies
from meninx._web.auth.accounts import ADMINISTRATOR, add_user
from meninx._web.store.database import (
    DONE,
    Opinion,
    Study,
    migrate,
    now,
    open_database,
    sessions_of,
)
from meninx._web.store.settings import Settings

PASSWORD = "correct horse battery"
AT_ONCE, DIFFERENT, LISTED = 50, 5, 10_000


class Running:
    """A server and its worker, in processes of their own."""

    def __init__(self, data: Path) -> None:
        self.data = data
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()

    def start(self) -> None:
        """Start, and wait until the port is open."""
        command = [sys.executable, "-m", "meninx", "serve", "--data", str(self.data)]
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port)], stderr=subprocess.DEVNULL
        )
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)

    def kill(self, what: str) -> None:
        """Kill -9 the `server`, with its worker orphaned and killed too, or the `worker` alone."""
        found = subprocess.run(
            ["pgrep", "-f", f"worker --beside --data {self.data}"], capture_output=True, text=True
        )
        if what == "server":
            self.process.kill()
            self.process.wait()
        for number in found.stdout.split():
            os.kill(int(number), signal.SIGKILL)
        if what == "server":
            self.start()

    def stop(self) -> None:
        """Stop the server."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)

    def megabytes(self) -> float:
        """Return the memory that the server has now."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2


class Client:
    """Speak to a server as somebody who is signed in."""

    def __init__(self, port: int) -> None:
        self.http = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=120)
        self.http.post("/sign-in", data={"name": "ada", "password": PASSWORD})
        found = re.search(r'name="csrf" content="([^"]+)"', self.http.get("/").text)
        self.headers = {"x-csrf-token": found[1] if found else ""}

    def upload(self, files: dict[str, bytes], title: str) -> str:
        """Upload files, trying again while the server is down; return the study."""
        address = self._asked("POST", "/api/v1/uploads", json={"title": title})["id"]
        for name, data in files.items():
            path = f"/api/v1/uploads/{address}/parts"
            self._asked("PUT", path, params={"name": name, "offset": 0}, content=data)
        return self._asked("POST", f"/api/v1/uploads/{address}/finish")["id"]

    def _asked(self, method: str, path: str, **given: Any) -> Any:
        for _ in range(100):
            try:
                answer = self.http.request(method, path, headers=self.headers, **given)
            except httpx2.TransportError:
                time.sleep(0.2)
                continue
            answer.raise_for_status()
            return answer.json()
        raise SystemExit(f"{path}: no answer")

    def seconds(self, path: str, runs: int = 15, **headers: str) -> float:
        """Return the median time of a page."""
        times = []
        for _ in range(runs):
            began = time.perf_counter()
            answer = self.http.get(path, headers=headers)
            if answer.status_code != 304:
                answer.raise_for_status()
            times.append(time.perf_counter() - began)
        return float(np.median(times))

    def wait(self, study: str) -> float:
        """Return how long a study took to be done."""
        began = time.perf_counter()
        while self._asked("GET", f"/api/v1/studies/{study}")["state"] != DONE:
            time.sleep(0.05)
        return time.perf_counter() - began


def browser_seconds(port: int, study: str) -> dict[str, float]:
    """Return what a reader waits for in Debian's Chromium, without a graphics card.

    Args:
        port: Port of the server.
        study: Id of a study with a scored series.

    Returns:
        Seconds until the worklist is drawn, and from the click on a study to its first image.
    """
    from playwright.sync_api import sync_playwright

    flags = [
        "--no-sandbox",
        "--use-gl=angle",
        "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        page.goto(f"http://127.0.0.1:{port}/sign-in")
        page.get_by_label("Name").fill("ada")
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_selector("#studies")
        listed, shown = [], []
        for _ in range(5):
            began = time.perf_counter()
            page.goto(f"http://127.0.0.1:{port}/")
            page.wait_for_selector("#studies tbody tr")
            listed.append(time.perf_counter() - began)
            began = time.perf_counter()
            page.goto(f"http://127.0.0.1:{port}/studies/{study}")
            page.wait_for_selector("#viewer[data-ready]")
            shown.append(time.perf_counter() - began)
        browser.close()
    return {
        f"worklist of {LISTED} studies in Chromium, s": float(np.median(listed)),
        "192 slices, first image in Chromium, s": float(np.median(shown)),
    }


def files_of(folder: Path) -> dict[str, bytes]:
    """Return a folder's files by name."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def many_listed(settings: Settings) -> None:
    """Put thousands of studies into the worklist."""
    engine = open_database(settings.address)
    slices = [{"index": n, "probability": 0.123456, "peak": [n, n, n]} for n in range(40)]
    findings = [{"scan": f"series {n}", "status": "scored", "slices": slices} for n in range(4)]
    with sessions_of(engine).begin() as session:
        studies = [
            Study(
                title=f"listed {n}",
                content_hash=f"listed {n}",
                state=DONE,
                findings=findings,
                decision=("tumor", "refer", "no_tumor")[n % 3],
                priority=n % 5,
                probability=n / LISTED,
                received=now(),
                patient_name=f"Doe{n % 977}, Jane",
                patient_id=f"P-{n % 4001}",
                accession=f"A-{n}",
                description="MR head",
                study_date=f"20{n % 26:02}-{n % 12 + 1:02}-{n % 28 + 1:02}",
            )
            for n in range(LISTED)
        ]
        session.add_all(studies)
        session.flush()
        session.add_all(
            Opinion(study_id=study.id, user_name="ada", verdict="tumor", signature="")
            for study in studies[::3]
        )
    engine.dispose()


def list_seconds(client: "Client", study: str) -> dict[str, float]:
    """Return how long a list of thousands of studies takes as a reader asks for it.

    Args:
        client: Somebody who is signed in.
        study: Id of a study of the list.

    Returns:
        Seconds by what was asked for.
    """
    htmx = {"hx-request": "true"}
    asked = {
        f"worklist of {LISTED} studies, s": "/",
        "searched, s": "/?search=listed+77",
        "searched for name and ID, s": "/?search=doe77+p-1054",
        "sorted by patient, page 100, s": "/?sort=patient&page=100",
        "unread of one year, by opinions, s": "/?from=2012-01-01&to=2012-12-31&sort=opinions",
    }
    seconds = {name: client.seconds(path, **htmx) for name, path in asked.items()}
    seconds["study page with its neighbors, s"] = client.seconds(
        f"/studies/{study}?list=sort%3Dpatient"
    )
    tag = client.http.get("/", headers=htmx | {"x-meninx-poll": "1"}).headers["etag"]
    seconds["list that is as it was, s"] = client.seconds("/", **htmx, **{"if-none-match": tag})
    return seconds


def measured(folder: Path) -> dict[str, Any]:
    """Return all figures."""
    settings = Settings(data=folder / "data")
    settings.data.mkdir()
    migrate(settings.address)
    engine = open_database(settings.address)
    with sessions_of(engine).begin() as session:
        add_user(session, "ada", PASSWORD, ADMINISTRATOR)
    engine.dispose()
    series = files_of(make_inputs(folder / "inputs", 1).series)
    studies = make_studies(DIFFERENT, 9_000_000)
    made = [files_of(path) for path in write_studies(studies, folder / "cases", "dicom")]
    # A file that is no scan makes each upload another one.
    cases = [made[n % DIFFERENT] | {"note.txt": f"{n}".encode()} for n in range(AT_ONCE)]
    running = Running(settings.data)
    client = Client(running.port)
    figures: dict[str, Any] = {"machine": machine(), "page shell, s": client.seconds("/account")}
    study = client.upload(series, "192 slices")
    figures["192 slices, end of upload to finding, s"] = client.wait(study)
    figures["study page, s"] = client.seconds(f"/studies/{study}")
    figures["its volume to the viewer, s"] = client.seconds(f"/studies/{study}/files/0.slices", 5)
    many_listed(settings)
    htmx = {"hx-request": "true"}
    figures |= list_seconds(client, study)
    figures |= browser_seconds(running.port, study)
    before = running.megabytes()
    began = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        clients = list(pool.map(Client, [running.port] * AT_ONCE))
        sent = [
            pool.submit(client.upload, case, f"case {n}")
            for n, (client, case) in enumerate(zip(clients, cases, strict=True))
        ]
        answered = [client.seconds("/", 1, **htmx) for _ in range(10)]
        for what in ("worker", "server", "worker"):
            time.sleep(3)
            running.kill(what)
        received = {upload.result() for upload in sent}
    figures[f"{AT_ONCE} uploads at once: worklist meanwhile, s"] = max(answered)
    for study in received:
        client.wait(study)
    figures[f"{AT_ONCE} uploads at once, killed three times, until all are scored, s"] = (
        time.perf_counter() - began
    )
    figures["server's memory before and after, MB"] = [before, running.megabytes()]
    with sqlite3.connect(settings.data / "meninx.sqlite") as database:
        counts = dict(
            database.execute(
                "select study_id, count(*) from audit where action = 'scored' group by study_id"
            )
        )
    figures["lost"] = AT_ONCE - len(received & set(counts))
    figures["scored twice"] = sum(counts[study] > 1 for study in received)
    running.stop()
    return figures


def main() -> None:
    """Print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measured(Path(folder))
    print(json.dumps(figures, indent=2))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
