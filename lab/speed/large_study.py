"""Time 1,400 DICOM files of one study, through the API as the page sends them and through the node.

From the first byte to what the viewer loads; then the same files by dcmtk's storescu to
`meninx receive`, which hands them over to the worklist of another server.
Run: python -m lab.speed.large_study [--files N] [--json FILE], with nothing else running.
"""

import argparse
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

from meninx._assess.speed import machine
from meninx._clinic.ledger import RESULTS
from meninx._scan.scan import Scan
from meninx._synthesis.phantom import grid_of
from meninx._synthesis.phantom_studies import make_study
from meninx._synthesis.writing import dicom_slice, stable_uid
from meninx._web.auth.accounts import Reader, add_token, add_user
from meninx._web.store.database import migrate, open_database, sessions_of
from meninx._web.store.settings import Settings

SEED, PASSWORD = 8_300_000, "correct horse battery"
PATIENT = {"PatientID": "LARGE-1", "PatientName": "Large^Study", "AccessionNumber": "A-1400"}
SEQUENCES = ("T1", "T1c", "FLAIR", "T2", "T1c", "T2", "FLAIR")
RENDERED = 25
# As frontend/src/app.js sends them.
BATCH_BYTES, BATCH_FILES = 32 * 1024**2, 400
QUIET = 2.0
# The limit of a study's time is for hostile files; a busy machine is slow without being attacked.
PATIENCE = {"MENINX_WEB_WORKER_SECONDS": "3000"}


def write_large_study(folder: Path, count: int) -> list[Path]:
    """Write series of 256 x 256 slices of one exam, with each slice a few times."""
    folder.mkdir()
    length = -(-count // len(SEQUENCES))
    paths: list[Path] = []
    for number, sequence in enumerate(SEQUENCES, 1):
        grid = grid_of("axial", (256, 256, RENDERED), (0.95, 0.95, 180 / RENDERED))
        scan = make_study("large", SEED, "glioma", sequence, "axial", grid).scan
        affine, times = np.array(scan.affine), -(-length // RENDERED)
        affine[:3, 2] /= times
        finer = Scan("large", np.repeat(scan.voxels, times, axis=2), affine, scan.sequence)
        for index in range(min(length, count - len(paths))):
            dataset = dicom_slice(finer, index, SEED)
            for name, value in PATIENT.items():
                setattr(dataset, name, value)
            dataset.StudyInstanceUID = stable_uid("large study", SEED)
            dataset.SeriesInstanceUID = stable_uid("large series", SEED, number)
            dataset.SeriesNumber = number
            uid = stable_uid("large instance", SEED, number, index)
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
            paths.append(folder / f"{number}-{index:04}.dcm")
            dataset.save_as(paths[-1], enforce_file_format=True)
    return paths


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def running(verb: str, port: int, *options: str, **environment: str) -> Iterator[subprocess.Popen]:
    """Run a verb of meninx that listens on a port, and end it in good order."""
    command = [sys.executable, "-m", "meninx", verb, "--port", str(port), *options]
    with subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def new_server(data: Path) -> str:
    """Make the database of a server with an account for programs; return its key."""
    settings = Settings(data=data)
    data.mkdir()
    migrate(settings.address)
    engine = open_database(settings.address)
    with sessions_of(engine).begin() as session:
        user = add_user(session, "program", PASSWORD)
        session.flush()
        key = add_token(session, Reader(user.id, "program", "reader"), "node", "node", 1)
    engine.dispose()
    return key


@contextmanager
def client_of(port: int, key: str) -> Iterator[httpx2.Client]:
    """Open connections to a server."""
    headers = {"authorization": f"Bearer {key}"}
    with httpx2.Client(
        base_url=f"http://127.0.0.1:{port}/api/v1", headers=headers, timeout=600
    ) as client:
        yield client


def batches(paths: list[Path]) -> Iterator[list[Path]]:
    """Yield the files of each request."""
    batch: list[Path] = []
    for path in paths:
        size = sum(file.stat().st_size for file in batch) + path.stat().st_size
        if batch and (size > BATCH_BYTES or len(batch) == BATCH_FILES):
            yield batch
            batch = []
        batch.append(path)
    yield batch


def megabytes(process: subprocess.Popen) -> float:
    """Return the resident memory of a process, MB."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2


class Clock:
    """Seconds from one step to the next."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    def __call__(self) -> float:
        """Return the seconds since the last call, or since its creation."""
        before, self._began = self._began, time.perf_counter()
        return self._began - before


def wait_for_study(client: httpx2.Client, *, done: bool) -> dict[str, Any]:
    """Return the only study of the worklist once it is listed, or scored."""
    while True:
        listed = client.get("/studies", params={"state": "done" if done else ""}).json()
        if listed["count"]:
            return dict(listed["studies"][0])
        time.sleep(0.1)


def processor_seconds() -> float:
    """Return the processor time of finished child processes, s: the same on a busy machine."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def check(study: dict[str, Any], count: int) -> None:
    """Stop if the study is incomplete, or has another patient."""
    identity = (study["patient_id"], study["patient_name"], study["accession"])
    if identity != ("LARGE-1", "Large, Study", "A-1400"):
        raise SystemExit(f"another patient: {identity}")
    slices = [series["slices"] for series in study["series"]]
    if sum(slices) != count or len(slices) != len(SEQUENCES):
        raise SystemExit(f"incomplete: {slices}")


def viewer_figures(port: int, study_id: str) -> dict[str, Any]:
    """Return the times of a study's page and of the data of its first image.

    Args:
        port: Port of the server.
        study_id: The study, scored.

    Returns:
        Times, s, and sizes, MB.
    """
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as person:
        person.post("/sign-in", data={"name": "program", "password": PASSWORD})
        clock = Clock()
        page = person.get(f"/studies/{study_id}").raise_for_status().text
        figures: dict[str, Any] = {"viewer: page of the study, s": clock()}
        found = re.search(r'id="viewer-data">(.*?)</script>', page, re.DOTALL)
        pane = json.loads(found[1] if found else "{}")["panes"][0]
        files = [pane[name] for name in ("volume", "heat") if pane[name]]
        first = [person.get(name).raise_for_status() for name in files]
        figures["viewer: its first series, s"] = clock()
        figures["viewer: its first series, MB sent"] = (
            sum(response.num_bytes_downloaded for response in first) / 1e6
        )
        figures["viewer: its first series unpacked, MB"] = (
            sum(len(response.content) for response in first) / 1e6
        )
        clock()
        for name, response in zip(files, first, strict=True):
            again = person.get(name, headers={"if-none-match": response.headers["etag"]})
            if again.status_code != 304:
                raise SystemExit(f"{name}: sent again, status {again.status_code}")
        figures["viewer: again, nothing new, s"] = clock()
    return figures


def through_the_api(paths: list[Path], folder: Path) -> dict[str, Any]:
    """Return the figures of an upload as the page does it."""
    key, port = new_server(folder), free_port()
    total = sum(path.stat().st_size for path in paths)
    figures: dict[str, Any] = {"files": len(paths), "MB": total / 1e6}
    with (
        running("serve", port, "--data", str(folder), **PATIENCE) as server,
        client_of(port, key) as client,
    ):
        clock = Clock()
        upload = client.post("/uploads", json={"title": "large"}).raise_for_status().json()["id"]
        for batch in batches(paths):
            form = [("files", (path.name, path.read_bytes())) for path in batch]
            client.post(f"/uploads/{upload}/files", files=form).raise_for_status()
        figures["API: files sent, s"] = clock()
        made = client.post(f"/uploads/{upload}/finish").raise_for_status().json()
        figures["API: sorted into a study, s"] = clock()
        if len(made["studies"]) != 1:
            raise SystemExit(f"{len(made['studies'])} studies")
        study = wait_for_study(client, done=True)
        figures["API: scored, s"] = clock()
        check(study, len(paths))
        figures |= viewer_figures(port, study["id"])
        figures["API: server's memory, MB"] = megabytes(server)
    figures["API: server and worker, s of a core"] = processor_seconds()
    return figures


def through_the_node(paths: list[Path], folder: Path) -> dict[str, Any]:
    """Return the figures of the same files from storescu into the node and on to the worklist."""
    key, port, node_port = new_server(folder / "web"), free_port(), free_port()
    node = ["--data", str(folder / "node"), "--quiet", str(QUIET)]
    node += ["--worklist", f"http://127.0.0.1:{port}"]
    figures: dict[str, Any] = {}
    before = processor_seconds()
    with (
        running("serve", port, "--data", str(folder / "web"), **PATIENCE),
        client_of(port, key) as client,
        running("receive", node_port, *node, MENINX_WORKLIST_KEY=key),
    ):
        clock = Clock()
        subprocess.run(
            ["storescu", "-aec", "MENINX", "+sd", "127.0.0.1", str(node_port), paths[0].parent],
            check=True,
        )
        figures["node: sent by storescu, s"] = clock()
        wait_for_study(client, done=False)
        figures["node: scored and handed over, quiet time in it, s"] = clock()
        results = (folder / "node").glob(f"studies/*/{RESULTS}/*.dcm")
        figures["node: DICOM objects of its findings"] = len(list(results))
        check(wait_for_study(client, done=True), len(paths))
        figures["node: scored for the worklist, s"] = clock()
        listed = client.get("/studies").json()["count"]
        figures["node: studies on the worklist"] = listed
    figures["node: sender, node, server and worker, s of a core"] = processor_seconds() - before
    return figures


def main() -> None:
    """Print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1400)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_large_study(folder / "study", options.files)
        figures["processes that wanted a core, before and after"] = [os.getloadavg()[0]]
        figures |= through_the_api(paths, folder / "api")
        (folder / "through").mkdir()
        figures |= through_the_node(paths, folder / "through")
    figures["processes that wanted a core, before and after"].append(os.getloadavg()[0])
    print(json.dumps(figures, indent=2))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
