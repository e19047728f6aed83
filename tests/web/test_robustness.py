"""Killed servers and workers lose no study and score none twice; abandoned uploads are deleted."""

import io
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import httpx2
import pydicom
import pytest
from playwright.sync_api import expect

from meninx._synthesis.phantom import Phantom, grid_of
from meninx._synthesis.writing import write_dicom
from meninx._web.auth.accounts import add_user
from meninx._web.store.database import now
from meninx._web.studies.jobs import Jobs
from tests.clinic.conftest import free_port
from tests.web.browsing import sign_in
from tests.web.conftest import PASSWORD, served
from tests.web.test_arrival import changed

UPLOADS, REAL = 50, 8
SECONDS = 150


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    """Two slices of a head, and two that are too small to be scored, as bytes."""
    kinds = []
    for shape, spacing in (((104, 120, 9), (1.9, 1.8, 11.0)), ((20, 24, 3), (9.0, 9.0, 30.0))):
        scan, _ = Phantom(7, "glioma").render("T1c", grid_of("axial", shape, spacing))
        paths = sorted(write_dicom(scan, tmp_path_factory.mktemp("slices"), 7))[:2]
        kinds.append([path.read_bytes() for path in paths])
    return kinds


def exam_of(number, slices):
    """The two files of one patient's exam; every `REAL`th is a head, the others take no time."""
    head, small = slices
    uid = f"1.2.3.{number}"
    return {
        f"{index}.dcm": changed(
            data,
            PatientID=f"P{number}",
            StudyInstanceUID=uid,
            SeriesInstanceUID=f"{uid}.1",
            SOPInstanceUID=f"{uid}.1.{index}",
        )
        for index, data in enumerate(head if number % REAL == 0 else small)
    }


def send(client, files):
    """Upload an exam, and try again after each lost response."""
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends:
        try:
            begun = client.post("/api/v1/uploads", json={}).raise_for_status().json()
            address = f"/api/v1/uploads/{begun['id']}"
            form = [("files", (name, io.BytesIO(data))) for name, data in files.items()]
            client.post(f"{address}/files", files=form).raise_for_status()
            answer = client.post(f"{address}/finish")
            if answer.is_success:
                return answer.json()["id"]
            # It was finished, and the response was lost: begin again.
            assert "no such upload" in answer.text
        except httpx2.TransportError:
            time.sleep(0.1)
    return pytest.fail("the server does not answer")


class Served:
    """A server that can be killed, on one folder and port."""

    def __init__(self, data, port):
        self.data, self.port = data, port
        self.start()

    def start(self):
        command = [sys.executable, "-m", "meninx", "serve", "--data", str(self.data)]
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill_worker(self):
        found = subprocess.run(
            ["pgrep", "-f", f"worker --beside --data {self.data}"], capture_output=True, check=True
        )
        os.kill(int(found.stdout.split()[0]), signal.SIGKILL)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def states(self):
        with sqlite3.connect(self.data / "meninx.sqlite") as database:
            return Counter(state for (state,) in database.execute("select state from studies"))

    def wait_until(self, what):
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            if what(self.states()):
                return
            time.sleep(0.05)
        pytest.fail(f"it took too long: {self.states()}")


@contextmanager
def running(data, port):
    server = Served(data, port)
    try:
        yield server
    finally:
        server.process.send_signal(signal.SIGINT)
        server.process.wait(30)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_fifty_uploads_survive_a_killed_worker_and_a_killed_server(
    node_account, slices, monkeypatch
):
    settings, _, key = node_account
    exams = [exam_of(number, slices) for number in range(UPLOADS)]
    headers = {"authorization": f"Bearer {key}"}
    with running(settings.data, free_port()) as server, ThreadPoolExecutor(UPLOADS) as pool:
        with httpx2.Client(
            base_url=f"http://127.0.0.1:{server.port}",
            headers=headers,
            timeout=60,
            limits=httpx2.Limits(max_connections=UPLOADS),
        ) as client:
            sent = [pool.submit(send, client, exam) for exam in exams]
            server.wait_until(lambda states: states["done"] >= 5)
            server.kill_worker()
            server.wait_until(lambda states: states["done"] >= 15)
            server.kill()
            killed_at = server.states()
            server.start()
            received = [upload.result() for upload in sent]
        server.wait_until(lambda states: states == {"done": UPLOADS})
    # The kills came before all studies were done.
    assert killed_at["done"] < UPLOADS
    assert len(set(received)) == UPLOADS
    with sqlite3.connect(settings.data / "meninx.sqlite") as database:
        found = database.execute("select id, study_uid, decision from studies").fetchall()
        scored = database.execute("select study_id from audit where action = 'scored'").fetchall()
    assert Counter(study for (study,) in scored) == dict.fromkeys(received, 1)
    uids = {study: uid for study, uid, _ in found}
    assert [uids[study] for study in received] == [f"1.2.3.{n}" for n in range(UPLOADS)]
    decisions = {study: decision for study, _, decision in found}
    for number, study in enumerate(received):
        assert (decisions[study] == "refused") == (number % REAL != 0)
        files = sorted((settings.studies / study / "files").iterdir())
        read = [pydicom.dcmread(path, specific_tags=["PatientID"]).PatientID for path in files]
        assert read == [f"P{number}"] * 2
    # Only the killed server's incomplete uploads are deleted, after a day.
    jobs = Jobs(settings)
    jobs.clean_up()
    left = len(list(settings.uploads.iterdir()))
    monkeypatch.setattr("meninx._web.studies.uploads.now", lambda: now() + timedelta(hours=25))
    jobs.clean_up()
    jobs.close()
    assert not list(settings.uploads.iterdir()), left
    assert {path.name for path in settings.studies.iterdir()} == set(received)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_page_reports_a_stored_study_after_a_lost_response(page, node_account, tmp_path):
    settings, sessions, _ = node_account
    with sessions.begin() as session:
        add_user(session, "rene", PASSWORD)
    lost = []

    def lose(route):
        if lost:
            route.continue_()
        else:
            lost.append(route.fetch().status)
            route.abort()

    (tmp_path / "a.txt").write_text("words")
    page.route("**/finish*", lose)
    with served(settings.data, "--no-worker") as address:
        sign_in(page, address, "rene")
        page.locator("#files").set_input_files(tmp_path / "a.txt")
        expect(page.locator(".upload-words").first).to_have_text("One study was here already.")
        expect(page.locator("#studies tbody tr")).to_have_count(1)
    assert lost == [201]
    assert len(list(settings.studies.iterdir())) == 1
